//! pause and resume: all processes of a container stand still, and go on.

use super::Container;
use super::state::Status;
use crate::error::{Error, ErrorKind, Result};

impl Container {
    /// Freezes all processes of a container that runs or is created; returns when they stand
    /// still. A process in uninterruptible sleep (a stuck network file system) can't be frozen: if
    /// one of them doesn't wake up within ten seconds, all go on and the call fails.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is stopped or was paused before; [`ErrorKind::Cgroup`] if
    /// it can't be frozen; [`ErrorKind::Unsupported`] without a cgroup that can freeze.
    pub fn pause(&self) -> Result<()> {
        let pause = || {
            let _locked = self.dir.lock()?;
            let (record, status, _) = self.current()?;
            let cgroup = self.cgroup(&record)?;
            match status {
                Status::Running | Status::Created => cgroup.freeze(),
                // Only by a cgroup above: what thaws that is not to let this container go on.
                Status::Paused if !cgroup.is_asked_to_freeze()? => cgroup.freeze(),
                // runc's wording, for a paused container too.
                _ => Err(wrong_state("container not running")),
            }
        };
        pause().map_err(|error: Error| error.in_operation("pause", self.id()))
    }

    /// Lets the processes of a paused container go on, whoever has paused it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] unless it is paused, and if a cgroup above its own is what is
    /// frozen.
    pub fn resume(&self) -> Result<()> {
        // Without the lock: it changes nothing on disk, and whoever holds the lock may be waiting
        // for a process that is frozen.
        let resume = || {
            let (record, status, _) = self.current()?;
            let cgroup = self.cgroup(&record)?;
            // Or about to be: another call may be waiting until all of it stands still.
            let paused = match status {
                Status::Stopped => false,
                Status::Paused => true,
                _ => cgroup.is_asked_to_freeze()?,
            };
            if !paused {
                return Err(wrong_state("container not paused"));
            }
            cgroup.thaw()?;
            if cgroup.is_frozen()? {
                return Err(wrong_state("a cgroup above the container's own is frozen")
                    .with_hint("the container goes on when that is thawed"));
            }
            Ok(())
        };
        resume().map_err(|error: Error| error.in_operation("resume", self.id()))
    }
}

fn wrong_state(message: &'static str) -> Error {
    Error::new(ErrorKind::WrongState, message)
}
