//! The figures of two real containers, and texts that no kernel writes.
//!
//! `v1.txt` and `v2.txt` are the files of the cgroups of busy containers that were then frozen
//! (hybrid host, Linux 6.18; unified one, Linux 6.12), and beside each is what runc 1.3.6 printed
//! for them. The averages in `cpu.pressure`, which fade while nothing happens, are those that runc
//! has read.

use std::fs;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::cgroup::Paths;
use crate::cgroup::dir::Dir;
use crate::cgroup::paths::Location;

/// A directory with a cgroup's files.
struct Fake(PathBuf);

impl Fake {
    /// `files` has a line `== path` before each file's text.
    fn new(files: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let path =
            std::env::temp_dir().join(format!("hoist-stats-{}-{number}", std::process::id()));
        fs::create_dir(&path).unwrap();
        let fake = Self(path);
        for file in files.split("== ").skip(1) {
            let (name, text) = file.split_once('\n').unwrap();
            fake.write(name, text);
        }
        fake
    }

    fn write(&self, name: &str, text: &str) {
        let file = self.0.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(file, text).unwrap();
    }

    /// The cgroup of a unified host.
    fn unified(&self) -> Cgroup {
        let paths = Paths { unified: Some(self.location("")), ..Paths::nowhere(true) };
        let unified = Some(Dir::open_mount(&self.0).unwrap());
        Cgroup { paths, unified, legacy: vec![], unit: None }
    }

    /// The cgroup of a legacy host, with these controllers.
    fn legacy(&self, controllers: &[&str]) -> Cgroup {
        let locations = controllers.iter().map(|controller| self.location(controller)).collect();
        let open = |controller: &&str| Dir::open_mount(&self.0.join(controller)).unwrap();
        Cgroup {
            paths: Paths { legacy: locations, ..Paths::nowhere(true) },
            unified: None,
            legacy: controllers.iter().map(open).collect(),
            unit: None,
        }
    }

