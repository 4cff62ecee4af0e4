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
    let mut states = Vec::new();
    for (_, state) in runtime.states()? {
        match state {
            Ok(state) => states.push(state),
            // It was deleted just now.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => output::complain(&format!("{error}\n")),
        }
    }
    match session.values.text(&flags::FORMAT) {
        Some("json") => output::print_json(&states)?,
        _ => output::print(&table(&states))?,
    }
    Ok(0)
}

fn table(states: &[State]) -> String {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned);
    let rows = states.iter().map(|state| {
        [
            state.id.clone(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone(),
            state.owner.clone(),
        ]
    });
    columns::render(std::iter::once(head).chain(rows))
}
