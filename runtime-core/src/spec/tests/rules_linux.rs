//! The same as `rules`, for config-linux.md.

use serde_json::{Value, json};

use super::rules::{accepted, refused, values, warned};
use super::{load, set, with};

#[test]
fn namespaces() {
    let pointer = "/linux/namespaces/-";
    refused(&[(pointer, json!({"type": "pid"}))], "/linux/namespaces/6");
    refused(&[(pointer, json!({"type": "time", "path": "ns"}))], "/linux/namespaces/6/path");
    refused(&[(pointer, json!({"type": "mnt"}))], "/linux/namespaces/6/type");
    refused(&[(pointer, json!({"path": "/a"}))], "/linux/namespaces/6/type");
    let bundle = load(&with(&[(pointer, json!({"type": "time", "path": ""}))])).unwrap();
    let list = bundle.spec().linux().as_ref().unwrap().namespaces().as_ref().unwrap();
    assert_eq!(list[6].path(), &None);
}

#[test]
fn host_names_need_a_uts_namespace() {
    for pointer in ["/hostname", "/domainname"] {
        values(pointer, &[json!("a".repeat(64)), json!("")], &[json!("a".repeat(65))]);
        refused(&[("/linux/namespaces", json!([])), (pointer, json!("a"))], pointer);
        refused(&[("/linux", Value::Null), (pointer, json!("a"))], pointer);
    }
}

