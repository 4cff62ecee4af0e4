//! Runs suites in the virtual machine: this program runs there once more, on the same files.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache::{Cache, bound_to_us, repository};
use crate::console;
use crate::environment::{Environment, this_program};
use crate::failure::{Context, Failure, Result};
use crate::results::{Outcome, Results, Test};
use crate::runtime::Runtime;
use crate::suite::{Suite, Unit};
use crate::tree::Temporary;

/// Seconds for all that one machine does.
const LIMIT: &str = "5400";

/// Splits `units` over several machines that run side by side; the tests come back together.
pub(crate) fn run(
    cache: &Cache,
    suite: Suite,
    environment: Environment,
    runtime: &Runtime,
    units: &[Unit],
    machines: usize,
) -> Result<Results> {
    cache.build("vm/image")?;
    let count = machines.clamp(1, units.len().max(1));
    let parts: Vec<Vec<Unit>> = (0..count)
        .map(|first| units.iter().skip(first).step_by(count).cloned().collect())
        .collect();
    let outcomes: Vec<Result<Results>> = std::thread::scope(|scope| {
        let machines: Vec<_> = parts
            .iter()
            .enumerate()
            .map(|(number, part)| {
                scope.spawn(move || machine(cache, suite, environment, runtime, part, number))
            })
            .collect();
        let panicked = |_| Err(Failure::new("a machine's thread panicked"));
        machines.into_iter().map(|machine| machine.join().unwrap_or_else(panicked)).collect()
    });
    let mut all = Results::default();
    for (outcome, part) in outcomes.into_iter().zip(&parts) {
        match outcome {
            Ok(results) => {
                all.host = results.host;
                all.tests.extend(results.tests);
                all.leaks += results.leaks;
            }
            // What the other machine has found out is not lost.
            Err(failure) => {
                console::line(format_args!(
                    "    a virtual machine has failed: {}",
                    failure.message
                ));
                let lost = |unit: &Unit| {
                    let why = format!("not run: {}", failure.message);
                    Test::new(unit.to_string(), Outcome::Failed(why))
                };
                all.tests.extend(part.iter().map(lost));
            }
        }
    }
    all.tests.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(all)
}

/// Removes what runs have left that were killed.
pub(crate) fn remove_stale(cache: &Cache) -> Result<()> {
    for entry in fs::read_dir(cache.temporary()).into_iter().flatten().flatten() {
        let name = entry.file_name();
        let pid = name.to_str().and_then(|name| name.split('-').nth(1)).unwrap_or("none");
        if !Path::new("/proc").join(pid).exists() {
            crate::tree::remove(&entry.path())?;
        }
    }
    Ok(())
}

/// One machine's part.
fn machine(
    cache: &Cache,
    suite: Suite,
    environment: Environment,
    runtime: &Runtime,
    units: &[Unit],
    number: usize,
) -> Result<Results> {
    let name = format!("share-{}-{number}", std::process::id());
    let share = Temporary::new(cache.temporary().join(name))?;
    let share = &share.0;
    fs::copy(this_program(), share.join("hoist-conformance")).context("this program")?;
    copy(&repository().join("conformance/suites/runc/rootless"), &share.join("rootless"))?;
    copy(&suite.directory(cache), &share.join("cache").join(suite.name()))?;
    let peers = cache.directory().join("peers");
    let path = if runtime.path.starts_with(&peers) {
        copy(&peers, &share.join("cache/peers"))?;
        runtime.path.clone()
    } else {
        // Also where a rootless user can execute it.
        copy(&runtime.path, &share.join(&runtime.name))?;
        Path::new("/usr/local/bin").join(&runtime.name)
    };
    let script = script(cache, suite, environment, runtime, &path, units);
    let log = converse(share, &script)?;
    let answer = share.join("out/results.json");
    // Whatever the suite has printed there can be looked at.
    let outputs = share.join("out/outputs");
    if outputs.exists() {
        let place =
            cache.outputs(&format!("{}-{}-{}", suite.name(), environment.name(), runtime.name))?;
        for entry in fs::read_dir(&outputs).into_iter().flatten().flatten() {
            copy(&entry.path(), &place.join(entry.file_name()))?;
        }
    }
    let text = fs::read_to_string(&answer)
        .map_err(|_| Failure::new(format!("the virtual machine has given no results: {log}")))?;
    serde_json::from_str(&text).context("the virtual machine's results")
}

/// What is run in the machine. The cache is where it is here: paths are built into the peers.
fn script(
    cache: &Cache,
    suite: Suite,
    environment: Environment,
    runtime: &Runtime,
    path: &Path,
    units: &[Unit],
) -> String {
    let quoted = |text: &str| format!("'{}'", text.replace('\'', "'\\''"));
    let directory = quoted(&cache.directory().display().to_string());
    let mut script = format!(
        "set -e\nmkdir -p \"$(dirname {directory})\"\nln -s \"$PWD/cache\" {directory}\n\
         chmod 755 /root\nmkdir -m 1777 /mnt/t\n[ ! -e {name} ] || install -m 755 {name} /usr/local/bin/\n\
         export HOIST_CACHE={directory}\n\
         status=0\n./hoist-conformance run {suite} --environment {environment} --runtime {path} \
         --inside out/results.json",
        name = quoted(&runtime.name),
        suite = suite.name(),
        environment = environment.name(),
        path = quoted(&path.display().to_string()),
    );
    for unit in units {
        script.push_str(&format!(" --test {}", quoted(&unit.to_string())));
    }
    script.push_str(
        " || status=$?\nmkdir -p out/outputs\ncp cache/outputs/*/*.tap out/outputs/ || true\nexit $status\n",
    );
    script
}

/// Runs a script in a machine, shows what it prints, and returns the last line of it.
fn converse(share: &Path, script: &str) -> Result<String> {
    let mut child = bound_to_us(&repository().join("conformance/vm/run"))
        .args(["--timeout", LIMIT, "--share"])
        .arg(share)
        .args(["--", "bash", "-c", script])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("conformance/vm/run")?;
    let mut last = String::new();
    for line in child.stdout.take().map(BufReader::new).into_iter().flat_map(BufRead::lines) {
        last = line.context("the virtual machine")?;
        console::line(&last);
    }
    let status = child.wait().context("conformance/vm/run")?;
    Ok(format!("{status}, {last}"))
}

/// Copies a file or a tree; hard links where they are possible: these are hundreds of megabytes.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to.parent().map_or_else(PathBuf::new, Path::to_owned))
        .context(to.display())?;
    for option in ["-al", "-a"] {
        let mut command = Command::new("cp");
        command.arg(option).arg("-T").arg(from).arg(to).stderr(Stdio::null());
        if command.status().context("cp")?.success() {
            return Ok(());
        }
    }
    Err(Failure::new(format!("{} can't be copied to {}", from.display(), to.display())))
}

/// `vm shell`: a terminal in a throw-away machine.
pub(crate) fn shell(cache: &Cache, arguments: &[std::ffi::OsString]) -> Result<u8> {
    cache.build("vm/image")?;
    let script = repository().join("conformance/vm/shell");
    let status = Command::new(&script).args(arguments).status().context(script.display())?;
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1))
}
