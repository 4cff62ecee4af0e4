//! Control groups: one [`Cgroup`] for a container, whatever the host has.
//!
//! A host is unified (cgroup2 alone), legacy (v1 hierarchies), or hybrid: v1 with the
//! controllers, and a cgroup2 beside them that has none. A container has a directory in each
//! hierarchy. Where it has one in cgroup2, cgroup2 is what stops, kills and awaits its processes,
//! for there these operations are atomic and have events; controllers are used where they are.
//!
//! Nothing here changes the calling process, and nothing is placed by writing its pid: the
//! container's first process is cloned into the cgroup (v2) or attaches itself (v1), see
//! [`Placement`].

mod create;
mod devices;
mod dir;
mod events;
mod freezer;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod host;
mod kill;
mod limits;
mod make;
pub(crate) mod oom;
mod paths;
mod remove;
pub(crate) mod stats;
mod sub;
mod systemd;
#[cfg(test)]
mod tests;
mod update;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, OFlags, Uid};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, ErrorKind, Result};
use crate::user_namespace;

#[cfg(feature = "bench")]
pub(crate) use self::devices::encode as encode_devices;
pub use self::host::Manager;
pub(crate) use self::{
    create::{Prepared, Request},
    host::Host,
    oom::OomWatch,
    paths::Paths,
    sub::Shape,
};
use self::{dir::Dir, paths::Location, systemd::Unit};

/// A container's cgroup, held open.
#[derive(Debug)]
pub(crate) struct Cgroup {
    paths: Paths,
    unified: Option<Dir>,
    /// The directories in the v1 hierarchies, as many and in the same order as in `paths`.
    legacy: Vec<Dir>,
    /// The unit that this cgroup belongs to, if systemd has made it or is about to.
    unit: Option<Unit>,
}

/// How a process gets into the cgroup.
#[derive(Debug)]
pub(crate) struct Placement<'a> {
    /// The directory in cgroup2, for clone3(2) with CLONE_INTO_CGROUP.
    pub(crate) v2_dir: Option<BorrowedFd<'a>>,
    /// The `tasks` files of the v1 hierarchies: a single-threaded process attaches itself by
    /// writing `0` to each.
    ///
    /// That costs some 10 µs each. Writing another process's pid to `cgroup.procs` takes a
    /// semaphore of all thread groups, and after an idle time an RCU grace period: milliseconds.
    pub(crate) v1_tasks: Vec<OwnedFd>,
}

impl Cgroup {
    /// None at all.
    pub(crate) fn nowhere() -> Self {
        Self { paths: Paths::nowhere(false), unified: None, legacy: vec![], unit: None }
    }

    /// Opens what is there of a container's cgroup. Hierarchies in which it is gone are left out:
    /// one that is gone everywhere has no processes, and to remove it is to do nothing.
    pub(crate) fn open(host: &Host, paths: &Paths) -> Result<Self> {
        let open = |location: &Location| -> Result<Option<Dir>> {
            let mount = host.mount(location)?;
            match mount.descend(&location.path) {
                Ok(dir) if location.path.contains('/') => Ok(Some(dir)),
                Ok(dir) => Ok(Some(dir.below(&mount))),
                Err(Errno::NOENT | Errno::NODEV) => Ok(None),
                Err(errno) => Err(mount.error("open the cgroup", &location.path, errno)),
            }
        };
        let mut found = Self {
            paths: Paths { unit: paths.unit.clone(), ..Paths::nowhere(paths.requested) },
            unified: None,
            legacy: vec![],
            unit: paths.unit.clone(),
        };
        if let Some(location) = &paths.unified {
            found.unified = open(location)?;
            found.paths.unified = found.unified.as_ref().map(|_| location.clone());
        }
        for location in &paths.legacy {
            if let Some(dir) = open(location)? {
                found.legacy.push(dir);
                found.paths.legacy.push(location.clone());
            }
        }
        Ok(found)
    }

    /// Lets go of a cgroup whose name is another unit's by now: for a container whose own processes
    /// have ended. Without systemd in reach nobody can tell.
    pub(crate) fn without_others(mut self) -> Self {
        if self.unit.as_ref().is_some_and(|unit| unit.is_taken().unwrap_or(false)) {
            (self.unit, self.unified) = (None, None);
        }
        self
    }

    /// Whether it is in no hierarchy: an unprivileged user's container stays in the user's cgroup.
    pub(crate) fn is_nowhere(&self) -> bool {
        self.paths.unified.is_none() && self.paths.legacy.is_empty()
    }

