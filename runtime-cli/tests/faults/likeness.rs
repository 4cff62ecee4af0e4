//! What a container's first process is like, as the host's /proc shows it. A success that comes after
//! a failed call must be a whole one: no mount, limit, namespace or filter less.

use std::fs;
use std::os::unix::fs::MetadataExt;

/// One line for each thing that two containers of one configuration have in common.
pub(crate) fn of(pid: u32) -> Vec<String> {
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let mut lines = Vec::new();
    let kept = |line: &&str| KEPT.iter().any(|name| line.starts_with(name));
    lines.extend(read("status").lines().filter(kept).map(str::to_owned));
    for file in ["cgroup", "limits", "oom_score_adj", "timerslack_ns", "personality"] {
        lines.extend(read(file).lines().map(|line| format!("{file}: {line}")));
    }
    lines.extend(read("mountinfo").lines().map(mount));
    for name in ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] {
        let link = |pid: &str| fs::read_link(format!("/proc/{pid}/ns/{name}")).ok();
        let own = link(&pid.to_string()) != link("self");
        lines.push(format!("namespace {name}: {}", if own { "its own" } else { "the host's" }));
    }
    for directory in ["", "dev", "dev/pts", "dev/shm"] {
        let path = format!("/proc/{pid}/root/{directory}");
        for entry in fs::read_dir(path).into_iter().flatten().flatten() {
            let Ok(data) = entry.metadata() else { continue };
            let name = entry.file_name();
            let (mode, device) = (data.mode(), data.rdev());
            let owner = (data.uid(), data.gid());
            lines.push(format!("/{directory}/{name:?}: {mode:o} {device:x} {owner:?}"));
        }
    }
    lines.sort();
    lines
}

/// Of proc_pid_status(5).
const KEPT: [&str; 9] = [
    "Uid:",
    "Gid:",
    "Groups:",
    "NoNewPrivs:",
    "Seccomp:",
    "Seccomp_filters:",
    "Cap",
    "SigIgn:",
    "Umask:",
];

/// A line of proc_pid_mountinfo(5) without the numbers that each mount has for itself.
fn mount(line: &str) -> String {
    let fields = line.split(' ').enumerate();
    let kept = fields.filter(|(index, field)| *index > 2 && !field.contains(':'));
    format!("mount: {}", kept.map(|(_, field)| field).collect::<Vec<_>>().join(" "))
}

/// The lines that only one of both has.
pub(crate) fn difference(expected: &[String], found: &[String]) -> Vec<String> {
    let missing = expected.iter().filter(|line| !found.contains(line));
    let more = found.iter().filter(|line| !expected.contains(line));
    let missing = missing.map(|line| format!("not {line:?}"));
    missing.chain(more.map(|line| format!("but {line:?}"))).collect()
}
