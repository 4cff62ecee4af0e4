//! What containerd doesn't know of any more: nothing of it stays.

use std::io::Write;

use containerd_shim_protos::shim::shim::{CreateTaskResponse, DeleteRequest, DeleteResponse};
use serde_json::json;

use crate::harness::{Bundle, Containerd, Shim, later, open_writer, ours, skip, until};

const GOES_ON: &str = "containerd's shim doesn't answer for what it creates";

/// Its create lasts until somebody writes to the fifo.
fn slow<'a>(containerd: &'a Containerd, script: &str) -> Bundle<'a> {
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    bundle.edit(|config| config["hooks"] = json!({ "createRuntime": hook }))
}

/// As containerd does when its client has given a create up: Delete, then Shutdown.
#[test]
fn deleted_while_it_is_created() {
    let name = "deleted_while_it_is_created";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, GOES_ON);
    }
    for (script, status) in [("read line", Some(137)), ("read line; exit 1", None)] {
        let gate = containerd.fifo("gate");
        let bundle = slow(&containerd, &format!("exec <{}; {script}", gate.display()));
        let shim = bundle.start_shim();
        let (again, request) = (shim.again(), bundle.request());
        let created = later(move || again.call::<CreateTaskResponse>("Create", &request));
        let mut gate_open = open_writer(&gate);
        let request = DeleteRequest { id: "a".to_owned(), ..DeleteRequest::default() };
        let deleted = shim.ask("Delete", &request);
        // Answered after the delete has arrived: in the first turn it is accepted, in the second read.
        for _ in 0..3 {
            shim.shutdown().expect("shutdown");
        }
        assert!(created.is_done().is_none());
        gate_open.write_all(b"\n").expect("open the gate");
        created.get().expect_err("nobody will know of it");
        let deleted = Shim::answer::<DeleteResponse>(deleted);
        assert_eq!(deleted.map(|response| response.exit_status), status, "{script}");
        until("the shim ends", || shim.is_gone().then_some(()));
        assert_eq!(containerd.events.of("a"), [""; 0]);
        containerd.remove(&bundle);
        assert_eq!(containerd.left(), [""; 0]);
        std::fs::remove_file(gate).expect("remove the fifo");
    }
}

/// `delete` was executed for a shim that lives: it answers again, and knows what has happened.
#[test]
fn removed_while_the_shim_lives() {
    let name = "removed_while_the_shim_lives";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, "containerd's shim keeps it for ever");
    }
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let task = bundle.run();
    assert_eq!(containerd.delete("a", &bundle.dir()).exit_status, 137);
    containerd.events.are("a", &["create", "start", "exit 137"]);
    let again = bundle.create_in(&task.shim).expect("the next create of the id");
    again.start().expect("start");
    assert_eq!(containerd.delete("a", &bundle.dir()).exit_status, 137);
    until("the second exit", || (containerd.events.of("a").len() == 6).then_some(()));
    task.shim.shutdown().expect("shutdown");
    until("the shim ends", || task.shim.is_gone().then_some(()));
    assert_eq!(containerd.left(), [""; 0]);
}
