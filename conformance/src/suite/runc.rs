//! runc's integration tests: files for bats, which call the runtime as a user would.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use super::{Setting, Unit, in_own_directories, limit, names, temporary, variables};
use crate::cache::Cache;
use crate::environment::Environment;
use crate::failure::{Context, Result};
use crate::results::Test;
use crate::supervise::{Ended, Job};

/// In the virtual machine a test that hangs doesn't take the rest of its file along.
const TEST_LIMIT: u64 = 150;

fn directory(cache: &Cache) -> PathBuf {
    cache.directory().join("runc/tests/integration")
}

pub(super) fn files(cache: &Cache) -> Result<Vec<String>> {
    names(&directory(cache), |name| name.strip_suffix(".bats").map(str::to_owned))
}

/// The titles of a file's tests.
pub(super) fn titles(cache: &Cache, file: &str) -> Result<Vec<String>> {
    let path = directory(cache).join(format!("{file}.bats"));
    let text = fs::read_to_string(&path).context(path.display())?;
    Ok(text.lines().filter_map(title).collect())
}

/// `@test "title" {`: a word of bash's.
fn title(line: &str) -> Option<String> {
    let word = line.strip_prefix("@test ")?.trim_end().strip_suffix('{')?.trim();
    let quoted = |quote| word.strip_prefix(quote).and_then(|word| word.strip_suffix(quote));
    let text = match quoted('"') {
        Some(text) => text.replace("\\\"", "\"").replace("\\$", "$"),
        None => quoted('\'')?.to_owned(),
    };
    // bats prints it so.
    Some(text.trim().to_owned())
}

pub(super) fn job(setting: &Setting<'_>, unit: &Unit) -> Result<Job> {
    let mut path = setting.cache.directory().join("runc/path").display().to_string();
    path.push_str(":/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    let mut variables = variables([
        ("RUNC", called_runc(setting)?.display().to_string()),
        ("PATH", path),
        ("TMPDIR", temporary(setting)),
        ("TERM", "xterm".to_owned()),
    ]);
    if setting.environment.has_systemd_driver() {
        variables.insert("RUNC_USE_SYSTEMD".to_owned(), "1".to_owned());
    }
    // Not for events: its `wait` would wait for bats' own watchdog, too.
    if setting.environment.is_vm() && unit.name != "events" {
        variables.insert("BATS_TEST_TIMEOUT".to_owned(), TEST_LIMIT.to_string());
    }
    let mut arguments = match setting.environment {
        Environment::VmRootless => vec!["/mnt/share/rootless".to_owned()],
        _ => ["bats", "--tap"].map(str::to_owned).into(),
    };
    if let Some(test) = &unit.test {
        arguments.extend(["--filter".to_owned(), format!("^{}[[:space:]]*$", escaped(test))]);
    }
    arguments.push(format!("{}.bats", unit.name));
    Ok(Job {
        arguments: in_own_directories(setting, arguments),
        directory: directory(setting.cache),
        variables,
        terminal: true,
        limit: limit(setting, 300),
        cgroups: ["runc-cgroups-integration-test*", "test-cgroup*", "test_*", "ct*"]
            .map(str::to_owned)
            .into(),
        output: setting.output(unit, "tap"),
    })
}

/// A link to the runtime by the name that a drop-in is called by: it shows in help and errors.
fn called_runc(setting: &Setting<'_>) -> Result<PathBuf> {
    let directory = setting.outputs.join("bin");
    let link = directory.join("runc");
    if fs::read_link(&link).ok().as_deref() != Some(setting.runtime) {
        let _ = fs::remove_file(&link);
        fs::create_dir_all(&directory).context(directory.display())?;
        symlink(setting.runtime, &link).context(link.display())?;
    }
    Ok(link)
}

pub(super) fn read(
    setting: &Setting<'_>,
    unit: &Unit,
    output: &str,
    ended: &Ended,
) -> Result<Vec<Test>> {
    let mut expected = titles(setting.cache, &unit.name)?;
    expected.retain(|title| unit.test.as_ref().is_none_or(|test| test == title));
    Ok(crate::tap::bats(&unit.name, output, &expected, ended.timed_out))
}

/// For an extended regular expression.
fn escaped(text: &str) -> String {
    let mut out = String::new();
    for character in text.chars() {
        if "\\^$.|?*+()[]{}".contains(character) {
            out.push('\\');
        }
        out.push(character);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::{escaped, title};

    #[test]
    fn titles() {
        assert_eq!(title("@test \"runc run [ro /dev]\" {").as_deref(), Some("runc run [ro /dev]"));
        assert_eq!(title("@test 'say \"a\"' {").as_deref(), Some("say \"a\""));
        assert_eq!(title("@test \"say \\\"a\\\"\" {").as_deref(), Some("say \"a\""));
        assert_eq!(title("@test \"runc [ x ] \" {").as_deref(), Some("runc [ x ]"));
        assert_eq!(title("function setup() {"), None);
    }

    #[test]
    fn a_title_as_a_regular_expression() {
        assert_eq!(escaped("a [b] (c+) $d"), "a \\[b\\] \\(c\\+\\) \\$d");
    }
}
