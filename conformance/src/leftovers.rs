//! What a test program has left behind: directories, cgroups and mounts with the names that hoist's
//! tests give them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// Tests name everything after the process that they run in: `hoist-test-PID-N`.
const PREFIXES: [&str; 2] = ["hoist-test-", "hoist-cli-"];

/// What there is now of processes that have ended. (Others may run tests at the same time.)
pub(crate) fn traces() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut look = |what: &str, dir: &Path| {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        let names = entries.filter(|entry| is_stale(&entry.file_name().to_string_lossy()));
        found.extend(names.map(|entry| format!("{what} {}", entry.path().display())));
    };
    look("directory", &std::env::temp_dir());
    look("directory", Path::new("/tmp"));
    let cgroups = Path::new("/sys/fs/cgroup");
    look("cgroup", cgroups);
    for hierarchy in fs::read_dir(cgroups).into_iter().flatten().flatten() {
        look("cgroup", &hierarchy.path());
    }
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = mounts.lines().filter_map(|line| line.split(' ').nth(4));
    let stale = points.filter(|point| point.split('/').any(is_stale));
    found.extend(stale.map(|point| format!("mount {point}")));
    found
}

/// Removes the cgroups of views, and of tests that have ended without doing it, killed for instance.
/// Those with processes or with cgroups of others below stay.
pub(crate) fn remove_cgroups() {
    let cgroups = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(cgroups).into_iter().flatten().flatten();
    let tops = hierarchies.map(|entry| entry.path()).chain([cgroups.to_owned()]);
    for entry in tops.filter_map(|top| fs::read_dir(top).ok()).flatten().flatten() {
        if is_stale(&entry.file_name().to_string_lossy()) {
            // Only an empty cgroup can be removed; any other is not ours to empty.
            let _ = fs::remove_dir(entry.path());
        }
    }
}

fn is_stale(name: &str) -> bool {
    let rest = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    let pid = rest.and_then(|rest| rest.split('-').next()).and_then(|pid| pid.parse::<u32>().ok());
    pid.is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}
