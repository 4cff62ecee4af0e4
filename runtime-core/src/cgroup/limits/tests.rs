use serde_json::json;

use super::v2::{swap_alone, weight};
use super::*;

fn resources(json: serde_json::Value) -> LinuxResources {
    serde_json::from_value(json).unwrap()
}

/// `file=value` of each write.
fn writes(json: serde_json::Value, mode: Mode) -> Vec<String> {
    let writes = translate(&resources(json), mode).unwrap();
    writes.iter().map(|write| format!("{}={}", write.file, write.value)).collect()
}

fn pointer(json: serde_json::Value, mode: Mode) -> String {
    let error = translate(&resources(json), mode).unwrap_err();
    error.pointer().unwrap().strip_prefix("/linux/resources/").unwrap().to_owned()
}

#[test]
fn shares_become_weights_as_in_runc() {
    // The values of runc's own tests.
    for (shares, expected) in [
        (1, 1),
        (2, 1),
        (3, 2),
        (1024, 100),
        (262_143, 10_000),
        (262_144, 10_000),
        (262_145, 10_000),
    ] {
        assert_eq!(weight(shares), expected, "{shares}");
    }
    assert!((2..262_144).step_by(97).all(|shares| weight(shares) <= weight(shares + 1)));
}

#[test]
fn swap_is_told_from_memory() {
    assert_eq!(swap_alone(-1, 0).unwrap(), Some(-1));
    assert_eq!(swap_alone(100, 0).unwrap(), None);
    assert_eq!(swap_alone(100, -1).unwrap(), Some(-1));
    assert_eq!(swap_alone(-1, 50).unwrap(), Some(50));
    assert_eq!(swap_alone(100, 150).unwrap(), Some(50));
    assert_eq!(swap_alone(100, 100).unwrap(), Some(0));
    assert_eq!(swap_alone(100, 50).unwrap_err().pointer(), Some("/linux/resources/memory/swap"));
    assert_eq!(swap_alone(0, 50).unwrap_err().pointer(), Some("/linux/resources/memory/swap"));
    assert!(swap_alone(-2, 50).is_err());
}

#[test]
fn everything_that_docker_sets() {
    let docker = json!({
        "memory": {"limit": 1_048_576, "swap": 2_097_152, "reservation": 524_288,
                   "disableOOMKiller": false, "checkBeforeUpdate": false},
        "cpu": {"shares": 512, "quota": 50_000, "period": 100_000, "burst": 1000, "idle": 0,
                "cpus": "0-1", "mems": "0", "realtimeRuntime": 0},
        "pids": {"limit": 0},
        "hugepageLimits": [{"pageSize": "2MB", "limit": 4096}],
        "network": {},
    });
    assert_eq!(
        writes(docker.clone(), Mode::Unified),
        [
            "pids.max=1",
            "cpu.weight=59",
            "cpu.max=50000 100000",
            "cpu.max.burst=1000",
            "cpu.idle=0",
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "hugetlb.2MB.max=4096",
            "hugetlb.2MB.rsvd.max=4096",
            "memory.swap.max=1048576",
            "memory.max=1048576",
            "memory.low=524288",
        ]
    );
    assert_eq!(
        writes(docker, Mode::Hybrid),
        [
            "cpuset.cpus=0-1",
            "cpuset.mems=0",
            "cpu.shares=512",
            "cpu.cfs_period_us=100000",
            "cpu.cfs_quota_us=50000",
            "cpu.cfs_burst_us=1000",
            "cpu.idle=0",
            "pids.max=1",
            "hugetlb.2MB.limit_in_bytes=4096",
            "hugetlb.2MB.rsvd.limit_in_bytes=4096",
            "memory.limit_in_bytes=1048576",
            "memory.memsw.limit_in_bytes=2097152",
            "memory.soft_limit_in_bytes=524288",
        ]
    );
}

/// `unified` is written last, so what it says decides whether there is a weight.
#[test]
fn an_idle_cgroup_has_no_weight() {
    let idle = json!({"cpu": {"idle": 1, "shares": 512}});
    assert_eq!(writes(idle.clone(), Mode::Unified), ["cpu.idle=1"]);
    assert_eq!(writes(idle, Mode::Legacy), ["cpu.idle=1"]);
    let busy = json!({"cpu": {"idle": 1, "shares": 512}, "unified": {"cpu.idle": "0"}});
    assert_eq!(writes(busy, Mode::Unified), ["cpu.weight=59", "cpu.idle=0"]);
    for idle in [
        json!({"cpu": {"shares": 512}, "unified": {"cpu.idle": "1"}}),
        json!({"cpu": {"idle": 0, "shares": 512}, "unified": {"cpu.idle": "1\n"}}),
    ] {
        let writes = writes(idle, Mode::Unified);
        assert_eq!(writes.len(), 1, "{writes:?}");
        assert!(writes[0].starts_with("cpu.idle=1"), "{writes:?}");
    }
}

