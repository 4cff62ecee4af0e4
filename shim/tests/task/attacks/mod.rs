//! Advisories of containerd and of its shims, and who attacks a shim: each played against this one.
//! docs/security.md is made of what stands above these tests.

mod access;
mod bounds;
mod identity;

use std::fs;

use rustix::fs::{Gid, Uid};
use rustix::process::Pid;
use rustix::thread::{set_thread_groups, set_thread_res_gid, set_thread_res_uid};

use crate::harness::later;

/// Runs `work` as an unprivileged user of the host: to the kernel credentials are a thread's own.
fn as_nobody<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let (uid, gid) = (Uid::from_raw(65534), Gid::from_raw(65534));
    let unprivileged = later(move || {
        set_thread_groups(&[]).expect("leave all groups");
        set_thread_res_gid(gid, gid, gid).expect("change the group");
        set_thread_res_uid(uid, uid, uid).expect("change the user");
        work()
    });
    unprivileged.get()
}

/// The most memory that a shim has had, in kB.
fn peak(shim: Pid) -> u64 {
    let path = format!("/proc/{}/status", shim.as_raw_nonzero());
    let status = fs::read_to_string(path).expect("the shim's status");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
    peak.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// What a shim's peak has grown by. The kernel counts pages roughly, so that it may also have become less.
fn grown(shim: Pid, before: u64) -> u64 {
    peak(shim).saturating_sub(before)
}

/// How many descriptors a shim has, or threads.
fn count(shim: Pid, of: &str) -> usize {
    fs::read_dir(format!("/proc/{}/{of}", shim.as_raw_nonzero())).expect("the shim's").count()
}
