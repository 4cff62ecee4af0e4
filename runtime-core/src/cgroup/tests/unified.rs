//! Each test runs again in a process of its own, in a mount namespace in which /sys/fs/cgroup is
//! a fresh mount of cgroup2. It is the same hierarchy as the machine's: so the tests stay below
//! their own scope there as well, run one after another, and leave the root's controllers as they
//! were.

use std::ops::Deref;
use std::sync::Arc;

use crate::cgroup::host::Mode;
use crate::signal::Signal;
use serde_json::json;

use super::*;

const MARK: &str = "HOIST_TEST_UNIFIED";
const VIEW: &str = "\
grep -q ' /sys/fs/cgroup cgroup2 ' /proc/mounts || mount -t cgroup2 none /sys/fs/cgroup
exec \"$0\" \"$@\"";

struct View {
    host: Host,
    enabled: String,
    _lock: std::fs::File,
}

impl Deref for View {
    type Target = Host;

    fn deref(&self) -> &Host {
        &self.host
    }
}

impl View {
    fn new() -> Self {
        let lock = std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
        let host = Host::probe(Manager::Cgroupfs).unwrap();
        assert_eq!(host.mode(), Mode::Unified);
        let enabled = root(&host).read("cgroup.subtree_control").unwrap();
        Self { host, enabled, _lock: lock }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        let now = root(&self.host).read("cgroup.subtree_control").unwrap();
        for controller in now.split_whitespace() {
            if !self.enabled.split_whitespace().any(|before| before == controller) {
                // Somebody else may need it by now: then the kernel refuses.
                let _ = root(&self.host).write("cgroup.subtree_control", &format!("-{controller}"));
            }
        }
    }
}

fn root(host: &Host) -> Arc<Dir> {
    host.mount(host.paths(None, "any").unwrap().unified.as_ref().unwrap()).unwrap()
}

