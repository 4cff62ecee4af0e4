//! A process in a container, and how it ended.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::time::Duration;

use crate::children::Child;
use crate::error::Result;
use crate::signal::Signal;
use crate::stdio::Pipes;
use crate::sys::pidfd::{self, End, Ending, RawExit};
use crate::timings::Timings;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    exit: RawExit,
    oom_killed: bool,
}

/// What a process and those of its children that it waited for used, getrusage(2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Usage {
    /// CPU time in user mode.
    pub user: Duration,
    /// CPU time in the kernel.
    pub system: Duration,
    /// Peak resident set size, in bytes.
    pub max_rss: u64,
}

impl ExitStatus {
    /// The exit code, if the process exited by itself.
    #[must_use]
    pub fn code(&self) -> Option<i32> {
        match self.exit.end {
            End::Exited(code) => Some(i32::from(code)),
            End::Signaled { .. } => None,
        }
    }

    /// The number of the signal that killed it.
    #[must_use]
    pub fn signal(&self) -> Option<i32> {
        match self.exit.end {
            End::Exited(_) => None,
            End::Signaled { signal, .. } => Some(signal),
        }
    }

    /// As shells and runc give it: the exit code, or 128 plus the signal's number.
    #[must_use]
    pub fn exit_code(&self) -> i32 {
        self.exit.end.code()
    }

    /// True for exit code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.exit_code() == 0
    }

    /// True if the OOM killer was at work in the container's cgroup.
    #[must_use]
    pub fn oom_killed(&self) -> bool {
        self.oom_killed
    }

    /// What the process used; `None` where it was not the caller's child or where somebody else
    /// has collected it.
    #[must_use]
    pub fn usage(&self) -> Option<Usage> {
        self.exit.usage
    }
}

/// A process that [`Container::exec`](crate::Container::exec) started.
///
/// Dropping it neither ends nor waits for the process. It need not be waited for:
/// [`Container::wait`](crate::Container::wait) and [`delete`](crate::Container::delete) collect
/// what this [`Runtime`](crate::Runtime) has executed there, and its status is kept.
#[derive(Debug)]
pub struct Process {
    pub(crate) pid: u32,
    pub(crate) child: Arc<Child>,
    pub(crate) pipes: Pipes,
    pub(crate) timings: Timings,
    pub(crate) warnings: Vec<String>,
}

impl Process {
    /// Its pid in the caller's pid namespace.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Waits for its end. May be called again: the answer is the same where the kernel keeps it
    /// (Linux 6.15 on).
    ///
    /// # Errors
    /// [`ErrorKind::StatusStolen`](crate::ErrorKind::StatusStolen) if this program has collected
    /// the child elsewhere (or ignores SIGCHLD) and the kernel is older.
    pub fn wait(&self) -> Result<ExitStatus> {
        Ok(ExitStatus { exit: self.child.wait()?, oom_killed: false })
    }

    /// Sends a signal.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`](crate::ErrorKind::WrongState) if it has ended.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        pidfd::send_signal(self.child.as_fd(), signal.number())
    }

    /// The caller's ends of the pipes, if they were asked for.
    pub fn pipes(&mut self) -> &mut Pipes {
        &mut self.pipes
    }

    /// What each step cost, if [`timings`](crate::ExecOptions::timings) were asked for.
    #[must_use]
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// What was done otherwise than asked for: capabilities that could not be granted.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The pidfd: readable once the process has ended, pidfd_open(2).
impl AsFd for Process {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.child.as_fd()
    }
}

/// Waits for a process.
pub(crate) fn wait(
    ending: &Ending,
    pidfd: BorrowedFd<'_>,
    oom_killed: impl FnOnce() -> bool,
) -> Result<ExitStatus> {
    let exit = ending.wait(pidfd)?;
    Ok(ExitStatus { exit, oom_killed: oom_killed() })
}
