//! Nothing may hang. What does is killed, and where it hung is told.
#![allow(dead_code, reason = "each of its users takes a part")]

use std::fs;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// No operation takes a tenth of it, on a busy machine either.
const LIMIT: Duration = Duration::from_secs(20);

#[derive(Debug)]
struct Watched {
    since: Instant,
    /// 0: this program itself.
    pid: i32,
    what: String,
    hung: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Watchdog(Arc<Mutex<Option<Watched>>>);

impl Watchdog {
    pub(crate) fn new() -> Self {
        let watched: Arc<Mutex<Option<Watched>>> = Arc::default();
        let weak = Arc::downgrade(&watched);
        std::thread::spawn(move || {
            while let Some(watched) = weak.upgrade() {
                look(&watched);
                drop(watched);
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        Self(watched)
    }

    /// From now on; it ends what was watched before.
    pub(crate) fn watch(&self, pid: i32, what: &str) {
        let watched = Watched { since: Instant::now(), pid, what: what.to_owned(), hung: None };
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(watched);
    }

    /// Where it hung, if it did.
    pub(crate) fn done(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?.hung
    }
}

fn look(watched: &Mutex<Option<Watched>>) {
    let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(watched) = watched.as_mut() else { return };
    if watched.since.elapsed() < LIMIT || watched.hung.is_some() {
        return;
    }
    if watched.pid == 0 {
        println!("FAILED {}: this program hangs: {}", watched.what, place(std::process::id()));
        std::process::exit(1);
    }
    let pid = u32::try_from(watched.pid).unwrap_or(0);
    watched.hung = Some(place(pid));
    if let Some(pid) = rustix::process::Pid::from_raw(watched.pid) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
}

/// What a process and its descendants wait for.
pub(crate) fn place(pid: u32) -> String {
    let mut told = String::new();
    let mut pids = vec![pid.to_string()];
    while let Some(pid) = pids.pop() {
        let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
        for task in tasks {
            let read = |file| fs::read_to_string(task.path().join(file)).unwrap_or_default();
            let name = task.file_name();
            let (comm, wait) = (read("comm"), read("wchan"));
            let call = read("syscall");
            told += &format!("{name:?} {:?} in {wait:?}, {:?}; ", comm.trim(), call.trim());
            pids.extend(read("children").split_whitespace().map(str::to_owned));
        }
    }
    told
}
