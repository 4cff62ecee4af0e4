//! Every field of `linux.resources`, read back from the kernel: config-linux.md, "Control groups".

use std::collections::HashSet;
use std::fs;
use std::path::PathBuf;

use hoist::{CreateOptions, ErrorKind, Stdio};
use serde_json::{Value, json};

use crate::case;
use crate::cgroups::{hierarchy, read, unified};
use crate::common::{Case, assert_error, skip, test_name};

/// What a field's value is in one version of cgroups.
enum Expect {
    /// What the files of a controller hold afterwards. Of files of which kernels have one or the
    /// other the first one that exists is meant.
    Files(&'static str, &'static [&'static [(&'static str, &'static str)]]),
    /// There is no such thing: an error of this kind, with words that it contains.
    Refused(ErrorKind, &'static str),
    /// It is passed over with a warning that contains these words.
    Ignored(&'static str),
}

use Expect::{Files, Ignored, Refused};
const UNSUPPORTED: ErrorKind = ErrorKind::Unsupported;

/// A field, by its pointer below `/linux/resources`.
struct Field {
    pointer: &'static str,
    resources: Value,
    v1: Expect,
    v2: Expect,
}

fn field(pointer: &'static str, resources: Value, v1: Expect, v2: Expect) -> Field {
    Field { pointer, resources, v1, v2 }
}

/// Values that the kernel keeps as they are: whole pages, for instance. `DISK` stands for the
/// number of one that exists.
fn fields() -> Vec<Field> {
    let mut fields = memory();
    fields.extend(cpu());
    fields.extend(block_io());
    fields.extend(others());
    fields
}

fn memory() -> Vec<Field> {
    const V1_MAX: &str = "9223372036854771712";
    vec![
        field(
            "memory/limit",
            json!({"memory": {"limit": 33_554_432}}),
            Files("memory", &[&[("memory.limit_in_bytes", "33554432")]]),
            Files("memory", &[&[("memory.max", "33554432")]]),
        ),
        field(
            "memory/limit",
            json!({"memory": {"limit": -1}}),
            Files("memory", &[&[("memory.limit_in_bytes", V1_MAX)]]),
            Files("memory", &[&[("memory.max", "max")]]),
        ),
        field(
            "memory/reservation",
            json!({"memory": {"reservation": 16_777_216}}),
            Files("memory", &[&[("memory.soft_limit_in_bytes", "16777216")]]),
            Files("memory", &[&[("memory.low", "16777216")]]),
        ),
        // The sum of both on v1, swap alone on v2.
        field(
            "memory/swap",
            json!({"memory": {"limit": 33_554_432, "swap": 50_331_648}}),
            Files("memory", &[&[("memory.memsw.limit_in_bytes", "50331648")]]),
            Files("memory", &[&[("memory.swap.max", "16777216")]]),
        ),
        field(
            "memory/swap",
            json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}}),
            Files("memory", &[&[("memory.memsw.limit_in_bytes", "33554432")]]),
            Files("memory", &[&[("memory.swap.max", "0")]]),
        ),
        field(
            "memory/swap",
            json!({"memory": {"limit": 33_554_432, "swap": -1}}),
            Files("memory", &[&[("memory.memsw.limit_in_bytes", V1_MAX)]]),
            Files("memory", &[&[("memory.swap.max", "max")]]),
        ),
        field(
            "memory/swappiness",
            json!({"memory": {"swappiness": 7}}),
            Files("memory", &[&[("memory.swappiness", "7")]]),
            Refused(UNSUPPORTED, "swappiness"),
        ),
        field(
            "memory/disableOOMKiller",
            json!({"memory": {"disableOOMKiller": true}}),
            Files("memory", &[&[("memory.oom_control", "oom_kill_disable 1")]]),
            Refused(UNSUPPORTED, "OOM killer"),
        ),
        // What it checks is an update.
        field(
            "memory/limit",
            json!({"memory": {"limit": 33_554_432, "checkBeforeUpdate": true}}),
            Files("memory", &[&[("memory.limit_in_bytes", "33554432")]]),
            Files("memory", &[&[("memory.max", "33554432")]]),
        ),
        field(
            "memory/kernel",
            json!({"memory": {"kernel": 33_554_432}}),
            Ignored("memory/kernel: ignored"),
            Ignored("memory/kernel: ignored"),
        ),
        field(
            "memory/kernelTCP",
            json!({"memory": {"kernelTCP": 33_554_432}}),
            Ignored("memory/kernelTCP: ignored"),
            Ignored("memory/kernelTCP: ignored"),
        ),
        field(
            "memory/useHierarchy",
            json!({"memory": {"useHierarchy": false}}),
            Refused(UNSUPPORTED, "hierarchically"),
            Refused(UNSUPPORTED, "hierarchically"),
        ),
    ]
}

fn cpu() -> Vec<Field> {
    let shares =
        |shares: u64, v1, v2| field("cpu/shares", json!({"cpu": {"shares": shares}}), v1, v2);
    vec![
        shares(2, Files("cpu", &[&[("cpu.shares", "2")]]), Files("cpu", &[&[("cpu.weight", "1")]])),
        shares(
            512,
            Files("cpu", &[&[("cpu.shares", "512")]]),
            Files("cpu", &[&[("cpu.weight", "59")]]),
        ),
        shares(
            1024,
            Files("cpu", &[&[("cpu.shares", "1024")]]),
            Files("cpu", &[&[("cpu.weight", "100")]]),
        ),
        shares(
            262_144,
            Files("cpu", &[&[("cpu.shares", "262144")]]),
            Files("cpu", &[&[("cpu.weight", "10000")]]),
        ),
        field(
            "cpu/quota",
            json!({"cpu": {"quota": 500_000, "period": 1_000_000}}),
            Files("cpu", &[&[("cpu.cfs_quota_us", "500000")], &[("cpu.cfs_period_us", "1000000")]]),
            Files("cpu", &[&[("cpu.max", "500000 1000000")]]),
        ),
        field(
            "cpu/quota",
            json!({"cpu": {"quota": -1}}),
            Files("cpu", &[&[("cpu.cfs_quota_us", "-1")]]),
            Files("cpu", &[&[("cpu.max", "max 100000")]]),
        ),
        field(
            "cpu/period",
            json!({"cpu": {"period": 50_000}}),
            Files("cpu", &[&[("cpu.cfs_period_us", "50000")]]),
            Files("cpu", &[&[("cpu.max", "max 50000")]]),
        ),
        field(
            "cpu/burst",
            json!({"cpu": {"quota": 50_000, "burst": 20_000}}),
            Files("cpu", &[&[("cpu.cfs_burst_us", "20000")]]),
            Files("cpu", &[&[("cpu.max.burst", "20000")]]),
        ),
        field(
            "cpu/idle",
            json!({"cpu": {"idle": 1}}),
            Files("cpu", &[&[("cpu.idle", "1")]]),
            Files("cpu", &[&[("cpu.idle", "1")]]),
        ),
        field(
            "cpu/realtimePeriod",
            json!({"cpu": {"realtimePeriod": 500_000}}),
            Files("cpu", &[&[("cpu.rt_period_us", "500000")]]),
            Refused(UNSUPPORTED, "realtime"),
        ),
        field(
            "cpu/realtimeRuntime",
            json!({"cpu": {"realtimeRuntime": 1000}}),
            Files("cpu", &[&[("cpu.rt_runtime_us", "1000")]]),
            Refused(UNSUPPORTED, "realtime"),
        ),
        field(
            "cpu/cpus",
            json!({"cpu": {"cpus": "0"}}),
            Files("cpuset", &[&[("cpuset.cpus", "0")]]),
            Files("cpuset", &[&[("cpuset.cpus", "0")], &[("cpuset.cpus.effective", "0")]]),
        ),
        field(
            "cpu/mems",
            json!({"cpu": {"mems": "0"}}),
            Files("cpuset", &[&[("cpuset.mems", "0")]]),
            Files("cpuset", &[&[("cpuset.mems", "0")], &[("cpuset.mems.effective", "0")]]),
        ),
    ]
}

fn block_io() -> Vec<Field> {
    let throttle = |name: &'static str, pointer, v1, v2| {
        let device = json!([{"major": "MAJOR", "minor": "MINOR", "rate": 1_048_576}]);
        field(pointer, json!({"blockIO": {name: device}}), v1, v2)
    };
    vec![
        field(
            "blockIO/weight",
            json!({"blockIO": {"weight": 300}}),
            Files("blkio", &[&[("blkio.weight", "300"), ("blkio.bfq.weight", "300")]]),
            Files("io", &[&[("io.bfq.weight", "default 300"), ("io.weight", "default 2930")]]),
        ),
        field(
            "blockIO/weightDevice/0",
            json!({"blockIO": {"weightDevice": [
                {"major": "MAJOR", "minor": "MINOR", "weight": 300}]}}),
            Files(
                "blkio",
                &[&[("blkio.weight_device", "DISK 300"), ("blkio.bfq.weight_device", "DISK 300")]],
            ),
            Files("io", &[&[("io.bfq.weight", "DISK 300"), ("io.weight", "DISK 2930")]]),
        ),
        field(
            "blockIO/leafWeight",
            json!({"blockIO": {"leafWeight": 300}}),
            Refused(UNSUPPORTED, "leaf weights"),
            Refused(UNSUPPORTED, "leaf weights"),
        ),
        throttle(
            "throttleReadBpsDevice",
            "blockIO/throttleReadBpsDevice/0",
            Files("blkio", &[&[("blkio.throttle.read_bps_device", "DISK 1048576")]]),
            Files("io", &[&[("io.max", "DISK rbps=1048576 wbps=max riops=max wiops=max")]]),
        ),
        throttle(
            "throttleWriteBpsDevice",
            "blockIO/throttleWriteBpsDevice/0",
            Files("blkio", &[&[("blkio.throttle.write_bps_device", "DISK 1048576")]]),
            Files("io", &[&[("io.max", "DISK rbps=max wbps=1048576 riops=max wiops=max")]]),
        ),
        throttle(
            "throttleReadIOPSDevice",
            "blockIO/throttleReadIOPSDevice/0",
            Files("blkio", &[&[("blkio.throttle.read_iops_device", "DISK 1048576")]]),
            Files("io", &[&[("io.max", "DISK rbps=max wbps=max riops=1048576 wiops=max")]]),
        ),
        throttle(
            "throttleWriteIOPSDevice",
            "blockIO/throttleWriteIOPSDevice/0",
            Files("blkio", &[&[("blkio.throttle.write_iops_device", "DISK 1048576")]]),
            Files("io", &[&[("io.max", "DISK rbps=max wbps=max riops=max wiops=1048576")]]),
        ),
    ]
}

