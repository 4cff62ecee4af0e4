//! Reading a command line by the table.
//!
//! lexopt takes the line apart; this module knows what runc's callers are used to beyond GNU's
//! conventions: options after the operands, Go's single dash (`-bundle DIR`), and `=false`.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;

use lexopt::{Arg, Parser};

use super::suggest::closest;
use super::{Command, Flag, Order, Program, Value, Values};
use crate::table::flags::{HELP, VERSION};

/// What the user wants.
#[derive(Debug)]
pub(crate) enum Parsed {
    Run {
        command: &'static Command,
        globals: Values,
        values: Values,
        operands: Vec<OsString>,
    },
    /// Help on one command, or on the program.
    Help(Option<&'static Command>),
    Version,
}

/// A command line that can't be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct UsageError {
    pub(crate) message: String,
    pub(crate) exit_code: u8,
}

impl UsageError {
    fn new(message: String) -> Self {
        Self { message, exit_code: 1 }
    }
}

/// Reads a command line, without the program's own name.
pub(crate) fn parse(
    program: &'static Program,
    args: impl IntoIterator<Item = OsString>,
) -> Result<Parsed, UsageError> {
    let (globals, mut rest) = scan(program.flags, Order::OptionsFirst, args)
        .map_err(|message| UsageError::new(hint(message, program.name, None)))?;
    if globals.is_on(&HELP) {
        return Ok(Parsed::Help(None));
    }
    if globals.is_on(&VERSION) {
        return Ok(Parsed::Version);
    }
    if rest.is_empty() {
        return Ok(Parsed::Help(None));
    }
    let args = rest.split_off(1);
    let name = rest.pop().unwrap_or_default();
    let command = find(program, &name)?;
    if command.order == Order::Raw {
        let help = args.iter().any(|arg| arg == "--help" || arg == "-h");
        return Ok(match help {
            true => Parsed::Help(Some(command)),
            false => Parsed::Run { command, globals, values: Values::default(), operands: args },
        });
    }
    let (values, operands) = scan(command.flags, command.order, args)
        .map_err(|message| UsageError::new(hint(message, program.name, Some(command))))?;
    if values.is_on(&HELP) {
        return Ok(Parsed::Help(Some(command)));
    }
    if let Some(message) = wrong_arity(command, operands.len()) {
        return Err(UsageError::new(hint(message, program.name, Some(command))));
    }
    Ok(Parsed::Run { command, globals, values, operands })
}

/// The command called `name`; else the words and the exit code that runc has for it.
pub(crate) fn find(
    program: &'static Program,
    name: &OsStr,
) -> Result<&'static Command, UsageError> {
    let name = name.to_string_lossy();
    program.command(&name).ok_or_else(|| {
        let mut message = format!("No help topic for '{name}'");
        let names = program.visible_commands().map(|command| command.name);
        if let Some(known) = closest(&name, names) {
            message.push_str(&format!("; did you mean '{known}'?"));
        }
        UsageError { message, exit_code: 3 }
    })
}

/// Splits `args` into options and operands.
fn scan(
    flags: &'static [Flag],
    order: Order,
    args: impl IntoIterator<Item = OsString>,
) -> Result<(Values, Vec<OsString>), String> {
    let mut parser = Parser::from_args(args);
    let mut values = Values::default();
    let mut operands = Vec::new();
    loop {
        if let Some(mut rest) = parser.try_raw_args()
            && rest.next_if(|arg| arg == "--").is_some()
        {
            operands.extend(rest);
            break;
        }
        if let Some((flag, value)) = single_dash(&mut parser, flags) {
            take(&mut values, flag, value, || parser.value())?;
            continue;
        }
        let (flag, attached) = match parser.next().map_err(|error| wording(&error))? {
            None => break,
            // Within a cluster (`-dt`) what follows a switch is the next one, not its value.
            Some(Arg::Short(name)) => {
                let known = flags.iter().find(|flag| flag.short == Some(name));
                (known.ok_or_else(|| unknown(&format!("-{name}"), flags))?, None)
            }
            Some(Arg::Long(name)) => {
                let known = flags.iter().find(|flag| flag.name == name);
                let flag = known.ok_or_else(|| unknown(&format!("--{name}"), flags))?;
                (flag, parser.optional_value())
            }
            Some(Arg::Value(operand)) => {
                operands.push(operand);
                if order != Order::Free {
                    operands.extend(parser.raw_args().map_err(|error| wording(&error))?);
                    break;
                }
                continue;
            }
        };
        take(&mut values, flag, attached, || parser.value())?;
    }
    Ok((values, operands))
}

