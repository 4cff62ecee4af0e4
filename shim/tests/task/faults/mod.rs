//! DESIGN.md, law 4: crash-only. The shim is killed after each of the system calls that it makes for
//! a container's life, or one of them fails; so it goes to the processes that build the container,
//! and to the `delete` that cleans up after a shim. containerd is told the truth or the connection
//! ends; `delete` leaves nothing, and the same id can be used again.
//!
//! A plain run takes every so many points, other ones each time; `make faults` takes all.

mod life;
mod sweep;

#[path = "../../../../runtime-core/tests/harness/points.rs"]
mod points;
#[path = "../../../../runtime-core/tests/harness/trace.rs"]
mod trace;
#[path = "../../../../runtime-core/tests/harness/watchdog.rs"]
mod watchdog;

use crate::harness::{Containerd, ours, skip, unified};
use sweep::Sweep;

#[test]
fn shim_struck_during_a_life() {
    run("shim", Sweep::life);
}

#[test]
fn shim_delete_struck() {
    run("shim delete", Sweep::delete);
}

fn run(name: &str, sweep: fn(&mut Sweep)) {
    if Containerd::new(name).is_none() {
        return;
    }
    if !ours() {
        return skip(name, "containerd's shim leaves the work to other programs");
    }
    if !trace::CAN_FAIL {
        skip(&format!("{name} failed"), "only known how for x86_64");
    }
    let view = if unified() { " on cgroup v2" } else { "" };
    let mut all = Sweep::new(format!("{name}{view}"));
    sweep(&mut all);
    all.end();
}