fn others() -> Vec<Field> {
    let pids = |limit, v1, v2| field("pids/limit", json!({"pids": {"limit": limit}}), v1, v2);
    let unified = |pointer, file: &str, value: &str, v2| {
        let refused = Refused(UNSUPPORTED, "cannot use unified on cgroup v1");
        field(pointer, json!({"unified": {file: value}}), refused, v2)
    };
    vec![
        pids(20, Files("pids", &[&[("pids.max", "20")]]), Files("pids", &[&[("pids.max", "20")]])),
        // 0 is a limit since runtime-spec 1.3.
        pids(0, Files("pids", &[&[("pids.max", "1")]]), Files("pids", &[&[("pids.max", "1")]])),
        pids(
            -1,
            Files("pids", &[&[("pids.max", "max")]]),
            Files("pids", &[&[("pids.max", "max")]]),
        ),
        field(
            "hugepageLimits/0",
            json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]}),
            Files(
                "hugetlb",
                &[
                    &[("hugetlb.2MB.limit_in_bytes", "4194304")],
                    &[("hugetlb.2MB.rsvd.limit_in_bytes", "4194304")],
                ],
            ),
            Files(
                "hugetlb",
                &[&[("hugetlb.2MB.max", "4194304")], &[("hugetlb.2MB.rsvd.max", "4194304")]],
            ),
        ),
        field(
            "network/classID",
            json!({"network": {"classID": 1_048_577}}),
            Files("net_cls", &[&[("net_cls.classid", "1048577")]]),
            Refused(UNSUPPORTED, "no network controllers"),
        ),
        field(
            "network/priorities/0",
            json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}}),
            Files("net_prio", &[&[("net_prio.ifpriomap", "lo 3")]]),
            Refused(UNSUPPORTED, "no network controllers"),
        ),
        field(
            "rdma/RDMA",
            json!({"rdma": {"RDMA": {"hcaHandles": 3, "hcaObjects": 10_000}}}),
            Files("rdma", &[&[("rdma.max", "RDMA hca_handle=3 hca_object=10000")]]),
            Files("rdma", &[&[("rdma.max", "RDMA hca_handle=3 hca_object=10000")]]),
        ),
        unified(
            "unified/memory.high",
            "memory.high",
            "29999104",
            Files("memory", &[&[("memory.high", "29999104")]]),
        ),
        unified(
            "unified/memory.min",
            "memory.min",
            "4194304",
            Files("memory", &[&[("memory.min", "4194304")]]),
        ),
        unified(
            "unified/memory.oom.group",
            "memory.oom.group",
            "1",
            Files("memory", &[&[("memory.oom.group", "1")]]),
        ),
        unified("unified/cpu.weight", "cpu.weight", "77", Files("cpu", &[&[("cpu.weight", "77")]])),
        unified("unified/pids.max", "pids.max", "9", Files("pids", &[&[("pids.max", "9")]])),
        unified(
            "unified/io.max",
            "io.max",
            "DISK rbps=2097152 wiops=120",
            Files("io", &[&[("io.max", "DISK rbps=2097152 wbps=max riops=max wiops=120")]]),
        ),
        unified(
            "unified/hugetlb.2MB.max",
            "hugetlb.2MB.max",
            "2097152",
            Files("hugetlb", &[&[("hugetlb.2MB.max", "2097152")]]),
        ),
        unified(
            "unified/cgroup.max.depth",
            "cgroup.max.depth",
            "3",
            Files("cgroup", &[&[("cgroup.max.depth", "3")]]),
        ),
        unified(
            "unified/cgroup.max.descendants",
            "cgroup.max.descendants",
            "5",
            Files("cgroup", &[&[("cgroup.max.descendants", "5")]]),
        ),
    ]
}

