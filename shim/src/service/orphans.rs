//! Processes that come to the shim because their parents have ended: it is the reaper of what its
//! containers leave behind, prctl(2), `PR_SET_CHILD_SUBREAPER`.
//!
//! Where a container has a pid namespace of its own, its first process gets them. What hooks, loggers and
//! helpers for mounts leave comes here all the same.

use std::collections::BTreeSet;
use std::fs;

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

use super::Service;
use super::task::Phase;

impl Service {
    /// Some children have ended. The containers' own are waited for by their pidfds.
    pub(super) fn reap_orphans(&mut self) {
        let mut infos = [0u8; 1024];
        // One signal stands for many: what it says of the first doesn't matter.
        while rustix::io::read(&self.child_ends, &mut infos[..]).is_ok() {}
        // A job may be starting a process that is not known here yet.
        if !self.workers.is_idle() {
            self.orphans_are_left = true;
            return;
        }
        self.orphans_are_left = false;
        let mut known = BTreeSet::new();
        for container in self.containers.values() {
            let processes = container.execs.values().chain([&container.init]);
            for process in processes {
                if !matches!(process.phase, Phase::Stopped(_)) {
                    known.insert(process.pid);
                }
                known.extend(process.streams.iter().flat_map(|streams| streams.loggers()));
            }
        }
        // Orphans come to the first thread; proc_pid_task(5), `children`.
        let path = format!("/proc/self/task/{}/children", std::process::id());
        let children = fs::read_to_string(path).unwrap_or_default();
        for pid in children.split_whitespace().filter_map(|pid| pid.parse::<i32>().ok()) {
            if known.contains(&pid.unsigned_abs()) {
                continue;
            }
            if let Some(pid) = Pid::from_raw(pid) {
                let _ = waitid(WaitId::Pid(pid), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
            }
        }
    }
}
