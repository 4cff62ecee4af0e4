//! v1's files: Documentation/admin-guide/cgroup-v1/ of the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use super::files::{Files, nanoseconds};
use super::parse;
use super::types::{
    BlockIoEntry, BlockIoStats, CpuStats, CpusetStats, HugetlbStats, MemoryStats, MemoryUsage,
    PidsStats, Throttling,
};
use crate::error::Result;

/// Controller cpuacct.
pub(super) fn cpu(files: &Files<'_>) -> Result<Option<CpuStats>> {
    let Some(total) = files.number("cpuacct.usage")? else { return Ok(None) };
    let mut found = CpuStats { total: Duration::from_nanos(total), ..CpuStats::default() };
    // In ticks of user space's clock, times(3).
    let ticks = rustix::param::clock_ticks_per_second().max(1);
    let time = |count: u64| Duration::from_nanos(count.saturating_mul(1_000_000_000 / ticks));
    files.pairs("cpuacct.stat", |key, value| match key {
        "user" => found.user = time(value),
        "system" => found.kernel = time(value),
        _ => {}
    })?;
    if let Some(text) = files.text("cpuacct.usage_percpu")? {
        found.per_cpu = nanoseconds(parse::numbers(&text));
    }
    if let Some(text) = files.text("cpuacct.usage_all")? {
        let (user, kernel) = parse::usage_all(&text);
        found.per_cpu_user = nanoseconds(user);
        found.per_cpu_kernel = nanoseconds(kernel);
    }
    Ok(Some(found))
}

/// Controller cpu.
pub(super) fn throttling(files: &Files<'_>) -> Result<Option<Throttling>> {
    let mut found = Throttling::default();
    let there = files.pairs("cpu.stat", |key, value| match key {
        "nr_periods" => found.periods = value,
        "nr_throttled" => found.throttled_periods = value,
        "throttled_time" => found.throttled_time = Duration::from_nanos(value),
        "nr_bursts" => found.burst_periods = Some(value),
        "burst_time" => found.burst_time = Some(Duration::from_nanos(value)),
        _ => {}
    })?;
    Ok(there.then_some(found))
}

pub(super) fn cpuset(files: &Files<'_>) -> Result<Option<CpusetStats>> {
    let Some(cpus) = files.text("cpuset.cpus")? else { return Ok(None) };
    let mems = files.text("cpuset.mems")?.unwrap_or_default();
    let flag = |file| files.number(file).map(Option::unwrap_or_default);
    let level = |text: &str| text.trim_ascii().parse().ok();
    Ok(Some(CpusetStats {
        cpus: parse::list(&cpus),
        mems: parse::list(&mems),
        cpu_exclusive: flag("cpuset.cpu_exclusive")?,
        mem_exclusive: flag("cpuset.mem_exclusive")?,
        mem_hardwall: flag("cpuset.mem_hardwall")?,
        memory_migrate: flag("cpuset.memory_migrate")?,
        memory_pressure: flag("cpuset.memory_pressure")?,
        memory_spread_page: flag("cpuset.memory_spread_page")?,
        memory_spread_slab: flag("cpuset.memory_spread_slab")?,
        sched_load_balance: flag("cpuset.sched_load_balance")?,
        sched_relax_domain_level: files
            .parsed("cpuset.sched_relax_domain_level", level)?
            .unwrap_or_default(),
    }))
}

pub(super) fn memory(files: &Files<'_>) -> Result<Option<MemoryStats>> {
    let Some(usage) = memory_usage(files, "memory")? else { return Ok(None) };
    let mut found = MemoryStats { usage, ..MemoryStats::default() };
    files.pairs("memory.stat", |key, value| {
        found.raw.insert(key.to_owned(), value);
    })?;
    found.cache = found.raw.get("cache").copied().unwrap_or_default();
    found.memory_and_swap = memory_usage(files, "memory.memsw")?;
    found.kernel = memory_usage(files, "memory.kmem")?;
    found.kernel_tcp = memory_usage(files, "memory.kmem.tcp")?;
    Ok(Some(found))
}

fn memory_usage(files: &Files<'_>, kind: &str) -> Result<Option<MemoryUsage>> {
    let Some(usage) = files.number(&format!("{kind}.usage_in_bytes"))? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        limit: files.number(&format!("{kind}.limit_in_bytes"))?,
        max_usage: files.number(&format!("{kind}.max_usage_in_bytes"))?,
        failcnt: files.number(&format!("{kind}.failcnt"))?,
    }))
}

/// The same files on v2.
pub(super) fn pids(files: &Files<'_>) -> Result<Option<PidsStats>> {
    let Some(current) = files.number("pids.current")? else { return Ok(None) };
    Ok(Some(PidsStats { current, limit: files.limit("pids.max")?.flatten() }))
}

/// Names of files for the same figures, by who counts: bfq (its first two files without debugging
/// in the kernel), cfq until Linux 5.0, the throttling layer with and without what is below.
const BLOCK_IO: [(&str, &str); 4] = [
    ("blkio.bfq.", "_recursive"),
    ("blkio.", "_recursive"),
    ("blkio.throttle.", "_recursive"),
    ("blkio.throttle.", ""),
];

pub(super) fn block_io(files: &Files<'_>) -> Result<Option<BlockIoStats>> {
    let mut there = false;
    for (prefix, suffix) in BLOCK_IO {
        let mut list = |name: &str| -> Result<Vec<BlockIoEntry>> {
            let text = files.text(&format!("{prefix}{name}{suffix}"))?;
            there |= text.is_some();
            Ok(text.as_deref().map(parse::block_io).unwrap_or_default())
        };
        let serviced = list("io_serviced")?;
        if serviced.is_empty() {
            continue;
        }
        return Ok(Some(BlockIoStats {
            serviced,
            service_bytes: list("io_service_bytes")?,
            queued: list("io_queued")?,
            service_time: list("io_service_time")?,
            wait_time: list("io_wait_time")?,
            merged: list("io_merged")?,
            time: list("time")?,
            sectors: list("sectors")?,
        }));
    }
    Ok(there.then(BlockIoStats::default))
}

pub(super) fn hugetlb(files: &Files<'_>) -> Result<Option<BTreeMap<String, HugetlbStats>>> {
    let mut found = BTreeMap::new();
    for size in files.huge_page_sizes(".usage_in_bytes")? {
        for kind in [".rsvd", ""] {
            let file = |name: &str| format!("hugetlb.{size}{kind}.{name}");
            let Some(usage) = files.number(&file("usage_in_bytes"))? else { continue };
            let limit = files.number(&file("limit_in_bytes"))?;
            let max_usage = files.number(&file("max_usage_in_bytes"))?;
            let failcnt = files.number(&file("failcnt"))?.unwrap_or_default();
            found.insert(size, HugetlbStats { usage, limit, max_usage, failcnt });
            break;
        }
    }
    Ok((!found.is_empty()).then_some(found))
}