    fn location(&self, controller: &str) -> Location {
        let controllers = Some(controller.to_owned()).filter(|name| !name.is_empty());
        Location {
            controllers: controllers.into_iter().collect(),
            mountpoint: self.0.to_string_lossy().into_owned(),
            path: controller.to_owned(),
            made: 0,
        }
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// What runc shows of these figures: its names and units, without members that are 0.
fn as_runc(stats: &Stats) -> Value {
    let nanos = |time: &Duration| json!(u64::try_from(time.as_nanos()).unwrap());
    let all = |times: &[Duration]| times.iter().map(nanos).collect::<Vec<_>>();
    let psi = |pressure: Option<Pressure>| {
        let stall = |stall: Stall| {
            json!({"avg10": stall.avg10, "avg60": stall.avg60, "avg300": stall.avg300,
                "total": u64::try_from(stall.total.as_micros()).unwrap()})
        };
        pressure.map(|pressure| json!({"some": stall(pressure.some), "full": stall(pressure.full)}))
    };
    let entry = |usage: Option<MemoryUsage>| {
        usage.map(|usage| {
            json!({"limit": usage.limit.unwrap_or(u64::MAX), "usage": usage.usage,
                "max": usage.max_usage, "failcnt": usage.failcnt})
        })
    };
    let list = |entries: &[BlockIoEntry]| -> Vec<Value> {
        let entry = |entry: &BlockIoEntry| {
            json!({"major": entry.major, "minor": entry.minor, "op": entry.operation,
                "value": entry.value})
        };
        entries.iter().map(entry).collect()
    };
    let cpu = stats.cpu.as_ref().unwrap();
    let throttling = stats.throttling.unwrap();
    let memory = stats.memory.as_ref().unwrap();
    let pids = stats.pids.unwrap();
    let block_io = stats.block_io.as_ref().unwrap();
    let cpuset = stats.cpuset.clone().unwrap_or_default();
    json!({
        "cpu": {
            "usage": {"total": nanos(&cpu.total), "kernel": nanos(&cpu.kernel),
                "user": nanos(&cpu.user), "percpu": all(&cpu.per_cpu),
                "percpu_kernel": all(&cpu.per_cpu_kernel),
                "percpu_user": all(&cpu.per_cpu_user)},
            "throttling": {"periods": throttling.periods,
                "throttledPeriods": throttling.throttled_periods,
                "throttledTime": nanos(&throttling.throttled_time)},
            "psi": psi(stats.pressure.cpu),
        },
        "cpuset": {
            "cpus": cpuset.cpus, "mems": cpuset.mems, "cpu_exclusive": cpuset.cpu_exclusive,
            "mem_exclusive": cpuset.mem_exclusive, "mem_hardwall": cpuset.mem_hardwall,
            "memory_migrate": cpuset.memory_migrate, "memory_pressure": cpuset.memory_pressure,
            "memory_spread_page": cpuset.memory_spread_page,
            "memory_spread_slab": cpuset.memory_spread_slab,
            "sched_load_balance": cpuset.sched_load_balance,
            "sched_relax_domain_level": cpuset.sched_relax_domain_level,
        },
        "memory": {"cache": memory.cache, "usage": entry(Some(memory.usage)),
            "swap": entry(memory.memory_and_swap), "kernel": entry(memory.kernel),
            "kernelTCP": entry(memory.kernel_tcp), "raw": memory.raw,
            "psi": psi(stats.pressure.memory)},
        "pids": {"current": pids.current, "limit": pids.limit.unwrap_or(0)},
        "blkio": {"ioServiceBytesRecursive": list(&block_io.service_bytes),
            "ioServicedRecursive": list(&block_io.serviced),
            "ioQueueRecursive": list(&block_io.queued),
            "ioServiceTimeRecursive": list(&block_io.service_time),
            "ioWaitTimeRecursive": list(&block_io.wait_time),
            "ioMergedRecursive": list(&block_io.merged),
            "ioTimeRecursive": list(&block_io.time),
            "sectorsRecursive": list(&block_io.sectors),
            "psi": psi(stats.pressure.io)},
        "hugetlb": stats.hugetlb.iter().flatten().map(|(size, stats)| {
            (size.clone(), json!({"usage": stats.usage, "max": stats.max_usage,
                "failcnt": stats.failcnt}))
        }).collect::<serde_json::Map<_, _>>(),
    })
}

/// Without what says nothing, so that it doesn't matter who leaves out what.
fn bare(value: Value) -> Value {
    let says = |value: &Value| {
        !value.is_null()
            && value.as_f64() != Some(0.0)
            && value.as_array().is_none_or(|list| !list.is_empty())
            && value.as_object().is_none_or(|members| !members.is_empty())
            && value.as_str() != Some("")
    };
    match value {
        Value::Object(members) => {
            let members = members.into_iter().map(|(name, value)| (name, bare(value)));
            members.filter(|(_, value)| says(value)).collect()
        }
        Value::Array(list) => list.into_iter().map(bare).collect(),
        other => other,
    }
}

fn runc(line: &str) -> Value {
    let mut line: Value = serde_json::from_str(line).unwrap();
    line["data"].take()
}

#[test]
fn a_container_on_v1() {
    let fake = Fake::new(include_str!("v1.txt"));
    let controllers = ["memory", "cpu", "cpuacct", "cpuset", "pids", "blkio"];
    let stats = fake.legacy(&controllers).stats().unwrap().unwrap();
    let expected = runc(include_str!("v1-runc.json"));
    assert_eq!(bare(as_runc(&stats)), bare(expected));
    // What runc doesn't show.
    let throttling = stats.throttling.unwrap();
    assert_eq!((throttling.burst_periods, throttling.burst_time), (Some(0), Some(Duration::ZERO)));
    let memory = stats.memory.unwrap();
    assert_eq!((memory.oom_kills, memory.events), (Some(0), None));
    assert_eq!((stats.hugetlb, stats.rdma), (None, None));
    assert_eq!(stats.pressure, PressureStats::default());
}

#[test]
fn a_container_on_v2() {
    let fake = Fake::new(include_str!("v2.txt"));
    let stats = fake.unified().stats().unwrap().unwrap();
    let expected = runc(include_str!("v2-runc.json"));
    assert_eq!(bare(as_runc(&stats)), bare(expected));
    let memory = stats.memory.unwrap();
    assert_eq!(memory.swap.unwrap().limit, Some(67_108_864));
    assert_eq!(memory.oom_kills, Some(0));
    assert_eq!(memory.events, Some(MemoryEvents::default()));
    assert_eq!(stats.cpuset, None);
    assert_eq!(stats.hugetlb.unwrap().keys().collect::<Vec<_>>(), ["1GB", "2MB"]);
    assert_eq!(stats.rdma, Some(vec![]));
}

#[test]
fn what_is_not_counted_is_none() {
    let fake = Fake::new("== cgroup.procs\n== cpu.stat\nusage_usec 7\n");
    let stats = fake.unified().stats().unwrap().unwrap();
    let cpu = CpuStats { total: Duration::from_micros(7), ..CpuStats::default() };
    assert_eq!(stats, Stats { cpu: Some(cpu), ..Stats::default() });
    // The cgroup is gone.
    fs::remove_file(fake.0.join("cgroup.procs")).unwrap();
    assert_eq!(fake.unified().stats().unwrap(), None);
    assert_eq!(fake.legacy(&[]).stats().unwrap(), None);
}

#[test]
fn no_limit_and_no_swap() {
    let fake = Fake::new(
        "== cgroup.procs\n== memory.current\n4096\n== memory.max\nmax\n== pids.current\n1\n\
         == pids.max\nmax\n",
    );
    let stats = fake.unified().stats().unwrap().unwrap();
    let memory = stats.memory.unwrap();
    let usage = MemoryUsage { usage: 4096, ..MemoryUsage::default() };
    assert_eq!((memory.usage, memory.swap, memory.memory_and_swap), (usage, None, Some(usage)));
    assert_eq!(stats.pids, Some(PidsStats { current: 1, limit: None }));
    // Limited swap doesn't limit both.
    fake.write("memory.swap.current", "100\n");
    fake.write("memory.swap.max", "4096\n");
    let both = fake.unified().stats().unwrap().unwrap().memory.unwrap().memory_and_swap.unwrap();
    assert_eq!((both.usage, both.limit), (4196, None));
}

#[test]
fn a_file_that_is_damaged_is_named() {
    for text in ["", "much", "1 2", "0x7", "-", "99999999999999999999", "\u{0}"] {
        let fake = Fake::new("== cgroup.procs\n");
        fake.write("memory.current", text);
        let error = fake.unified().stats().unwrap_err();
        assert_eq!(error.kind(), crate::ErrorKind::Cgroup, "{text:?}");
        assert!(error.file().unwrap().ends_with("memory.current"), "{error}");
    }
    let fake = Fake::new("== cgroup.procs\n== io.pressure\nsome avg10=x total=1\n");
    assert!(fake.unified().stats().unwrap_err().file().unwrap().ends_with("io.pressure"));
    fake.write("io.pressure", "some avg10=1.00 avg60=NaN avg300=0.00 total=1\n");
    assert!(fake.unified().stats().is_err());
}

#[test]
fn what_limits_on_memory_did() {
    let fake = Fake::new(
        "== cgroup.procs\n== memory.current\n1\n\
         == memory.events\nlow 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\n\
         sock_throttled 7\n",
    );
    let memory = || fake.unified().stats().unwrap().unwrap().memory.unwrap();
    let expected = MemoryEvents { low: 1, high: 2, max: 3, oom: 4, oom_kill: 5, oom_group_kill: 6 };
    assert_eq!(memory().events, Some(expected));
    fs::remove_file(fake.0.join("memory.events")).unwrap();
    assert_eq!(memory().events, None);
}

#[test]
fn reserved_huge_pages_come_first() {
    let fake = Fake::new(
        "== cgroup.procs\n== hugetlb.2MB.current\n1\n== hugetlb.2MB.rsvd.current\n2\n\
         == hugetlb.2MB.max\n5\n== hugetlb.2MB.rsvd.max\n6\n== hugetlb.2MB.events\nmax 3\n\
         == hugetlb.64KB.current\n4\n== hugetlb.64KB.max\nmax\n",
    );
    let hugetlb = fake.unified().stats().unwrap().unwrap().hugetlb.unwrap();
    let page = |usage, limit, failcnt| HugetlbStats { usage, limit, max_usage: None, failcnt };
    assert_eq!(
        hugetlb.into_iter().collect::<Vec<_>>(),
        [("2MB".to_owned(), page(2, Some(6), 3)), ("64KB".to_owned(), page(4, None, 0)),]
    );
    let fake = Fake::new(
        "== hugetlb/cgroup.procs\n== hugetlb/hugetlb.2MB.usage_in_bytes\n1\n\
         == hugetlb/hugetlb.2MB.rsvd.usage_in_bytes\n2\n\
         == hugetlb/hugetlb.2MB.rsvd.limit_in_bytes\n5\n\
         == hugetlb/hugetlb.2MB.rsvd.max_usage_in_bytes\n3\n\
         == hugetlb/hugetlb.2MB.rsvd.failcnt\n4\n",
    );
    let hugetlb = fake.legacy(&["hugetlb"]).stats().unwrap().unwrap().hugetlb.unwrap();
    let expected = HugetlbStats { usage: 2, limit: Some(5), max_usage: Some(3), failcnt: 4 };
    assert_eq!(hugetlb["2MB"], expected);
}

#[test]
fn rdma_devices() {
    let fake = Fake::new(
        "== cgroup.procs\n== rdma.current\nmlx4_0 hca_handle=2 hca_object=2000\nodd x\n\
         == rdma.max\nmlx4_0 hca_handle=3 hca_object=max\nocrdma1 hca_handle=1 hca_object=max\n",
    );
    let mlx = RdmaStats {
        device: "mlx4_0".to_owned(),
        handles: 2,
        handles_limit: Some(3),
        objects: 2000,
        objects_limit: None,
    };
    let rdma = fake.unified().stats().unwrap().unwrap().rdma.unwrap();
    assert_eq!(rdma.first(), Some(&mlx));
}

#[test]
fn schedulers_of_block_devices() {
    // bfq has priority over the throttling layer, which counts too.
    let fake = Fake::new(
        "== blkio/cgroup.procs\n== blkio/blkio.throttle.io_serviced_recursive\n8:0 Read 1\n\
         == blkio/blkio.bfq.io_serviced_recursive\n8:16 Read 2\nTotal 2\n\
         == blkio/blkio.bfq.time_recursive\n8:16 30\n\
         == blkio/blkio.bfq.sectors_recursive\n8:16 40\nbroken\n8:x 1\n",
    );
    let found = fake.legacy(&["blkio"]).stats().unwrap().unwrap().block_io.unwrap();
    let entry = |operation: &str, value| BlockIoEntry {
        major: 8,
        minor: 16,
        operation: operation.to_owned(),
        value,
    };
    assert_eq!(found.serviced, [entry("Read", 2)]);
    assert_eq!((found.time, found.sectors), (vec![entry("", 30)], vec![entry("", 40)]));
}

#[test]
fn numbers() {
    for (text, value) in [
        ("0\n", Some(0)),
        (" 7 ", Some(7)),
        ("18446744073709551615", Some(u64::MAX)),
        ("-3", Some(0)), // a sum over CPUs that is behind
        ("-99999999999999999999", Some(0)),
        ("", None),
        ("max", None),
        ("-", None),
        ("--1", None),
        ("1.5", None),
    ] {
        assert_eq!(parse::number(text), value, "{text:?}");
    }
    assert_eq!(parse::limit("max\n"), Some(None));
    assert_eq!(parse::limit("12\n"), Some(Some(12)));
    assert_eq!(parse::limit("12 max"), None);
    let pairs: Vec<_> = parse::pairs("a 1\n\nb\nc x\n d 2\ne -1\n").collect();
    assert_eq!(pairs, [("a", 1), ("e", 0)]);
}

#[test]
fn lists() {
    assert_eq!(parse::list("0-2,7\n"), [0, 1, 2, 7]);
    assert_eq!(parse::list("\n"), [0u16; 0]);
    assert_eq!(parse::list("3-1,x,65536,-,5"), [5]);
    assert_eq!(parse::numbers("1 2  3 \n"), [1, 2, 3]);
    let (user, kernel) = parse::usage_all("cpu user system extra\n0 1 2 9\n1 3 4 9\n2 x 4\n\n");
    assert_eq!((user, kernel), (vec![1, 3], vec![2, 4]));
    assert_eq!(parse::usage_all("cpu total\n0 1 2\n"), (vec![], vec![]));
}

#[test]
fn pressure_before_linux_5_13_has_no_full_for_cpus() {
    let found = parse::pressure("some avg10=1.50 avg60=0.20 avg300=0.03 total=12\n").unwrap();
    let some = Stall { avg10: 1.5, avg60: 0.2, avg300: 0.03, total: Duration::from_micros(12) };
    assert_eq!(found, Pressure { some, full: Stall::default() });
}

proptest! {
    #[test]
    fn any_text_is_survived(
        text in "[a-z0-9=:. ,\n-]{0,200}|some( avg10=[0-9.e]{1,9}| total=[0-9]{1,22}){0,3}",
        any in any::<String>(),
    ) {
        for text in [text.as_str(), any.as_str()] {
            parse::number(text);
            parse::limit(text);
            parse::pairs(text).count();
            parse::numbers(text);
            parse::usage_all(text);
            parse::list(text);
            parse::block_io(text);
            parse::io_stat(text);
            parse::rdma(text);
            parse::pressure(text);
            parse::huge_page_size(text, ".current");
        }
    }

    #[test]
    fn what_the_kernel_writes_is_read(bytes in any::<[u64; 4]>(), list in prop::collection::vec(0u16..500, 0..20)) {
        let [rbytes, wbytes, rios, wios] = bytes;
        let line = format!("8:0 rbytes={rbytes} wbytes={wbytes} rios={rios} wios={wios} dbytes=0\n");
        let (traffic, requests) = parse::io_stat(&line);
        let values = |entries: Vec<BlockIoEntry>| entries.iter().map(|e| e.value).collect::<Vec<_>>();
        prop_assert_eq!(values(traffic), [rbytes, wbytes]);
        prop_assert_eq!(values(requests), [rios, wios]);
        let text = list.iter().map(u16::to_string).collect::<Vec<_>>().join(",");
        prop_assert_eq!(parse::list(&text), list);
    }
}
