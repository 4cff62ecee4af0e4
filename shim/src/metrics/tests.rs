//! Figures as a reader of the metrics sees them: decoded with the messages that others generated
//! (containerd-shim-protos).

use std::collections::BTreeMap;
use std::time::Duration;

use containerd_shim_protos::cgroups::metrics::{self as theirs_v1, BlkIOEntry};
use containerd_shim_protos::cgroups_v2::metrics as theirs_v2;
use containerd_shim_protos::protobuf::{Message as _, MessageFull};
use hoist::{
    BlockIoEntry, BlockIoStats, CpuStats, HugetlbStats, MemoryEvents, MemoryStats, MemoryUsage,
    NetworkStats, PidsStats, Pressure, PressureStats, RdmaStats, Stats, Throttling,
};

use super::*;

/// `#[non_exhaustive]` structs of the library: the default, changed.
macro_rules! with {
    ($of:ident { $($field:ident: $value:expr),* $(,)? }) => {{
        let mut made = $of::default();
        $(made.$field = $value;)*
        made
    }};
}

fn usage(base: u64) -> MemoryUsage {
    with!(MemoryUsage {
        usage: base,
        limit: Some(base + 1),
        max_usage: Some(base + 2),
        failcnt: Some(base + 3),
    })
}

fn entry(device: (u64, u64), operation: &str, value: u64) -> BlockIoEntry {
    let (major, minor) = device;
    with!(BlockIoEntry {
        major: major,
        minor: minor,
        operation: operation.to_owned(),
        value: value,
    })
}

/// Everything that either kind of host counts, each figure another.
fn stats() -> Stats {
    let pressure = |base: u32| {
        let mut pressure = Pressure::default();
        for (stall, base) in [(&mut pressure.some, base), (&mut pressure.full, base + 4)] {
            stall.avg10 = f64::from(base) + 0.25;
            stall.avg60 = f64::from(base + 1) + 0.25;
            stall.avg300 = f64::from(base + 2) + 0.25;
            stall.total = Duration::from_micros(u64::from(base) + 3);
        }
        Some(pressure)
    };
    let hugetlb =
        with!(HugetlbStats { usage: 61, limit: Some(62), max_usage: Some(63), failcnt: 64 });
    with!(Stats {
        cpu: Some(with!(CpuStats {
            total: Duration::new(1, 2_003),
            user: Duration::new(2, 3_004),
            kernel: Duration::new(3, 4_005),
            per_cpu: vec![Duration::from_nanos(5), Duration::from_nanos(6)],
        })),
        throttling: Some(with!(Throttling {
            periods: 11,
            throttled_periods: 12,
            throttled_time: Duration::from_nanos(13_999),
            burst_periods: Some(14),
            burst_time: Some(Duration::from_nanos(15_999)),
        })),
        memory: Some(with!(MemoryStats {
            usage: usage(21),
            memory_and_swap: Some(usage(31)),
            swap: Some(usage(41)),
            kernel: Some(usage(51)),
            kernel_tcp: Some(usage(55)),
            oom_kills: Some(59),
            events: Some(with!(MemoryEvents {
                low: 91,
                high: 92,
                max: 93,
                oom: 94,
                oom_kill: 95,
                oom_group_kill: 96,
            })),
        })),
        pids: Some(with!(PidsStats { current: 3, limit: Some(4) })),
        block_io: Some(with!(BlockIoStats {
            service_bytes: vec![
                entry((8, 0), "Read", 1),
                entry((8, 0), "Write", 2),
                entry((253, 1), "Write", 3),
            ],
            serviced: vec![entry((253, 1), "Read", 4), entry((8, 0), "Write", 5)],
            queued: vec![entry((8, 0), "Sync", 6)],
            service_time: vec![entry((8, 0), "Async", 7)],
            wait_time: vec![entry((8, 0), "Total", 8)],
            merged: vec![entry((8, 0), "Discard", 9)],
            time: vec![entry((8, 0), "", 10)],
            sectors: vec![entry((8, 0), "", 11)],
        })),
        hugetlb: Some(BTreeMap::from([("2MB".to_owned(), hugetlb)])),
        rdma: Some(vec![with!(RdmaStats {
            device: "mlx4_0".to_owned(),
            handles: 1,
            handles_limit: Some(2),
            objects: u64::MAX,
        })]),
        pressure: with!(PressureStats {
            cpu: pressure(100),
            memory: pressure(200),
            io: pressure(300),
        }),
        network: Some(vec![with!(NetworkStats {
            name: "eth0".to_owned(),
            rx_bytes: 1,
            rx_packets: 2,
            rx_errors: 3,
            rx_dropped: 4,
            tx_bytes: 5,
            tx_packets: 6,
            tx_errors: 7,
            tx_dropped: 8,
        })]),
    })
}

