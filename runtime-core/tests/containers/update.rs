//! update: every limit, all or nothing, recorded, under load.

use std::fs;
use std::path::PathBuf;

use hoist::{Container, CreateOptions, ErrorKind, ExecOptions, Limit, Resources, Stdio};
use serde_json::{Value, json};

use crate::common::{Case, assert_refused, end};
use crate::{case, skip};

/// The content of a file of the container's cgroup, in whatever hierarchy it is.
fn read(case: &Case, name: &str) -> Option<String> {
    let path = path(case, name)?;
    Some(fs::read_to_string(path).unwrap().trim_end().to_owned())
}

fn path(case: &Case, name: &str) -> Option<PathBuf> {
    case.cgroups().into_iter().map(|directory| directory.join(name)).find(|path| path.exists())
}

/// The first of some files that is there: v1 and v2 have other names.
fn first(case: &Case, names: &[&str]) -> Option<String> {
    names.iter().find_map(|name| read(case, name))
}

fn start(case: &Case) -> Container {
    let options = CreateOptions::new().stdio(Stdio::null());
    case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap()
}

fn parse(json: Value) -> Resources {
    Resources::from_json(json.to_string()).unwrap()
}

fn recorded(container: &Container) -> Value {
    let spec = serde_json::to_value(container.spec().unwrap()).unwrap();
    spec["linux"]["resources"].clone()
}

