//! Completion for fish.

use std::fmt::Write as _;

use super::{Flag, Operand, Program, Value, visible};

/// The script, to be installed as `hoist.fish` in a completions directory.
pub(crate) fn script(program: &'static Program) -> String {
    let name = program.name;
    let mut out = format!(
        "# fish completion for {name}; printed by \"{name} completion fish\".
complete -c {name} -f
"
    );
    options(&mut out, name, "__fish_use_subcommand", program.flags);
    for command in program.visible_commands() {
        let _ = writeln!(
            out,
            "complete -c {name} -n __fish_use_subcommand -a {} -d '{}'",
            command.name,
            quote(command.summary)
        );
    }
    for command in program.visible_commands() {
        let condition = format!("'__fish_seen_subcommand_from {}'", command.name);
        options(&mut out, name, &condition, command.flags);
        let operand = match command.completion {
            Operand::Nothing => continue,
            Operand::Container => format!("-a '({name} list --quiet 2>/dev/null)'"),
            Operand::Directory => "-a '(__fish_complete_directories)'".to_owned(),
            Operand::Words(words) => format!("-a '{}'", words.join(" ")),
            Operand::Command => {
                let names: Vec<_> = program.visible_commands().map(|other| other.name).collect();
                format!("-a '{}'", names.join(" "))
            }
        };
        let _ = writeln!(out, "complete -c {name} -n {condition} {operand}");
    }
    out
}

fn options(out: &mut String, name: &str, condition: &str, flags: &'static [Flag]) {
    for flag in visible(flags) {
        let short = flag.short.map(|short| format!(" -s {short}")).unwrap_or_default();
        let value = match flag.value {
            Value::Switch => String::new(),
            Value::Text(_) | Value::Number(_) | Value::Duration(_) => " -x".to_owned(),
            Value::File(_) => " -r -F".to_owned(),
            Value::Directory(_) => " -x -a '(__fish_complete_directories)'".to_owned(),
            Value::OneOf(_, words) => format!(" -x -a '{}'", words.join(" ")),
        };
        let _ = writeln!(
            out,
            "complete -c {name} -n {condition} -l {}{short}{value} -d '{}'",
            flag.name,
            quote(flag.help)
        );
    }
}

/// Text within single quotes.
fn quote(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\'', "\\'")
}