/// Runs the test in a unified view: the host there, or `None` where the test is over.
fn host(test: &str) -> Option<View> {
    if std::env::var_os(MARK).is_some() {
        return Some(View::new());
    }
    if !is_root() {
        println!("SKIP unified::{test}: needs root");
        return None;
    }
    let path = format!("cgroup::tests::unified::{test}");
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", VIEW])
        .arg(std::env::current_exe().unwrap())
        .args([&path, "--exact", "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output();
    let Ok(output) = output else {
        println!("SKIP unified::{test}: no unshare(1)");
        return None;
    };
    let text =
        [output.stdout, output.stderr].map(|part| String::from_utf8_lossy(&part).into_owned());
    let text = text.join("");
    if !text.contains("running 1 test") {
        println!("SKIP unified::{test}: no unified view here: {}", text.trim());
        return None;
    }
    print!("{text}");
    assert!(output.status.success(), "{text}");
    None
}

fn create(host: &Host, paths: &Paths, json: serde_json::Value) -> Result<Cgroup> {
    let resources = resources(json);
    Cgroup::create(host, paths, &Request { resources: Some(&resources), ..Request::default() })
}

#[test]
fn below_a_frozen_one() {
    let Some(host) = host("below_a_frozen_one") else { return };
    let cleanup = Cleanup::new(&host, "below_a_frozen_one");
    // An empty one: controllers that are enabled beside processes make it a threaded domain.
    let above = Cgroup::create(&host, &cleanup.paths("a"), &Request::default()).unwrap();
    above.freeze().unwrap();
    let below = cleanup.paths("a/new");
    let error = Cgroup::create(&host, &below, &Request::default()).unwrap_err();
    assert_eq!(error.message(), "container's cgroup unexpectedly frozen");
    assert!(Cgroup::open(&host, &below).unwrap().unified.is_none());
    above.thaw().unwrap();
    above.remove().unwrap();
}

#[test]
fn life() {
    let Some(host) = host("life") else { return };
    let cleanup = Cleanup::new(&host, "life");
    let cgroup = Cgroup::create(&host, &cleanup.paths("a/b"), &Request::default()).unwrap();
    assert_eq!(cgroup.paths.unified.as_ref().unwrap().made, 3);
    assert!(cgroup.placement().unwrap().v1_tasks.is_empty());
    assert!(cgroup.placement().unwrap().v2_dir.is_some());
    assert_eq!(cgroup.oom_kills().unwrap().unwrap_or(0), 0);
    let child = Waiting::new("sleep 100 & wait").enter(&cgroup).go();
    eventually("two processes", || cgroup.pids().unwrap().len() == 2);

    let error = Cgroup::create(&host, cgroup.paths(), &Request::default()).unwrap_err();
    assert!(error.message().starts_with("container's cgroup is not empty: 2 process"), "{error}");

    cgroup.freeze().unwrap();
    assert!(cgroup.is_frozen().unwrap());
    cgroup.thaw().unwrap();
    eventually("thawed", || !cgroup.is_frozen().unwrap());
    // A container may nest cgroups as deep as it likes.
    let mut deepest = cgroup.unified.as_ref().unwrap().descend("").unwrap();
    for depth in 0..100 {
        deepest.make(&format!("beside-{depth}")).unwrap();
        deepest = deepest.make("d").unwrap().0;
    }
    deepest.write("cgroup.procs", &child.0.id().to_string()).unwrap();
    assert_eq!(cgroup.pids().unwrap().len(), 2);
    let opened = Cgroup::open(&host, cgroup.paths()).unwrap();
    opened.kill_all(Signal::KILL).unwrap();
    opened.remove().unwrap();
    assert_eq!(child.signal(), Some(9));
    let scope = host.paths(Some(&cleanup.scope), "unused").unwrap();
    assert!(Cgroup::open(&host, &scope).unwrap().unified.is_none());
}

#[test]
fn devices() {
    let Some(host) = host("devices") else { return };
    let cleanup = Cleanup::new(&host, "devices");
    let paths = cleanup.paths("c");
    // Another node at /dev/zero's path: 1:5 is not allowed any more.
    let node = [serde_json::from_value(json!(
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}
    ))
    .unwrap()];
    let request = Request { nodes: &node, ..Request::default() };
    let cgroup = Cgroup::create(&host, &paths, &request).unwrap();
    assert_eq!(probe_device(&cgroup, 5), "EPERM");
    assert_eq!(probe_device(&cgroup, 3), "opened");
    assert_eq!(probe_device(&cgroup, 11), "EPERM");
    let update = |json, nodes| {
        let resources = resources(json);
        let request = Request { resources: Some(&resources), nodes, ..Request::default() };
        cgroup.update(&host, &request).unwrap();
        let dir = cgroup.unified.as_ref().unwrap();
        crate::sys::bpf::device_programs(dir.as_fd()).unwrap().len()
    };
    // Replaced, not added.
    assert_eq!(update(json!({"devices": [{"allow": false, "access": "rwm"}]}), &[]), 1);
    assert_eq!(probe_device(&cgroup, 5), "opened");
    assert_eq!(probe_device(&cgroup, 11), "EPERM");
    // Not mentioned, not changed.
    assert_eq!(update(json!({}), &node), 1);
    assert_eq!(probe_device(&cgroup, 5), "opened");
    // Everything: no program at all.
    assert_eq!(update(json!({"devices": [{"allow": true, "access": "rwm"}]}), &[]), 0);
    assert_eq!(probe_device(&cgroup, 11), "opened");
    assert_eq!(
        update(
            json!({"devices": [{"allow": true, "access": "rwm"},
        {"allow": false, "type": "c", "major": 1, "minor": 11, "access": "r"}]}),
            &[]
        ),
        1
    );
    assert_eq!(probe_device(&cgroup, 11), "EPERM");
    assert_eq!(probe_device(&cgroup, 8), "opened");
    cgroup.remove().unwrap();
}

#[test]
fn limits() {
    let Some(host) = host("limits") else { return };
    let cleanup = Cleanup::new(&host, "limits");
    let paths = cleanup.paths("c");
    let available = root(&host).read("cgroup.controllers").unwrap();
    let missing = create(&host, &paths, json!({"memory": {"limit": 10_000_000}}));
    if available.split_whitespace().any(|name| name == "memory") {
        missing.unwrap().remove().unwrap();
    } else {
        let error = missing.unwrap_err();
        assert!(error.message().contains("controller memory is not available"), "{error}");
        assert_eq!(error.pointer(), Some("/linux/resources/memory/limit"));
        let scope = host.paths(Some(&cleanup.scope), "unused").unwrap();
        assert!(Cgroup::open(&host, &scope).unwrap().unified.is_none());
    }
    if !available.split_whitespace().any(|name| name == "hugetlb") {
        println!("SKIP unified::limits: no hugetlb controller");
        return;
    }
    let cgroup = create(
        &host,
        &paths,
        json!({"hugepageLimits": [{"pageSize": "2MB", "limit": 4_194_304}],
               "unified": {"cgroup.max.depth": "3"}}),
    )
    .unwrap();
    let dir = cgroup.unified.as_ref().unwrap();
    assert_eq!(dir.read("hugetlb.2MB.max").unwrap(), "4194304\n");
    assert_eq!(dir.read("hugetlb.2MB.rsvd.max").unwrap(), "4194304\n");
    assert_eq!(dir.read("cgroup.max.depth").unwrap(), "3\n");
    cgroup.remove().unwrap();
}

#[test]
fn delegation() {
    use std::os::unix::fs::MetadataExt;
    let Some(host) = host("delegation") else { return };
    let cleanup = Cleanup::new(&host, "chown");
    let cgroup = Cgroup::create(&host, &cleanup.paths("c"), &Request::default()).unwrap();
    cgroup.chown(1234).unwrap();
    let owner = |file: &str| {
        let path = cgroup.paths.unified_directory().unwrap().join(file);
        let metadata = std::fs::metadata(path).unwrap();
        (metadata.uid(), metadata.gid())
    };
    for file in ["", "cgroup.procs", "cgroup.threads", "cgroup.subtree_control"] {
        assert_eq!(owner(file), (1234, 0), "{file}");
    }
    assert_eq!(owner("cgroup.freeze"), (0, 0));
    cgroup.remove().unwrap();
}

#[test]
fn what_is_in_use_is_named() {
    let Some(host) = host("what_is_in_use_is_named") else { return };
    let cleanup = Cleanup::new(&host, "busy");
    let cgroup = Cgroup::create(&host, &cleanup.paths("c"), &Request::default()).unwrap();
    let inner = cgroup.unified.as_ref().unwrap().make("inner").unwrap().0;
    let child = Waiting::new("sleep 100");
    inner.write("cgroup.procs", &child.0.id().to_string()).unwrap();
    let error = Cgroup::open(&host, cgroup.paths()).unwrap().remove().unwrap_err();
    assert!(error.file().unwrap().ends_with("/c/inner"), "{error}");
    assert!(error.hint().unwrap().starts_with("1 process"), "{error}");
    drop(child);
    // The wait is for an event: it ends as soon as the last process does.
    cgroup.kill_all(Signal::KILL).unwrap();
    let before = Instant::now();
    cgroup.remove().unwrap();
    assert!(before.elapsed() < Duration::from_secs(4));
}

#[test]
fn many_at_once() {
    let Some(host) = host("many_at_once") else { return };
    let cleanup = Cleanup::new(&host, "many");
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let (host, cleanup) = (&host, &cleanup);
            threads.spawn(move || {
                for round in 0..20 {
                    let paths = cleanup.paths(&format!("shared/{thread}-{round}"));
                    Cgroup::create(host, &paths, &Request::default()).unwrap().remove().unwrap();
                }
            });
        }
    });
}

