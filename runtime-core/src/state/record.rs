//! What is recorded about a container, in `state.json`.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use oci_spec::runtime::Spec;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Kind;
use crate::intel_rdt::Group;
use crate::procfs::{Namespaces, ProcessId};

/// Goes up when a program that knows only the version before would misread the file, or what it
/// says to the init of a created container. Fields that can be left out may be added without that.
const VERSION: u32 = 2;

/// From this one on, init expects a report page from who starts it.
const STARTS_WITH_PAGE: u32 = 2;

/// How far a container's life had come when its record was written. Whether the process still
/// lives is not recorded: that is asked of the kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Phase {
    /// It is being made. If that was interrupted, init has exited by itself, and what else is
    /// left (cgroups, a resctrl group) is in the record, which names it before it is made.
    Creating,
    /// It is made, and init waits for `start`.
    Created,
    /// The user's program was executed.
    Started,
}

/// All that later calls, from other programs too, need to know of a container.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Record {
    /// The format's version.
    version: u32,
    pub(crate) id: String,
    pub(crate) oci_version: String,
    pub(crate) bundle: PathBuf,
    pub(crate) rootfs: PathBuf,
    /// RFC 3339, UTC.
    pub(crate) created: String,
    /// The user who created it.
    pub(crate) owner: u32,
    pub(crate) phase: Phase,
    /// The program that creates it: while it lives, `Creating` is no accident.
    pub(crate) creator: Option<ProcessId>,
    /// The container's first process.
    pub(crate) init: Option<ProcessId>,
    /// Its namespaces, which exec compares with its own and with those it finds.
    #[serde(default)]
    pub(crate) namespaces: Namespaces,
    /// The pid namespace was made for this container: its first process is the namespace's, and
    /// takes all others along.
    #[serde(default)]
    pub(crate) private_pid: bool,
    /// The cgroup room's own record, written before the first directory is made.
    #[serde(default)]
    pub(crate) cgroup: Option<Text>,
    /// How many processes the OOM killer had killed in the cgroup before the container was made:
    /// a cgroup that was there before has a past.
    #[serde(default)]
    pub(crate) oom_kills_before: u64,
    /// The resctrl group that the processes are in.
    #[serde(default)]
    pub(crate) intel_rdt: Option<Group>,
    #[serde(default)]
    pub(crate) config_use: ConfigUse,
    #[serde(default)]
    pub(crate) terminal: bool,
    #[serde(default)]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// What another room has recorded: JSON that is read where it is asked for, and not in a list of a
/// thousand containers. If it is damaged, the rest of the record is still of use.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Text(Box<RawValue>);

impl Text {
    pub(crate) fn of(value: &impl Serialize) -> Result<Self> {
        serde_json::value::to_raw_value(value).map(Self).map_err(unwritable)
    }

    pub(crate) fn read<'a, T: Deserialize<'a>>(&'a self) -> serde_json::Result<T> {
        serde_json::from_str(self.0.get())
    }
}

impl PartialEq for Text {
    fn eq(&self, other: &Self) -> bool {
        self.0.get() == other.0.get()
    }
}

/// Which commands have something to do that only `config.json` says. The others don't read it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ConfigUse {
    /// startContainer and poststart hooks, and the listener of a seccomp profile.
    pub(crate) start: bool,
    /// poststop hooks.
    pub(crate) delete: bool,
}

impl ConfigUse {
    pub(crate) fn of(spec: &Spec) -> Self {
        let has = |kind: Kind| !kind.of(spec.hooks().as_ref()).is_empty();
        let seccomp = spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let listener = seccomp.is_some_and(|profile| profile.listener_path().is_some());
        Self {
            start: has(Kind::StartContainer) || has(Kind::Poststart) || listener,
            delete: has(Kind::Poststop),
        }
    }
}

/// Of a container that an older version has made nothing is known.
impl Default for ConfigUse {
    fn default() -> Self {
        Self { start: true, delete: true }
    }
}

