use crate::cgroup::host::Mode;
use crate::signal::Signal;
use serde_json::json;

use super::*;
use crate::error::ErrorKind;

/// The host as it is, if it has v1 hierarchies and we may change them.
pub(super) fn host(test: &str) -> Option<Host> {
    let host = Host::probe(Manager::Cgroupfs).unwrap();
    let reason = match host.mode() {
        _ if !is_root() => "needs root",
        Mode::Unified => "this host has no v1 hierarchies",
        Mode::Legacy | Mode::Hybrid => return Some(host),
    };
    println!("SKIP {test}: {reason}");
    None
}

fn read(cgroup: &Cgroup, controller: &str, file: &str) -> String {
    cgroup.legacy_dir(controller).unwrap().read(file).unwrap().trim_end().to_owned()
}

fn create(host: &Host, paths: &Paths, json: serde_json::Value) -> Result<Cgroup> {
    let resources = resources(json);
    Cgroup::create(host, paths, &Request { resources: Some(&resources), ..Request::default() })
}

/// As on a host without cgroup2.
fn forget_unified(cgroup: &mut Cgroup) {
    cgroup.paths.unified = None;
    if let Some(dir) = cgroup.unified.take() {
        dir.remove_self().unwrap();
    }
}

#[test]
fn limits() {
    let Some(host) = host("hybrid::limits") else { return };
    let cleanup = Cleanup::new(&host, "limits");
    let cgroup = create(
        &host,
        &cleanup.paths("c"),
        json!({
            "memory": {"limit": 33_554_432, "swap": 67_108_864, "reservation": 16_777_216,
                       "swappiness": 7},
            "cpu": {"shares": 512, "quota": 500_000, "period": 1_000_000, "burst": 1000,
                    "cpus": "0", "mems": "0"},
            "pids": {"limit": 20},
        }),
    )
    .unwrap();
    let expected = [
        ("memory", "memory.limit_in_bytes", "33554432"),
        ("memory", "memory.memsw.limit_in_bytes", "67108864"),
        ("memory", "memory.soft_limit_in_bytes", "16777216"),
        ("memory", "memory.swappiness", "7"),
        ("cpu", "cpu.shares", "512"),
        ("cpu", "cpu.cfs_quota_us", "500000"),
        ("cpu", "cpu.cfs_period_us", "1000000"),
        ("cpu", "cpu.cfs_burst_us", "1000"),
        ("cpuset", "cpuset.cpus", "0"),
        ("pids", "pids.max", "20"),
    ];
    for (controller, file, value) in expected {
        assert_eq!(read(&cgroup, controller, file), value, "{file}");
    }
    assert_eq!(cgroup.oom_kills().unwrap(), Some(0));
    // Up and down again: the order of the writes has to follow.
    for (limit, swap) in [(134_217_728, 134_217_728), (8_388_608, 16_777_216), (-1, 0)] {
        let resources = resources(json!({"memory": {"limit": limit, "swap": swap},
            "cpu": {"quota": limit / 100, "period": 100_000}, "pids": {"limit": 0}}));
        let request = Request { resources: Some(&resources), ..Request::default() };
        cgroup.update(&host, &request).unwrap();
    }
    assert!(
        read(&cgroup, "memory", "memory.memsw.limit_in_bytes").parse::<u64>().unwrap() > 1 << 60
    );
    assert_eq!(read(&cgroup, "pids", "pids.max"), "1");
    cgroup.remove().unwrap();
}

#[test]
fn a_new_cpuset_takes_processes() {
    let Some(host) = host("hybrid::a_new_cpuset_takes_processes") else { return };
    let cleanup = Cleanup::new(&host, "cpuset");
    let cgroup = Cgroup::create(&host, &cleanup.paths("a/b/c"), &Request::default()).unwrap();
    assert_ne!(read(&cgroup, "cpuset", "cpuset.cpus"), "");
    assert_eq!(cgroup.paths.legacy.iter().map(|location| location.made).max(), Some(4));
    let child = Waiting::new("sleep 100").enter(&cgroup);
    assert_eq!(cgroup.pids().unwrap(), [child.pid()]);
    // It has the same processes in every hierarchy, cgroup2 included.
    for dir in cgroup.legacy.iter().chain(&cgroup.unified) {
        assert_eq!(dir.pids().unwrap(), [child.pid()], "{dir:?}");
    }
    let again = Cgroup::open(&host, cgroup.paths()).unwrap();
    let running = child.go();
    again.kill_all(Signal::KILL).unwrap();
    again.remove().unwrap();
    assert_eq!(running.signal(), Some(9));
    // Parents that were made for it are gone too, and so is everything when it is opened anew.
    let gone = Cgroup::open(&host, cgroup.paths()).unwrap();
    assert!(gone.legacy.is_empty() && gone.unified.is_none());
    assert!(gone.pids().unwrap().is_empty());
    gone.remove().unwrap();
    let scope = host.paths(Some(&cleanup.scope), "unused").unwrap();
    assert!(Cgroup::open(&host, &scope).unwrap().legacy.is_empty());
}

