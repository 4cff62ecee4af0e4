//! `hoist kill`.

use crate::failure::Result;
use crate::session::Session;
use crate::table::flags;
use hoist::Signal;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let container = session.container()?;
    let signal = match session.operands.get(1) {
        Some(name) if !name.is_empty() => name.to_string_lossy().parse()?,
        _ => Signal::TERM,
    };
    // Engines call with --all to make sure that nothing is left, also of a container that is
    // stopped.
    match session.values.is_on(&flags::ALL) {
        true => container.kill_all(signal)?,
        false => container.kill(signal)?,
    }
    Ok(0)
}
