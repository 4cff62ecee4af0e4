//! start: lets a created container's process become the user's program.

use std::os::fd::AsFd;

use hoist_init::page::Sync;

use super::exec::Target;
use super::notify::Listener;
use super::state::{Status, oci_state};
use super::{Container, failure};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, Kind};
use crate::spawn::{Conversation, Event, protocol_error};
use crate::state::Phase;
use crate::sys::required::{self, EVERY_CONTAINER, MEMFD_CREATE};

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
        let argument = || {
            let spec = self.config().ok();
            super::first_argument(spec.as_ref().and_then(|spec| spec.process().as_ref()))
        };
        if let Some(error) = failure::of_container(&conversation.report, None, argument)? {
            return Err(error);
        }
        super::record_namespaces(&mut record, &process.dir);
        record.phase = Phase::Started;
        locked.write_record(&record)?;
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

    /// Kills the first process because its start failed.
    fn end(&self, pidfd: &std::os::fd::OwnedFd) {
        let _ = crate::sys::pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
    }
}
