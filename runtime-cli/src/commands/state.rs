//! `hoist state`.

use crate::failure::Result;
use crate::output;
use crate::session::Session;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let state = session.container()?.state()?;
    output::print_pretty_json(&state, "  ").map(|()| 0)
}
