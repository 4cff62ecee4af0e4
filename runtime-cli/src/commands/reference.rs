//! Help, the version, manual pages and completions: what the table says about hoist itself.

use std::fs;
use std::path::Path;

use crate::args::{Command, bash, find, fish, help, man, zsh};
use crate::failure::{Context, Failure, Result};
use crate::name;
use crate::output;
use crate::session::Session;
use crate::table::PROGRAM;

/// The runtime-spec that hoist implements.
const SPEC_VERSION: &str = "1.3.0";

pub(crate) fn help(session: &Session) -> Result<u8> {
    let command = match session.operands.first() {
        None => None,
        Some(name) => Some(
            find(&PROGRAM, name)
                .map_err(|usage| Failure::new(usage.message).with_exit_code(usage.exit_code))?,
        ),
    };
    show_help(command).map(|()| 0)
}

/// Help on one command, or on the program.
pub(crate) fn show_help(command: Option<&'static Command>) -> Result<()> {
    output::print(&match command {
        Some(command) => help::command(&name::called(), command),
        None => help::program(&name::called(), &PROGRAM),
    })
}

/// The first line is what Docker takes the version from, the second what it shows as commit.
pub(crate) fn show_version() -> Result<()> {
    output::print(&version())
}

fn version() -> String {
    let commit = match option_env!("HOIST_COMMIT") {
        Some(commit) => format!("commit: {commit}\n"),
        None => String::new(),
    };
    format!("{} version {}\n{commit}spec: {SPEC_VERSION}\n", PROGRAM.name, PROGRAM.version)
}

pub(crate) fn completion(session: &Session) -> Result<u8> {
    let script = match session.operands.first().and_then(|shell| shell.to_str()) {
        Some("bash") => bash::script(&PROGRAM),
        Some("zsh") => zsh::script(&PROGRAM),
        Some("fish") => fish::script(&PROGRAM),
        _ => return Err(Failure::new("no completion for this shell: use bash, zsh or fish")),
    };
    output::print(&script).map(|()| 0)
}

pub(crate) fn man(session: &Session) -> Result<u8> {
    let directory = session.operands.first().map(Path::new).unwrap_or(Path::new("."));
    for (name, page) in man::pages(&PROGRAM) {
        let path = directory.join(name);
        fs::write(&path, page).context(format_args!("write {}", path.display()))?;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_can_read_the_version() {
        let text = version();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[0], format!("hoist version {}", env!("CARGO_PKG_VERSION")));
        assert_eq!(*lines.last().unwrap(), "spec: 1.3.0");
    }
}
