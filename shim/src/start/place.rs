//! Where a shim lives in the system: its cgroup, its OOM score, its core. Set on this process, and
//! inherited by the server.

use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};

use rustix::fs::statfs;
use rustix::process::{getpid, getppid};
use rustix::thread::{CoreSchedulingScope, create_core_scheduling_cookie};

use crate::failure::{Code, During, Failure, Result};

const CGROUPS: &str = "/sys/fs/cgroup";

/// CGROUP2_SUPER_MAGIC, of statfs(2).
const CGROUP2: u64 = 0x6367_7270;

/// OOM_SCORE_ADJ_MAX.
const MOST: i32 = 1000;

/// Enters the cgroup that the option `shim_cgroup` names, which has to exist: in the unified
/// hierarchy, or in all those of v1 that have it.
pub(super) fn join_cgroup(group: &str) -> Result<()> {
    if group.is_empty() {
        return Ok(());
    }
    let during = || format!("put the shim into the cgroup {group}");
    let inside = group.trim_start_matches('/');
    let plain = Path::new(inside).components().all(|part| matches!(part, Component::Normal(_)));
    if !plain {
        let message = "not a path from the root of the hierarchy";
        return Err(Failure::new(Code::InvalidArgument, message).during(&during()));
    }
    let mut found = false;
    for hierarchy in hierarchies().during(during())? {
        let file = hierarchy.join(inside).join("cgroup.procs");
        // cgroups(7): 0 is the writing process.
        match fs::OpenOptions::new().write(true).open(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            opened => {
                let mut opened = opened.during(format_args!("open {}", file.display()))?;
                std::io::Write::write_all(&mut opened, b"0")
                    .during(format_args!("write to {}", file.display()))
                    .during(during())?;
                found = true;
            }
        }
    }
    if found {
        return Ok(());
    }
    Err(Failure::new(Code::NotFound, "no hierarchy has it").during(&during()))
}

fn hierarchies() -> Result<Vec<PathBuf>> {
    let root = PathBuf::from(CGROUPS);
    let kind = u64::try_from(statfs(&root).during(CGROUPS)?.f_type).unwrap_or_default();
    if kind == CGROUP2 {
        return Ok(vec![root]);
    }
    let mut hierarchies = Vec::new();
    for entry in fs::read_dir(&root).during(CGROUPS)? {
        let entry = entry.during(CGROUPS)?;
        // A link has another hierarchy's name: `cpu` for `cpu,cpuacct`.
        if entry.file_type().during(CGROUPS)?.is_dir() {
            hierarchies.push(entry.path());
        }
    }
    Ok(hierarchies)
}

/// Makes the shim a likelier victim than its parent, containerd, and a less likely one than what
/// runs in containers.
pub(super) fn adjust_oom_score() -> Result<()> {
    // A parent outside the pid namespace has no number here.
    let Some(parent) = getppid() else { return Ok(()) };
    let path = format!("/proc/{}/oom_score_adj", parent.as_raw_nonzero());
    let text = match fs::read_to_string(&path) {
        // It has ended, and so has whoever would want an answer.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        text => text.during(format_args!("read {path}"))?,
    };
    let score: i32 = text
        .trim()
        .parse()
        .map_err(|_| Failure::new(Code::Internal, format!("{path} holds {text:?}")))?;
    let score = score.saturating_add(1).min(MOST);
    match fs::write("/proc/self/oom_score_adj", score.to_string()) {
        // proc(5): less than it was takes CAP_SYS_RESOURCE.
        Err(error) if error.kind() == ErrorKind::PermissionDenied => Ok(()),
        written => written.during(format_args!("set the OOM score to {score}")),
    }
}

/// Lets nothing run on the other threads of the shim's and its containers' core: `SCHED_CORE`, which
/// containerd sets if its configuration says so.
pub(super) fn share_core() -> Result<()> {
    create_core_scheduling_cookie(getpid(), CoreSchedulingScope::ProcessGroup)
        .during("turn on core scheduling (SCHED_CORE)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cgroup_that_is_none_is_named() {
        for (group, expected) in [
            (
                "../x",
                "put the shim into the cgroup ../x: not a path from the root of the hierarchy",
            ),
            ("/hoist-none/x", "put the shim into the cgroup /hoist-none/x: no hierarchy has it"),
        ] {
            assert_eq!(join_cgroup(group).unwrap_err().message, expected);
        }
        join_cgroup("").unwrap();
    }
}
