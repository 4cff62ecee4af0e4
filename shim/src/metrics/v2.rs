//! `io.containerd.cgroups.v2.Metrics`: figures as cgroup2's files have them, times in microseconds,
//! and "no limit" as the largest number.

use std::collections::BTreeMap;
use std::time::Duration;

use hoist::{BlockIoStats, MemoryStats, NetworkStats, Pressure, RdmaStats, Stall, Stats};

use crate::proto::metrics::v2::{
    CPUStat, HugeTlbStat, IOEntry, IOStat, MemoryEvents, MemoryStat, Metrics, NetworkStat, PSIData,
    PSIStats, PidsStat, RdmaEntry, RdmaStat,
};

pub(super) fn metrics(stats: &Stats) -> Metrics {
    let pids = stats.pids.map(|pids| PidsStat { current: pids.current, limit: limit(pids.limit) });
    let memory = stats.memory.as_ref();
    Metrics {
        pids: Some(pids.unwrap_or_default()),
        cpu: Some(cpu(stats)),
        // CRI reads it unasked.
        memory: Some(MemoryStat {
            psi: stats.pressure.memory.map(pressure),
            ..memory.map(self::memory).unwrap_or_default()
        }),
        rdma: Some(stats.rdma.as_deref().map(rdma).unwrap_or_default()),
        io: Some(IOStat {
            usage: stats.block_io.as_ref().map(io).unwrap_or_default(),
            psi: stats.pressure.io.map(pressure),
        }),
        hugetlb: stats.hugetlb.iter().flatten().map(hugetlb).collect(),
        memory_events: memory.and_then(|memory| memory.events).map(events),
        network: stats.network.iter().flatten().map(network).collect(),
    }
}

/// What the kernel shows as `max`.
fn limit(limit: Option<u64>) -> u64 {
    limit.unwrap_or(u64::MAX)
}

fn microseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn cpu(stats: &Stats) -> CPUStat {
    let usage = stats.cpu.clone().unwrap_or_default();
    let throttling = stats.throttling.unwrap_or_default();
    CPUStat {
        usage_usec: microseconds(usage.total),
        user_usec: microseconds(usage.user),
        system_usec: microseconds(usage.kernel),
        nr_periods: throttling.periods,
        nr_throttled: throttling.throttled_periods,
        throttled_usec: microseconds(throttling.throttled_time),
        psi: stats.pressure.cpu.map(pressure),
        nr_bursts: throttling.burst_periods.unwrap_or_default(),
        burst_usec: microseconds(throttling.burst_time.unwrap_or_default()),
    }
}

fn memory(memory: &MemoryStats) -> MemoryStat {
    let raw = |key| memory.raw.get(key).copied().unwrap_or_default();
    // A kernel that counts no swap has neither usage nor limit of it.
    let swap = memory.swap.as_ref();
    MemoryStat {
        anon: raw("anon"),
        file: raw("file"),
        kernel_stack: raw("kernel_stack"),
        slab: raw("slab"),
        sock: raw("sock"),
        shmem: raw("shmem"),
        file_mapped: raw("file_mapped"),
        file_dirty: raw("file_dirty"),
        file_writeback: raw("file_writeback"),
        anon_thp: raw("anon_thp"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        slab_reclaimable: raw("slab_reclaimable"),
        slab_unreclaimable: raw("slab_unreclaimable"),
        pgfault: raw("pgfault"),
        pgmajfault: raw("pgmajfault"),
        workingset_refault: raw("workingset_refault"),
        workingset_activate: raw("workingset_activate"),
        workingset_nodereclaim: raw("workingset_nodereclaim"),
        pgrefill: raw("pgrefill"),
        pgscan: raw("pgscan"),
        pgsteal: raw("pgsteal"),
        pgactivate: raw("pgactivate"),
        pgdeactivate: raw("pgdeactivate"),
        pglazyfree: raw("pglazyfree"),
        pglazyfreed: raw("pglazyfreed"),
        thp_fault_alloc: raw("thp_fault_alloc"),
        thp_collapse_alloc: raw("thp_collapse_alloc"),
        usage: memory.usage.usage,
        usage_limit: limit(memory.usage.limit),
        swap_usage: swap.map(|swap| swap.usage).unwrap_or_default(),
        swap_limit: swap.map(|swap| limit(swap.limit)).unwrap_or_default(),
        max_usage: memory.usage.max_usage.unwrap_or_default(),
        swap_max_usage: swap.and_then(|swap| swap.max_usage).unwrap_or_default(),
        psi: None,
        workingset_refault_anon: raw("workingset_refault_anon"),
        workingset_refault_file: raw("workingset_refault_file"),
        workingset_activate_anon: raw("workingset_activate_anon"),
        workingset_activate_file: raw("workingset_activate_file"),
    }
}

fn events(events: hoist::MemoryEvents) -> MemoryEvents {
    MemoryEvents {
        low: events.low,
        high: events.high,
        max: events.max,
        oom: events.oom,
        oom_kill: events.oom_kill,
        oom_group_kill: events.oom_group_kill,
    }
}

fn pressure(pressure: Pressure) -> PSIStats {
    let stall = |stall: Stall| PSIData {
        avg10: stall.avg10,
        avg60: stall.avg60,
        avg300: stall.avg300,
        total: microseconds(stall.total),
    };
    PSIStats { some: Some(stall(pressure.some)), full: Some(stall(pressure.full)) }
}

/// An entry a device, as in `io.stat`.
fn io(block_io: &BlockIoStats) -> Vec<IOEntry> {
    let mut devices = BTreeMap::new();
    for (entries, bytes) in [(&block_io.service_bytes, true), (&block_io.serviced, false)] {
        for entry in entries {
            let found = devices.entry((entry.major, entry.minor)).or_insert_with(|| IOEntry {
                major: entry.major,
                minor: entry.minor,
                ..IOEntry::default()
            });
            match (entry.operation.as_str(), bytes) {
                ("Read", true) => found.rbytes = entry.value,
                ("Write", true) => found.wbytes = entry.value,
                ("Read", false) => found.rios = entry.value,
                ("Write", false) => found.wios = entry.value,
                _ => {}
            }
        }
    }
    devices.into_values().collect()
}

/// In a 32-bit field "no limit" is its largest number.
fn rdma(devices: &[RdmaStats]) -> RdmaStat {
    let saturate = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
    let limit = |limit: Option<u64>| limit.map_or(u32::MAX, saturate);
    RdmaStat {
        current: devices
            .iter()
            .map(|found| RdmaEntry {
                device: found.device.clone(),
                hca_handles: saturate(found.handles),
                hca_objects: saturate(found.objects),
            })
            .collect(),
        limit: devices
            .iter()
            .map(|found| RdmaEntry {
                device: found.device.clone(),
                hca_handles: limit(found.handles_limit),
                hca_objects: limit(found.objects_limit),
            })
            .collect(),
    }
}

fn hugetlb((size, pages): (&String, &hoist::HugetlbStats)) -> HugeTlbStat {
    HugeTlbStat {
        current: pages.usage,
        max: limit(pages.limit),
        pagesize: size.clone(),
        failcnt: pages.failcnt,
    }
}

fn network(interface: &NetworkStats) -> NetworkStat {
    NetworkStat {
        name: interface.name.clone(),
        rx_bytes: interface.rx_bytes,
        rx_packets: interface.rx_packets,
        rx_errors: interface.rx_errors,
        rx_dropped: interface.rx_dropped,
        tx_bytes: interface.tx_bytes,
        tx_packets: interface.tx_packets,
        tx_errors: interface.tx_errors,
        tx_dropped: interface.tx_dropped,
    }
}
