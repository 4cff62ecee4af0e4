//! What came out of a run, and where it is kept until `report` writes it down.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::cache::Cache;
use crate::environment::Environment;
use crate::failure::{Context, Result};
use crate::suite::Suite;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Outcome {
    Passed,
    /// With the reason that the suite gives, as far as it gives one.
    Failed(String),
    Skipped(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Test {
    /// `program`, or `file/title`.
    pub(crate) name: String,
    pub(crate) outcome: Outcome,
    /// It failed at first, and passed when it was run again by itself.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(crate) repeated: bool,
}

impl Test {
    pub(crate) fn new(name: impl Into<String>, outcome: Outcome) -> Self {
        Self { name: name.into(), outcome, repeated: false }
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
}

impl Counts {
    pub(crate) fn of<'a>(tests: impl IntoIterator<Item = &'a Test>) -> Self {
        let mut counts = Self::default();
        for test in tests {
            match test.outcome {
                Outcome::Passed => counts.passed += 1,
                Outcome::Failed(_) => counts.failed += 1,
                Outcome::Skipped(_) => counts.skipped += 1,
            }
        }
        counts
    }
}

impl std::fmt::Display for Counts {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            formatter,
            "{} passed, {} failed, {} skipped",
            self.passed, self.failed, self.skipped
        )
    }
}

/// The machine that a run was on.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Host {
    pub(crate) description: String,
    /// See [`crate::environment::lacking`].
    pub(crate) lacking: Vec<String>,
}

/// A suite's run, or its representative part's, with one runtime in one environment.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Run {
    pub(crate) suite: Suite,
    pub(crate) environment: Environment,
    pub(crate) runtime: String,
    pub(crate) version: String,
    /// Year-month-day.
    pub(crate) date: String,
    pub(crate) seconds: u64,
    /// Only the representative part.
    pub(crate) sample: bool,
    pub(crate) host: Host,
    pub(crate) tests: Vec<Test>,
    /// How many processes and cgroups were left behind, and removed.
    #[serde(default)]
    pub(crate) leaks: usize,
}

/// What running parts of a suite comes to.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Results {
    pub(crate) host: Host,
    pub(crate) tests: Vec<Test>,
    pub(crate) leaks: usize,
}

impl Run {
    pub(crate) fn keep(&self, cache: &Cache) -> Result<()> {
        let directory = cache.results();
        fs::create_dir_all(&directory).context(directory.display())?;
        let (suite, environment) = (self.suite.name(), self.environment.name());
        let part = if self.sample { "-part" } else { "" };
        let path = directory.join(format!("{suite}-{environment}-{}{part}.json", self.runtime));
        let text = serde_json::to_string_pretty(self).context("a result")?;
        let new = path.with_extension("new");
        fs::write(&new, text).context(new.display())?;
        fs::rename(&new, &path).context(path.display())
    }
}

/// All runs that are kept.
pub(crate) fn kept(directory: &Path) -> Result<Vec<Run>> {
    let mut runs = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).context(path.display())?;
        runs.push(serde_json::from_str::<Run>(&text).context(path.display())?);
    }
    runs.sort_by_key(|run| (run.suite, run.environment, rank(&run.runtime)));
    Ok(runs)
}

/// hoist first, then those that it is compared with.
fn rank(runtime: &str) -> (usize, String) {
    let known = ["hoist", "runc", "crun"].iter().position(|name| *name == runtime);
    (known.unwrap_or(usize::MAX), runtime.to_owned())
}
/// The day, as records have it.
pub(crate) fn today() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%F"]).output();
    output.map_or_else(
        |_| String::new(),
        |output| String::from_utf8_lossy(&output.stdout).trim().to_owned(),
    )
}
