//! Which cgroup hierarchies this host has: cgroups(7), cgroup_namespaces(7), proc_pid_mountinfo(5).

use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use rustix::fs::{FsWord, OFlags};
use rustix::io::Errno;

use super::dir::{Dir, read_to_end};
use super::paths::{Location, Paths, clean};
use super::systemd::Unit;
use crate::error::{Error, ErrorKind, Result};
use crate::procfs;
use crate::user_namespace;

/// `f_type` of cgroup v1 and cgroup2: <linux/magic.h>.
const CGROUP_SUPER_MAGIC: FsWord = 0x0027_e0eb;
const CGROUP2_SUPER_MAGIC: FsWord = 0x6367_7270;
/// Where the hierarchies are by custom, and the only place for the unified one.
const MOUNTPOINT: &str = "/sys/fs/cgroup";
/// Where systemd has cgroup2 in its hybrid layout.
const HYBRID_MOUNTPOINT: &str = "/sys/fs/cgroup/unified";
/// A machine with thousands of containers has thousands of mounts.
const MOUNTINFO_LIMIT: usize = 64 << 20;
/// The v1 controllers there are, and the one hierarchy without any that containers take part in:
/// that of systemd. Others belong to whoever named them. The other words among a mount's options
/// are flags.
const LEGACY: [&str; 15] = [
    "cpuset",
    "cpu",
    "cpuacct",
    "blkio",
    "memory",
    "devices",
    "freezer",
    "net_cls",
    "perf_event",
    "net_prio",
    "hugetlb",
    "pids",
    "rdma",
    "misc",
    "name=systemd",
];

/// The layout of the host's hierarchies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// v1 hierarchies only.
    Legacy,
    /// v1 hierarchies with the controllers, and cgroup2 with none that matters here.
    Hybrid,
    /// cgroup2 alone.
    Unified,
}

/// Who makes the cgroups of containers.
///
/// In `linux.cgroupsPath`, [`Cgroupfs`](Self::Cgroupfs) takes a path, and
/// [`Systemd`](Self::Systemd) `slice:prefix:name` for the unit `prefix-name.scope`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Manager {
    /// hoist itself, in the cgroup file systems.
    #[default]
    Cgroupfs,
    /// systemd, as transient units.
    Systemd,
}

/// The host's hierarchies, each held open: what is below is reached through these descriptors.
#[derive(Debug)]
pub(crate) struct Host {
    mode: Mode,
    /// What is at the customary place, unless it is cgroup2 itself.
    top: Option<Dir>,
    /// cgroup2, on unified and hybrid hosts.
    unified: Option<Hierarchy>,
    /// All v1 hierarchies, once somebody asks for all: a container's own are in its record, and
    /// to look for them among the host's mounts takes longer than all else that `state` does.
    legacy: OnceLock<Vec<Hierarchy>>,
    /// Those that were asked for one by one.
    opened: Mutex<Vec<Arc<Dir>>>,
    /// Who makes the cgroups of new containers.
    manager: Manager,
}

/// A mounted hierarchy.
#[derive(Debug)]
pub(crate) struct Hierarchy {
    /// v1 controllers, or `name=…` of a hierarchy without any; empty for cgroup2.
    controllers: Vec<String>,
    mountpoint: String,
    /// Which cgroup of the hierarchy is mounted there: not `/` in a container without a cgroup
    /// namespace of its own.
    root: String,
    dir: Arc<Dir>,
}

impl Host {
    /// Looks at the host. On a unified one it takes open(2) and fstatfs(2).
    pub(crate) fn probe(manager: Manager) -> Result<Self> {
        let top = Dir::open_mount(Path::new(MOUNTPOINT)).map_err(|errno| {
            Error::system("open the cgroup file system", errno)
                .with_kind(ErrorKind::Cgroup)
                .with_file(MOUNTPOINT)
        })?;
        if is_cgroup2(&top)? {
            let unified = Hierarchy::unified(MOUNTPOINT, top);
            return Ok(Self::new(Mode::Unified, None, Some(unified), vec![].into(), manager));
        }
        let unified = match open_mount(Some(&top), HYBRID_MOUNTPOINT)? {
            Some(dir) if is_cgroup2(&dir)? => Some(Hierarchy::unified(HYBRID_MOUNTPOINT, dir)),
            _ => None,
        };
        let mode = if unified.is_some() { Mode::Hybrid } else { Mode::Legacy };
        Ok(Self::new(mode, Some(top), unified, OnceLock::new(), manager))
    }