impl Record {
    /// The record of a container that is about to be made by `creator`.
    pub(crate) fn new(id: &str, creator: ProcessId) -> Self {
        Self {
            version: VERSION,
            id: id.to_owned(),
            oci_version: String::new(),
            bundle: PathBuf::new(),
            rootfs: PathBuf::new(),
            created: rfc3339(SystemTime::now()),
            owner: rustix::process::geteuid().as_raw(),
            phase: Phase::Creating,
            creator: Some(creator),
            init: None,
            namespaces: Namespaces::new(),
            private_pid: false,
            cgroup: None,
            oom_kills_before: 0,
            intel_rdt: None,
            config_use: ConfigUse::default(),
            terminal: false,
            annotations: BTreeMap::new(),
        }
    }

    /// Stands for a container that nothing is recorded of: its creation had done nothing yet, or
    /// its record is damaged.
    pub(crate) fn unknown(id: &str) -> Self {
        let nobody = ProcessId { pid: 0, start_time: 0, pid_namespace: 0, boot: String::new() };
        Self { creator: None, created: String::new(), ..Self::new(id, nobody) }
    }

    /// The same after its start.
    pub(crate) fn started(&self) -> Self {
        Self { phase: Phase::Started, ..self.clone() }
    }

    /// That the container's init speaks this program's language: its creator may have been an
    /// older one.
    pub(crate) fn check_startable(&self) -> Result<()> {
        if self.version < STARTS_WITH_PAGE {
            let message = "the container was created by an older hoist, which alone can start it; \
                           delete it by force and create it again";
            return Err(Error::new(ErrorKind::State, message));
        }
        Ok(())
    }

    pub(super) fn to_json(&self) -> Result<Vec<u8>> {
        serde_json::to_vec(self).map_err(unwritable)
    }

    /// Reads a record of this version or an older one, of the container `id`.
    pub(super) fn parse(bytes: &[u8], id: &str) -> Result<Self> {
        #[derive(Deserialize)]
        struct Version {
            version: u32,
        }
        let wrong = |source| damaged("the container's state is damaged").with_source(source);
        let record = serde_json::from_slice::<Self>(bytes);
        // About the rest of a newer file nothing is known.
        let version = match &record {
            Ok(record) => record.version,
            Err(_) => serde_json::from_slice::<Version>(bytes).map_err(wrong)?.version,
        };
        if version > VERSION {
            return Err(Error::new(
                ErrorKind::State,
                format!(
                    "the container was made by a newer hoist: its state has version {version}, \
                     this hoist knows up to {VERSION}"
                ),
            ));
        }
        let record = record.map_err(wrong)?;
        if record.id != id {
            return Err(damaged(format!("the state is that of the container {:?}", record.id)));
        }
        Ok(record)
    }
}

fn unwritable(source: serde_json::Error) -> Error {
    Error::new(ErrorKind::State, "the container's state can't be written as JSON")
        .with_source(source)
}

/// An error about a file in the state directory that is not as hoist writes it.
pub(super) fn damaged(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::State, message).with_hint("`delete --force` removes the container")
}

