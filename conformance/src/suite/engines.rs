//! containerd and Docker: real engines, to which hoist is plugged in by its shim. A script of
//! conformance/engines runs inside `enter`, which gives it all that is left of them afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use super::{Setting, Suite, Unit, limit, variables};
use crate::cache::{Cache, repository};
use crate::failure::{Context, Result};
use crate::results::Test;
use crate::supervise::{Ended, Job};
use crate::tap;

/// What every section of Docker's script ends with.
const AFTERWARDS: &str = "clean";

fn directory() -> PathBuf {
    repository().join("conformance/engines")
}

fn script(name: &str) -> Result<String> {
    let path = directory().join(name);
    fs::read_to_string(&path).context(path.display())
}

pub(super) fn build(cache: &Cache) -> Result<()> {
    cache.build("engines/build")?;
    super::own::shim()
}

/// The parts of a suite, with the titles of each one's tests.
fn parts(suite: Suite) -> Result<BTreeMap<String, Vec<String>>> {
    if suite == Suite::Docker {
        return Ok(sections(&script("docker.sh")?));
    }
    let of = |name: &str| Ok((name.to_owned(), functions(&script(&format!("{name}.sh"))?)));
    ["ctr", "restart"].into_iter().map(of).collect()
}

/// The functions of a script that have checks: `NAME() {`, `    check "TITLE" …`.
fn sections(text: &str) -> BTreeMap<String, Vec<String>> {
    let mut sections: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut name = "";
    for line in text.lines() {
        if let Some(function) = line.strip_suffix("() {") {
            name = function;
        } else if let Some(rest) = line.trim_start().strip_prefix("check \"") {
            let title = rest.split('"').next().unwrap_or(rest);
            sections.entry(name.to_owned()).or_default().push(title.to_owned());
        }
    }
    let afterwards = sections.remove(AFTERWARDS).unwrap_or_default();
    for titles in sections.values_mut() {
        titles.extend_from_slice(&afterwards);
    }
    sections
}

/// The tests of a script: `test_NAME() {`.
fn functions(text: &str) -> Vec<String> {
    let name = |line: &str| Some(line.strip_prefix("test_")?.split_once("()")?.0.to_owned());
    text.lines().filter_map(name).collect()
}

pub(super) fn names(suite: Suite) -> Result<Vec<String>> {
    Ok(parts(suite)?.into_keys().collect())
}

pub(super) fn tests(suite: Suite, name: &str) -> Result<Vec<String>> {
    Ok(parts(suite)?.remove(name).unwrap_or_default())
}

pub(super) fn job(suite: Suite, setting: &Setting<'_>, unit: &Unit) -> Result<Job> {
    let runtime = setting.runtime.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let mut arguments = vec![directory().join("enter").display().to_string()];
    // runc is the engines' own.
    if let (Some(programs), "hoist") = (setting.runtime.parent(), runtime.as_str()) {
        arguments.push(programs.display().to_string());
    }
    let script = if suite == Suite::Docker { "docker" } else { &unit.name };
    let path = directory().join(format!("{script}.sh")).display().to_string();
    arguments.extend(["--".to_owned(), path]);
    // The checks of a section build on each other.
    match suite {
        Suite::Docker => arguments.push(unit.name.clone()),
        _ => arguments.extend(unit.test.clone()),
    }
    Ok(Job {
        arguments,
        directory: repository(),
        variables: variables([
            ("RUNTIME", runtime),
            ("HOIST_CACHE", setting.cache.directory().display().to_string()),
        ]),
        terminal: false,
        limit: limit(setting, 400),
        // `enter` removes them; of one that was killed, they are known by the processes in them.
        cgroups: Vec::new(),
        output: setting.output(unit, "tap"),
    })
}

pub(super) fn read(suite: Suite, unit: &Unit, output: &str, ended: &Ended) -> Result<Vec<Test>> {
    let titles = tests(suite, &unit.name)?;
    let mut tests = tap::bats(&unit.name, output, &titles, ended.timed_out);
    let name = unit.to_string();
    tests.retain(|test| unit.test.is_none() || test.name == name);
    Ok(tests)
}

#[cfg(test)]
mod tests {
    use super::{functions, sections};

    #[test]
    fn titles() {
        let docker = "state() { true; }\nrun() {\n    check \"it runs\" true\n    if x; then\n        \
            check \"-d\" all 'a \"b\"'\n}\nclean() {\n    check \"nothing is left\" true\n}\n";
        let found = sections(docker);
        assert_eq!(found.len(), 1);
        assert_eq!(found["run"], ["it runs", "-d", "nothing is left"]);
        assert_eq!(functions("test_a() {\n}\ntest_b_c() { true; }\nround_a() {\n"), ["a", "b_c"]);
    }
}
