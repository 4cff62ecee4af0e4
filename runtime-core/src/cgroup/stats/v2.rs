//! cgroup2's files: Documentation/admin-guide/cgroup-v2.rst of the kernel.

use std::collections::BTreeMap;
use std::time::Duration;

use super::files::Files;
use super::parse;
use super::types::{
    BlockIoStats, CpuStats, HugetlbStats, MemoryEvents, MemoryStats, MemoryUsage, PressureStats,
    RdmaStats, Throttling,
};
use crate::error::Result;

/// `cpu.stat` has the usage in any case, and the rest with the controller.
pub(super) fn cpu(files: &Files<'_>) -> Result<(Option<CpuStats>, Option<Throttling>)> {
    let mut usage = CpuStats::default();
    let mut throttling = Throttling::default();
    let mut limited = false;
    let there = files.pairs("cpu.stat", |key, value| match key {
        "usage_usec" => usage.total = Duration::from_micros(value),
        "user_usec" => usage.user = Duration::from_micros(value),
        "system_usec" => usage.kernel = Duration::from_micros(value),
        "nr_periods" => (throttling.periods, limited) = (value, true),
        "nr_throttled" => throttling.throttled_periods = value,
        "throttled_usec" => throttling.throttled_time = Duration::from_micros(value),
        "nr_bursts" => throttling.burst_periods = Some(value),
        "burst_usec" => throttling.burst_time = Some(Duration::from_micros(value)),
        _ => {}
    })?;
    Ok((there.then_some(usage), (there && limited).then_some(throttling)))
}

pub(super) fn memory(files: &Files<'_>) -> Result<Option<MemoryStats>> {
    let Some(usage) = memory_usage(files, "memory")? else { return Ok(None) };
    let swap = memory_usage(files, "memory.swap")?;
    let mut found = MemoryStats {
        usage,
        swap,
        memory_and_swap: Some(sum(usage, swap)),
        ..MemoryStats::default()
    };
    files.pairs("memory.stat", |key, value| {
        found.raw.insert(key.to_owned(), value);
    })?;
    found.cache = found.raw.get("file").copied().unwrap_or_default();
    let mut events = MemoryEvents::default();
    let there = files.pairs("memory.events", |key, value| match key {
        "low" => events.low = value,
        "high" => events.high = value,
        "max" => events.max = value,
        "oom" => events.oom = value,
        "oom_kill" => events.oom_kill = value,
        "oom_group_kill" => events.oom_group_kill = value,
        _ => {}
    })?;
    found.events = there.then_some(events);
    Ok(Some(found))
}

fn memory_usage(files: &Files<'_>, kind: &str) -> Result<Option<MemoryUsage>> {
    let Some(usage) = files.number(&format!("{kind}.current"))? else { return Ok(None) };
    Ok(Some(MemoryUsage {
        usage,
        limit: files.limit(&format!("{kind}.max"))?.flatten(),
        max_usage: files.number(&format!("{kind}.peak"))?,
        failcnt: None,
    }))
}

/// v1's way of counting. A kernel that counts no swap has none to add.
fn sum(memory: MemoryUsage, swap: Option<MemoryUsage>) -> MemoryUsage {
    let none = MemoryUsage { limit: Some(0), ..MemoryUsage::default() };
    let swap = swap.unwrap_or(none);
    MemoryUsage {
        usage: memory.usage.saturating_add(swap.usage),
        limit: memory.limit.zip(swap.limit).map(|(memory, swap)| memory.saturating_add(swap)),
        max_usage: None,
        failcnt: None,
    }
}

pub(super) fn block_io(files: &Files<'_>) -> Result<Option<BlockIoStats>> {
    let Some(text) = files.text("io.stat")? else { return Ok(None) };
    let (service_bytes, serviced) = parse::io_stat(&text);
    Ok(Some(BlockIoStats { service_bytes, serviced, ..BlockIoStats::default() }))
}

pub(super) fn hugetlb(files: &Files<'_>) -> Result<Option<BTreeMap<String, HugetlbStats>>> {
    let mut found = BTreeMap::new();
    for size in files.huge_page_sizes(".current")? {
        for kind in [".rsvd", ""] {
            let file = |name: &str| format!("hugetlb.{size}{kind}.{name}");
            let Some(usage) = files.number(&file("current"))? else { continue };
            let limit = files.limit(&file("max"))?.flatten();
            let mut failcnt = 0;
            files.pairs(&format!("hugetlb.{size}.events"), |key, value| {
                if key == "max" {
                    failcnt = value;
                }
            })?;
            found.insert(size, HugetlbStats { usage, limit, max_usage: None, failcnt });
            break;
        }
    }
    Ok((!found.is_empty()).then_some(found))
}

/// The same files on v1.
pub(super) fn rdma(files: &Files<'_>) -> Result<Option<Vec<RdmaStats>>> {
    let (Some(current), Some(max)) = (files.text("rdma.current")?, files.text("rdma.max")?) else {
        return Ok(None);
    };
    let limits = parse::rdma(&max);
    let devices = parse::rdma(&current).into_iter().map(|(device, [handles, objects])| {
        let [handles_limit, objects_limit] = limits.get(device).copied().unwrap_or_default();
        RdmaStats {
            device: device.to_owned(),
            handles: handles.unwrap_or_default(),
            handles_limit,
            objects: objects.unwrap_or_default(),
            objects_limit,
        }
    });
    Ok(Some(devices.collect()))
}

pub(super) fn pressure(files: &Files<'_>) -> Result<PressureStats> {
    Ok(PressureStats {
        cpu: files.pressure("cpu.pressure")?,
        memory: files.pressure("memory.pressure")?,
        io: files.pressure("io.pressure")?,
    })
}
