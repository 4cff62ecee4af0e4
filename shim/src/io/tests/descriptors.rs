use std::process::Command;
use std::time::{Duration, Instant};

use super::*;

const ALONE: &str = "HOIST_TEST_ALONE";

fn count() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

#[test]
fn none_is_left_open() {
    // Other tests open and close descriptors meanwhile: that needs a process of its own.
    if std::env::var_os(ALONE).is_none() {
        let name = thread::current().name().unwrap().to_owned();
        let mut command = Command::new(std::env::current_exe().unwrap());
        let output = command.args(["--exact", &name]).env(ALONE, "1").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
        assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
        return;
    }
    let directory = Directory::new();
    let (stdin, stdout) = (directory.fifo("stdin"), directory.fifo("stdout"));
    let file = format!("file://{}", directory.path("file"));
    let missing = directory.path("missing");
    let ready = "binary:///bin/sh?-c=exec+5>%26-;cat+<%263";
    let dies = "binary-v2:///bin/false";
    let before = count();
    for terminal in [false, true] {
        for (stdin, stdout, stderr, works) in [
            (&*stdin, &*stdout, &*file, true),
            (&stdin, &file, "", true),
            ("", "", "", true),
            (&stdin, &missing, "", false),
            (&missing, &stdout, "", false),
            (&stdin, dies, dies, false),
            (&stdin, ready, ready, true),
        ] {
            let request = Request { terminal, ..request(stdin, stdout, stderr) };
            let opened = Streams::open(&request);
            assert_eq!(opened.is_ok(), works, "{request:?}: {opened:?}");
            if works {
                assert!(stdin.is_empty() || count() > before);
            }
            if let Ok((mut streams, given)) = opened {
                drop(given);
                // With a terminal there is none to come any more.
                assert_eq!(streams.attach().is_err(), terminal);
                drop(streams.take_pumps());
            }
            // A thread that appends to a file closes it at its end.
            let limit = Instant::now() + Duration::from_secs(60);
            while count() != before {
                assert!(Instant::now() < limit, "{} of {before}: {request:?}", count());
                thread::yield_now();
            }
        }
    }
    // Where only the last part fails.
    let request = request(&stdin, &stdout, &missing);
    Streams::open(&request).unwrap_err();
    assert_eq!(count(), before);
}
