//! What concerns a container's cgroup: pause, update, stats, OOM; and what can't be done.

use std::fs;

use containerd_shim_protos::cgroups_v2::metrics::Metrics;
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::ttrpc::Code;
use containerd_shim_protos::types::task::Status;
use serde_json::json;

use crate::harness::{
    Containerd, Event, Io, cgroup_of, has_controller, ours, skip, unified, until,
};

#[test]
fn pause_and_resume() {
    let Some(containerd) = Containerd::new("pause_and_resume") else { return };
    let script = "while :; do echo tick; sleep 0.01; done";
    let (bundle, out, _) = containerd.bundle("a", &["sh", "-c", script]).output();
    let task = bundle.run();
    out.until("tick");
    task.pause().expect("pause");
    assert_eq!(task.status(), Status::PAUSED);
    // Whatever was written has arrived when two looks see the same.
    let mut before = out.so_far().len();
    until("silence", || {
        let now = out.so_far().len();
        let same = now == before;
        before = now;
        same.then_some(())
    });
    assert!(task.exec("x", &["true"], &Io::default()).and_then(|exec| exec.start()).is_err());
    assert!(task.delete().is_err(), "a paused container isn't deleted");
    task.resume().expect("resume");
    assert_eq!(task.status(), Status::RUNNING);
    until("it goes on", || (out.so_far().len() > before).then_some(()));
    task.finish();
    containerd.events.wait("the end", |all| all.iter().any(|e| e.kind == "delete").then_some(()));
    let events = containerd.events.of("a");
    let kept: Vec<_> = events.iter().filter(|event| !event.starts_with("exec-added")).collect();
    assert_eq!(kept, ["create", "start", "paused", "resumed", "exit 137", "delete"]);
}

/// The kernel keeps the signal until it is thawed.
#[test]
fn kill_of_a_paused_container() {
    let Some(containerd) = Containerd::new("kill_of_a_paused_container") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    task.pause().expect("pause");
    task.kill(libc::SIGKILL).expect("kill");
    // It may have been thawed for that.
    let _ = task.resume();
    assert_eq!(task.wait().expect("wait"), 137);
    task.delete().expect("delete");
}

#[test]
fn update() {
    let Some(containerd) = Containerd::new("update") else { return };
    if !(has_controller("pids") && has_controller("memory")) {
        return skip("update", "there is no pids or no memory controller");
    }
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let limit = 64 << 20;
    task.update(&json!({ "pids": { "limit": 17 }, "memory": { "limit": limit } })).expect("update");
    let read = |controller, file| {
        fs::read_to_string(cgroup_of(containerd.name(), "a", controller).join(file)).expect("read")
    };
    assert_eq!(read("pids", "pids.max"), "17\n");
    let file = if unified() { "memory.max" } else { "memory.limit_in_bytes" };
    assert_eq!(read("memory", file), format!("{limit}\n"));
    assert!(task.update(&json!("nonsense")).is_err());
    if !unified() {
        // cgroup2 takes a limit below what is used, and kills for it.
        let tiny = json!({ "memory": { "limit": 4096 } });
        assert!(task.update(&tiny).is_err(), "less than it uses");
    }
    task.finish();
}

#[test]
fn stats() {
    let Some(containerd) = Containerd::new("stats") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    if unified() {
        let stats = task.stats().expect("stats");
        assert_eq!(stats.type_url, "io.containerd.cgroups.v2.Metrics");
        let metrics = Metrics::parse_from_bytes(&stats.value).expect("decode");
        // containerd's shim looks for cpu.stat only where there is a cpu controller.
        assert!(metrics.cpu.usage_usec > 0 || !ours(), "{metrics}");
    } else {
        let metrics = task.stats_v1();
        assert!(metrics.pids.current == 1 && metrics.memory.usage.usage > 0, "{metrics}");
        assert!(metrics.cpu.usage.total > 0, "{metrics}");
    }
    task.finish();
}

/// The kubelet writes OOMKilled by this order (containerd #12714).
#[test]
fn an_oom_comes_before_its_exit() {
    let Some(containerd) = Containerd::new("an_oom_comes_before_its_exit") else { return };
    if !has_controller("memory") {
        return skip("an_oom_comes_before_its_exit", "there is no memory controller");
    }
    let task = containerd
        .bundle("a", &["tail", "/dev/zero"])
        .edit(|config| config["linux"]["resources"]["memory"] = json!({ "limit": 16 << 20 }))
        .run();
    assert_eq!(task.wait().expect("wait"), 137);
    task.delete().expect("delete");
    has_oom(&containerd, "a");
}

