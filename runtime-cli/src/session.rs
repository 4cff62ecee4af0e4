//! One invocation: what was asked for, and what every command may need.

use std::ffi::OsString;
use std::path::PathBuf;

use hoist::{CgroupManager, Container, Runtime, Timings};

use crate::args::{Command, Values};
use crate::failure::{Failure, Result};
use crate::log::Log;
use crate::table::flags;
use crate::{notify, rootless, timings};

/// One invocation of the program.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) command: &'static Command,
    /// The options before the command.
    pub(crate) globals: Values,
    /// The options of the command.
    pub(crate) values: Values,
    pub(crate) operands: Vec<OsString>,
    pub(crate) log: Log,
}

impl Session {
    pub(crate) fn open(
        command: &'static Command,
        globals: Values,
        values: Values,
        operands: Vec<OsString>,
    ) -> Result<Self> {
        let json = globals.text(&flags::LOG_FORMAT) == Some("json");
        let log = Log::open(globals.path(&flags::LOG), json, globals.is_on(&flags::DEBUG))?;
        if globals.is_set(&flags::CRIU) {
            log.warn("--criu ignored (criu binary from $PATH is used); do not use");
        }
        Ok(Self { command, globals, values, operands, log })
    }

    /// The container's id, the first operand.
    pub(crate) fn id(&self) -> Result<&str> {
        match self.operands.first().and_then(|id| id.to_str()) {
            None => Err(Failure::new("invalid container ID format")),
            Some("") => Err(Failure::new("container id cannot be empty")),
            Some(id) => Ok(id),
        }
    }

    pub(crate) fn runtime(&self) -> Result<Runtime> {
        let manager = if self.globals.is_on(&flags::SYSTEMD_CGROUP) {
            CgroupManager::Systemd
        } else {
            CgroupManager::Cgroupfs
        };
        Ok(Runtime::builder().root(self.root()?).cgroup_manager(manager).build()?)
    }

    /// The container that the first operand names.
    pub(crate) fn container(&self) -> Result<Container> {
        Ok(self.runtime()?.container(self.id()?)?)
    }

    /// The directory that a container shares with us for sd_notify(3).
    pub(crate) fn notify_directory(&self) -> Result<PathBuf> {
        Ok(notify::directory(&self.root()?, self.id()?))
    }

    /// Logs what a new process got otherwise than asked for, and for debugging what each step cost.
    /// What is in `known` was logged before.
    pub(crate) fn report(&self, warnings: &[String], known: &[String], timings: &Timings) {
        for warning in warnings.iter().filter(|warning| !known.contains(warning)) {
            self.log.warn(warning);
        }
        for timing in timings.iter() {
            self.log.debug(|| timings::line(timing));
        }
    }

    /// Where the state of containers is kept.
    fn root(&self) -> Result<PathBuf> {
        match self.globals.is_set(&flags::ROOT) {
            false => rootless::default_root(),
            true => rootless::checked_root(self.globals.path(&flags::ROOT)),
        }
    }
}
