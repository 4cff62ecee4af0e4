//! A point is a system call of one of the processes that an operation consists of; and what happens
//! there: the process is killed after the call, or the call fails.
#![allow(dead_code, reason = "each of its users takes a part")]

use std::collections::HashMap;
use std::fs;
use std::time::SystemTime;

use super::trace::{At, Stop, Then};

/// What a call is made to fail with.
pub(crate) const ERRNOS: [(&str, i32); 4] = [
    ("EIO", libc::EIO),
    ("ENOMEM", libc::ENOMEM),
    ("EMFILE", libc::EMFILE),
    ("ENOSPC", libc::ENOSPC),
];

/// How musl words those that the C library of this program may word otherwise.
const MUSL: [(i32, &str); 3] = [
    (libc::EIO, "i/o error"),
    (libc::ENOMEM, "out of memory"),
    (libc::EMFILE, "no file descriptors available"),
];

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blow {
    Killed,
    Fails(&'static str, i32),
}

/// What init can't give a reason for: it ends before somebody has come to start it, or before it has
/// the page to write to.
const UNTOLD: [&str; 2] = ["cannot start a container that has stopped", "could not begin"];

impl Point {
    /// Whether a text is what can be said of a failure of one of init's processes.
    pub(crate) fn is_untold_in(self, text: &str) -> bool {
        self.process > 0 && UNTOLD.iter().any(|words| text.contains(words))
    }
}

impl Blow {
    /// Whether a text says what the call failed with, in words or by its name.
    pub(crate) fn is_told_in(self, text: &str) -> bool {
        let Self::Fails(name, errno) = self else { return !text.trim().is_empty() };
        let words = std::io::Error::from_raw_os_error(errno).to_string();
        let words = words.split(" (os error").next().unwrap_or_default().to_lowercase();
        let lower = text.to_lowercase();
        let in_musl = MUSL.iter().any(|(number, words)| *number == errno && lower.contains(words));
        text.contains(name) || lower.contains(&words) || in_musl
    }
}

/// The processes are numbered as they appear, their calls from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Point {
    pub(crate) process: usize,
    pub(crate) call: usize,
}

/// A system call with its first two arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    number: i64,
    arguments: [u64; 2],
}

impl Call {
    /// Some calls always succeed, says their manual page, or don't return.
    fn can_fail(self) -> bool {
        !matches!(
            self.number,
            libc::SYS_exit
                | libc::SYS_exit_group
                | libc::SYS_rt_sigreturn
                | libc::SYS_getpid
                | libc::SYS_getppid
                | libc::SYS_gettid
                | libc::SYS_getuid
                | libc::SYS_geteuid
                | libc::SYS_getgid
                | libc::SYS_getegid
                | libc::SYS_umask
                | libc::SYS_set_tid_address
                | libc::SYS_sched_yield
                // Only with arguments that are wrong.
                | libc::SYS_rt_sigprocmask
                // Up to 256 bytes are always to be had; the standard library counts on it.
                | libc::SYS_getrandom
        )
    }

    /// Memory comes from these: where there is none, Rust's programs end with SIGABRT.
    pub(crate) fn allocates(self) -> bool {
        [libc::SYS_brk, libc::SYS_mmap, libc::SYS_mremap].contains(&self.number)
    }

    /// On it depends what a connection brings.
    pub(crate) fn transfers(self) -> bool {
        [libc::SYS_read, libc::SYS_write, libc::SYS_writev, libc::SYS_recvfrom, libc::SYS_sendto]
            .contains(&self.number)
    }

    /// It collects a child.
    pub(crate) fn waits(self) -> bool {
        [libc::SYS_waitid, libc::SYS_wait4].contains(&self.number)
    }

    /// Whether an error can't be told because it is about telling it.
    pub(crate) fn tells(self) -> bool {
        [libc::SYS_write, libc::SYS_writev].contains(&self.number) && self.arguments[0] == 2
    }

    /// The last thing that Rust's standard library does before `main`. What it, the C library and
    /// the dynamic loader do about errors is not hoist's.
    fn is_last_before_main(self) -> bool {
        let bus = u64::try_from(libc::SIGBUS).expect("a signal");
        self.number == libc::SYS_rt_sigaction && self.arguments[0] == bus && self.arguments[1] != 0
    }

    /// Its name, where the machine has a list of these.
    pub(crate) fn name(self) -> String {
        let paths =
            ["/usr/include/x86_64-linux-gnu/asm/unistd_64.h", "/usr/include/asm/unistd_64.h"];
        let list = paths.iter().find_map(|path| fs::read_to_string(path).ok()).unwrap_or_default();
        let number = self.number.to_string();
        let name = list.lines().find_map(|line| {
            let (name, value) = line.strip_prefix("#define __NR_")?.split_once(' ')?;
            (value == number).then(|| name.to_owned())
        });
        name.unwrap_or_else(|| format!("system call {number}"))
    }
}

