//! `hoist events`, as callers of `runc events` see it. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // clippy.toml allows these in tests, but does not take helpers of integration tests for such

mod common;

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use common::{assert_fails, assert_ok, bench, eventually, text};
use serde_json::Value;

#[test]
fn statistics_once() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    let made = bench.command(&["create", &bench.a]).stdout(Stdio::null()).status().unwrap();
    assert!(made.success());
    // One that was created and not started has figures, too.
    for status in ["created", "running"] {
        assert_eq!(bench.status(&bench.a), status);
        let output = bench.hoist(&["events", "--stats", &bench.a]);
        assert_ok(&output);
        let begin = format!(r#"{{"type":"stats","id":"{}","data":{{"cpu":{{"usage":{{"#, bench.a);
        assert!(text(&output.stdout).starts_with(&begin), "{output:?}");
        let line: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(line["data"]["pids"]["current"], 1, "{line}");
        assert_eq!(line["data"]["network_interfaces"][0]["Name"], "lo", "{line}");
        if status == "created" {
            assert_ok(&bench.hoist(&["start", &bench.a]));
        }
    }
    let output = bench.hoist(&["events", &bench.a, "--interval=0"]);
    assert_fails(&output, 1, "duration interval must be greater than 0");
    let output = bench.hoist(&["events", "--interval", "-1s", &bench.a]);
    assert_fails(&output, 1, "duration interval must be greater than 0");
    let output = bench.hoist(&["events", "--interval", "5", &bench.a]);
    assert_fails(&output, 1, "invalid value \"5\" for flag --interval");
    assert_ok(&bench.hoist(&["kill", &bench.a, "KILL"]));
    eventually("it is stopped", || bench.status(&bench.a) == "stopped");
    for arguments in [&["events", "--stats", &bench.a][..], &["events", &bench.a]] {
        let words = format!("container with id {} is not running", bench.a);
        assert_fails(&bench.hoist(arguments), 1, &words);
    }
    assert_ok(&bench.hoist(&["delete", &bench.a]));
    assert_fails(&bench.hoist(&["events", &bench.a]), 1, "container does not exist");
}

#[test]
fn statistics_until_the_end() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    let ran = bench.command(&["run", "-d", &bench.a]).stdout(Stdio::null()).status().unwrap();
    assert!(ran.success());
    let mut command = bench.command(&["events", "--interval", "20ms", &bench.a]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    for _ in 0..3 {
        let line: Value = serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap();
        assert_eq!((&line["type"], &line["id"]), (&"stats".into(), &bench.a.as_str().into()));
    }
    assert_ok(&bench.hoist(&["delete", "--force", &bench.a]));
    // It ends with the container.
    assert!(lines.all(|line| line.unwrap().starts_with(r#"{"type":"stats""#)));
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn a_reader_that_went_away_is_no_reason_to_complain() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    let ran = bench.command(&["run", "-d", &bench.a]).stdout(Stdio::null()).status().unwrap();
    assert!(ran.success());
    let mut command = bench.command(&["events", "--interval", "1ms", &bench.a]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), text(&output.stderr).as_str()), (Some(141), ""));
}