const PARTITIONS: &str = "major minor  #blocks  name\n\n   8        0   10485760 sda\n";

fn as_v1(stats: &Stats) -> theirs_v1::Metrics {
    let any = Any::pack(&v1::metrics(stats, &v1::Devices::parse(PARTITIONS)));
    assert_eq!(any.type_url, theirs_v1::Metrics::descriptor().full_name());
    theirs_v1::Metrics::parse_from_bytes(&any.value).unwrap()
}

fn as_v2(stats: &Stats) -> theirs_v2::Metrics {
    let any = any(stats, true);
    assert_eq!(any.type_url, theirs_v2::Metrics::descriptor().full_name());
    theirs_v2::Metrics::parse_from_bytes(&any.value).unwrap()
}

/// Each key of `memory.stat` gets a figure, which must be in the field of that name. `read` makes the
/// message.
fn memory_stat<Theirs: MessageFull>(keys: &str, read: impl FnOnce(&Stats) -> Theirs) {
    let squash = |name: &str| name.replace('_', "").replace("archicalswap", "archicalmemsw");
    let raw: BTreeMap<_, _> = keys.split_whitespace().map(str::to_owned).zip(1000_u64..).collect();
    let mut stats = stats();
    stats.memory.as_mut().unwrap().raw = raw.clone();
    let message = read(&stats);
    for (key, figure) in raw {
        let field = Theirs::descriptor().fields().find(|f| squash(f.name()) == squash(&key));
        let found = field.unwrap().get_singular(&message).unwrap().to_u64();
        assert_eq!(found, Some(figure), "{key}");
    }
}

#[test]
fn memory_stat_on_v1() {
    let keys = "cache rss rss_huge mapped_file dirty writeback pgpgin pgpgout pgfault pgmajfault \
        inactive_anon active_anon inactive_file active_file unevictable \
        hierarchical_memory_limit hierarchical_memsw_limit \
        total_cache total_rss total_rss_huge total_mapped_file total_dirty total_writeback \
        total_pgpgin total_pgpgout total_pgfault total_pgmajfault total_inactive_anon \
        total_active_anon total_inactive_file total_active_file total_unevictable";
    memory_stat(keys, |stats| as_v1(stats).memory.unwrap());
}

#[test]
fn memory_stat_on_v2() {
    let keys = "anon file kernel_stack slab sock shmem file_mapped file_dirty file_writeback \
        anon_thp inactive_anon active_anon inactive_file active_file unevictable \
        slab_reclaimable slab_unreclaimable pgfault pgmajfault workingset_refault \
        workingset_activate workingset_nodereclaim pgrefill pgscan pgsteal pgactivate \
        pgdeactivate pglazyfree pglazyfreed thp_fault_alloc thp_collapse_alloc";
    memory_stat(keys, |stats| as_v2(stats).memory.unwrap());
    // These are newer than the oracle.
    let mut stats = stats();
    let raw = &mut stats.memory.as_mut().unwrap().raw;
    raw.insert("workingset_refault_anon".to_owned(), 1);
    raw.insert("workingset_refault_file".to_owned(), 2);
    raw.insert("workingset_activate_anon".to_owned(), 3);
    raw.insert("workingset_activate_file".to_owned(), 4);
    let memory = v2::metrics(&stats).memory.unwrap();
    assert_eq!((memory.workingset_refault_anon, memory.workingset_refault_file), (1, 2));
    assert_eq!((memory.workingset_activate_anon, memory.workingset_activate_file), (3, 4));
}