#[test]
fn threaded() {
    let Some(host) = host("threaded") else { return };
    let cleanup = Cleanup::new(&host, "threaded");
    // With controllers for its children enabled, a cgroup could have no threaded ones.
    let scope = root(&host).make(cleanup.scope.trim_start_matches('/')).unwrap().0;
    scope.make("t").unwrap().0.write("cgroup.type", "threaded").unwrap();
    let paths = cleanup.paths("t/c");
    let error = create(&host, &paths, json!({"memory": {"limit": 10_000_000}})).unwrap_err();
    assert!(error.message().contains("can't have the controller memory"), "{error}");
    assert_eq!(error.pointer(), Some("/linux/resources/memory/limit"));
    let child = Cgroup::create(&host, &paths, &Request::default()).unwrap();
    assert_eq!(child.unified.as_ref().unwrap().read("cgroup.type").unwrap(), "threaded\n");
    child.remove().unwrap();
}

#[test]
fn rootless() {
    let Some(host) = host("rootless") else { return };
    let cleanup = Cleanup::new(&host, "rootless");
    // What an unprivileged user meets: a file system that can't be written to.
    let mount = |option: &str| {
        let options = ["-o", option, "/sys/fs/cgroup"];
        assert!(Command::new("mount").args(options).status().unwrap().success());
    };
    mount("remount,bind,ro");
    let read_only = Host::probe(Manager::Cgroupfs).unwrap();
    let request = Request { rootless: true, ..Request::default() };
    let unnamed = read_only.paths(None, "hoist-test-rootless").unwrap();
    let none = Cgroup::create(&read_only, &unnamed, &request);
    let root = Cgroup::create(&read_only, &unnamed, &Request::default());
    let named = Cgroup::create(&read_only, &cleanup.paths("c"), &request);
    let pids = resources(json!({"pids": {"limit": 5}}));
    let limited = Request { resources: Some(&pids), ..request };
    let limited = Cgroup::create(&read_only, &unnamed, &limited);
    mount("remount,bind,rw");
    let none = none.unwrap();
    assert!(none.paths.unified.is_none() && none.placement().unwrap().v2_dir.is_none());
    none.kill_all(Signal::KILL).unwrap();
    none.remove().unwrap();
    assert_eq!(root.unwrap_err().errno(), Some(Errno::ROFS.raw_os_error()));
    for refused in [named, limited] {
        let error = refused.unwrap_err();
        assert!(error.hint().unwrap().starts_with("rootless needs no limits"), "{error}");
        assert!(error.message().starts_with("unable to apply cgroup configuration: "), "{error}");
    }
}

