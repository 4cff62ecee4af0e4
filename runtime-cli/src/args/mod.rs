//! A command line described by one static table.
//!
//! The same [`Program`] is what [`parse()`] reads, what `--help`, the manual pages and the shell
//! completions are rendered from, and what suggestions for misspelt names are taken from; so none
//! of them can disagree.

pub(crate) mod bash;
mod duration;
pub(crate) mod fish;
pub(crate) mod help;
pub(crate) mod man;
mod parse;
mod suggest;
mod values;
pub(crate) mod zsh;

pub(crate) use parse::{Parsed, find, parse};
pub(crate) use values::{Values, number};

use crate::session::Session;

/// The whole command line.
#[derive(Debug)]
pub(crate) struct Program {
    pub(crate) name: &'static str,
    pub(crate) version: &'static str,
    pub(crate) summary: &'static str,
    pub(crate) description: &'static str,
    /// Options that stand before the command.
    pub(crate) flags: &'static [Flag],
    pub(crate) commands: &'static [Command],
}

/// What a command does; the result is the program's exit code.
pub(crate) type Action = fn(&Session) -> crate::failure::Result<u8>;

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) name: &'static str,
    pub(crate) alias: Option<&'static str>,
    pub(crate) summary: &'static str,
    /// What follows the options, as help shows it.
    pub(crate) operands: &'static str,
    /// How many operands it takes, at least and at most.
    pub(crate) arity: (usize, usize),
    pub(crate) order: Order,
    pub(crate) flags: &'static [Flag],
    pub(crate) description: &'static str,
    pub(crate) completion: Operand,
    pub(crate) hidden: bool,
    pub(crate) action: Action,
}

impl Command {
    /// Whether the user may call it `name`.
    pub(crate) fn is_called(&self, name: &str) -> bool {
        self.name == name || self.alias == Some(name)
    }
}

/// Where a command's options may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Before and after the operands: `create ID --bundle X`.
    Free,
    /// Before the first operand only; what follows belongs to somebody else: `exec ID ls -l`.
    OptionsFirst,
    /// Nowhere: nothing but `--help` is looked at.
    Raw,
}

/// What a shell offers in the place of a command's operands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operand {
    Nothing,
    /// The ids that `list --quiet` prints.
    Container,
    Directory,
    /// One of a few words.
    Words(&'static [&'static str]),
    /// The names of the commands.
    Command,
}

/// One option.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flag {
    pub(crate) name: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) value: Value,
    pub(crate) help: &'static str,
    pub(crate) hidden: bool,
    pub(crate) repeatable: bool,
}

/// What an option takes, with the name that help gives it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    /// Nothing, or `=true` and `=false`.
    Switch,
    Text(&'static str),
    Number(&'static str),
    /// Go's: `300ms`, `1m30s`.
    Duration(&'static str),
    File(&'static str),
    Directory(&'static str),
    OneOf(&'static str, &'static [&'static str]),
}

impl Value {
    /// What help calls it; nothing for a switch.
    pub(crate) fn placeholder(self) -> Option<&'static str> {
        match self {
            Self::Switch => None,
            Self::Text(name)
            | Self::Number(name)
            | Self::Duration(name)
            | Self::File(name)
            | Self::Directory(name)
            | Self::OneOf(name, _) => Some(name),
        }
    }
}

impl Flag {
    pub(crate) const fn new(name: &'static str, value: Value, help: &'static str) -> Self {
        Self { name, short: None, value, help, hidden: false, repeatable: false }
    }

    pub(crate) const fn switch(name: &'static str, help: &'static str) -> Self {
        Self::new(name, Value::Switch, help)
    }

    pub(crate) const fn short(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    pub(crate) const fn repeatable(mut self) -> Self {
        self.repeatable = true;
        self
    }

    pub(crate) const fn hidden(mut self) -> Self {
        self.hidden = true;
        self
    }
}

/// `flags` without the hidden ones.
pub(crate) fn visible(flags: &'static [Flag]) -> impl Iterator<Item = &'static Flag> {
    flags.iter().filter(|flag| !flag.hidden)
}

impl Program {
    /// The commands that help and completions show.
    pub(crate) fn visible_commands(&self) -> impl Iterator<Item = &'static Command> {
        self.commands.iter().filter(|command| !command.hidden)
    }

    pub(crate) fn command(&self, name: &str) -> Option<&'static Command> {
        self.commands.iter().find(|command| command.is_called(name))
    }
}

#[cfg(test)]
#[path = "reference_tests.rs"]
mod tests;