/// What the values above need of the host.
struct Facts {
    disk: Option<String>,
    /// The disk has BFQ as its scheduler: nobody else weighs a device's users.
    weighs: bool,
    rdma: Option<String>,
}

impl Facts {
    fn new() -> Self {
        let names = |dir| {
            let entries = fs::read_dir(dir).into_iter().flatten().flatten();
            let mut names: Vec<_> = entries.map(|e| e.file_name().into_string().unwrap()).collect();
            names.sort();
            names
        };
        let memory = ["loop", "ram", "zram", "sr", "fd", "nbd"];
        let disk = names("/sys/block")
            .into_iter()
            .find(|name| !memory.iter().any(|prefix| name.starts_with(prefix)))
            .map(|name| PathBuf::from("/sys/block").join(name));
        Self {
            weighs: disk.as_ref().is_some_and(|disk| {
                fs::read_to_string(disk.join("queue/scheduler"))
                    .is_ok_and(|text| text.contains("[bfq]"))
            }),
            disk: disk.map(|disk| read(&disk.join("dev"))),
            rdma: names("/sys/class/infiniband").into_iter().next(),
        }
    }

    /// Puts in what is there, or says what is missing.
    fn fill(&self, text: &str) -> Result<String, &'static str> {
        let mut text = text.to_owned();
        if text.contains("MAJOR") || text.contains("DISK") {
            let disk = self.disk.as_deref().ok_or("no disk is here")?;
            let (major, minor) = disk.split_once(':').unwrap();
            text = text.replace("\"MAJOR\"", major).replace("\"MINOR\"", minor);
            text = text.replace("DISK", disk);
        }
        if text.contains("weightDevice") && !self.weighs {
            return Err("the disk's scheduler isn't bfq");
        }
        if text.contains("RDMA") {
            text = text.replace("RDMA", self.rdma.as_deref().ok_or("no RDMA device is here")?);
        }
        Ok(text)
    }
}