    fn new(
        mode: Mode,
        top: Option<Dir>,
        unified: Option<Hierarchy>,
        legacy: OnceLock<Vec<Hierarchy>>,
        manager: Manager,
    ) -> Self {
        Self { mode, top, unified, legacy, opened: Mutex::default(), manager }
    }

    pub(crate) fn mode(&self) -> Mode {
        self.mode
    }

    /// The v1 hierarchies.
    fn legacy(&self) -> Result<&[Hierarchy]> {
        if let Some(legacy) = self.legacy.get() {
            return Ok(legacy);
        }
        let mountinfo = read_proc("/proc/self/mountinfo")?;
        let found = legacy_hierarchies(self.top.as_ref(), &mountinfo)?;
        if found.is_empty() {
            return Err(Error::new(ErrorKind::Unsupported, "no cgroup hierarchy is mounted")
                .with_file(MOUNTPOINT));
        }
        Ok(self.legacy.get_or_init(|| found))
    }

    /// Names a container's cgroup, without touching it.
    ///
    /// An absolute `cgroupsPath` is one below the hierarchies' roots. A relative one is, as in
    /// runc, below hoist's own cgroup on v1, and beside it on v2: hoist's own has processes, so
    /// it can't have children with controllers. Without one it is `/<id>`. `..` can't lead out.
    pub(crate) fn paths(&self, cgroups_path: Option<&str>, id: &str) -> Result<Paths> {
        if self.manager == Manager::Systemd {
            return self.unit_paths(cgroups_path, id);
        }
        let given = cgroups_path.filter(|path| !path.is_empty());
        let inner = clean(given.unwrap_or(id));
        if inner.is_empty() || inner.contains('\0') {
            return Err(Error::config("/linux/cgroupsPath", "not a container's cgroup")
                .with_hint("it has to name one below the root"));
        }
        let own = match given {
            Some(path) if !path.starts_with('/') => Some(read_proc("/proc/self/cgroup")?),
            _ => None,
        };
        Ok(self.name(self.legacy()?, &inner, given.is_some(), own.as_deref()))
    }

    /// Where systemd will have a container's unit.
    fn unit_paths(&self, cgroups_path: Option<&str>, id: &str) -> Result<Paths> {
        let Some(hierarchy) = self.unified.as_ref().filter(|_| self.mode == Mode::Unified) else {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "hoist has systemd manage cgroups on hosts with cgroup v2 alone",
            )
            .with_hint("use the cgroupfs manager"));
        };
        let (unit, path) = Unit::locate(cgroups_path, id, user_namespace::is_rootless()?)?;
        // systemd makes the directories above; the unit's own is removed with the container.
        let location = Location { made: 1, ..hierarchy.location(&path) };
        let requested = cgroups_path.is_some_and(|path| !path.is_empty());
        Ok(Paths { requested, unified: Some(location), legacy: vec![], unit: Some(unit) })
    }

    /// The pure part: `own` is `/proc/self/cgroup` if the name is relative to it.
    fn name(&self, legacy: &[Hierarchy], inner: &str, requested: bool, own: Option<&str>) -> Paths {
        let unified = self.unified.as_ref().map(|hierarchy| {
            // In hybrid mode it is relative to the mount as well, for runc has it so.
            let own = own.filter(|_| legacy.is_empty()).and_then(|own| own_cgroup(own, ""));
            let parent = own.and_then(|own| own.rsplit_once('/')).map_or("", |(parent, _)| parent);
            hierarchy.location(&clean(&format!("{parent}/{inner}")))
        });
        let legacy = legacy.iter().map(|hierarchy| {
            let controller = hierarchy.controllers.first().map_or("", String::as_str);
            let own = own.and_then(|own| own_cgroup(own, controller));
            let own = own.and_then(|own| own.strip_prefix(hierarchy.root.trim_end_matches('/')));
            hierarchy.location(&clean(&format!("{}/{inner}", own.unwrap_or(""))))
        });
        Paths { requested, unified, legacy: legacy.collect(), unit: None }
    }

    /// The hierarchy that is mounted where the location says.
    pub(super) fn mount(&self, location: &Location) -> Result<Arc<Dir>> {
        let known = self.legacy.get();
        let mut all = self.unified.iter().chain(known.into_iter().flatten());
        if let Some(found) = all.find(|found| found.mountpoint == location.mountpoint) {
            return Ok(found.dir.clone());
        }
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(dir) = opened.iter().find(|dir| dir.path() == Path::new(&location.mountpoint)) {
            return Ok(dir.clone());
        }
        match open_mount(self.top.as_ref(), &location.mountpoint)? {
            Some(dir) if known.is_none() && magic(&dir)? == CGROUP_SUPER_MAGIC => {
                let dir = Arc::new(dir);
                opened.push(dir.clone());
                Ok(dir)
            }
            _ => Err(Error::new(
                ErrorKind::State,
                "the container's cgroup hierarchy is not mounted here",
            )
            .with_file(&location.mountpoint)),
        }
    }
}