#[test]
fn devices() {
    let Some(host) = host("hybrid::devices") else { return };
    let cleanup = Cleanup::new(&host, "devices");
    let cgroup = create(
        &host,
        &cleanup.paths("c"),
        json!({"devices": [{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}]}),
    )
    .unwrap();
    let list = read(&cgroup, "devices", "devices.list");
    assert!(list.starts_with("c 1:11 rw\nc *:* m\nb *:* m\nc 1:3 rwm\n"), "{list}");
    assert_eq!(probe_device(&cgroup, 5), "opened");
    assert_eq!(probe_device(&cgroup, 11), "opened");
    let fewer = resources(json!({"devices": [{"allow": false, "access": "rwm"}]}));
    let request = Request { resources: Some(&fewer), ..Request::default() };
    cgroup.update(&host, &request).unwrap();
    assert_eq!(probe_device(&cgroup, 11), "EPERM");
    cgroup.remove().unwrap();
}

#[test]
fn frozen_and_signalled() {
    let Some(host) = host("hybrid::frozen_and_signalled") else { return };
    let cleanup = Cleanup::new(&host, "freeze");
    let mut cgroup = Cgroup::create(&host, &cleanup.paths("c"), &Request::default()).unwrap();
    for with_unified in [true, false] {
        if !with_unified {
            forget_unified(&mut cgroup);
        }
        let child =
            Waiting::new("trap 'echo caught; exit' TERM; echo ready; while :; do sleep 0.01; done");
        let mut child = child.enter(&cgroup).go();
        let mut ready = [0; 6];
        std::io::Read::read_exact(child.0.stdout.as_mut().unwrap(), &mut ready).unwrap();
        assert!(!cgroup.is_frozen().unwrap());
        cgroup.freeze().unwrap();
        assert!(cgroup.is_frozen().unwrap());
        cgroup.kill_all(Signal::TERM).unwrap();
        // The signal has woken cgroup2's frozen process, which looks at it and goes back to sleep.
        eventually("it stays frozen", || cgroup.is_frozen().unwrap());
        assert!(child.0.try_wait().unwrap().is_none());
        cgroup.thaw().unwrap();
        let output = child.output();
        assert!(output.starts_with("caught\n"), "{output}");
        eventually("empty", || cgroup.pids().unwrap().is_empty());
        // A frozen one dies of SIGKILL all the same.
        let child = Waiting::new("sleep 100 & sleep 100 & wait").enter(&cgroup).go();
        eventually("three processes", || cgroup.pids().unwrap().len() == 3);
        cgroup.freeze().unwrap();
        cgroup.kill_all(Signal::KILL).unwrap();
        assert_eq!(child.signal(), Some(9));
        eventually("empty again", || cgroup.pids().unwrap().is_empty());
    }
    cgroup.remove().unwrap();
}

#[test]
fn refusals() {
    let Some(host) = host("hybrid::refusals") else { return };
    let cleanup = Cleanup::new(&host, "refusals");
    let paths = cleanup.paths("c");
    let first = Cgroup::create(&host, &paths, &Request::default()).unwrap();
    // An existing one without processes is taken over.
    let second = Cgroup::create(&host, &paths, &Request::default()).unwrap();
    assert_eq!(second.paths.legacy[0].made, 0);
    let child = Waiting::new("sleep 100").enter(&first);
    let error = Cgroup::create(&host, &paths, &Request::default()).unwrap_err();
    assert!(error.message().starts_with("container's cgroup is not empty: 1 process"), "{error}");
    drop(child.go());
    first.kill_all(Signal::KILL).unwrap();
    eventually("empty", || first.pids().unwrap().is_empty());
    first.legacy_dir("freezer").unwrap().write("freezer.state", "FROZEN").unwrap();
    let error = Cgroup::create(&host, &paths, &Request::default()).unwrap_err();
    assert_eq!(error.message(), "container's cgroup unexpectedly frozen");
    first.remove().unwrap();
}

