//! Many calls at a time: none waits for another one's container.

use std::io::Write;
use std::path::Path;

use containerd_shim_protos::shim::shim::CreateTaskResponse;
use containerd_shim_protos::types::task::Status;
use serde_json::json;

use crate::harness::{Bundle, Containerd, Task, later, open_writer, ours, skip};

const LOCKED: &str = "containerd's shim holds its lock across a create (until May 2026)";
const GROUP: &str = "io.containerd.runc.v2.group";

/// Its create lasts until somebody writes to the fifo.
fn slow<'a>(containerd: &'a Containerd, fifo: &Path) -> Bundle<'a> {
    let script = format!("read line <{}", fifo.display());
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let bundle = containerd.bundle("slow", &["sleep", "1000"]).annotation(GROUP, "g");
    bundle.edit(|config| config["hooks"] = json!({ "createRuntime": hook }))
}

#[test]
fn a_slow_create_delays_nobody() {
    let Some(containerd) = Containerd::new("a_slow_create_delays_nobody") else { return };
    if !ours() {
        return skip("a_slow_create_delays_nobody", LOCKED);
    }
    let fifo = containerd.fifo("gate");
    let here = containerd.bundle("a", &["sleep", "1000"]).annotation(GROUP, "g").run();
    let bundle = slow(&containerd, &fifo);
    // On the same connection.
    let (shim, request) = (here.shim.clone(), bundle.request());
    let created = later(move || shim.call::<CreateTaskResponse>("Create", &request));
    let mut gate = open_writer(&fifo);

    assert_eq!(here.status(), Status::RUNNING);
    let exec = here.run_exec("x", &["true"]);
    assert_eq!(exec.wait().expect("wait"), 0);
    exec.delete().expect("delete");
    let other = containerd.bundle("b", &["sh", "-c", "exit 6"]).annotation(GROUP, "g").run();
    assert_eq!(other.shim.pid, here.shim.pid);
    assert_eq!(other.wait().expect("wait"), 6);
    other.delete().expect("delete");
    containerd.events.are("b", &["create", "start", "exit 6", "delete"]);
    here.finish();
    // A shim that is creating has a container.
    let _ = here.shim.shutdown();
    assert!(created.is_done().is_none(), "the create still waits");

    gate.write_all(b"\n").expect("open the gate");
    let pid = created.get().expect("create").pid;
    let task = Task::new(&here.shim, "slow", "", pid);
    task.start().expect("start");
    assert_eq!(task.status(), Status::RUNNING);
    task.finish();
    containerd.events.are("slow", &["create", "start", "exit 137", "delete"]);
}

/// What isn't created yet isn't there, and its id is taken.
#[test]
fn in_the_midst_of_a_create() {
    let Some(containerd) = Containerd::new("in_the_midst_of_a_create") else { return };
    if !ours() {
        return skip("in_the_midst_of_a_create", LOCKED);
    }
    let fifo = containerd.fifo("gate");
    let bundle = slow(&containerd, &fifo);
    let shim = bundle.start_shim();
    let (again, request) = (shim.again(), bundle.request());
    let created = later(move || again.call::<CreateTaskResponse>("Create", &request));
    let mut gate = open_writer(&fifo);
    let task = Task::new(&shim, "slow", "", 0);
    assert!(task.start().is_err());
    assert!(task.kill(libc::SIGKILL).is_err());
    assert!(bundle.create_in(&shim).is_err(), "the id is taken");
    gate.write_all(b"\n").expect("open the gate");
    let pid = created.get().expect("create").pid;
    assert_eq!(task.state().expect("state").pid, pid);
    task.finish();
    shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// Waits are the calls that last: hundreds of them, on one connection and on many.
#[test]
fn many_wait() {
    let Some(containerd) = Containerd::new("many_wait") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let together: Vec<_> = (0..200)
        .map(|_| {
            let task = task.clone();
            later(move || task.wait())
        })
        .collect();
    let apart: Vec<_> = (0..50).map(|_| task.wait_later()).collect();
    assert_eq!(task.status(), Status::RUNNING);
    task.kill(libc::SIGKILL).expect("kill");
    for wait in together.into_iter().chain(apart) {
        assert_eq!(wait.get().expect("wait"), 137);
    }
    task.delete().expect("delete");
    task.shim.end();
}

/// Many calls of all sorts on a connection, in no order.
#[test]
fn a_crowd_on_one_connection() {
    let Some(containerd) = Containerd::new("a_crowd_on_one_connection") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let calls: Vec<_> = (0..16)
        .map(|number| {
            let task = task.clone();
            later(move || {
                for round in 0..10 {
                    assert_eq!(task.state().expect("state").pid, task.pid);
                    assert!(!task.pids().expect("pids").processes.is_empty());
                    let exec = task.run_exec(&format!("x{number}-{round}"), &["true"]);
                    assert_eq!(exec.wait().expect("wait"), 0);
                    exec.delete().expect("delete");
                }
            })
        })
        .collect();
    calls.into_iter().for_each(|call| call.get());
    task.finish();
}
