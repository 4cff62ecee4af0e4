//! Undoing what the calling thread would hand down: the container starts as from a fresh process.

use super::{At, Outcome};
use crate::page::Op;
use crate::sys;

/// `sched_attr` of SCHED_OTHER with nice 0, sched_setattr(2).
const SCHED_OTHER: [u8; 48] = {
    let mut attributes = [0u8; 48];
    attributes[0] = 48;
    attributes
};

/// The kernel's own, in nanoseconds. 0 would mean the thread's default, which is what the caller had
/// when it made this process, PR_SET_TIMERSLACK(2const).
const TIMER_SLACK: u64 = 50_000;

/// Best-effort: some of it needs a privilege that a rootless caller lacks, and what then stays is
/// what the caller could have given to any child. The signal dispositions need none: SIGPIPE,
/// which every Rust program ignores, must not stay ignored.
pub(super) fn reset_inherited() -> Outcome {
    for signal in 1..=64 {
        sys::signal_default(signal);
    }
    let _ = sys::sched_setattr(&SCHED_OTHER);
    let _ = sys::setpriority(0);
    let _ = sys::sched_setaffinity(&[0xff; 1024]);
    let _ = sys::ioprio_set(0);
    let _ = sys::set_mempolicy(0, &[], 0);
    let _ = sys::prctl(sys::PR_SET_THP_DISABLE, 0, 0);
    let _ = sys::prctl(sys::PR_SET_TIMERSLACK, TIMER_SLACK, 0);
    let _ = sys::prctl(sys::PR_SET_SECUREBITS, 0, 0);
    sys::prctl(sys::PR_SET_PDEATHSIG, 0, 0).at(Op::Prctl)?;
    sys::personality(0).at(Op::Personality)?;
    sys::umask(0);
    Ok(())
}
