//! hoist's own integration tests, built by cargo.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use super::{Setting, Unit, limit};
use crate::cache::{Cache, bound_to_us, repository};
use crate::failure::{Context, Failure, Result, UNAVAILABLE};
use crate::libtest;
use crate::results::{Outcome, Test};
use crate::supervise::{Ended, Job};

/// What `cargo` builds, as it tells in JSON: name and path of each executable that `keep` names.
fn cargo(
    arguments: &[&str],
    keep: impl Fn(&Value) -> Option<String>,
) -> Result<BTreeMap<String, PathBuf>> {
    let output = Command::new("cargo")
        .args(arguments)
        .args(["--locked", "--message-format=json-render-diagnostics"])
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .context("cargo")?;
    if !output.status.success() {
        return Err(Failure::new(format!("cargo {}: {}", arguments.join(" "), output.status)));
    }
    let mut found = BTreeMap::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<Value>(line) else { continue };
        if let (Some(path), Some(name)) = (text(&message, "/executable"), keep(&message)) {
            found.insert(name, PathBuf::from(path));
        }
    }
    Ok(found)
}

fn text<'a>(message: &'a Value, pointer: &str) -> Option<&'a str> {
    message.pointer(pointer)?.as_str()
}

/// hoist, built as tests are.
pub(crate) fn hoist() -> Result<PathBuf> {
    let built = cargo(&["build", "-p", "hoist-cli"], |message| {
        text(message, "/target/name").map(str::to_owned)
    })?;
    built.into_values().next().ok_or_else(|| Failure::new("cargo has built no hoist"))
}

/// containerd's shim, beside hoist.
pub(super) fn shim() -> Result<()> {
    cargo(&["build", "-p", "hoist-shim"], |_| None).map(|_| ())
}

fn list(cache: &Cache) -> PathBuf {
    cache.directory().join("hoist/programs.json")
}

/// hoist's test programs: PACKAGE-NAME and path of each.
pub(crate) fn test_programs() -> Result<BTreeMap<String, PathBuf>> {
    crate::console::step("hoist's integration tests: cargo test --no-run");
    let arguments = ["test", "-p", "hoist", "-p", "hoist-cli", "--test", "*", "--no-run"];
    cargo(&arguments, |message| {
        let package = Path::new(text(message, "/manifest_path")?).parent()?.file_name()?;
        let name = text(message, "/target/name")?;
        let is_test = text(message, "/target/kind/0") == Some("test");
        is_test.then(|| format!("{}-{name}", package.to_string_lossy()))
    })
}

pub(super) fn build(cache: &Cache) -> Result<()> {
    let built = test_programs()?;
    let path = list(cache);
    fs::create_dir_all(path.parent().unwrap_or(&path)).context(path.display())?;
    fs::write(&path, serde_json::to_string(&built).context("programs")?).context(path.display())
}

fn built(cache: &Cache) -> Result<BTreeMap<String, PathBuf>> {
    let path = list(cache);
    let text = fs::read_to_string(&path).context(path.display())?;
    serde_json::from_str(&text).context(path.display())
}

pub(super) fn programs(cache: &Cache) -> Result<Vec<String>> {
    Ok(built(cache)?.into_keys().collect())
}

fn program(cache: &Cache, name: &str) -> Result<PathBuf> {
    built(cache)?.remove(name).ok_or_else(|| Failure::new(format!("no test program {name}")))
}

pub(super) fn tests(cache: &Cache, name: &str) -> Result<Vec<String>> {
    let output = Command::new(program(cache, name)?).arg("--list").output().context(name)?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().filter_map(|line| line.strip_suffix(": test").map(str::to_owned)).collect())
}

fn skips(setting: &Setting<'_>, unit: &Unit) -> PathBuf {
    setting.output(unit, "skips")
}

pub(super) fn job(setting: &Setting<'_>, unit: &Unit) -> Result<Job> {
    let program = program(setting.cache, &unit.name)?;
    let skips = skips(setting, unit);
    fs::write(&skips, "").context(skips.display())?;
    let mut arguments = vec![program.display().to_string()];
    if let Some(test) = &unit.test {
        arguments.extend(["--exact".to_owned(), test.clone()]);
    }
    Ok(Job {
        arguments,
        directory: repository(),
        variables: super::variables([("HOIST_SKIPS", skips.display().to_string())]),
        terminal: false,
        limit: limit(setting, 400),
        cgroups: vec!["hoist-*".to_owned()],
        output: setting.output(unit, "log"),
    })
}

pub(super) fn read(
    setting: &Setting<'_>,
    unit: &Unit,
    output: &str,
    ended: &Ended,
) -> Result<Vec<Test>> {
    let path = skips(setting, unit);
    let skips = fs::read_to_string(&path).context(path.display())?;
    Ok(libtest::tests(&unit.name, output, &skips, ended.timed_out))
}

/// In the virtual machine, conformance/vm/test runs all or the chosen ones, with the scripts of
/// conformance/vm/tests.
pub(crate) fn vm(outputs: &Path, chosen: &[Unit]) -> Result<Vec<Test>> {
    let script = repository().join("conformance/vm/test");
    let status = bound_to_us(&script)
        .args(chosen.iter().map(|unit| &unit.name))
        .env("HOIST_VM_OUT", outputs)
        // Where there can be no machine, that is said by the status.
        .env("CI", "true")
        .status()
        .context(script.display())?;
    if status.code() == Some(i32::from(UNAVAILABLE)) {
        return Err(Failure::new("no virtual machine here, see above").with_status(UNAVAILABLE));
    }
    let mut tests = Vec::new();
    for entry in fs::read_dir(outputs).context(outputs.display())?.flatten() {
        let path = entry.path();
        if path.extension().is_none_or(|extension| extension != "log") {
            continue;
        }
        let name = path.file_stem().unwrap_or_default().to_string_lossy();
        let output = crate::supervise::output(&path)?;
        let skips = fs::read_to_string(path.with_extension("skips")).unwrap_or_default();
        let mut group = if output.starts_with("\nrunning ") {
            libtest::tests(&name, &output, &skips, false)
        } else {
            let mut tests = crate::tap::bats(&name, &output, &[], false);
            tests.extend(libtest::skipped(&name, &skips));
            tests
        };
        // What is wrong with the group as a whole: its status, what it has left behind.
        let bad = fs::read_to_string(path.with_extension("bad")).unwrap_or_default();
        let is_bad = |test: &Test| matches!(test.outcome, Outcome::Failed(_));
        if bad.trim() != "0" && !group.iter().any(is_bad) {
            let last = output.lines().last().unwrap_or_default().to_owned();
            group.push(Test::new(format!("{name}/(program)"), Outcome::Failed(last)));
        }
        tests.extend(group);
    }
    let failed = tests.iter().any(|test| matches!(test.outcome, Outcome::Failed(_)));
    if !status.success() && !failed {
        tests
            .push(Test::new("vm/(all)", Outcome::Failed(format!("conformance/vm/test: {status}"))));
    }
    Ok(tests)
}
