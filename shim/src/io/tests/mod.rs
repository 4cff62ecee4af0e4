//! The streams with real fifos, terminals and loggers, none of which needs root.

mod descriptors;
mod fifo;
mod file;
mod logger;
mod terminal;

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::fs::{CWD, FileType, Mode, OFlags, mknodat};
use rustix::io::{Errno, ioctl_fionbio};

use super::{Progress, Pump, Request, Streams};

/// A limit against hanging: nothing here takes that long.
const HANGING: Timespec = Timespec { tv_sec: 120, tv_nsec: 0 };

/// A directory that goes away with its value.
struct Directory(PathBuf);

impl Directory {
    fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hoist-shim-io-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    fn fifo(&self, name: &str) -> String {
        let path = self.path(name);
        mknodat(CWD, &path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

fn request<'a>(stdin: &'a str, stdout: &'a str, stderr: &'a str) -> Request<'a> {
    let (namespace, id) = ("space", "container");
    let (terminal, uid, gid, loggers) = (false, 0, 0, true);
    Request { namespace, id, stdin, stdout, stderr, terminal, uid, gid, loggers }
}

/// Opens the streams and gives the process's ends too.
fn open(request: &Request<'_>) -> (Streams, [Option<File>; 3]) {
    let mut streams = Streams::default();
    let ends = streams.open_pipes(request).unwrap();
    (streams, ends.map(|end| end.map(File::from)))
}

/// Runs pumps as the event loop does, until all those of outputs have ended, or all if there are no
/// such; gives what failed.
fn run(pumps: Vec<Pump>) -> JoinHandle<Vec<String>> {
    thread::spawn(move || {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        for (pump, number) in pumps.iter().zip(0..) {
            for (descriptor, events) in pump.descriptors() {
                epoll::add(&epoll, descriptor, epoll::EventData::new_u64(number), events).unwrap();
            }
        }
        let outputs_only = pumps.iter().any(Pump::is_output);
        let mut pumps: Vec<_> = pumps.into_iter().map(Some).collect();
        let waited_for = |pump: &Pump| !outputs_only || pump.is_output();
        let mut failures = Vec::new();
        let mut ready = BTreeSet::new();
        let mut events = Vec::with_capacity(8);
        while pumps.iter().flatten().any(waited_for) {
            let limit = if ready.is_empty() { HANGING } else { Timespec::default() };
            let count = match epoll::wait(&epoll, spare_capacity(&mut events), Some(&limit)) {
                // A SIGCHLD that comes while a thread starts a logger, with all signals blocked, is
                // delivered to another one, though it is ignored.
                Err(Errno::INTR) => continue,
                count => count.unwrap(),
            };
            assert!(count > 0 || !ready.is_empty(), "nothing happened");
            ready.extend(events.drain(..).map(|event: epoll::Event| event.data.u64()));
            for number in std::mem::take(&mut ready) {
                let slot = &mut pumps[usize::try_from(number).unwrap()];
                let Some(pump) = slot else { continue };
                let progress = pump.run();
                failures.extend(pump.take_failure().map(|failure| failure.message));
                match progress {
                    Progress::Waiting => {}
                    Progress::Again => {
                        ready.insert(number);
                    }
                    Progress::Unread(pause) => {
                        thread::sleep(pause);
                        ready.insert(number);
                    }
                    Progress::Ended => *slot = None,
                }
            }
        }
        failures
    })
}

/// A client that reads all of a fifo.
fn reader(path: &str) -> JoinHandle<Vec<u8>> {
    let mut fifo = File::open(path).unwrap();
    thread::spawn(move || read_all(&mut fifo))
}

fn read_all(source: &mut impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    source.read_to_end(&mut bytes).unwrap();
    bytes
}

fn read_exactly(source: &mut impl Read, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    source.read_exact(&mut bytes).unwrap();
    bytes
}

/// A client that writes; it doesn't wait for a reader, which must be there.
fn write_only(path: &str) -> File {
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let fifo = rustix::fs::open(path, flags, Mode::empty()).unwrap();
    ioctl_fionbio(&fifo, false).unwrap();
    fifo.into()
}

/// Bytes that are different everywhere: what is lost, doubled or in the wrong place shows.
fn pattern(length: usize) -> Vec<u8> {
    let words = (0_u64..).flat_map(|n| n.wrapping_mul(0x9e37_79b9_7f4a_7c15).to_be_bytes());
    words.take(length).collect()
}

/// Without a page of differences.
#[track_caller]
fn assert_same(got: &[u8], expected: &[u8]) {
    assert_eq!(got.len(), expected.len());
    if let Some(place) = got.iter().zip(expected).position(|(a, b)| a != b) {
        panic!("other bytes from {place} on");
    }
}
