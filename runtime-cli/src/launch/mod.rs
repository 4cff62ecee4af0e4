//! What `create`, `run` and `exec` have in common: what is prepared before a process exists, and
//! what is told to whom once it does.

pub(crate) mod bundle;
mod console;
mod inherited;
mod pid_file;
mod unix;
mod user;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;

pub(crate) use pid_file::pid_of;
pub(crate) use unix::at_short_path;
pub(crate) use user::User;

use self::console::Console;
use self::unix::{connect, send_descriptor};
use crate::failure::{Context, Failure, Result};
use crate::session::Session;
use crate::table::flags;
use hoist::{CreateOptions, ExecOptions};

/// Everything that can fail before a process exists has been done when this is there.
#[derive(Debug)]
pub(crate) struct Launch {
    console: Console,
    descriptors: Vec<OwnedFd>,
    environment: Vec<(&'static str, String)>,
    pidfd_socket: Option<OwnedFd>,
    pid_file: Option<PathBuf>,
}

impl Launch {
    /// `terminal` is what the process asks for; `detach` means that nobody here stays with it.
    /// Only a container's first process gets sockets from systemd (`listen`).
    pub(crate) fn prepare(
        session: &Session,
        terminal: bool,
        detach: bool,
        listen: bool,
    ) -> Result<Self> {
        let values = &session.values;
        let console = Console::new(terminal, detach, values.path(&flags::CONSOLE_SOCKET))?;
        let more = values.number(&flags::PRESERVE_FDS).unwrap_or(0);
        let (sockets, environment) = if listen { inherited::sockets() } else { (0, Vec::new()) };
        let pidfd_socket = values.path(&flags::PIDFD_SOCKET).map(connect).transpose()?;
        Ok(Self {
            console,
            descriptors: inherited::descriptors(sockets, more)?,
            environment,
            pidfd_socket,
            pid_file: values.path(&flags::PID_FILE).map(PathBuf::from),
        })
    }

    /// Whether the process gets a terminal that this program is the other end of.
    pub(crate) fn is_interactive(&self) -> bool {
        self.console.is_own()
    }

    /// The options for a container; may be called once, as descriptors are handed over.
    pub(crate) fn create_options(&mut self, session: &Session) -> CreateOptions {
        let mut options = CreateOptions::new()
            .no_pivot(session.values.is_on(&flags::NO_PIVOT))
            .no_new_keyring(session.values.is_on(&flags::NO_NEW_KEYRING))
            .preserve(std::mem::take(&mut self.descriptors))
            .timings(wants_timings(session));
        for (name, value) in &self.environment {
            options = options.env(name, value);
        }
        match self.console.take_socket() {
            Some(socket) => options.console_socket(socket),
            None => options,
        }
    }

    /// The options for a further process; may be called once, as descriptors are handed over.
    pub(crate) fn exec_options(&mut self, session: &Session) -> ExecOptions {
        let mut options = ExecOptions::new()
            .ignore_paused(session.values.is_on(&flags::IGNORE_PAUSED))
            .preserve(std::mem::take(&mut self.descriptors))
            .timings(wants_timings(session));
        for cgroup in session.values.texts(&flags::CGROUP) {
            options = options.cgroup(cgroup);
        }
        match self.console.take_socket() {
            Some(socket) => options.console_socket(socket),
            None => options,
        }
    }

    /// The terminal's master end, which has been sent by now if this program is to have it.
    pub(crate) fn receive_terminal(&self) -> Result<Option<OwnedFd>> {
        self.console.receive()
    }

    /// Tells who asked for it that the process exists. `kind` is runc's word for the message.
    pub(crate) fn announce(&self, pidfd: Option<BorrowedFd<'_>>, kind: &str) -> Result<()> {
        if self.pidfd_socket.is_none() && self.pid_file.is_none() {
            return Ok(());
        }
        let pidfd = pidfd.ok_or_else(|| Failure::new("the process is gone"))?;
        if let Some(socket) = &self.pidfd_socket {
            send_descriptor(socket, pidfd, kind).context("send the pidfd")?;
        }
        match &self.pid_file {
            Some(path) => pid_file::write(path, pid_of(pidfd)?),
            None => Ok(()),
        }
    }
}

/// Debugging shows them too.
fn wants_timings(session: &Session) -> bool {
    session.values.is_on(&flags::TIMINGS) || session.log.is_debug()
}
