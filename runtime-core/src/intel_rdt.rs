//! `linux.intelRdt`: cache and memory bandwidth by class, through the resctrl file system
//! (Documentation/filesystems/resctrl.rst of the kernel; Intel RDT, AMD QoS and Arm MPAM).
//!
//! A class is a directory. [`Resctrl::plan`] says which one a container gets and what of it is
//! the container's own, so that this can be recorded before [`Resctrl::make`] makes it, and
//! [`Resctrl::remove`] finds it after a crash.

mod stats;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use oci_spec::runtime::LinuxIntelRdt;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::procfs;

pub use stats::{IntelRdtStats, L3CacheInfo, MemoryBandwidthInfo, MonitorStats};

const POINTER: &str = "/linux/intelRdt";
/// Where it is mounted by custom, and where the kernel makes a directory for it.
const CUSTOMARY: &str = "/sys/fs/resctrl";
/// RDTGROUP_SUPER_MAGIC of linux/magic.h.
const MAGIC: rustix::fs::FsWord = 0x0765_5821;
/// More than any file has that is read here.
const READ_LIMIT: usize = 64 << 10;

/// The group that a container is in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// The class's directory, `.` for the default class.
    class: String,
    /// Whether the class is the container's own: named after it, and not there before.
    own: bool,
    /// The monitoring group below the class, which is always the container's own.
    monitor: Option<String>,
}

/// Removes what is the container's own of a group, see [`Resctrl::remove`]. Where resctrl is no
/// longer mounted nothing is left.
pub(crate) fn remove(group: &Group) -> Result<()> {
    match Resctrl::open() {
        Ok(resctrl) => resctrl.remove(group),
        Err(error) if error.kind() == ErrorKind::Unsupported => Ok(()),
        Err(error) => Err(error),
    }
}

/// The resctrl file system.
#[derive(Debug)]
pub(crate) struct Resctrl {
    root: OwnedFd,
    path: PathBuf,
    /// Tests: the kernel makes a group's files, an ordinary file system does not.
    create: OFlags,
}

impl Resctrl {
    /// Finds the mounted file system.
    ///
    /// # Errors
    /// [`ErrorKind::Unsupported`] if there is none.
    pub(crate) fn open() -> Result<Self> {
        let elsewhere = || mount_point(&std::fs::read("/proc/self/mountinfo").ok()?);
        Self::mounted_at(CUSTOMARY.into()).or_else(|| Self::mounted_at(elsewhere()?)).ok_or_else(
            || {
                Error::unsupported(POINTER, "no resctrl file system is mounted").with_hint(
                    "if the processor can allocate caches, `mount -t resctrl resctrl \
                     /sys/fs/resctrl`",
                )
            },
        )
    }