/// A moment as RFC 3339 writes it, in UTC, with nanoseconds.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // The Gregorian calendar repeats every 400 years, which have 146,097 days. Counted from a
    // first of March, a leap day is the last day of its year, century and era, and month m
    // starts at day (153 m + 2) / 5.
    let days = days + 719_468; // from 0000-03-01 to 1970-01-01
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let (month, carry) = if month < 10 { (month + 3, 0) } else { (month - 9, 1) };
    format!(
        "{:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:09}Z",
        era * 400 + year + carry,
        second / 3600,
        second / 60 % 60,
        second % 60,
        since.subsec_nanos()
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_the_calendars() {
        for (seconds, nanos, expected) in [
            (0, 0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, 1, "2000-02-28T23:59:59.000000001Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, 0, "2000-03-01T00:00:00.000000000Z"),
            (1_709_251_199, 999_999_999, "2024-02-29T23:59:59.999999999Z"),
            (1_735_689_599, 0, "2024-12-31T23:59:59.000000000Z"),
            (1_735_689_600, 0, "2025-01-01T00:00:00.000000000Z"),
            (4_107_542_400, 0, "2100-03-01T00:00:00.000000000Z"),
        ] {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanos);
            assert_eq!(rfc3339(time), expected);
        }
    }

    fn creator() -> ProcessId {
        ProcessId { pid: 1, start_time: 2, pid_namespace: 3, boot: "b".to_owned() }
    }

    #[test]
    fn a_record_survives_json() {
        let mut record = Record::new("web-1", creator());
        record.cgroup = Some(Text::of(&serde_json::json!({"v2": "/a/b"})).unwrap());
        record.init = Some(creator());
        record.annotations.insert("a".to_owned(), "b".to_owned());
        record.namespaces.insert("net".to_owned(), 4_026_531_833);
        let json = record.to_json().unwrap();
        assert_eq!(Record::parse(&json, "web-1").unwrap(), record);
        let error = Record::parse(&json, "web-2").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
    }

    #[test]
    fn an_older_record_is_read_but_its_init_not_started() {
        let mut record = Record::new("web-1", creator());
        record.check_startable().unwrap();
        record.version = 1;
        let read = Record::parse(&record.to_json().unwrap(), "web-1").unwrap();
        assert_eq!(read.check_startable().unwrap_err().kind(), ErrorKind::State);
    }

    #[test]
    fn of_an_older_record_nothing_is_known_of_the_configuration() {
        let mut record = Record::new("web-1", creator());
        record.config_use = ConfigUse { start: false, delete: false };
        let mut json: serde_json::Value = serde_json::to_value(&record).unwrap();
        let read = |json: &serde_json::Value| {
            Record::parse(json.to_string().as_bytes(), "web-1").unwrap().config_use
        };
        assert_eq!(read(&json), record.config_use);
        json.as_object_mut().unwrap().remove("configUse").unwrap();
        assert_eq!(read(&json), ConfigUse { start: true, delete: true });
    }

    #[test]
    fn which_commands_need_the_configuration() {
        let of = |config: &str| ConfigUse::of(&serde_json::from_str(config).unwrap());
        for (config, start, delete) in [
            (r#"{"ociVersion": "1.0.0"}"#, false, false),
            (
                r#"{"ociVersion": "1.0.0", "hooks": {"createRuntime": [{"path": "/a"}]}}"#,
                false,
                false,
            ),
            (
                r#"{"ociVersion": "1.0.0", "hooks": {"startContainer": [{"path": "/a"}]}}"#,
                true,
                false,
            ),
            (r#"{"ociVersion": "1.0.0", "hooks": {"poststart": [{"path": "/a"}]}}"#, true, false),
            (r#"{"ociVersion": "1.0.0", "hooks": {"poststop": [{"path": "/a"}]}}"#, false, true),
            (
                r#"{"ociVersion": "1.0.0", "linux": {"seccomp": {
                    "defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/a"}}}"#,
                true,
                false,
            ),
        ] {
            assert_eq!(of(config), ConfigUse { start, delete }, "{config}");
        }
    }

    #[test]
    fn what_is_damaged_or_newer_says_so() {
        let json = Record::new("web-1", creator()).to_json().unwrap();
        for end in 0..json.len() {
            let error = Record::parse(&json[..end], "web-1").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::State);
            assert!(error.to_string().contains("delete --force"), "{error}");
        }
        let newer = format!("{{\"version\":{},\"who\":\"knows\"}}", VERSION + 1);
        let error = Record::parse(newer.as_bytes(), "web-1").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::State);
        assert!(error.to_string().contains("newer hoist"), "{error}");
    }
}
