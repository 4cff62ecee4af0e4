//! What a program can see of itself, and what a library could change behind its back.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The lines of `/proc/self/status` that no library call may change: ids, umask, signal state,
/// capabilities, affinity (proc_pid_status(5)).
const STATUS: [&str; 21] = [
    "Umask",
    "Tgid",
    "TracerPid",
    "Uid",
    "Gid",
    "Groups",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
    "Seccomp_filters",
    "Cpus_allowed_list",
    "Mems_allowed_list",
    "THP_enabled",
    "NStgid",
];

/// Files of `/proc/self` whose whole text has to stay as it is.
const FILES: [&str; 6] =
    ["limits", "oom_score_adj", "personality", "timerslack_ns", "coredump_filter", "cgroup"];

/// The state of the calling thread and its program, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Caller(BTreeMap<String, String>);

impl Caller {
    /// What the calling thread sees now, its program's descriptors included.
    pub(crate) fn look() -> Self {
        let mut seen = Self::of_thread().0;
        for (number, target) in descriptors() {
            seen.insert(format!("descriptor {number}"), target);
        }
        for (name, value) in std::env::vars_os() {
            seen.insert(format!("environment {name:?}"), format!("{value:?}"));
        }
        Self(seen)
    }

    /// What belongs to the calling thread alone, and what descriptors of other threads don't
    /// change.
    pub(crate) fn of_thread() -> Self {
        let mut seen = BTreeMap::new();
        let status = fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
        for (name, value) in status.lines().filter_map(|line| line.split_once(':')) {
            if STATUS.contains(&name) {
                seen.insert(name.to_owned(), value.trim().to_owned());
            }
        }
        for file in FILES {
            let text = fs::read_to_string(Path::new("/proc/thread-self").join(file))
                .or_else(|_| fs::read_to_string(Path::new("/proc/self").join(file)));
            seen.insert(file.to_owned(), text.unwrap_or_default());
        }
        for entry in fs::read_dir("/proc/thread-self/ns").into_iter().flatten().flatten() {
            let name = format!("namespace {}", entry.file_name().to_string_lossy());
            seen.insert(name, link(&entry.path()));
        }
        seen.insert("working directory".to_owned(), link(Path::new("/proc/thread-self/cwd")));
        seen.insert("root directory".to_owned(), link(Path::new("/proc/thread-self/root")));
        seen.insert(
            "subreaper".to_owned(),
            format!("{:?}", rustix::process::child_subreaper().map(|pid| pid.is_some())),
        );
        seen.insert(
            "parent-death signal".to_owned(),
            format!("{:?}", rustix::process::parent_process_death_signal()),
        );
        seen.insert("dumpable".to_owned(), format!("{:?}", rustix::process::dumpable_behavior()));
        seen.insert("nice".to_owned(), format!("{:?}", rustix::process::getpriority_process(None)));
        Self(seen)
    }

    /// How many things were looked at.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// What is different later, in words.
    pub(crate) fn differences(&self, later: &Self) -> Vec<String> {
        let names: BTreeSet<_> = self.0.keys().chain(later.0.keys()).collect();
        names
            .into_iter()
            .filter(|name| self.0.get(*name) != later.0.get(*name))
            .map(|name| format!("{name}: was {:?}, is {:?}", self.0.get(name), later.0.get(name)))
            .collect()
    }
}

/// Every descriptor with what it refers to.
pub(crate) fn descriptors() -> BTreeMap<u32, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir("/proc/self/fd").into_iter().flatten().flatten() {
        let target = link(&entry.path());
        // The descriptor of this very listing is gone when it is looked at.
        if let Ok(number) = entry.file_name().to_string_lossy().parse()
            && !target.ends_with(&format!("/{}/fd", std::process::id()))
        {
            found.insert(number, target);
        }
    }
    found
}

/// The pids of all children, zombies included.
pub(crate) fn children() -> BTreeSet<u32> {
    let mut found = BTreeSet::new();
    for thread in fs::read_dir("/proc/self/task").into_iter().flatten().flatten() {
        let text = fs::read_to_string(thread.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    found
}

/// Directories in any cgroup hierarchy, at its top, whose names begin so.
pub(crate) fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
    };
    let top = below(Path::new("/sys/fs/cgroup"));
    let mut found: Vec<PathBuf> = top.iter().flat_map(|dir| below(dir)).collect();
    found.extend(top);
    let named = |dir: &PathBuf| {
        dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    };
    found.retain(named);
    found
}

/// The mounts that the caller sees whose line in mountinfo mentions `text`.
pub(crate) fn mounts(text: &str) -> Vec<String> {
    let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    mountinfo.lines().filter(|line| line.contains(text)).map(str::to_owned).collect()
}

fn link(path: &Path) -> String {
    fs::read_link(path).map(|target| target.to_string_lossy().into_owned()).unwrap_or_default()
}
