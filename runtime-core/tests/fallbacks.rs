//! Kernels that forbid or lack something: a container runs all the same, or there is one clear
//! error that names what is missing, and nothing is left behind.

#![cfg(test)]

mod harness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::{Finished, Lab, again, finish, skip};
use hoist::{Bundle, CreateOptions, ExecOptions, Result, Runtime, Stdio};

const LIMIT: Duration = Duration::from_secs(60);

/// Runs a container in a program that `through` prepares and that lacks the system calls `denied`.
fn run(lab: &Lab, through: &str, denied: &str) -> Finished {
    lab.write_config(&lab.config(&["sh", "-c", "read line; exit 5"]));
    let mut command = again("a_container", through);
    command.env("HOIST_LAB", lab.dir()).env("HOIST_DENIED", denied);
    finish(command, LIMIT)
}

#[test]
fn executable_memfds_are_forbidden() {
    let name = "executable_memfds_are_forbidden";
    let Some(lab) = Lab::new(name) else { return };
    if !Path::new("/proc/sys/vm/memfd_noexec").exists() {
        skip(name, "needs the sysctl vm.memfd_noexec (Linux 6.3)");
        return;
    }
    // The sysctl is the pid namespace's own.
    let through = r#"exec unshare --pid --fork --mount-proc sh -c '
        echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"' sh "$@""#;
    run(&lab, through, "").passed();
    assert_eq!(lab.left(), Vec::<String>::new());
}

/// The system call, its number, and the kernel that brought it, which an error has to name.
const CALLS: [(&str, i64, &str); 13] = [
    ("clone3", libc::SYS_clone3, "5."),
    ("openat2", libc::SYS_openat2, "5."),
    ("open_tree", libc::SYS_open_tree, "5."),
    ("fsopen", libc::SYS_fsopen, "5."),
    ("fsconfig", libc::SYS_fsconfig, "5."),
    ("fsmount", libc::SYS_fsmount, "5."),
    ("move_mount", libc::SYS_move_mount, "5."),
    ("mount_setattr", libc::SYS_mount_setattr, "5."),
    ("close_range", libc::SYS_close_range, "5."),
    ("memfd_create", libc::SYS_memfd_create, ""),
    ("pidfd_open", libc::SYS_pidfd_open, "5."),
    ("pidfd_send_signal", libc::SYS_pidfd_send_signal, "5."),
    ("pidfd_getfd", libc::SYS_pidfd_getfd, "5."),
];

#[test]
fn a_system_call_is_missing() {
    let name = "a_system_call_is_missing";
    let mut wrong = Vec::new();
    for (call, _, version) in CALLS {
        let Some(lab) = Lab::new(name) else { return };
        let finished = run(&lab, r#"exec "$@""#, call);
        let text = &finished.text;
        let report = text.lines().find(|line| line.contains("RESULT")).unwrap_or("no result");
        println!("without {call}: {report}");
        let clear = text.contains("RESULT ok")
            || (report.contains("ENOSYS")
                && report.contains(call)
                && report.contains("Linux")
                && report.contains(version));
        if !clear {
            wrong.push(format!("without {call}: {report}"));
        }
        if !finished.status.success() {
            wrong.push(format!("without {call}: {text}"));
        }
        for left in lab.left() {
            wrong.push(format!("without {call}: {left} is left"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
#[ignore = "run by the others"]
fn a_container() {
    let dir = PathBuf::from(std::env::var_os("HOIST_LAB").expect("HOIST_LAB"));
    let denied = std::env::var("HOIST_DENIED").expect("HOIST_DENIED");
    let numbers: Vec<i64> =
        CALLS.iter().filter(|(name, ..)| *name == denied).map(|(_, number, _)| *number).collect();
    let bundle = Bundle::load(dir.join("bundle")).expect("a bundle");
    harness::deny::deny(&numbers).expect("load the filter");
    match live(&dir, bundle) {
        Ok(()) => println!("RESULT ok"),
        Err(error) => println!("RESULT error: {error}"),
    }
    // Nothing of it is left in this program either.
    let children = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let children: String = children
        .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default())
        .collect();
    assert_eq!(children, "");
}

/// A container's whole life.
fn live(dir: &Path, bundle: Bundle) -> Result<()> {
    let runtime = Runtime::builder().root(dir.join("state")).build()?;
    let mut container =
        runtime.create_with("one", bundle, CreateOptions::new().stdio(Stdio::piped()))?;
    let mut rest = || {
        container.start()?;
        let process = container.spec()?.process().clone().expect("a process");
        let exec = container.exec(&process, ExecOptions::new().stdio(Stdio::null()))?;
        assert_eq!(exec.wait()?.code(), Some(5));
        drop(container.pipes().stdin.take());
        assert_eq!(container.wait()?.code(), Some(5));
        Ok(())
    };
    let outcome = rest();
    container.delete_force()?;
    outcome
}
