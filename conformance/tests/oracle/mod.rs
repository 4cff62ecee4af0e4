//! Run in every view of the hierarchies, see `cgroups`.

use std::collections::BTreeSet;

use cgroups_rs::FreezerState;
use cgroups_rs::fs::blkio::BlkIoController;
use cgroups_rs::fs::cpu::CpuController;
use cgroups_rs::fs::cpuset::CpuSetController;
use cgroups_rs::fs::devices::DevicesController;
use cgroups_rs::fs::freezer::FreezerController;
use cgroups_rs::fs::hugetlb::HugeTlbController;
use cgroups_rs::fs::memory::MemController;
use cgroups_rs::fs::net_cls::NetClsController;
use cgroups_rs::fs::net_prio::NetPrioController;
use cgroups_rs::fs::pid::PidController;
use cgroups_rs::fs::{Cgroup, MaxValue, hierarchies};
use hoist::{Container, CreateOptions, Signal, Status, Stdio};
use serde_json::{Value, json};

use crate::case;
use crate::cgroups::{eventually, hierarchy, unified};
use crate::common::{Case, end, skip, test_name};

/// A container with these limits, running, and its cgroup as cgroups-rs finds it. Without what
/// this host has no controller for.
fn limited(case: &mut Case, limits: &[(&str, Value)]) -> (Container, Cgroup) {
    let mut resources = serde_json::Map::new();
    for (controller, limit) in limits {
        let name = if unified() && *controller == "blkio" { "io" } else { controller };
        if hierarchy(name).is_none() {
            skip(&format!("{}: {name}", test_name()), "the controller isn't here");
            continue;
        }
        for (field, value) in limit.as_object().unwrap() {
            let members = resources.entry(field.clone()).or_insert(json!({}));
            match (members.as_object_mut(), value) {
                (Some(members), Value::Object(more)) => members.extend(more.clone()),
                (_, value) => *members = value.clone(),
            }
        }
    }
    case.linux()["resources"] = resources.into();
    case.script("sleep 1000 & sleep 1000 & wait");
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    eventually("three processes", || container.processes().unwrap().len() == 3);
    let cgroup = Cgroup::load(hierarchies::auto(), &case.id);
    assert_eq!(cgroup.v2(), unified());
    (container, cgroup)
}

#[test]
fn limits_are_read_as_they_were_meant() {
    let mut case = case!();
    let (container, cgroup) = limited(
        &mut case,
        &[
            (
                "memory",
                json!({"memory": {"limit": 33_554_432, "reservation": 16_777_216,
                    "swap": 50_331_648}}),
            ),
            ("cpu", json!({"cpu": {"shares": 512, "quota": 50_000, "period": 200_000}})),
            ("cpuset", json!({"cpu": {"cpus": "0", "mems": "0"}})),
            ("pids", json!({"pids": {"limit": 20}})),
            ("hugetlb", json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}]})),
            ("net_cls", json!({"network": {"classID": 1_048_577}})),
            ("net_prio", json!({"network": {"priorities": [{"name": "lo", "priority": 3}]}})),
        ],
    );
    let mut compared = 0;
    if let Some(memory) = cgroup.controller_of::<MemController>() {
        let (stat, swap) = (memory.memory_stat(), memory.memswap());
        assert_eq!(stat.limit_in_bytes, 33_554_432);
        assert_eq!(stat.soft_limit_in_bytes, 16_777_216);
        // v1 has the sum, v2 what is beyond memory.
        assert_eq!(swap.limit_in_bytes, if unified() { 16_777_216 } else { 50_331_648 });
        assert!(stat.usage_in_bytes > 0 && stat.usage_in_bytes < 33_554_432);
        compared += 1;
    }
    if let Some(cpu) = cgroup.controller_of::<CpuController>() {
        // The weight that 512 shares are since runc 1.3.2 and crun 1.23.
        assert_eq!(cpu.shares().unwrap(), if unified() { 59 } else { 512 });
        assert_eq!((cpu.cfs_quota().unwrap(), cpu.cfs_period().unwrap()), (50_000, 200_000));
        compared += 1;
    }
    if let Some(cpuset) = cgroup.controller_of::<CpuSetController>() {
        let cpuset = cpuset.cpuset();
        assert_eq!((cpuset.cpus, cpuset.mems), (vec![(0, 0)], vec![(0, 0)]));
        compared += 1;
    }
    if let Some(pids) = cgroup.controller_of::<PidController>() {
        assert_eq!(pids.get_pid_max().unwrap(), MaxValue::Value(20));
        assert_eq!(pids.get_pid_current().unwrap(), 3);
        compared += 1;
    }
    if let Some(hugetlb) = cgroup.controller_of::<HugeTlbController>() {
        assert_eq!(hugetlb.limit_in_bytes("2MB").unwrap(), 4_194_304);
        compared += 1;
    }
    if let Some(class) = cgroup.controller_of::<NetClsController>() {
        assert_eq!(class.get_class().unwrap(), 1_048_577);
        compared += 1;
    }
    if let Some(priorities) = cgroup.controller_of::<NetPrioController>() {
        assert_eq!(priorities.ifpriomap().unwrap().get("lo"), Some(&3));
        compared += 1;
    }
    if compared == 0 {
        skip(&test_name(), "no controller is here");
    }
    end(container);
}

