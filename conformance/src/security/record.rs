//! What runs of the tests have said, kept in docs/security/*.json; and fuzz.json, which the fuzzers keep.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cache::repository;
use crate::failure::{Context, Failure, Result};
use crate::results::{Outcome, today};

/// One run, or several whose output was put together.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Record {
    /// What was tried: `hoist`, or a peer with its version.
    pub(super) of: String,
    pub(super) date: String,
    pub(super) host: String,
    /// By the function's name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) tests: BTreeMap<String, Outcome>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) iterations: BTreeMap<String, u64>,
    /// By operation, then by what was done at each point.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) points: BTreeMap<String, BTreeMap<String, Points>>,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Points {
    pub(super) tried: u64,
    /// How many there are.
    pub(super) of: u64,
}

impl std::ops::AddAssign for Points {
    fn add_assign(&mut self, other: Self) {
        self.tried += other.tried;
        self.of += other.of;
    }
}

/// What was done with a fuzzing target in all campaigns.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Fuzzing {
    pub(super) executions: u64,
    pub(super) seconds: u64,
    /// Of the code, that its inputs reach.
    #[serde(default)]
    pub(super) edges: u64,
    /// Campaigns that ended with an input on which it failed.
    #[serde(default)]
    pub(super) failures: u64,
}

/// What was run, and what it is to be kept as.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) name: String,
    pub(crate) of: String,
}

fn directory() -> PathBuf {
    repository().join("docs/security")
}

/// Reads the output of tests on the standard input, and keeps what it says.
pub(crate) fn record(run: &Run) -> Result<()> {
    if run.name.is_empty()
        || !run.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    {
        return Err(Failure::new(format!("{:?} is no name for a record", run.name)));
    }
    let mut text = Vec::new();
    std::io::stdin().lock().read_to_end(&mut text).context("standard input")?;
    let mut record = Record {
        of: run.of.clone(),
        date: today(),
        host: crate::environment::describe(),
        ..Record::default()
    };
    record.read(&String::from_utf8_lossy(&text))?;
    let path = directory().join(&run.name).with_extension("json");
    fs::create_dir_all(directory()).context(directory().display())?;
    let json = serde_json::to_string_pretty(&record).context(path.display())?;
    fs::write(&path, json + "\n").context(path.display())?;
    let Record { tests, points, .. } = &record;
    crate::console::line(format_args!(
        "{}: {} tests, {} operations with crash and fault points",
        path.display(),
        tests.len(),
        points.len()
    ));
    Ok(())
}

const FUZZ: &str = "fuzz.json";

/// What `make fuzz RECORD=docs/security/fuzz.json` has summed up, by target.
pub(super) fn fuzzing() -> Result<BTreeMap<String, Fuzzing>> {
    let path = directory().join(FUZZ);
    if path.exists() { load(&path) } else { Ok(BTreeMap::new()) }
}

/// All that is kept, by name.
pub(super) fn kept() -> Result<Vec<Record>> {
    let mut paths: Vec<PathBuf> = match fs::read_dir(directory()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.context("docs/security")?.flatten().map(|entry| entry.path()).collect(),
    };
    paths.retain(|path| {
        let is_json = path.extension().is_some_and(|extension| extension == "json");
        is_json && path.file_name().is_none_or(|name| name != FUZZ)
    });
    paths.sort();
    paths.iter().map(|path| load(path)).collect()
}

fn load<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let text = fs::read_to_string(path).context(path.display())?;
    serde_json::from_str(&text).context(path.display())
}

