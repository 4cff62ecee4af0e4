//! `hoist pause` and `hoist resume`.

use crate::failure::Result;
use crate::session::Session;

pub(crate) fn pause(session: &Session) -> Result<u8> {
    session.container()?.pause()?;
    Ok(0)
}

pub(crate) fn resume(session: &Session) -> Result<u8> {
    session.container()?.resume()?;
    Ok(0)
}