#[test]
fn a_failure_leaves_nothing() {
    let Some(host) = host("hybrid::a_failure_leaves_nothing") else { return };
    let cleanup = Cleanup::new(&host, "undo");
    let paths = cleanup.paths("a/b");
    for (json, pointer) in [
        (json!({"cpu": {"cpus": "4000"}}), "/linux/resources/cpu/cpus"),
        (
            json!({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]}),
            "/linux/resources/hugepageLimits/0",
        ),
        (json!({"cpu": {"period": 5}}), "/linux/resources/cpu/period"),
    ] {
        let error = create(&host, &paths, json).unwrap_err();
        if error.message().contains("controller hugetlb is not available") {
            assert_eq!(error.kind(), ErrorKind::Cgroup);
        }
        assert_eq!(error.pointer(), Some(pointer), "{error}");
        let scope = host.paths(Some(&cleanup.scope), "unused").unwrap();
        let left = Cgroup::open(&host, &scope).unwrap();
        assert!(left.legacy.is_empty() && left.unified.is_none(), "{left:?}");
    }
}

#[test]
fn many_at_once() {
    let Some(host) = host("hybrid::many_at_once") else { return };
    let cleanup = Cleanup::new(&host, "many");
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let (host, cleanup) = (&host, &cleanup);
            threads.spawn(move || {
                for round in 0..8 {
                    let paths = cleanup.paths(&format!("shared/{thread}-{round}"));
                    Cgroup::create(host, &paths, &Request::default()).unwrap().remove().unwrap();
                }
            });
        }
    });
}

#[test]
fn the_oom_killer_is_counted() {
    let Some(host) = host("hybrid::the_oom_killer_is_counted") else { return };
    let cleanup = Cleanup::new(&host, "oom");
    let limits = json!({"memory": {"limit": 8_388_608, "swap": 8_388_608}});
    let cgroup = create(&host, &cleanup.paths("c"), limits).unwrap();
    // tail(1) keeps a line, however long it is, in memory.
    let child = Waiting::new("head -c 64000000 /dev/zero | tail -n 1").enter(&cgroup).go();
    child.output();
    assert_eq!(cgroup.oom_kills().unwrap(), Some(1));
    cgroup.remove().unwrap();
}

#[test]
fn nobody_escapes_by_forking() {
    let Some(host) = host("hybrid::nobody_escapes_by_forking") else { return };
    let cleanup = Cleanup::new(&host, "forks");
    for with_unified in [true, false] {
        let limits = json!({"pids": {"limit": 500}});
        let mut cgroup = create(&host, &cleanup.paths("c"), limits).unwrap();
        if !with_unified {
            forget_unified(&mut cgroup);
        }
        let fork = "while :; do (sleep 0.1 &); done";
        let script = format!("{fork} & {fork} & wait");
        let child = Waiting::new(&script).enter(&cgroup).go();
        eventually("many processes", || cgroup.pids().unwrap().len() > 20);
        cgroup.kill_all(Signal::KILL).unwrap();
        assert_eq!(child.signal(), Some(9));
        // No wait before, no second kill: whoever was in it is dead or dying.
        cgroup.remove().unwrap();
    }
}

#[test]
fn what_the_container_made_goes_too() {
    let Some(host) = host("hybrid::what_the_container_made_goes_too") else { return };
    let cleanup = Cleanup::new(&host, "nested");
    let cgroup = Cgroup::create(&host, &cleanup.paths("c"), &Request::default()).unwrap();
    let child = Waiting::new("sleep 100").enter(&cgroup);
    for controller in ["memory", "freezer"] {
        let inner = cgroup.legacy_dir(controller).unwrap().make("foo").unwrap().0;
        inner.make("bar").unwrap().0.write("tasks", &child.0.id().to_string()).unwrap();
    }
    let child = child.go();
    cgroup.kill_all(Signal::KILL).unwrap();
    cgroup.remove().unwrap();
    assert_eq!(child.signal(), Some(9));
}

