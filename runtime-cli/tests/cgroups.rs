//! Many `hoist` processes at once, and a container that wants more memory than it may have.

#![allow(clippy::unwrap_used, clippy::indexing_slicing)]

mod common;

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use common::{assert_ok, bench};
use serde_json::json;

/// Directories of this name's cgroups, in all hierarchies.
fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let below = |dir: &PathBuf| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect::<Vec<_>>()
    };
    let top = below(&PathBuf::from("/sys/fs/cgroup"));
    let all = top.iter().flat_map(below).chain(top.clone());
    let named = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    all.filter(named).collect()
}

/// Two hundred containers, each with processes of its own for create, start and delete, or for
/// run: neither cgroups nor state, mounts or processes are left.
#[test]
fn two_hundred_containers() {
    const THREADS: usize = 8;
    let Some(bench) = bench() else { return };
    bench.arguments(&["true"]);
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let bench = &bench;
            scope.spawn(move || {
                for round in 0..200 / THREADS {
                    let id = format!("{}-{thread}-{round}", bench.a);
                    if round % 5 > 0 {
                        assert_ok(&bench.hoist(&["run", &id]));
                    } else {
                        // It would keep a pipe open.
                        let mut create = bench.command(&["create", &id]);
                        let quiet = create.stdout(Stdio::null()).stderr(Stdio::null());
                        assert!(quiet.status().unwrap().success());
                        assert_ok(&bench.hoist(&["start", &id]));
                        assert_ok(&bench.hoist(&["delete", "--force", &id]));
                    }
                }
            });
        }
    });
    assert_eq!(cgroups(&bench.a), Vec::<PathBuf>::new());
    assert!(bench.hoist(&["list", "--quiet"]).stdout.is_empty());
    assert_eq!(fs::read_dir(bench.path("state")).unwrap().count(), 0);
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(bench.directory.to_str().unwrap()), "{mounts}");
    let inside = |pid: &PathBuf| {
        fs::read_link(pid.join("root")).is_ok_and(|root| root.starts_with(&bench.directory))
    };
    let processes = fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    assert_eq!(processes.filter(inside).collect::<Vec<_>>(), Vec::<PathBuf>::new());
}

/// The OOM killer's SIGKILL is an exit code of 137, as a shell has it.
#[test]
fn a_memory_hog_ends_with_137() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["dd", "if=/dev/zero", "of=/dev/null", "bs=67108864", "count=9"]);
    let limit = 16_777_216;
    bench.configure(|config| {
        config["linux"]["resources"]["memory"] = json!({"limit": limit, "swap": limit});
    });
    let output = bench.hoist(&["run", &bench.a]);
    if String::from_utf8_lossy(&output.stderr).contains("controller memory is not available") {
        println!("SKIP a_memory_hog_ends_with_137: controller memory isn't here");
        return;
    }
    assert_eq!(output.status.code(), Some(137), "{output:?}");
    assert_eq!(cgroups(&bench.a), Vec::<PathBuf>::new());
}
