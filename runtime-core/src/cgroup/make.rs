//! Making the directories of one hierarchy, from the top down.

use std::sync::Arc;

use rustix::io::Errno;

use super::dir::Dir;
use super::host::{Host, Mode};
use super::limits::Write;
use super::paths::Location;
use crate::error::{Error, ErrorKind, Result};

/// How often a path is started anew because a directory in it was removed meanwhile.
const TRIES: u32 = 32;

const CONTROLLERS: &str = "cgroup.controllers";
const SUBTREE: &str = "cgroup.subtree_control";
const TYPE: &str = "cgroup.type";

/// Controllers that work in threaded cgroups: cgroup-v2.rst, "Threads".
const THREADED: [&str; 5] = ["cgroup", "cpu", "cpuset", "perf_event", "pids"];

/// Makes the cgroup in cgroup2. Returns how many of the path's last directories were made.
pub(super) fn unified(
    host: &Host,
    location: &Location,
    mode: Mode,
    writes: &[Write],
) -> Result<(Dir, usize)> {
    let top = host.mount(location)?;
    if mode == Mode::Hybrid {
        return path(&top, location, |_, _, _| Ok(()));
    }
    let controllers =
        top.read(CONTROLLERS).map_err(|errno| top.error("read", CONTROLLERS, errno))?;
    path(&top, location, |parent, child, _| {
        enable(parent, &controllers, writes)?;
        check_type(child, writes)
    })
}

/// Makes the cgroup in a v1 hierarchy. Returns how many of the path's last directories were
/// made.
pub(super) fn legacy(host: &Host, location: &Location) -> Result<(Dir, usize)> {
    let top = host.mount(location)?;
    if !location.has("cpuset") {
        return path(&top, location, |_, _, _| Ok(()));
    }
    // The cgroup's own cpus and mems are for its limits first: they may be exclusive.
    let leaf = top.path().join(&location.path);
    path(&top, location, |parent, child, new| {
        if child.path() == leaf { Ok(()) } else { inherit_cpuset(parent, child, new) }
    })
}

/// Makes a path below `top`, and calls `visit` with each directory's parent, the directory, and
/// whether it is new.
fn path(
    top: &Arc<Dir>,
    location: &Location,
    visit: impl Fn(&Dir, &Dir, bool) -> Result<()>,
) -> Result<(Dir, usize)> {
    let mut tries = 0;
    loop {
        match attempt(top, location, &visit) {
            // A container that ends may take with it the parent that we were about to use.
            Err(error) if tries < TRIES && was_removed(&error) => tries += 1,
            other => return other,
        }
    }
}

fn was_removed(error: &Error) -> bool {
    let gone = [Errno::NOENT, Errno::NODEV].map(Errno::raw_os_error);
    error.errno().is_some_and(|errno| gone.contains(&errno))
}

fn attempt(
    top: &Arc<Dir>,
    location: &Location,
    visit: &impl Fn(&Dir, &Dir, bool) -> Result<()>,
) -> Result<(Dir, usize)> {
    let mut current: Option<Dir> = None;
    let mut made = 0;
    for name in location.path.split('/') {
        let parent = current.as_ref().unwrap_or(top);
        let result = match parent.make(name) {
            Ok((child, new)) => {
                made = if new { made + 1 } else { 0 };
                let visited = visit(parent, &child, new);
                current = Some(if current.is_none() { child.below(top) } else { child });
                visited
            }
            Err(errno) => Err(parent.error("make the cgroup", name, errno)),
        };
        if let Err(error) = result {
            if let Some(deepest) = current {
                deepest.remove_upwards(made);
            }
            return Err(error);
        }
    }
    // A path has at least one component, and `clean` leaves no empty one.
    current.map(|dir| (dir, made)).ok_or_else(|| top.error("make the cgroup", "", Errno::INVAL))
}

/// Enables controllers for a cgroup's children. Those that can't be had are left out here: one
/// that is needed is missed when its limit is set, but for one that only waits for the parent's
/// own processes to leave.
fn enable(parent: &Dir, controllers: &str, writes: &[Write]) -> Result<()> {
    if controllers.trim_ascii().is_empty() {
        return Ok(());
    }
    let enabled = parent.read(SUBTREE).map_err(|errno| parent.error("read", SUBTREE, errno))?;
    let mut missing: Vec<&str> = controllers
        .split_whitespace()
        .filter(|wanted| !enabled.split_whitespace().any(|have| have == *wanted))
        .collect();
    let needing = |controller: &str| writes.iter().find(|write| write.controller == controller);
    // What is needed goes first: one for threads (cpu, pids) is enabled all the same, but makes
    // the parent a threaded domain, in which no other can be.
    missing.sort_by_key(|controller| needing(controller).is_none());
    let all: String = missing.iter().map(|controller| format!("+{controller} ")).collect();
    // All at once, or, as one that is refused spoils the write, one by one.
    if missing.is_empty() || parent.write(SUBTREE, all.trim_end()).is_ok() {
        return Ok(());
    }
    for controller in missing {
        let refused = parent.write(SUBTREE, &format!("+{controller}"));
        if let (Err(Errno::BUSY), Some(write)) = (refused, needing(controller)) {
            return Err(occupied(parent, controller, write));
        }
    }
    Ok(())
}

/// cgroup-v2.rst, "No Internal Process Constraint".
fn occupied(parent: &Dir, controller: &str, write: &Write) -> Error {
    Error::system(format!("enable the controller {controller}"), Errno::BUSY)
        .with_kind(ErrorKind::Cgroup)
        .with_file(parent.path().join(SUBTREE))
        .with_pointer(write.full_pointer())
        .with_hint(
            "a cgroup that has processes of its own can't have controllers for those below it",
        )
}

/// A cgroup below a threaded one, or below one that has processes of its own in a threaded
/// domain, is invalid until it is made threaded; and then controllers that account to processes
/// are not to be had. As in runc, a container that doesn't ask for these is content with that.
fn check_type(child: &Dir, writes: &[Write]) -> Result<()> {
    let kind = child.read(TYPE).map_err(|errno| child.error("read", TYPE, errno))?;
    let kind = kind.trim_end();
    if kind == "domain" {
        return Ok(());
    }
    if let Some(write) = writes.iter().find(|write| !THREADED.contains(&write.controller)) {
        let message =
            format!("a cgroup of type {kind:?} can't have the controller {}", write.controller);
        return Err(Error::new(ErrorKind::Cgroup, message)
            .with_file(child.path())
            .with_pointer(write.full_pointer()));
    }
    if kind == "domain invalid" {
        child.write(TYPE, "threaded").map_err(|errno| child.error("make threaded", TYPE, errno))?;
    }
    Ok(())
}

/// A new v1 cpuset has no CPUs and no memory nodes, and takes no process (cgroup-v1/cpusets.rst):
/// it gets its parent's, unless it has some. Of one that is `untouched` since it was made, nobody
/// has to be asked: what `cgroup.clone_children` may have given it is the parent's as well.
pub(super) fn inherit_cpuset(parent: &Dir, dir: &Dir, untouched: bool) -> Result<()> {
    for file in ["cpuset.cpus", "cpuset.mems"] {
        let read = |dir: &Dir| dir.read(file).map_err(|errno| dir.error("read", file, errno));
        if untouched || read(dir)?.trim_end().is_empty() {
            dir.write(file, read(parent)?.trim_end())
                .map_err(|errno| dir.error("write", file, errno))?;
        }
    }
    Ok(())
}
