//! A thread that appends to a file.
//!
//! A file is always ready, says epoll(7), and then write(2) waits for its disk or its server: on the event
//! loop that would stop a whole pod. The thread reads from a pipe, which is waited for like any other.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;

use rustix::io::{Errno, ioctl_fionbio, read, write};
use rustix::pipe::{PipeFlags, pipe_with};

use super::non_blocking;
use crate::failure::{During, Failure, Result};

/// Reserved, not used: only touched pages are memory.
const STACK: usize = 64 * 1024;
/// What is written at once.
const PAGE: usize = 4096;

/// What a thread appends to a file. Dropping it ends the thread, after all that is in the pipe.
#[derive(Debug)]
pub(super) struct Appender {
    /// To the thread.
    pipe: Option<OwnedFd>,
    /// From the thread: the number of each error. It ends when the thread does.
    said: OwnedFd,
}

impl Appender {
    pub(super) fn start(file: OwnedFd) -> Result<Self> {
        // It was opened without waiting; now a device may take its time.
        ioctl_fionbio(&file, false).during("make a descriptor blocking")?;
        let (source, pipe) = pipe_with(PipeFlags::CLOEXEC).during("make a pipe")?;
        let flags = PipeFlags::CLOEXEC | PipeFlags::NONBLOCK;
        let (said, say) = pipe_with(flags).during("make a pipe")?;
        thread::Builder::new()
            .name("append".to_owned())
            .stack_size(STACK)
            .spawn(move || {
                append(&source, &file, &say);
                // Closed before its end is known: what it is on may be unmounted then.
                drop(file);
                drop(say);
            })
            .during("start a thread")?;
        Ok(Self { pipe: Some(non_blocking(pipe)?), said })
    }

    /// Where the bytes go, until [`Self::finish`].
    pub(super) fn pipe(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// No more bytes will come.
    pub(super) fn finish(&mut self) {
        self.pipe = None;
    }

    /// Whether the thread has ended, and why bytes were lost.
    pub(super) fn said(&self) -> (bool, Option<Failure>) {
        let mut failure = None;
        loop {
            let mut number = [0; 4];
            match read(&self.said, &mut number) {
                Ok(0) => return (true, failure),
                Ok(_) => {
                    let errno = Errno::from_raw_os_error(i32::from_ne_bytes(number));
                    failure = Some(Failure::from(errno).during("write the process's output"));
                }
                Err(Errno::INTR) => {}
                Err(_) => return (false, failure),
            }
        }
    }
}

/// Readable when the thread has said something, or has ended.
impl AsFd for Appender {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.said.as_fd()
    }
}

fn append(source: &OwnedFd, file: &OwnedFd, say: &OwnedFd) {
    let mut buffer = [0; PAGE];
    let mut failing = false;
    loop {
        let count = match read(source, &mut buffer) {
            Ok(0) => return,
            Ok(count) => count,
            Err(Errno::INTR) => continue,
            // A pipe has no other errors.
            Err(_) => return,
        };
        match write_all(file, buffer.get(..count).unwrap_or_default()) {
            Ok(()) => failing = false,
            // The process isn't to wait, or to die, because a disk is full. There is no event for
            // room on it: what doesn't fit is lost, which is said once.
            Err(errno) if !failing => {
                failing = true;
                // Nobody listens any more, at worst.
                let _ = write(say, &errno.raw_os_error().to_ne_bytes());
            }
            Err(_) => {}
        }
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        match write(file, bytes) {
            Ok(0) => return Err(Errno::IO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(())
}
