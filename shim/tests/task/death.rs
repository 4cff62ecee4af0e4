//! The shim is killed: `delete` removes what it leaves, and the id is free again.

use std::time::{Duration, Instant};

use containerd_shim_protos::shim::shim::CreateTaskResponse;
use serde_json::json;

use crate::harness::{Containerd, alive, later, ours, until};

#[test]
fn a_killed_shim_is_cleaned_up() {
    let Some(containerd) = Containerd::new("a_killed_shim_is_cleaned_up") else { return };
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let task = bundle.run();
    let exec = task.run_exec("x", &["sleep", "1000"]);
    task.shim.kill();
    let deleted = containerd.delete("a", &bundle.dir());
    assert_eq!((deleted.exit_status, deleted.pid), (137, task.pid));
    assert!(deleted.exited_at.seconds > 0);
    assert!(!alive(task.pid), "the container's init");
    until("the exec is gone", || (!alive(exec.pid)).then_some(()));
    assert_eq!(containerd.left(), [""; 0]);
    // Once more, as containerd may not know that it was done.
    containerd.delete("a", &bundle.dir());

    let again = bundle.run();
    assert_ne!(again.shim.pid, task.shim.pid);
    again.finish();
    again.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

#[test]
fn also_a_paused_one() {
    let Some(containerd) = Containerd::new("also_a_paused_one") else { return };
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let task = bundle.run();
    task.pause().expect("pause");
    task.shim.kill();
    assert_eq!(containerd.delete("a", &bundle.dir()).exit_status, 137);
    until("the container is gone", || (!alive(task.pid)).then_some(()));
    assert_eq!(containerd.left(), [""; 0]);
}

/// A container in the host's pid namespace has no init that would take the others along.
#[test]
fn also_one_in_the_hosts_pid_namespace() {
    let Some(containerd) = Containerd::new("also_one_in_the_hosts_pid_namespace") else { return };
    let (bundle, out, _) =
        containerd.bundle("a", &["sh", "-c", "sleep 1000 & echo ready; wait"]).output();
    let bundle = bundle.edit(|config| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
        namespaces.retain(|namespace| namespace["type"] != "pid");
    });
    let task = bundle.run();
    out.until("ready");
    let pids: Vec<u32> = task.pids().expect("pids").processes.iter().map(|p| p.pid).collect();
    assert_eq!(pids.len(), 2);
    task.shim.kill();
    containerd.delete("a", &bundle.dir());
    until("all are gone", || pids.iter().all(|pid| !alive(*pid)).then_some(()));
    assert_eq!(containerd.left(), [""; 0]);
}

/// One of a pod's containers is deleted so, when containerd finds the pod's shim dead.
#[test]
fn each_of_a_pod() {
    let Some(containerd) = Containerd::new("each_of_a_pod") else { return };
    let bundles = ["a", "b", "c"].map(|id| {
        containerd.bundle(id, &["sleep", "1000"]).annotation("io.kubernetes.cri.sandbox-id", "a")
    });
    let tasks = [0, 1, 2].map(|index: usize| bundles[index].run());
    tasks[0].shim.kill();
    for bundle in &bundles {
        assert_eq!(containerd.delete(&bundle.id, &bundle.dir()).exit_status, 137);
    }
    assert_eq!(containerd.left(), [""; 0]);
}

/// Nothing was created, and there is nothing to delete: containerd calls it also then.
#[test]
fn delete_of_nothing() {
    let Some(containerd) = Containerd::new("delete_of_nothing") else { return };
    let bundle = containerd.bundle("a", &["true"]);
    let shim = bundle.start_shim();
    shim.kill();
    assert_eq!(containerd.delete("a", &bundle.dir()).exit_status, 137);
    assert_eq!(containerd.left(), [""; 0]);
}

/// Killed at many moments of a create, and of the start after it.
#[test]
fn killed_in_the_midst_of_a_create() {
    let Some(containerd) = Containerd::new("killed_in_the_midst_of_a_create") else { return };
    let rounds = 40;
    // How long it takes, for moments that are spread over it.
    let began = Instant::now();
    let first = containerd.bundle("first", &["sleep", "1000"]);
    let shim = first.start_shim();
    let whole = began.elapsed();
    let began = Instant::now();
    let task = first.create_in(&shim).expect("create");
    task.start().expect("start");
    let creating = began.elapsed().min(whole * 10);
    task.finish();
    shim.end();
    for round in 0..rounds {
        let id = format!("a{round}");
        let hook = json!([{ "path": "/bin/true" }]);
        let bundle = containerd.bundle(&id, &["sleep", "1000"]);
        let bundle = bundle.edit(|config| config["hooks"] = json!({ "createRuntime": hook }));
        let shim = bundle.start_shim();
        let (again, request) = (shim.again(), bundle.request());
        let created = later(move || {
            let created = again.call::<CreateTaskResponse>("Create", &request)?;
            let task = crate::harness::Task::new(&again, &request.id, "", created.pid);
            task.start()
        });
        let moment: Duration = creating * round / rounds;
        std::thread::sleep(moment);
        shim.kill();
        let _ = created.get();
        let deleted = containerd.delete(&id, &bundle.dir());
        assert_eq!(deleted.exit_status, 137);
        // containerd's shim has a runc that goes on for a while, and may leave what it makes then.
        if ours() {
            // An init whose creator is gone ends by itself: nobody knows of it yet.
            let process = |line: &String| line.starts_with("process");
            until("no process is left", || (!containerd.left().iter().any(process)).then_some(()));
            let left = containerd.left();
            assert!(left.is_empty(), "killed after {moment:?} of {creating:?}: {left:#?}");
            let task = bundle.run();
            task.finish();
            task.shim.end();
            assert_eq!(containerd.left(), [""; 0]);
        }
    }
}