impl Hierarchy {
    fn unified(mountpoint: &str, dir: Dir) -> Self {
        Self {
            controllers: vec![],
            mountpoint: mountpoint.into(),
            root: "/".into(),
            dir: dir.into(),
        }
    }

    fn location(&self, path: &str) -> Location {
        Location {
            controllers: self.controllers.clone(),
            mountpoint: self.mountpoint.clone(),
            path: path.to_owned(),
            made: 0,
        }
    }
}

/// Opens the place where a hierarchy may be mounted: by custom, right below `top`. `None` if there is
/// nothing that can be reached. That there are no descriptors left, say, is no answer: a container
/// must not be made without a hierarchy's limits for that.
fn open_mount(top: Option<&Dir>, mountpoint: &str) -> Result<Option<Dir>> {
    let name = mountpoint.strip_prefix(MOUNTPOINT).and_then(|rest| rest.strip_prefix('/'));
    let opened = match (top, name) {
        (Some(top), Some(name)) if !name.contains('/') => top.mounted(name),
        _ => Dir::open_mount(Path::new(mountpoint)),
    };
    match opened {
        Ok(dir) => Ok(Some(dir)),
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS | Errno::PERM | Errno::LOOP) => Ok(None),
        Err(errno) => Err(Error::system("open the cgroup hierarchy", errno)
            .with_kind(ErrorKind::Cgroup)
            .with_file(mountpoint)),
    }
}

fn is_cgroup2(dir: &Dir) -> Result<bool> {
    Ok(magic(dir)? == CGROUP2_SUPER_MAGIC)
}

fn magic(dir: &Dir) -> Result<FsWord> {
    let stat = rustix::fs::fstatfs(dir).map_err(|errno| dir.error("statfs", "", errno))?;
    Ok(stat.f_type)
}

fn read_proc(path: &str) -> Result<String> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open(path, flags, rustix::fs::Mode::empty())
        .and_then(|file| read_to_end(&file, MOUNTINFO_LIMIT))
        .map_err(|errno| Error::system("read", errno).with_file(path))
}

/// The v1 hierarchies that can be reached. A line of mountinfo may be about a mount that another
/// one covers: so the device number of what is there now decides. Each place is looked at once.
fn legacy_hierarchies(top: Option<&Dir>, mountinfo: &str) -> Result<Vec<Hierarchy>> {
    let mut found: Vec<(Hierarchy, Device)> = Vec::new();
    for mount in mountinfo.lines().filter_map(LegacyMount::parse) {
        let same_place = |(other, _): &&mut (Hierarchy, _)| other.mountpoint == mount.mountpoint;
        if let Some((other, device)) = found.iter_mut().find(same_place) {
            // Of two that show the same hierarchy the last is on top.
            if *device == mount.device {
                other.root = mount.root;
            }
            continue;
        }
        let known = |(other, _): &(Hierarchy, _)| other.controllers == mount.controllers;
        let by_custom = mount.mountpoint.starts_with(MOUNTPOINT);
        if found.iter().any(known) && !by_custom {
            continue;
        }
        let Some(dir) = open_mount(top, &mount.mountpoint)? else { continue };
        let stat = rustix::fs::fstat(&dir).map_err(|errno| dir.error("stat", "", errno))?;
        if device(stat.st_dev) != mount.device {
            continue;
        }
        found.retain(|other| !known(other));
        let LegacyMount { device, controllers, mountpoint, root } = mount;
        found.push((Hierarchy { controllers, mountpoint, root, dir: dir.into() }, device));
    }
    Ok(found.into_iter().map(|(hierarchy, _)| hierarchy).collect())
}

/// A device's major and minor number.
type Device = (u32, u32);

fn device(number: u64) -> Device {
    (rustix::fs::major(number), rustix::fs::minor(number))
}

/// A line of mountinfo about a v1 hierarchy.
#[derive(Debug, PartialEq, Eq)]
struct LegacyMount {
    device: Device,
    root: String,
    mountpoint: String,
    controllers: Vec<String>,
}