/// The files that a container's cgroups have without any limits.
fn files(case: &mut Case) -> HashSet<String> {
    case.linux()["resources"] = json!({});
    let container = case.create();
    let entries = case.cgroups().into_iter().flat_map(|dir| fs::read_dir(dir).unwrap());
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    container.delete().unwrap();
    names
}

#[test]
fn every_field_is_in_force() {
    let mut case = case!();
    case.script("true");
    let (facts, present) = (Facts::new(), files(&mut case));
    let mut verified = 0;
    for field in fields() {
        let (pointer, expect) = (field.pointer, if unified() { field.v2 } else { field.v1 });
        let name = format!("{}: {pointer} = {}", test_name(), field.resources);
        let resources = match facts.fill(&field.resources.to_string()) {
            Ok(text) => serde_json::from_str(&text).unwrap(),
            // What is refused is refused without a disk, too; but here all of these are accepted.
            Err(reason) => {
                skip(&name, reason);
                continue;
            }
        };
        case.linux()["resources"] = resources;
        let options = CreateOptions::new().stdio(Stdio::null());
        let created = case.create_with(options);
        let (controller, files) = match expect {
            Refused(kind, words) => {
                let error = created.expect_err(&name);
                assert_eq!(error.kind(), kind, "{error}");
                assert!(error.to_string().contains(words), "{error}");
                let named = error.pointer().unwrap().trim_start_matches("/linux/resources/");
                assert!(pointer.starts_with(named), "{name}: {error}");
                verified += 1;
                continue;
            }
            Ignored(words) => {
                let container = created.unwrap_or_else(|error| panic!("{name}: {error}"));
                let warnings = container.warnings();
                assert!(warnings.iter().any(|warning| warning.contains(words)), "{warnings:?}");
                container.delete().unwrap();
                verified += 1;
                continue;
            }
            Files(controller, files) => (controller, files),
        };
        let pointer = format!("/linux/resources/{}", facts.fill(pointer).unwrap());
        let Some(hierarchy) = hierarchy(controller) else {
            let error = created.expect_err(&name);
            // A field may need another one of the same controller, which is missed first.
            let words = format!("controller {controller} is not available");
            let start = pointer.rsplit_once('/').unwrap().0;
            assert!(error.pointer().unwrap().starts_with(start), "{error}");
            assert_error(&error, ErrorKind::Cgroup, error.pointer().unwrap(), &words);
            skip(&name, &format!("controller {controller} isn't here"));
            continue;
        };
        let absent = files.iter().find(|these| !these.iter().any(|(f, _)| present.contains(*f)));
        if let Some(absent) = absent {
            let error = created.expect_err(&name);
            assert_error(&error, ErrorKind::Cgroup, &pointer, "no such setting");
            skip(&name, &format!("this kernel has no {}", absent[0].0));
            continue;
        }
        let container = created.unwrap_or_else(|error| panic!("{name}: {error}"));
        for alternatives in files {
            let (file, value) = alternatives.iter().find(|(f, _)| present.contains(*f)).unwrap();
            let value = facts.fill(value).unwrap();
            let found = read(&hierarchy.join(&case.id).join(file));
            assert!(found.lines().any(|line| line == value), "{name}: {file} has {found:?}");
        }
        container.delete().unwrap();
        verified += 1;
    }
    assert!(verified >= 10, "only {verified} fields could be looked at");
    case.assert_nothing_left();
}

