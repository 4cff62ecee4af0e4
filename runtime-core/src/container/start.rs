//! start: lets a created container's process become the user's program.

use std::os::fd::AsFd;
use std::sync::PoisonError;

use hoist_init::page::Sync;
use hoist_init::wire::Step;

use super::exec::Target;
use super::notify::Listener;
use super::state::{Status, oci_state};
use super::{Container, failure};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, Kind};
use crate::spawn::{Conversation, Event, protocol_error};
use crate::state::{Locked, Phase};
use crate::sys::required::{self, EVERY_CONTAINER, MEMFD_CREATE};

/// The step in which a created container's init waits.
const AWAIT_START: &str = "await-start";

impl Container {
    /// Starts the user's program in a created container (runtime-spec runtime.md, "start"): the
    /// startContainer hooks run, then the program is executed, then the poststart hooks run.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] unless the container is created. If the program can't be
    /// executed the container is stopped. If a poststart hook fails, it is killed.
    pub fn start(&self) -> Result<()> {
        self.start_inner().map_err(|error| error.in_operation("start", self.id()))
    }

    fn start_inner(&self) -> Result<()> {
        let locked = self.dir.lock()?;
        if self.start_as_creator(&locked)? {
            return Ok(());
        }
        let (mut record, status, process) = self.current()?;
        let process = match (status, process) {
            (Status::Created, Some(process)) => process,
            // runc's wording.
            (Status::Stopped, _) => {
                return Err(Error::new(
                    ErrorKind::WrongState,
                    "cannot start a container that has stopped",
                ));
            }
            (Status::Running, _) => {
                return Err(Error::new(
                    ErrorKind::WrongState,
                    "cannot start an already running container",
                ));
            }
            (status, _) => {
                return Err(Error::new(
                    ErrorKind::WrongState,
                    format!("cannot start a container in the {status} state"),
                ));
            }
        };
        record.check_startable()?;
        let spec = if record.config_use.start { Some(self.config()?) } else { None };
        let hooks = spec.as_ref().and_then(|spec| spec.hooks().as_ref());
        let pid = record.init.as_ref().map_or(0, |init| init.pid.unsigned_abs());
        let linux = spec.as_ref().and_then(|spec| spec.linux().as_ref());
        let filter = match linux.and_then(|linux| linux.seccomp().as_ref()) {
            // Only a profile with a listener matters here: init has the filter already.
            Some(profile) if profile.listener_path().is_some() => {
                Some(self.shared.filters.get(profile)?)
            }
            _ => None,
        };
        let hooked = !Kind::StartContainer.of(hooks).is_empty();
        let poststart = !Kind::Poststart.of(hooks).is_empty();
        // Before init is told anything: it is as it was if they are missing.
        required::check(if hooked || poststart { EVERY_CONTAINER } else { &[MEMFD_CREATE] })?;
        Listener::check(filter.as_deref())?;
        // Hooks have connections of their own, one after the other, and theirs come first.
        let early = if hooked { None } else { Listener::of(filter.as_deref())? };

        let gone =
            || Error::new(ErrorKind::WrongState, "cannot start a container that has stopped");
        let connection = self.dir.connect()?;
        let mut conversation = Conversation::with_created(connection)?.ok_or_else(gone)?;
        let hand_over = |conversation: &Conversation, listener: Option<Listener>| match listener {
            Some(listener) => listener.hand_over(
                &conversation.report,
                pid,
                process.pidfd.as_fd(),
                &oci_state(&record, Status::Created, pid),
            ),
            None => Ok(()),
        };
        hand_over(&conversation, early).inspect_err(|_| self.end(&process.pidfd))?;
        // Init is on its way to the program meanwhile, if nothing is left to find out.
        let draft = (!hooked && !record.namespaces.is_empty())
            .then(|| locked.draft_record(&record.started()))
            .transpose()?;
        loop {
            match conversation.next()? {
                Event::Sync(Sync::Start) => {
                    let target = Target {
                        shared: &self.shared,
                        record: &record,
                        status,
                        spec: spec.as_deref().ok_or_else(protocol_error)?,
                        pidfd: process.pidfd.as_fd(),
                        dir: &process.dir,
                        namespaces: None,
                        cgroup: &self.cgroup(&record)?,
                    };
                    let ran = hooks::run(
                        Kind::StartContainer,
                        hooks,
                        oci_state(&record, Status::Created, pid).to_string().as_bytes(),
                        &|hook, stdio| target.launch_hook(hook, stdio),
                    );
                    let listener = ran
                        .and_then(|()| Listener::of(filter.as_deref()))
                        .inspect_err(|_| self.end(&process.pidfd))?;
                    conversation.go()?;
                    hand_over(&conversation, listener).inspect_err(|_| self.end(&process.pidfd))?;
                }
                Event::End => break,
                Event::Cloned
                | Event::Sync(_)
                | Event::MapIds { .. }
                | Event::Announced
                | Event::Created => {
                    return Err(protocol_error());
                }
            }
        }
        self.check_executed(&conversation)?;
        if let Some(draft) = draft {
            draft.commit()?;
        } else {
            super::record_namespaces(&mut record, &process.dir);
            locked.write_record(&record.started())?;
        }
        let ran = if poststart {
            let state = oci_state(&record, Status::Running, pid).to_string();
            let image = self.shared.image()?;
            hooks::run(Kind::Poststart, hooks, state.as_bytes(), &|hook, stdio| {
                hooks::launch_from_host(image, None, hook, stdio)
            })
        } else {
            Ok(())
        };
        if ran.is_err() {
            self.end(&process.pidfd);
        }
        ran
    }

    /// Starts what this value has made, in the conversation that it has had with init all along
    /// (decision 0018): where init is all there is to talk to, and nothing is left to find out. False
    /// where it is not so, or where init has ended, listens to somebody else or is paused.
    fn start_as_creator(&self, locked: &Locked) -> Result<bool> {
        let mut creation = self.creation.lock().unwrap_or_else(PoisonError::into_inner);
        let frozen = |(cgroup, _): &(Cgroup, u64)| cgroup.is_frozen().unwrap_or(false);
        if creation.is_none() || self.cgroup.as_ref().is_none_or(frozen) {
            return Ok(false);
        }
        let Some(record) = self.dir.record()? else { return Ok(false) };
        let plain = record.phase == Phase::Created
            && record.check_startable().is_ok()
            && !record.config_use.start
            && !record.namespaces.is_empty();
        let Some(mut conversation) = creation.take_if(|_| plain) else { return Ok(false) };
        conversation.start()?;
        let draft = locked.draft_record(&record.started())?;
        let Event::End = conversation.next()? else { return Err(protocol_error()) };
        if Step::name_of(conversation.report.read()?.code) == Some(AWAIT_START) {
            return Ok(false);
        }
        self.check_executed(&conversation)?;
        draft.commit()?;
        Ok(true)
    }

    /// After the end of a conversation: that the user's program was executed.
    fn check_executed(&self, conversation: &Conversation) -> Result<()> {
        let argument = || {
            let spec = self.config().ok();
            super::first_argument(spec.as_ref().and_then(|spec| spec.process().as_ref()))
        };
        failure::of_container(&conversation.report, None, argument)?.map_or(Ok(()), Err)
    }

    /// Kills the first process because its start failed.
    fn end(&self, pidfd: &std::os::fd::OwnedFd) {
        let _ = crate::sys::pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
}
