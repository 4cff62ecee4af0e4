//! A containerd of a few hundred lines: bundles, fifos, the event service, and a client of the task
//! service made of other people's code (`containerd-shim-protos`, `ttrpc`).
#![allow(dead_code, reason = "the themes use different parts")]

mod bundle;
mod client;
mod containerd;
mod events;
mod left;
mod pipes;
mod task;

use std::fs;
use std::io::Write;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::{Duration, Instant};

pub(crate) use bundle::{Bundle, Io, text};
pub(crate) use client::{Refused, Result, Shim};
pub(crate) use containerd::{Containerd, ours};
pub(crate) use events::Event;
pub(crate) use left::{alive, cgroup_of, ended, has_controller, unified};
pub(crate) use pipes::{Reader, open_writer};
pub(crate) use task::{Task, process_spec};

/// No call and no wait takes longer: what hangs fails.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Says that a test can't run here, and why.
pub(crate) fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
    if let Some(path) = std::env::var_os("HOIST_SKIPS")
        && let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "SKIP {name}: {reason}");
    }
}

/// Looks again and again, for what sends no event to look at: a file of a cgroup, a process that
/// somebody else started.
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < end, "not after {LIMIT:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A call in the background: what it answers is taken with [`Later::get`].
pub(crate) struct Later<T>(mpsc::Receiver<T>);

pub(crate) fn later<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Later<T> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || sender.send(work()));
    Later(receiver)
}

impl<T> Later<T> {
    pub(crate) fn get(self) -> T {
        self.within(2 * LIMIT)
    }

    pub(crate) fn within(self, limit: Duration) -> T {
        self.0.recv_timeout(limit).expect("an answer")
    }

    pub(crate) fn is_done(&self) -> Option<T> {
        self.0.try_recv().ok()
    }
}

/// Also after a test has failed while it held the lock: the cleaning up needs it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