/// In the VM: the lab machine's controllers are on v1.
#[test]
fn every_controller() {
    let Some(host) = host("every_controller") else { return };
    let available = root(&host).read("cgroup.controllers").unwrap();
    for needed in ["cpu", "cpuset", "memory", "pids"] {
        if !available.split_whitespace().any(|name| name == needed) {
            println!("SKIP unified::every_controller: no {needed} controller");
            return;
        }
    }
    let cleanup = Cleanup::new(&host, "every");
    let cgroup = create(
        &host,
        &cleanup.paths("c"),
        json!({
            "memory": {"limit": 33_554_432, "swap": 33_554_432, "reservation": 16_777_216},
            "cpu": {"shares": 512, "quota": 500_000, "period": 1_000_000, "burst": 1000,
                    "cpus": "0", "mems": "0"},
            "pids": {"limit": 20},
            "unified": {"memory.high": "30000000"},
        }),
    )
    .unwrap();
    let dir = cgroup.unified.as_ref().unwrap();
    let expected = [
        ("memory.max", "33554432"),
        ("memory.low", "16777216"),
        ("memory.high", "29999104"), // whole pages
        ("cpu.weight", "59"),
        ("cpu.max", "500000 1000000"),
        ("cpu.max.burst", "1000"),
        ("cpuset.cpus", "0"),
        ("cpuset.mems", "0"),
        ("pids.max", "20"),
    ];
    for (file, value) in expected {
        assert_eq!(dir.read(file).unwrap().trim_end(), value, "{file}");
    }
    if let Ok(swap) = dir.read("memory.swap.max") {
        assert_eq!(swap, "0\n");
    }
    assert_eq!(cgroup.oom_kills().unwrap(), Some(0));
    let update = |json| {
        let resources = resources(json);
        let request = Request { resources: Some(&resources), ..Request::default() };
        cgroup.update(&host, &request)
    };
    // More burst than quota is refused, unless the quota is raised by the same update.
    update(json!({"cpu": {"quota": 10_000, "period": 100_000, "burst": 0}})).unwrap();
    update(json!({"cpu": {"quota": 50_000, "period": 100_000, "burst": 40_000}})).unwrap();
    assert!(update(json!({"cpu": {"burst": 60_000}})).is_err());
    update(json!({"cpu": {"idle": 1}})).unwrap();
    update(json!({"cpu": {"shares": 1024, "idle": 0}})).unwrap();
    assert_eq!(dir.read("cpu.weight").unwrap(), "100\n");
    update(json!({"memory": {"limit": 8_388_608}, "unified": {"memory.high": "max"}})).unwrap();
    let child = Waiting::new("head -c 64000000 /dev/zero | tail -n 1").enter(&cgroup).go();
    child.output();
    assert_eq!(cgroup.oom_kills().unwrap(), Some(1));
    let check = json!({"memory": {"limit": 1, "checkBeforeUpdate": true}});
    let error = update(check).unwrap_err();
    assert!(error.message().starts_with("rejecting memory limit 1 <= usage"), "{error}");
    cgroup.remove().unwrap();
}
