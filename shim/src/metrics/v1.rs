//! `io.containerd.cgroups.v1.Metrics`: figures as v1's files have them, times in nanoseconds.

use std::collections::BTreeMap;
use std::time::Duration;

use hoist::{BlockIoEntry, BlockIoStats, MemoryStats, MemoryUsage, NetworkStats, RdmaStats, Stats};

use crate::proto::metrics::v1::{
    BlkIOEntry, BlkIOStat, CPUStat, CPUUsage, HugetlbStat, MemoryEntry, MemoryOomControl,
    MemoryStat, Metrics, NetworkStat, PidsStat, RdmaEntry, RdmaStat, Throttle,
};

pub(super) fn metrics(stats: &Stats, devices: &Devices) -> Metrics {
    Metrics {
        hugetlb: stats.hugetlb.iter().flatten().map(hugetlb).collect(),
        // Here "no limit" is 0.
        pids: stats
            .pids
            .map(|pids| PidsStat { current: pids.current, limit: pids.limit.unwrap_or_default() }),
        cpu: Some(cpu(stats)),
        memory: stats.memory.as_ref().map(memory),
        blkio: stats.block_io.as_ref().map(|block_io| blkio(block_io, devices)),
        rdma: stats.rdma.as_deref().map(rdma),
        network: stats.network.iter().flatten().map(network).collect(),
        // From netlink (accounting/cgroupstats.rst), which containerd's own shim does not ask either.
        cgroup_stats: None,
        memory_oom_control: stats.memory.as_ref().map(|memory| MemoryOomControl {
            oom_kill: memory.oom_kills.unwrap_or_default(),
            ..MemoryOomControl::default()
        }),
    }
}

/// Docker reads both halves unasked.
fn cpu(stats: &Stats) -> CPUStat {
    let usage = stats.cpu.as_ref().map(|cpu| CPUUsage {
        total: nanoseconds(cpu.total),
        kernel: nanoseconds(cpu.kernel),
        user: nanoseconds(cpu.user),
        per_cpu: cpu.per_cpu.iter().copied().map(nanoseconds).collect(),
    });
    let throttling = stats.throttling.map(|throttling| Throttle {
        periods: throttling.periods,
        throttled_periods: throttling.throttled_periods,
        throttled_time: nanoseconds(throttling.throttled_time),
    });
    CPUStat {
        usage: Some(usage.unwrap_or_default()),
        throttling: Some(throttling.unwrap_or_default()),
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn memory(memory: &MemoryStats) -> MemoryStat {
    let raw = |key| memory.raw.get(key).copied().unwrap_or_default();
    MemoryStat {
        cache: raw("cache"),
        rss: raw("rss"),
        rss_huge: raw("rss_huge"),
        mapped_file: raw("mapped_file"),
        dirty: raw("dirty"),
        writeback: raw("writeback"),
        pg_pg_in: raw("pgpgin"),
        pg_pg_out: raw("pgpgout"),
        pg_fault: raw("pgfault"),
        pg_maj_fault: raw("pgmajfault"),
        inactive_anon: raw("inactive_anon"),
        active_anon: raw("active_anon"),
        inactive_file: raw("inactive_file"),
        active_file: raw("active_file"),
        unevictable: raw("unevictable"),
        hierarchical_memory_limit: raw("hierarchical_memory_limit"),
        hierarchical_swap_limit: raw("hierarchical_memsw_limit"),
        total_cache: raw("total_cache"),
        total_rss: raw("total_rss"),
        total_rss_huge: raw("total_rss_huge"),
        total_mapped_file: raw("total_mapped_file"),
        total_dirty: raw("total_dirty"),
        total_writeback: raw("total_writeback"),
        total_pg_pg_in: raw("total_pgpgin"),
        total_pg_pg_out: raw("total_pgpgout"),
        total_pg_fault: raw("total_pgfault"),
        total_pg_maj_fault: raw("total_pgmajfault"),
        total_inactive_anon: raw("total_inactive_anon"),
        total_active_anon: raw("total_active_anon"),
        total_inactive_file: raw("total_inactive_file"),
        total_active_file: raw("total_active_file"),
        total_unevictable: raw("total_unevictable"),
        usage: Some(entry(&memory.usage)),
        // Memory and swap together, whatever the name says: memory.memsw.*.
        swap: Some(memory.memory_and_swap.as_ref().map(entry).unwrap_or_default()),
        kernel: Some(memory.kernel.as_ref().map(entry).unwrap_or_default()),
        kernel_tcp: Some(memory.kernel_tcp.as_ref().map(entry).unwrap_or_default()),
    }
}

fn entry(usage: &MemoryUsage) -> MemoryEntry {
    MemoryEntry {
        limit: usage.limit.unwrap_or_default(),
        usage: usage.usage,
        max: usage.max_usage.unwrap_or_default(),
        failcnt: usage.failcnt.unwrap_or_default(),
    }
}

fn hugetlb((size, pages): (&String, &hoist::HugetlbStats)) -> HugetlbStat {
    HugetlbStat {
        usage: pages.usage,
        max: pages.max_usage.unwrap_or_default(),
        failcnt: pages.failcnt,
        pagesize: size.clone(),
    }
}

fn blkio(block_io: &BlockIoStats, devices: &Devices) -> BlkIOStat {
    let list = |entries: &[BlockIoEntry]| {
        let entry = |entry: &BlockIoEntry| BlkIOEntry {
            op: entry.operation.clone(),
            device: devices.path(entry.major, entry.minor),
            major: entry.major,
            minor: entry.minor,
            value: entry.value,
        };
        entries.iter().map(entry).collect()
    };
    BlkIOStat {
        io_service_bytes_recursive: list(&block_io.service_bytes),
        io_serviced_recursive: list(&block_io.serviced),
        io_queued_recursive: list(&block_io.queued),
        io_service_time_recursive: list(&block_io.service_time),
        io_wait_time_recursive: list(&block_io.wait_time),
        io_merged_recursive: list(&block_io.merged),
        io_time_recursive: list(&block_io.time),
        sectors_recursive: list(&block_io.sectors),
    }
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

/// The names of block devices, which the cgroup's files don't have: proc_partitions(5).
#[derive(Default)]
pub(super) struct Devices(BTreeMap<(u64, u64), String>);

impl Devices {
    /// Without the file they have no names; the figures are as good.
    pub(super) fn read() -> Self {
        Self::parse(&std::fs::read_to_string("/proc/partitions").unwrap_or_default())
    }

    /// A line of titles, an empty one, and `major minor #blocks name` for each.
    pub(super) fn parse(text: &str) -> Self {
        let device = |line: &str| {
            let mut fields = line.split_ascii_whitespace();
            let number = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
            Some((number, format!("/dev/{}", fields.nth(1)?)))
        };
        Self(text.lines().filter_map(device).collect())
    }

    /// Empty for a device that is gone.
    pub(super) fn path(&self, major: u64, minor: u64) -> String {
        self.0.get(&(major, minor)).cloned().unwrap_or_default()
    }
}
