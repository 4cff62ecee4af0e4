//! `hoist plan`.

use std::path::Path;

use crate::failure::Result;
use crate::output;
use crate::session::Session;
use crate::table::flags;
use hoist::{Bundle, CreateOptions};

/// The id that stands in the plan for the one that a container will have.
const ID: &str = "plan";

pub(crate) fn run(session: &Session) -> Result<u8> {
    let path = session.operands.first().map(Path::new).unwrap_or(Path::new("."));
    let bundle = Bundle::load(path)?;
    for warning in bundle.warnings() {
        session.log.warn(warning);
    }
    let plan = session.runtime()?.plan(ID, &bundle, &CreateOptions::new())?;
    match session.values.text(&flags::PLAN_FORMAT) {
        Some("json") => output::print_pretty_json(&plan.to_json(), "  ")?,
        _ => output::print(&format!("{}\n", plan.to_string().trim_end()))?,
    }
    Ok(0)
}
