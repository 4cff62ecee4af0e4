//! The shape of runc's `events`: members, their order, what is left out when it is 0, and which
//! numbers stand for nothing (types/events.go there, versions 1.1 to 1.4).

use std::collections::BTreeMap;
use std::time::Duration;

use serde::ser::{Serialize, Serializer};

use hoist::{MemoryUsage, MonitorStats};

/// One line.
#[derive(Debug, serde::Serialize)]
pub(super) struct Event<'a> {
    r#type: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Stats<'a>>,
}

impl<'a> Event<'a> {
    pub(super) fn oom(id: &'a str) -> Self {
        Self { r#type: "oom", id, data: None }
    }

    /// `processes` stands in for the number of tasks if there is no pids controller.
    pub(super) fn stats(id: &'a str, stats: &'a hoist::Stats, processes: usize) -> Self {
        Self { r#type: "stats", id, data: Some(Stats::new(stats, processes)) }
    }
}

#[derive(Debug, serde::Serialize)]
struct Stats<'a> {
    cpu: Cpu,
    cpuset: Cpuset<'a>,
    memory: Memory<'a>,
    pids: Pids,
    blkio: Blkio<'a>,
    hugetlb: BTreeMap<&'a str, Hugetlb>,
    intel_rdt: IntelRdt<'a>,
    /// `null` where there is nothing to tell.
    network_interfaces: Option<Vec<NetworkInterface<'a>>>,
}

impl<'a> Stats<'a> {
    fn new(stats: &'a hoist::Stats, processes: usize) -> Self {
        let hugetlb = stats.hugetlb.iter().flatten();
        let network = stats.network.as_ref();
        Self {
            cpu: Cpu::new(stats),
            cpuset: stats.cpuset.as_ref().map(Cpuset::new).unwrap_or_default(),
            memory: Memory::new(stats),
            pids: match stats.pids {
                Some(pids) => Pids { current: pids.current, limit: pids.limit.unwrap_or(0) },
                None => Pids { current: processes as u64, limit: 0 },
            },
            blkio: Blkio::new(stats),
            hugetlb: hugetlb.map(|(size, stats)| (size.as_str(), Hugetlb::new(stats))).collect(),
            intel_rdt: stats.intel_rdt.as_ref().map(IntelRdt::new).unwrap_or_default(),
            network_interfaces: network.map(|all| all.iter().map(NetworkInterface::new).collect()),
        }
    }
}

#[derive(Debug, serde::Serialize)]
struct Cpu {
    usage: CpuUsage,
    throttling: Throttling,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

/// In nanoseconds.
#[derive(Debug, Default, serde::Serialize)]
struct CpuUsage {
    #[serde(skip_serializing_if = "is_zero")]
    total: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_kernel: Vec<u64>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    percpu_user: Vec<u64>,
    kernel: u64,
    user: u64,
}

#[derive(Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Throttling {
    #[serde(skip_serializing_if = "is_zero")]
    periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_periods: u64,
    #[serde(skip_serializing_if = "is_zero")]
    throttled_time: u64,
}

impl Cpu {
    fn new(stats: &hoist::Stats) -> Self {
        let all = |times: &[Duration]| times.iter().copied().map(nanoseconds).collect();
        let usage = stats.cpu.as_ref().map(|cpu| CpuUsage {
            total: nanoseconds(cpu.total),
            percpu: all(&cpu.per_cpu),
            percpu_kernel: all(&cpu.per_cpu_kernel),
            percpu_user: all(&cpu.per_cpu_user),
            kernel: nanoseconds(cpu.kernel),
            user: nanoseconds(cpu.user),
        });
        let throttling = stats.throttling.map(|throttling| Throttling {
            periods: throttling.periods,
            throttled_periods: throttling.throttled_periods,
            throttled_time: nanoseconds(throttling.throttled_time),
        });
        Self {
            usage: usage.unwrap_or_default(),
            throttling: throttling.unwrap_or_default(),
            psi: stats.pressure.cpu.map(Pressure::new),
        }
    }
}

#[derive(Debug, Default, serde::Serialize)]
struct Cpuset<'a> {
    #[serde(skip_serializing_if = "is_empty")]
    cpus: &'a [u16],
    cpu_exclusive: u64,
    #[serde(skip_serializing_if = "is_empty")]
    mems: &'a [u16],
    mem_hardwall: u64,
    mem_exclusive: u64,
    memory_migrate: u64,
    memory_spread_page: u64,
    memory_spread_slab: u64,
    memory_pressure: u64,
    sched_load_balance: u64,
    sched_relax_domain_level: i64,
}

impl<'a> Cpuset<'a> {
    fn new(stats: &'a hoist::CpusetStats) -> Self {
        Self {
            cpus: &stats.cpus,
            cpu_exclusive: stats.cpu_exclusive,
            mems: &stats.mems,
            mem_hardwall: stats.mem_hardwall,
            mem_exclusive: stats.mem_exclusive,
            memory_migrate: stats.memory_migrate,
            memory_spread_page: stats.memory_spread_page,
            memory_spread_slab: stats.memory_spread_slab,
            memory_pressure: stats.memory_pressure,
            sched_load_balance: stats.sched_load_balance,
            sched_relax_domain_level: stats.sched_relax_domain_level,
        }
    }
}

