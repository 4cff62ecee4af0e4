//! Writes docs/conformance.md from the results that are kept.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;

use crate::cache::{Cache, repository};
use crate::environment::Environment;
use crate::expected::{Expected, Kind};
use crate::failure::{Context, Failure, Result};
use crate::missing::Score;
use crate::results::{Counts, Outcome, Run, kept};
use crate::suite::Suite;

const HEAD: &str = "\
# Conformance

<!-- Written by `hoist-conformance report` (make conformance-report). Change the tests or
conformance/suites/*/expected.toml, not this page. -->

What other people's tests say of hoist, and beside it what they say of runc and crun in the same
place. Everything here can be had again, by root on an x86_64 Debian:

```sh
make conformance                                   # hoist, everywhere
make conformance RUNTIME=runc                      # the same for runc; crun; or a path
make conformance SUITE=runc TEST='run/runc run'    # one test
make conformance-report                            # this page, from the results that are kept
```

The times say how long to wait, not how fast a runtime is: other work went on beside some of the runs.

";

/// Writes the page.
pub(crate) fn write(cache: &Cache) -> Result<()> {
    let runs = kept(&cache.results())?;
    if runs.is_empty() {
        return Err(Failure::new("no results are kept yet: `hoist-conformance run` makes them"));
    }
    let path = repository().join("docs/conformance.md");
    let mut page = page(&runs)?;
    if let Ok(text) = fs::read_to_string(crate::missing::kept(cache)) {
        missing(&mut page, &serde_json::from_str::<Vec<Score>>(&text).context("missing.json")?);
    }
    fs::write(&path, page.trim_end().to_owned() + "\n").context(path.display())?;
    crate::console::line(format_args!("{} written from {} runs", path.display(), runs.len()));
    Ok(())
}

fn page(runs: &[Run]) -> Result<String> {
    let mut page = HEAD.to_owned();
    environments(&mut page, runs);
    for suite in Suite::ALL {
        let of_suite: Vec<&Run> = runs.iter().filter(|run| run.suite == suite).collect();
        if !of_suite.is_empty() {
            section(&mut page, suite, &suite.expected()?, &of_suite);
        }
    }
    Ok(page)
}

/// Writing to a String doesn't fail.
macro_rules! add {
    ($page:expr, $($what:tt)*) => {{ let _ = writeln!($page, $($what)*); }};
}

fn environments(page: &mut String, runs: &[Run]) {
    add!(page, "| environment | what it is | machine |\n|---|---|---|");
    let used: BTreeSet<Environment> = runs.iter().map(|run| run.environment).collect();
    for environment in used {
        let host = runs
            .iter()
            .filter(|run| run.environment == environment)
            .map(|run| &run.host)
            .find(|host| !host.description.is_empty());
        let machine = host.map_or_else(String::new, |host| {
            let lacking = if host.lacking.is_empty() {
                String::new()
            } else {
                format!("; lacks {}", host.lacking.join(", "))
            };
            format!("{}{lacking}", host.description)
        });
        add!(page, "| {} | {} | {machine} |", environment.name(), environment.about());
    }
    page.push('\n');
}

fn section(page: &mut String, suite: Suite, expected: &Expected, runs: &[&Run]) {
    add!(page, "## {}\n", suite.about());
    add!(
        page,
        "| environment | runtime | passed | failed | skipped | of what runc passes | time | date |"
    );
    add!(page, "|---|---|---:|---:|---:|---:|---:|---:|---|");
    for run in runs {
        let counts = Counts::of(&run.tests);
        let beside = runs.iter().find(|other| {
            other.environment == run.environment
                && other.runtime == "runc"
                && other.sample == run.sample
        });
        let share = beside.and_then(|runc| share(run, runc)).unwrap_or_default();
        let part = if run.sample { " (a part)" } else { "" };
        add!(
            page,
            "| {}{part} | {} {} | {} | {} | {} | {share} | {} | {} s | {} |",
            run.environment.name(),
            run.runtime,
            run.version,
            counts.passed,
            counts.failed,
            counts.skipped,
            run.leaks,
            run.seconds,
            run.date
        );
    }
    page.push('\n');
    if runs.iter().any(|run| run.sample) {
        add!(
            page,
            "A part of the suite in the virtual machine, whose CPU is emulated: {}.\n",
            expected.sample.join(", ")
        );
    }
    let unsteady: BTreeSet<&str> = runs
        .iter()
        .filter(|run| run.runtime == "hoist")
        .flat_map(|run| &run.tests)
        .filter(|test| test.repeated)
        .map(|test| test.name.as_str())
        .collect();
    if !unsteady.is_empty() {
        let names: Vec<_> = unsteady.into_iter().map(code).collect();
        add!(page, "Passed only when repeated: {}.\n", names.join(", "));
    }
    reasons(page, expected, runs);
}

/// How much of what runc passes a runtime passes, too.
fn share(run: &Run, runc: &Run) -> Option<String> {
    if run.runtime == "runc" {
        return None;
    }
    let passed = |run: &Run| -> BTreeSet<String> {
        let tests = run.tests.iter().filter(|test| test.outcome == Outcome::Passed);
        tests.map(|test| test.name.clone()).collect()
    };
    let of_runc = passed(runc);
    let both = passed(run).intersection(&of_runc).count();
    let percent = u32::try_from(both * 1000 / of_runc.len().max(1)).ok()?;
    Some(format!("{both} of {} ({}.{} %)", of_runc.len(), percent / 10, percent % 10))
}

/// Why hoist doesn't pass what it doesn't pass: a line for each reason and kind.
fn reasons(page: &mut String, expected: &Expected, runs: &[&Run]) {
    // Names by group; a test that fails in several environments is named once.
    let mut failures: BTreeMap<usize, BTreeMap<&str, BTreeSet<&str>>> = BTreeMap::new();
    let mut skips: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    let mut unexplained: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for run in runs.iter().filter(|run| run.runtime == "hoist") {
        let place = run.environment.name();
        for test in &run.tests {
            let group = expected.group(run.environment, &run.host, test);
            match (&test.outcome, group) {
                (Outcome::Passed, _) => {}
                (Outcome::Skipped(reason), _) => {
                    *skips.entry(reason).or_default().entry(place).or_default() += 1;
                }
                (Outcome::Failed(_), Some(group)) => {
                    let number =
                        expected.not_passing.iter().position(|one| std::ptr::eq(one, group));
                    let names = failures.entry(number.unwrap_or(usize::MAX)).or_default();
                    names.entry(&test.name).or_default().insert(place);
                }
                (Outcome::Failed(_), None) => {
                    unexplained.entry(&test.name).or_default().insert(place);
                }
            }
        }
    }
    if !failures.is_empty() {
        add!(page, "### What hoist fails, and why\n\n| kind | reason | tests |\n|---|---|---|");
    }
    for (number, group) in expected.not_passing.iter().enumerate() {
        let Some(names) = failures.get(&number) else { continue };
        // Those that fail in the same places stand together.
        let mut together: BTreeMap<&BTreeSet<&str>, BTreeSet<&str>> = BTreeMap::new();
        for (name, places) in names {
            together.entry(places).or_default().insert(name);
        }
        let names: Vec<_> =
            together.iter().map(|(places, names)| with_places(names, places)).collect();
        add!(page, "| {} | {} | {} |", kind(group.kind), group.reason, names.join("<br>"));
    }
    for (name, places) in &unexplained {
        add!(page, "\n**Not explained**: {}", with_places(&BTreeSet::from([*name]), places));
    }
    if !skips.is_empty() {
        add!(
            page,
            "\n### What is skipped, in the suite's own words\n\n| reason | tests |\n|---|---|"
        );
    }
    for (reason, places) in skips {
        let counts: Vec<_> =
            places.iter().map(|(place, count)| format!("{count} in {place}")).collect();
        add!(page, "| {} | {} |", reason.replace('|', "\\|"), counts.join(", "));
    }
    page.push('\n');
}

fn missing(page: &mut String, scores: &[Score]) {
    add!(page, "## Kernels that lack system calls\n");
    add!(
        page,
        "hoist's own tests, run under a seccomp filter that answers ENOSYS (`make missing`). Refused: \
        the test makes a container, hoist says which call is missing and since which Linux there is one, \
        and nothing is left.\n"
    );
    add!(
        page,
        "| without | hoist | passed | refused | failed | skipped | time |\n|---|---|---:|---:|---:|---:|---:|"
    );
    for score in scores {
        let Score { calls, passed, refused, skipped, failures, seconds, .. } = score;
        let word = if score.required { "refuses" } else { "works" };
        add!(
            page,
            "| {} | {word} | {passed} | {refused} | {} | {skipped} | {seconds} s |",
            code(calls),
            failures.len()
        );
    }
}

fn with_places(names: &BTreeSet<&str>, places: &BTreeSet<&str>) -> String {
    let names: Vec<_> = names.iter().map(|name| code(name)).collect();
    let places: Vec<_> = places.iter().copied().collect();
    format!("{}: {}", places.join(", "), names.join(", "))
}

fn code(name: &str) -> String {
    format!("`{}`", name.replace('|', "\\|"))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::OnPurpose => "on purpose",
        Kind::Pending => "comes later",
        Kind::Suite => "the test",
        Kind::Host => "the machine",
    }
}