/// Of block devices' limits cgroups-rs reads those of v1 only.
#[test]
fn throttling_is_read_as_it_was_meant() {
    let mut case = case!();
    let disk = std::fs::read_dir("/sys/block").unwrap().flatten().find_map(|entry| {
        let name = entry.file_name().into_string().unwrap();
        let disk = ["vd", "sd", "nvme", "xvd"].iter().any(|prefix| name.starts_with(prefix));
        let number = disk.then(|| std::fs::read_to_string(entry.path().join("dev")).unwrap())?;
        let (major, minor) = number.trim().split_once(':')?;
        Some((major.parse::<i16>().ok()?, minor.parse::<i16>().ok()?))
    });
    let Some((major, minor)) = disk.filter(|_| !unified()) else {
        return skip(&test_name(), "needs a disk and v1");
    };
    let rate = |rate: u64| json!([{"major": major, "minor": minor, "rate": rate}]);
    let limits = json!({"blockIO": {
        "throttleReadBpsDevice": rate(1_000_001), "throttleWriteBpsDevice": rate(1_000_002),
        "throttleReadIOPSDevice": rate(1_003), "throttleWriteIOPSDevice": rate(1_004)}});
    let (container, cgroup) = limited(&mut case, &[("blkio", limits)]);
    let throttle = cgroup.controller_of::<BlkIoController>().unwrap().blkio().throttle;
    let lists = [
        (throttle.read_bps_device, 1_000_001),
        (throttle.write_bps_device, 1_000_002),
        (throttle.read_iops_device, 1_003),
        (throttle.write_iops_device, 1_004),
    ];
    for (list, rate) in lists {
        let found: Vec<_> =
            list.iter().map(|entry| (entry.major, entry.minor, entry.data)).collect();
        assert_eq!(found, [(major, minor, rate)]);
    }
    end(container);
}

#[test]
fn both_know_the_same_processes() {
    let mut case = case!();
    let (container, cgroup) = limited(&mut case, &[]);
    let theirs: BTreeSet<u64> = cgroup.procs().into_iter().map(|pid| pid.pid).collect();
    let ours = container.processes().unwrap().into_iter().map(u64::from).collect();
    assert_eq!(theirs, ours);
    end(container);
    assert!(!cgroup.exists());
}

/// Each sees what the other one has frozen, and a frozen container is killed.
#[test]
fn both_freeze_the_same() {
    let mut case = case!();
    let (container, cgroup) = limited(&mut case, &[]);
    let freezer: &FreezerController = cgroup.controller_of().unwrap();
    assert!(matches!(freezer.state().unwrap(), FreezerState::Thawed));
    freezer.freeze().unwrap();
    eventually("frozen", || matches!(freezer.state().unwrap(), FreezerState::Frozen));
    eventually("paused", || container.state().unwrap().status == Status::Paused);
    freezer.thaw().unwrap();
    eventually("running", || container.state().unwrap().status == Status::Running);
    freezer.freeze().unwrap();
    container.kill(Signal::KILL).unwrap();
    end(container);
    case.assert_nothing_left();
}

/// v1's list of devices has what every container has, and the rule of this one.
#[test]
fn device_rules_are_read_as_they_were_meant() {
    let mut case = case!();
    if unified() {
        return skip(&test_name(), "on cgroup2 there is no list of devices");
    }
    let rules = json!({"devices": [{"allow": false, "access": "rwm"},
        {"allow": true, "type": "b", "major": 7, "minor": -1, "access": "rw"}]});
    let (container, cgroup) = limited(&mut case, &[("devices", rules)]);
    let list = cgroup.controller_of::<DevicesController>().unwrap().allowed_devices().unwrap();
    let found: BTreeSet<String> = list
        .iter()
        .map(|rule| {
            let access: String = rule.access.iter().map(|access| access.to_char()).collect();
            format!("{} {}:{} {access}", rule.devtype.to_char(), rule.major, rule.minor)
        })
        .collect();
    for rule in ["b 7:-1 rw", "c 1:3 rwm", "c -1:-1 m", "b -1:-1 m", "c 136:-1 rwm"] {
        assert!(found.contains(rule), "{rule}: {found:?}");
    }
    assert_eq!(found.len(), 1 + 2 + 9);
    assert!(list.iter().all(|rule| rule.allow));
    end(container);
}
