//! DESIGN.md, law 1: the caller is untouched. Every call may be made from any thread, in
//! parallel, in a program that ignores SIGCHLD or reaps every child itself.

#![cfg(test)]

#[allow(dead_code, reason = "main is the example's own")]
#[path = "../examples/many_threads/main.rs"]
mod many_threads;

mod harness;

use std::time::Duration;

use harness::{Lab, again, finish, skip};
use many_threads::{Load, stress};
use rustix::process::{WaitOptions, waitpid};

/// Far more than it takes: whoever needs so long hangs.
const LIMIT: Duration = Duration::from_secs(120);

/// Says so where a status that this program reaps by the way can't be had again.
fn statuses_are_lost(test: &str) -> bool {
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let lost = (numbers.next(), numbers.next()) < (Some(6), Some(15));
    if lost {
        skip(test, "Linux before 6.15 tells how a process ended only once");
    }
    lost
}

/// `through` prepares the program that the containers are created from.
fn run(test: &str, through: &str) {
    let Some(lab) = Lab::new(test) else { return };
    let mut command = again("many_threads_at_once", through);
    command.env("HOIST_LAB", lab.dir());
    let finished = finish(command, LIMIT);
    finished.passed();
    for line in finished.text.lines().filter(|line| line.contains("containers")) {
        println!("{test}: {line}");
    }
    assert_eq!(lab.left(), Vec::<String>::new());
}

#[test]
fn sixty_four_threads() {
    run("sixty_four_threads", r#"exec "$@""#);
}

#[test]
fn sixty_four_threads_that_ignore_sigchld() {
    let name = "sixty_four_threads_that_ignore_sigchld";
    if !statuses_are_lost(name) {
        run(name, r#"trap '' CHLD; export HOIST_IGNORES_CHLD=1; exec "$@""#);
    }
}

#[test]
fn sixty_four_threads_and_one_that_reaps_everything() {
    let name = "sixty_four_threads_and_one_that_reaps_everything";
    if !statuses_are_lost(name) {
        run(name, r#"export HOIST_REAP=1; exec "$@""#);
    }
}

#[test]
fn sixty_four_threads_with_habits() {
    let odd = r#"cd /tmp; umask 0137; ulimit -c 0; trap '' PIPE TERM; export ODD=1
        exec 7</dev/null 9>/dev/null
        exec nice -n 3 taskset -c 0 setpriv --bounding-set -mknod "$@""#;
    run("sixty_four_threads_with_habits", odd);
}

#[test]
#[ignore = "run by the others"]
fn many_threads_at_once() {
    if std::env::var_os("HOIST_IGNORES_CHLD").is_some() {
        let status = std::fs::read_to_string("/proc/self/status").expect("proc");
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).expect("SigIgn");
        let mask = u64::from_str_radix(ignored.trim(), 16).expect("a mask");
        assert_ne!(mask & 1 << 16, 0, "SIGCHLD is not ignored: {ignored}");
    }
    let dir = std::path::PathBuf::from(std::env::var_os("HOIST_LAB").expect("HOIST_LAB"));
    if std::env::var_os("HOIST_REAP").is_some() {
        std::thread::spawn(|| {
            // __WALL: whatever a child's exit signal is.
            let all = WaitOptions::from_bits_retain(0x4000_0000);
            loop {
                if waitpid(None, all).is_err() {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
        });
    }
    let prefix = dir.file_name().expect("a name").to_string_lossy().into_owned();
    let summary = stress(&Load {
        threads: 64,
        rounds: 2,
        allocators: 4,
        bundle: dir.join("bundle"),
        root: dir.join("state"),
        prefix,
    })
    .expect("all containers");
    print!("{summary}");
    assert!(summary.complaints.is_empty(), "{:?}", summary.complaints);
}

/// A pid namespace's first process ends only when all others in it are collected, and those that
/// were executed are the caller's: it must not wait for itself.
#[test]
fn delete_force_does_not_wait_for_the_caller() {
    let name = "delete_force_does_not_wait_for_the_caller";
    let Some(lab) = Lab::new(name) else { return };
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let lab = &lab;
        scope.spawn(move || {
            let mut processes = Vec::new();
            lab.write_config(&lab.config(&["sleep", "1000"]));
            let null = || hoist::CreateOptions::new().stdio(hoist::Stdio::null());
            let bundle = hoist::Bundle::load(lab.bundle()).expect("a bundle");
            let container = lab.runtime().run_with("one", bundle, null()).expect("run");
            let mut process = container.spec().expect("spec").process().clone().expect("process");
            for program in ["true", "sleep"] {
                process.set_args(Some(vec![program.to_owned(), "1000".to_owned()]));
                let options = hoist::ExecOptions::new().stdio(hoist::Stdio::null());
                processes.push(container.exec(&process, options).expect("exec"));
            }
            container.delete_force().expect("delete");
            let ends: Vec<_> = processes.iter().map(|process| process.wait()).collect();
            send.send(ends).expect("the test waits");
        });
        let ends = receive.recv_timeout(LIMIT);
        if matches!(ends, Err(std::sync::mpsc::RecvTimeoutError::Timeout)) {
            // The thread is not going to end, and the scope would wait for it.
            eprintln!("{name}: hangs");
            std::process::abort();
        }
        // Before Linux 6.15 the status may be lost, which is a typed error.
        for (end, signal) in ends.expect("what the thread did").iter().zip([None, Some(9)]) {
            match end {
                Ok(end) => assert_eq!(end.signal(), signal),
                Err(error) => assert_eq!(error.kind(), hoist::ErrorKind::StatusStolen),
            }
        }
    });
    assert_eq!(lab.left(), Vec::<String>::new());
}