/// Somewhere between create and exit.
#[track_caller]
fn has_oom(containerd: &Containerd, id: &str) {
    let end = |e: &&Event| e.container == id && e.kind == "delete";
    containerd.events.wait("the end", |all| all.iter().find(end).map(|_| ()));
    let mut events = containerd.events.of(id);
    let oom = events.iter().position(|event| event == "oom");
    let exit = events.iter().position(|event| event.starts_with("exit"));
    assert!(oom.is_some() && oom < exit, "{events:?}");
    events.retain(|event| event != "oom");
    assert_eq!(events, ["create", "start", "exit 137", "delete"]);
}

/// The watch begins with create: a container may use up its memory at once.
#[test]
fn every_oom_is_seen() {
    let Some(containerd) = Containerd::new("every_oom_is_seen") else { return };
    if !has_controller("memory") {
        return skip("every_oom_is_seen", "there is no memory controller");
    }
    if !ours() {
        return skip("every_oom_is_seen", "containerd's shim misses some");
    }
    for number in 0..20 {
        let id = format!("a{number}");
        let task = containerd
            .bundle(&id, &["tail", "/dev/zero"])
            .edit(|config| config["linux"]["resources"]["memory"] = json!({ "limit": 8 << 20 }))
            .run();
        assert_eq!(task.wait().expect("wait"), 137);
        task.delete().expect("delete");
        has_oom(&containerd, &id);
        task.shim.end();
    }
}

#[test]
fn checkpoint() {
    let Some(containerd) = Containerd::new("checkpoint") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let refused = task.checkpoint().expect_err("there is no CRIU");
    // containerd's shim tries it, and tells how runc failed.
    assert!(refused.code == Some(Code::UNIMPLEMENTED) || !ours(), "{refused}");
    assert_eq!(task.status(), Status::RUNNING);
    task.finish();

    let mut bundle = containerd.bundle("b", &["true"]);
    bundle.checkpoint = "/nonexistent".to_owned();
    let shim = bundle.start_shim();
    // containerd's shim fails at start, if it does.
    if ours() {
        let refused = bundle.create_in(&shim).err().expect("there is no CRIU");
        assert_eq!(refused.code, Some(Code::UNIMPLEMENTED), "{refused}");
        assert_eq!(containerd.left().iter().filter(|line| !line.starts_with("process")).count(), 0);
    }
    shim.end();
}

#[test]
fn an_id_that_is_taken() {
    let Some(containerd) = Containerd::new("an_id_that_is_taken") else { return };
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let task = bundle.run();
    let refused = bundle.create_in(&task.shim).err().expect("it is there");
    // containerd's shim says UNKNOWN, and has mounted the root a second time and unmounted both.
    if ours() {
        assert_eq!(refused.code, Some(Code::ALREADY_EXISTS), "{refused}");
        let rootfs = bundle.dir().join("rootfs/bin/busybox");
        assert!(rootfs.exists(), "the first one's root is still mounted");
        let exec = task.run_exec("x", &["true"]);
        assert_eq!(exec.wait().expect("wait"), 0);
    }
    assert_eq!(task.status(), Status::RUNNING);
    task.finish();
}

/// A create that fails leaves nothing, and the id can be used at once.
#[test]
fn a_failed_create_leaves_nothing() {
    let Some(containerd) = Containerd::new("a_failed_create_leaves_nothing") else { return };
    let bundle = containerd.bundle("a", &["true"]);
    let shim = bundle.start_shim();
    let mounts = json!([{ "destination": "/x", "type": "nonsense", "source": "nowhere" }]);
    let broken = containerd.bundle("a", &["true"]).edit(|config| config["mounts"] = mounts);
    let refused = broken.create_in(&shim).err().expect("there is no such filesystem");
    assert!(refused.code != Some(Code::OK), "{refused}");
    let left: Vec<_> =
        containerd.left().into_iter().filter(|l| !l.starts_with("process")).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(containerd.events.of("a"), [""; 0], "what was never there has no events");

    let task = bundle.create_in(&shim).expect("create");
    task.start().expect("start");
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}
