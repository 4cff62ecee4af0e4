//! The terminal that this program was started in.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, stderr, stdin, stdout};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::termios::{
    OptionalActions, OutputModes, Termios, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize,
};

use crate::failure::{Context, Result};

/// Our terminal in raw mode: every key is for the process. Dropping it restores the mode.
#[derive(Debug)]
pub(super) struct RawTerminal {
    terminal: OwnedFd,
    before: Termios,
}

impl RawTerminal {
    /// `None` without a terminal. The process has its own nevertheless; it is just not connected
    /// to one of ours, but to whatever stdin and stdout are.
    pub(super) fn new() -> Result<Option<Self>> {
        let Some(terminal) = find() else { return Ok(None) };
        let before = tcgetattr(&terminal).context("get the mode of the terminal")?;
        let mut raw = before.clone();
        raw.make_raw();
        // Our terminal turns newlines into what it needs; the process's does not, so that output
        // that is redirected has plain ones.
        raw.output_modes |= OutputModes::OPOST;
        tcsetattr(&terminal, OptionalActions::Now, &raw).context("set the terminal to raw mode")?;
        Ok(Some(Self { terminal, before }))
    }

    /// Gives the process's terminal the size of ours. Sizes are a courtesy: no error matters.
    pub(super) fn pass_size(&self, master: BorrowedFd<'_>) {
        let _ = tcgetwinsize(&self.terminal).and_then(|size| tcsetwinsize(master, size));
    }
}

impl Drop for RawTerminal {
    fn drop(&mut self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

/// Makes the process's terminal leave newlines alone.
pub(super) fn keep_newlines(master: BorrowedFd<'_>) -> Result<()> {
    let set = || {
        let mut mode = tcgetattr(master)?;
        mode.output_modes -= OutputModes::ONLCR;
        tcsetattr(master, OptionalActions::Now, &mode)
    };
    set().context("set the mode of the container's terminal")
}

/// One of our descriptors that is a terminal, else the controlling terminal.
fn find() -> Option<OwnedFd> {
    let duplicate = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().ok();
    if stderr().is_terminal() {
        return duplicate(stderr().as_fd());
    }
    if stdout().is_terminal() {
        return duplicate(stdout().as_fd());
    }
    if stdin().is_terminal() {
        return duplicate(stdin().as_fd());
    }
    let flags = i32::try_from(OFlags::NOCTTY.bits()).unwrap_or(0);
    let open = OpenOptions::new().read(true).write(true).custom_flags(flags).open("/dev/tty");
    open.ok().filter(File::is_terminal).map(OwnedFd::from)
}
