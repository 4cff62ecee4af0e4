//! Limits on cgroup v1: Documentation/admin-guide/cgroup-v1/ and, for cpu,
//! Documentation/scheduler/sched-bwc.rst.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxNetwork, LinuxResources};

use super::{Absent, Write, block_io, given, invalid, unsupported};
use crate::error::Result;

/// What the kernel takes as cpu.shares; it would quietly move others into this range.
const SHARES: std::ops::RangeInclusive<u64> = 2..=262_144;

pub(super) fn translate(resources: &LinuxResources) -> Result<Vec<Write>> {
    super::refuse_obsolete(resources)?;
    if resources.unified().as_ref().is_some_and(|unified| !unified.is_empty()) {
        // runc's wording, which its tests look for.
        let message = "invalid configuration: cannot use unified on cgroup v1";
        return Err(unsupported("unified", message));
    }
    let mut writes = Vec::new();
    super::cpuset(resources, &mut writes);
    if let Some(value) = resources.cpu() {
        cpu(resources, value, &mut writes)?;
    }
    super::pids(resources, &mut writes);
    if let Some(value) = resources.block_io() {
        block_io::legacy(value, &mut writes)?;
    }
    super::hugetlb(resources, "limit_in_bytes", &mut writes)?;
    if let Some(value) = resources.network() {
        network(value, &mut writes);
    }
    super::rdma(resources, &mut writes)?;
    // Late, for to make room under a new limit takes time, and memory that is written to disk.
    if let Some(value) = resources.memory() {
        memory(value, &mut writes)?;
    }
    Ok(writes)
}

fn memory(memory: &LinuxMemory, writes: &mut Vec<Write>) -> Result<()> {
    let (limit, swap) = (given(memory.limit()), given(memory.swap()));
    let mut set = |file, value: i64, pointer, absent| {
        writes.push(Write::new("memory", file, value, pointer).or(absent));
    };
    if let Some(limit) = limit {
        set("memory.limit_in_bytes", limit, "memory/limit", Absent::Error);
    }
    if let Some(swap) = swap {
        set("memory.memsw.limit_in_bytes", swap, "memory/swap", Absent::Error);
    } else if limit == Some(-1) {
        // Memory can't be unlimited while the sum of memory and swap is limited. Without swap
        // accounting there is no such sum.
        set("memory.memsw.limit_in_bytes", -1, "memory/limit", Absent::Fine);
    }
    if let Some(reservation) = given(memory.reservation()) {
        set("memory.soft_limit_in_bytes", reservation, "memory/reservation", Absent::Error);
    }
    if memory.disable_oom_killer() == Some(true) {
        set("memory.oom_control", 1, "memory/disableOOMKiller", Absent::Error);
    }
    match memory.swappiness() {
        Some(swappiness @ 0..=100) => {
            let write = Write::new("memory", "memory.swappiness", swappiness, "memory/swappiness");
            writes.push(write);
        }
        Some(_) => return Err(invalid("memory/swappiness", "swappiness has to be from 0 to 100")),
        None => {}
    }
    Ok(())
}

fn cpu(resources: &LinuxResources, cpu: &LinuxCpu, writes: &mut Vec<Write>) -> Result<()> {
    let mut set = |file, value: &dyn ToString, pointer: &str| {
        writes.push(Write::new("cpu", file, value.to_string(), pointer));
    };
    if let Some(shares) = super::shares(resources, cpu) {
        // runc's wording.
        if shares < *SHARES.start() {
            return Err(invalid("cpu/shares", "the minimum allowed cpu-shares is 2"));
        }
        if shares > *SHARES.end() {
            return Err(invalid("cpu/shares", "the maximum allowed cpu-shares is 262144"));
        }
        set("cpu.shares", &shares, "cpu/shares");
    }
    if let Some(period) = given(cpu.period()) {
        set("cpu.cfs_period_us", &period, "cpu/period");
    }
    if let Some(quota) = given(cpu.quota()) {
        set("cpu.cfs_quota_us", &quota, "cpu/quota");
    }
    if let Some(burst) = cpu.burst() {
        set("cpu.cfs_burst_us", &burst, "cpu/burst");
    }
    if let Some(idle) = super::idle(resources, cpu) {
        set("cpu.idle", &idle, "cpu/idle");
    }
    if let Some(period) = given(cpu.realtime_period()) {
        set("cpu.rt_period_us", &period, "cpu/realtimePeriod");
    }
    if let Some(runtime) = given(cpu.realtime_runtime()) {
        set("cpu.rt_runtime_us", &runtime, "cpu/realtimeRuntime");
    }
    Ok(())
}

fn network(network: &LinuxNetwork, writes: &mut Vec<Write>) {
    if let Some(class) = given(network.class_id()) {
        writes.push(Write::new("net_cls", "net_cls.classid", class, "network/classID"));
    }
    for (index, priority) in network.priorities().iter().flatten().enumerate() {
        let value = format!("{} {}", priority.name(), priority.priority());
        let pointer = format!("network/priorities/{index}");
        writes.push(Write::new("net_prio", "net_prio.ifpriomap", value, pointer));
    }
}
