//! The integration tests again on kernels that lack system calls.
//!
//! Each environment runs whole test programs, and so everything that these start, under a filter that
//! answers ENOSYS. The tests need not know: one that makes a container fails where hoist refuses to,
//! and its own words show whether it was refused as it should be, by an error that names what is
//! missing. Any other failure is one, and so is anything that is left behind.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::cache::{Cache, repository};
use crate::deny::{self, Call};
use crate::environment::{Environment as Place, this_program};
use crate::failure::{Context, Failure, Result};
use crate::supervise::{self, Job};
use crate::{console, leftovers, libtest};

/// How long a test program may take before it counts as one that hangs, in seconds.
const LIMIT: u64 = 180;

/// A test program, and what it is told: names of tests, and `--skip`.
type Part = (&'static str, &'static [&'static str]);

/// The same tests in other views of the cgroups: no other system calls.
const NO_VIEWS: &[&str] = &["--skip", "cgroups::"];

/// A container can't be made, and that shows wherever it is tried: in some tests of the library and of
/// the command line.
const SOME: &[Part] = &[("containers", &["exec::", "hooks::", "lifecycle::"]), ("lifecycle", &[])];
/// What makes containers in other ways, too.
const MOST: &[Part] = &[
    ("containers", NO_VIEWS),
    ("lifecycle", &[]),
    ("update", &[]),
    ("bad_input", &[]),
    ("crash", &[]),
    ("law_one", &[]),
];
/// What hoist does with containers.
const WORKING: &[Part] = &[
    ("containers", NO_VIEWS),
    ("cgroups", &[]),
    ("events", &[]),
    ("lifecycle", &[]),
    ("terminal", &[]),
    ("update", &[]),
];

/// The tests that are about what takes pidfd_getfd(2): seccomp's notifications, `--preserve-fds`.
const TAKING_DESCRIPTORS: &[&str] = &[
    "containers::seccomp::the_agent_hears_of_every_process",
    "containers::seccomp::the_agent_hears_of_every_process_of_a_run",
    "containers::security::nobody_listens",
    "containers::security::notifications",
    "containers::security::notifications_of_exec",
    "lifecycle::descriptors_are_preserved_and_no_others",
];

/// System calls that are missing together, and what is expected of hoist then.
struct Environment {
    calls: &'static str,
    parts: &'static [Part],
    /// The tests that are about what is missing. `None` if no container can be made.
    needing: Option<&'static [&'static str]>,
}

const fn refused(calls: &'static str) -> Environment {
    Environment { calls, parts: SOME, needing: None }
}

const ENVIRONMENTS: &[Environment] = &[
    refused("clone3"),
    refused("openat2"),
    refused("mount-api"),
    refused("mount_setattr"),
    refused("close_range"),
    refused("faccessat2"),
    refused("memfd_create"),
    refused("pidfd_open"),
    refused("pidfd_send_signal"),
    Environment { calls: "all", parts: MOST, needing: None },
    Environment { calls: "pidfd_getfd", parts: WORKING, needing: Some(TAKING_DESCRIPTORS) },
];

/// What came of an environment.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Score {
    pub(crate) calls: String,
    /// Whether hoist refuses to make a container there.
    pub(crate) required: bool,
    pub(crate) passed: usize,
    /// Tests that were refused what is missing, in clear words.
    pub(crate) refused: usize,
    pub(crate) skipped: usize,
    /// A line or more for each failure.
    pub(crate) failures: Vec<String>,
    pub(crate) seconds: u64,
}

