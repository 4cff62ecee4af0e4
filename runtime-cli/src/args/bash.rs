//! Completion for bash.

use std::fmt::Write as _;

use super::{Command, Flag, Operand, Program, Value, visible};

/// The script; it needs bash 4 and nothing else.
pub(crate) fn script(program: &'static Program) -> String {
    let name = program.name;
    let commands: Vec<_> = program.visible_commands().map(|command| command.name).collect();
    let commands = commands.join(" ");
    let mut values = String::new();
    let mut takes_value = String::new();
    let all = std::iter::once(("", program.flags))
        .chain(program.visible_commands().map(|command| (command.name, command.flags)));
    for (command, flags) in all {
        for flag in visible(flags).filter(|flag| flag.value != Value::Switch) {
            let pattern = |option: &str| format!("\"{command} {option}\"");
            let mut patterns = pattern(&format!("--{}", flag.name));
            if let Some(short) = flag.short {
                let _ = write!(patterns, "|{}", pattern(&format!("-{short}")));
            }
            let _ = writeln!(values, "        {patterns}) {}; return ;;", offer(flag.value));
            let _ = writeln!(takes_value, "        {patterns}) return 0 ;;");
        }
    }
    let mut operands = String::new();
    for command in program.visible_commands() {
        let _ = writeln!(operands, "        {}) {} ;;", command.name, arm(program, command));
    }
    let globals = options(program.flags);
    format!(
        "# bash completion for {name}; printed by \"{name} completion bash\".

# Whether the option takes the next word as its value.
_{name}_takes_value() {{
    case \"$1 $2\" in
{takes_value}    esac
    return 1
}}

# The ids of the containers below the state directory that the command line names.
_{name}_containers() {{
    COMPREPLY=($(compgen -W \"$({name} \"${{root[@]}}\" list --quiet 2>/dev/null)\" -- \"$cur\"))
}}

_{name}() {{
    local cur=${{COMP_WORDS[COMP_CWORD]}} previous=${{COMP_WORDS[COMP_CWORD-1]}}
    local command= word index operands=0
    local -a root=()
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        word=${{COMP_WORDS[index]}}
        case $word in
        --root) [ -n \"$command\" ] || root=(--root \"${{COMP_WORDS[index+1]}}\") ;;
        esac
        case $word in
        -*) if _{name}_takes_value \"$command\" \"$word\"; then ((index++)); fi ;;
        *) if [ -z \"$command\" ]; then command=$word; else ((operands++)); fi ;;
        esac
    done
    case \"$command $previous\" in
{values}    esac
    case $command in
    '')
        case $cur in
        -*) COMPREPLY=($(compgen -W \"{globals}\" -- \"$cur\")) ;;
        *) COMPREPLY=($(compgen -W \"{commands}\" -- \"$cur\")) ;;
        esac
        ;;
    *)
        case $command in
{operands}        esac
        ;;
    esac
}}

complete -F _{name} {name}
"
    )
}

/// What completes one command's operands and options.
fn arm(program: &Program, command: &'static Command) -> String {
    let words =
        |words: &[&str]| format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", words.join(" "));
    let operand = match command.completion {
        Operand::Nothing => ":".to_owned(),
        Operand::Container => format!("_{}_containers", program.name),
        Operand::Directory => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
        Operand::Words(list) => words(list),
        Operand::Command => {
            words(&program.visible_commands().map(|command| command.name).collect::<Vec<_>>())
        }
    };
    let options = options(command.flags);
    format!(
        "case $cur in -*) COMPREPLY=($(compgen -W \"{options}\" -- \"$cur\")) ;; \
         *) [ $operands -gt 0 ] || {operand} ;; esac"
    )
}

fn options(flags: &'static [Flag]) -> String {
    let names: Vec<_> = visible(flags).map(|flag| format!("--{}", flag.name)).collect();
    names.join(" ")
}

/// What completes an option's value.
fn offer(value: Value) -> String {
    match value {
        Value::File(_) => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
        Value::Directory(_) => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
        Value::OneOf(_, words) => {
            format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", words.join(" "))
        }
        Value::Switch | Value::Text(_) | Value::Number(_) | Value::Duration(_) => ":".to_owned(),
    }
}
