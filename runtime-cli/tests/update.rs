//! pause, resume and update, called as engines call them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod common;

use std::io::Write;
use std::process::{Output, Stdio};

use common::{Bench, assert_fails, assert_ok, bench};

/// Gives `text` to the standard input.
fn with_input(bench: &Bench, arguments: &[&str], text: &str) -> Output {
    let mut command = bench.command(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn pause_and_resume() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    assert_fails(&bench.hoist(&["pause", &bench.a]), 1, "container does not exist");
    bench.detached(&["run", "--detach", &bench.a]);
    assert_fails(&bench.hoist(&["resume", &bench.a]), 1, "container not paused");
    assert_ok(&bench.hoist(&["pause", &bench.a]));
    assert_eq!(bench.status(&bench.a), "paused");
    assert_fails(&bench.hoist(&["pause", &bench.a]), 1, "container not running");
    let refused = bench.hoist(&["exec", &bench.a, "true"]);
    assert_fails(&refused, 255, "cannot exec in a paused container");
    assert_ok(&bench.hoist(&["resume", &bench.a]));
    assert_eq!(bench.status(&bench.a), "running");
}

#[test]
fn update_says_what_is_wrong_in_runcs_words() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    assert_fails(&bench.hoist(&["update", &bench.a]), 1, "container does not exist");
    bench.detached(&["create", &bench.a]);
    for (option, value, words) in [
        ("--cpu-period", "x", "invalid value for cpu-period: parsing \"x\": invalid syntax"),
        ("--cpu-period", "-1", "invalid value for cpu-period: parsing \"-1\": invalid syntax"),
        ("--cpu-share", "+5", "invalid value for cpu-share: parsing \"+5\": invalid syntax"),
        ("--cpu-quota", "9999999999999999999", "invalid value for cpu-quota: parsing"),
        ("--cpu-idle", "2", "invalid value for cpu-idle: 2 is neither 0 nor 1"),
        ("--memory", "-2", "invalid value for memory: invalid size: '-2'"),
        ("--memory", "1x", "invalid value for memory: invalid suffix: 'x'"),
        ("--kernel-memory", "x", "invalid value for kernel-memory: invalid size: 'x'"),
        ("--pids-limit", "many", "invalid value for pids-limit: parsing \"many\""),
        ("--pids-limit", "", "invalid value for pids-limit: parsing \"\": invalid syntax"),
        ("--l3-cache-schema", "L3:0=f", "Intel RDT/CAT: l3 cache schema is not enabled"),
        ("--mem-bw-schema", "MB:0=20", "Intel RDT/MBA: memory bandwidth schema is not enabled"),
        ("--resources", "nowhere.json", "open nowhere.json: no such file or directory"),
    ] {
        if option.ends_with("schema") && std::path::Path::new("/sys/fs/resctrl/info").exists() {
            println!("SKIP {option}: this machine has resctrl");
            continue;
        }
        assert_fails(&bench.hoist(&["update", option, value, &bench.a]), 1, words);
    }
    assert_fails(&bench.hoist(&["update"]), 1, "requires exactly 1 argument");
    let update = ["update", "-r", "-", &bench.a];
    assert_fails(&with_input(&bench, &update, "{"), 1, "the resources are not valid JSON");
    let large = format!("{{{}}}", " ".repeat((16 << 20) - 1));
    assert_fails(&with_input(&bench, &update, &large), 1, "read -: larger than 16 MiB");
    assert_fails(&with_input(&bench, &update, r#"{"CPU": {"Idle": 5}}"#), 1, "/cpu/idle");
    // Nothing, an empty value, and what is obsolete.
    assert_ok(&bench.hoist(&["update", &bench.a]));
    assert_ok(&bench.hoist(&["update", &bench.a, "--memory", "", "--cpuset-cpus="]));
    let ignored = bench.hoist(&["update", "--kernel-memory-tcp", "1M", &bench.a]);
    assert_ok(&ignored);
    let words = String::from_utf8_lossy(&ignored.stderr);
    assert!(words.contains("Kernel memory settings are ignored and will be removed"), "{words}");
    assert_ok(&with_input(&bench, &update, r#"{"pids": {}, "memory": {"limit": 0}}"#));
    assert_ok(&bench.hoist(&["kill", &bench.a, "KILL"]));
    common::eventually("it is stopped", || bench.status(&bench.a) == "stopped");
    assert_fails(&bench.hoist(&["update", &bench.a]), 1, "container not running");
}
