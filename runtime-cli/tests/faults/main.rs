//! DESIGN.md, law 4: crash-only, everywhere. Each command is killed after each of its system calls,
//! and each of these is made to fail with EIO, ENOMEM, EMFILE and ENOSPC; so are those of the
//! processes that build a container. Whatever happens: the caller is told the truth or nothing,
//! `state` answers, `delete --force` leaves nothing, and the same id can be used again.
//!
//! All points take an hour and more (`make faults`); a plain run takes every so many, other ones each time.

#![cfg(test)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    clippy::print_stderr
)] // clippy.toml allows these in tests, but does not take helpers of integration tests for such

mod check;
#[path = "../../../runtime-core/tests/harness/mod.rs"]
mod harness;
mod likeness;
mod operation;
mod sweep;

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::Stdio;

use harness::{Lab, UNIFIED, again, skip};
use sweep::Sweep;

/// The program under test. `HOIST_BIN` names it where these tests run away from the directory that
/// they were built in.
fn program() -> PathBuf {
    std::env::var_os("HOIST_BIN").map_or_else(|| env!("CARGO_BIN_EXE_hoist").into(), PathBuf::from)
}

/// Each operation in both views of cgroups.
macro_rules! operations {
    ($($test:ident $unified:ident $operation:literal)*) => {$(
        #[test]
        fn $test() {
            run($operation, r#"exec "$@""#, "");
        }

        #[test]
        fn $unified() {
            run($operation, UNIFIED, " on cgroup v2");
        }
    )*};
}

operations! {
    create create_on_cgroup_v2 "create"
    start start_on_cgroup_v2 "start"
    run_ run_on_cgroup_v2 "run"
    exec exec_on_cgroup_v2 "exec"
    state state_on_cgroup_v2 "state"
    list list_on_cgroup_v2 "list"
    ps ps_on_cgroup_v2 "ps"
    kill kill_on_cgroup_v2 "kill"
    pause pause_on_cgroup_v2 "pause"
    resume resume_on_cgroup_v2 "resume"
    update update_on_cgroup_v2 "update"
    delete delete_on_cgroup_v2 "delete"
    delete_force delete_force_on_cgroup_v2 "delete-force"
}

/// In a program of its own: it becomes the parent of all that a killed command leaves.
fn run(operation: &str, through: &str, view: &str) {
    if Lab::new(operation).is_none() {
        return;
    }
    if !harness::trace::CAN_FAIL {
        skip(&format!("{operation}{view} failed"), "only known how for x86_64");
    }
    let mut command = again("sweep", through);
    command.env("HOIST_OPERATION", operation).env("HOIST_VIEW", view).stderr(Stdio::inherit());
    let mut child = command.spawn().unwrap();
    let mut passed = false;
    for line in BufReader::new(child.stdout.take().unwrap()).lines() {
        let line = line.unwrap();
        let line = line.trim_start_matches("test sweep ... ");
        passed |= line.contains("1 passed");
        if ["POINTS", "PROGRESS", "FAILED", "SEEN", "SKIP", "HOIST_FAULTS"]
            .iter()
            .any(|word| line.starts_with(word))
        {
            println!("{line}");
        }
    }
    assert!(child.wait().unwrap().success() && passed);
}

#[test]
#[ignore = "run by the others"]
fn sweep() {
    let variable = |name| std::env::var(name).expect("set by the test that runs this");
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let operation = operation::named(&variable("HOIST_OPERATION"));
    Sweep::new(Lab::new("faults").unwrap(), operation).run(&variable("HOIST_VIEW"));
}
