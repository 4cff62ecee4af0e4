//! `hoist list`.

use crate::columns;
use crate::failure::Result;
use crate::output;
use crate::session::Session;
use crate::table::flags;
use hoist::{ErrorKind, State};

pub(crate) fn run(session: &Session) -> Result<u8> {
    let runtime = session.runtime()?;
    if session.values.is_on(&flags::QUIET) {
        let ids = runtime.list()?;
        let lines: String = ids.iter().flat_map(|id| [id.as_str(), "\n"]).collect();
        return output::print(&lines).map(|()| 0);
    }
    let states = runtime.states()?.into_iter().filter_map(|(_, state)| known(state));
    match session.values.text(&flags::FORMAT) {
        Some("json") => output::print_json(&states.collect::<Vec<_>>())?,
        _ => {
            let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
            output::print_lines(columns::lines(head, states.map(row).collect()))?;
        }
    }
    Ok(0)
}

/// A state, unless it is a complaint.
fn known(state: hoist::Result<State>) -> Option<State> {
    match state {
        Ok(state) => return Some(state),
        // It was deleted just now.
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => output::complain(&format!("{error}\n")),
    }
    None
}

fn row(state: State) -> [String; 6] {
    let bundle = state.bundle.into_os_string();
    [
        state.id,
        state.pid.to_string(),
        state.status.to_string(),
        bundle.into_string().unwrap_or_else(|bundle| bundle.display().to_string()),
        state.created,
        state.owner,
    ]
}