    fn mounted_at(path: PathBuf) -> Option<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let root = rustix::fs::openat(CWD, &path, flags, Mode::empty()).ok()?;
        let found = rustix::fs::fstatfs(&root).ok()?.f_type == MAGIC;
        found.then_some(Self { root, path, create: OFlags::empty() })
    }

    /// Which group the container gets. Nothing is changed.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] if the class should be there and isn't, or is there with
    /// another schema.
    pub(crate) fn plan(&self, config: &LinuxIntelRdt, id: &str) -> Result<Group> {
        let given = text(config.clos_id());
        let class = match given {
            None => id,
            Some("/") => ".",
            Some(class) => class,
        };
        let exists = match self.stat(class) {
            Ok(()) => true,
            Err(Errno::NOENT) => false,
            Err(errno) => return Err(self.fail("look at the class", class, errno)),
        };
        if given.is_some() && exists {
            self.compare(class, config)?;
        }
        if given.is_some() && !exists && lines(config).next().is_none() {
            return Err(Error::config(
                format!("{POINTER}/closID"),
                format!("the class `{class}` does not exist, and no schema says how to make it"),
            ));
        }
        Ok(Group {
            class: class.to_owned(),
            own: given.is_none() && !exists,
            monitor: (*config.enable_monitoring() == Some(true))
                .then(|| format!("{class}/mon_groups/{id}")),
        })
    }

    /// Makes the directories and writes the schemata.
    pub(crate) fn make(&self, group: &mut Group, config: &LinuxIntelRdt) -> Result<()> {
        // If it is there by now, somebody else has made it, and it stays.
        group.own &= self.mkdir(&group.class)?;
        for (pointer, line) in lines(config) {
            self.write(&group.class, "schemata", &format!("{line}\n"))
                .map_err(|error| error.with_pointer(pointer))?;
        }
        if let Some(monitor) = &group.monitor {
            self.mkdir(monitor)?;
        }
        Ok(())
    }

    /// Finds the mounted file system to change a container's L3 cache and memory bandwidth schemas.
    ///
    /// # Errors
    /// In runc's words if the processor or the container has nothing of that.
    pub(crate) fn open_for_update(
        group: Option<&Group>,
        schemata: [Option<&str>; 2],
    ) -> Result<Self> {
        let resctrl = Self::open();
        let enabled = resctrl.as_ref().map_or([false; 2], Self::enabled);
        for ((schema, enabled), (field, message)) in schemata.iter().zip(enabled).zip([
            ("l3CacheSchema", "Intel RDT/CAT: l3 cache schema is not enabled"),
            ("memBwSchema", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
        ]) {
            if schema.is_some() && !enabled {
                return Err(Error::unsupported(format!("{POINTER}/{field}"), message));
            }
        }
        if group.is_none() {
            let message = "updating a non-existent Intel RDT configuration is not supported";
            return Err(Error::unsupported(POINTER, message));
        }
        resctrl
    }

    /// Whether the processor can allocate L3 cache, and memory bandwidth.
    fn enabled(&self) -> [bool; 2] {
        let has = |resource: &str| self.stat(&format!("info/{resource}")).is_ok();
        [has("L3") || has("L3CODE"), has("MB")]
    }

    /// Writes other schemas to a group's class. Returns what undoes it.
    ///
    /// # Errors
    /// The schema that was refused; then the class has those that it had.
    pub(crate) fn replace(
        &self,
        group: &Group,
        schemata: [Option<&str>; 2],
    ) -> Result<Vec<String>> {
        let file = format!("{}/schemata", group.class);
        let old = self.read(&file).map_err(|errno| self.fail("read", &file, errno))?;
        let resource = |line: &str| line.split(':').next().unwrap_or_default().trim().to_owned();
        let new: Vec<_> = ["l3CacheSchema", "memBwSchema"]
            .iter()
            .zip(schemata)
            .filter_map(|(field, schema)| Some((field, schema?)))
            .collect();
        let changed = |old: &&str| {
            new.iter().flat_map(|(_, schema)| schema.lines()).any(|l| resource(l) == resource(old))
        };
        let undo: Vec<_> = old.lines().filter(changed).map(|l| l.trim().to_owned()).collect();
        for (field, schema) in &new {
            let written = self.write(&group.class, "schemata", &format!("{schema}\n"));
            if let Err(error) = written {
                let error = error.with_pointer(format!("{POINTER}/{field}"));
                return Err(match self.put_back(group, &undo) {
                    Ok(()) => error,
                    Err(left) => error.with_hint(format!("and could not undo it: {left}")),
                });
            }
        }
        Ok(undo)
    }

    /// Writes what [`replace`](Self::replace) has returned.
    pub(crate) fn put_back(&self, group: &Group, lines: &[String]) -> Result<()> {
        lines.iter().try_for_each(|line| self.write(&group.class, "schemata", &format!("{line}\n")))
    }

    /// Puts a process of one thread into the group; its children will be in it too.
    pub(crate) fn add(&self, group: &Group, pid: Pid) -> Result<()> {
        for directory in [Some(&group.class), group.monitor.as_ref()].into_iter().flatten() {
            self.write(directory, "tasks", &pid.to_string())?;
        }
        Ok(())
    }

    /// Removes what is the container's own; it may be gone, or never have been made.
    pub(crate) fn remove(&self, group: &Group) -> Result<()> {
        // The monitoring group of a class goes with the class.
        let directory = if group.own { Some(&group.class) } else { group.monitor.as_ref() };
        let Some(directory) = directory else { return Ok(()) };
        match rustix::fs::unlinkat(&self.root, directory, AtFlags::REMOVEDIR) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(self.fail("remove the group", directory, errno)),
        }
    }

    /// A class that others configure has to have the schemas that the container expects.
    fn compare(&self, class: &str, config: &LinuxIntelRdt) -> Result<()> {
        let wanted = [
            ("l3CacheSchema", text(config.l3_cache_schema())),
            ("memBwSchema", text(config.mem_bw_schema())),
        ];
        if wanted.iter().all(|(_, schema)| schema.is_none()) {
            return Ok(());
        }
        let file = format!("{class}/schemata");
        let found = self.read(&file).map_err(|errno| self.fail("read", &file, errno))?;
        let step = self.read("info/MB/bandwidth_gran").ok();
        let step = step.and_then(|text| text.trim().parse().ok()).unwrap_or(1);
        let has = Schemata::parse(&found, step);
        for (field, schema) in wanted {
            let Some(schema) = schema else { continue };
            let wants = Schemata::parse(schema, step);
            if !wants.0.iter().all(|(key, value)| value.is_some() && has.0.get(key) == Some(value))
            {
                let has = found.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
                return Err(Error::config(
                    format!("{POINTER}/{field}"),
                    format!("the class `{class}` exists with another schema: {has}"),
                ));
            }
        }
        Ok(())
    }

    fn stat(&self, path: &str) -> rustix::io::Result<()> {
        rustix::fs::statat(&self.root, path, AtFlags::SYMLINK_NOFOLLOW).map(drop)
    }

    /// True if the directory was not there before.
    fn mkdir(&self, path: &str) -> Result<bool> {
        match rustix::fs::mkdirat(&self.root, path, Mode::from_raw_mode(0o755)) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => Ok(false),
            Err(Errno::NOSPC) => Err(self
                .fail("make the group", path, Errno::NOSPC)
                .with_hint("the processor has no class or monitor left")),
            Err(errno) => Err(self.fail("make the group", path, errno)),
        }
    }

    fn write(&self, directory: &str, file: &str, value: &str) -> Result<()> {
        let path = format!("{directory}/{file}");
        let fail = |errno| self.fail(format!("write `{}`", value.trim_end()), &path, errno);
        let fd = self.open_file(&path, OFlags::WRONLY | self.create).map_err(fail)?;
        match retry_on_intr(|| rustix::io::write(&fd, value.as_bytes())).map_err(fail)? {
            length if length == value.len() => Ok(()),
            _ => Err(fail(Errno::IO)),
        }
    }

    fn read(&self, path: &str) -> rustix::io::Result<String> {
        let fd = self.open_file(path, OFlags::RDONLY)?;
        let mut bytes = vec![0; READ_LIMIT];
        let length = retry_on_intr(|| rustix::io::read(&fd, &mut bytes[..]))?;
        bytes.truncate(length);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn open_file(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        let flags = flags | OFlags::CLOEXEC;
        let created = flags.contains(OFlags::CREATE);
        let mode = if created { Mode::RUSR | Mode::WUSR } else { Mode::empty() };
        retry_on_intr(|| rustix::fs::openat2(self.root.as_fd(), path, flags, mode, resolve))
    }

    /// The kernel says in a file what was wrong with the last request, if it was one of resctrl's
    /// own rules.
    fn fail(&self, what: impl Into<String>, path: &str, errno: Errno) -> Error {
        let error = Error::system(format!("{}, intelRdt", what.into()), errno)
            .with_file(self.path.join(path))
            .with_pointer(POINTER);
        match self.read("info/last_cmd_status").as_deref().map(str::trim) {
            Ok("" | "ok") | Err(_) => error,
            Ok(status) => error.with_source(status),
        }
    }
}

