use std::ffi::CString;
use std::os::fd::OwnedFd;
use std::time::Duration;

use super::*;
use crate::failure::{Code, Result};
use crate::io::logger::Logger;
use crate::io::target::{Program, Target};

/// A shell as a logger.
fn shell(scheme: &str, script: &str) -> String {
    let escaped: String = script.bytes().map(|byte| format!("%{byte:02x}")).collect();
    format!("{scheme}:///bin/sh?-c={escaped}")
}

fn start(uri: &str, limit: Duration) -> Result<(Logger, [OwnedFd; 2])> {
    let Target::Logger(program) = Target::parse(uri).unwrap() else { panic!("{uri}") };
    Logger::start_within(limit, &program, &request("", uri, uri))
}

/// What [`start`] says, with no limit that matters.
fn refusal(uri: &str) -> String {
    start(uri, Duration::from_secs(60)).unwrap_err().message
}

#[test]
fn a_logger_gets_all_output() {
    let directory = Directory::new();
    let (out, err, env) = (directory.path("out"), directory.path("err"), directory.path("env"));
    for (scheme, ready) in [("binary", "exec 5>&-"), ("binary-v2", "printf x >&5; exec 5>&-")] {
        let script = format!(
            "env >{env}; {ready}; cat <&4 >{err} 3<&- & cat <&3 >{out} 4<&-; wait; exec >{out}.done"
        );
        let uri = shell(scheme, &script);
        let (mut streams, [_, stdout, stderr]) = open(&request("", &uri, &uri));
        assert!(streams.take_pumps().is_empty());
        let bytes = pattern(1_000_000);
        stdout.unwrap().write_all(&bytes).unwrap();
        stderr.unwrap().write_all(b"errors").unwrap();
        // It isn't terminated before it has written everything.
        drop(streams);
        assert_same(&fs::read(&out).unwrap(), &bytes);
        assert_eq!(fs::read(&err).unwrap(), b"errors");
        assert!(Path::new(&format!("{out}.done")).exists());
        let environment = fs::read_to_string(&env).unwrap();
        // The shell adds one or two of its own.
        let shells = |name: &&str| ["PWD=", "_="].iter().any(|own| name.starts_with(own));
        let mut names: Vec<_> = environment.lines().filter(|name| !shells(name)).collect();
        names.sort_unstable();
        assert_eq!(names, ["CONTAINER_ID=container", "CONTAINER_NAMESPACE=space"]);
    }
}

#[test]
fn stdout_and_stderr_may_have_different_ends() {
    let directory = Directory::new();
    let (out, fifo) = (directory.path("out"), directory.fifo("fifo"));
    let uri = shell("binary", &format!("exec 5>&-; cat <&4 >{out}; cat <&3 >>{out}"));
    let (mut streams, [_, stdout, stderr]) = open(&request("", &fifo, &uri));
    let client = reader(&fifo);
    let pumps = run(streams.take_pumps());
    stdout.unwrap().write_all(b"for the client").unwrap();
    stderr.unwrap().write_all(b"for the logger").unwrap();
    pumps.join().unwrap();
    drop(streams);
    assert_eq!(client.join().unwrap(), b"for the client");
    assert_eq!(fs::read(&out).unwrap(), b"for the logger");
}

#[test]
fn a_logger_that_dies_is_an_error() {
    for scheme in ["binary", "binary-v2"] {
        // How it dies is a matter of microseconds: often enough to meet all orders.
        for _ in 0..30 {
            let message = refusal(&shell(scheme, "exit 3"));
            assert_eq!(message, "it exited with status 3");
        }
        let message = refusal(&shell(scheme, "kill -KILL $$"));
        assert_eq!(message, "it was killed by signal 9");
        let message = refusal(&format!("{scheme}:///nonexistent/logger"));
        assert_eq!(message, "No such file or directory (os error 2)");
    }
    let uri = shell("binary", "exit 3");
    let failure = Streams::open(&request("", &uri, "")).unwrap_err();
    assert_eq!(failure.message, "stdout: start the logger /bin/sh: it exited with status 3");
}

#[test]
fn only_the_newer_kind_says_that_it_is_ready() {
    let directory = Directory::new();
    let script = format!("exec 5>&-; cat <&3 >{}", directory.path("out"));
    start(&shell("binary", &script), Duration::from_secs(60)).unwrap();
    let message = refusal(&shell("binary-v2", &script));
    assert_eq!(message, "it closed CONTAINER_WAIT without a byte in it");
}

#[test]
fn a_logger_that_never_gets_ready_is_killed() {
    let directory = Directory::new();
    let alive = directory.fifo("alive");
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let reader = rustix::fs::open(&*alive, flags, Mode::empty()).unwrap();
    for scheme in ["binary", "binary-v2"] {
        let script = format!("exec 9>{alive}; trap '' TERM; while :; do sleep 1 9>&-; done");
        let failure = start(&shell(scheme, &script), Duration::from_millis(300)).unwrap_err();
        assert_eq!(failure.code, Code::DeadlineExceeded);
        assert_eq!(failure.message, "it was not ready within 300ms");
        // While it has the fifo open, that is EAGAIN.
        assert_eq!(rustix::io::read(&reader, &mut [0; 1]), Ok(0));
    }
}

#[test]
fn a_logger_that_goes_on_is_terminated() {
    let directory = Directory::new();
    let out = directory.path("out");
    let uri = shell(
        "binary",
        &format!(
            "trap 'echo terminated >{out}; exit' TERM; exec 5>&-; while :; do sleep 0.05; done"
        ),
    );
    let (streams, ends) = open(&request("", &uri, &uri));
    drop(ends);
    drop(streams);
    assert_eq!(fs::read(&out).unwrap(), b"terminated\n");
}

#[test]
fn a_name_with_a_nul_is_refused() {
    let program =
        Program { path: CString::from(c"/bin/true"), arguments: Vec::new(), writes_ready: false };
    let request = Request { namespace: "a\0b", ..request("", "", "") };
    let failure = Logger::start(&program, &request).unwrap_err();
    assert_eq!(failure.message, "start the logger /bin/true: CONTAINER_NAMESPACE holds a NUL");
}

#[test]
fn none_where_it_is_forbidden() {
    let directory = Directory::new();
    let fifo = directory.fifo("out");
    for scheme in ["binary", "binary-v2", "BINARY"] {
        let logger = format!("{scheme}://{}", directory.path("never"));
        for (stdout, stderr, terminal) in
            [(&logger, &fifo, false), (&fifo, &logger, false), (&logger, &fifo, true)]
        {
            let request = Request { terminal, loggers: false, ..request("", stdout, stderr) };
            let failure = Streams::open(&request).unwrap_err();
            assert_eq!(failure.code, Code::FailedPrecondition);
            let expected = "binary loggers are forbidden by this runtime's options";
            assert!(failure.message.ends_with(expected), "{failure}");
        }
    }
    let fifos = Request { loggers: false, ..request("", &fifo, &fifo) };
    Streams::open(&fifos).unwrap();
}
