//! Processes that join are attacked by the container's own: until they are the user's program they
//! hold what isn't the container's, and nothing of it may be had.

use std::fs;

use hoist::ExecOptions;
use serde_json::json;

use crate::common::{Case, PATIENCE, capabilities, exec_with};
use crate::subject::{AUDITOR, Waiting, prepare};
use crate::{case, skip};

/// Executes processes while the first one watches, until it has seen some; what it got.
fn attacked(
    case: &mut Case,
    how: &str,
    mut join: impl FnMut(&Waiting<'_>, &Case),
) -> Vec<(String, u32)> {
    const ENOUGH: u32 = 100;
    prepare(case, &format!("watch /stop{how}"));
    let container = Waiting::start(case);
    let begin = std::time::Instant::now();
    while !Waiting::answers(case).contains("watching") {
        assert!(begin.elapsed() < PATIENCE, "the auditor doesn't watch");
        std::thread::yield_now();
    }
    for _ in 0..ENOUGH {
        join(&container, case);
    }
    fs::write(case.rootfs().join("stop"), "").unwrap();
    while !Waiting::answers(case).contains("killed") {
        assert!(begin.elapsed() < 2 * PATIENCE, "the auditor doesn't stop");
        std::thread::yield_now();
    }
    container.end();
    let text = Waiting::answers(case);
    let numbers = text.lines().filter_map(|line| line.split_once(' '));
    let mut haul: Vec<(String, u32)> = numbers
        .filter_map(|(name, number)| Some((name.to_owned(), number.parse().ok()?)))
        .collect();
    haul.retain(|(name, _)| name != "watch");
    haul
}

fn count(haul: &[(String, u32)], name: &str) -> u32 {
    haul.iter().find(|(other, _)| other == name).map_or(0, |(_, number)| *number)
}

fn iterations(what: &str, number: impl std::fmt::Display) {
    use std::io::Write;
    let line = format!("ITERATIONS {what}: {number}\n");
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Neither the executable nor memory, descriptors, directories or environment of a process that
/// joins can be had, and it can't be traced (CVE-2016-9962, CVE-2019-5736, CVE-2024-21626).
///
/// Seen to fail: with CAP_SYS_PTRACE, by [`who_may_trace_still_writes_no_executable`].
#[test]
fn nothing_can_be_had_of_who_joins() {
    for user in [false, true] {
        let mut case = case!();
        if user {
            case.user_namespace();
        }
        let question = format!("call {}", libc::SYS_getpid);
        let haul = attacked(&mut case, "", |container, case| {
            container.ask(&case.config, &[&question]);
        });
        iterations("nothing_can_be_had_of_who_joins", count(&haul, "seen"));
        assert!(count(&haul, "seen") > 0, "nobody was met: {haul:?}");
        let got: Vec<_> =
            haul.iter().filter(|(name, count)| name != "seen" && *count > 0).collect();
        assert!(got.is_empty(), "user namespace: {user}: {got:?} of {haul:?}");
    }
}

/// A container with CAP_SYS_PTRACE in the host's user namespace reaches what shares its pid
/// namespace. But what it reaches isn't the runtime's program: that can't be written.
///
/// It also shows that the watcher is no blind one.
#[test]
fn who_may_trace_still_writes_no_executable() {
    let mut case = case!();
    if !capabilities().contains(rustix::thread::CapabilitySet::SYS_PTRACE) {
        skip!("needs CAP_SYS_PTRACE");
    }
    case.all_capabilities();
    let question = format!("call {}", libc::SYS_getpid);
    let haul = attacked(&mut case, "", |container, case| {
        container.ask(&case.config, &[&question]);
    });
    iterations("who_may_trace_still_writes_no_executable", count(&haul, "seen"));
    assert!(count(&haul, "seen") > 0 && count(&haul, "exe") > 0, "{haul:?}");
    assert_eq!(count(&haul, "exe_written"), 0, "{haul:?}");
}

/// Who is killed while it joins is an error that says so.
///
/// Seen to fail: while the error said that the container's first process was killed.
#[test]
fn who_is_killed_while_it_joins() {
    let mut case = case!();
    let mut errors = Vec::new();
    attacked(&mut case, " kill", |container, case| {
        let Waiting::Hoist(container) = container else { return };
        let process = json!({
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": case.config["process"]["env"],
            "args": [AUDITOR],
        });
        match exec_with(container, process, ExecOptions::new()) {
            // Killed later, or not at all.
            Ok(output) => assert!(output.exit.success() || output.exit.signal() == Some(9)),
            Err(error) => errors.push(error.to_string()),
        }
    });
    iterations("who_is_killed_while_it_joins", errors.len());
    // The container's first process is well.
    let clear = |text: &str| text.contains("was killed") && !text.contains("first process");
    let unclear: Vec<_> = errors.iter().filter(|text| !clear(text)).collect();
    assert!(unclear.is_empty(), "{unclear:?} of {}", errors.len());
}
