//! Moving bytes from one descriptor to another.

use std::fs::DirBuilder;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::epoll::EventFlags;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, open, stat};
use rustix::io::{Errno, ioctl_fionread, read};
use rustix::pipe::{SpliceFlags, splice};

use super::appender::Appender;
use crate::failure::{Code, During, Failure, Result};

/// What one call moves at most, so that others have their turn.
const BUDGET: usize = 1 << 20;
/// How often a fifo is looked at that has no reader yet.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// What a move counts at least: a process that writes single bytes is not to get more turns.
const PAGE: usize = 4096;

/// How far a call of [`Pump::run`] came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Nothing can be moved until a descriptor is ready again.
    Waiting,
    /// Others should have their turn. There may be no event: call again.
    Again,
    /// All is in the client's fifo, which the client hasn't opened yet: closed now, it would be lost. No
    /// event tells of a reader: call again after this time.
    Unread(Duration),
    /// Nothing will ever be moved again.
    Ended,
}

/// Moves bytes from a source to a sink until the source's end.
///
/// Its descriptors are closed when it is dropped, which is how an end-of-file travels on.
#[derive(Debug)]
pub(crate) struct Pump {
    source: OwnedFd,
    sink: Sink,
    kind: Kind,
    /// The process isn't there any more.
    exited: bool,
    /// All has left the source.
    finished: bool,
    /// How long to wait for a reader the next time.
    pause: Duration,
    failure: Option<Failure>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Input,
    Output,
    /// Output as well.
    Terminal,
}

impl Pump {
    /// To the process.
    pub(super) fn input(source: OwnedFd, sink: OwnedFd) -> Self {
        Self::new(source, Sink::Pipe(sink), Kind::Input)
    }

    /// From the process's pipe.
    pub(super) fn output(source: OwnedFd, sink: Sink) -> Self {
        Self::new(source, sink, Kind::Output)
    }

    /// From the process's terminal.
    pub(super) fn terminal(master: OwnedFd, sink: Sink) -> Self {
        Self::new(master, sink, Kind::Terminal)
    }

    fn new(source: OwnedFd, sink: Sink, kind: Kind) -> Self {
        Self {
            source,
            sink,
            kind,
            exited: false,
            finished: false,
            pause: FIRST_PAUSE,
            failure: None,
        }
    }

    /// What to register, edge-triggered.
    pub(crate) fn descriptors(&self) -> impl Iterator<Item = (BorrowedFd<'_>, EventFlags)> {
        let (pipe, said) = match &self.sink {
            Sink::Pipe(pipe) => (Some(pipe.as_fd()), None),
            Sink::Fifo(fifo) => (Some(fifo.writer.as_fd()), None),
            Sink::Nowhere => (None, None),
            Sink::Appender(appender) => (appender.pipe(), Some(appender.as_fd())),
        };
        let source = (self.source.as_fd(), EventFlags::IN | EventFlags::ET);
        let pipe = pipe.map(|pipe| (pipe, EventFlags::OUT | EventFlags::ET));
        let said = said.map(|said| (said, EventFlags::IN | EventFlags::ET));
        [source].into_iter().chain(pipe).chain(said)
    }

    /// True for what comes from the process: to be waited for before it is deleted.
    pub(crate) fn is_output(&self) -> bool {
        self.kind != Kind::Input
    }

    /// Why bytes were lost since the last time that this was asked for: a full disk, a dead logger.
    pub(crate) fn take_failure(&mut self) -> Option<Failure> {
        self.failure.take()
    }

    /// To be told when the process has exited, before the next [`Self::run`].
    ///
    /// Its terminal then ends with what is in it, even if a process that stays in the background keeps
    /// it open: containerd's own shim takes it away as well. A pipe is read to its end.
    pub(crate) fn process_exited(&mut self) {
        self.exited = true;
    }

    /// Moves what can be moved now.
    pub(crate) fn run(&mut self) -> Progress {
        let progress = if self.finished { Progress::Ended } else { self.copy() };
        self.finished = progress == Progress::Ended;
        let appender = match &mut self.sink {
            Sink::Fifo(fifo) => {
                if !self.finished || !fifo.is_unread() {
                    return progress;
                }
                let pause = self.pause;
                self.pause = LONGEST_PAUSE.min(pause * 2);
                return Progress::Unread(pause);
            }
            Sink::Appender(appender) => appender,
            _ => return progress,
        };
        if self.finished {
            appender.finish();
        }
        let (ended, failure) = appender.said();
        self.failure = self.failure.take().or(failure);
        if self.finished && !ended { Progress::Waiting } else { progress }
    }