impl LegacyMount {
    fn parse(line: &str) -> Option<Self> {
        let (mount, file_system) = line.split_once(" - ")?;
        let mut file_system = file_system.split(' ');
        if file_system.next() != Some("cgroup") {
            return None;
        }
        let options = file_system.nth(1)?;
        let controllers: Vec<String> = options
            .split(',')
            .filter(|option| LEGACY.contains(option))
            .map(str::to_owned)
            .collect();
        let mut fields = mount.split(' ');
        let (major, minor) = fields.nth(2)?.split_once(':')?;
        let device = (major.parse().ok()?, minor.parse().ok()?);
        let root = unescape(fields.next()?)?;
        let mountpoint = unescape(fields.next()?)?;
        (!controllers.is_empty()).then_some(Self { device, root, mountpoint, controllers })
    }
}

/// A path of mountinfo; one that is not UTF-8 is no hierarchy that hoist can name.
fn unescape(field: &str) -> Option<String> {
    String::from_utf8(procfs::unescape(field.as_bytes())).ok()
}

/// The caller's own cgroup in cgroup2.
pub(super) fn own_unified() -> Result<String> {
    let text = read_proc("/proc/self/cgroup")?;
    Ok(own_cgroup(&text, "").unwrap_or("/").to_owned())
}

/// The path in one line of `/proc/PID/cgroup`: `hierarchy:controllers:path`.
fn own_cgroup<'a>(text: &'a str, controller: &str) -> Option<&'a str> {
    text.lines().find_map(|line| {
        let (_, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        controllers.split(',').any(|name| name == controller).then_some(path)
    })
}

/// The root and the mount point in a line about a v1 hierarchy.
#[cfg(feature = "fuzz")]
pub(super) fn mounted(line: &str) -> Option<(String, String)> {
    LegacyMount::parse(line).map(|mount| (mount.root, mount.mountpoint))
}

#[cfg(test)]
impl Host {
    /// A host that exists nowhere: its directories are all `/`.
    pub(crate) fn imagined(unified: Option<&str>, mountinfo: &str) -> Self {
        let dir = || Dir::open_mount(Path::new("/")).unwrap();
        let legacy = mountinfo.lines().filter_map(LegacyMount::parse).map(|mount| Hierarchy {
            controllers: mount.controllers,
            mountpoint: mount.mountpoint,
            root: mount.root,
            dir: dir().into(),
        });
        let legacy: Vec<_> = legacy.collect();
        let unified = unified.map(|mountpoint| Hierarchy::unified(mountpoint, dir()));
        let mode = match (&unified, legacy.is_empty()) {
            (Some(_), true) => Mode::Unified,
            (Some(_), false) => Mode::Hybrid,
            (None, _) => Mode::Legacy,
        };
        Self::new(mode, None, unified, legacy.into(), Manager::Cgroupfs)
    }

    pub(crate) fn with_manager(self, manager: Manager) -> Self {
        Self { manager, ..self }
    }

    pub(crate) fn name_for_test(&self, inner: &str, own: Option<&str>) -> Paths {
        self.name(self.legacy().unwrap(), &clean(inner), true, own)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `mountinfo` with another value in one field.
    fn with(mountinfo: &str, field: usize, value: &str) -> String {
        let line = |line: &str| {
            let mut fields: Vec<&str> = line.split(' ').collect();
            fields[field] = value;
            fields.join(" ") + "\n"
        };
        mountinfo.lines().map(line).collect()
    }

    #[test]
    fn what_is_on_top_counts() {
        let real = read_proc("/proc/self/mountinfo").unwrap();
        let found = |mountinfo: &str| -> Vec<_> {
            let found = legacy_hierarchies(None, mountinfo).unwrap().into_iter();
            found.map(|one| (one.controllers, one.mountpoint, one.root)).collect()
        };
        let expected = found(&real);
        if expected.is_empty() {
            println!("SKIP what_is_on_top_counts: this host has no v1 hierarchies");
            return;
        }
        // Another device at the same place is what is covered, whichever line comes first.
        let covered = with(&real, 2, "0:0");
        assert_eq!(found(&(covered.clone() + &real)), expected);
        assert_eq!(found(&(real.clone() + &covered)), expected);
        assert_eq!(found(&covered), []);
        // The same hierarchy over itself, of which another cgroup is seen.
        let seen = found(&(real.clone() + &with(&real, 3, "/below")));
        assert_eq!(seen.len(), expected.len());
        assert!(seen.iter().all(|(_, _, root)| root == "/below"), "{seen:?}");
    }
}
