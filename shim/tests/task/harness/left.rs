//! Processes, cgroups and mounts on the host: what a test sees of them, and what it leaves.

use std::fs;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{UnmountFlags, unmount};
use rustix::process::{Pid, Signal, kill_process};

const TOP: &str = "/sys/fs/cgroup";

/// One cgroup2 for everything.
pub(crate) fn unified() -> bool {
    Path::new(TOP).join("cgroup.controllers").exists()
}

/// Whether containers can have limits of this controller.
pub(crate) fn has_controller(name: &str) -> bool {
    if !unified() {
        return Path::new(TOP).join(name).exists();
    }
    let there = fs::read_to_string(Path::new(TOP).join("cgroup.controllers")).unwrap_or_default();
    there.split_whitespace().any(|controller| controller == name)
}

/// Whether this pidfd's process has ended; whoever is its parent needn't have reaped it.
pub(crate) fn ended(pidfd: &impl AsFd) -> bool {
    let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
    poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).expect("poll") > 0
}

/// Whether there is such a process, and it isn't just a zombie.
pub(crate) fn alive(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .any(|line| line.starts_with("State:") && !line.contains('Z') && !line.contains('X'))
}

/// The cgroup of a container in the hierarchy of a v1 controller, or in the one of v2.
pub(crate) fn cgroup_of(containerd: &str, id: &str, controller: &str) -> PathBuf {
    let top = if unified() { PathBuf::from(TOP) } else { Path::new(TOP).join(controller) };
    top.join(format!("{containerd}-{id}"))
}

/// Directories at the top of any hierarchy whose names begin so.
fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let mut found = directories(Path::new(TOP));
    found.extend(found.clone().iter().flat_map(|dir| directories(dir)));
    found.retain(|dir| {
        // "…-1" is no prefix of "…-10".
        let name = dir.file_name().map(|name| name.to_string_lossy().into_owned());
        name.is_some_and(|name| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('-')))
    });
    found
}

fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
}

fn mounts(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

/// Processes of a shim: they work in a bundle, or name the namespace among their arguments.
fn processes(name: &str, dir: &Path) -> Vec<Pid> {
    let us = std::process::id();
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc").expect("/proc").flatten() {
        let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse::<u32>().ok()) else {
            continue;
        };
        let inside = fs::read_link(entry.path().join("cwd")).is_ok_and(|cwd| cwd.starts_with(dir));
        let arguments = fs::read(entry.path().join("cmdline")).unwrap_or_default();
        let named = arguments.split(|byte| *byte == 0).any(|word| word == name.as_bytes());
        if pid != us && (inside || named) && alive(pid) {
            found.extend(i32::try_from(pid).ok().and_then(Pid::from_raw));
        }
    }
    found
}

/// One line for each thing that is left.
pub(crate) fn all(name: &str, dir: &Path) -> Vec<String> {
    let processes = processes(name, dir).into_iter().map(|pid| format!("process {pid:?}"));
    let cgroups = cgroups(name).into_iter().map(|path| format!("cgroup {}", path.display()));
    let mounts = mounts(dir).into_iter().map(|path| format!("mount {}", path.display()));
    let states =
        directories(&dir.join("runc")).iter().flat_map(|dir| directories(dir)).collect::<Vec<_>>();
    let states = states.into_iter().map(|path| format!("state {}", path.display()));
    processes.chain(cgroups).chain(mounts).chain(states).collect()
}

/// Ends and removes all of it.
pub(crate) fn clean(name: &str, dir: &Path) {
    // Shims first: they would only start something again.
    for pid in processes(name, dir) {
        let _ = kill_process(pid, Signal::KILL);
    }
    // What is killed leaves its cgroup soon. No failure here: there may be one already.
    for _ in 0..2000 {
        let left = cgroups(name);
        if left.is_empty() {
            break;
        }
        left.iter().for_each(|path| empty(path));
        std::thread::sleep(Duration::from_millis(5));
    }
    for point in mounts(dir).iter().rev() {
        let _ = unmount(point, UnmountFlags::DETACH);
    }
    if mounts(dir).is_empty() {
        let _ = fs::remove_dir_all(dir);
    } else {
        eprintln!("something is mounted below {}: not removed", dir.display());
    }
}

/// Thaws a cgroup, kills what is in it and below, and removes what can be removed.
fn empty(path: &Path) {
    directories(path).iter().for_each(|below| empty(below));
    let _ = fs::write(path.join("freezer.state"), "THAWED");
    let _ = fs::write(path.join("cgroup.freeze"), "0");
    let pids = fs::read_to_string(path.join("cgroup.procs")).unwrap_or_default();
    for pid in pids.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw) {
        let _ = kill_process(pid, Signal::KILL);
    }
    let _ = fs::remove_dir(path);
}
