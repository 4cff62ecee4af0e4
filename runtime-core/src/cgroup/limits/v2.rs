//! Limits on cgroup2: Documentation/admin-guide/cgroup-v2.rst. The runtime-spec's fields are
//! those of v1, so some are converted.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};

use super::{Absent, Write, block_io, given, invalid, unsupported};
use crate::error::{Error, Result};

/// Files that act on processes instead of setting something: writing "0" to cgroup.procs would
/// move hoist itself.
const ACTIONS: [&str; 3] = ["cgroup.procs", "cgroup.threads", "cgroup.kill"];

pub(super) fn translate(resources: &LinuxResources) -> Result<Vec<Write>> {
    super::refuse_obsolete(resources)?;
    if let Some(network) = resources.network() {
        let priorities = network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        if priorities || given(network.class_id()).is_some() {
            return Err(unsupported("network", "cgroup v2 has no network controllers"));
        }
    }
    let mut writes = Vec::new();
    super::pids(resources, &mut writes);
    if let Some(value) = resources.block_io() {
        block_io::unified(value, &mut writes)?;
    }
    if let Some(value) = resources.cpu() {
        cpu(resources, value, &mut writes)?;
    }
    super::cpuset(resources, &mut writes);
    super::hugetlb(resources, "max", &mut writes)?;
    super::rdma(resources, &mut writes)?;
    // Late, for a process that its limit ends is not brought back if another value is refused.
    if let Some(value) = resources.memory() {
        memory(value, &mut writes)?;
    }
    unified(resources, &mut writes)?;
    Ok(writes)
}

/// -1 removes a limit.
fn limit(value: i64) -> String {
    if value == -1 { "max".to_owned() } else { value.to_string() }
}

fn memory(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<()> {
    if memory.swappiness().is_some() {
        return Err(unsupported("memory/swappiness", "cgroup v2 has no swappiness of a cgroup"));
    }
    if memory.disable_oom_killer() == Some(true) {
        let message = "the OOM killer can't be disabled on cgroup v2";
        return Err(unsupported("memory/disableOOMKiller", message));
    }
    if let Some(swap) = swap_alone(memory.limit().unwrap_or(0), memory.swap().unwrap_or(0))? {
        // On a kernel without swap there is nothing to limit, unless some of it was wanted.
        let absent = if swap > 0 { Absent::Error } else { Absent::Fine };
        let write = Write::new("memory", "memory.swap.max", limit(swap), "memory/swap");
        writes.push(write.or(absent));
    }
    if let Some(value) = given(memory.limit()) {
        writes.push(Write::new("memory", "memory.max", limit(value), "memory/limit"));
    }
    if let Some(value) = given(memory.reservation()) {
        writes.push(Write::new("memory", "memory.low", limit(value), "memory/reservation"));
    }
    Ok(())
}

/// The limit of swap alone: the runtime-spec's is that of memory and swap together.
pub(super) fn swap_alone(memory: i64, swap: i64) -> Result<Option<i64>> {
    match (memory, swap) {
        // Memory without limit and no word about swap: on v1 this frees both.
        (-1, 0) => Ok(Some(-1)),
        (_, 0) => Ok(None),
        (_, -1) => Ok(Some(-1)),
        // Nothing to subtract.
        (-1, swap) => Ok(Some(swap)),
        // runc's wording, also below.
        (0, _) => Err(invalid("memory/swap", "unable to set swap limit without memory limit")),
        (memory, _) if memory < 0 => Err(invalid("memory/limit", "not a memory limit")),
        (memory, swap) if swap < memory => {
            Err(invalid("memory/swap", "memory+swap limit should be >= memory limit"))
        }
        (memory, swap) => Ok(Some(swap - memory)),
    }
}

/// v1's 2 … 262144 shares, 1024 by default, as v2's weight of 1 … 10000, 100 by default: the
/// quadratic exponent through these three points that runc, crun and systemd users agreed on
/// (runc 1.3.2, crun 1.23). The linear formula before it gave 39 for 1024 shares.
pub(super) fn weight(shares: u64) -> u64 {
    match shares {
        0..=2 => 1,
        262_144.. => 10_000,
        #[allow(clippy::cast_precision_loss)] // below 2^18
        shares => {
            let exponent = (shares as f64).log2();
            let exponent = (exponent * exponent + 125.0 * exponent) / 612.0 - 7.0 / 34.0;
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // 1 … 10000
            let weight = 10_f64.powf(exponent).ceil() as u64;
            weight
        }
    }
}

fn cpu(resources: &LinuxResources, cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<()> {
    for (value, pointer) in [
        (given(cpu.realtime_period()).is_some(), "cpu/realtimePeriod"),
        (given(cpu.realtime_runtime()).is_some(), "cpu/realtimeRuntime"),
    ] {
        if value {
            return Err(unsupported(pointer, "cgroup v2 has no realtime limits"));
        }
    }
    if let Some(shares) = super::shares(resources, cpu) {
        writes.push(Write::new("cpu", "cpu.weight", weight(shares), "cpu/shares"));
    }
    let quota = given(cpu.quota()).map(|quota| limit(quota.max(-1)));
    match (quota, given(cpu.period())) {
        // The period stays as it is: 100 ms to begin with.
        (Some(quota), None) => writes.push(Write::new("cpu", "cpu.max", quota, "cpu/quota")),
        (Some(quota), Some(period)) => {
            let value = format!("{quota} {period}");
            writes.push(Write::new("cpu", "cpu.max", value, "cpu/quota"));
        }
        (None, Some(period)) => {
            let value = format!("max {period}");
            writes.push(Write::new("cpu", "cpu.max", value, "cpu/period"));
        }
        (None, None) => {}
    }
    if let Some(burst) = cpu.burst() {
        writes.push(Write::new("cpu", "cpu.max.burst", burst, "cpu/burst"));
    }
    if let Some(idle) = super::idle(resources, cpu) {
        writes.push(Write::new("cpu", "cpu.idle", idle, "cpu/idle"));
    }
    Ok(())
}

/// `unified`: names of files and what to write there, last, so that it overrides the rest.
fn unified(resources: &LinuxResources, writes: &mut Vec<Write>) -> Result<()> {
    let mut entries: Vec<_> = resources.unified().iter().flatten().collect();
    entries.sort(); // the map has no order of its own
    for (file, value) in entries {
        // RFC 6901's escapes.
        let pointer = format!("unified/{}", file.replace('~', "~0").replace('/', "~1"));
        let refuse = |message: &'static str| Err::<(), Error>(invalid(&pointer, message));
        if file.contains('/') || file.contains('\0') {
            refuse("it must be a file name, with no slashes")?;
        }
        if ACTIONS.contains(&file.as_str()) {
            refuse("this file acts on processes and sets nothing")?;
        }
        let Some((controller, _)) = file.split_once('.').filter(|(name, _)| !name.is_empty())
        else {
            return refuse("it must be of the form CONTROLLER.PARAMETER");
        };
        writes.push(Write::new(known_controller(controller), file.clone(), value, pointer));
    }
    Ok(())
}

/// The controller's name as a constant; that of one which isn't known is not told.
fn known_controller(name: &str) -> &'static str {
    const KNOWN: [&str; 10] =
        ["cgroup", "cpu", "cpuset", "memory", "io", "pids", "hugetlb", "rdma", "misc", "dmem"];
    KNOWN.into_iter().find(|known| *known == name).unwrap_or("asked for")
}