/// Runs the tests in each environment, or in those that are named, and says a line for each. False
/// when a test has failed.
pub(crate) fn run(cache: &Cache, names: &[String]) -> Result<bool> {
    crate::run::need_root()?;
    if let Some(name) = names.iter().find(|name| !ENVIRONMENTS.iter().any(|e| e.calls == **name)) {
        let known: Vec<&str> = ENVIRONMENTS.iter().map(|e| e.calls).collect();
        return Err(Failure::new(format!("missing: {name:?} is none of {}", known.join(", "))));
    }
    let output = Command::new(this_program()).args(["without", "all", "--", "true"]).output();
    let output = output.context("missing")?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(Failure::new(format!(
            "missing: no system calls can be denied here: {}",
            words.trim()
        )));
    }
    let programs = crate::suite::test_programs()?;
    let _lock = crate::cache::lock()?;
    let outputs = cache.outputs("missing")?;
    console::step("hoist's integration tests on kernels that lack system calls");
    let began = Instant::now();
    let mut scores = Vec::new();
    for environment in ENVIRONMENTS {
        if !names.is_empty() && !names.iter().any(|name| name == environment.calls) {
            continue;
        }
        let began = Instant::now();
        let mut score = environment.run(&outputs, |name| {
            let built = programs.iter().find(|(built, _)| built.ends_with(&format!("-{name}")));
            built.map(|(_, path)| path.as_path())
        })?;
        score.seconds = began.elapsed().as_secs();
        console::line(format_args!(
            "    {} without {:<18} {:4} passed {:3} failed {:4} refused {:3} skipped {:4} s",
            if score.required { "refused" } else { "works  " },
            score.calls,
            score.passed,
            score.failures.len(),
            score.refused,
            score.skipped,
            score.seconds,
        ));
        for failure in &score.failures {
            console::line(format_args!("not ok without {}: {failure}", environment.calls));
        }
        scores.push(score);
    }
    let sum = |of: fn(&Score) -> usize| scores.iter().map(of).sum::<usize>();
    let failed = sum(|score| score.failures.len());
    console::line(format_args!(
        "{} passed, {failed} failed, {} skipped, {} refused in clear words, in {} s",
        sum(|score| score.passed),
        sum(|score| score.skipped),
        sum(|score| score.refused),
        began.elapsed().as_secs(),
    ));
    if names.is_empty() {
        let path = kept(cache);
        fs::write(&path, serde_json::to_string_pretty(&scores).context("scores")?)
            .context(path.display())?;
    }
    Ok(failed == 0)
}

/// Where the scores are kept until `report` writes them down.
pub(crate) fn kept(cache: &Cache) -> std::path::PathBuf {
    cache.directory().join("missing.json")
}

impl Environment {
    fn run<'a>(&self, outputs: &Path, path: impl Fn(&str) -> Option<&'a Path>) -> Result<Score> {
        let missing = deny::named(self.calls).map_err(Failure::new)?;
        let required = self.needing.is_none();
        let mut score = Score { calls: self.calls.to_owned(), required, ..Score::default() };
        let mut needing: BTreeSet<&str> = self.needing.iter().copied().flatten().copied().collect();
        for (name, tests) in self.parts {
            let path =
                path(name).ok_or_else(|| Failure::new(format!("cargo has not built {name}")))?;
            let before = leftovers::traces();
            let ran = self.run_program(name, path, tests, outputs)?;
            needing.retain(|full| {
                let own = full.strip_prefix(name).and_then(|rest| rest.strip_prefix("::"));
                own.is_none_or(|test| !ran.has_skipped(test))
            });
            let mut fail = |what: &str| score.failures.push(format!("{name}: {what}"));
            if ran.late {
                fail(&format!("not done after {LIMIT} s:\n{}", ran.output));
            } else {
                match libtest::parse(&ran.output) {
                    Ok(outcome) => {
                        score.passed +=
                            outcome.passed.iter().filter(|test| !ran.has_skipped(test)).count();
                        score.skipped += ran.skips.len();
                        for (test, text) in outcome.failed {
                            let full = format!("{name}::{test}");
                            let expected = required || needing.remove(full.as_str());
                            if expected && is_refusal(&text, &missing) {
                                score.refused += 1;
                            } else {
                                fail(&format!("{test}:\n{text}"));
                            }
                        }
                    }
                    Err(error) => fail(&format!("{error}:\n{}", ran.output)),
                }
            }
            let after = leftovers::traces();
            let left = ran.left.iter().chain(after.difference(&before));
            left.for_each(|left| fail(&format!("left behind: {left}")));
        }
        // Or they have no test any more that would notice.
        let unexpected =
            needing.iter().map(|name| format!("{name} works, or isn't there any more"));
        score.failures.extend(unexpected);
        if required && score.refused == 0 {
            score.failures.push("no test was refused anything".to_owned());
        }
        Ok(score)
    }

    fn run_program(&self, name: &str, path: &Path, tests: &[&str], outputs: &Path) -> Result<Ran> {
        let base = format!("{}-{name}", self.calls);
        let skips = outputs.join(format!("{base}.skips"));
        fs::write(&skips, "").context(skips.display())?;
        let text = |path: &Path| path.display().to_string();
        let mut arguments = vec![
            text(&this_program()),
            "without".to_owned(),
            self.calls.to_owned(),
            "--".to_owned(),
            text(path),
        ];
        arguments.extend(tests.iter().map(|test| (*test).to_owned()));
        // What a test says is what counts.
        let mut variables = vec![("RUST_BACKTRACE", "0".to_owned()), ("HOIST_SKIPS", text(&skips))];
        if self.needing.is_none() {
            variables.push(("HOIST_REFUSED", "1".to_owned()));
        }
        let job = Job {
            arguments,
            directory: repository(),
            variables: variables
                .into_iter()
                .map(|(name, value)| (name.to_owned(), value))
                .collect(),
            terminal: false,
            limit: LIMIT,
            cgroups: Vec::new(),
            output: outputs.join(format!("{base}.log")),
        };
        let ended = supervise::run(Place::Host, &job)?;
        let skips = fs::read_to_string(&skips).context(skips.display())?;
        let skips: Vec<String> = skips.lines().map(str::to_owned).collect();
        note(&skips, self.calls);
        let output = supervise::output(&job.output)?;
        Ok(Ran { output, skips, late: ended.timed_out, left: ended.leaks })
    }
}