/// Of a new cgroup the kernel's values are taken for granted, of one that was there nothing is.
#[test]
fn what_was_there_is_looked_at() {
    let Some(host) = host("hybrid::what_was_there_is_looked_at") else { return };
    let cleanup = Cleanup::new(&host, "there");
    let paths = cleanup.paths("c");
    let all = Cgroup::create(&host, &cleanup.paths("all"), &Request::default()).unwrap();
    let first = create(
        &host,
        &paths,
        json!({"cpu": {"cpus": "0"}, "devices": [{"allow": false, "access": "rwm"},
            {"allow": true, "type": "c", "major": 1, "minor": 11, "access": "rw"}]}),
    )
    .unwrap();
    assert_eq!(read(&first, "cpuset", "cpuset.cpus"), "0");
    assert_eq!(read(&first, "cpuset", "cpuset.mems"), read(&all, "cpuset", "cpuset.mems"));
    assert_eq!(first.oom_kills_before().unwrap(), 0);
    let second = Cgroup::create(&host, &paths, &Request::default()).unwrap();
    assert_eq!(read(&second, "cpuset", "cpuset.cpus"), "0");
    assert_eq!(read(&second, "devices", "devices.list"), read(&all, "devices", "devices.list"));
    second.remove().unwrap();

    let limits = json!({"memory": {"limit": 8_388_608, "swap": 8_388_608}});
    let first = create(&host, &paths, limits).unwrap();
    Waiting::new("head -c 64000000 /dev/zero | tail -n 1").enter(&first).go().output();
    let second = Cgroup::create(&host, &paths, &Request::default()).unwrap();
    assert_eq!(second.oom_kills_before().unwrap(), 1);
    second.remove().unwrap();
    all.remove().unwrap();
}

#[test]
fn none_is_made_below_a_frozen_one() {
    let Some(host) = host("hybrid::none_is_made_below_a_frozen_one") else { return };
    let cleanup = Cleanup::new(&host, "below");
    let parent = Cgroup::create(&host, &cleanup.paths("p"), &Request::default()).unwrap();
    let freezer = parent.legacy_dir("freezer").unwrap();
    let places = [
        (Some(freezer), "freezer.state", "FROZEN", "THAWED"),
        (parent.unified.as_ref(), "cgroup.freeze", "1", "0"),
    ];
    for (dir, file, frozen, thawed) in places {
        let Some(dir) = dir else { continue };
        dir.write(file, frozen).unwrap();
        let error = Cgroup::create(&host, &cleanup.paths("p/c"), &Request::default()).unwrap_err();
        assert_eq!(error.message(), "container's cgroup unexpectedly frozen");
        dir.write(file, thawed).unwrap();
    }
    Cgroup::create(&host, &cleanup.paths("p/c"), &Request::default()).unwrap().remove().unwrap();
    parent.remove().unwrap();
}

#[test]
fn what_is_empty_goes_by_its_name() {
    let Some(host) = host("hybrid::what_is_empty_goes_by_its_name") else { return };
    let cleanup = Cleanup::new(&host, "empty");
    let cgroup = Cgroup::create(&host, &cleanup.paths("a/b"), &Request::default()).unwrap();
    let controllers = |paths: &Paths| -> Vec<String> {
        paths.legacy.iter().flat_map(|location| location.controllers.clone()).collect()
    };
    // In one hierarchy the container has made another one, in one there is somebody.
    let memory = cgroup.legacy_dir("memory").unwrap();
    memory.make("nested").unwrap();
    let pids = cgroup.legacy_dir("pids").unwrap();
    let mut child = Waiting::new("exit");
    pids.write("tasks", &child.0.id().to_string()).unwrap();
    let left = cgroup.paths().remove_empty(&host).unwrap();
    assert_eq!((left.unified.is_none(), controllers(&left).len()), (true, 2), "{left:?}");
    assert!(controllers(&left).iter().all(|name| name == "memory" || name == "pids"));
    child.0.kill().unwrap();
    child.0.wait().unwrap();
    Cgroup::open(&host, &left).unwrap().remove().unwrap();
    // Again, and with those above it, there is nothing to do.
    let left = cgroup.paths().remove_empty(&host).unwrap();
    assert_eq!((left.unified.is_none(), left.legacy.len()), (true, 0), "{left:?}");
    let scope = host.paths(Some(&cleanup.scope), "unused").unwrap();
    assert!(Cgroup::open(&host, &scope).unwrap().legacy.is_empty());

    // One above that somebody else uses stays.
    let first = Cgroup::create(&host, &cleanup.paths("a/b"), &Request::default()).unwrap();
    let second = Cgroup::create(&host, &cleanup.paths("a/c"), &Request::default()).unwrap();
    first.paths().remove_empty(&host).unwrap();
    assert!(second.legacy.iter().all(|dir| dir.pids().is_ok_and(|pids| pids.is_empty())));
    let above = host.paths(Some(&format!("{}/a", cleanup.scope)), "unused").unwrap();
    assert_eq!(Cgroup::open(&host, &above).unwrap().legacy.len(), second.legacy.len());
    second.remove().unwrap();
}
