//! The figures of a container, as the kernel keeps them.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::intel_rdt::IntelRdtStats;
use crate::netdevice::NetworkStats;

/// What a container uses and has used, from [`Container::stats`](crate::Container::stats).
///
/// Figures are read one after another while the container runs: they are not of one instant.
/// What the host doesn't count (a controller that is off, a file that this kernel doesn't have) is
/// `None`, never 0. Files are those of the container's cgroup, see cgroup-v1/ and cgroup-v2.rst in
/// the kernel's documentation. On a hybrid host controllers are v1's, and what v1 doesn't have
/// (pressure) or where cgroup2 has the controller (hugetlb) is cgroup2's.
#[derive(Debug, Clone, PartialEq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// CPU time used. v1: controller cpuacct; v2: always there.
    pub cpu: Option<CpuStats>,
    /// How often and how long the container was held back by `linux.resources.cpu.quota`.
    pub throttling: Option<Throttling>,
    /// Settings of the v1 cpuset controller. `None` on v2, whose cpuset has no such flags.
    pub cpuset: Option<CpusetStats>,
    /// Memory used.
    pub memory: Option<MemoryStats>,
    /// Tasks.
    pub pids: Option<PidsStats>,
    /// Block devices.
    pub block_io: Option<BlockIoStats>,
    /// Huge pages by size, named as the kernel does: `2MB`, `1GB`.
    pub hugetlb: Option<BTreeMap<String, HugetlbStats>>,
    /// RDMA devices: those that somebody uses here or that have a limit.
    pub rdma: Option<Vec<RdmaStats>>,
    /// Shortage of each resource. cgroup2 only, also on a hybrid host.
    pub pressure: PressureStats,
    /// Cache and memory bandwidth of the container's resctrl group, if it has one.
    pub intel_rdt: Option<IntelRdtStats>,
    /// The interfaces of the container's network namespace. `None` if it is the caller's own, or
    /// the container's first process has ended.
    pub network: Option<Vec<NetworkStats>>,
}

/// CPU time used.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CpuStats {
    /// All of it. v1: `cpuacct.usage`; v2: `usage_usec` in `cpu.stat`.
    pub total: Duration,
    /// In user mode. v1: `user` in `cpuacct.stat`, in steps of 10 ms; v2: `user_usec`.
    pub user: Duration,
    /// In the kernel. v1: `system` in `cpuacct.stat`, in steps of 10 ms; v2: `system_usec`.
    pub kernel: Duration,
    /// Of each CPU there may be. v1: `cpuacct.usage_percpu`; empty on v2.
    pub per_cpu: Vec<Duration>,
    /// In user mode, of each CPU. v1: `cpuacct.usage_all`; empty on v2.
    pub per_cpu_user: Vec<Duration>,
    /// In the kernel, of each CPU. v1: `cpuacct.usage_all`; empty on v2.
    pub per_cpu_kernel: Vec<Duration>,
}

/// What the limit on CPU time did: `cpu.stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Throttling {
    /// Periods in which the container ran: `nr_periods`.
    pub periods: u64,
    /// Periods in which it had used up its quota: `nr_throttled`.
    pub throttled_periods: u64,
    /// How long its CPUs were held back, added up: `throttled_time` (v1), `throttled_usec` (v2).
    pub throttled_time: Duration,
    /// Periods in which it used more than its quota, from what was saved up: `nr_bursts`, since
    /// Linux 5.15.
    pub burst_periods: Option<u64>,
    /// The time used above the quota: `burst_time` (v1), `burst_usec` (v2), since Linux 5.15.
    pub burst_time: Option<Duration>,
}