#[derive(Debug, serde::Serialize)]
struct Memory<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    cache: u64,
    usage: MemoryEntry,
    /// Memory and swap together.
    swap: MemoryEntry,
    kernel: MemoryEntry,
    #[serde(rename = "kernelTCP")]
    kernel_tcp: MemoryEntry,
    #[serde(skip_serializing_if = "Option::is_none")]
    raw: Option<&'a BTreeMap<String, u64>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, Default, serde::Serialize)]
struct MemoryEntry {
    limit: u64,
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

impl<'a> Memory<'a> {
    fn new(stats: &'a hoist::Stats) -> Self {
        let memory = stats.memory.as_ref();
        let of = |part: Option<MemoryUsage>, unlimited| MemoryEntry::new(part, unlimited);
        Self {
            cache: memory.map_or(0, |memory| memory.cache),
            usage: of(memory.map(|memory| memory.usage), u64::MAX),
            swap: of(memory.and_then(|memory| memory.memory_and_swap), u64::MAX),
            // v1 alone, which has no word for "no limit": what lacks a limit can't have one.
            kernel: of(memory.and_then(|memory| memory.kernel), 0),
            kernel_tcp: of(memory.and_then(|memory| memory.kernel_tcp), 0),
            raw: memory.map(|memory| &memory.raw).filter(|raw| !raw.is_empty()),
            psi: stats.pressure.memory.map(Pressure::new),
        }
    }
}

impl MemoryEntry {
    fn new(part: Option<MemoryUsage>, unlimited: u64) -> Self {
        part.map_or_else(Self::default, |part| Self {
            limit: part.limit.unwrap_or(unlimited),
            usage: part.usage,
            max: part.max_usage.unwrap_or(0),
            failcnt: part.failcnt.unwrap_or(0),
        })
    }
}

#[derive(Debug, serde::Serialize)]
struct Pids {
    #[serde(skip_serializing_if = "is_zero")]
    current: u64,
    #[serde(skip_serializing_if = "is_zero")]
    limit: u64,
}

#[derive(Debug, Default, serde::Serialize)]
#[serde(rename_all = "camelCase")]
struct Blkio<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_bytes_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_serviced_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_queue_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_service_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_wait_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_merged_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    io_time_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    sectors_recursive: Vec<BlkioEntry<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    psi: Option<Pressure>,
}

#[derive(Debug, serde::Serialize)]
struct BlkioEntry<'a> {
    #[serde(skip_serializing_if = "is_zero")]
    major: u64,
    #[serde(skip_serializing_if = "is_zero")]
    minor: u64,
    #[serde(skip_serializing_if = "str::is_empty")]
    op: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    value: u64,
}

impl<'a> Blkio<'a> {
    fn new(stats: &'a hoist::Stats) -> Self {
        let psi = stats.pressure.io.map(Pressure::new);
        let Some(block_io) = &stats.block_io else { return Self { psi, ..Self::default() } };
        let list = |entries: &'a [hoist::BlockIoEntry]| {
            let entry = |entry: &'a hoist::BlockIoEntry| BlkioEntry {
                major: entry.major,
                minor: entry.minor,
                op: &entry.operation,
                value: entry.value,
            };
            entries.iter().map(entry).collect()
        };
        Self {
            io_service_bytes_recursive: list(&block_io.service_bytes),
            io_serviced_recursive: list(&block_io.serviced),
            io_queue_recursive: list(&block_io.queued),
            io_service_time_recursive: list(&block_io.service_time),
            io_wait_time_recursive: list(&block_io.wait_time),
            io_merged_recursive: list(&block_io.merged),
            io_time_recursive: list(&block_io.time),
            sectors_recursive: list(&block_io.sectors),
            psi,
        }
    }
}

#[derive(Debug, serde::Serialize)]
struct Hugetlb {
    #[serde(skip_serializing_if = "is_zero")]
    usage: u64,
    #[serde(skip_serializing_if = "is_zero")]
    max: u64,
    failcnt: u64,
}

impl Hugetlb {
    fn new(stats: &hoist::HugetlbStats) -> Self {
        Self { usage: stats.usage, max: stats.max_usage.unwrap_or(0), failcnt: stats.failcnt }
    }
}

#[derive(Debug, serde::Serialize)]
struct Pressure {
    some: Stall,
    full: Stall,
}

#[derive(Debug, serde::Serialize)]
struct Stall {
    avg10: Share,
    avg60: Share,
    avg300: Share,
    /// In microseconds.
    total: u64,
}

impl Pressure {
    fn new(pressure: hoist::Pressure) -> Self {
        let stall = |stall: hoist::Stall| Stall {
            avg10: Share(stall.avg10),
            avg60: Share(stall.avg60),
            avg300: Share(stall.avg300),
            total: u64::try_from(stall.total.as_micros()).unwrap_or(u64::MAX),
        };
        Self { some: stall(pressure.some), full: stall(pressure.full) }
    }
}

