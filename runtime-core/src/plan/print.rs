//! Plans for people: text, one line a step, and JSON.

use std::fmt;

use hoist_init::page::Sync;
use hoist_init::wire::{Reg, Step, Value};
use serde_json::{Map, Value as Json, json};

use super::{Passed, Plan, PlannedStep};

impl fmt::Display for Plan {
    /// Passed descriptors, then the steps: index, name, fields, pointer.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, passed) in self.passed.iter().enumerate() {
            writeln!(f, "  fd {index} = {passed}")?;
        }
        for step in self.steps() {
            writeln!(f, "{step}")?;
        }
        Ok(())
    }
}

impl fmt::Display for PlannedStep<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>3} {}", self.index, self.step.name())?;
        for (name, value) in fields(&self.step) {
            match value {
                Json::String(text) => write!(f, " {name}={}", quoted(&text))?,
                Json::Bool(true) => write!(f, " {name}")?,
                Json::Array(list) => {
                    write!(f, " {name}=[")?;
                    for (index, text) in list.iter().enumerate() {
                        let text = quoted(text.as_str().unwrap_or_default());
                        write!(f, "{}{text}", if index == 0 { "" } else { " " })?;
                    }
                    f.write_str("]")?;
                }
                other => write!(f, " {name}={other}")?,
            }
        }
        if !self.pointer.is_empty() {
            write!(f, "  # {}", self.pointer)?;
        }
        Ok(())
    }
}