/// Where the container may run, and flags of the v1 controller: `cpuset.*`. A flag is 0 or 1.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct CpusetStats {
    /// CPUs: `cpuset.cpus`.
    pub cpus: Vec<u16>,
    /// Memory nodes: `cpuset.mems`.
    pub mems: Vec<u16>,
    /// `cpuset.cpu_exclusive`.
    pub cpu_exclusive: u64,
    /// `cpuset.mem_exclusive`.
    pub mem_exclusive: u64,
    /// `cpuset.mem_hardwall`.
    pub mem_hardwall: u64,
    /// `cpuset.memory_migrate`.
    pub memory_migrate: u64,
    /// `cpuset.memory_pressure`: reclaims, 1000 times their rate a second.
    pub memory_pressure: u64,
    /// `cpuset.memory_spread_page`.
    pub memory_spread_page: u64,
    /// `cpuset.memory_spread_slab`.
    pub memory_spread_slab: u64,
    /// `cpuset.sched_load_balance`.
    pub sched_load_balance: u64,
    /// `cpuset.sched_relax_domain_level`: -1 to 5.
    pub sched_relax_domain_level: i64,
}

/// Memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryStats {
    /// The page cache, in bytes: `cache` (v1) or `file` (v2) in `memory.stat`.
    pub cache: u64,
    /// All memory. v1: `memory.*_in_bytes`; v2: `memory.current`, `.max`, `.peak`.
    pub usage: MemoryUsage,
    /// Memory and swap together. v1: `memory.memsw.*`, if the kernel counts swap; v2: the sums of
    /// both, without a peak, since the peaks were not at one time.
    pub memory_and_swap: Option<MemoryUsage>,
    /// Swap alone. v2: `memory.swap.current`, `.max`, `.peak`; `None` on v1.
    pub swap: Option<MemoryUsage>,
    /// The kernel's own memory, which is a part of all. v1: `memory.kmem.*`; v2 has only
    /// `kernel` among the [`raw`](Self::raw) figures.
    pub kernel: Option<MemoryUsage>,
    /// Buffers of TCP sockets. v1: `memory.kmem.tcp.*`; v2 has `sock` among the raw figures.
    pub kernel_tcp: Option<MemoryUsage>,
    /// How often the OOM killer has killed a process. v1: `oom_kill` in `memory.oom_control`, of
    /// this cgroup and those below it; v2: `oom_kill` in `memory.events`.
    pub oom_kills: Option<u64>,
    /// How often the limits were reached. v2: `memory.events`; `None` on v1.
    pub events: Option<MemoryEvents>,
    /// All of `memory.stat`: in bytes, or counts.
    pub raw: BTreeMap<String, u64>,
}

/// What the limits on memory did, to this cgroup and those below it: `memory.events`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryEvents {
    /// Memory below the protected minimum was reclaimed nevertheless: `low`.
    pub low: u64,
    /// Processes were slowed down for using more than `memory.high`: `high`.
    pub high: u64,
    /// Usage was about to pass `memory.max`: `max`.
    pub max: u64,
    /// An allocation was about to fail, for which the OOM killer is asked: `oom`.
    pub oom: u64,
    /// Processes that the OOM killer has killed: `oom_kill`.
    pub oom_kill: u64,
    /// Whole groups that it has killed: `oom_group_kill`, since Linux 5.17.
    pub oom_group_kill: u64,
}

/// One kind of memory, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct MemoryUsage {
    /// In use now.
    pub usage: u64,
    /// The most that may be used; `None` without a limit. v1 shows that as a number just below
    /// 2^63, which is left as it is.
    pub limit: Option<u64>,
    /// The most that was ever in use. v2: since Linux 5.19, of swap since 6.5.
    pub max_usage: Option<u64>,
    /// How often the limit was reached. v1 only.
    pub failcnt: Option<u64>,
}

/// Tasks: processes and threads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct PidsStats {
    /// How many there are: `pids.current`.
    pub current: u64,
    /// How many there may be: `pids.max`; `None` without a limit.
    pub limit: Option<u64>,
}

