//! The guard: what hoist costs, counted in a way that noise can't touch, against what it may cost:
//! system calls, instructions, the size of the binaries, the crates in them; and how much of it is `unsafe`.

mod budgets;
mod bytes;
mod calls;
mod configs;
mod crates;
mod instructions;
mod strace;
#[allow(unsafe_code, reason = "unshare(2)")]
mod sys;
mod table;
mod unsafe_code;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use lexopt::prelude::*;

use self::budgets::{Budgets, Verdict};
use crate::console;
use crate::failure::{Context, Failure, Result};
use crate::job::View;
use crate::sys::remember_signals;

const HELP: &str = "\
hoist-bench guard --hoist PATH --shim PATH [OPTION…]

Counts what hoist costs and noise can't touch, and compares it with benches/budgets.toml. `make guard`
builds the release binaries and calls it. It needs root, strace, valgrind and the repository's root as
the working directory.

  --hoist PATH      the release binary of the command line
  --shim PATH       that of the shim
  --budgets FILE    (benches/budgets.toml)
  --write           make what is counted the budgets; comments stay

Status: 0 if nothing has grown; 1 if something has; 2 if it could not be counted.
";

/// One number that was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Count {
    /// Its section in the file of budgets, `system-calls.unified`.
    section: String,
    /// Its name there.
    name: String,
    value: u64,
    /// The command that shows what it is made of.
    shown_by: String,
    /// The largest of several counts, where they were not equal: then the value is the smallest.
    up_to: Option<u64>,
}

impl Count {
    fn new(section: &str, name: &str, value: u64, shown_by: String) -> Self {
        let (section, name) = (section.to_owned(), name.to_owned());
        Self { section, name, value, shown_by, up_to: None }
    }

    /// Takes another count of the same.
    fn again(&mut self, value: u64) {
        let most = self.up_to.unwrap_or(self.value).max(value);
        self.value = self.value.min(value);
        self.up_to = (most > self.value).then_some(most);
    }
}

/// What was counted.
#[derive(Debug, Default)]
struct Counted {
    counts: Vec<Count>,
    /// What a section's counts depend on: its name, and what the host is like.
    hosts: Vec<(String, String)>,
    /// Sections that could not be counted, and why.
    skipped: Vec<(String, String)>,
}

#[derive(Debug)]
struct Options {
    hoist: PathBuf,
    shim: PathBuf,
    budgets: PathBuf,
    write: bool,
}

/// `hoist-bench guard …`.
pub(crate) fn run(arguments: &[OsString]) -> Result<()> {
    let mut parser = lexopt::Parser::from_args(arguments);
    let (mut hoist, mut shim, mut write) = (None, None, false);
    let mut budgets = PathBuf::from("benches/budgets.toml");
    while let Some(argument) = parser.next().map_err(usage)? {
        match argument {
            Short('h') | Long("help") => {
                console::print(HELP.trim_end());
                return Ok(());
            }
            Long("hoist") => hoist = Some(parser.value().map_err(usage)?.into()),
            Long("shim") => shim = Some(parser.value().map_err(usage)?.into()),
            Long("budgets") => budgets = parser.value().map_err(usage)?.into(),
            Long("write") => write = true,
            // What valgrind(1) is given.
            Value(word) if word == "compile" => {
                let rest: Vec<_> = parser.raw_args().map_err(usage)?.collect();
                return instructions::compile(&rest);
            }
            other => return Err(usage(other.unexpected())),
        }
    }
    let missing = |option: &str| usage(format!("{option} is missing"));
    let hoist = hoist.ok_or_else(|| missing("--hoist"))?;
    let shim = shim.ok_or_else(|| missing("--shim"))?;
    guard(&Options { hoist, shim, budgets, write })
}

fn usage(what: impl std::fmt::Display) -> Failure {
    Failure::new(format!("{what} (`hoist-bench guard --help` tells more)"))
}

fn guard(options: &Options) -> Result<()> {
    let file = options.budgets.display().to_string();
    let text = fs::read_to_string(&options.budgets).context(&file)?;
    let mut budgets = Budgets::parse(&text).context(&file)?;
    remember_signals();
    let logs = logs()?;
    let mut counted = count(options, &logs)?;
    if options.write {
        for (section, host) in &counted.hosts {
            budgets.set_host(section, host)?;
        }
        budgets.set(&counted.counts)?;
    }
    counted.leave_out_other_hosts(&budgets);
    console::print(table::table(&budgets, &counted));
    if options.write {
        let new = options.budgets.with_extension("toml.new");
        fs::write(&new, budgets.to_string()).context(new.display())?;
        fs::rename(&new, &options.budgets).context(&file)?;
        console::print(format_args!("{file} is written"));
    }
    judge(&budgets, &counted, &file)
}

