//! The committed lists of what hoist is not expected to pass, `suites/*/expected.toml`, each entry
//! with its reason. What is not listed has to pass; what is listed runs all the same, and when it
//! passes the list is out of date.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::environment::Environment;
use crate::failure::{Context, Result};
use crate::results::{Host, Outcome, Test};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Expected {
    /// The parts of the suite that stand for the whole where time is short.
    #[serde(default)]
    pub(crate) sample: Vec<String>,
    #[serde(default)]
    pub(crate) not_passing: Vec<Group>,
}

/// Tests that don't pass for one reason.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Group {
    pub(crate) kind: Kind,
    pub(crate) reason: String,
    /// Where that is so; everywhere if there are none.
    #[serde(default)]
    environments: Vec<Environment>,
    /// The reason holds only on hosts that lack this (see [`crate::environment::lacking`]).
    lacking: Option<String>,
    /// Names of tests; `*` at the end stands for the rest.
    #[serde(default)]
    pub(crate) fail: Vec<String>,
    /// Beginnings of the reasons with which the suite skips tests.
    #[serde(default)]
    pub(crate) skips: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// hoist differs on purpose.
    OnPurpose,
    /// Comes later.
    Pending,
    /// The test's own mistake, or it is older than the specification or the kernel.
    Suite,
    /// The machine lacks something, or the environment can't have it.
    Host,
}

/// What is not as the list has it, a line each.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Surprises {
    /// Names of tests that should have passed.
    pub(crate) not_passed: BTreeSet<String>,
    /// What should be taken out of the list.
    pub(crate) out_of_date: Vec<String>,
}

impl Expected {
    pub(crate) fn load(path: &Path) -> Result<Self> {
        if !path.exists() {
            return Ok(Self::default());
        }
        let text = fs::read_to_string(path).context(path.display())?;
        toml::from_str(&text).context(path.display())
    }

    /// The group that explains why a test has not passed.
    pub(crate) fn group(
        &self,
        environment: Environment,
        host: &Host,
        test: &Test,
    ) -> Option<&Group> {
        let mut groups = self.not_passing.iter().filter(|group| group.holds(environment, host));
        match &test.outcome {
            Outcome::Passed => None,
            Outcome::Failed(_) => {
                groups.find(|group| group.fail.iter().any(|name| is_named(name, &test.name)))
            }
            Outcome::Skipped(reason) => groups
                .find(|group| group.skips.iter().any(|beginning| reason.starts_with(beginning))),
        }
    }

    /// Compares; with `whole`, also what is in the list and in no test.
    pub(crate) fn compare(
        &self,
        environment: Environment,
        host: &Host,
        tests: &[Test],
        whole: bool,
    ) -> Surprises {
        let mut surprises = Surprises::default();
        for test in tests {
            if test.outcome != Outcome::Passed && self.group(environment, host, test).is_none() {
                surprises.not_passed.insert(test.name.clone());
            }
        }
        for group in self.not_passing.iter().filter(|group| group.holds(environment, host)) {
            for name in &group.fail {
                let mut named = tests.iter().filter(|test| is_named(name, &test.name)).peekable();
                if named.peek().is_none() {
                    if whole {
                        surprises.out_of_date.push(format!("there is no test {name:?}"));
                    }
                } else if named.all(|test| test.outcome == Outcome::Passed && !test.repeated) {
                    surprises.out_of_date.push(format!("{name:?} passes now"));
                }
            }
        }
        surprises
    }
}

impl Group {
    fn holds(&self, environment: Environment, host: &Host) -> bool {
        (self.environments.is_empty() || self.environments.contains(&environment))
            && self.lacking.as_ref().is_none_or(|lacking| host.lacking.contains(lacking))
    }
}

fn is_named(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(pattern == name, |beginning| name.starts_with(beginning))
}

#[cfg(test)]
mod tests {
    use super::Expected;
    use crate::environment::Environment::{Hybrid, Vm};
    use crate::results::{Host, Outcome, Test};

    const LIST: &str = r#"
        [[not_passing]]
        kind = "host"
        reason = "rlimits can't be raised"
        lacking = "CAP_SYS_RESOURCE"
        fail = ["rlimits/*"]
        [[not_passing]]
        kind = "host"
        reason = "no systemd"
        environments = ["hybrid"]
        skips = ["test requires systemd"]
    "#;

    fn tests(outcome: &Outcome) -> Vec<Test> {
        vec![Test::new("rlimits/a", outcome.clone()), Test::new("run/b", Outcome::Passed)]
    }

    #[test]
    fn comparison() {
        let list: Expected = toml::from_str(LIST).unwrap();
        let failed = Outcome::Failed(String::new());
        let poor = Host { lacking: vec!["CAP_SYS_RESOURCE".into()], ..Host::default() };
        let rich = Host::default();

        assert_eq!(list.compare(Hybrid, &poor, &tests(&failed), true), super::Surprises::default());
        let surprises = list.compare(Hybrid, &rich, &tests(&failed), true);
        assert_eq!(surprises.not_passed, ["rlimits/a".to_owned()].into());
        let surprises = list.compare(Hybrid, &poor, &tests(&Outcome::Passed), true);
        assert_eq!(surprises.out_of_date, ["\"rlimits/*\" passes now"]);
        let surprises = list.compare(Hybrid, &poor, &[], true);
        assert_eq!(surprises.out_of_date, ["there is no test \"rlimits/*\""]);

        let skipped = Outcome::Skipped("test requires systemd".into());
        assert!(list.compare(Hybrid, &rich, &tests(&skipped), true).not_passed.is_empty());
        assert_eq!(list.compare(Vm, &rich, &tests(&skipped), true).not_passed.len(), 1);
    }

    #[test]
    fn unknown_words_are_refused() {
        assert!(
            toml::from_str::<Expected>("[[not_passing]]\nkind = \"x\"\nreason = \"\"").is_err()
        );
        assert!(toml::from_str::<Expected>("sampel = []").is_err());
    }
}
