//! A program that reads a process's output: containerd's `binary` and `binary-v2`.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::read;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid,
};

use super::target::Program;
use super::{Request, readable_within, sys};
use crate::failure::{Code, During, Failure, Result};

/// What a logger may take to get ready.
const START: Duration = Duration::from_secs(10);
/// What a logger may take to end by itself once its pipes have ended.
const FLUSH: Duration = Duration::from_secs(2);
/// What it may take after SIGTERM. With the above it is what containerd's own shim waits.
const TERMINATION: Duration = Duration::from_secs(10);
/// What a process may take from closing its descriptors to its end.
const EXIT: Duration = Duration::from_secs(10);
/// `PF_EXITING`, in the ninth field of /proc/PID/stat, proc_pid_stat(5).
const EXITING: u32 = 4;

/// A running logger. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Logger {
    pid: Pid,
    process: OwnedFd,
}

impl Logger {
    /// Starts `program` and waits until it is ready. What it reads as stdout and stderr is what is
    /// written to the two descriptors that are returned; nobody else has them.
    pub(super) fn start(program: &Program, request: &Request<'_>) -> Result<(Self, [OwnedFd; 2])> {
        Self::start_within(START, program, request)
            .during(format_args!("start the logger {}", program.path.to_string_lossy()))
    }

    pub(super) fn start_within(
        limit: Duration,
        program: &Program,
        request: &Request<'_>,
    ) -> Result<(Self, [OwnedFd; 2])> {
        let (stdout, stdout_writer) = request.pipe()?;
        let (stderr, stderr_writer) = request.pipe()?;
        let (ready, ready_writer) = pipe_with(PipeFlags::CLOEXEC).during("make a pipe")?;
        let variable = |name: &str, value: &str| {
            CString::new(format!("{name}={value}"))
                .map_err(|_| Failure::new(Code::InvalidArgument, format!("{name} holds a NUL")))
        };
        let environment = [
            variable("CONTAINER_ID", request.id)?,
            variable("CONTAINER_NAMESPACE", request.namespace)?,
        ];
        let passed = [stdout.as_fd(), stderr.as_fd(), ready_writer.as_fd()];
        let pid = sys::spawn(&program.path, &program.arguments, &environment, passed)?;
        // It is our child, and nobody else waits for it: the pid is still its own.
        let process = pidfd_open(pid, PidfdFlags::empty()).during("open a pidfd")?;
        let logger = Self { pid, process };
        drop((stdout, stderr, ready_writer));
        if let Err(failure) = logger.wait_until_ready(&ready, program.writes_ready, limit) {
            let _ = pidfd_send_signal(&logger.process, Signal::KILL);
            return Err(failure);
        }
        Ok((logger, [stdout_writer, stderr_writer]))
    }

    pub(super) fn id(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn wait_until_ready(&self, ready: &OwnedFd, writes: bool, limit: Duration) -> Result<()> {
        if !readable_within(ready, limit)? {
            let message = format!("it was not ready within {limit:?}");
            return Err(Failure::new(Code::DeadlineExceeded, message));
        }
        if read(ready, &mut [0; 1]).during("read whether it is ready")? > 0 {
            return Ok(());
        }
        if self.is_exiting() && readable_within(&self.process, EXIT)? {
            return Err(Failure::new(Code::Unknown, format!("it {}", self.reap())));
        }
        if writes {
            return Err(Failure::new(
                Code::Unknown,
                "it closed CONTAINER_WAIT without a byte in it",
            ));
        }
        Ok(())
    }

    /// Whether the end-of-file came from its exit. It closes its descriptors before it can be waited
    /// for, but after it is marked.
    fn is_exiting(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid.as_raw_nonzero()));
        stat.ok()
            .and_then(|stat| stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(6)?.parse().ok())
            .is_none_or(|flags: u32| flags & EXITING != 0)
    }

    /// Says how it ended, without waiting.
    fn reap(&self) -> String {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
        match waitid(WaitId::PidFd(self.process.as_fd()), options) {
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => format!("exited with status {code}"),
                (_, Some(signal)) => format!("was killed by signal {signal}"),
                _ => "ended".to_owned(),
            },
            Ok(None) => "is still running".to_owned(),
            Err(errno) => format!("ended, how is unknown: {}", std::io::Error::from(errno)),
        }
    }
}

impl Drop for Logger {
    /// Its pipes have ended, as nobody has their other ends: most loggers now write what they still
    /// have and exit.
    fn drop(&mut self) {
        let ended = |limit| !matches!(readable_within(&self.process, limit), Ok(false));
        if !ended(FLUSH) {
            let _ = pidfd_send_signal(&self.process, Signal::TERM);
            if !ended(TERMINATION) {
                let _ = pidfd_send_signal(&self.process, Signal::KILL);
                ended(TERMINATION);
            }
        }
        self.reap();
    }
}
