//! Completion for zsh.

use std::fmt::Write as _;

use super::{Command, Flag, Operand, Order, Program, Value, visible};

/// The script, to be installed as `_hoist` in a directory of `$fpath`.
pub(crate) fn script(program: &'static Program) -> String {
    let name = program.name;
    let mut out = format!(
        "#compdef {name}
# zsh completion for {name}; printed by \"{name} completion zsh\".

_{name}_containers() {{
    local -a ids root
    [[ -n ${{opt_args[--root]}} ]] && root=(--root ${{opt_args[--root]}})
    ids=(${{(f)\"$({name} $root list --quiet 2>/dev/null)\"}})
    _describe container ids
}}

_{name}_commands() {{
    local -a commands
    commands=(
"
    );
    for command in program.visible_commands() {
        let _ = writeln!(out, "        '{}:{}'", command.name, quote(command.summary));
    }
    let _ = write!(
        out,
        "    )
    _describe command commands
}}

_{name}() {{
    local curcontext=$curcontext state line
    typeset -A opt_args
    _arguments -C \\\n"
    );
    options(&mut out, program.flags);
    let _ = write!(
        out,
        "        '1: :_{name}_commands' \\
        '*:: :->operands'
    [[ $state == operands ]] || return
    case $line[1] in
"
    );
    for command in program.visible_commands() {
        let names = match command.alias {
            Some(alias) => format!("{}|{alias}", command.name),
            None => command.name.to_owned(),
        };
        let _ = write!(out, "    {names})\n        _arguments \\\n");
        options(&mut out, command.flags);
        let _ = write!(out, "        {}\n        ;;\n", operand(program, command));
    }
    let _ = write!(out, "    esac\n}}\n\n_{name} \"$@\"\n");
    out
}

fn operand(program: &Program, command: &Command) -> String {
    let first = match command.completion {
        Operand::Nothing => "'*: :'".to_owned(),
        Operand::Container => format!("'1:container:_{}_containers'", program.name),
        Operand::Directory => "'1:directory:_files -/'".to_owned(),
        Operand::Words(words) => format!("'1: :({})'", words.join(" ")),
        Operand::Command => format!("'1: :_{}_commands'", program.name),
    };
    // What follows the id belongs to another program.
    let rest = if command.order == Order::OptionsFirst { " '*:::argument:_normal'" } else { "" };
    format!("{first}{rest}")
}

fn options(out: &mut String, flags: &'static [Flag]) {
    for flag in visible(flags) {
        let help = quote(flag.help);
        let value = match flag.value {
            Value::Switch => String::new(),
            Value::Text(name) | Value::Number(name) | Value::Duration(name) => {
                format!(":{}: ", quote(name))
            }
            Value::File(name) => format!(":{}:_files", quote(name)),
            Value::Directory(name) => format!(":{}:_files -/", quote(name)),
            Value::OneOf(name, words) => format!(":{}:({})", quote(name), words.join(" ")),
        };
        let name = flag.name;
        let (star, exclusion) = match (flag.repeatable, flag.short) {
            (true, _) => ("*", String::new()),
            (false, Some(short)) => ("", format!("(-{short} --{name})")),
            (false, None) => ("", String::new()),
        };
        let _ = match flag.short {
            Some(short) => writeln!(
                out,
                "        '{exclusion}'{{'{star}-{short}','{star}--{name}'}}'[{help}]{value}' \\"
            ),
            None => writeln!(out, "        '{star}--{name}[{help}]{value}' \\"),
        };
    }
}

/// Text within single quotes, in a place where zsh reads colons and brackets.
fn quote(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('\'', "'\\''")
        .replace('[', "\\[")
        .replace(']', "\\]")
        .replace(':', "\\:")
}