/// A string that is set: an empty one is not, as with runc.
fn text(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

/// The lines for the schemata file with their pointers, in the order of the runtime-spec.
fn lines(config: &LinuxIntelRdt) -> impl Iterator<Item = (String, &str)> {
    let single = |name: &str, field| text(field).map(|line| (format!("{POINTER}/{name}"), line));
    let list = config.schemata().as_deref().unwrap_or_default();
    let list = list.iter().enumerate().filter(|(_, line)| !line.is_empty());
    single("l3CacheSchema", config.l3_cache_schema())
        .into_iter()
        .chain(single("memBwSchema", config.mem_bw_schema()))
        .chain(list.map(|(i, line)| (format!("{POINTER}/schemata/{i}"), line.as_str())))
}

/// Schemata by resource and domain (`L3`, `0`), without what the kernel changes when it prints
/// them: spaces, leading zeros, the order, and bandwidths, which it rounds up to a step.
struct Schemata(BTreeMap<(String, String), Option<u64>>);

impl Schemata {
    fn parse(text: &str, step: u64) -> Self {
        let mut found = BTreeMap::new();
        for line in text.lines() {
            let Some((resource, domains)) = line.split_once(':') else { continue };
            let resource = resource.trim();
            for domain in domains.split(';') {
                let Some((domain, value)) = domain.split_once('=') else { continue };
                let value = value.trim();
                let number = match resource {
                    "MB" => value.parse().ok().map(|value: u64| value.div_ceil(step.max(1))),
                    _ => u64::from_str_radix(value, 16).ok(),
                };
                found.insert((resource.to_owned(), domain.trim().to_owned()), number);
            }
        }
        Self(found)
    }
}

/// The first resctrl in a mountinfo file, see proc_pid_mountinfo(5).
fn mount_point(mountinfo: &[u8]) -> Option<PathBuf> {
    let mut found = mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mut fields = line.split(|&byte| byte == b' ');
        let path = fields.nth(4)?;
        // Optional fields end with a dash; the type comes next.
        (fields.skip_while(|field| *field != b"-").nth(1)? == b"resctrl").then(|| unescape(path))
    });
    found.next()
}