/// Traffic with block devices, of this cgroup and those below it.
///
/// v1 has several sets of files, and the first that has anything is taken: those of bfq, of cfq,
/// of the throttling layer. v2 has one file, `io.stat`: its `rbytes` and `wbytes` are
/// [`service_bytes`](Self::service_bytes), `rios` and `wios` [`serviced`](Self::serviced).
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BlockIoStats {
    /// Bytes: `…io_service_bytes_recursive`.
    pub service_bytes: Vec<BlockIoEntry>,
    /// Requests: `…io_serviced_recursive`.
    pub serviced: Vec<BlockIoEntry>,
    /// Requests that wait now: `…io_queued_recursive`.
    pub queued: Vec<BlockIoEntry>,
    /// Nanoseconds between dispatch and completion: `…io_service_time_recursive`.
    pub service_time: Vec<BlockIoEntry>,
    /// Nanoseconds in the scheduler's queues: `…io_wait_time_recursive`.
    pub wait_time: Vec<BlockIoEntry>,
    /// Requests that were merged into others: `…io_merged_recursive`.
    pub merged: Vec<BlockIoEntry>,
    /// Milliseconds for which the device was the container's: `…time_recursive`.
    pub time: Vec<BlockIoEntry>,
    /// Sectors: `…sectors_recursive`.
    pub sectors: Vec<BlockIoEntry>,
}

/// A figure of one device.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct BlockIoEntry {
    /// The device's major number.
    pub major: u64,
    /// The device's minor number.
    pub minor: u64,
    /// `Read`, `Write`; on v1 also `Sync`, `Async`, `Discard`, `Total`; empty where the kernel
    /// makes no such difference.
    pub operation: String,
    /// The figure.
    pub value: u64,
}

/// Huge pages of one size.
///
/// The kernel counts pages that are in use, and since Linux 5.7 also those that are reserved
/// (`.rsvd`), as mmap(2) does; as in runc it is the latter, if there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct HugetlbStats {
    /// Bytes. v1: `hugetlb.SIZE.rsvd.usage_in_bytes`; v2: `hugetlb.SIZE.rsvd.current`.
    pub usage: u64,
    /// The most that may be used; `None` without a limit. v1: `hugetlb.SIZE.rsvd.limit_in_bytes`,
    /// which shows that as a number just below 2^63; v2: `hugetlb.SIZE.rsvd.max`.
    pub limit: Option<u64>,
    /// The most there ever was, in bytes: `hugetlb.SIZE.rsvd.max_usage_in_bytes`; v1 only.
    pub max_usage: Option<u64>,
    /// How often the limit was in the way. v1: `hugetlb.SIZE.rsvd.failcnt`; v2: `max` in
    /// `hugetlb.SIZE.events`.
    pub failcnt: u64,
}

/// One RDMA device: `rdma.current` and `rdma.max`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RdmaStats {
    /// The device's name: `mlx4_0`.
    pub device: String,
    /// Handles in use: `hca_handle`.
    pub handles: u64,
    /// The most that may be in use; `None` without a limit.
    pub handles_limit: Option<u64>,
    /// Objects in use: `hca_object`.
    pub objects: u64,
    /// The most that may be in use; `None` without a limit.
    pub objects_limit: Option<u64>,
}

/// Pressure stall information (accounting/psi.rst). `None` where the kernel is without it or it
/// is turned off.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct PressureStats {
    /// `cpu.pressure`.
    pub cpu: Option<Pressure>,
    /// `memory.pressure`.
    pub memory: Option<Pressure>,
    /// `io.pressure`.
    pub io: Option<Pressure>,
}

/// How much tasks had to wait for one resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks that were not idle waited.
    pub full: Stall,
}

/// Time that was lost by waiting.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
#[non_exhaustive]
pub struct Stall {
    /// The share of the last 10 seconds, in percent.
    pub avg10: f64,
    /// The share of the last 60 seconds, in percent.
    pub avg60: f64,
    /// The share of the last 300 seconds, in percent.
    pub avg300: f64,
    /// Since the cgroup was made, in whole microseconds.
    pub total: Duration,
}
