//! Containers and their processes, as the service knows them.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use super::Reply;
use crate::failure::{Code, Failure, Result};
use crate::io::Streams;
use crate::proto::types::ProcessStatus;
use crate::proto::wire::Timestamp;

/// Names a process: its container, and the id of the exec; none for the container's first process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) container: String,
    pub(super) exec: String,
}

impl Key {
    pub(super) fn init(container: &str) -> Self {
        Self::new(container, "")
    }

    pub(super) fn new(container: &str, exec: &str) -> Self {
        Self { container: container.to_owned(), exec: exec.to_owned() }
    }

    pub(super) fn is_init(&self) -> bool {
        self.exec.is_empty()
    }
}

/// A container that has been created.
pub(super) struct Container {
    pub(super) bundle: PathBuf,
    pub(super) runtime: hoist::Runtime,
    pub(super) handle: Arc<hoist::Container>,
    /// Who owns the pipes of its processes.
    pub(super) io_owner: (u32, u32),
    /// Whether their streams may go to loggers.
    pub(super) loggers: bool,
    /// Whether its first process's end is that of all others.
    pub(super) private_pid: bool,
    pub(super) init: Process,
    pub(super) execs: BTreeMap<String, Process>,
    pub(super) oom: Option<hoist::Events>,
    /// Whether it was told that its memory ran out.
    pub(super) oom_reported: bool,
    pub(super) freezer: Freezer,
    /// The first process has ended, and this has not been told yet: its execs end first.
    pub(super) held: Option<Exit>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Freezer {
    Thawed,
    Pausing,
    Paused,
}

/// A process: a container's first one, or an exec.
pub(super) struct Process {
    pub(super) stdio: Stdio,
    pub(super) phase: Phase,
    pub(super) pid: u32,
    pub(super) streams: Option<Streams>,
    /// Pumps of its output that still copy.
    pub(super) outputs: usize,
    pub(super) what: What,
    /// It ended while its start was not done: the exit is told after the start.
    pub(super) ended_early: bool,
    /// Who waits for its end.
    pub(super) waiting: Vec<Reply>,
    pub(super) deleting: Option<Deleting>,
    /// Signals for an exec that is being started.
    pub(super) kills: Vec<(hoist::Signal, Reply)>,
    /// CloseIO was called before there was a stream to close.
    pub(super) stdin_closed: bool,
}

/// A delete that waits.
pub(super) struct Deleting {
    pub(super) reply: Reply,
    /// What the process has written is not waited for any longer.
    pub(super) overdue: bool,
    /// It is being done.
    pub(super) under_way: bool,
}

pub(super) enum What {
    Init,
    Exec { spec: Arc<hoist::oci::Process>, handle: Option<hoist::Process> },
}

/// The streams as they were asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Stdio {
    pub(super) stdin: String,
    pub(super) stdout: String,
    pub(super) stderr: String,
    pub(super) terminal: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// A container whose program has not been started; an exec of which nothing is there yet.
    Created,
    Starting,
    Running,
    Stopped(Exit),
}

/// How a process ended, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exit {
    pub(super) status: u32,
    pub(super) at: Timestamp,
}

impl Container {
    pub(super) fn process(&mut self, exec: &str) -> Result<&mut Process> {
        if exec.is_empty() {
            return Ok(&mut self.init);
        }
        self.execs
            .get_mut(exec)
            .ok_or_else(|| Failure::new(Code::NotFound, format!("process {exec:?} does not exist")))
    }

    /// Whether an exec has been started, or is being started, and has not ended.
    pub(super) fn has_running_execs(&self) -> bool {
        self.execs.values().any(|exec| matches!(exec.phase, Phase::Starting | Phase::Running))
    }
}

impl Process {
    pub(super) fn new(stdio: Stdio, what: What) -> Self {
        Self {
            stdio,
            phase: Phase::Created,
            pid: 0,
            streams: None,
            outputs: 0,
            what,
            ended_early: false,
            waiting: Vec::new(),
            deleting: None,
            kills: Vec::new(),
            stdin_closed: false,
        }
    }

    pub(super) fn exit(&self) -> Option<Exit> {
        match self.phase {
            Phase::Stopped(exit) => Some(exit),
            _ => None,
        }
    }

    pub(super) fn status(&self) -> ProcessStatus {
        match self.phase {
            Phase::Created | Phase::Starting => ProcessStatus::Created,
            Phase::Running => ProcessStatus::Running,
            Phase::Stopped(_) => ProcessStatus::Stopped,
        }
    }
}
