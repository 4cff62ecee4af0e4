//! The streams of a container's process: where they come from and go to, and what moves their bytes.
//!
//! A process gets pipes, never the client's fifo or file itself: that would show it a path of the host,
//! and a user who isn't root couldn't open it again through /dev/stdout. Between pipes, terminals and
//! fifos, splice(2) moves the bytes; the kernel's pipes are the only buffers.

mod appender;
mod logger;
mod pump;
mod sys;
mod target;
mod terminal;
#[cfg(test)]
mod tests;

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Gid, Mode, OFlags, Uid, fchown, fstat, open};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::failure::{Code, During, Failure, Result};

use logger::Logger;
use pump::Sink;
pub(crate) use pump::{Progress, Pump};
use target::Target;
use terminal::Terminal;

/// What a client wants.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) namespace: &'a str,
    /// What a logger is told: the container's id, or the exec's.
    pub(crate) id: &'a str,
    pub(crate) stdin: &'a str,
    pub(crate) stdout: &'a str,
    pub(crate) stderr: &'a str,
    pub(crate) terminal: bool,
    /// The owner of the pipes.
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// Whether there may be loggers: programs of the client's choice that run as root on the host.
    pub(crate) loggers: bool,
}

/// What the process is created with.
#[derive(Debug)]
pub(crate) struct Given {
    pub(crate) stdio: hoist::Stdio,
    /// Where the library sends the terminal's master.
    pub(crate) console_socket: Option<OwnedFd>,
}

/// The streams of one process, kept as long as containerd knows it.
///
/// Dropping them waits for the loggers, after the pumps are gone, and then ends them, in up to twelve
/// seconds: not on the event loop's thread.
#[derive(Debug, Default)]
pub(crate) struct Streams {
    pumps: Vec<Pump>,
    /// While it is open, a client that goes away is no end-of-file: another may come.
    stdin_writer: Option<OwnedFd>,
    terminal: Option<Terminal>,
    loggers: Vec<Logger>,
}

impl Streams {
    /// Opens everything. A logger may take its time to get ready: this can block.
    pub(crate) fn open(request: &Request<'_>) -> Result<(Self, Given)> {
        let mut streams = Self::default();
        let given = if request.terminal {
            let console_socket = Some(streams.open_terminal(request)?);
            Given { stdio: hoist::Stdio::null(), console_socket }
        } else {
            let stdio = match streams.open_pipes(request)? {
                [None, None, None] => hoist::Stdio::null(),
                [stdin, stdout, stderr] => hoist::Stdio::from_descriptors(
                    stdin.map_or_else(null, Ok)?,
                    stdout.map_or_else(null, Ok)?,
                    stderr.map_or_else(null, Ok)?,
                ),
            };
            Given { stdio, console_socket: None }
        };
        Ok((streams, given))
    }

    /// After the process was created: takes its terminal, if it has one.
    pub(crate) fn attach(&mut self) -> Result<()> {
        if let Some(terminal) = &mut self.terminal {
            self.pumps.extend(terminal.attach()?);
        }
        Ok(())
    }

    /// The ids of the loggers' processes.
    pub(crate) fn loggers(&self) -> impl Iterator<Item = u32> {
        self.loggers.iter().map(Logger::id)
    }

    /// What moves the bytes from now on.
    pub(crate) fn take_pumps(&mut self) -> Vec<Pump> {
        std::mem::take(&mut self.pumps)
    }

    /// From now on the process's stdin ends when no client has the fifo open any more, after all that
    /// was written to it.
    pub(crate) fn close_stdin(&mut self) {
        self.stdin_writer = None;
    }

    /// Sets the terminal's size, in characters.
    pub(crate) fn resize(&self, width: u16, height: u16) -> Result<()> {
        match &self.terminal {
            Some(terminal) => terminal.resize(width, height),
            None => Err(Failure::new(Code::FailedPrecondition, "the process has no terminal")),
        }
    }

    /// Gives where the terminal's master is to be sent. A terminal has no stderr.
    fn open_terminal(&mut self, request: &Request<'_>) -> Result<OwnedFd> {
        let stdin = request.target(request.stdin).during("stdin")?;
        let stdout = request.target(request.stdout).during("stdout")?;
        let input = self.open_stdin(&stdin).during("stdin")?;
        let output = self.terminal_output(&stdout, request).during("stdout")?;
        let (terminal, socket) = Terminal::new(input, output)?;
        self.terminal = Some(terminal);
        Ok(socket)
    }

    /// Gives the process's ends; `None` is /dev/null.
    fn open_pipes(&mut self, request: &Request<'_>) -> Result<[Option<OwnedFd>; 3]> {
        let stdin = request.target(request.stdin).during("stdin")?;
        let stdout = request.target(request.stdout).during("stdout")?;
        let stderr = request.target(request.stderr).during("stderr")?;
        let stdin = self.process_input(&stdin, request).during("stdin")?;
        let [stdout, stderr] = self.process_outputs(&stdout, &stderr, request)?;
        Ok([stdin, stdout, stderr])
    }

