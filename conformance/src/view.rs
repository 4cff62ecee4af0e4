//! Other views of the cgroups, in the mount namespace of this process, which has to be its own: the
//! machine's mounts are never touched. The benchmarks (`benches/`) have this file, too.

use std::ffi::{CStr, CString};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_move, unmount};

use crate::failure::{Context, Failure, Result};

pub(crate) const CGROUPS: &str = "/sys/fs/cgroup";

/// A fresh cgroup2 in place of everything else. The controllers that v1 hierarchies hold are missing.
pub(crate) fn unified() -> Result<()> {
    mount("none", CGROUPS, "cgroup2", MountFlags::empty(), None).context("mount a fresh cgroup2")
}

/// A tmpfs with the host's hierarchies in it, and with those that the host has not mounted: the kernel
/// takes these controllers from cgroup2 while they are mounted, if no cgroup there uses them. cgroup2 is
/// there if it is left with no controller; crun wants it that way.
pub(crate) fn hybrid() -> Result<()> {
    let controllers = fs::read_to_string("/proc/cgroups").context("/proc/cgroups")?;
    if !Path::new(CGROUPS).join("devices/cgroup.procs").exists() {
        return Err(Failure::new("hybrid: this machine has no cgroup v1 hierarchies"));
    }
    let top = "/run/hoist-view";
    fs::create_dir_all(top).context(top)?;
    mount("cgroups", top, "tmpfs", MountFlags::empty(), Some(c"mode=755")).context(top)?;
    for entry in fs::read_dir(CGROUPS).context(CGROUPS)?.flatten() {
        let name = entry.file_name();
        let place = Path::new(top).join(&name);
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link {
            let target = fs::read_link(entry.path()).context(entry.path().display())?;
            std::os::unix::fs::symlink(target, place).context(entry.path().display())?;
        } else if entry.path().join("cgroup.procs").exists() {
            fs::create_dir(&place).context(place.display())?;
            mount_bind(entry.path(), &place).context(place.display())?;
        }
    }
    for controller in ["hugetlb", "net_cls", "net_prio", "perf_event"] {
        let place = Path::new(top).join(controller);
        // #subsys_name hierarchy num_cgroups enabled
        let enabled = controllers.lines().any(|line| {
            let mut fields = line.split_whitespace();
            fields.next() == Some(controller) && fields.last() == Some("1")
        });
        if enabled && !place.exists() {
            fs::create_dir(&place).context(place.display())?;
            let data = CString::new(controller).context(controller)?;
            if !mount_hierarchy(controller, &place, &data) {
                // cgroup2 holds it: then it is missing in this view.
                fs::remove_dir(&place).context(place.display())?;
            }
        }
    }
    mount_move(top, CGROUPS).context(CGROUPS)?;
    let unified = Path::new(CGROUPS).join("unified");
    let held = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    if !held.trim().is_empty() {
        unmount(&unified, UnmountFlags::DETACH).context(unified.display())?;
    }
    Ok(())
}

/// Mounts a controller of cgroup v1. A cgroup that has just been removed from cgroup2 holds the controller
/// for some milliseconds more, and nothing tells when it no longer does.
fn mount_hierarchy(controller: &str, place: &Path, data: &CStr) -> bool {
    for _ in 0..50 {
        match mount(controller, place, "cgroup", MountFlags::empty(), Some(data)) {
            Ok(()) => return true,
            Err(Errno::BUSY) if !cgroup2_is_used() => thread::sleep(Duration::from_millis(20)),
            Err(_) => return false,
        }
    }
    false
}

/// Whether cgroup2 has cgroups besides its root.
fn cgroup2_is_used() -> bool {
    let entries = fs::read_dir(Path::new(CGROUPS).join("unified")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_type()).any(|kind| kind.is_ok_and(|kind| kind.is_dir()))
}
