//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use lexopt::prelude::*;

use crate::failure::{Failure, Result};
use crate::job::{Part, View};

#[derive(Debug)]
pub(crate) enum Arguments {
    Help,
    Run(Options),
    /// What the program calls itself for, inside a view; the job in JSON.
    Measure(String),
    /// The library's caller, in a process of its own; the job in JSON.
    Library(String),
    /// Files of results.
    Report(Vec<OsString>),
    /// What the guard reads by itself.
    Guard(Vec<OsString>),
}

#[derive(Debug)]
pub(crate) struct Options {
    pub(crate) output: PathBuf,
    /// NAME and PATH.
    pub(crate) runtimes: Vec<(String, PathBuf)>,
    pub(crate) without: Vec<String>,
    pub(crate) parts: Vec<Part>,
    pub(crate) views: Vec<View>,
    pub(crate) rounds: Option<u32>,
    pub(crate) quick: bool,
}

const HELP: &str = "\
hoist-bench: how fast hoist is, beside its peers and beside the floor (what the kernel alone takes)

usage:
  hoist-bench run [OPTION…]      measure, and write the raw samples to a file in JSON
  hoist-bench report [FILE…]     write docs/performance.md from such files (bench.json)
  hoist-bench guard …            compare what noise can't touch with what is allowed

options of run:
  -o, --output FILE          where the samples go (bench.json)
  --runtime NAME=PATH        a further runtime, or another build of one
  --without NAME             leave one out; what there is: floor, hoist, crun-static, crun, runc
  --only PART                only this part; more than once if you like
  --view unified|hybrid      only this view of the cgroups (both, if the machine has cgroup v1)
  --rounds N                 how often each command is timed (100)
  --quick                    a few rounds of everything, to see whether it works

parts:
";

const REST: &str = "
All runtimes take turns, on the same bundles, in an order that rotates; the first rounds don't count.
It needs root. hoist is target/*/release/hoist (make build). crun and runc come from Debian's sid and a
static crun from its sources (conformance/suites); they are left out where they can't be had. The
machine should have nothing else to do. ^C ends it and cleans up.
";

/// What `--help` prints.
pub(crate) fn help() -> String {
    let parts = Part::ALL.map(|part| format!("  {:<12} {}\n", part.name(), part.about()));
    format!("{HELP}{}{REST}", parts.concat())
}

/// Reads the command line.
pub(crate) fn parse() -> Result<Arguments> {
    parse_from(lexopt::Parser::from_env())
}

fn parse_from(mut parser: lexopt::Parser) -> Result<Arguments> {
    let command = match parser.next().map_err(usage)? {
        None | Some(Short('h') | Long("help")) => return Ok(Arguments::Help),
        Some(Value(word)) => word.string().map_err(usage)?,
        Some(argument) => return Err(usage(argument.unexpected())),
    };
    let rest =
        |parser: &mut lexopt::Parser| parser.raw_args().map(Iterator::collect).map_err(usage);
    match command.as_str() {
        "help" => Ok(Arguments::Help),
        "run" => options(&mut parser),
        "report" => Ok(Arguments::Report(rest(&mut parser)?)),
        "guard" => Ok(Arguments::Guard(rest(&mut parser)?)),
        "measure" => Ok(Arguments::Measure(value(&mut parser)?)),
        "library" => Ok(Arguments::Library(value(&mut parser)?)),
        other => Err(usage(format!("there is no command {other:?}"))),
    }
}

fn options(parser: &mut lexopt::Parser) -> Result<Arguments> {
    let mut options = Options {
        output: "bench.json".into(),
        runtimes: Vec::new(),
        without: Vec::new(),
        parts: Vec::new(),
        views: Vec::new(),
        rounds: None,
        quick: false,
    };
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Short('h') | Long("help") => return Ok(Arguments::Help),
            Short('o') | Long("output") => options.output = value(parser)?.into(),
            Long("runtime") => options.runtimes.push(runtime(&value(parser)?)?),
            Long("without") => options.without.push(value(parser)?),
            Long("only") => options.parts.push(Part::parse(&value(parser)?).map_err(usage)?),
            Long("view") => options.views.push(View::parse(&value(parser)?).map_err(usage)?),
            Long("rounds") => {
                let number = value(parser)?;
                let rounds = number.parse().ok().filter(|rounds| (1..=100_000).contains(rounds));
                options.rounds = Some(rounds.ok_or_else(|| {
                    usage(format!("--rounds {number}: not a number from 1 to 100000"))
                })?);
            }
            Long("quick") => options.quick = true,
            other => return Err(usage(other.unexpected())),
        }
    }
    Ok(Arguments::Run(options))
}

/// NAME=PATH. The name becomes a part of file names.
fn runtime(text: &str) -> Result<(String, PathBuf)> {
    let plain = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
    match text.split_once('=') {
        Some((name, path)) if !name.is_empty() && !path.is_empty() && plain(name) => {
            Ok((name.to_owned(), path.into()))
        }
        _ => Err(usage(format!("--runtime {text}: not NAME=PATH"))),
    }
}

fn usage(what: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{what} (`hoist-bench --help` tells more)"))
}

fn value(parser: &mut lexopt::Parser) -> Result<String> {
    parser.value().and_then(ValueExt::string).map_err(usage)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Result<Arguments> {
        parse_from(lexopt::Parser::from_args(words))
    }

    #[test]
    fn options_of_run() {
        let words =
            ["run", "-o", "x", "--runtime", "crun-static=/c", "--view=hybrid", "--rounds", "7"];
        let Arguments::Run(options) = parsed(&words).unwrap() else { panic!("not run") };
        assert_eq!(options.output, PathBuf::from("x"));
        assert_eq!(options.runtimes, [("crun-static".to_owned(), PathBuf::from("/c"))]);
        assert_eq!(options.views, [View::Hybrid]);
        assert_eq!(options.rounds, Some(7));
    }

    #[test]
    fn mistakes() {
        for (words, complaint) in [
            (&["walk"][..], "there is no command \"walk\""),
            (&["run", "--runtime", "crun"], "--runtime crun: not NAME=PATH"),
            (&["run", "--runtime", "a/b=c"], "not NAME=PATH"),
            (&["run", "--rounds", "0"], "--rounds 0: not a number from 1 to 100000"),
            (&["run", "--only", "all"], "there is no part \"all\""),
            (&["run", "--view", "v3"], "there is no view \"v3\""),
            (&["run", "x"], "unexpected argument"),
        ] {
            let failure = parsed(words).unwrap_err();
            assert!(failure.message.contains(complaint), "{}", failure.message);
        }
    }
}
