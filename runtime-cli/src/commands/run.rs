//! `hoist run`.

use std::os::fd::BorrowedFd;

use super::create::undo;
use crate::failure::{Failure, Result};
use crate::foreground::Foreground;
use crate::launch::bundle::{self, Prepared};
use crate::launch::{Launch, pid_of};
use crate::name;
use crate::session::Session;
use crate::table::flags;
use crate::timings::Clock;
use hoist::Container;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let id = session.id()?;
    let clock = Clock::start(session.values.is_on(&flags::TIMINGS));
    let ran = bundle::load(session).and_then(|prepared| {
        let leftovers = prepared.leftovers();
        let detach = session.values.is_on(&flags::DETACH);
        let ran = match detach {
            true => detached(session, id, prepared, clock).map(|()| 0),
            false => attended(session, id, prepared, clock),
        };
        if ran.is_err() || !(detach || session.values.is_on(&flags::KEEP)) {
            leftovers.remove();
        }
        ran
    });
    ran.map_err(|failure| failure.of_command(&format!("{} run", name::called()), id))
}

/// Starts a container and leaves it alone.
fn detached(session: &Session, id: &str, prepared: Prepared, mut clock: Clock) -> Result<()> {
    let mut launch = Launch::prepare(session, prepared.terminal(), true, true)?;
    let relay = prepared.relay()?;
    let options = launch.create_options(session);
    let runtime = session.runtime()?;
    clock.lap("load");
    let container = runtime.run_with(id, prepared.bundle, options)?;
    clock.library(container.timings());
    session.report(container.warnings(), &prepared.warnings, container.timings());
    let rest = launch.announce(container.pidfd(), "standard").and_then(|()| match relay {
        Some(relay) => {
            let process = pidfd(&container)?;
            relay.wait(process, pid_of(process)?, &session.log)
        }
        None => Ok(()),
    });
    if let Err(failure) = rest {
        undo(container);
        return Err(failure);
    }
    clock.print();
    Ok(())
}

/// Starts a container and stays until its process has ended; the result is its exit code.
fn attended(session: &Session, id: &str, prepared: Prepared, mut clock: Clock) -> Result<u8> {
    let mut foreground = Foreground::new()?;
    let mut launch = Launch::prepare(session, prepared.terminal(), false, true)?;
    let relay = prepared.relay()?;
    let options = launch.create_options(session);
    let runtime = session.runtime()?;
    let interactive = launch.is_interactive();
    clock.lap("load");
    let container = match interactive {
        false => runtime.run_with(id, prepared.bundle, options)?,
        // The terminal has to be set up before the program can write to it.
        true => runtime.create_with(id, prepared.bundle, options)?,
    };
    clock.library(container.timings());
    session.report(container.warnings(), &prepared.warnings, container.timings());
    let attend = || {
        if let Some(master) = launch.receive_terminal()? {
            foreground.attach(master)?;
        }
        if interactive {
            container.start()?;
        }
        launch.announce(container.pidfd(), "standard")?;
        foreground.stay(session, pidfd(&container)?, relay, |signal| container.kill(signal))?;
        Ok(container.wait()?)
    };
    let exit = match attend() {
        Ok(exit) => exit,
        Err(failure) => {
            undo(container);
            return Err(failure);
        }
    };
    clock.lap("program");
    if !session.values.is_on(&flags::KEEP) {
        delete(session, container);
        clock.lap("delete");
    }
    clock.print();
    Ok(u8::try_from(exit.exit_code()).unwrap_or(u8::MAX))
}

/// Its program has run: what goes wrong now is worth a warning, not another exit code.
fn delete(session: &Session, container: Container) {
    match container.delete() {
        Ok(complaints) => {
            complaints.iter().for_each(|complaint| session.log.warn(&complaint.to_string()));
        }
        Err(error) => session.log.warn(&error.to_string()),
    }
}

fn pidfd(container: &Container) -> Result<BorrowedFd<'_>> {
    container.pidfd().ok_or_else(|| Failure::new("the container's process is gone"))
}
