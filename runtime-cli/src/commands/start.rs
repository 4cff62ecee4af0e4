//! `hoist start`.

use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::failure::{Context, Failure, Result};
use crate::notify::{self, Relay};
use crate::session::Session;
use hoist::Container;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let container = session.container()?;
    match notify::is_wanted() {
        false => container.start()?,
        true => notifying(session, &container)?,
    }
    Ok(0)
}

/// Starts the container and waits until it has told systemd that it is ready.
fn notifying(session: &Session, container: &Container) -> Result<()> {
    let relay = Relay::bind(&session.notify_directory()?)?;
    // Asked for before the start: the program may be quick.
    let pid = container.pid()?.unwrap_or(0);
    let process = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let process = process.map(|pid| pidfd_open(pid, PidfdFlags::empty())).transpose();
    container.start()?;
    let Some(relay) = relay else { return Ok(()) };
    let process = process.context("open a pidfd of the container's process")?;
    let process = process.ok_or_else(|| Failure::new("the container's process is gone"))?;
    relay.wait(std::os::fd::AsFd::as_fd(&process), pid, &session.log)
}