/// Files and what is in them, of those that there are.
type Values = Vec<(&'static str, String)>;

fn values(case: &Case) -> Values {
    const FILES: [&str; 20] = [
        "pids.max",
        "cpu.shares",
        "cpu.cfs_quota_us",
        "cpu.cfs_period_us",
        "cpu.cfs_burst_us",
        "cpu.idle",
        "cpu.weight",
        "cpu.max",
        "cpu.max.burst",
        "cpuset.cpus",
        "cpuset.mems",
        "memory.limit_in_bytes",
        "memory.memsw.limit_in_bytes",
        "memory.soft_limit_in_bytes",
        "memory.swappiness",
        "memory.max",
        "memory.swap.max",
        "memory.low",
        "hugetlb.2MB.max",
        "cgroup.max.depth",
    ];
    FILES.iter().filter_map(|file| Some((*file, read(case, file)?))).collect()
}

#[test]
fn limits_are_changed_and_recorded() {
    let mut case = case!();
    let container = case.running();
    if first(&case, &["memory.max", "memory.limit_in_bytes"]).is_none() {
        end(container);
        skip!("needs the memory controller");
    }
    let limits = Resources::new()
        .memory(Limit::At(64 << 20))
        .memory_reservation(Limit::At(32 << 20))
        .cpu_shares(512)
        .cpu_quota(Limit::At(50_000))
        .cpu_period(100_000)
        .pids(Limit::At(50));
    assert_eq!(container.update(&limits).unwrap(), [] as [String; 0]);
    assert_eq!(first(&case, &["memory.max", "memory.limit_in_bytes"]).unwrap(), "67108864");
    assert_eq!(first(&case, &["memory.low", "memory.soft_limit_in_bytes"]).unwrap(), "33554432");
    let shares = if path(&case, "cpu.shares").is_some() { "512" } else { "59" };
    assert_eq!(first(&case, &["cpu.weight", "cpu.shares"]).unwrap(), shares);
    assert_eq!(
        first(&case, &["cpu.max", "cpu.cfs_quota_us"]).unwrap().split(' ').next(),
        Some("50000")
    );
    assert_eq!(read(&case, "pids.max").unwrap(), "50");
    let resources = recorded(&container);
    assert_eq!(resources["memory"]["limit"], 64 << 20);
    assert_eq!(resources["pids"]["limit"], 50);

    // A period alone keeps the quota, a quota alone the period.
    let quota = |case: &Case| match read(case, "cpu.max") {
        Some(max) => max,
        None => format!(
            "{} {}",
            read(case, "cpu.cfs_quota_us").unwrap().replace("-1", "max"),
            read(case, "cpu.cfs_period_us").unwrap()
        ),
    };
    container.update(&Resources::new().cpu_period(50_000)).unwrap();
    assert_eq!(quota(&case), "50000 50000");
    container.update(&Resources::new().cpu_quota(Limit::At(20_000))).unwrap();
    assert_eq!(quota(&case), "20000 50000");
    container.update(&Resources::new().cpu_quota(Limit::Unlimited)).unwrap();
    assert_eq!(quota(&case), "max 50000");
    // The other way round than the kernel takes them.
    container
        .update(&Resources::new().cpu_quota(Limit::At(900_000)).cpu_period(1_000_000))
        .unwrap();
    container.update(&Resources::new().cpu_quota(Limit::At(2_000)).cpu_period(2_000)).unwrap();
    assert_eq!(quota(&case), "2000 2000");
    assert_eq!(recorded(&container)["cpu"], json!({"shares": 512, "quota": 2000, "period": 2000}));

    // What was not mentioned is as it was; what is taken away is gone.
    assert_eq!(read(&case, "pids.max").unwrap(), "50");
    let free = Resources::new().memory(Limit::Unlimited).pids(Limit::Unlimited);
    container.update(&free).unwrap();
    assert_eq!(read(&case, "pids.max").unwrap(), "max");
    let limit = first(&case, &["memory.max", "memory.limit_in_bytes"]).unwrap();
    assert!(limit == "max" || limit.len() == 19, "{limit}");
    end(container);
}

#[test]
fn an_idle_container_gets_its_shares_back() {
    let mut case = case!();
    case.linux()["resources"] = json!({"cpu": {"shares": 2048}});
    case.script("exec sleep 1000");
    let Ok(bundle) = case.bundle() else { panic!("the bundle") };
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = match case.runtime.run_with(&case.id, bundle, options) {
        Ok(container) => container,
        Err(error) if error.to_string().contains("controller cpu is not available") => {
            skip!("needs the cpu controller")
        }
        Err(error) => panic!("{error}"),
    };
    let before = first(&case, &["cpu.weight", "cpu.shares"]).unwrap();
    container.update(&Resources::new().cpu_idle(true)).unwrap();
    assert_eq!(read(&case, "cpu.idle").unwrap(), "1");
    // Refused together with something else, it is idle no more, with the same shares.
    container.update(&Resources::new().cpu_idle(false)).unwrap();
    assert_eq!(first(&case, &["cpu.weight", "cpu.shares"]).unwrap(), before);
    let impossible = Resources::new().cpu_idle(true).cpus("4000");
    assert_refused(container.update(&impossible), ErrorKind::Cgroup, "cpuset.cpus");
    assert_eq!(read(&case, "cpu.idle").unwrap(), "0");
    assert_eq!(first(&case, &["cpu.weight", "cpu.shares"]).unwrap(), before);
    end(container);
}

#[test]
fn one_refused_value_leaves_all_as_it_was() {
    let mut case = case!();
    let container = case.running();
    let before = values(&case);
    let config = recorded(&container);
    let mut tried = 0;
    let mut refuse = |what: Value, pointer: &str| {
        tried += 1;
        let error = container.update(&parse(what.clone())).unwrap_err();
        assert_eq!(error.pointer(), Some(pointer), "{error}");
        assert!(!error.to_string().contains("could not be put back"), "{error}");
        assert_eq!(values(&case), before, "{what}");
        assert_eq!(recorded(&container), config, "{what}");
    };
    if path(&case, "memory.limit_in_bytes").is_some() {
        // More is in use: EBUSY. All that comes before it was written.
        let what = json!({
            "memory": {"limit": 4096, "reservation": 4096}, "pids": {"limit": 33},
            "cpu": {"shares": 77, "quota": 33_000, "period": 50_000, "burst": 1000, "idle": 0},
        });
        refuse(what, "/linux/resources/memory/limit");
    }
    if path(&case, "cpu.shares").is_some() || path(&case, "cpu.weight").is_some() {
        let what = json!({"cpu": {"shares": 77, "quota": 10_000, "period": 100_000,
                                  "cpus": "4000"}, "pids": {"limit": 33}});
        refuse(what, "/linux/resources/cpu/cpus");
        // The kernel's rule about burst and quota, for what the container has beside what is new.
        let what = json!({"cpu": {"shares": 77, "quota": 10_000}, "pids": {"limit": 33}});
        container.update(&parse(json!({"cpu": {"quota": 50_000, "burst": 40_000}}))).unwrap();
        let error = container.update(&parse(what)).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/resources/cpu/burst"), "{error}");
        assert_ne!(first(&case, &["cpu.weight", "cpu.shares"]).unwrap(), "77");
        end(container);
        return;
    }
    if path(&case, "cgroup.max.depth").is_some() && path(&case, "freezer.state").is_none() {
        let what = json!({"unified": {"cgroup.max.depth": "7", "hugetlb.nonsense": "1"}});
        refuse(what, "/linux/resources/unified/hugetlb.nonsense");
        let what = json!({"unified": {"cgroup.max.depth": "7"}, "pids": {"limit": 5}});
        refuse(what, "/linux/resources/pids/limit");
    }
    assert_ne!(tried, 0);
    end(container);
}

#[test]
fn memory_and_swap() {
    let mut case = case!();
    let container = case.running();
    if first(&case, &["memory.swap.max", "memory.memsw.limit_in_bytes"]).is_none() {
        end(container);
        skip!("needs the memory controller with swap");
    }
    // On cgroup2 swap has a limit of its own.
    let both = |case: &Case| match read(case, "memory.memsw.limit_in_bytes") {
        Some(both) => both,
        None => {
            let swap: u64 = read(case, "memory.swap.max").unwrap().parse().unwrap();
            (swap + read(case, "memory.max").unwrap().parse::<u64>().unwrap()).to_string()
        }
    };
    // What the kernel would take, for it rounds to pages, and nobody could read in the record.
    let odd = Resources::new().memory(Limit::At((64 << 20) + 1));
    container.update(&odd).unwrap();
    let less = Resources::new().memory_swap(Limit::At(64 << 20));
    let error = container.update(&less).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/memory/swap"), "{error}");
    container.update(&odd.memory_swap(Limit::Unlimited)).unwrap();
    for (memory, swap) in [(64, 128), (256, 512), (32, 48), (48, 48)] {
        let limits =
            Resources::new().memory(Limit::At(memory << 20)).memory_swap(Limit::At(swap << 20));
        container.update(&limits).unwrap();
        assert_eq!(both(&case), (swap << 20).to_string());
    }
    // Swap alone needs the recorded memory; memory alone keeps the sum.
    container.update(&Resources::new().memory_swap(Limit::At(96 << 20))).unwrap();
    assert_eq!(both(&case), (96 << 20).to_string());
    container.update(&Resources::new().memory(Limit::At(64 << 20))).unwrap();
    assert_eq!(both(&case), (96 << 20).to_string());
    let before = values(&case);
    let error = container.update(&Resources::new().memory(Limit::At(128 << 20))).unwrap_err();
    assert!(error.pointer().unwrap().starts_with("/linux/resources/memory/"), "{error}");
    assert_eq!(values(&case), before);
    container.update(&Resources::new().memory(Limit::Unlimited)).unwrap();
    assert!(recorded(&container)["memory"].get("swap").is_none());
    end(container);
}

/// 200 updates while the container forks as fast as it can.
#[test]
fn under_load() {
    let mut case = case!();
    case.script("while :; do /bin/true & /bin/true; done");
    let container = start(&case);
    let is_unified = path(&case, "freezer.state").is_none();
    let two = match (path(&case, "pids.max"), is_unified) {
        (Some(_), _) => [json!({"pids": {"limit": 200}}), json!({"pids": {"limit": 300}})],
        (None, true) => [
            json!({"unified": {"cgroup.max.depth": "200"}}),
            json!({"unified": {"cgroup.max.depth": "300"}}),
        ],
        (None, false) => {
            end(container);
            skip!("needs the pids controller")
        }
    };
    let mut two = two.map(parse);
    if path(&case, "cpu.shares").is_some() || path(&case, "cpu.weight").is_some() {
        let [some, others] = two;
        two = [
            some.cpu_quota(Limit::At(50_000)).cpu_period(100_000).memory(Limit::At(64 << 20)),
            others.cpu_quota(Limit::At(900_000)).cpu_period(1_000_000).memory(Limit::At(96 << 20)),
        ];
    }
    for _ in 0..100 {
        for limits in &two {
            container.update(limits).unwrap();
        }
    }
    let limit = first(&case, &["pids.max", "cgroup.max.depth"]).unwrap();
    assert_eq!(limit, "300");
    assert_eq!(container.state().unwrap().status, hoist::Status::Running);
    end(container);
}

/// From several threads at once, each update is whole.
#[test]
fn at_the_same_time() {
    let mut case = case!();
    let container = case.running();
    let file = if path(&case, "pids.max").is_some() { "pids.max" } else { "cgroup.max.depth" };
    let limits = |number: u64| match file {
        "pids.max" => Resources::new().pids(Limit::At(number)),
        _ => Resources::new().unified(file, number.to_string()),
    };
    std::thread::scope(|scope| {
        for thread in 1..=4 {
            let other = case.runtime.container(&case.id).unwrap();
            scope.spawn(move || {
                for number in 0..25 {
                    other.update(&limits(100 * thread + number)).unwrap();
                }
            });
        }
    });
    let last = read(&case, file).unwrap();
    assert!(last.ends_with("24"), "{last}");
    let resources = recorded(&container);
    let limit = match file {
        "pids.max" => resources["pids"]["limit"].to_string(),
        _ => resources["unified"][file].as_str().unwrap().to_owned(),
    };
    assert_eq!(limit, last);
    end(container);
}

/// A container that uses devices all the time: what it may, it may at any moment.
#[test]
fn device_rules() {
    let mut case = case!();
    case.linux()["devices"] =
        json!([{"path": "/dev/kmsg", "type": "c", "major": 1, "minor": 11, "fileMode": 0o666}]);
    let deny = json!({"allow": false, "access": "rwm"});
    let kmsg = json!({"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"});
    case.linux()["resources"] = json!({"devices": [deny]});
    case.script(
        "while :; do
            for d in null zero full; do : < /dev/$d || echo $d >> /tmp/denied; done
            : > /tmp/turn
        done 2>/tmp/errors",
    );
    let container = start(&case);
    let can_write = || {
        let mut process = container.spec().unwrap().process().clone().unwrap();
        let open = ["/bin/sh", "-c", ": > /dev/kmsg"].map(str::to_owned).to_vec();
        process.set_args(Some(open));
        let options = ExecOptions::new().stdio(Stdio::null());
        container.exec(&process, options).unwrap().wait().unwrap().code() == Some(0)
    };
    assert!(!can_write());
    for _ in 0..20 {
        container.update(&parse(json!({"devices": [deny, kmsg]}))).unwrap();
        container.update(&parse(json!({"devices": [deny]}))).unwrap();
    }
    container.update(&parse(json!({"devices": [deny, kmsg]}))).unwrap();
    assert!(can_write());
    // Other limits have nothing to do with them, and neither have the same rules again.
    container.update(&parse(json!({"cpu": {}, "devices": [deny, kmsg]}))).unwrap();
    assert!(can_write());
    assert_eq!(recorded(&container)["devices"].as_array().unwrap().len(), 2);
    // Everything but one, and back.
    for _ in 0..10 {
        let all = json!({"allow": true, "access": "rwm"});
        let not = json!({"allow": false, "type": "c", "major": 1, "minor": 11, "access": "w"});
        container.update(&parse(json!({"devices": [all, not]}))).unwrap();
        container.update(&parse(json!({"devices": [deny]}))).unwrap();
    }
    assert!(!can_write());
    // What is refused changes nothing.
    let what =
        json!({"devices": [deny, kmsg], "unified": {"x.y": "1"}, "rdma": {"x": {"hcaObjects": 1}}});
    assert!(container.update(&parse(what)).is_err());
    assert!(!can_write());
    assert_eq!(fs::read_to_string(case.rootfs().join("tmp/errors")).unwrap(), "");
    assert!(!case.rootfs().join("tmp/denied").exists());
    end(container);
}

#[test]
fn in_which_states() {
    let case = case!();
    let container = case.create();
    let limits = if path(&case, "pids.max").is_some() {
        Resources::new().pids(Limit::At(42))
    } else {
        parse(json!({"devices": [{"allow": false, "access": "rwm"}]}))
    };
    container.update(&limits).unwrap();
    container.pause().unwrap();
    container.update(&limits).unwrap();
    assert_eq!(container.state().unwrap().status, hoist::Status::Paused);
    container.resume().unwrap();
    container.kill(hoist::Signal::KILL).unwrap();
    container.wait().unwrap();
    assert_refused(container.update(&limits), ErrorKind::WrongState, "container not running");
    container.delete().unwrap();
    case.assert_nothing_left();
}

#[test]
fn what_is_passed_over_or_refused_before_anything_is_touched() {
    let mut case = case!();
    let container = case.running();
    let warnings = container.update(&parse(json!({"memory": {"kernel": 5, "kernelTCP": 6}})));
    assert_eq!(warnings.unwrap().len(), 2);
    assert_eq!(container.update(&Resources::new()).unwrap(), [] as [String; 0]);
    for (what, pointer) in [
        (json!({"cpu": {"idle": 2}}), "cpu/idle"),
        (json!({"memory": {"limit": -2}}), "memory/limit"),
        (json!({"memory": {"limit": 9, "swap": 8}}), "memory/swap"),
        (json!({"hugepageLimits": [{"pageSize": "2", "limit": 1}]}), "hugepageLimits/0/pageSize"),
        (json!({"unified": {"a/b": "1"}}), "unified/a~1b"),
    ] {
        let error = container.update(&parse(what)).unwrap_err();
        assert_eq!(
            error.pointer(),
            Some(format!("/linux/resources/{pointer}").as_str()),
            "{error}"
        );
    }
    let error = container.update(&Resources::new().l3_cache_schema("L3:0=f")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
    let error = Resources::from_json(r#"{"memory": {"limit": "1"}}"#).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/memory/limit"));
    end(container);
}
