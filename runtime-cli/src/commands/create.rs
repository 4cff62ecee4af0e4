//! `hoist create`.

use crate::failure::Result;
use crate::launch::Launch;
use crate::launch::bundle::{self, Prepared};
use crate::name;
use crate::session::Session;
use hoist::Container;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let id = session.id()?;
    let created = bundle::load(session).and_then(|prepared| {
        let leftovers = prepared.leftovers();
        create(session, id, prepared).inspect_err(|_| leftovers.remove())
    });
    created
        .map(|()| 0)
        .map_err(|failure| failure.of_command(&format!("{} create", name::called()), id))
}

fn create(session: &Session, id: &str, prepared: Prepared) -> Result<()> {
    let mut launch = Launch::prepare(session, prepared.terminal(), true, true)?;
    let options = launch.create_options(session);
    let container = session.runtime()?.create_with(id, prepared.bundle, options)?;
    session.report(container.warnings(), &prepared.warnings, container.timings());
    match launch.announce(container.pidfd(), "standard") {
        Ok(()) => Ok(()),
        Err(failure) => {
            undo(container);
            Err(failure)
        }
    }
}

/// Whoever called does not learn of the container, so there must be none. What led here is the
/// error that is told, not what may go wrong now.
pub(super) fn undo(container: Container) {
    let _ = container.delete_force();
}
