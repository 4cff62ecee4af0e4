//! The processes below this one.

use std::fs;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, wait};

use super::cgroups::Left;

/// How long processes may take to die.
const LIMIT: Duration = Duration::from_secs(10);
/// The kernel tells nobody that a grandchild is gone, and a process in a frozen cgroup dies late.
const PAUSE: Duration = Duration::from_millis(10);

/// Kills everything below this process, thawed first where that is needed, and notes in which
/// cgroups it was. Returns what had to be killed.
pub(super) fn end_all(cgroups: &mut Left) -> Vec<String> {
    let mut killed = Vec::new();
    let deadline = Instant::now() + LIMIT;
    loop {
        while matches!(wait(WaitOptions::NOHANG), Ok(Some(_))) {}
        let left = descendants(std::process::id());
        if left.is_empty() {
            break;
        }
        for pid in left {
            cgroups.note(pid);
            let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            let line = format!("process {pid} ({})", name.trim());
            // A zombie whose parent will never wait is no leak of the runtime's.
            if is_zombie(pid) {
                continue;
            }
            if !killed.contains(&line) {
                killed.push(line);
            }
            if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        cgroups.thaw();
        if Instant::now() > deadline {
            killed.push("processes that can't be killed".to_owned());
            break;
        }
        std::thread::sleep(PAUSE);
    }
    killed
}

/// Children, their children, and so on (proc_pid_children(5)).
fn descendants(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    let mut next = vec![of];
    while let Some(pid) = next.pop() {
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            let children: Vec<u32> =
                children.split_whitespace().filter_map(|child| child.parse().ok()).collect();
            found.extend(&children);
            next.extend(children);
        }
    }
    found
}

fn is_zombie(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // pid (comm) state: and comm may hold anything.
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('Z'))
}
