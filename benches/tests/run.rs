//! `hoist-bench run` itself: that a quick run measures everything, and that nothing is left, after ^C
//! either. No figure is looked at.

#![allow(clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hoist-bench");

/// One run at a time: each looks for what it has left.
static ALONE: Mutex<()> = Mutex::new(());

/// Where results go.
struct Results(PathBuf);

impl Results {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("hoist-bench-{name}-{}.json", std::process::id())))
    }
}

impl Drop for Results {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// hoist, as it was built with these tests; the peers' speed is no test's business.
fn hoist(name: &str) -> Option<PathBuf> {
    let beside = Path::new(PROGRAM).with_file_name("hoist");
    let path = std::env::var_os("HOIST_BIN").map_or(beside, PathBuf::from);
    let reason = if !rustix::process::geteuid().is_root() {
        "needs root"
    } else if !path.exists() {
        "needs hoist (cargo build -p hoist-cli, or HOIST_BIN)"
    } else {
        return Some(path);
    };
    let line = format!("SKIP {name}: {reason}");
    println!("{line}");
    if let Some(path) = std::env::var_os("HOIST_SKIPS") {
        let file = fs::File::options().append(true).create(true).open(path);
        writeln!(file.expect("HOIST_SKIPS"), "{line}").expect("HOIST_SKIPS");
    }
    None
}

fn bench(hoist: &Path, results: &Results, options: &[&str]) -> Child {
    let mut command = Command::new(PROGRAM);
    command.arg("run").arg("--runtime").arg(format!("hoist={}", hoist.display()));
    command.args(["crun-static", "crun", "runc"].iter().flat_map(|peer| ["--without", peer]));
    command.arg("-o").arg(&results.0).args(options);
    command.stdin(Stdio::null()).stderr(Stdio::piped()).spawn().expect("hoist-bench")
}

/// Cgroups and directories that have the names of a run's. Other runs may have some, too.
fn traces() -> BTreeSet<PathBuf> {
    fn look(directory: &Path, found: &mut BTreeSet<PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                look(&entry.path(), found);
                if entry.file_name().to_string_lossy().starts_with("hb-") {
                    found.insert(entry.path());
                }
            }
        }
    }
    let mut found = BTreeSet::new();
    look(Path::new("/sys/fs/cgroup"), &mut found);
    for entry in fs::read_dir(std::env::temp_dir()).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("hoist-bench-") && entry.path().is_dir() {
            found.insert(entry.path());
        }
    }
    found
}

#[test]
fn a_quick_run_measures_everything_and_leaves_nothing() {
    let Some(hoist) = hoist("a_quick_run_measures_everything_and_leaves_nothing") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = traces();
    let results = Results::new("quick");
    let mut child = bench(&hoist, &results, &["--quick"]);
    let mut said = String::new();
    child.stderr.take().expect("stderr").read_to_string(&mut said).expect("stderr");
    assert!(child.wait().expect("hoist-bench").success(), "{said}");

    let text = fs::read(&results.0).expect("results");
    let measured: Value = serde_json::from_slice(&text).expect("results");
    let groups = measured["groups"].as_array().expect("groups");
    let of = |group: &Value| -> Vec<String> {
        let series = group["series"].as_array().expect("series").iter();
        series.map(|one| one["runtime"].as_str().expect("runtime").to_owned()).collect()
    };
    for group in groups {
        assert!(group.get("absent").is_none(), "{group}: {said}");
        let expected: &[&str] = match group["id"].as_str().expect("id") {
            "library" => &["library", "library-1gb", "floor-in-process"],
            id if id.starts_with("run-") => &["floor", "hoist"],
            _ => &["hoist"],
        };
        assert_eq!(of(group), expected, "{group}");
    }
    let has = |id: &str, view: &str| {
        groups.iter().any(|group| group["id"] == id && group["environment"] == view)
    };
    let views: &[&str] = if Path::new("/sys/fs/cgroup/devices/cgroup.procs").exists() {
        &["unified", "hybrid"]
    } else {
        &["unified"]
    };
    for view in views {
        for id in ["run-seccomp", "delete-force", "at-once-100", "list-1000", "library"] {
            assert!(has(id, view), "{id} in {view}: {said}");
        }
    }
    assert_eq!(has("memory-limit-exec", "hybrid"), views.len() == 2, "{said}");
    // The floor's and hoist's, of three configurations.
    assert_eq!(measured["phases"].as_array().expect("phases").len(), 6 * views.len());
    assert_eq!(measured["curves"].as_array().expect("curves").len(), 5 * views.len());
    assert_eq!(&traces() - &before, BTreeSet::new(), "{said}");
}

#[test]
fn an_interrupted_run_leaves_nothing() {
    let Some(hoist) = hoist("an_interrupted_run_leaves_nothing") else { return };
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = traces();
    let results = Results::new("interrupted");
    let options = ["--quick", "--rounds", "100000", "--only", "lifecycle", "--view", "unified"];
    let mut child = bench(&hoist, &results, &options);
    let mut said = BufReader::new(child.stderr.take().expect("stderr"));
    let mut line = String::new();
    said.read_line(&mut line).expect("stderr");
    assert!(line.starts_with("==> unified"), "{line}");
    // A terminal sends it to all processes; the program passes it on to its own.
    let pid = Pid::from_child(&child);
    kill_process(pid, Signal::INT).expect("kill");
    let mut rest = String::new();
    said.read_to_string(&mut rest).expect("stderr");
    assert_eq!(child.wait().expect("hoist-bench").code(), Some(130), "{rest}");
    assert_eq!(&traces() - &before, BTreeSet::new(), "{rest}");
}
