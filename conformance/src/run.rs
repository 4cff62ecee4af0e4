//! Runs suites: here, part after part, each under its supervisor.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::args::Options;
use crate::cache::Cache;
use crate::console::{self, Status};
use crate::environment::{Environment, this_program_in};
use crate::expected::{Expected, Surprises};
use crate::failure::{Context, Failure, Result, UNAVAILABLE};
use crate::results::{Counts, Host, Outcome, Results, Run, Test, today};
use crate::runtime::Runtime;
use crate::suite::{Setting, Suite, Unit, own_in_vm};

/// More surprises than this are no accidents, and aren't run again.
const WORTH_REPEATING: usize = 15;

/// Everything that was asked for. False when something was not as expected.
pub(crate) fn run(options: &Options) -> Result<bool> {
    need_root()?;
    let cache = Cache::open()?;
    crate::vm::remove_stale(&cache)?;
    let suites: &[Suite] = if options.suites.is_empty() { &Suite::ALL } else { &options.suites };
    if !options.tests.is_empty() && suites.len() != 1 {
        return Err(Failure::new("--test needs the one suite that has the test"));
    }
    let mut runtimes = Vec::new();
    for wanted in &options.runtimes {
        let runtime = Runtime::resolve(&cache, wanted)?;
        // The suites' programs get a /run of their own.
        if [&runtime.path, cache.directory()].iter().any(|path| path.starts_with("/run")) {
            return Err(Failure::new("neither the runtime nor the cache can be below /run"));
        }
        runtimes.push(runtime);
    }
    let began = Instant::now();
    let mut runs = Vec::new();
    let mut outcome = Ok(true);
    for suite in suites.iter().copied() {
        match run_suite(&cache, options, suite, &runtimes, &mut runs) {
            Ok(good) => outcome = outcome.map(|before| before && good),
            // What has been found out before is shown all the same.
            Err(failure) => {
                outcome = Err(failure);
                break;
            }
        }
    }
    if !runs.is_empty() {
        conclude(&runs, began.elapsed());
    }
    if outcome.is_ok() && runs.iter().all(|run| run.tests.is_empty()) {
        return Err(Failure::new("nothing was run"));
    }
    outcome
}