impl Record {
    /// Takes what libtest says of each test, and what tests print for this page. What is said
    /// twice is added up; a test that has failed once has failed.
    fn read(&mut self, text: &str) -> Result<()> {
        let mut skipped = Vec::new();
        // One whose outcome comes after what it says.
        let mut open: Option<&str> = None;
        for line in text.lines().map(str::trim) {
            let wrong = || Failure::new(format!("not to be understood: {line}"));
            if let Some((name, outcome)) = libtest(line) {
                self.outcome(name, outcome);
                continue;
            }
            if let (Some(name), Some(outcome)) = (open, outcome(line)) {
                self.outcome(name, outcome);
                open = None;
                continue;
            }
            // Where libtest captures nothing, what a test says first stands behind its name.
            let begun = line.strip_prefix("test ").and_then(|line| line.split_once(" ... "));
            open = begun.map_or(open, |(name, said)| (said != "ignored").then_some(name));
            let line = begun.map_or(line, |(_, said)| said);
            if let Some(rest) = line.strip_prefix("SKIP ") {
                skipped.extend(rest.split_once(": "));
            } else if let Some(rest) = line.strip_prefix("ITERATIONS ") {
                let (name, number) = counted(rest).ok_or_else(wrong)?;
                *self.iterations.entry(last(name)).or_default() += number;
            } else if let Some(rest) = line.strip_prefix("POINTS ") {
                let (what, points) = points(rest).ok_or_else(wrong)?;
                let (operation, kind) = what.rsplit_once(' ').ok_or_else(wrong)?;
                let kinds = self.points.entry(operation.to_owned()).or_default();
                *kinds.entry(kind.to_owned()).or_default() += points;
            }
        }
        // For libtest they have passed.
        for (name, reason) in skipped {
            if let Some(outcome) = self.tests.get_mut(&last(name))
                && *outcome == Outcome::Passed
            {
                *outcome = Outcome::Skipped(reason.to_owned());
            }
        }
        Ok(())
    }

    fn outcome(&mut self, name: &str, outcome: Outcome) {
        let known = self.tests.entry(last(name)).or_insert_with(|| outcome.clone());
        if *known == Outcome::Passed {
            *known = outcome;
        }
    }
}

/// The function's name, without its modules.
fn last(name: &str) -> String {
    name.rsplit("::").next().unwrap_or(name).to_owned()
}

fn libtest(line: &str) -> Option<(&str, Outcome)> {
    let (name, word) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
    Some((name, outcome(word)?))
}

fn outcome(word: &str) -> Option<Outcome> {
    match word {
        "ok" => Some(Outcome::Passed),
        "FAILED" => Some(Outcome::Failed(String::new())),
        _ => None,
    }
}

/// `name: 5`
fn counted(text: &str) -> Option<(&str, u64)> {
    let (name, number) = text.rsplit_once(": ")?;
    Some((name, number.parse().ok()?))
}

/// `operation kind: 5`, or `5 of 9` where a sample was taken.
fn points(text: &str) -> Option<(&str, Points)> {
    let (what, numbers) = text.rsplit_once(": ")?;
    let (tried, of) = numbers.split_once(" of ").unwrap_or((numbers, numbers));
    Some((what, Points { tried: tried.parse().ok()?, of: of.parse().ok()? }))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
        running 4 tests\n\
        test a::good ... ok\n\
        test a::bad ... FAILED\n\
        test b::odd ... ok\n\
        test later ... ignored\n\
        SKIP odd: needs luck\n\
        ---- a::good stdout ----\n\
        ITERATIONS good: 100\n\
        ITERATIONS a::good: 20\n\
        POINTS create, hybrid killed: 500\n\
        test b::faults ... POINTS create, hybrid failed: 400 of 1600\n\
        test a::bad ... ok\n\
        ok\n\
        test c::race ... c::race: 3 rounds\n\
        ITERATIONS c::race: 5\n\
        FAILED\n";

    fn read(text: &str) -> Result<Record> {
        let mut record = Record::default();
        record.read(text).map(|()| record)
    }

    #[test]
    fn what_tests_say() {
        let record = read(OUTPUT).unwrap();
        assert_eq!(record.tests.len(), 5);
        assert_eq!(record.tests["good"], Outcome::Passed);
        assert_eq!(record.tests["bad"], Outcome::Failed(String::new()));
        assert_eq!(record.tests["odd"], Outcome::Skipped("needs luck".to_owned()));
        assert_eq!(record.tests["race"], Outcome::Failed(String::new()));
        assert_eq!(record.iterations["good"], 120);
        assert_eq!(record.points["create, hybrid"]["killed"], Points { tried: 500, of: 500 });
        assert_eq!(record.points["create, hybrid"]["failed"], Points { tried: 400, of: 1600 });
        let json = serde_json::to_string(&record).unwrap();
        assert_eq!(serde_json::from_str::<Record>(&json).unwrap(), record);
    }

    #[test]
    fn a_line_that_is_cut_is_no_number() {
        for text in ["ITERATIONS good: many", "POINTS create: 5", "POINTS create failed: 5 of"] {
            assert!(read(text).unwrap_err().message.contains(text), "{text}");
        }
    }
}
