//! Processes that join are attacked by the container's own: until they are the user's program they
//! hold what isn't the container's, and nothing of it may be had.

use std::fs;
use std::path::Path;

use hoist::ExecOptions;
use serde_json::json;

use crate::common::{Case, PATIENCE, capabilities, exec_with};
use crate::subject::{AUDITOR, Waiting, arguments, install, prepare};
use crate::{case, skip};

const ENOUGH: u32 = 100;

/// How often: as `HOIST_ATTACK_ITERATIONS` says, but often enough to meet somebody.
fn rounds(usual: u32) -> u32 {
    let wanted = std::env::var("HOIST_ATTACK_ITERATIONS").ok();
    let wanted: Option<u32> = wanted.and_then(|text| text.parse().ok());
    wanted.map_or(usual, |number| number.max(usual / 4))
}

/// Executes processes while the first one watches; what it got. It takes hold of them if `how` says
/// nothing else.
fn attacked(
    case: &mut Case,
    how: Option<&str>,
    usual: u32,
    mut join: impl FnMut(&Waiting<'_>, &Case),
) -> Vec<(String, u32)> {
    let canary = case.dir.join("canary");
    fs::write(&canary, "of the host").unwrap();
    let how = how.map_or_else(|| canary.display().to_string(), str::to_owned);
    prepare(case, &format!("watch /stop {how}"));
    let container = Waiting::start(case);
    let begin = std::time::Instant::now();
    while !Waiting::answers(case).contains("watching") {
        assert!(begin.elapsed() < PATIENCE, "the auditor doesn't watch");
        std::thread::yield_now();
    }
    for _ in 0..rounds(usual) {
        join(&container, case);
    }
    fs::write(case.rootfs().join("stop"), "").unwrap();
    let begin = std::time::Instant::now();
    while !Waiting::answers(case).contains("killed") {
        assert!(begin.elapsed() < PATIENCE, "the auditor doesn't stop");
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

/// How often it was tried, and how often something came of it.
fn tell(what: &str, usual: u32, met: impl std::fmt::Display) {
    use std::io::Write;
    let line = format!("ITERATIONS {what}: {}\n{what}: met {met}\n", rounds(usual));
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}

/// Neither the executable nor memory, descriptors, directories or environment of a process that
/// joins can be had, and it can't be traced (CVE-2016-9962, CVE-2019-5736, CVE-2024-21626).
///
/// Seen to fail: where init stayed dumpable and could be read (mode 0777) or kept its capabilities while it
/// joined; any one of the three alone keeps it. With CAP_SYS_PTRACE, by
/// [`who_may_trace_still_writes_no_executable`].
#[test]
fn nothing_can_be_had_of_who_joins() {
    for user in [false, true] {
        let mut case = case!();
        if user {
            case.user_namespace();
        }
        let question = format!("call {}", libc::SYS_getpid);
        let haul = attacked(&mut case, None, ENOUGH, |container, case| {
            container.ask(&case.config, &[&question]);
        });
        tell("nothing_can_be_had_of_who_joins", ENOUGH, count(&haul, "seen"));
        assert!(count(&haul, "seen") > 0, "nobody was met: {haul:?}");
        let got: Vec<_> =
            haul.iter().filter(|(name, count)| name != "seen" && *count > 0).collect();
        assert!(got.is_empty(), "user namespace: {user}: {got:?} of {haul:?}");
    }
}

/// A container with CAP_SYS_PTRACE in the host's user namespace reaches what shares its pid
/// namespace. But what it reaches isn't the runtime's program: that can't be written. And nothing that
/// it reaches leads to the host's files.
///
/// It also shows that the watcher is no blind one.
///
/// Seen to fail: while who joined brought the directory of its cgroup along, which led to the host.
#[test]
fn who_may_trace_still_writes_no_executable() {
    let mut case = case!();
    if !capabilities().contains(rustix::thread::CapabilitySet::SYS_PTRACE) {
        skip!("needs CAP_SYS_PTRACE");
    }
    case.all_capabilities();
    let question = format!("call {}", libc::SYS_getpid);
    let haul = attacked(&mut case, None, ENOUGH, |container, case| {
        container.ask(&case.config, &[&question]);
    });
    tell("who_may_trace_still_writes_no_executable", ENOUGH, count(&haul, "seen"));
    assert!(count(&haul, "seen") > 0 && count(&haul, "exe") > 0, "{haul:?}");
    assert_eq!(count(&haul, "exe_written"), 0, "{haul:?}");
    assert_eq!(count(&haul, "escaped"), 0, "{haul:?}");
}

/// The same of a container that is made in the pid namespace of another, as in a pod: that one's
/// processes see its init from the moment on that it is there.
///
/// Seen to fail: where init stayed dumpable, without a user namespace: all could be had but to write its
/// executable.
#[test]
fn nothing_can_be_had_of_who_is_made_beside() {
    const PODS: u32 = 30;
    for user in [false, true] {
        let (mut case, mut beside) = (case!(), case!());
        if user {
            case.user_namespace();
            beside.user_namespace();
        }
        install(&beside);
        beside.process()["args"] = arguments(&["link /proc/self/cwd"]);
        let haul = attacked(&mut case, None, PODS, |container, _| {
            let of_first = |kind: &str| format!("/proc/{}/ns/{kind}", container.pid());
            beside.namespace("pid", Some(Path::new(&of_first("pid"))));
            if user {
                beside.namespace("user", Some(Path::new(&of_first("user"))));
            }
            beside.run().unwrap().success();
        });
        tell("nothing_can_be_had_of_who_is_made_beside", PODS, count(&haul, "seen"));
        assert!(count(&haul, "seen") > 0, "nobody was met: {haul:?}");
        let got: Vec<_> =
            haul.iter().filter(|(name, count)| name != "seen" && *count > 0).collect();
        assert!(got.is_empty(), "user namespace: {user}: {got:?} of {haul:?}");
    }
}

/// Who is killed while it joins is an error that says so.
///
/// Seen to fail: while the error said that the container's first process was killed.
#[test]
fn who_is_killed_while_it_joins() {
    let mut case = case!();
    let (mut errors, mut on_hoist) = (Vec::new(), false);
    attacked(&mut case, Some("kill"), ENOUGH, |container, case| {
        let Waiting::Hoist(container) = container else { return };
        on_hoist = true;
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
    if !on_hoist {
        skip!("this is about hoist's errors");
    }
    tell("who_is_killed_while_it_joins", ENOUGH, errors.len());
    assert!(!errors.is_empty(), "nobody was killed");
    // The container's first process is well.
    let clear = |text: &str| text.contains("was killed") && !text.contains("first process");
    let unclear: Vec<_> = errors.iter().filter(|text| !clear(text)).collect();
    assert!(unclear.is_empty(), "{unclear:?} of {}", errors.len());
}