/// What a test program has said, which of its tests have skipped themselves, and what was left.
struct Ran {
    output: String,
    skips: Vec<String>,
    late: bool,
    left: Vec<String>,
}

/// That a test has failed because hoist has refused to do something, with an error that names a system
/// call that is missing, and that no container was there then.
fn is_refusal(text: &str, missing: &[Call]) -> bool {
    let named = |call: &Call| text.contains(&format!("this host lacks {}", call.text()));
    missing.iter().any(named) && !text.contains("LEFT ")
}

impl Ran {
    /// Whether a test has skipped itself.
    fn has_skipped(&self, name: &str) -> bool {
        self.skips.iter().any(|line| line.starts_with(&format!("SKIP {name}: ")))
    }
}

/// Passes the lines of tests that have skipped themselves on to whoever counts those.
fn note(skips: &[String], calls: &str) {
    let Some(path) = std::env::var_os("HOIST_SKIPS") else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    let Ok(mut file) = file else { return };
    for line in skips {
        let line = line.strip_prefix("SKIP ").unwrap_or(line);
        let _ = writeln!(file, "SKIP without-{calls}::{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn environments_have_calls_that_are_known() {
        for environment in ENVIRONMENTS {
            let calls = deny::named(environment.calls).unwrap();
            let required = calls.iter().any(|call| call.required);
            assert_eq!(required, environment.needing.is_none(), "{}", environment.calls);
        }
        let alone: Vec<Call> =
            ENVIRONMENTS.iter().flat_map(|e| deny::named(e.calls).unwrap()).collect();
        assert!(deny::CALLS.iter().all(|call| alone.contains(call)));
    }

    #[test]
    fn only_clear_words_are_a_refusal() {
        let missing = deny::named("openat2,clone3").unwrap();
        assert!(is_refusal("x: this host lacks clone3 (Linux 5.3), a (Linux 1)", &missing));
        assert!(!is_refusal("x: this host lacks fsopen (Linux 5.2)", &missing));
        assert!(!is_refusal("function not implemented (ENOSYS)", &missing));
        assert!(!is_refusal("this host lacks clone3 (Linux 5.3)\nLEFT cgroup x", &missing));
    }

    #[test]
    fn a_test_that_skips_itself_is_not_missed() {
        let skips = vec!["SKIP a::b: needs python3".to_owned()];
        let ran = Ran { output: String::new(), skips, late: false, left: Vec::new() };
        assert!(ran.has_skipped("a::b"));
        assert!(!ran.has_skipped("a"));
    }
}