/// What the counts were made from is kept, for whoever wants to know why one has grown.
fn logs() -> Result<PathBuf> {
    let program = std::env::current_exe().context("this program")?;
    let directory = program.parent().unwrap_or(Path::new(".")).join("guard");
    fs::create_dir_all(&directory).context(directory.display())?;
    Ok(directory)
}

fn count(options: &Options, logs: &Path) -> Result<Counted> {
    let mut counted = Counted::default();
    for view in View::ALL {
        console::status(format_args!("system calls, {}", view.name()));
        calls::count(view, &options.hoist, logs, &mut counted)?;
    }
    console::status("instructions");
    counted.counts.extend(instructions::count(logs)?);
    counted.counts.extend(bytes::count(&options.hoist, &options.shim)?);
    counted.counts.extend(crates::count()?);
    counted.counts.extend(unsafe_code::count()?);
    Ok(counted)
}

impl Counted {
    /// Drops the counts of sections whose budgets are for another kind of host.
    fn leave_out_other_hosts(&mut self, budgets: &Budgets) {
        for (section, host) in &self.hosts {
            if let Some(budgeted) = budgets.host(section).filter(|budgeted| budgeted != host) {
                self.counts.retain(|count| count.section != *section);
                let reason = format!("the budgets are for [{budgeted}]; here it is [{host}]");
                self.skipped.push((section.clone(), reason));
            }
        }
    }
}

/// Says what is wrong, and what to do about it.
fn judge(budgets: &Budgets, counted: &Counted, file: &str) -> Result<()> {
    let mut wrong = Vec::new();
    for count in &counted.counts {
        let what = format!("[{}] {}", count.section, count.name);
        match budgets.judge(count) {
            Verdict::Over(by) => wrong.push(format!(
                "{what} has grown from {} to {}, by {by}. What it is made of:\n    {}",
                count.value.saturating_sub(by),
                count.value,
                count.shown_by
            )),
            Verdict::NoBudget => {
                wrong.push(format!("{what} is {}, and has no budget", count.value))
            }
            Verdict::FarBelow | Verdict::Within => {}
        }
    }
    let skipped: Vec<_> = counted.skipped.iter().map(|(section, _)| section.clone()).collect();
    for budget in budgets.unknown(&counted.counts, &skipped) {
        wrong.push(format!("{budget} is a budget for something that isn't counted"));
    }
    for (section, reason) in &counted.skipped {
        console::line(format_args!("SKIP [{section}]: {reason}"));
        // Nothing is missing where CI runs.
        if std::env::var("CI").is_ok_and(|value| value == "true") {
            wrong.push(format!("[{section}] could not be counted: {reason}"));
        }
    }
    if wrong.is_empty() {
        return Ok(());
    }
    Err(Failure::new(format!(
        "{file} doesn't allow this:\n  {}\n\
         If it is worth it, `make guard-write` raises the budgets. Do so in the commit that makes hoist\n\
         grow, and say there what is had for it.",
        wrong.join("\n  ")
    ))
    .with_status(1))
}

#[cfg(test)]
mod tests {
    use super::{Budgets, Count, Counted, judge};

    const FILE: &str = "[system-calls.hybrid]\ncontrollers = \"cpu pids\"\nrun = 10\n";

    fn counted(name: &str, value: u64, host: &str) -> Counted {
        let section = "system-calls.hybrid";
        Counted {
            counts: vec![Count::new(section, name, value, "less run.strace".to_owned())],
            hosts: vec![(section.to_owned(), host.to_owned())],
            skipped: Vec::new(),
        }
    }

    fn message(counted: &Counted) -> String {
        judge(&Budgets::parse(FILE).unwrap(), counted, "FILE").unwrap_err().message
    }

    #[test]
    fn what_has_grown_is_told_with_what_shows_it() {
        let message = message(&counted("run", 13, "cpu pids"));
        for part in
            ["[system-calls.hybrid] run", "from 10 to 13", "by 3", "less run.strace", "FILE"]
        {
            assert!(message.contains(part), "{message}");
        }
    }

    #[test]
    fn the_file_and_the_counts_have_the_same_names() {
        let message = message(&counted("exec", 13, "cpu pids"));
        assert!(message.contains("exec is 13, and has no budget"), "{message}");
        assert!(message.contains("run is a budget for something that isn't counted"), "{message}");
    }

    #[test]
    fn another_host_is_not_compared() {
        let budgets = Budgets::parse(FILE).unwrap();
        let mut counted = counted("run", 13, "cpu");
        counted.leave_out_other_hosts(&budgets);
        assert!(counted.counts.is_empty());
        assert_eq!(counted.skipped.len(), 1);
    }
}
