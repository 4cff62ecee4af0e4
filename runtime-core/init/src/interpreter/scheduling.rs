//! Undoing what the calling thread would hand down: the container starts as from a fresh process.

use super::{At, Outcome};
use crate::page::Op;
use crate::sys::{self, EACCES, EINVAL, ENOSYS, EPERM};

/// `sched_attr` of SCHED_OTHER with nice 0, sched_setattr(2).
const SCHED_OTHER: [u8; 48] = {
    let mut attributes = [0u8; 48];
    attributes[0] = 48;
    attributes
};

/// The kernel's own, in nanoseconds. 0 would mean the thread's default, which is what the caller had
/// when it made this process, PR_SET_TIMERSLACK(2const).
const TIMER_SLACK: u64 = 50_000;

/// SIGKILL and SIGSTOP, signal(7).
const HAVE_NO_DISPOSITION: [u32; 2] = [9, 19];

/// As far as it is allowed: some of it needs a privilege that a rootless caller lacks, and what then
/// stays is what the caller could have given to any child. The signal dispositions need none: SIGPIPE,
/// which every Rust program ignores, must not stay ignored.
pub(super) fn reset_inherited() -> Outcome {
    for signal in (1..=64).filter(|signal| !HAVE_NO_DISPOSITION.contains(signal)) {
        sys::signal_default(signal).at(Op::Signals)?;
    }
    if_allowed(sys::sched_setattr(&SCHED_OTHER)).at(Op::Schedule)?;
    if_allowed(sys::setpriority(0)).at(Op::Schedule)?;
    if_allowed(sys::sched_setaffinity(&[0xff; 1024])).at(Op::Affinity)?;
    if_allowed(sys::ioprio_set(0)).at(Op::IoPriority)?;
    if_allowed(sys::set_mempolicy(0, &[], 0)).at(Op::MemoryPolicy)?;
    if_allowed(sys::prctl(sys::PR_SET_THP_DISABLE, 0, 0).map(drop)).at(Op::Prctl)?;
    if_allowed(sys::prctl(sys::PR_SET_TIMERSLACK, TIMER_SLACK, 0).map(drop)).at(Op::Prctl)?;
    if_allowed(sys::prctl(sys::PR_SET_SECUREBITS, 0, 0).map(drop)).at(Op::Prctl)?;
    sys::prctl(sys::PR_SET_PDEATHSIG, 0, 0).at(Op::Prctl)?;
    sys::personality(0).at(Op::Personality)?;
    sys::umask(0);
    Ok(())
}

/// Takes it for done where the caller lacks the privilege, or the kernel does not have it.
fn if_allowed(result: sys::Result<()>) -> sys::Result<()> {
    match result {
        Err(EPERM | EACCES | ENOSYS | EINVAL) => Ok(()),
        other => other,
    }
}