#[test]
fn all_figures_on_v1() {
    let found = as_v1(&stats());

    let usage = &found.cpu.usage;
    assert_eq!(
        (usage.total, usage.user, usage.kernel),
        (1_000_002_003, 2_000_003_004, 3_000_004_005)
    );
    assert_eq!(usage.per_cpu, [5, 6]);
    let throttling = &found.cpu.throttling;
    assert_eq!((throttling.periods, throttling.throttled_periods), (11, 12));
    assert_eq!(throttling.throttled_time, 13_999);

    let memory = &found.memory;
    for (entry, base) in
        [(&memory.usage, 21), (&memory.swap, 31), (&memory.kernel, 51), (&memory.kernel_tcp, 55)]
    {
        let figures = [entry.usage, entry.limit, entry.max, entry.failcnt];
        assert_eq!(figures, [base, base + 1, base + 2, base + 3]);
    }
    assert_eq!(found.memory_oom_control.oom_kill, 59);

    assert_eq!((found.pids.current, found.pids.limit), (3, 4));

    let entries = |list: &[BlkIOEntry]| -> Vec<_> {
        list.iter().map(|e| (e.device.clone(), (e.major, e.minor), e.op.clone(), e.value)).collect()
    };
    let sda = |op: &str, value| ("/dev/sda".to_owned(), (8, 0), op.to_owned(), value);
    // Not in /proc/partitions any more.
    let gone = |op: &str, value| (String::new(), (253, 1), op.to_owned(), value);
    let blkio = &found.blkio;
    assert_eq!(
        entries(&blkio.io_service_bytes_recursive),
        [sda("Read", 1), sda("Write", 2), gone("Write", 3)]
    );
    assert_eq!(entries(&blkio.io_serviced_recursive), [gone("Read", 4), sda("Write", 5)]);
    assert_eq!(entries(&blkio.io_queued_recursive), [sda("Sync", 6)]);
    assert_eq!(entries(&blkio.io_service_time_recursive), [sda("Async", 7)]);
    assert_eq!(entries(&blkio.io_wait_time_recursive), [sda("Total", 8)]);
    assert_eq!(entries(&blkio.io_merged_recursive), [sda("Discard", 9)]);
    assert_eq!(entries(&blkio.io_time_recursive), [sda("", 10)]);
    assert_eq!(entries(&blkio.sectors_recursive), [sda("", 11)]);

    let hugetlb = &found.hugetlb[0];
    assert_eq!(hugetlb.pagesize, "2MB");
    assert_eq!((hugetlb.usage, hugetlb.max, hugetlb.failcnt), (61, 63, 64));

    let rdma = |list: &[theirs_v1::RdmaEntry]| -> Vec<_> {
        list.iter().map(|e| (e.device.clone(), e.hca_handles, e.hca_objects)).collect()
    };
    assert_eq!(rdma(&found.rdma.current), [("mlx4_0".to_owned(), 1, u32::MAX)]);
    assert_eq!(rdma(&found.rdma.limit), [("mlx4_0".to_owned(), 2, u32::MAX)]);

    let [network] = found.network.as_slice() else { panic!("{:?}", found.network) };
    assert_eq!(network.name, "eth0");
    let received = [network.rx_bytes, network.rx_packets, network.rx_errors, network.rx_dropped];
    let sent = [network.tx_bytes, network.tx_packets, network.tx_errors, network.tx_dropped];
    assert_eq!((received, sent), ([1, 2, 3, 4], [5, 6, 7, 8]));
}