fn user_namespace(uids: Value, gids: Value) -> [(&'static str, Value); 3] {
    [
        ("/linux/namespaces/-", json!({"type": "user"})),
        ("/linux/uidMappings", uids),
        ("/linux/gidMappings", gids),
    ]
}

fn mapping(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

#[test]
fn user_namespaces_and_mappings() {
    let map = json!([mapping(0, 1000, 10)]);
    accepted(&user_namespace(map.clone(), map.clone()));
    accepted(&user_namespace(json!([mapping(0, 0, u32::MAX)]), map.clone()));
    refused(&user_namespace(json!([]), map.clone()), "/linux/uidMappings");
    refused(&user_namespace(map.clone(), Value::Null), "/linux/gidMappings");
    refused(&[("/linux/uidMappings", map.clone())], "/linux/uidMappings");
    refused(&[("/linux/gidMappings", map.clone())], "/linux/gidMappings");
    accepted(&[("/linux/gidMappings", json!([]))]);
    // What containerd and CRI-O write: a namespace to join and its mappings.
    let mut join = user_namespace(map.clone(), map.clone());
    join[0].1 = json!({"type": "user", "path": "/proc/1/ns/user"});
    accepted(&join);
    for (bad, pointer) in [
        (json!([mapping(0, 0, 0)]), "/linux/uidMappings/0/size"),
        (json!([mapping(1, 0, u32::MAX)]), "/linux/uidMappings/0/containerID"),
        (json!([mapping(0, u32::MAX, 1)]), "/linux/uidMappings/0/hostID"),
        (json!([mapping(0, 5, 10), mapping(9, 100, 1)]), "/linux/uidMappings/1"),
        (json!([mapping(0, 5, 10), mapping(10, 0, 6)]), "/linux/uidMappings/1"),
        (json!([mapping(1, 5, 10)]), "/linux/uidMappings"),
        (json!(vec![mapping(0, 0, 1); 341]), "/linux/uidMappings"),
    ] {
        refused(&user_namespace(bad, map.clone()), pointer);
    }
    for pointer in ["/process/user/uid", "/process/user/gid", "/process/user/additionalGids/0"] {
        let mut changes = user_namespace(map.clone(), map.clone()).to_vec();
        changes.push(("/process/user/additionalGids", json!([3])));
        changes.push((pointer, json!(10)));
        refused(&changes, pointer);
    }
}

#[test]
fn time_offsets() {
    let new = ("/linux/namespaces/-", json!({"type": "time"}));
    let join = ("/linux/namespaces/-", json!({"type": "time", "path": "/proc/1/ns/time"}));
    let offset = |clock: &str, nanoseconds: u32| {
        ("/linux/timeOffsets", json!({clock: {"secs": -5, "nanosecs": nanoseconds}}))
    };
    accepted(&[new.clone(), offset("monotonic", 999_999_999)]);
    accepted(&[("/linux/timeOffsets", json!({}))]);
    refused(&[offset("boottime", 0)], "/linux/timeOffsets");
    refused(&[join, offset("boottime", 0)], "/linux/timeOffsets");
    refused(&[new.clone(), offset("realtime", 0)], "/linux/timeOffsets/realtime");
    refused(&[new, offset("boottime", 1_000_000_000)], "/linux/timeOffsets/boottime/nanosecs");
}

#[test]
fn sysctls_belong_to_a_namespace_of_the_container() {
    let sysctl = |key: &str| ("/linux/sysctl", json!({ key: "1" }));
    for key in [
        "net.ipv4.ip_forward",
        "net/ipv4/conf/eth0.5/rp_filter",
        "kernel.sem",
        "kernel/shmmax",
        "fs.mqueue.msg_max",
        "kernel.domainname",
    ] {
        accepted(&[sysctl(key)]);
        let pointer = format!("/linux/sysctl/{}", key.replace('/', "~1"));
        refused(&[("/linux/namespaces", json!([])), sysctl(key)], &pointer);
    }
    for key in [
        "kernel.hostname",
        "kernel.core_pattern",
        "vm.swappiness",
        "user.max_user_namespaces",
        "fs.mqueue",
        "netx.a",
        "",
        "net",
        "net..ipv4",
        ".net",
    ] {
        refused(&[sysctl(key)], &format!("/linux/sysctl/{key}"));
    }
    refused(&[sysctl("net/../kernel/core_pattern")], "/linux/sysctl/net~1..~1kernel~1core_pattern");
    refused(&[sysctl("net.//.kernel")], "/linux/sysctl/net.~1~1.kernel");
    let map = json!([mapping(0, 1000, 10)]);
    let mut changes = user_namespace(map.clone(), map).to_vec();
    changes.push(sysctl("user.max_user_namespaces"));
    accepted(&changes);
}

#[test]
fn devices() {
    let device = |kind: &str, path: &str, major: i64, minor: i64| json!({"type": kind, "path": path, "major": major, "minor": minor});
    let refused_at = |bad: Value, pointer: &str| {
        refused(&[("/linux/devices", json!([bad]))], &format!("/linux/devices/0/{pointer}"));
    };
    accepted(&[(
        "/linux/devices",
        json!([
            device("c", "/dev/fuse", 10, 229),
            device("u", "/dev/fuse", 10, 229),
            {"type": "p", "path": "/dev/pipe"},
            device("b", "/elsewhere", 0xfff, 0xf_ffff),
        ]),
    )]);
    refused_at(device("a", "/dev/x", 1, 1), "type");
    refused_at(device("x", "/dev/x", 1, 1), "type");
    refused_at(device("c", "dev/x", 1, 1), "path");
    refused_at(device("c", "", 1, 1), "path");
    refused_at(device("c", "/dev/x", -1, 1), "major");
    refused_at(device("b", "/dev/x", 1, 1 << 20), "minor");
    let twice = json!([device("c", "/dev/x", 1, 1), device("b", "/dev/x", 1, 1)]);
    refused(&[("/linux/devices", twice)], "/linux/devices/1/path");
}

#[test]
fn net_devices() {
    let rename = |to: &str| ("/linux/netDevices", json!({"eth0": {"name": to}}));
    for name in ["", "a", "fifteen-letters", "eth%d"] {
        accepted(&[rename(name)]);
    }
    for name in [".", "..", "a/b", "a:b", "a b", "a\tb", "sixteen-letters!", "%s", "%d%d"] {
        refused(&[rename(name)], "/linux/netDevices/eth0/name");
    }
    refused(&[("/linux/netDevices", json!({"a b": {}}))], "/linux/netDevices/a b");
    refused(&[("/linux/netDevices", json!({"": {}}))], "/linux/netDevices/");
    refused(&[("/linux/namespaces", json!([])), rename("a")], "/linux/netDevices");
}

#[test]
fn paths_and_propagation() {
    values(
        "/linux/cgroupsPath",
        &[json!("/a/b"), json!("a"), json!("system.slice:docker:1"), json!("/a/..b"), json!("")],
        &[json!("/../a"), json!("a/.."), json!("..")],
    );
    let forms = ["shared", "slave", "private", "unbindable"];
    let recursive = forms.map(|f| json!(format!("r{f}")));
    values(
        "/linux/rootfsPropagation",
        &forms.map(Value::from),
        &["x", "r", "rrslave"].map(Value::from),
    );
    values("/linux/rootfsPropagation", &recursive, &[]);
    for list in ["/linux/maskedPaths", "/linux/readonlyPaths"] {
        accepted(&[(list, json!(["/proc/kcore"]))]);
        refused(&[(list, json!(["/proc/kcore", "sys"]))], &format!("{list}/1"));
        refused(&[(list, json!(["/a"])), ("/linux/namespaces", json!([]))], list);
        accepted(&[(list, json!([])), ("/linux/namespaces", json!([]))]);
    }
}

#[test]
fn intel_rdt() {
    values(
        "/linux/intelRdt/closID",
        &[json!("/"), json!(""), json!("guaranteed"), json!("..a")],
        &[json!("."), json!(".."), json!("a/b"), json!("/a"), json!("a\nb")],
    );
    values(
        "/linux/intelRdt/memBwSchema",
        &[json!("MB:0=20")],
        &[json!("L3:0=7"), json!("MB:0=20\nMB:1=70")],
    );
    accepted(&[("/linux/intelRdt/l3CacheSchema", json!("L3CODE:0=1\nL3DATA:0=1"))]);
    refused(&[("/linux/intelRdt/schemata", json!(["a", "b\nc"]))], "/linux/intelRdt/schemata/1");
}

#[test]
fn memory_policy() {
    let policy = |mode: &str, nodes: &str, flags: &[&str]| {
        let policy = json!({"mode": format!("MPOL_{mode}"), "nodes": nodes, "flags": flags});
        [("/linux/memoryPolicy", policy)]
    };
    accepted(&policy("BIND", "0-3,7", &["MPOL_F_STATIC_NODES", "MPOL_F_NUMA_BALANCING"]));
    accepted(&policy("DEFAULT", "", &[]));
    accepted(&policy("PREFERRED", "", &[]));
    for (mode, nodes) in [
        ("DEFAULT", "1"),
        ("LOCAL", "1"),
        ("BIND", ""),
        ("INTERLEAVE", ","),
        ("WEIGHTED_INTERLEAVE", ""),
        ("PREFERRED_MANY", ""),
        ("BIND", "x"),
    ] {
        refused(&policy(mode, nodes, &[]), "/linux/memoryPolicy/nodes");
    }
    refused(&policy("X", "1", &[]), "/linux/memoryPolicy/mode");
    refused(&policy("BIND", "1", &["X"]), "/linux/memoryPolicy/flags/0");
    let both = ["MPOL_F_STATIC_NODES", "MPOL_F_RELATIVE_NODES"];
    refused(&policy("BIND", "1", &both), "/linux/memoryPolicy/flags");
    refused(&[("/linux/memoryPolicy", json!({"nodes": "1"}))], "/linux/memoryPolicy/mode");
}

#[test]
fn personality() {
    values("/linux/personality/domain", &[json!("LINUX"), json!("LINUX32")], &[json!("BSD")]);
    let flags = json!({"domain": "LINUX", "flags": ["ADDR_NO_RANDOMIZE"]});
    assert_eq!(warned(&[("/linux/personality", flags)]).len(), 1);
}

#[test]
fn resources() {
    let at = |pointer: &str, good: &[Value], bad: &[Value]| {
        values(&format!("/linux/resources/{pointer}"), good, bad);
    };
    at("memory/limit", &[json!(-1), json!(0), json!(i64::MAX)], &[json!(-2), json!(u64::MAX)]);
    at("memory/swappiness", &[json!(0), json!(100), json!(u64::MAX)], &[json!(101)]);
    at("pids/limit", &[json!(-1), json!(0)], &[json!(-2)]);
    at("cpu/idle", &[json!(0), json!(1)], &[json!(2), json!(-1)]);
    let memory = json!({"limit": 10, "swap": 9});
    refused(&[("/linux/resources/memory", memory)], "/linux/resources/memory/swap");
    accepted(&[("/linux/resources/memory", json!({"limit": 10, "swap": 0}))]);
    let cpu = json!({"quota": 10, "burst": 11});
    refused(&[("/linux/resources/cpu", cpu)], "/linux/resources/cpu/burst");
    accepted(&[("/linux/resources/cpu", json!({"quota": -1, "burst": 11}))]);
    for (size, good) in [
        ("2MB", true),
        ("64KB", true),
        ("1GB", true),
        ("MB", false),
        ("2mb", false),
        ("../2MB", false),
    ] {
        let limits =
            ("/linux/resources/hugepageLimits", json!([{"pageSize": size, "limit": u64::MAX}]));
        if good {
            accepted(&[limits]);
        } else {
            refused(&[limits], "/linux/resources/hugepageLimits/0/pageSize");
        }
    }
    // As runc's tests spell it.
    let other_case = json!([{"pagesize": "2MB", "limit": 1}]);
    accepted(&[("/linux/resources/hugepageLimits", other_case)]);
}

#[test]
fn device_rules() {
    let rule = |rule: Value| [("/linux/resources/devices", json!([rule]))];
    let refused_at = |bad: Value, pointer: &str| {
        refused(&rule(bad), &format!("/linux/resources/devices/0/{pointer}"));
    };
    accepted(&rule(json!({"allow": false, "access": "rwm"})));
    refused_at(json!({"allow": true}), "access");
    refused_at(json!({"allow": true, "access": "x"}), "access");
    assert_eq!(warned(&rule(json!({"allow": false, "access": "rwa"}))).len(), 1);
    refused_at(json!({"allow": true, "access": "r", "type": "p"}), "type");
    refused_at(json!({"allow": true, "access": "r", "type": "q"}), "type");
    refused_at(json!({"allow": true, "access": "r", "major": -2}), "major");
    refused_at(json!({"allow": true, "access": "r", "minor": 1u64 << 32}), "minor");
    let all = load(&with(&rule(json!({"allow": true, "access": "r", "major": -1})))).unwrap();
    let resources = all.spec().linux().as_ref().unwrap().resources().as_ref().unwrap().clone();
    assert_eq!(resources.devices().as_ref().unwrap()[0].major(), None);
}

#[test]
fn resources_by_device_and_name() {
    let at = |pointer: &str, value: Value, culprit: &str| {
        refused(
            &[(&format!("/linux/resources/{pointer}"), value)],
            &format!("/linux/resources/{culprit}"),
        );
    };
    at("blockIO/weightDevice", json!([{"major": 8, "minor": 0}]), "blockIO/weightDevice/0");
    let negative = json!([{"major": -8, "minor": 0, "rate": 1}]);
    at("blockIO/throttleReadIOPSDevice", negative, "blockIO/throttleReadIOPSDevice/0/major");
    at("network/priorities", json!([{"name": "a b"}]), "network/priorities/0/name");
    at("rdma", json!({"mlx": {}}), "rdma/mlx");
    at("rdma", json!({"a b": {"hcaObjects": 1}}), "rdma/a b");
    for key in ["a/b.c", "..", ".", "memory", ".max", "memory.", ""] {
        let culprit = format!("unified/{}", key.replace('/', "~1"));
        at("unified", json!({ key: "1" }), &culprit);
    }
    accepted(&[("/linux/resources/unified", json!({"hugetlb.1GB.max": "1"}))]);
}

#[test]
fn seccomp() {
    let profile = |changes: &[(&str, Value)]| {
        let mut profile = json!({"defaultAction": "SCMP_ACT_ERRNO", "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": [
                {"index": 5, "value": 1, "op": "SCMP_CMP_MASKED_EQ"}
            ]}
        ]});
        changes.iter().for_each(|(pointer, value)| set(&mut profile, pointer, value.clone()));
        [("/linux/seccomp", profile)]
    };
    let refused_with = |changes: &[(&str, Value)], pointer: &str| {
        refused(&profile(changes), &format!("/linux/seccomp{pointer}"));
    };
    accepted(&profile(&[("/defaultErrnoRet", json!(4095))]));
    for pointer in ["/defaultAction", "/syscalls/0/action", "/syscalls/0/args/0/op"] {
        refused_with(&[(pointer, json!("SCMP_X"))], pointer);
    }
    refused_with(&[("/architectures", json!(["SCMP_ARCH_X"]))], "/architectures/0");
    refused_with(&[("/flags", json!(["SECCOMP_X"]))], "/flags/0");
    refused_with(&[("/syscalls/0/names", json!([]))], "/syscalls/0/names");
    refused_with(&[("/syscalls/0/args/0/index", json!(6))], "/syscalls/0/args/0/index");
    refused_with(&[("/syscalls/0/errnoRet", json!(1))], "/syscalls/0/errnoRet");
    refused_with(&[("/defaultErrnoRet", json!(4096))], "/defaultErrnoRet");
    refused_with(&[("/defaultAction", json!("SCMP_ACT_NOTIFY"))], "/defaultAction");
    let notify = ("/syscalls/0/action", json!("SCMP_ACT_NOTIFY"));
    let listener = ("/listenerPath", json!("/run/agent.sock"));
    accepted(&profile(&[notify.clone(), listener.clone(), ("/listenerMetadata", json!("x"))]));
    refused_with(std::slice::from_ref(&notify), "/listenerPath");
    let write = ("/syscalls/0/names", json!(["read", "write"]));
    refused_with(&[notify, listener, write], "/syscalls/0/names/1");
    refused_with(&[("/listenerMetadata", json!("x"))], "/listenerMetadata");
    // What Go writes for an empty object.
    assert_eq!(warned(&[("/linux/seccomp", json!({"defaultAction": ""}))]).len(), 1);
    refused(&[("/linux/seccomp", json!({"syscalls": [1]}))], "/linux/seccomp/syscalls/0");
}
