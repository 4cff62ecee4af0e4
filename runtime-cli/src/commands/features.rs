//! `hoist features`.

use crate::failure::Result;
use crate::output;
use crate::session::Session;
use hoist::features;

pub(crate) fn run(_: &Session) -> Result<u8> {
    output::print_pretty_json(&features(), "    ").map(|()| 0)
}