/// Keeps one option; a value that isn't attached comes from `next`.
fn take(
    values: &mut Values,
    flag: &'static Flag,
    attached: Option<OsString>,
    next: impl FnOnce() -> Result<OsString, lexopt::Error>,
) -> Result<(), String> {
    let value = match (attached, flag.value) {
        (Some(value), _) => value,
        (None, Value::Switch) => {
            values.turn_on(flag);
            return Ok(());
        }
        (None, _) => next().map_err(|_| format!("flag needs an argument: --{}", flag.name))?,
    };
    let shown = value.to_string_lossy().into_owned();
    values
        .add(flag, value)
        .map_err(|why| format!("invalid value {shown:?} for flag --{}: {why}", flag.name))
}

/// Go's flag package knows no difference between one dash and two, and some callers write
/// `-bundle DIR` or `-d=false`. lexopt would read clusters of short options, so such an argument
/// is taken before it comes there, when it names a known option as a whole.
fn single_dash(
    parser: &mut Parser,
    flags: &'static [Flag],
) -> Option<(&'static Flag, Option<OsString>)> {
    let mut rest = parser.try_raw_args()?;
    let bytes = rest.peek()?.as_bytes().strip_prefix(b"-")?;
    let (name, value) = match bytes.iter().position(|byte| *byte == b'=') {
        Some(at) => (bytes.get(..at)?, bytes.get(at + 1..)),
        None => (bytes, None),
    };
    let name = std::str::from_utf8(name).ok()?;
    let flag = flags.iter().find(|flag| {
        flag.name == name
            || flag.short.is_some_and(|short| name.strip_prefix(short).is_some_and(str::is_empty))
    })?;
    let value = value.map(|value| OsStr::from_bytes(value).to_owned());
    rest.next();
    Some((flag, value))
}

fn wording(error: &lexopt::Error) -> String {
    match error {
        lexopt::Error::UnexpectedValue { option, value } => {
            format!("invalid value {:?} for flag {option}: it takes none", value.to_string_lossy())
        }
        other => other.to_string(),
    }
}

/// Go's words for it, and what may have been meant.
fn unknown(given: &str, flags: &'static [Flag]) -> String {
    let mut message = format!("flag provided but not defined: {given}");
    let names = super::visible(flags).map(|flag| flag.name);
    if let Some(known) = closest(given.trim_start_matches('-'), names) {
        message.push_str(&format!("; did you mean --{known}?"));
    }
    message
}

/// runc's words for too few or too many operands.
fn wrong_arity(command: &Command, given: usize) -> Option<String> {
    let (least, most) = command.arity;
    let (bound, count) = if least == most && given != least {
        ("exactly", least)
    } else if given < least {
        ("a minimum of", least)
    } else if given > most {
        ("a maximum of", most)
    } else {
        return None;
    };
    Some(format!("{:?} requires {bound} {count} argument(s)", command.name))
}

fn hint(message: String, program: &str, command: Option<&Command>) -> String {
    match command {
        Some(command) => format!("{message} (see '{program} {} --help')", command.name),
        None => format!("{message} (see '{program} --help')"),
    }
}

#[cfg(test)]
#[path = "parse_tests.rs"]
mod tests;