    /// Where the cgroup is, to be recorded: with what hoist made there, and without hierarchies
    /// in which the container has no cgroup for want of permission.
    pub(crate) fn paths(&self) -> &Paths {
        &self.paths
    }

    /// How a process gets in.
    pub(crate) fn placement(&self) -> Result<Placement<'_>> {
        let tasks = |dir: &Dir| {
            dir.open("tasks", OFlags::WRONLY).map_err(|errno| dir.error("open", "tasks", errno))
        };
        Ok(Placement {
            v2_dir: self.unified.as_ref().map(AsFd::as_fd),
            v1_tasks: self.legacy.iter().map(tasks).collect::<Result<_>>()?,
        })
    }

    /// Whether a process can get here only by being moved by systemd: to be born in a cgroup takes
    /// the right to write to the nearest one above that is the caller's as well (cgroup-v2.rst,
    /// "Delegation Containment"), and a user's session is beside what the user's manager has.
    pub(crate) fn wants_attaching(&self) -> Result<bool> {
        let (Some(_), Some(location)) = (&self.unit, &self.paths.unified) else {
            return Ok(false);
        };
        if !user_namespace::is_rootless()? {
            return Ok(false);
        }
        let own = host::own_unified()?;
        let (own, target) = (Path::new(own.trim_start_matches('/')), Path::new(&location.path));
        let shared = own.components().zip(target.components()).take_while(|(a, b)| a == b);
        let mut ancestor = PathBuf::from(&location.mountpoint);
        ancestor.extend(shared.map(|(component, _)| component));
        ancestor.push("cgroup.procs");
        Ok(rustix::fs::accessat(CWD, &ancestor, Access::WRITE_OK, AtFlags::EACCESS).is_err())
    }

    /// Has systemd move a process here.
    pub(crate) fn attach(&self, pid: u32) -> Result<()> {
        let (Some(unit), Some(dir), Some(location)) =
            (&self.unit, &self.unified, &self.paths.unified)
        else {
            return Err(Error::new(ErrorKind::State, "the container's cgroup is not a unit's"));
        };
        let below = dir.path().strip_prefix(location.directory()).ok();
        unit.attach(below.and_then(|path| path.to_str()).unwrap_or_default(), pid)
    }

    /// The processes in the cgroup and in those below it.
    pub(crate) fn pids(&self) -> Result<Vec<Pid>> {
        match self.processes() {
            Some(dir) => dir.pids().map_err(|errno| dir.error("read", "cgroup.procs", errno)),
            None => Ok(Vec::new()),
        }
    }

    /// Delegates the cgroup2 to the root user of the container's user namespace: the directory
    /// and the files that the kernel lists for that purpose (cgroup-v2.rst, "Model of
    /// Delegation"). v1 can't be delegated safely.
    pub(crate) fn chown(&self, uid: u32) -> Result<()> {
        let Some(dir) = self.unified.as_ref().filter(|_| self.legacy.is_empty()) else {
            return Ok(());
        };
        let uid = Some(Uid::from_raw(uid));
        let chown = |file: &str, flags| match rustix::fs::chownat(dir, file, uid, None, flags) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(errno) => Err(dir.error("change the owner of", file, errno)),
        };
        chown("", AtFlags::EMPTY_PATH)?;
        for file in delegated_files().lines().filter(|file| !file.contains('/')) {
            chown(file, AtFlags::SYMLINK_NOFOLLOW)?;
        }
        Ok(())
    }

    /// The directory in a hierarchy in which all of the container's processes are.
    fn processes(&self) -> Option<&Dir> {
        self.unified.as_ref().or_else(|| self.legacy_dir("devices")).or(self.legacy.first())
    }

    fn legacy_dir(&self, controller: &str) -> Option<&Dir> {
        let mut legacy = self.paths.legacy.iter().zip(&self.legacy);
        legacy.find(|(location, _)| location.has(controller)).map(|(_, dir)| dir)
    }
}

/// The files to delegate: /sys/kernel/cgroup/delegate since Linux 4.15.
fn delegated_files() -> String {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::open("/sys/kernel/cgroup/delegate", flags, rustix::fs::Mode::empty())
        .and_then(|file| dir::read_from_start(&file, 1 << 16))
        .unwrap_or_else(|_| "cgroup.procs\ncgroup.subtree_control\ncgroup.threads\n".to_owned())
}