/// A suite in all environments and with all runtimes that fit. False if something is not as expected.
fn run_suite(
    cache: &Cache,
    options: &Options,
    suite: Suite,
    runtimes: &[Runtime],
    runs: &mut Vec<Run>,
) -> Result<bool> {
    suite.build(cache)?;
    let chosen = suite.select(cache, &options.tests)?;
    let expected = suite.expected()?;
    let mut good = true;
    for environment in environments(suite, options) {
        for runtime in runtimes {
            if !suite.takes(runtime) {
                continue;
            }
            let one = One { suite, environment, runtime, cache, options, expected: &expected };
            match one.run(&chosen) {
                Ok((run, as_expected)) => {
                    good &= as_expected;
                    if chosen.is_empty() {
                        run.keep(cache)?;
                    }
                    runs.push(run);
                }
                // On CI there is no excuse.
                Err(failure) if failure.status == UNAVAILABLE && !is_ci() => {
                    let (suite, environment) = (suite.name(), environment.name());
                    let why = failure.message;
                    console::line(format_args!("SKIP {suite} in {environment}: {why}"));
                }
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(good)
}

/// As the runner in the virtual machine does it: nothing is built, compared or kept.
pub(crate) fn run_inside(options: &Options, answer: &std::path::Path) -> Result<()> {
    let cache = Cache::open()?;
    let (Some(suite), Some(environment)) = (options.suites.first(), options.environments.first())
    else {
        return Err(Failure::new("--inside needs a suite and an environment"));
    };
    let Some(runtime) = options.runtimes.first() else { return Err(Failure::new("no runtime")) };
    let runtime = Runtime::at(std::path::Path::new(runtime))?;
    let units = suite.select(&cache, &options.tests)?;
    let result = here(&cache, *suite, *environment, &runtime, &units, false)?;
    std::fs::write(answer, serde_json::to_string(&result).context("results")?)
        .context(answer.display())
}

pub(crate) fn need_root() -> Result<()> {
    if rustix::process::geteuid().is_root() {
        return Ok(());
    }
    Err(Failure::new("needs root: containers, mounts and cgroups are made here"))
}

fn is_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}

/// Where a suite runs: where it was asked for, or everywhere that it says something new.
fn environments(suite: Suite, options: &Options) -> Vec<Environment> {
    use Environment::{Hybrid, Unified, Vm, VmRootless, VmSystemd};
    let fitting: &[Environment] = match suite {
        // Its programs make no cgroup by systemd, and need root.
        Suite::Oci => &[Hybrid, Unified, Vm],
        Suite::Runc => &[Hybrid, Unified, Vm, VmSystemd, VmRootless],
        // In the virtual machine, one run has systemd's and the rootless user's part.
        Suite::Hoist => &[Hybrid, Unified, Vm],
        Suite::Containerd | Suite::Docker => &[Hybrid],
    };
    if options.environments.is_empty() {
        return fitting.to_vec();
    }
    let wanted = |environment: &Environment| {
        *environment == Environment::Host || fitting.contains(environment)
    };
    options.environments.iter().copied().filter(wanted).collect()
}

/// One suite with one runtime in one environment.
struct One<'a> {
    suite: Suite,
    environment: Environment,
    runtime: &'a Runtime,
    cache: &'a Cache,
    options: &'a Options,
    expected: &'a Expected,
}

impl One<'_> {
    fn run(&self, chosen: &[Unit]) -> Result<(Run, bool)> {
        let (suite, environment, runtime) = (self.suite, self.environment, self.runtime);
        let sample = chosen.is_empty()
            && environment.is_vm()
            && !self.options.all
            && !self.expected.sample.is_empty();
        let units = match (chosen.is_empty(), sample) {
            (false, _) => chosen.to_vec(),
            (true, true) => suite.select(self.cache, &self.expected.sample)?,
            (true, false) => suite.units(self.cache)?,
        };
        let part = if sample { ", a part of it" } else { "" };
        console::step(format_args!(
            "{}{part}: {} {} in {} ({})",
            suite.about(),
            runtime.name,
            runtime.version,
            environment.name(),
            environment.about()
        ));
        let began = Instant::now();
        let mut results = self.execute(&units, false)?;
        self.repeat(&mut results);
        let surprises = self.surprises(&results, chosen.is_empty() && !sample);
        let seconds = began.elapsed().as_secs();
        let counts = Counts::of(&results.tests);
        console::line(format_args!("    {counts}, {seconds} s"));
        self.complain(&surprises, &results.tests);
        let run = Run {
            suite,
            environment,
            runtime: runtime.name.clone(),
            version: runtime.version.clone(),
            date: today(),
            seconds,
            sample,
            host: results.host,
            tests: results.tests,
            leaks: results.leaks,
        };
        Ok((run, surprises.not_passed.is_empty()))
    }

    /// What is not as the lists have it. They are about hoist; of others, everything is expected.
    fn surprises(&self, results: &Results, whole: bool) -> Surprises {
        if self.runtime.is_hoist() {
            return self.expected.compare(self.environment, &results.host, &results.tests, whole);
        }
        let failed = results.tests.iter().filter(|test| matches!(test.outcome, Outcome::Failed(_)));
        let not_passed = failed.map(|test| test.name.clone()).collect();
        Surprises { not_passed, out_of_date: Vec::new() }
    }

    fn execute(&self, units: &[Unit], again: bool) -> Result<Results> {
        let (cache, suite, environment) = (self.cache, self.suite, self.environment);
        if !environment.is_vm() {
            let _lock = crate::cache::lock()?;
            return here(cache, suite, environment, self.runtime, units, again);
        }
        if suite == Suite::Hoist {
            let outputs = cache.outputs("hoist-vm")?;
            crate::tree::empty(&outputs)?;
            let chosen = if self.options.tests.is_empty() { &[] } else { units };
            return Ok(Results { tests: own_in_vm(&outputs, chosen)?, ..Results::default() });
        }
        crate::vm::run(cache, suite, environment, self.runtime, units, self.options.machines)
    }

    /// Machines are noisy and some tests race: what failed unexpectedly is run once more, by itself.
    fn repeat(&self, results: &mut Results) {
        let names = self.surprises(results, false).not_passed;
        let failed =
            |test: &&Test| names.contains(&test.name) && matches!(test.outcome, Outcome::Failed(_));
        let again: Vec<Unit> =
            results.tests.iter().filter(failed).map(|test| Unit::parse(&test.name)).collect();
        let own_in_vm = self.suite == Suite::Hoist && self.environment.is_vm();
        if again.is_empty() || again.len() > WORTH_REPEATING || own_in_vm {
            return;
        }
        console::line(format_args!("    failed, run once more by itself: {}", again.len()));
        let second = match self.execute(&again, true) {
            Ok(second) => second.tests,
            Err(failure) => {
                return console::line(format_args!("    not repeated: {}", failure.message));
            }
        };
        for test in results.tests.iter_mut().filter(|test| names.contains(&test.name)) {
            let now = second.iter().find(|result| result.name == test.name);
            if now.is_some_and(|result| result.outcome == Outcome::Passed) {
                test.outcome = Outcome::Passed;
                test.repeated = true;
            }
        }
    }

    fn complain(&self, surprises: &Surprises, tests: &[Test]) {
        for test in tests.iter().filter(|test| test.repeated) {
            console::line(format_args!("    UNSTEADY {}: passed when repeated", test.name));
        }
        if !self.runtime.is_hoist() {
            return; // they have been shown
        }
        for test in tests {
            match &test.outcome {
                Outcome::Failed(why) if surprises.not_passed.contains(&test.name) => {
                    console::line(format_args!("    NOT EXPECTED TO FAIL {}: {why}", test.name));
                }
                Outcome::Skipped(why) if surprises.not_passed.contains(&test.name) => {
                    console::line(format_args!(
                        "    NOT EXPECTED TO BE SKIPPED {}: {why}",
                        test.name
                    ));
                }
                _ => {}
            }
        }
        for line in &surprises.out_of_date {
            let suite = self.suite.name();
            console::line(format_args!(
                "    OUT OF DATE conformance/suites/{suite}/expected.toml: {line}"
            ));
        }
    }
}

