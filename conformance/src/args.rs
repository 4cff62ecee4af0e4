//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::environment::Environment;
use crate::failure::{Failure, Result};
use crate::security::Run;
use crate::suite::Suite;

#[derive(Debug)]
pub(crate) enum Arguments {
    Help,
    Run(Options),
    List(Suite, Vec<String>),
    Report,
    Security(Security),
    Missing(Vec<String>),
    Without(String, Vec<OsString>),
    Shell(Vec<OsString>),
    Clean,
    /// What the runner calls itself for.
    View(Environment, Vec<OsString>),
    Supervise(String),
    Facts,
}

/// What is done about docs/security.md.
#[derive(Debug)]
pub(crate) enum Security {
    Write,
    /// Name the tests that play attacks.
    Tests,
    /// Keep what a run has said.
    Record(Run),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) suites: Vec<Suite>,
    pub(crate) environments: Vec<Environment>,
    pub(crate) runtimes: Vec<String>,
    pub(crate) tests: Vec<String>,
    /// In the virtual machine too, all of a suite.
    pub(crate) all: bool,
    /// How many virtual machines share the work.
    pub(crate) machines: usize,
    /// This is the virtual machine; results go into this file.
    pub(crate) inside: Option<PathBuf>,
}

const HELP: &str = "\
hoist-conformance: other people's test suites, run against a container runtime

usage:
  hoist-conformance run [SUITE…] [OPTION…]   run suites, and compare hoist with what is expected of it
  hoist-conformance list SUITE [PART]        the parts of a suite; the tests of a part
  hoist-conformance missing [CALLS…]         hoist's own tests on kernels that lack system calls
  hoist-conformance without CALLS -- COMMAND a command on such a kernel: clone3,openat2; mount-api; all
  hoist-conformance report                   write docs/conformance.md from the results that are kept
  hoist-conformance security                 write docs/security.md from the tests and what is recorded
  hoist-conformance security tests           the names of the tests that play attacks
  hoist-conformance security record NAME [--of PEER]
                                             keep what tests say on the standard input
  hoist-conformance vm shell                 a terminal in a throw-away virtual machine
  hoist-conformance clean                    remove what was built and kept

suites (all of them if none is named):";

const OPTIONS: &str = "\
environments (those that fit the suite if none is named):";

const REST: &str = "\
options of run:
  --runtime hoist|runc|crun|PATH   what is tested: hoist as this repository has it (the default),
                                   Debian sid's runc or crun, or any program; more than once if you like
  --environment NAME               where; more than once if you like
  --test PART[/TITLE]              only this; needs the one suite that has it
  --all                            in the virtual machine too, the whole of runc's suite
  --machines N                     virtual machines that share the work (2)

`vm` in place of a suite: all suites, in the virtual machine. Suites and peers come from Debian's
packages and are built in HOIST_CACHE (~/.cache/hoist); needs root.

