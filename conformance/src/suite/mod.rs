//! The suites: what they are made of, how a part of one is run, and how its output is read.

mod engines;
mod oci;
mod own;
mod runc;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, repository};
use crate::environment::Environment;
use crate::expected::Expected;
use crate::failure::{Context, Failure, Result};
use crate::results::Test;
use crate::runtime::Runtime;
use crate::supervise::{Ended, Job};

pub(crate) use own::{hoist, test_programs, vm as own_in_vm};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Suite {
    /// runtime-tools' validation programs.
    Oci,
    /// runc's integration tests, in bats.
    Runc,
    /// hoist's own integration tests.
    Hoist,
    /// containerd, by its own client.
    Containerd,
    /// Docker.
    Docker,
}

/// What runs a part of a suite needs to know.
#[derive(Debug)]
pub(crate) struct Setting<'a> {
    pub(crate) cache: &'a Cache,
    pub(crate) environment: Environment,
    /// The runtime's path.
    pub(crate) runtime: &'a Path,
    /// Where outputs go, and what the name of one ends in.
    pub(crate) outputs: &'a Path,
    pub(crate) suffix: &'a str,
}

/// A part of a suite that is run by itself: a program, or a file of tests; all its tests, or one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Unit {
    pub(crate) name: String,
    pub(crate) test: Option<String>,
}

impl Unit {
    /// `unit` or `unit/test`.
    pub(crate) fn parse(text: &str) -> Self {
        let (name, test) =
            text.split_once('/').map_or((text, None), |(name, test)| (name, Some(test)));
        let name = name.strip_suffix(".bats").unwrap_or(name);
        Self { name: name.to_owned(), test: test.map(str::to_owned) }
    }
}

impl std::fmt::Display for Unit {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.name)?;
        self.test.as_ref().map_or(Ok(()), |test| write!(formatter, "/{test}"))
    }
}

impl Setting<'_> {
    /// Where a part's output goes.
    fn output(&self, unit: &Unit, extension: &str) -> PathBuf {
        self.outputs.join(format!("{}{}.{extension}", unit.name, self.suffix))
    }
}