#[test]
fn all_figures_on_v2() {
    let found = as_v2(&stats());
    let pressure = |psi: &theirs_v2::PSIStats, base: u32| {
        for (stall, base) in [(&psi.some, base), (&psi.full, base + 4)] {
            let average = |number: u32| f64::from(base + number) + 0.25;
            let averages = [stall.avg10, stall.avg60, stall.avg300];
            assert_eq!(averages, [average(0), average(1), average(2)]);
            assert_eq!(stall.total, u64::from(base) + 3);
        }
    };

    let cpu = &found.cpu;
    let times = [cpu.usage_usec, cpu.user_usec, cpu.system_usec];
    assert_eq!(times, [1_000_002, 2_000_003, 3_000_004]);
    assert_eq!((cpu.nr_periods, cpu.nr_throttled, cpu.throttled_usec), (11, 12, 13));
    assert_eq!((cpu.nr_bursts, cpu.burst_usec), (14, 15));
    pressure(&cpu.psi, 100);

    let memory = &found.memory;
    assert_eq!([memory.usage, memory.usage_limit, memory.max_usage], [21, 22, 23]);
    assert_eq!([memory.swap_usage, memory.swap_limit, memory.swap_max_usage], [41, 42, 43]);
    pressure(&memory.psi, 200);

    let events = &found.memory_events;
    assert_eq!([events.low, events.high, events.max], [91, 92, 93]);
    assert_eq!([events.oom, events.oom_kill, events.oom_group_kill], [94, 95, 96]);

    assert_eq!((found.pids.current, found.pids.limit), (3, 4));

    let io: Vec<_> = found
        .io
        .usage
        .iter()
        .map(|e| ((e.major, e.minor), [e.rbytes, e.wbytes, e.rios, e.wios]))
        .collect();
    assert_eq!(io, [((8, 0), [1, 2, 0, 5]), ((253, 1), [0, 3, 4, 0])]);
    pressure(&found.io.psi, 300);

    let hugetlb = &found.hugetlb[0];
    assert_eq!(hugetlb.pagesize, "2MB");
    assert_eq!((hugetlb.current, hugetlb.max, hugetlb.failcnt), (61, 62, 64));

    let rdma = |list: &[theirs_v2::RdmaEntry]| -> Vec<_> {
        list.iter().map(|e| (e.device.clone(), e.hca_handles, e.hca_objects)).collect()
    };
    assert_eq!(rdma(&found.rdma.current), [("mlx4_0".to_owned(), 1, u32::MAX)]);
    assert_eq!(rdma(&found.rdma.limit), [("mlx4_0".to_owned(), 2, u32::MAX)]);

    let [network] = found.network.as_slice() else { panic!("{:?}", found.network) };
    assert_eq!(network.name, "eth0");
    let received = [network.rx_bytes, network.rx_packets, network.rx_errors, network.rx_dropped];
    let sent = [network.tx_bytes, network.tx_packets, network.tx_errors, network.tx_dropped];
    assert_eq!((received, sent), ([1, 2, 3, 4], [5, 6, 7, 8]));
}

#[test]
fn no_limit_is_0_on_v1_and_the_largest_number_on_v2() {
    let mut stats = stats();
    stats.pids.as_mut().unwrap().limit = None;
    let memory = stats.memory.as_mut().unwrap();
    memory.usage.limit = None;
    memory.swap.as_mut().unwrap().limit = None;
    stats.hugetlb.as_mut().unwrap().get_mut("2MB").unwrap().limit = None;
    assert_eq!(as_v1(&stats).pids.limit, 0);
    let found = as_v2(&stats);
    assert_eq!(found.pids.limit, u64::MAX);
    assert_eq!((found.memory.usage_limit, found.memory.swap_limit), (u64::MAX, u64::MAX));
    assert_eq!(found.hugetlb[0].max, u64::MAX);
}

/// Readers in Go take these for granted: a missing one ends Docker or containerd.
#[test]
fn what_readers_take_for_granted_is_there_without_any_figure() {
    let found = as_v1(&Stats::default());
    assert!(found.cpu.usage.is_some() && found.cpu.throttling.is_some());
    let mut stats = Stats::default();
    stats.memory = Some(MemoryStats::default());
    let memory = as_v1(&stats).memory.unwrap();
    assert!(memory.usage.is_some() && memory.swap.is_some());
    assert!(memory.kernel.is_some() && memory.kernel_tcp.is_some());

    let found = as_v2(&Stats::default());
    assert!(found.cpu.is_some() && found.memory.is_some() && found.pids.is_some());
    assert!(found.io.is_some() && found.rdma.is_some());
    assert!(found.memory_events.is_none());
    // No swap to limit is not "no limit".
    assert_eq!(found.memory.swap_limit, 0);
}

#[test]
fn devices_have_names() {
    let devices = v1::Devices::parse(
        "major minor  #blocks  name\n\n 259        0  500107608 nvme0n1\n   1\nx y z w\n",
    );
    assert_eq!(devices.path(259, 0), "/dev/nvme0n1");
    assert_eq!(devices.path(1, 0), "");
}

/// mountinfo says it too.
#[test]
fn a_unified_host_has_cgroup2_there() {
    let mountinfo = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let kind = mountinfo.lines().rev().find_map(|line| {
        let (mount, kind) = line.split_once(" - ")?;
        (mount.split(' ').nth(4)? == CGROUP_ROOT).then(|| kind.starts_with("cgroup2 "))
    });
    assert_eq!(unified().unwrap(), kind.unwrap_or(false));
}
