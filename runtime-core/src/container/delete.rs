//! delete: nothing of the container is left.

use std::os::fd::AsFd;
use std::time::Duration;

use super::state::{Status, oci_state};
use super::{Container, look};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, Kind};
use crate::intel_rdt;
use crate::procfs::{Proc, Process as HostProcess};
use crate::signal::Signal;
use crate::state::Record;
use crate::sys::pidfd;

impl Container {
    /// Removes a container that is stopped, or created and never started (runtime-spec
    /// runtime.md, "delete"). Returns what did not stop the deletion: poststop hooks that failed.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is running; [`ErrorKind::Cgroup`] if something that can't
    /// be killed is left in its cgroup.
    pub fn delete(self) -> Result<Vec<Error>> {
        let id = self.id().to_owned();
        self.delete_inner(false).map_err(|error| error.in_operation("delete", &id))
    }

    /// Removes a container in whatever state it is, also one whose creation was interrupted:
    /// its processes are killed first.
    ///
    /// # Errors
    /// As [`delete`](Self::delete), but [`ErrorKind::WrongState`].
    pub fn delete_force(self) -> Result<Vec<Error>> {
        let id = self.id().to_owned();
        self.delete_inner(true).map_err(|error| error.in_operation("delete", &id))
    }

    fn delete_inner(mut self, force: bool) -> Result<Vec<Error>> {
        let deleted = self.delete_all(force);
        // What was killed until then may be this program's child, and has no other value now.
        if let (Err(_), Some(pidfd), None) = (&deleted, &self.pidfd, self.exit.get()) {
            let bound = if force { PATIENCE } else { Duration::ZERO };
            let _ = pidfd::wait_end_within(pidfd.as_fd(), bound);
        }
        deleted
    }

    fn delete_all(&mut self, force: bool) -> Result<Vec<Error>> {
        let locked = match self.dir.try_lock()? {
            Some(locked) => locked,
            None => {
                if force {
                    // Who holds the lock may wait for a hook inside the container: killing that
                    // ends it.
                    self.kill_before_lock();
                }
                self.dir.lock()?
            }
        };
        let record = match self.dir.record() {
            Ok(Some(record)) => record,
            // Its creation has made nothing, or its deletion has removed everything else. What
            // is in a cgroup of its name is somebody else's.
            Ok(None) => return locked.remove().map(|()| Vec::new()),
            // What is damaged can be removed by force: its processes are found by the cgroup's
            // name.
            Err(error) if error.kind() == ErrorKind::State && force => Record::unknown(self.id()),
            Err(error) => return Err(error),
        };
        let (status, process) = match self.exit.get() {
            Some(_) => (Status::Stopped, None), // it has no other end than the one that was seen
            None if force => self.look_to_kill(&record),
            None => self.look(&record)?,
        };
        if !force && !matches!(status, Status::Stopped | Status::Created) {
            // runc's wording.
            return Err(Error::new(
                ErrorKind::WrongState,
                format!("cannot delete container {} that is not stopped: {status}", self.id()),
            ));
        }
        let spec = if record.config_use.delete { self.config().ok() } else { None };
        let held = self.cgroup.take().map(|(cgroup, _)| cgroup);
        let nobody_left =
            status == Status::Stopped && process.is_none() && record.private_pid && !force;
        let found = || match nobody_left && record.cgroup.is_some() {
            true => self.remainder(&record),
            false => self.cgroup_or_default(&record),
        };
        let cgroup = match held.map_or_else(found, Ok) {
            Ok(cgroup) => cgroup,
            // What is damaged and names no cgroup that there could be goes all the same.
            Err(_) if force && record.cgroup.is_none() => Cgroup::nowhere(),
            Err(error) => return Err(error),
        };
        let cgroup = if process.is_none() { cgroup.without_others() } else { cgroup };
        if let Some(process) = &process {
            let _ = pidfd::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
        }
        if status != Status::Stopped || force || !record.private_pid {
            cgroup.kill_all(Signal::KILL)?;
        }
        if let Some(process) = &process {
            await_end(process)?;
        }
        cgroup.remove()?;
        if let (Some(pidfd), None) = (&self.pidfd, self.exit.get()) {
            // It may be this program's child that nobody has waited for.
            pidfd::wait_end_within(pidfd.as_fd(), PATIENCE)?;
        }
        if let Some(group) = &record.intel_rdt {
            intel_rdt::remove(group)?;
        }
        locked.remove()?;
        let hooks = spec.as_ref().and_then(|spec| spec.hooks().as_ref());
        // "If any poststop hook fails, the runtime MUST log a warning, but the remaining hooks
        // and lifecycle continue as if the hook had succeeded" (runtime.md).
        if Kind::Poststop.of(hooks).is_empty() {
            return Ok(Vec::new());
        }
        let state = oci_state(&record, Status::Stopped, 0).to_string();
        let image = self.shared.image()?;
        Ok(hooks::run_all(Kind::Poststop, hooks, state.as_bytes(), &|hook, stdio| {
            hooks::launch_from_host(image, None, hook, stdio)
        }))
    }