/// Watches an operation's calls, and strikes at one of them.
#[derive(Debug, Default)]
pub(crate) struct Aim {
    target: Option<(Point, Blow)>,
    numbers: HashMap<i32, usize>,
    /// Of each process, those that it has begun.
    pub(crate) calls: Vec<Vec<Call>>,
    /// That was struck.
    pub(crate) hit: Option<Call>,
}

impl Aim {
    /// `threads` are known before; `target` is none to only count.
    pub(crate) fn new(threads: &[i32], target: Option<(Point, Blow)>) -> Self {
        let numbers = threads.iter().enumerate().map(|(number, pid)| (*pid, number)).collect();
        Self { target, numbers, calls: vec![Vec::new(); threads.len()], hit: None }
    }

    pub(crate) fn decide(&mut self, stop: Stop) -> Then {
        let next = self.calls.len();
        let process = *self.numbers.entry(stop.pid).or_insert(next);
        if process == next {
            self.calls.push(Vec::new());
        }
        let calls = &mut self.calls[process];
        if let At::Entry(number, arguments) = stop.at {
            calls.push(Call { number: i64::try_from(number).unwrap_or(-1), arguments });
        }
        let (Some((point, blow)), Some(call)) = (self.target, calls.last()) else {
            return Then::GoOn;
        };
        if point != (Point { process, call: calls.len() - 1 }) {
            return Then::GoOn;
        }
        match (blow, stop.at) {
            (Blow::Killed, At::Exit) => {
                self.hit = Some(*call);
                Then::KillThis
            }
            (Blow::Fails(_, errno), At::Entry(..)) if call.can_fail() => {
                self.hit = Some(*call);
                Then::Fail(errno)
            }
            _ => Then::GoOn,
        }
    }
}

/// The points of an operation whose calls these are.
pub(crate) fn all(calls: &[Vec<Call>], fails: bool) -> Vec<Point> {
    let mut points = Vec::new();
    for (process, calls) in calls.iter().enumerate() {
        let main = calls.iter().position(|call| call.is_last_before_main());
        let from = if process == 0 && fails { main.map_or(0, |last| last + 1) } else { 0 };
        let wanted = |call: &usize| !fails || calls[*call].can_fail();
        points.extend((from..calls.len()).filter(wanted).map(|call| Point { process, call }));
    }
    points
}

/// Says how many of the points that a run takes were reached, and demands half of them: an operation makes
/// a call more or less when the machine is busy, and then the last ones aren't there, but not most of them.
pub(crate) fn tell(title: &str, reached: usize, taken: usize, of: usize) {
    println!("POINTS {title}: {reached} of {of}");
    assert!(reached * 2 >= taken, "{title}: {reached} of {taken} points were reached");
}

/// Which points a run takes: all with `HOIST_FAULTS=all`, or else every so many, from one on that a
/// number decides. It changes with the time, so that after many runs all points were tried with all
/// errnos; `HOIST_FAULTS=NUMBER` takes the same ones again.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    number: Option<usize>,
    sample: usize,
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.number {
            None => f.write_str("HOIST_FAULTS=all"),
            Some(number) => write!(f, "HOIST_FAULTS={number}"),
        }
    }
}

impl Choice {
    /// With so many points of a kind, where not all are wanted.
    pub(crate) fn made(sample: usize) -> Self {
        let now = || {
            let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            usize::try_from(time.as_secs() % 100_000).unwrap_or(0)
        };
        let number = match std::env::var("HOIST_FAULTS").as_deref() {
            Ok("all") => None,
            Ok(number) if !number.is_empty() => Some(number.parse().expect("a number or all")),
            _ => Some(now()),
        };
        Self { number, sample }
    }

    pub(crate) fn killed(self, points: &[Point]) -> Vec<(Point, Blow)> {
        self.take(points).into_iter().map(|(_, point)| (point, Blow::Killed)).collect()
    }

    /// Each with all errnos, or with one that changes from point to point and from turn to turn.
    pub(crate) fn failing(self, points: &[Point]) -> Vec<(Point, Blow)> {
        let taken = self.take(points).into_iter();
        taken
            .flat_map(|(errno, point)| {
                let errnos = match self.number {
                    None => ERRNOS.to_vec(),
                    Some(_) => vec![ERRNOS[errno % ERRNOS.len()]],
                };
                errnos.into_iter().map(move |(name, errno)| (point, Blow::Fails(name, errno)))
            })
            .collect()
    }

    /// After as many numbers as there are between two points it is the turn of the next errno.
    fn take(self, points: &[Point]) -> Vec<(usize, Point)> {
        let number = self.number.unwrap_or(0);
        let every = self.number.map_or(1, |_| points.len().div_ceil(self.sample).max(1));
        let taken = points.iter().copied().skip(number % every).step_by(every).enumerate();
        taken.map(|(nth, point)| (nth + number / every, point)).collect()
    }
}
