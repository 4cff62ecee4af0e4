//! Lines that runc 1.3.6 has printed, made again from their figures: the same bytes.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;

use super::json;

const V1: &str = include_str!("testdata/v1-runc.json");
const V2: &str = include_str!("testdata/v2-runc.json");

fn number(value: &Value) -> u64 {
    value.as_u64().unwrap_or(0)
}

fn time(value: &Value) -> Duration {
    Duration::from_nanos(number(value))
}

fn times(value: &Value) -> Vec<Duration> {
    value.as_array().into_iter().flatten().map(time).collect()
}

/// A list of small numbers.
fn numbers(value: &Value) -> Vec<u16> {
    let list = value.as_array().into_iter().flatten();
    list.map(|value| u16::try_from(number(value)).unwrap()).collect()
}

/// `unlimited` is the number that stands for no limit.
fn usage(value: &Value, unlimited: u64) -> hoist::MemoryUsage {
    let mut usage = hoist::MemoryUsage::default();
    usage.usage = number(&value["usage"]);
    usage.limit = Some(number(&value["limit"])).filter(|limit| *limit != unlimited);
    usage.max_usage = value["max"].as_u64();
    usage.failcnt = value["failcnt"].as_u64();
    usage
}

fn pressure(value: &Value) -> Option<hoist::Pressure> {
    let stall = |value: &Value| {
        let mut stall = hoist::Stall::default();
        stall.avg10 = value["avg10"].as_f64().unwrap();
        stall.avg60 = value["avg60"].as_f64().unwrap();
        stall.avg300 = value["avg300"].as_f64().unwrap();
        stall.total = Duration::from_micros(number(&value["total"]));
        stall
    };
    value.as_object()?;
    let mut pressure = hoist::Pressure::default();
    pressure.some = stall(&value["some"]);
    pressure.full = stall(&value["full"]);
    Some(pressure)
}

fn entries(value: &Value) -> Vec<hoist::BlockIoEntry> {
    let entry = |value: &Value| {
        let mut entry = hoist::BlockIoEntry::default();
        entry.major = number(&value["major"]);
        entry.minor = number(&value["minor"]);
        entry.operation = value["op"].as_str().unwrap_or_default().to_owned();
        entry.value = number(&value["value"]);
        entry
    };
    value.as_array().into_iter().flatten().map(entry).collect()
}

/// The figures in a line of runc's.
fn figures(line: &str) -> hoist::Stats {
    let line: Value = serde_json::from_str(line).unwrap();
    let data = &line["data"];
    let mut stats = hoist::Stats::default();
    let mut cpu = hoist::CpuStats::default();
    let from = &data["cpu"]["usage"];
    cpu.total = time(&from["total"]);
    cpu.user = time(&from["user"]);
    cpu.kernel = time(&from["kernel"]);
    cpu.per_cpu = times(&from["percpu"]);
    cpu.per_cpu_user = times(&from["percpu_user"]);
    cpu.per_cpu_kernel = times(&from["percpu_kernel"]);
    stats.cpu = Some(cpu);
    let mut throttling = hoist::Throttling::default();
    let from = &data["cpu"]["throttling"];
    throttling.periods = number(&from["periods"]);
    throttling.throttled_periods = number(&from["throttledPeriods"]);
    throttling.throttled_time = time(&from["throttledTime"]);
    stats.throttling = Some(throttling);
    let mut cpuset = hoist::CpusetStats::default();
    let from = &data["cpuset"];
    cpuset.cpus = numbers(&from["cpus"]);
    cpuset.mems = numbers(&from["mems"]);
    cpuset.sched_load_balance = number(&from["sched_load_balance"]);
    cpuset.sched_relax_domain_level = from["sched_relax_domain_level"].as_i64().unwrap();
    stats.cpuset = Some(cpuset);
    let mut memory = hoist::MemoryStats::default();
    let from = &data["memory"];
    memory.cache = number(&from["cache"]);
    memory.usage = usage(&from["usage"], u64::MAX);
    memory.memory_and_swap = Some(usage(&from["swap"], u64::MAX));
    memory.kernel = Some(usage(&from["kernel"], 0));
    memory.kernel_tcp = Some(usage(&from["kernelTCP"], 0));
    memory.raw = serde_json::from_value::<BTreeMap<_, _>>(from["raw"].clone()).unwrap();
    stats.memory = Some(memory);
    let mut pids = hoist::PidsStats::default();
    pids.current = number(&data["pids"]["current"]);
    pids.limit = data["pids"]["limit"].as_u64();
    stats.pids = Some(pids);
    let mut block_io = hoist::BlockIoStats::default();
    let from = &data["blkio"];
    block_io.service_bytes = entries(&from["ioServiceBytesRecursive"]);
    block_io.serviced = entries(&from["ioServicedRecursive"]);
    stats.block_io = Some(block_io);
    stats.pressure.cpu = pressure(&data["cpu"]["psi"]);
    stats.pressure.memory = pressure(&data["memory"]["psi"]);
    stats.pressure.io = pressure(&data["blkio"]["psi"]);
    let hugetlb = data["hugetlb"].as_object().unwrap().iter().map(|(size, from)| {
        let mut page = hoist::HugetlbStats::default();
        page.usage = number(&from["usage"]);
        page.failcnt = number(&from["failcnt"]);
        (size.clone(), page)
    });
    stats.hugetlb = Some(hugetlb.collect());
    stats
}