/// Runs parts of a suite on this machine; `again`: what they printed before is kept.
fn here(
    cache: &Cache,
    suite: Suite,
    environment: Environment,
    runtime: &Runtime,
    units: &[Unit],
    again: bool,
) -> Result<Results> {
    let mut all = Results { host: host(environment)?, ..Results::default() };
    let outputs =
        cache.outputs(&format!("{}-{}-{}", suite.name(), environment.name(), runtime.name))?;
    let status = Status::new();
    for (number, unit) in units.iter().enumerate() {
        status.show(format_args!("{}/{} {unit} …", number + 1, units.len()));
        let began = Instant::now();
        let suffix = if again { format!(".again-{}", number + 1) } else { String::new() };
        let (runtime, outputs, suffix) = (&*runtime.path, &*outputs, &*suffix);
        let setting = Setting { cache, environment, runtime, outputs, suffix };
        let job = suite.job(&setting, unit)?;
        let ended = crate::supervise::run(environment, &job)?;
        let output = crate::supervise::output(&job.output)?;
        let tests = suite.read(&setting, unit, &output, &ended)?;
        status.clear();
        show(unit, &tests, began.elapsed());
        for leak in &ended.leaks {
            console::line(format_args!("        left behind, and removed: {leak}"));
        }
        all.tests.extend(tests);
        all.leaks += ended.leaks.len();
    }
    crate::leftovers::remove_cgroups();
    Ok(all)
}

/// A line for a part of a suite, and one for each of its failures.
fn show(unit: &Unit, tests: &[Test], took: Duration) {
    let Counts { passed, failed, skipped } = Counts::of(tests);
    let name = unit.to_string();
    console::line(format_args!(
        "    {name:<34} {passed:4} passed {failed:3} failed {skipped:3} skipped {:5.1} s",
        took.as_secs_f64()
    ));
    for test in tests {
        if let Outcome::Failed(why) = &test.outcome {
            let title = test.name.split_once('/').map_or(test.name.as_str(), |(_, title)| title);
            console::line(format_args!("        not ok {title}: {why}"));
        }
    }
}

/// What there is in an environment, seen from inside it.
fn host(environment: Environment) -> Result<Host> {
    let output =
        this_program_in(environment).arg("facts").stdin(Stdio::null()).output().context("facts")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        let failure = Failure::new(said.trim_start_matches("hoist-conformance: "));
        let status = output.status.code().and_then(|code| u8::try_from(code).ok());
        return Err(failure.with_status(status.unwrap_or(1)));
    }
    serde_json::from_slice(&output.stdout).context("facts")
}

/// The table, and the line that tells how many.
fn conclude(runs: &[Run], took: Duration) {
    let mut total = Counts::default();
    console::line("");
    for run in runs {
        let counts = Counts::of(&run.tests);
        total.passed += counts.passed;
        total.failed += counts.failed;
        total.skipped += counts.skipped;
        console::line(format_args!(
            "{:<10} {:<12} {:<6} {:<10} {:>5} passed {:>4} failed {:>4} skipped {:>5} s{}",
            run.suite.name(),
            run.environment.name(),
            run.runtime,
            run.version,
            counts.passed,
            counts.failed,
            counts.skipped,
            run.seconds,
            if run.sample { "  (a part)" } else { "" }
        ));
    }
    console::line(format_args!("{total}, in {} s", took.as_secs()));
}