Status: 0 if hoist did as conformance/suites/*/expected.toml has it, or the other runtimes passed
everything; 1 if not; 2 for a mistake on the command line or a machine on which nothing can be run.
";

/// What `--help` prints.
pub(crate) fn help() -> String {
    let mut text = format!("{HELP}\n");
    for suite in Suite::ALL {
        text.push_str(&format!("  {:<12} {}\n", suite.name(), suite.about()));
    }
    text.push_str(&format!("\n{OPTIONS}\n"));
    for environment in Environment::ALL {
        text.push_str(&format!("  {:<12} {}\n", environment.name(), environment.about()));
    }
    format!("{text}\n{REST}")
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Arguments> {
    let mut parser = lexopt::Parser::from_env();
    let command = match parser.next().map_err(usage)? {
        None => return Ok(Arguments::Help),
        Some(Short('h') | Long("help")) => return Ok(Arguments::Help),
        Some(Value(word)) => word.string().map_err(usage)?,
        Some(argument) => return Err(usage(argument.unexpected())),
    };
    match command.as_str() {
        "run" => options(&mut parser),
        "list" => {
            let suite = operand(&mut parser)?.ok_or_else(|| usage("list: which suite?"))?;
            let suite = Suite::parse(&suite).ok_or_else(|| no_suite(&suite))?;
            let mut parts = Vec::new();
            while let Some(part) = operand(&mut parser)? {
                parts.push(part);
            }
            Ok(Arguments::List(suite, parts))
        }
        "report" => nothing_more(&mut parser, Arguments::Report),
        "security" => security(&mut parser),
        "clean" => nothing_more(&mut parser, Arguments::Clean),
        "facts" => nothing_more(&mut parser, Arguments::Facts),
        "missing" => {
            let mut calls = Vec::new();
            while let Some(list) = operand(&mut parser)? {
                calls.push(list);
            }
            Ok(Arguments::Missing(calls))
        }
        "without" => {
            let calls = operand(&mut parser)?.ok_or_else(|| usage("without: which calls?"))?;
            Ok(Arguments::Without(calls, rest(&mut parser)?))
        }
        "vm" => match operand(&mut parser)?.as_deref() {
            Some("shell") => Ok(Arguments::Shell(rest(&mut parser)?)),
            _ => Err(usage("vm: `vm shell` is all there is")),
        },
        "view" => {
            let name = operand(&mut parser)?.ok_or_else(|| usage("view: which?"))?;
            Ok(Arguments::View(Environment::parse(&name)?, rest(&mut parser)?))
        }
        "supervise" => {
            let job = operand(&mut parser)?.ok_or_else(|| usage("supervise: what?"))?;
            Ok(Arguments::Supervise(job))
        }
        "help" => Ok(Arguments::Help),
        other => Err(usage(format!("there is no command {other:?}"))),
    }
}

fn options(parser: &mut lexopt::Parser) -> Result<Arguments> {
    let mut options = Options {
        suites: Vec::new(),
        environments: Vec::new(),
        runtimes: Vec::new(),
        tests: Vec::new(),
        all: false,
        machines: 2,
        inside: None,
    };
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Short('h') | Long("help") => return Ok(Arguments::Help),
            Long("runtime") => options.runtimes.push(value(parser)?),
            Long("environment") => options.environments.push(Environment::parse(&value(parser)?)?),
            Long("test") => options.tests.push(value(parser)?),
            Long("all") => options.all = true,
            Long("machines") => {
                let number = value(parser)?;
                options.machines =
                    number.parse().ok().filter(|machines| (1..=16).contains(machines)).ok_or_else(
                        || usage(format!("--machines {number}: not a number from 1 to 16")),
                    )?;
            }
            Long("inside") => options.inside = Some(value(parser)?.into()),
            Value(word) if word == "vm" => {
                options.environments.extend(Environment::ALL.into_iter().filter(|one| one.is_vm()));
            }
            Value(word) => {
                let word = word.string().map_err(usage)?;
                options.suites.push(Suite::parse(&word).ok_or_else(|| no_suite(&word))?);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    if options.runtimes.is_empty() {
        options.runtimes.push("hoist".to_owned());
    }
    Ok(Arguments::Run(options))
}

fn security(parser: &mut lexopt::Parser) -> Result<Arguments> {
    match operand(parser)?.as_deref() {
        None => return Ok(Arguments::Security(Security::Write)),
        Some("tests") => return nothing_more(parser, Arguments::Security(Security::Tests)),
        Some("record") => {}
        Some(word) => return Err(usage(format!("security: there is no {word:?}"))),
    }
    let (mut name, mut of) = (None, "hoist".to_owned());
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Long("of") => of = value(parser)?,
            Value(word) if name.is_none() => name = Some(word.string().map_err(usage)?),
            other => return Err(usage(other.unexpected())),
        }
    }
    let name = name.ok_or_else(|| usage("security record: as what?"))?;
    Ok(Arguments::Security(Security::Record(Run { name, of })))
}

fn no_suite(word: &str) -> Failure {
    usage(format!(
        "there is no suite {word:?}; there are {}, vm",
        Suite::ALL.map(Suite::name).join(", ")
    ))
}

fn usage(what: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{what} (`hoist-conformance --help` tells more)"))
}

fn value(parser: &mut lexopt::Parser) -> Result<String> {
    parser.value().and_then(ValueExt::string).map_err(usage)
}

fn operand(parser: &mut lexopt::Parser) -> Result<Option<String>> {
    match parser.next().map_err(usage)? {
        None => Ok(None),
        Some(Value(word)) => word.string().map(Some).map_err(usage),
        Some(other) => Err(usage(other.unexpected())),
    }
}

/// Everything that is left; a `--` before it is taken away.
fn rest(parser: &mut lexopt::Parser) -> Result<Vec<OsString>> {
    let mut rest: Vec<OsString> = parser.raw_args().map_err(usage)?.collect();
    if rest.first().is_some_and(|first| first == "--") {
        rest.remove(0);
    }
    Ok(rest)
}

fn nothing_more(parser: &mut lexopt::Parser, arguments: Arguments) -> Result<Arguments> {
    match operand(parser)? {
        None => Ok(arguments),
        Some(word) => Err(usage(format!("{word:?} is one word too many"))),
    }
}