    /// The reading end of the client's fifo.
    fn open_stdin(&mut self, target: &Target) -> Result<Option<OwnedFd>> {
        let path = match target {
            Target::Null => return Ok(None),
            Target::Path { path, create: false } => path,
            _ => return Err(Failure::new(Code::InvalidArgument, "can come from a fifo only")),
        };
        let open = |access| {
            let flags = access | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
            open(path, flags, Mode::empty()).during(format_args!("open {}", path.display()))
        };
        let reader = open(OFlags::RDONLY)?;
        if FileType::from_raw_mode(fstat(&reader)?.st_mode) != FileType::Fifo {
            let message = format!("{} is not a fifo", path.display());
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        // Only when there is a reader can a writer be opened without waiting for one, fifo(7).
        self.stdin_writer = Some(open(OFlags::WRONLY)?);
        Ok(Some(reader))
    }

    /// What the process reads.
    fn process_input(&mut self, target: &Target, request: &Request<'_>) -> Result<Option<OwnedFd>> {
        let Some(source) = self.open_stdin(target)? else { return Ok(None) };
        let (theirs, ours) = request.pipe()?;
        self.pumps.push(Pump::input(source, non_blocking(ours)?));
        Ok(Some(theirs))
    }

    /// What the process writes stdout and stderr to.
    fn process_outputs(
        &mut self,
        stdout: &Target,
        stderr: &Target,
        request: &Request<'_>,
    ) -> Result<[Option<OwnedFd>; 2]> {
        if let Target::Logger(program) = stdout
            && stdout == stderr
        {
            // One logger reads both.
            let (logger, writers) = Logger::start(program, request)?;
            self.loggers.push(logger);
            return Ok(writers.map(Some));
        }
        let mut open = |target: &Target, index| -> Result<Option<OwnedFd>> {
            match target {
                Target::Null => Ok(None),
                Target::Path { path, create } => {
                    let sink = Sink::open(path, *create)?;
                    let (ours, theirs) = request.pipe()?;
                    self.pumps.push(Pump::output(non_blocking(ours)?, sink));
                    Ok(Some(theirs))
                }
                Target::Logger(program) => {
                    let (logger, writers) = Logger::start(program, request)?;
                    self.loggers.push(logger);
                    Ok(writers.into_iter().nth(index))
                }
            }
        };
        Ok([open(stdout, 0).during("stdout")?, open(stderr, 1).during("stderr")?])
    }

    /// Where a terminal's output goes.
    fn terminal_output(&mut self, target: &Target, request: &Request<'_>) -> Result<Sink> {
        match target {
            // Somebody has to read it, or the process will wait for that.
            Target::Null => Ok(Sink::Nowhere),
            Target::Path { path, create } => Sink::open(path, *create),
            Target::Logger(program) => {
                let (logger, [stdout, _stderr]) = Logger::start(program, request)?;
                self.loggers.push(logger);
                Ok(Sink::Pipe(non_blocking(stdout)?))
            }
        }
    }
}

impl Request<'_> {
    fn target(&self, text: &str) -> Result<Target> {
        match Target::parse(text)? {
            Target::Logger(_) if !self.loggers => Err(Failure::new(
                Code::FailedPrecondition,
                format!("{text:?}: binary loggers are forbidden by this runtime's options"),
            )),
            target => Ok(target),
        }
    }

    /// A pipe that belongs to the process's user: the reading end, the writing end.
    fn pipe(&self) -> Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC).during("make a pipe")?;
        if (self.uid, self.gid) != (0, 0) {
            let (uid, gid) = (Uid::from_raw(self.uid), Gid::from_raw(self.gid));
            fchown(&reader, Some(uid), Some(gid))
                .during(format_args!("give a pipe to {}:{}", self.uid, self.gid))?;
        }
        Ok((reader, writer))
    }
}

/// The two ends of a pipe are different open files: the process's own end goes on blocking.
fn non_blocking(descriptor: OwnedFd) -> Result<OwnedFd> {
    ioctl_fionbio(&descriptor, true).during("make a descriptor non-blocking")?;
    Ok(descriptor)
}

fn null() -> Result<OwnedFd> {
    open(c"/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()).during("open /dev/null")
}

/// Waits until `descriptor` is readable or hung up; false when that took too long.
fn readable_within(descriptor: impl AsFd, limit: Duration) -> rustix::io::Result<bool> {
    let end = Instant::now() + limit;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(&descriptor, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ready => return ready.map(|count| count > 0),
        }
    }
}
