//! Threads for what blocks: each lives for one job, and gives its result back to the event loop.
//!
//! The library's calls are made here, so that a slow hook of one container holds up no other call. A thread
//! costs some 30 µs and, once it has ended, no memory.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use rustix::event::EventfdFlags;

use crate::failure::{During, Result};

/// Jobs at a time. More wait for their turn.
const MOST: usize = 64;
/// Reserved, not used: only touched pages are memory.
const STACK: usize = 512 * 1024;

type Job<T> = Box<dyn FnOnce() -> T + Send>;

/// Runs jobs that give a `T`.
pub(crate) struct Workers<T> {
    results: Receiver<T>,
    sender: Sender<T>,
    wake: Arc<OwnedFd>,
    running: usize,
    waiting: VecDeque<Job<T>>,
}

impl<T: Send + 'static> Workers<T> {
    pub(crate) fn new() -> Result<Self> {
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = rustix::event::eventfd(0, flags).during("make an eventfd")?;
        let (sender, results) = mpsc::channel();
        Ok(Self { results, sender, wake: Arc::new(wake), running: 0, waiting: VecDeque::new() })
    }

    pub(crate) fn run(&mut self, job: Job<T>) {
        if self.running >= MOST {
            self.waiting.push_back(job);
            return;
        }
        self.start(job);
    }

    /// Starts a job that must not wait for others: they may be waiting for it.
    pub(crate) fn run_now(&mut self, job: Job<T>) {
        self.start(job);
    }

    fn start(&mut self, job: Job<T>) {
        let sender = self.sender.clone();
        let wake = self.wake.clone();
        // Shared, so that a thread that could not be started leaves the job here.
        let slot = Arc::new(std::sync::Mutex::new(Some(job)));
        let theirs = slot.clone();
        let work = move || {
            let job = theirs.lock().ok().and_then(|mut job| job.take());
            if let Some(job) = job {
                let _ = sender.send(job());
                let _ = rustix::io::write(&wake, &1u64.to_ne_bytes());
            }
        };
        let builder = thread::Builder::new().name("worker".to_owned()).stack_size(STACK);
        self.running += 1;
        if builder.spawn(work).is_err() {
            // The pids cgroup is full, or memory. Slow is better than not at all.
            let job = slot.lock().ok().and_then(|mut job| job.take());
            if let Some(job) = job {
                let _ = self.sender.send(job());
                let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
            }
        }
    }

    /// The result of one job that has ended.
    pub(crate) fn finished(&mut self) -> Option<T> {
        let result = self.results.try_recv().ok()?;
        self.running -= 1;
        if let Some(job) = self.waiting.pop_front() {
            self.run(job);
        }
        Some(result)
    }

    /// Empties the event descriptor; the results are to be taken after that.
    pub(crate) fn acknowledge(&self) {
        let mut count = [0u8; 8];
        let _ = rustix::io::read(&self.wake, &mut count[..]);
    }

    /// No job is running or waiting.
    pub(crate) fn is_idle(&self) -> bool {
        self.running == 0
    }
}

/// Readable when a job has ended.
impl<T> AsFd for Workers<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_jobs_are_done_a_few_at_a_time() {
        let mut workers = Workers::new().unwrap();
        for number in 0..200 {
            workers.run(Box::new(move || number));
        }
        assert!(workers.running <= MOST);
        let mut done = Vec::new();
        while !workers.is_idle() {
            done.extend(workers.finished());
            thread::yield_now();
        }
        done.sort_unstable();
        assert!(done.into_iter().eq(0..200));
    }
}
