//! Running a command: how long it took and what it used.

use std::os::fd::OwnedFd;
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use crate::failure::{Context, Failure, Result};
use crate::sys::{self, Usage};

/// How long a command may take. One that hangs costs its runtime the measurement, not the whole run.
const PATIENCE: Timespec = Timespec { tv_sec: 60, tv_nsec: 0 };

#[derive(Debug, Clone, Copy)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) usage: Usage,
    pub(crate) status: ExitStatus,
}

/// Runs a command to its end, whatever its exit status is.
pub(crate) fn run(command: &mut Command) -> Result<Cost> {
    let begin = Instant::now();
    let child = command.spawn().context(command.get_program().to_string_lossy())?;
    // Until it is waited for, nobody else can have its id.
    let pidfd = open(child.id()).context("pidfd_open")?;
    let in_time = wait_readable(&pidfd)?;
    if !in_time {
        let _ = pidfd_send_signal(&pidfd, Signal::KILL);
    }
    let (status, usage) = sys::wait(child.id()).context("wait4")?;
    let wall = begin.elapsed();
    if sys::interrupted() {
        return Err(interrupted());
    }
    if !in_time {
        return Err(Failure::new(format!("{} hung", shown(command))));
    }
    Ok(Cost { wall, usage, status })
}

/// Runs a command that has to succeed.
pub(crate) fn succeed(command: &mut Command) -> Result<Cost> {
    let cost = run(command)?;
    match cost.status.success() {
        true => Ok(cost),
        false => Err(Failure::new(format!("{}: {}", shown(command), cost.status))),
    }
}

/// A container's process, which is nobody's child but ours once its runtime has ended (we are the
/// subreaper).
#[derive(Debug)]
pub(crate) struct Orphan(OwnedFd);

impl Orphan {
    pub(crate) fn new(pid: u32) -> Result<Self> {
        open(pid).map(Self).context(format_args!("pidfd_open {pid}"))
    }

    pub(crate) fn kill(&self) -> Result<()> {
        match pidfd_send_signal(&self.0, Signal::KILL) {
            Ok(()) | Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error).context("pidfd_send_signal"),
        }
    }

    /// Waits for its end and takes its status away: as an engine does before it calls `delete`.
    pub(crate) fn reap(self) -> Result<()> {
        if !wait_readable(&self.0)? {
            return Err(Failure::new("a container's process doesn't end"));
        }
        match waitid(WaitId::PidFd(std::os::fd::AsFd::as_fd(&self.0)), WaitIdOptions::EXITED) {
            // Its runtime has waited for it.
            Ok(_) | Err(Errno::CHILD) => Ok(()),
            Err(error) => Err(error).context("waitid"),
        }
    }
}

fn open(pid: u32) -> rustix::io::Result<OwnedFd> {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).ok_or(Errno::SRCH)?;
    pidfd_open(pid, PidfdFlags::empty())
}

fn wait_readable(pidfd: &OwnedFd) -> Result<bool> {
    loop {
        let mut descriptors = [PollFd::new(pidfd, PollFlags::IN)];
        match poll(&mut descriptors, Some(&PATIENCE)) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("poll"),
        }
    }
}

/// What ends everything when somebody presses ^C.
pub(crate) fn interrupted() -> Failure {
    Failure::new("interrupted").with_status(130)
}

/// A command as it would be typed.
fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
