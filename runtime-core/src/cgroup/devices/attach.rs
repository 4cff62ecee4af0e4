//! A policy in force on a cgroup2: its program loaded and attached.

use std::os::fd::{AsFd, OwnedFd};

use rustix::io::Errno;

use super::Policy;
use super::program::program;
use crate::cgroup::dir::Dir;
use crate::error::{Error, ErrorKind, Result};
use crate::sys::bpf;

const POINTER: &str = "/linux/resources/devices";

/// Attaches the policy to a cgroup that was made just now, and has no program therefore.
pub(in crate::cgroup) fn attach(dir: &Dir, policy: &Policy) -> Result<()> {
    if policy.allows_everything() {
        return Ok(());
    }
    let program = bpf::load_device_program(&program(policy)?).map_err(|e| fail("load", dir, e))?;
    bpf::attach_device_program(dir.as_fd(), program.as_fd(), None)
        .map_err(|errno| fail("attach", dir, errno))
}

/// Puts the policy in the place of the programs that are attached.
pub(in crate::cgroup) fn replace(dir: &Dir, policy: &Policy) -> Result<()> {
    let old = programs(dir)?;
    if policy.allows_everything() {
        return exchange(dir, &old, &[]);
    }
    let program = bpf::load_device_program(&program(policy)?).map_err(|e| fail("load", dir, e))?;
    exchange(dir, &old, &[program])
}

/// The programs that are attached to this very cgroup.
pub(super) fn programs(dir: &Dir) -> Result<Vec<OwnedFd>> {
    bpf::device_programs(dir.as_fd()).map_err(|errno| fail("query", dir, errno))
}

/// Puts programs in the place of others.
///
/// At no time is the container without a filter: a single program is replaced in one step, and
/// several (systemd may have added its own) are taken off once the new ones are there.
pub(super) fn exchange(dir: &Dir, old: &[OwnedFd], new: &[OwnedFd]) -> Result<()> {
    if let ([old], [new]) = (old, new) {
        match bpf::attach_device_program(dir.as_fd(), new.as_fd(), Some(old.as_fd())) {
            Ok(()) => return Ok(()),
            // Before Linux 5.6 there is no BPF_F_REPLACE.
            Err(Errno::INVAL) => {}
            Err(errno) => return Err(fail("replace", dir, errno)),
        }
    }
    for program in new {
        bpf::attach_device_program(dir.as_fd(), program.as_fd(), None)
            .map_err(|errno| fail("attach", dir, errno))?;
    }
    for program in old {
        match bpf::detach_device_program(dir.as_fd(), program.as_fd()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => return Err(fail("detach", dir, errno)),
        }
    }
    Ok(())
}

fn fail(what: &str, dir: &Dir, errno: Errno) -> Error {
    let error = Error::system(format!("{what} the device filter"), errno)
        .with_kind(ErrorKind::Cgroup)
        .with_file(dir.path())
        .with_pointer(POINTER);
    match errno {
        Errno::PERM => error.with_hint(
            "bpf(2) needs CAP_BPF or CAP_SYS_ADMIN, and before Linux 5.11 enough RLIMIT_MEMLOCK",
        ),
        Errno::NOSYS | Errno::INVAL => {
            error.with_hint("the kernel needs CONFIG_CGROUP_BPF and CONFIG_BPF_SYSCALL")
        }
        _ => error,
    }
}
