//! Deleting removes the cgroup and all below it, or names who is in the way.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};

use hoist::{CreateOptions, ErrorKind, Status};

use crate::case;
use crate::cgroups::write;
use crate::common::{Case, wait_for_exit};

/// A stopped container.
fn stopped(case: &mut Case) -> hoist::Container {
    case.script("true");
    let options = CreateOptions::new().stdio(hoist::Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    wait_for_exit(container.pidfd().unwrap());
    container.wait().unwrap();
    container
}

/// A process of the host's in all of the container's cgroups, or below them.
fn intruder(case: &Case, below: &str) -> std::process::Child {
    let child = host_sleep();
    for dir in case.cgroups() {
        enter(&dir, below, child.id());
    }
    child
}

/// A process of the host's that only waits. It has none of this program's pipes, which it would
/// keep open after a failed test.
pub(crate) fn host_sleep() -> std::process::Child {
    let mut command = Command::new("sleep");
    let null = || Stdio::null();
    command.arg("1000").stdin(null()).stdout(null()).stderr(null()).spawn().unwrap()
}

/// Moves a process into a cgroup below another one, made for it.
fn enter(dir: &Path, below: &str, pid: u32) {
    let mut dir = dir.to_owned();
    for name in below.split('/').filter(|name| !name.is_empty()) {
        dir.push(name);
        fs::create_dir_all(&dir).unwrap();
        // A new cpuset of v1 takes nobody before it has CPUs.
        if dir.join("tasks").exists() && dir.join("cpuset.cpus").exists() {
            write(&dir.join("cpuset.cpus"), "0");
            write(&dir.join("cpuset.mems"), "0");
        }
    }
    write(&dir.join("cgroup.procs"), &pid.to_string());
}

/// As in runc: who was moved there by somebody else isn't the container's, and isn't killed
/// without force; the container stays to be deleted later.
#[test]
fn who_is_in_the_way_is_named() {
    let mut case = case!();
    let container = stopped(&mut case);
    let mut child = intruder(&case, "below");
    let error = container.delete().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cgroup, "{error}");
    assert!(error.file().unwrap().contains(&case.id), "{error}");
    let hint = format!("1 process(es) are still in it: {}", child.id());
    assert_eq!(error.hint(), Some(hint.as_str()));
    assert!(child.try_wait().unwrap().is_none());
    let again = case.runtime.container(&case.id).unwrap();
    assert_eq!(again.state().unwrap().status, Status::Stopped);
    child.kill().unwrap();
    child.wait().unwrap();
    again.delete().unwrap();
    case.assert_nothing_left();
}

/// By force everybody in the cgroup is killed.
#[test]
fn force_spares_nobody() {
    let mut case = case!();
    let container = stopped(&mut case);
    let mut child = intruder(&case, "deeply/below");
    container.delete_force().unwrap();
    case.assert_nothing_left();
    let status = child.wait().unwrap();
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&status), Some(9));
}

/// The wait is for their end, however long that takes, and not for a number of attempts.
#[test]
fn dying_processes_are_waited_for() {
    let mut case = case!();
    let container = stopped(&mut case);
    let mut child = intruder(&case, "");
    std::thread::scope(|scope| {
        let deletion = scope.spawn(|| container.delete());
        std::thread::sleep(std::time::Duration::from_millis(300));
        assert!(!deletion.is_finished());
        child.kill().unwrap();
        child.wait().unwrap();
        deletion.join().unwrap().unwrap();
    });
    case.assert_nothing_left();
}

/// Somebody makes cgroups below it all the while.
#[test]
fn cgroups_made_meanwhile_go_too() {
    let mut case = case!();
    let container = stopped(&mut case);
    let dirs: Vec<PathBuf> = case.cgroups();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                for dir in &dirs {
                    let _ = fs::create_dir(dir.join("a"));
                    let _ = fs::create_dir(dir.join("a/b"));
                }
            }
        });
        let deleted = container.delete();
        done.store(true, Ordering::Relaxed);
        deleted.unwrap();
    });
    case.assert_nothing_left();
}

/// Many processes, in nested cgroups, all of them killed by the deletion.
#[test]
fn many_processes_in_nested_cgroups() {
    let mut case = case!();
    case.without_namespace("pid");
    case.without_namespace("cgroup");
    case.script("for i in $(seq 60); do sleep 1000 & done; wait");
    let options = CreateOptions::new().stdio(hoist::Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    crate::cgroups::eventually("60 processes", || container.processes().unwrap().len() > 60);
    for (index, pid) in container.processes().unwrap().into_iter().enumerate() {
        for dir in case.cgroups() {
            enter(&dir, &format!("{}/x", index % 7), pid);
        }
    }
    let first = container.pid().unwrap().unwrap();
    container.delete_force().unwrap();
    case.assert_nothing_left();
    assert!(!std::path::Path::new(&format!("/proc/{first}")).exists());
}
