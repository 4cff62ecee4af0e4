//! `hoist delete`.

use crate::failure::Result;
use crate::notify;
use crate::session::Session;
use crate::table::flags;
use hoist::ErrorKind;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let force = session.values.is_on(&flags::FORCE);
    let deleted = match session.runtime()?.container(session.id()?) {
        Ok(container) if force => container.delete_force(),
        Ok(container) => container.delete(),
        // What is not there needs no deleting, says `rm --force` too.
        Err(error) if force && error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    for complaint in deleted? {
        session.log.warn(&complaint.to_string());
    }
    notify::remove(&session.notify_directory()?);
    Ok(0)
}