/// A path of mountinfo.
fn unescape(path: &[u8]) -> PathBuf {
    std::ffi::OsString::from_vec(procfs::unescape(path)).into()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::{AtomicU32, Ordering};

    use serde_json::json;

    use super::*;

    /// A directory that looks like resctrl, removed at the end.
    pub(super) struct Fake(pub(super) Resctrl);

    impl Fake {
        pub(super) fn new() -> Self {
            static NEXT: AtomicU32 = AtomicU32::new(0);
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path =
                std::env::temp_dir().join(format!("hoist-resctrl-{}-{number}", std::process::id()));
            fs::create_dir_all(path.join("info/MB")).unwrap();
            fs::create_dir(path.join("mon_groups")).unwrap();
            fs::write(path.join("info/MB/bandwidth_gran"), "10\n").unwrap();
            fs::write(path.join("info/last_cmd_status"), "ok\n").unwrap();
            let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
            let root = rustix::fs::openat(CWD, &path, flags, Mode::empty()).unwrap();
            // With O_APPEND a file shows all that was written to it.
            let create = OFlags::CREATE | OFlags::APPEND;
            Self(Resctrl { root, path, create })
        }

        pub(super) fn path(&self, path: &str) -> PathBuf {
            self.0.path.join(path)
        }

        fn content(&self, path: &str) -> String {
            fs::read_to_string(self.path(path)).unwrap()
        }

        fn class(&self, name: &str, schemata: &str) {
            fs::create_dir_all(self.path(name).join("mon_groups")).unwrap();
            fs::write(self.path(name).join("schemata"), schemata).unwrap();
        }

        /// What the kernel does by itself when a group is removed.
        fn clear(&self, directory: &str) {
            for entry in fs::read_dir(self.path(directory)).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }
                    .unwrap();
            }
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0.path);
        }
    }

    fn config(value: serde_json::Value) -> LinuxIntelRdt {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn a_container_has_a_class_of_its_own() {
        let fake = Fake::new();
        let config = config(json!({
            "l3CacheSchema": "L3:0=7f0;1=1f", "memBwSchema": "MB:0=20;1=70",
            "schemata": ["L2:0=f", "MB:0=30"]
        }));
        let mut group = fake.0.plan(&config, "web-1").unwrap();
        assert!(!fake.path("web-1").exists());
        // Interrupted here, there is nothing to remove, and that is no error.
        fake.0.remove(&group).unwrap();

        fake.0.make(&mut group, &config).unwrap();
        let written = "L3:0=7f0;1=1f\nMB:0=20;1=70\nL2:0=f\nMB:0=30\n";
        assert_eq!(fake.content("web-1/schemata"), written);
        fake.0.add(&group, Pid::from_raw(42).unwrap()).unwrap();
        assert_eq!(fake.content("web-1/tasks"), "42");

        let json = serde_json::to_string(&group).unwrap();
        let group: Group = serde_json::from_str(&json).unwrap();
        fake.clear("web-1");
        fake.0.remove(&group).unwrap();
        assert!(!fake.path("web-1").exists());
        fake.0.remove(&group).unwrap();
    }

    #[test]
    fn a_class_of_others_stays() {
        let fake = Fake::new();
        fake.class("gold", "    L3:0=00ff;1=00ff\n    MB:0=30;1=100\n");
        for value in [
            json!({"closID": "gold"}),
            json!({"closID": "gold", "l3CacheSchema": "L3:1=ff"}),
            // 25 was rounded up to 30.
            json!({"closID": "gold", "l3CacheSchema": "L3:0=ff", "memBwSchema": "MB:1=100;0=25"}),
        ] {
            let config = config(value);
            let mut group = fake.0.plan(&config, "web-1").unwrap();
            fake.0.make(&mut group, &config).unwrap();
            fake.0.add(&group, Pid::INIT).unwrap();
            fake.0.remove(&group).unwrap();
            assert!(fake.path("gold/tasks").exists());
        }
        for (field, value) in [("l3CacheSchema", "L3:0=f"), ("memBwSchema", "MB:0=40;1=100")] {
            let error = fake.0.plan(&config(json!({"closID": "gold", field: value})), "web-1");
            let error = error.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidConfig);
            assert_eq!(error.pointer(), Some(format!("{POINTER}/{field}").as_str()));
            assert!(error.to_string().contains("MB:0=30;1=100"), "{error}");
        }
    }

    #[test]
    fn a_named_class_is_made_only_with_a_schema() {
        let fake = Fake::new();
        let error = fake.0.plan(&config(json!({"closID": "gold"})), "web-1").unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/intelRdt/closID"));
        let config = config(json!({"closID": "gold", "memBwSchema": "MB:0=20"}));
        let mut group = fake.0.plan(&config, "web-1").unwrap();
        fake.0.make(&mut group, &config).unwrap();
        assert_eq!(fake.content("gold/schemata"), "MB:0=20\n");
        fake.clear("gold");
        fake.0.remove(&group).unwrap();
        assert!(fake.path("gold").exists(), "a class with a name of its own is never removed");
    }

    #[test]
    fn a_class_that_was_there_is_not_the_containers() {
        let fake = Fake::new();
        fake.class("web-1", "");
        let config = config(json!({}));
        assert!(!fake.0.plan(&config, "web-1").unwrap().own);
        // Or that somebody made meanwhile.
        let mut group = fake.0.plan(&config, "web-2").unwrap();
        fake.class("web-2", "");
        fake.0.make(&mut group, &config).unwrap();
        assert!(!group.own);
    }

    #[test]
    fn monitoring_groups_come_and_go() {
        let fake = Fake::new();
        fs::write(fake.path("tasks"), "").unwrap();
        let config = config(json!({"closID": "/", "enableMonitoring": true}));
        let mut group = fake.0.plan(&config, "web-1").unwrap();
        fake.0.make(&mut group, &config).unwrap();
        fake.0.add(&group, Pid::INIT).unwrap();
        assert_eq!(fake.content("tasks"), "1");
        assert_eq!(fake.content("mon_groups/web-1/tasks"), "1");
        assert!(!fake.path("schemata").exists(), "no schema, no write");
        fake.clear("mon_groups/web-1");
        fake.0.remove(&group).unwrap();
        assert!(!fake.path("mon_groups/web-1").exists() && fake.path("mon_groups").exists());
    }

    #[test]
    fn errors_have_the_kernels_words() {
        let fake = Fake::new();
        fs::write(fake.path("info/last_cmd_status"), "Invalid CBM\n").unwrap();
        let config = config(json!({"schemata": ["L3:0=0"]}));
        let mut group = fake.0.plan(&config, "web-1").unwrap();
        fs::create_dir_all(fake.path("web-1/schemata")).unwrap();
        let error = fake.0.make(&mut group, &config).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/intelRdt/schemata/0"));
        assert!(error.to_string().contains("Invalid CBM"), "{error}");
    }

    #[test]
    fn other_schemata() {
        let fake = Fake::new();
        fake.class("web-1", "    L3:0=ff;1=ff\n    MB:0=30;1=100\n");
        let group = Group { class: "web-1".to_owned(), own: true, monitor: None };
        let undo = fake.0.replace(&group, [None, Some("MB:0=50")]).unwrap();
        assert_eq!(undo, ["MB:0=30;1=100"]);
        fake.0.put_back(&group, &undo).unwrap();
        // What was written follows, see `Fake::new`.
        let written = "    L3:0=ff;1=ff\n    MB:0=30;1=100\nMB:0=50\nMB:0=30;1=100\n";
        assert_eq!(fake.content("web-1/schemata"), written);
        // This processor allocates bandwidth, but not caches.
        assert_eq!(fake.0.enabled(), [false, true]);
        let gone = Group { class: "web-2".to_owned(), own: true, monitor: None };
        let error = fake.0.replace(&gone, [Some("L3:0=f"), None]).unwrap_err();
        assert_eq!(error.errno(), Some(Errno::NOENT.raw_os_error()));
    }

    #[test]
    fn it_is_found_where_it_is_mounted() {
        let text = b"22 1 0:20 / /proc rw - proc proc rw\n\
            30 1 0:30 / /a\\040b\\134c rw,nosuid shared:1 master:2 - resctrl resctrl rw\n\
            31 1 0:31 / /resctrl rw - tmpfs resctrl rw\n";
        assert_eq!(mount_point(text), Some(PathBuf::from("/a b\\c")));
        assert_eq!(mount_point(b"\n31 1 0:31 / /resctrl rw - tmpfs resctrl rw\nx y\n"), None);
    }

    #[test]
    fn without_it_the_error_says_so() {
        match Resctrl::open() {
            Ok(_) => eprintln!("skipped: this machine has resctrl"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unsupported);
                assert_eq!(error.pointer(), Some(POINTER));
            }
        }
    }
}
