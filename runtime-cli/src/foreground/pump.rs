//! Moving bytes between our stdin and stdout and the process's terminal.

use std::io::{stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::PollFlags;
use rustix::io::{Errno, ioctl_fionbio, read, write};

use super::Source;
use super::terminal::{RawTerminal, keep_newlines};
use crate::failure::{Context, Result};

/// PIPE_BUF: a pipe that poll(2) calls writable takes that much without blocking, and whoever
/// reads our stdout may be slow, while signals must not wait.
const CHUNK: usize = 4096;

/// The process's terminal, connected to our stdin and stdout.
#[derive(Debug)]
pub(super) struct Pump {
    /// `None` once the other end is gone, or nobody wants to see more.
    master: Option<OwnedFd>,
    terminal: Option<RawTerminal>,
    input_open: bool,
    /// From stdin, for the process.
    input: Pending,
    /// From the process, for stdout.
    output: Pending,
}

impl Pump {
    pub(super) fn new(master: OwnedFd) -> Result<Self> {
        keep_newlines(master.as_fd())?;
        // Only the master is set to non-blocking: stdin and stdout are shared with others, whom
        // that would confuse.
        ioctl_fionbio(&master, true).context("prepare the container's terminal")?;
        let pump = Self {
            master: Some(master),
            terminal: RawTerminal::new()?,
            input_open: true,
            input: Pending::default(),
            output: Pending::default(),
        };
        pump.resize();
        Ok(pump)
    }

    /// Gives the process's terminal the size of ours.
    pub(super) fn resize(&self) {
        if let (Some(terminal), Some(master)) = (&self.terminal, &self.master) {
            terminal.pass_size(master.as_fd());
        }
    }

    /// What is worth waiting for.
    pub(super) fn watched(&self) -> Vec<(Source, BorrowedFd<'_>, PollFlags)> {
        let mut watched = Vec::with_capacity(3);
        let Some(master) = &self.master else { return watched };
        if self.input.is_empty() && self.input_open {
            watched.push((Source::Input, rustix::stdio::stdin(), PollFlags::IN));
        }
        let mut events = PollFlags::empty();
        events.set(PollFlags::OUT, !self.input.is_empty());
        events.set(PollFlags::IN, self.output.is_empty());
        if !events.is_empty() {
            watched.push((Source::Master, master.as_fd(), events));
        }
        if !self.output.is_empty() {
            watched.push((Source::Output, rustix::stdio::stdout(), PollFlags::OUT));
        }
        watched
    }

    /// Does what can be done now that `source` is ready.
    pub(super) fn step(&mut self, source: Source) {
        match source {
            Source::Input => match self.input.fill(stdin()) {
                Ok(0) => self.input_open = false,
                // A background process must not read from its terminal, and so on.
                Err(errno) if errno != Errno::AGAIN && errno != Errno::INTR => {
                    self.input_open = false;
                }
                _ => {}
            },
            Source::Master => self.exchange(),
            Source::Output => {
                if self.output.empty(stdout()).is_err() {
                    self.hang_up();
                }
            }
            Source::Process | Source::Signals | Source::Notify => {}
        }
    }

    /// After the process's end: passes on what it wrote last.
    pub(super) fn drain(&mut self) {
        while self.master.is_some() {
            if self.output.is_empty() {
                self.exchange();
            }
            if self.output.is_empty() {
                return;
            }
            self.step(Source::Output);
        }
        while !self.output.is_empty() && self.output.empty(stdout()).is_ok() {}
    }

    /// There is nobody to show anything to, so the process's terminal is hung up, which it hears
    /// of by SIGHUP, and our own one, if there is any, is itself again.
    fn hang_up(&mut self) {
        self.master = None;
        self.terminal = None;
    }

    fn exchange(&mut self) {
        let Some(master) = &self.master else { return };
        let written = if self.input.is_empty() { Ok(()) } else { self.input.empty(master) };
        let read = if self.output.is_empty() { self.output.fill(master) } else { Ok(1) };
        let over = |errno: Errno| errno != Errno::AGAIN && errno != Errno::INTR;
        // EIO: nobody has the other end open any more.
        if matches!(read, Ok(0)) || read.is_err_and(over) || written.is_err_and(over) {
            self.master = None;
        }
    }
}

/// Bytes that were read and not yet written.
#[derive(Debug)]
struct Pending {
    bytes: [u8; CHUNK],
    start: usize,
    end: usize,
}

impl Default for Pending {
    fn default() -> Self {
        Self { bytes: [0; CHUNK], start: 0, end: 0 }
    }
}

impl Pending {
    fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Reads into the empty buffer.
    fn fill(&mut self, from: impl AsFd) -> rustix::io::Result<usize> {
        let count = read(from, &mut self.bytes)?;
        (self.start, self.end) = (0, count);
        Ok(count)
    }

    /// Writes what it can.
    fn empty(&mut self, to: impl AsFd) -> rustix::io::Result<()> {
        let rest = self.bytes.get(self.start..self.end).unwrap_or_default();
        match write(to, rest) {
            Ok(0) => Err(Errno::IO),
            Ok(count) => {
                self.start += count;
                Ok(())
            }
            Err(Errno::AGAIN | Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

#[cfg(test)]
mod tests {
    use rustix::pipe::pipe;

    use super::*;

    #[test]
    fn pending_bytes_keep_their_order() {
        let (from, source) = pipe().unwrap();
        let (sink, to) = pipe().unwrap();
        let mut pending = Pending::default();
        write(&source, b"hello").unwrap();
        assert_eq!(pending.fill(&from).unwrap(), 5);
        assert!(!pending.is_empty());
        pending.empty(&to).unwrap();
        assert!(pending.is_empty());
        let mut got = [0; 16];
        assert_eq!(read(&sink, &mut got).unwrap(), 5);
        assert_eq!(&got[..5], b"hello");
        drop(source);
        assert_eq!(pending.fill(&from).unwrap(), 0);
    }
}