/// A share in percent. Go writes whole numbers without a point.
#[derive(Debug)]
struct Share(f64);

impl Serialize for Share {
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "it was compared with the number that it came from"
    )]
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let whole = self.0 as u64;
        match whole as f64 == self.0 {
            true => serializer.serialize_u64(whole),
            false => serializer.serialize_f64(self.0),
        }
    }
}

#[derive(Debug, Default, serde::Serialize)]
struct IntelRdt<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    l3_cache_info: Option<L3CacheInfo<'a>>,
    #[serde(skip_serializing_if = "str::is_empty")]
    l3_cache_schema_root: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    l3_cache_schema: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_bw_info: Option<MemBwInfo>,
    #[serde(skip_serializing_if = "str::is_empty")]
    mem_bw_schema_root: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    mem_bw_schema: &'a str,
    #[serde(skip_serializing_if = "is_empty")]
    schemata: &'a [String],
    #[serde(skip_serializing_if = "Option::is_none")]
    mbm_stats: Option<Vec<MbmStats>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cmt_stats: Option<Vec<CmtStats>>,
}

#[derive(Debug, serde::Serialize)]
struct L3CacheInfo<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    cbm_mask: &'a str,
    #[serde(skip_serializing_if = "is_zero")]
    min_cbm_bits: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

#[derive(Debug, serde::Serialize)]
struct MemBwInfo {
    #[serde(skip_serializing_if = "is_zero")]
    bandwidth_gran: u64,
    #[serde(skip_serializing_if = "is_zero")]
    delay_linear: u64,
    #[serde(skip_serializing_if = "is_zero")]
    min_bandwidth: u64,
    #[serde(skip_serializing_if = "is_zero")]
    num_closids: u64,
}

#[derive(Debug, serde::Serialize)]
struct MbmStats {
    mbm_total_bytes: u64,
    mbm_local_bytes: u64,
}

#[derive(Debug, serde::Serialize)]
struct CmtStats {
    llc_occupancy: u64,
}

impl<'a> IntelRdt<'a> {
    fn new(stats: &'a hoist::IntelRdtStats) -> Self {
        // The last line that names the resource.
        let schema = |lines: &'a [String], resource| {
            let line = lines.iter().rfind(|line| line.contains(resource));
            line.map_or("", |line| line.trim())
        };
        let mut found = Self { schemata: &stats.schemata, ..Self::default() };
        if let Some(info) = &stats.l3_cache {
            found.l3_cache_info = Some(L3CacheInfo {
                cbm_mask: &info.cbm_mask,
                min_cbm_bits: info.min_cbm_bits,
                num_closids: info.num_closids,
            });
            found.l3_cache_schema_root = schema(&stats.root_schemata, "L3");
            found.l3_cache_schema = schema(&stats.schemata, "L3");
        }
        if let Some(info) = &stats.memory_bandwidth {
            found.mem_bw_info = Some(MemBwInfo {
                bandwidth_gran: info.bandwidth_gran,
                delay_linear: info.delay_linear,
                min_bandwidth: info.min_bandwidth,
                num_closids: info.num_closids,
            });
            found.mem_bw_schema_root = schema(&stats.root_schemata, "MB");
            found.mem_bw_schema = schema(&stats.schemata, "MB");
        }
        let monitors = stats.monitors.as_deref().unwrap_or_default();
        let counts = |counted: fn(&MonitorStats) -> bool| monitors.iter().any(counted);
        if counts(|domain| domain.mbm_total_bytes.or(domain.mbm_local_bytes).is_some()) {
            let of = |domain: &MonitorStats| MbmStats {
                mbm_total_bytes: domain.mbm_total_bytes.unwrap_or(0),
                mbm_local_bytes: domain.mbm_local_bytes.unwrap_or(0),
            };
            found.mbm_stats = Some(monitors.iter().map(of).collect());
        }
        if counts(|domain| domain.llc_occupancy.is_some()) {
            let of = |domain: &MonitorStats| CmtStats {
                llc_occupancy: domain.llc_occupancy.unwrap_or(0),
            };
            found.cmt_stats = Some(monitors.iter().map(of).collect());
        }
        found
    }
}

#[derive(Debug, serde::Serialize)]
#[serde(rename_all = "PascalCase")]
struct NetworkInterface<'a> {
    name: &'a str,
    rx_bytes: u64,
    rx_packets: u64,
    rx_errors: u64,
    rx_dropped: u64,
    tx_bytes: u64,
    tx_packets: u64,
    tx_errors: u64,
    tx_dropped: u64,
}

impl<'a> NetworkInterface<'a> {
    fn new(stats: &'a hoist::NetworkStats) -> Self {
        Self {
            name: &stats.name,
            rx_bytes: stats.rx_bytes,
            rx_packets: stats.rx_packets,
            rx_errors: stats.rx_errors,
            rx_dropped: stats.rx_dropped,
            tx_bytes: stats.tx_bytes,
            tx_packets: stats.tx_packets,
            tx_errors: stats.tx_errors,
            tx_dropped: stats.tx_dropped,
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

fn is_empty<T>(list: &&[T]) -> bool {
    list.is_empty()
}