    fn kill_before_lock(&self) {
        let Ok(Some(record)) = self.dir.record() else { return };
        let (status, process) = self.look_to_kill(&record);
        if let Some(process) = process {
            let _ = pidfd::send_signal(process.pidfd.as_fd(), libc::SIGKILL);
        } else if status == Status::Stopped {
            return; // nobody waits for what is left, and the place may be another's
        }
        if let Ok(cgroup) = self.cgroup_or_default(&record) {
            let _ = cgroup.kill_all(Signal::KILL);
        }
    }

    /// As [`look::find`]. If that fails, what is to be killed is in the cgroup.
    fn look_to_kill(&self, record: &Record) -> (Status, Option<HostProcess>) {
        Proc::open().and_then(|proc| look::find(&proc, record)).unwrap_or((Status::Stopped, None))
    }

    /// What is left of the cgroup of a container without processes once all that is empty is
    /// removed: most often nothing.
    fn remainder(&self, record: &Record) -> Result<Cgroup> {
        let host = self.shared.host()?;
        Cgroup::open(host, &look::cgroup_paths(record)?.remove_empty(host)?)
    }

    fn cgroup_or_default(&self, record: &Record) -> Result<Cgroup> {
        if record.cgroup.is_some() {
            return self.cgroup(record);
        }
        let host = self.shared.host()?;
        let spec = self.config().ok();
        let linux = spec.as_ref().and_then(|spec| spec.linux().as_ref());
        let path = linux.and_then(|linux| linux.cgroups_path().as_deref()?.to_str());
        Cgroup::open(host, &host.paths(path, self.id())?)
    }
}

/// Waits for the end of the first process, which was killed.
///
/// The first process of a pid namespace ends only when all others in it are collected by their
/// parents (pid_namespaces(7)). Those that were executed from this program are its own children:
/// if it has not waited for them yet it would wait for itself here, so they are collected. From
/// Linux 6.15 on [`Process::wait`](crate::Process::wait) has their status all the same.
/// Others' children are not waited for without end: nothing of them runs any more.
fn await_end(process: &HostProcess) -> Result<()> {
    let pidfd = process.pidfd.as_fd();
    if pidfd::wait_end_within(pidfd, PATIENCE)? {
        return Ok(());
    }
    let proc = Proc::open()?;
    if let Ok(namespaces) = process.dir.namespaces()
        && let Some(namespace) = namespaces.get("pid")
    {
        for child in proc.own_children_in(*namespace)? {
            pidfd::wait_end_within(child.as_fd(), PATIENCE)?;
        }
    }
    pidfd::wait_end_within(pidfd, PATIENCE * 20).map(drop)
}

/// What is killed ends within a fraction of this.
const PATIENCE: Duration = Duration::from_millis(100);
