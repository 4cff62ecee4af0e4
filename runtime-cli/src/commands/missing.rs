//! Commands of runc that hoist does not have yet.

use crate::failure::{Failure, Result};
use crate::session::Session;

pub(crate) fn run(session: &Session) -> Result<u8> {
    Err(Failure::new(format!("{} is not supported yet", session.command.name)))
}
