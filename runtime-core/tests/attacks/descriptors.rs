//! Descriptors of the host that a container's process could go out through.

use std::os::unix::fs::symlink;

use serde_json::json;

use crate::attack;
use crate::attack::Attack;
use crate::common::sh_process;
use crate::subject::Outcome;

/// Finds the canaries from a working directory of the host's, however deep it is.
const LOOK_AROUND: &str = "for up in . .. ../.. ../../.. ../../../.. ../../../../../../../..; do
        for name in host/secret HOST/secret; do [ ! -e $up/$name ] || echo ESCAPED $up/$name; done
    done 2>/dev/null; readlink /proc/self/cwd";

fn look_around(attack: &Attack) -> String {
    let host = attack.canary();
    LOOK_AROUND.replace("HOST", host.to_str().unwrap().trim_start_matches('/'))
}

/// A process that has started anywhere but inside of the root has escaped.
#[track_caller]
fn is_inside(on_hoist: bool, outcome: Outcome, what: &str) {
    match outcome {
        Ok(output) => {
            assert!(!output.stdout.contains("ESCAPED"), "{what}: {output:?}");
            assert!(!output.stdout.contains("unreachable"), "{what}: {output:?}");
        }
        // No such directory.
        Err(refusal) => {
            let told = refusal.pointer.as_deref() == Some("/process/cwd");
            assert!(told || !on_hoist, "{what}: {refusal:?}");
        }
    }
}

const DESCRIPTORS: std::ops::Range<u32> = 3..20;

/// CVE-2024-21626 (runc): a descriptor of the host's directory that the runtime left open is the
/// working directory of the container's process, named by the configuration or by a link.
/// Seen to fail: with hoist leaving the old root's descriptor open and not looking where it is.
#[test]
fn cve_2024_21626() {
    for fd in DESCRIPTORS {
        for path in
            [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/../.."), "/w".into()]
        {
            let mut attack = attack!();
            symlink(format!("/proc/self/fd/{fd}"), attack.rootfs().join("w")).unwrap();
            attack.process()["cwd"] = json!(path);
            let script = look_around(&attack);
            let outcome = attack.run_script(&script);
            is_inside(attack.on_hoist(), outcome, &path);
        }
    }
    // What the process itself has: the script's own directory is number 3.
    let mut attack = attack!();
    let output = attack.run_script("ls /proc/self/fd; ls -l /proc/1/fd/").unwrap();
    assert!(output.stdout.starts_with("0\n1\n2\n3\n"), "{output:?}");
    assert_eq!(output.stdout.matches(" -> ").count(), 3, "{output:?}");
}

/// CVE-2024-21626 (runc, youki), exec: the same for a process that joins, whose program may be such a
/// link, too.
/// Seen to fail: with hoist leaving the cgroup's descriptor open and not looking where it is.
#[test]
fn cve_2024_21626_exec() {
    let mut attack = attack!();
    let script = look_around(&attack);
    let rootfs = attack.rootfs();
    for fd in DESCRIPTORS {
        symlink(format!("/proc/self/fd/{fd}"), rootfs.join(format!("w{fd}"))).unwrap();
    }
    let on_hoist = attack.on_hoist();
    let running = attack.start_sleeping();
    for fd in DESCRIPTORS {
        for path in
            [format!("/proc/self/fd/{fd}"), format!("/proc/self/fd/{fd}/../.."), format!("/w{fd}")]
        {
            let mut process = sh_process(&script);
            process["cwd"] = json!(path);
            is_inside(on_hoist, running.exec(process), &path);
            // A program of the host's.
            let mut process = sh_process("");
            let program = format!("{path}/../../../../../../../bin/sh");
            process["args"] = json!([program, "-c", "cat /proc/self/mountinfo; echo ESCAPED"]);
            if let Ok(output) = running.exec(process) {
                assert!(!output.stdout.contains("ESCAPED"), "{path}: {output:?}");
            }
        }
    }
    let process = sh_process("ls /proc/self/fd; ls -l /proc/$$/fd/");
    let output = running.exec(process).unwrap();
    assert!(output.stdout.starts_with("0\n1\n2\n3\n"), "{output:?}");
    assert_eq!(output.stdout.matches(" -> ").count(), 3, "{output:?}");
    running.end();
}
