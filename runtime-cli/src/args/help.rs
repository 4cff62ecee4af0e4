//! `--help`, laid out as runc's.

use std::fmt::Write as _;

use super::{Command, Flag, Program, visible};

/// Help on the whole program, which the user calls `name`.
pub(crate) fn program(name: &str, program: &'static Program) -> String {
    let Program { version, summary, description, .. } = program;
    let mut out = format!(
        "NAME:\n   {name} - {summary}\n\n{description}\n\n\
         USAGE:\n   {name} [global options] command [command options] [arguments...]\n\n\
         VERSION:\n   {version}\n\nCOMMANDS:\n"
    );
    columns(&mut out, program.visible_commands().map(command_row).collect());
    out.push_str("\nGLOBAL OPTIONS:\n");
    columns(&mut out, visible(program.flags).map(flag_row).collect());
    out
}

/// Help on one command of what the user calls `program`.
pub(crate) fn command(program: &str, command: &'static Command) -> String {
    let Command { name, summary, operands, description, .. } = command;
    let space = if operands.is_empty() { "" } else { " " };
    let mut out = format!(
        "NAME:\n   {program} {name} - {summary}\n\n\
         USAGE:\n   {program} {name} [command options]{space}{operands}\n\nDESCRIPTION:\n"
    );
    for line in description.lines() {
        let indent = if line.is_empty() { "" } else { "   " };
        out.push_str(indent);
        out.push_str(line);
        out.push('\n');
    }
    out.push_str("\nOPTIONS:\n");
    columns(&mut out, visible(command.flags).map(flag_row).collect());
    out
}

fn command_row(command: &'static Command) -> (String, &'static str) {
    let names = match command.alias {
        Some(alias) => format!("{}, {alias}", command.name),
        None => command.name.to_owned(),
    };
    (names, command.summary)
}

/// `--bundle DIR, -b DIR`, and what it is for.
fn flag_row(flag: &'static Flag) -> (String, &'static str) {
    let value = flag.value.placeholder().map(|value| format!(" {value}")).unwrap_or_default();
    let mut left = format!("--{}{value}", flag.name);
    if let Some(short) = flag.short {
        let _ = write!(left, ", -{short}{value}");
    }
    (left, flag.help)
}

fn columns(out: &mut String, rows: Vec<(String, &'static str)>) {
    let width = rows.iter().map(|(left, _)| left.chars().count()).max().unwrap_or(0);
    for (left, right) in rows {
        let _ = writeln!(out, "   {left:width$}  {right}");
    }
}