/// What the spec calls an error, and what the kernel refuses: nothing is left of the container.
#[test]
fn what_is_wrong_is_named() {
    let mut case = case!();
    case.script("true");
    let cases = [
        (json!({"cpu": {"cpus": "4000"}}), "cpuset", "cpu/cpus"),
        (json!({"cpu": {"period": 5}}), "cpu", "cpu/period"),
        (json!({"pids": {"limit": 99_999_999_999_i64}}), "pids", "pids/limit"),
        (
            json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}),
            "hugetlb",
            "hugepageLimits/0",
        ),
        (
            json!({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}),
            "",
            "hugepageLimits/0/pageSize",
        ),
        (json!({"blockIO": {"weight": 5}}), "", "blockIO/weight"),
    ];
    for (resources, controller, pointer) in cases {
        case.linux()["resources"] = resources;
        let error = case.fails();
        assert_eq!(
            error.pointer(),
            Some(format!("/linux/resources/{pointer}").as_str()),
            "{error}"
        );
        // A value that the kernel has refused is in a file, which is named with the errno.
        if error.errno().is_some() {
            assert!(error.file().unwrap().contains(controller), "{error}");
        }
    }
    if unified() {
        for (file, words) in [
            ("no.such", "not available"),
            ("cgroup.no_such", "no such setting"),
            ("cgroup.procs", "acts on processes"),
            ("../cgroup.type", "is not a cgroup file's name"),
            ("nodot", "is not a cgroup file's name"),
        ] {
            case.linux()["resources"] = json!({"unified": {file: "1"}});
            let error = case.fails();
            let pointer = format!("/linux/resources/unified/{}", file.replace('/', "~1"));
            assert_eq!(error.pointer(), Some(pointer.as_str()));
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