impl fmt::Display for Passed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ConsoleSocket => f.write_str("console socket"),
            Self::StartListener => f.write_str("start socket"),
            Self::CgroupDir => f.write_str("cgroup directory"),
            Self::CgroupTasks(index) => write!(f, "tasks of v1 cgroup {index}"),
            Self::Process => f.write_str("pidfd of the container"),
            Self::CgroupNamespace => f.write_str("cgroup namespace of the container"),
            Self::IdMap(map) => {
                f.write_str("user namespace")?;
                for (name, maps) in [("uid", &map.uids), ("gid", &map.gids)] {
                    for map in maps {
                        let (inside, outside) = (map.container_id(), map.host_id());
                        write!(f, " {name}:{inside}:{outside}:{}", map.size())?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Plan {
    /// The plan as JSON: `{"fds": […], "steps": [{"index", "step", "fields", "pointer"}]}`.
    #[must_use]
    pub fn to_json(&self) -> Json {
        let fds: Vec<String> = self.passed.iter().map(ToString::to_string).collect();
        let steps = self.steps().map(|step| {
            json!({
                "index": step.index,
                "step": step.name(),
                "fields": fields(&step.step).into_iter().collect::<Map<_, _>>(),
                "pointer": step.pointer,
            })
        });
        json!({ "fds": fds, "steps": steps.collect::<Vec<_>>() })
    }
}

/// The fields that say something, as they are best read.
fn fields(step: &Step<'_>) -> Vec<(String, Json)> {
    let mut fields = Vec::new();
    step.fields(&mut |name, value| {
        if let Some(value) = readable(step, name, value) {
            fields.push((name.to_owned(), value));
        }
    });
    fields
}

/// None for what is empty, false, zero or no register where that means "nothing".
fn readable(step: &Step<'_>, name: &str, value: Value<'_>) -> Option<Json> {
    match value {
        Value::Reg(reg) => register(reg).map(Json::String),
        Value::Str(text) => {
            Some(text.to_string_lossy()).filter(|t| !t.is_empty()).map(|t| json!(t))
        }
        Value::List(list) => {
            let list: Vec<_> = list.iter().map(|text| text.to_string_lossy()).collect();
            Some(list).filter(|list| !list.is_empty()).map(|list| json!(list))
        }
        Value::Bytes(bytes) => bytes_of(step, bytes).map(Json::String),
        Value::Int(number) => int(step, name, number),
    }
}

fn register(reg: Reg) -> Option<String> {
    match reg {
        Reg::NONE => None,
        Reg::ROOT => Some("root".to_owned()),
        Reg::PROC => Some("proc".to_owned()),
        Reg::DEV => Some("dev".to_owned()),
        Reg::NULL => Some("null".to_owned()),
        Reg::EMPTY => Some("empty".to_owned()),
        Reg(number) => Some(format!("fd{number}")),
    }
}

fn bytes_of(step: &Step<'_>, bytes: &[u8]) -> Option<String> {
    if bytes.is_empty() {
        return None;
    }
    Some(match step {
        Step::Seccomp { .. } => format!("{} instructions", bytes.len() / 8),
        Step::User { .. } => {
            let group = |group: &[u8; 4]| u32::from_ne_bytes(*group).to_string();
            bytes.as_chunks::<4>().0.iter().map(group).collect::<Vec<_>>().join(",")
        }
        _ => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
    })
}

/// A number by the field that it is in. The same name means the same thing in nearly all steps.
fn int(step: &Step<'_>, name: &str, number: i128) -> Option<Json> {
    let bits = u64::try_from(number).unwrap_or(0);
    let flags = |text: String| Some(text).filter(|text| !text.is_empty()).map(Json::String);
    match (step, name) {
        (Step::CloneInner { .. } | Step::Unshare { .. } | Step::JoinProcess { .. }, "flags")
        | (Step::JoinNamespace { .. }, "flag") => flags(names(bits, &CLONE, "CLONE_")),
        (Step::Propagation { .. }, "flags") | (_, "propagation") => {
            flags(names(bits, &PROPAGATION, "MS_"))
        }
        (Step::MountFilesystem { .. }, "flags") => flags(names(bits, &MOUNT, "MS_")),
        (Step::Seccomp { .. }, "flags") => flags(names(bits, &FILTER, "")),
        (_, "attributes" | "set" | "set_recursive") => flags(attributes(bits)),
        (_, "clear" | "reset" | "clear_recursive") => flags(names(bits, &ATTRIBUTES, "")),
        (Step::BoundingSet { .. } | Step::LimitCapabilities { .. }, "keep")
        | (_, "effective" | "permitted" | "inheritable" | "ambient" | "drop") => {
            Some(Json::String(capabilities(bits)))
        }
        (Step::Sync { .. }, "point") => Some(Json::String(point(bits))),
        (Step::MakeDevice { .. }, "mode") => Some(Json::String(mode(bits))),
        (Step::Umask { .. }, "mask") => Some(Json::String(format!("{bits:04o}"))),
        (Step::Rlimit { .. } | Step::RaiseLimit { .. }, "resource") => {
            let name = usize::try_from(bits).ok().and_then(|index| LIMITS.get(index));
            Some(name.map_or(json!(bits), |name| json!(name)))
        }
        (_, "soft" | "hard") if bits == u64::MAX => Some(json!("unlimited")),
        _ if is_flag(name) => (number != 0).then_some(Json::Bool(true)),
        _ => i64::try_from(number).map_or_else(|_| json!(bits), |number| json!(number)).into(),
    }
}

/// Fields that are true or false. (On the wire they are numbers.)
fn is_flag(name: &str) -> bool {
    const FLAGS: [&str; 17] = [
        "recursive",
        "private_parent",
        "copy_up",
        "idmap_recursive",
        "inside",
        "locked",
        "replace",
        "mount",
        "set_groups",
        "setgroups",
        "filter",
        "last",
        "hooks",
        "notify",
        "announced",
        "later",
        "terminal",
    ];
    FLAGS.contains(&name)
}

const CLONE: [(u64, &str); 8] = [
    (0x1000_0000, "NEWUSER"),
    (0x0002_0000, "NEWNS"),
    (0x2000_0000, "NEWPID"),
    (0x4000_0000, "NEWNET"),
    (0x0800_0000, "NEWIPC"),
    (0x0400_0000, "NEWUTS"),
    (0x0200_0000, "NEWCGROUP"),
    (0x0000_0080, "NEWTIME"),
];
const PROPAGATION: [(u64, &str); 5] = [
    (libc::MS_SHARED, "SHARED"),
    (libc::MS_SLAVE, "SLAVE"),
    (libc::MS_PRIVATE, "PRIVATE"),
    (libc::MS_UNBINDABLE, "UNBINDABLE"),
    (libc::MS_REC, "REC"),
];
const MOUNT: [(u64, &str); 6] = [
    (libc::MS_RDONLY, "RDONLY"),
    (libc::MS_SYNCHRONOUS, "SYNCHRONOUS"),
    (libc::MS_MANDLOCK, "MANDLOCK"),
    (libc::MS_DIRSYNC, "DIRSYNC"),
    (libc::MS_I_VERSION, "I_VERSION"),
    (libc::MS_LAZYTIME, "LAZYTIME"),
];
/// The access time is a field of values, so its mask comes before them: here only for clearing.
const ATTRIBUTES: [(u64, &str); 7] = [
    (libc::MOUNT_ATTR_RDONLY, "ro"),
    (libc::MOUNT_ATTR_NOSUID, "nosuid"),
    (libc::MOUNT_ATTR_NODEV, "nodev"),
    (libc::MOUNT_ATTR_NOEXEC, "noexec"),
    (libc::MOUNT_ATTR_NODIRATIME, "nodiratime"),
    (libc::MOUNT_ATTR_NOSYMFOLLOW, "nosymfollow"),
    (libc::MOUNT_ATTR__ATIME, "atime"),
];
const FILTER: [(u64, &str); 5] =
    [(1, "TSYNC"), (2, "LOG"), (4, "SPEC_ALLOW"), (8, "NEW_LISTENER"), (32, "WAIT_KILLABLE_RECV")];
const LIMITS: [&str; 16] = [
    "RLIMIT_CPU",
    "RLIMIT_FSIZE",
    "RLIMIT_DATA",
    "RLIMIT_STACK",
    "RLIMIT_CORE",
    "RLIMIT_RSS",
    "RLIMIT_NPROC",
    "RLIMIT_NOFILE",
    "RLIMIT_MEMLOCK",
    "RLIMIT_AS",
    "RLIMIT_LOCKS",
    "RLIMIT_SIGPENDING",
    "RLIMIT_MSGQUEUE",
    "RLIMIT_NICE",
    "RLIMIT_RTPRIO",
    "RLIMIT_RTTIME",
];

/// Flags by name, divided by `|`; what has no name as a number.
fn names(bits: u64, table: &[(u64, &str)], prefix: &str) -> String {
    let mut rest = bits;
    let mut names = Vec::new();
    for (flag, name) in table {
        if rest & flag == *flag {
            rest &= !flag;
            names.push(format!("{prefix}{name}"));
        }
    }
    if rest != 0 {
        names.push(format!("{rest:#x}"));
    }
    names.join("|")
}

/// Attributes that are set; of the access time its value, where it isn't the default.
fn attributes(bits: u64) -> String {
    let atime = match bits & libc::MOUNT_ATTR__ATIME {
        libc::MOUNT_ATTR_NOATIME => "noatime",
        libc::MOUNT_ATTR_STRICTATIME => "strictatime",
        _ => "",
    };
    let rest = names(bits & !libc::MOUNT_ATTR__ATIME, &ATTRIBUTES, "");
    [rest.as_str(), atime].into_iter().filter(|t| !t.is_empty()).collect::<Vec<_>>().join("|")
}

fn capabilities(bits: u64) -> String {
    let name = |cap: u8| {
        let known = caps::all().into_iter().find(|known| known.index() == cap);
        known.map_or(cap.to_string(), |cap| cap.to_string().to_lowercase().replacen("cap_", "", 1))
    };
    let names: Vec<String> = (0..64).filter(|cap| bits >> cap & 1 != 0).map(name).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(",") }
}

fn point(point: u64) -> String {
    let known = [
        (Sync::Maps, "maps"),
        (Sync::Namespaces, "namespaces"),
        (Sync::Hooks, "hooks"),
        (Sync::Start, "start"),
        (Sync::Cgroup, "cgroup"),
    ];
    let name = known.into_iter().find(|(sync, _)| *sync as u64 == point);
    name.map_or_else(|| point.to_string(), |(_, name)| name.to_owned())
}

/// A node's type as ls(1) shows it, and its permissions.
fn mode(mode: u64) -> String {
    let kind = match u32::try_from(mode).unwrap_or(0) & libc::S_IFMT {
        libc::S_IFCHR => "c",
        libc::S_IFBLK => "b",
        libc::S_IFIFO => "p",
        _ => "?",
    };
    format!("{kind}{:04o}", mode & 0o7777)
}

/// In quotes where it wouldn't be one word.
fn quoted(text: &str) -> String {
    let plain = |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\\' | '[' | ']' | '#');
    if !text.is_empty() && text.chars().all(plain) { text.to_owned() } else { format!("{text:?}") }
}