#[test]
fn no_limit() {
    let free = json!({"memory": {"limit": -1}, "pids": {"limit": -1}, "cpu": {"quota": -1}});
    assert_eq!(
        writes(free.clone(), Mode::Unified),
        ["pids.max=max", "cpu.max=max", "memory.swap.max=max", "memory.max=max"]
    );
    assert_eq!(
        writes(free, Mode::Legacy),
        [
            "cpu.cfs_quota_us=-1",
            "pids.max=max",
            "memory.limit_in_bytes=-1",
            "memory.memsw.limit_in_bytes=-1",
        ]
    );
    let zeros = json!({
        "memory": {"limit": 0, "swap": 0, "reservation": 0, "kernel": 0, "kernelTCP": 0},
        "cpu": {"shares": 0, "quota": 0, "period": 0, "cpus": "", "mems": ""},
        "blockIO": {"weight": 0}, "network": {"classID": 0, "priorities": []},
    });
    assert!(writes(zeros.clone(), Mode::Unified).is_empty());
    assert!(writes(zeros, Mode::Legacy).is_empty());
}

#[test]
fn block_io() {
    let io = json!({"blockIO": {
        "weight": 500, "weightDevice": [{"major": 8, "minor": 0, "weight": 1000}],
        "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 100}],
        "throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 0}],
    }});
    assert_eq!(
        writes(io.clone(), Mode::Unified),
        [
            "io.bfq.weight=500",
            "io.bfq.weight=8:0 1000",
            "io.max=8:0 rbps=100",
            "io.max=8:16 wiops=max"
        ]
    );
    let translated = translate(&resources(io.clone()), Mode::Unified).unwrap();
    assert_eq!(translated[0].absent, Absent::Instead("io.weight", "4950".to_owned()));
    assert_eq!(translated[1].absent, Absent::Instead("io.weight", "8:0 10000".to_owned()));
    assert_eq!(
        writes(io, Mode::Legacy),
        [
            "blkio.weight=500",
            "blkio.weight_device=8:0 1000",
            "blkio.throttle.read_bps_device=8:0 100",
            "blkio.throttle.write_iops_device=8:16 0"
        ]
    );
}

#[test]
fn the_rest() {
    let rest = json!({
        "rdma": {"mlx5_1": {"hcaHandles": 3, "hcaObjects": 10_000}},
        "unified": {"memory.high": "1000", "cgroup.max.depth": "3", "io.max": "8:0 rbps=1\n8:16 rbps=2"},
    });
    assert_eq!(
        writes(rest, Mode::Unified),
        [
            "rdma.max=mlx5_1 hca_handle=3 hca_object=10000",
            "cgroup.max.depth=3",
            "io.max=8:0 rbps=1\n8:16 rbps=2",
            "memory.high=1000"
        ]
    );
    let network = json!({"network": {"classID": 5, "priorities": [{"name": "lo", "priority": 7}]}});
    assert_eq!(writes(network, Mode::Legacy), ["net_cls.classid=5", "net_prio.ifpriomap=lo 7"]);
}

#[test]
fn nothing_is_passed_over() {
    let both = [
        (json!({"memory": {"useHierarchy": false}}), "memory/useHierarchy"),
        (json!({"blockIO": {"weight": 5}}), "blockIO/weight"),
        (json!({"blockIO": {"leafWeight": 5}}), "blockIO/leafWeight"),
        (
            json!({"hugepageLimits": [{"pageSize": "../x", "limit": 1}]}),
            "hugepageLimits/0/pageSize",
        ),
        (json!({"hugepageLimits": [{"pageSize": "2MB", "limit": -1}]}), "hugepageLimits/0/limit"),
    ];
    for (json, expected) in both {
        assert_eq!(pointer(json.clone(), Mode::Unified), expected);
        assert_eq!(pointer(json, Mode::Hybrid), expected);
    }
    for (json, expected) in [
        (json!({"memory": {"swappiness": 10}}), "memory/swappiness"),
        (json!({"memory": {"disableOOMKiller": true}}), "memory/disableOOMKiller"),
        (json!({"cpu": {"realtimeRuntime": 5}}), "cpu/realtimeRuntime"),
        (json!({"cpu": {"realtimePeriod": 5}}), "cpu/realtimePeriod"),
        (json!({"network": {"classID": 5}}), "network"),
        (json!({"unified": {"a/b.c": "1"}}), "unified/a~1b.c"),
        (json!({"unified": {"cgroup.procs": "0"}}), "unified/cgroup.procs"),
        (json!({"unified": {"nonsense": "0"}}), "unified/nonsense"),
    ] {
        assert_eq!(pointer(json, Mode::Unified), expected);
    }
    for (json, expected) in [
        (json!({"memory": {"swappiness": 101}}), "memory/swappiness"),
        (json!({"cpu": {"shares": 1}}), "cpu/shares"),
        (json!({"unified": {"memory.high": "1"}}), "unified"),
    ] {
        assert_eq!(pointer(json, Mode::Legacy), expected);
    }
}