    fn copy(&mut self) -> Progress {
        let mut budget = BUDGET;
        // A terminal has no more at once, and the kernel allocates as many pages as it is asked for.
        let at_once = if self.kind == Kind::Terminal { PAGE } else { BUDGET };
        while budget > 0 {
            let pipe = match &self.sink {
                Sink::Pipe(pipe) => Some(pipe.as_fd()),
                Sink::Fifo(fifo) => Some(fifo.writer.as_fd()),
                Sink::Nowhere => None,
                Sink::Appender(appender) => appender.pipe(),
            };
            let moved = match pipe {
                Some(pipe) => {
                    let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
                    splice(&self.source, None, pipe, None, budget.min(at_once), flags)
                }
                None => read(&self.source, &mut [0; PAGE]),
            };
            match moved {
                Ok(0) => return Progress::Ended,
                Ok(count) => budget = budget.saturating_sub(count.max(PAGE)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) if self.exited && self.is_drained() => return Progress::Ended,
                Err(Errno::AGAIN) => return Progress::Waiting,
                Err(Errno::PIPE) if self.is_output() => {
                    // Nobody will read any more what a terminal shows: its process goes on nevertheless.
                    self.sink = Sink::Nowhere;
                    self.failure = Some(Failure::from(Errno::PIPE).during("the logger is gone"));
                }
                Err(errno) => {
                    // A terminal that nobody has open any more, or a process that closed its stdin.
                    if !matches!(errno, Errno::IO | Errno::PIPE) {
                        self.failure = Some(Failure::from(errno).during("move bytes"));
                    }
                    return Progress::Ended;
                }
            }
        }
        Progress::Again
    }

    /// Whether the terminal is empty. What was written to it before is seen: poll(2) takes it over.
    fn is_drained(&self) -> bool {
        let mut source = [PollFd::new(&self.source, PollFlags::IN)];
        self.kind == Kind::Terminal && poll(&mut source, Some(&Timespec::default())) == Ok(0)
    }
}

/// Where a pump moves bytes to.
#[derive(Debug)]
pub(super) enum Sink {
    /// What splice(2) writes to and what can be waited for: a pipe, a fifo, a terminal.
    Pipe(OwnedFd),
    /// A client's fifo.
    Fifo(Fifo),
    /// What is read is thrown away.
    Nowhere,
    /// What splice(2) refuses, as it is appended to, and what may block: a file.
    Appender(Appender),
}

/// A client's fifo, with a reader of our own: so it can be opened before the client does, what the client
/// hasn't read stays in it, and a client that goes away may come again.
#[derive(Debug)]
pub(super) struct Fifo {
    writer: OwnedFd,
    reader: Option<OwnedFd>,
}

impl Fifo {
    fn open(path: &Path) -> rustix::io::Result<Self> {
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let reader = open(path, flags | OFlags::RDONLY, Mode::empty())?;
        let writer = open(path, flags | OFlags::WRONLY, Mode::empty())?;
        Ok(Self { writer, reader: Some(reader) })
    }

    /// Whether there is something in it and nobody to read it, now that all is in it. Our own reader goes:
    /// pipe(7), poll(2) reports an error at the writing end when there is no reader.
    fn is_unread(&mut self) -> bool {
        self.reader = None;
        let mut writer = [PollFd::new(&self.writer, PollFlags::OUT)];
        let no_reader = poll(&mut writer, Some(&Timespec::default())).is_ok()
            && writer.iter().any(|writer| writer.revents().contains(PollFlags::ERR));
        no_reader && ioctl_fionread(&self.writer).is_ok_and(|bytes| bytes > 0)
    }
}

impl Sink {
    /// Opens a client's fifo or file; `create`: the file and its parents, if need be.
    pub(super) fn open(path: &Path, create: bool) -> Result<Self> {
        let name = path.display();
        if create && let Some(parent) = path.parent() {
            let mut builder = DirBuilder::new();
            builder
                .recursive(true)
                .mode(0o755)
                .create(parent)
                .during(format_args!("make {}", parent.display()))?;
        }
        let kind = match stat(path) {
            Ok(stat) => FileType::from_raw_mode(stat.st_mode),
            Err(Errno::NOENT) if create => FileType::RegularFile,
            Err(errno) => return Err(errno).during(format_args!("open {name}")),
        };
        let common = OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let append = OFlags::WRONLY | OFlags::APPEND;
        let (flags, sink): (_, fn(OwnedFd) -> Result<Self>) = match kind {
            FileType::Fifo => {
                return Fifo::open(path).during(format_args!("open {name}")).map(Self::Fifo);
            }
            FileType::RegularFile if create => (append | OFlags::CREATE, Self::append),
            FileType::RegularFile | FileType::CharacterDevice => (append, Self::append),
            _ => {
                let message = format!("{name} is neither a fifo nor a file");
                return Err(Failure::new(Code::InvalidArgument, message));
            }
        };
        open(path, flags | common, Mode::from_raw_mode(0o644))
            .map_err(Failure::from)
            .and_then(sink)
            .during(format_args!("open {name}"))
    }

    pub(super) fn append(file: OwnedFd) -> Result<Self> {
        Appender::start(file).map(Self::Appender)
    }
}