fn printed(stats: &hoist::Stats) -> String {
    serde_json::to_string(&json::Event::stats("cap", stats, 0)).unwrap() + "\n"
}

#[test]
fn the_lines_of_runc() {
    for line in [V1, V2] {
        assert_eq!(printed(&figures(line)), line);
    }
}

#[test]
fn an_oom_event_has_no_data() {
    let line = serde_json::to_string(&json::Event::oom("web-1")).unwrap();
    assert_eq!(line, r#"{"type":"oom","id":"web-1"}"#);
}

#[test]
fn a_host_that_counts_nothing() {
    let line = serde_json::to_string(&json::Event::stats("x", &hoist::Stats::default(), 3));
    let expected = concat!(
        r#"{"type":"stats","id":"x","data":{"cpu":{"usage":{"kernel":0,"user":0},"#,
        r#""throttling":{}},"cpuset":{"cpu_exclusive":0,"mem_hardwall":0,"mem_exclusive":0,"#,
        r#""memory_migrate":0,"memory_spread_page":0,"memory_spread_slab":0,"#,
        r#""memory_pressure":0,"sched_load_balance":0,"sched_relax_domain_level":0},"#,
        r#""memory":{"usage":{"limit":0,"failcnt":0},"swap":{"limit":0,"failcnt":0},"#,
        r#""kernel":{"limit":0,"failcnt":0},"kernelTCP":{"limit":0,"failcnt":0}},"#,
        r#""pids":{"current":3},"blkio":{},"hugetlb":{},"intel_rdt":{},"#,
        r#""network_interfaces":null}}"#
    );
    assert_eq!(line.unwrap(), expected);
}

#[test]
fn no_limit_is_the_largest_number_of_bytes_and_no_number_of_tasks() {
    let mut stats = figures(V2);
    stats.memory.as_mut().unwrap().usage.limit = None;
    stats.pids.as_mut().unwrap().limit = None;
    let line = printed(&stats);
    assert!(line.contains(r#""usage":{"limit":18446744073709551615,"#), "{line}");
    assert!(line.contains(r#""pids":{"current":2},"#), "{line}");
}

#[test]
fn interfaces_and_resctrl_groups() {
    let mut stats = hoist::Stats::default();
    let mut lo = hoist::NetworkStats::default();
    lo.name = "lo".to_owned();
    lo.rx_bytes = 5;
    stats.network = Some(vec![lo]);
    let mut rdt = hoist::IntelRdtStats::default();
    rdt.schemata = vec!["MB:0= 20;1=100".to_owned(), "    L3:0=ff;1=ff".to_owned()];
    rdt.root_schemata = vec!["MB:0=100;1=100".to_owned(), "    L3:0=fffff;1=fffff".to_owned()];
    let mut cache = hoist::L3CacheInfo::default();
    cache.cbm_mask = "fffff".to_owned();
    cache.num_closids = 16;
    rdt.l3_cache = Some(cache);
    let mut bandwidth = hoist::MemoryBandwidthInfo::default();
    bandwidth.bandwidth_gran = 10;
    rdt.memory_bandwidth = Some(bandwidth);
    let mut monitor = hoist::MonitorStats::default();
    monitor.mbm_total_bytes = Some(7);
    rdt.monitors = Some(vec![monitor]);
    stats.intel_rdt = Some(rdt);
    let line = printed(&stats);
    let rdt = concat!(
        r#""intel_rdt":{"l3_cache_info":{"cbm_mask":"fffff","num_closids":16},"#,
        r#""l3_cache_schema_root":"L3:0=fffff;1=fffff","l3_cache_schema":"L3:0=ff;1=ff","#,
        r#""mem_bw_info":{"bandwidth_gran":10},"mem_bw_schema_root":"MB:0=100;1=100","#,
        r#""mem_bw_schema":"MB:0= 20;1=100","schemata":["MB:0= 20;1=100","    L3:0=ff;1=ff"],"#,
        r#""mbm_stats":[{"mbm_total_bytes":7,"mbm_local_bytes":0}]},"#
    );
    assert!(line.contains(rdt), "{line}");
    let interface = concat!(
        r#""network_interfaces":[{"Name":"lo","RxBytes":5,"RxPackets":0,"RxErrors":0,"#,
        r#""RxDropped":0,"TxBytes":0,"TxPackets":0,"TxErrors":0,"TxDropped":0}]"#
    );
    assert!(line.contains(interface), "{line}");
}
