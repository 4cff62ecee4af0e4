//! The signals that this program gets, as a descriptor: signalfd(2).

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::failure::{Context, Result};

/// SIGWINCH, which is about our terminal and not for the process.
pub(super) const WINDOW_CHANGE: i32 = Signal::SIGWINCH as i32;

/// Signals that wait to be read instead of having an effect.
#[derive(Debug)]
pub(crate) struct Signals(SignalFd);

impl Signals {
    /// Blocks every signal that can be blocked, but
    /// * SIGCHLD: a pidfd tells of the process's end, and hooks have children of their own;
    /// * SIGPIPE: a write that fails says so itself, and it is nothing that the process did.
    ///
    /// The library gives a new process no part of this mask.
    pub(super) fn block() -> Result<Self> {
        let mut set = SigSet::all();
        set.remove(Signal::SIGCHLD);
        set.remove(Signal::SIGPIPE);
        set.thread_block()
            .and_then(|()| {
                SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            })
            .map(Self)
            .map_err(io::Error::from)
            .context("take signals")
    }

    /// The number of the next signal that waits.
    pub(super) fn next(&mut self) -> Option<i32> {
        let info = self.0.read_signal().ok().flatten()?;
        i32::try_from(info.ssi_signo).ok()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