impl Suite {
    pub(crate) const ALL: [Self; 5] =
        [Self::Oci, Self::Runc, Self::Hoist, Self::Containerd, Self::Docker];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Oci => "oci",
            Self::Runc => "runc",
            Self::Hoist => "hoist",
            Self::Containerd => "containerd",
            Self::Docker => "docker",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Oci => "OCI runtime-tools' validation programs",
            Self::Runc => "runc's integration tests (bats)",
            Self::Hoist => "hoist's own integration tests",
            Self::Containerd => "containerd through its client, killed and restarted, too",
            Self::Docker => "Docker's commands of every day",
        }
    }

    pub(crate) fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|suite| suite.name() == name)
    }

    /// Whether a runtime can be given to it: its own tests were built with hoist, and the engines have hoist
    /// and runc.
    pub(crate) fn takes(self, runtime: &Runtime) -> bool {
        match self {
            Self::Oci | Self::Runc => true,
            Self::Hoist => runtime.is_hoist(),
            Self::Containerd | Self::Docker => runtime.is_hoist() || runtime.name == "runc",
        }
    }

    /// Has everything built that it needs.
    pub(crate) fn build(self, cache: &Cache) -> Result<()> {
        match self {
            Self::Oci => cache.build("suites/oci/build"),
            Self::Runc => cache.build("suites/runc/build"),
            Self::Hoist => own::build(cache),
            Self::Containerd | Self::Docker => engines::build(cache),
        }
    }

    pub(crate) fn expected(self) -> Result<Expected> {
        Expected::load(
            &repository().join("conformance/suites").join(self.name()).join("expected.toml"),
        )
    }

    /// What has to be in the virtual machine for it.
    pub(crate) fn directory(self, cache: &Cache) -> PathBuf {
        cache.directory().join(self.name())
    }

    /// Its parts.
    pub(crate) fn units(self, cache: &Cache) -> Result<Vec<Unit>> {
        let mut names = match self {
            Self::Oci => oci::programs(cache)?,
            Self::Runc => runc::files(cache)?,
            Self::Hoist => own::programs(cache)?,
            Self::Containerd | Self::Docker => engines::names(self)?,
        };
        names.sort();
        Ok(names.into_iter().map(|name| Unit { name, test: None }).collect())
    }

    /// The parts that are wanted, as `--test` has them.
    pub(crate) fn select(self, cache: &Cache, wanted: &[String]) -> Result<Vec<Unit>> {
        let all = self.units(cache)?;
        wanted
            .iter()
            .map(|text| {
                let unit = Unit::parse(text);
                let mut known = all.iter().any(|one| one.name == unit.name);
                if let (Some(test), true) = (&unit.test, known) {
                    known = self.tests(cache, &unit)?.contains(test);
                }
                known.then_some(unit).ok_or_else(|| {
                    let suite = self.name();
                    Failure::new(format!(
                        "{suite} has no {text:?} (`hoist-conformance list {suite}` shows what it has)"
                    ))
                })
            })
            .collect()
    }

    /// The tests of a part, by name, without running them.
    pub(crate) fn tests(self, cache: &Cache, unit: &Unit) -> Result<Vec<String>> {
        match self {
            Self::Oci => Ok(vec![unit.name.clone()]),
            Self::Runc => runc::titles(cache, &unit.name),
            Self::Hoist => own::tests(cache, &unit.name),
            Self::Containerd | Self::Docker => engines::tests(self, &unit.name),
        }
    }

    pub(crate) fn job(self, setting: &Setting<'_>, unit: &Unit) -> Result<Job> {
        match self {
            Self::Oci => oci::job(setting, unit),
            Self::Runc => runc::job(setting, unit),
            Self::Hoist => own::job(setting, unit),
            Self::Containerd | Self::Docker => engines::job(self, setting, unit),
        }
    }

    /// Reads what a job printed.
    pub(crate) fn read(
        self,
        setting: &Setting<'_>,
        unit: &Unit,
        output: &str,
        ended: &Ended,
    ) -> Result<Vec<Test>> {
        match self {
            Self::Oci => {
                Ok(vec![crate::tap::validation(&unit.name, output, ended.status, ended.timed_out)])
            }
            Self::Runc => runc::read(setting, unit, output, ended),
            Self::Hoist => own::read(setting, unit, output, ended),
            Self::Containerd | Self::Docker => engines::read(self, unit, output, ended),
        }
    }
}

/// The names in a directory for which `keep` gives one.
fn names(directory: &Path, keep: impl Fn(&str) -> Option<String>) -> Result<Vec<String>> {
    let entries = fs::read_dir(directory).context(directory.display())?.flatten();
    Ok(entries.filter_map(|entry| keep(&entry.file_name().to_string_lossy())).collect())
}

/// A shell that gives what it executes a /run and a temporary directory of its own, in this mount
/// namespace: what leaks into them is gone with it. Where systemd is in charge, /run is its own.
fn in_own_directories(setting: &Setting<'_>, arguments: Vec<String>) -> Vec<String> {
    // systemd starts the user's programs, in its own mount namespace.
    if setting.environment == Environment::VmRootless {
        return arguments;
    }
    let mut script = match setting.environment.is_vm() {
        true => "mount -t tmpfs -o mode=1777 tmp \"$TMPDIR\"\n".to_owned(),
        false => "mount -t tmpfs -o mode=755 run /run\nmkdir -m 1777 \"$TMPDIR\"\n".to_owned(),
    };
    script.push_str("exec \"$@\"");
    let mut shell: Vec<String> = ["sh", "-ec", &script, "sh"].map(str::to_owned).into();
    shell.extend(arguments);
    shell
}

/// What is $TMPDIR for a job: a short path, because sockets are made below it, that a user namespace's
/// root can reach, too. It is not /tmp, where the runtime and the cache may be.
fn temporary(setting: &Setting<'_>) -> String {
    if setting.environment.is_vm() { "/mnt/t" } else { "/run/t" }.to_owned()
}

/// Seconds that a job may take. The virtual machine's CPU is emulated.
fn limit(setting: &Setting<'_>, seconds: u64) -> u64 {
    if setting.environment.is_vm() { seconds * 6 } else { seconds }
}

fn variables<const N: usize>(pairs: [(&str, String); N]) -> BTreeMap<String, String> {
    pairs.map(|(name, value)| (name.to_owned(), value)).into()
}
