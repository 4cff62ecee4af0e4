//! From create to delete: states, exit statuses, events.

use containerd_shim_protos::shim::shim::{ConnectRequest, ConnectResponse};
use containerd_shim_protos::ttrpc::Code;
use containerd_shim_protos::types::task::Status;

use crate::harness::{Containerd, Event, Io, Task, alive, open_writer, ours, until};

#[test]
fn a_life() {
    let Some(containerd) = Containerd::new("a_life") else { return };
    let task = containerd.bundle("a", &["sh", "-c", "exit 7"]).create();
    assert!(alive(task.pid), "a created container has a process");
    let state = task.state().expect("state");
    assert_eq!(state.status.enum_value(), Ok(Status::CREATED));
    assert_eq!((state.id.as_str(), state.pid), ("a", task.pid));
    assert_eq!(state.bundle, containerd.dir().join("bundles/a").to_string_lossy());

    let waiting = task.wait_later();
    assert_eq!(task.start().expect("start"), task.pid);
    assert_eq!(waiting.get().expect("wait, called before the exit"), 7);
    assert_eq!(task.wait().expect("wait, called after the exit"), 7);
    let state = task.state().expect("state");
    assert_eq!((state.status.enum_value(), state.exit_status), (Ok(Status::STOPPED), 7));

    let deleted = task.delete().expect("delete");
    assert_eq!((deleted.pid, deleted.exit_status), (task.pid, 7));
    assert_eq!(deleted.exited_at, state.exited_at);
    containerd.events.are("a", &["create", "start", "exit 7", "delete"]);
    let namespace =
        containerd.events.wait("an event", |all| all.first().map(|e| e.namespace.clone()));
    assert_eq!(namespace, containerd.name());
    containerd.events.wait("the pid in each event", |all| {
        all.iter().all(|event| event.pid == task.pid).then_some(())
    });
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

#[test]
fn exit_statuses() {
    let Some(containerd) = Containerd::new("exit_statuses") else { return };
    let cases = [
        ("zero", "exit 0", 0),
        ("one", "exit 1", 1),
        ("seven", "exit 7", 7),
        // A shell that ends so has the same status as one that was ended by a signal.
        ("high", "exit 255", 255),
    ];
    for (id, script, status) in cases {
        let task = containerd.bundle(id, &["sh", "-c", script]).run();
        assert_eq!(task.wait().expect("wait"), status, "{script}");
        task.delete().expect("delete");
        containerd.events.are(id, &["create", "start", &format!("exit {status}"), "delete"]);
        task.shim.end();
    }
    for (id, signal) in [("killed", libc::SIGKILL), ("terminated", libc::SIGTERM)] {
        let script = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.01; done";
        let (bundle, out, _) = containerd.bundle(id, &["sh", "-c", script]).output();
        let task = bundle.run();
        out.until("ready");
        task.kill(signal).expect("kill");
        let status = u32::try_from(128 + signal).expect("a status");
        assert_eq!(task.wait().expect("wait"), status);
        assert_eq!(task.delete().expect("delete").exit_status, status);
        task.shim.end();
    }
}

/// A created container that is killed and never was started has its exit, too.
#[test]
fn killed_before_start() {
    let Some(containerd) = Containerd::new("killed_before_start") else { return };
    let task = containerd.bundle("a", &["true"]).create();
    task.kill(libc::SIGKILL).expect("kill");
    assert_eq!(task.wait().expect("wait"), 137);
    assert!(task.start().is_err(), "start of a container that has ended");
    task.delete().expect("delete");
    containerd.events.are("a", &["create", "exit 137", "delete"]);
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// containerd deletes what never started.
#[test]
fn delete_of_created() {
    let Some(containerd) = Containerd::new("delete_of_created") else { return };
    let task = containerd.bundle("a", &["true"]).create();
    task.delete().expect("delete");
    until("the process is gone", || (!alive(task.pid)).then_some(()));
    if ours() {
        containerd.events.are("a", &["create", "exit 137", "delete"]);
    } else {
        // containerd's shim sends the exit after delete, or never.
        let end = |all: &[Event]| all.iter().any(|event| event.kind == "delete").then_some(());
        containerd.events.wait("the end", end);
    }
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

#[test]
fn delete_of_running() {
    let Some(containerd) = Containerd::new("delete_of_running") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let refused = task.delete().expect_err("it runs");
    // containerd's shim says UNKNOWN; its callers can't tell that from a broken one.
    assert!(refused.code == Some(Code::FAILED_PRECONDITION) || !ours(), "{refused}");
    assert_eq!(task.status(), Status::RUNNING, "and runs on");
    task.finish();
}

/// Each call about something that isn't there says that it isn't: containerd takes that for deleted.
#[test]
fn unknown_container() {
    let Some(containerd) = Containerd::new("unknown_container") else { return };
    let here = containerd.bundle("a", &["sleep", "1000"]).run();
    let nobody = Task::new(&here.shim, "nobody", "", 0);
    let answers = [
        ("State", nobody.state().err()),
        ("Start", nobody.start().err()),
        ("Delete", nobody.delete().err()),
        ("Pids", nobody.pids().err()),
        ("Pause", nobody.pause().err()),
        ("Resume", nobody.resume().err()),
        ("Checkpoint", nobody.checkpoint().err()),
        ("Kill", nobody.kill(9).err()),
        ("Exec", nobody.exec("x", &["true"], &Io::default()).err()),
        ("ResizePty", nobody.resize(80, 25).err()),
        ("CloseIO", nobody.close_stdin().err()),
        ("Update", nobody.update(&serde_json::json!({})).err()),
        ("Wait", nobody.wait().err()),
        ("Stats", nobody.stats().err()),
    ];
    for (call, refused) in answers {
        let refused = refused.unwrap_or_else(|| panic!("{call} of nobody"));
        assert_eq!(refused.code, Some(Code::NOT_FOUND), "{call}: {refused}");
    }
    let nothing = Task::new(&here.shim, "a", "no-exec", 0);
    let answers = [
        ("State", nothing.state().err()),
        ("Start", nothing.start().err()),
        ("Delete", nothing.delete().err()),
        ("Kill", nothing.kill(9).err()),
        ("ResizePty", nothing.resize(80, 25).err()),
        ("Wait", nothing.wait().err()),
    ];
    for (call, refused) in answers {
        let refused = refused.unwrap_or_else(|| panic!("{call} of no exec"));
        assert_eq!(refused.code, Some(Code::NOT_FOUND), "{call}: {refused}");
    }
    // The one that is there has noticed nothing.
    assert_eq!(here.status(), Status::RUNNING);
    here.finish();
    let again = here.delete().expect_err("it is deleted");
    assert_eq!(again.code, Some(Code::NOT_FOUND), "{again}");
}

#[test]
fn connect_and_shutdown() {
    let Some(containerd) = Containerd::new("connect_and_shutdown") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let id = "a".to_owned();
    let answer: ConnectResponse = task
        .shim
        .call("Connect", &ConnectRequest { id, ..ConnectRequest::default() })
        .expect("connect");
    assert_eq!(answer.task_pid, task.pid);
    assert!(alive(answer.shim_pid));

    task.shim.shutdown().expect("shutdown with a container is no error");
    assert_eq!(task.status(), Status::RUNNING, "and changes nothing");
    task.finish();
    assert!(!task.shim.is_gone(), "it ends when it is told to");
    let socket = std::path::PathBuf::from(task.shim.socket());
    assert!(socket.exists());
    task.shim.end();
    assert!(!socket.exists(), "its socket goes with it");
    containerd.events.are("a", &["create", "start", "exit 137", "delete"]);
    assert_eq!(containerd.left(), [""; 0]);
}

/// What containerd has sent, and `State` gives back: it shows this to its own clients.
#[test]
fn state_repeats_the_streams() {
    let Some(containerd) = Containerd::new("state_repeats_the_streams") else { return };
    let (bundle, _, _) = containerd.bundle("a", &["sleep", "1000"]).output();
    let task = bundle.run();
    let state = task.state().expect("state");
    assert_eq!((&state.stdout, &state.stderr), (&bundle.io.stdout, &bundle.io.stderr));
    assert!(state.stdin.is_empty() && !state.terminal);
    task.finish();
}

/// The pid namespace's init takes everything along; one that shares the host's doesn't.
#[test]
fn children_end_with_a_container_of_the_hosts_pid_namespace() {
    let name = "children_end_with_a_container_of_the_hosts_pid_namespace";
    let Some(containerd) = Containerd::new(name) else { return };
    let script = "sleep 1000 & echo ready; read line";
    let (bundle, out, _) = containerd.bundle("a", &["sh", "-c", script]).output();
    let (bundle, input) = bundle.input();
    let task = bundle
        .edit(|config| {
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.retain(|namespace| namespace["type"] != "pid");
        })
        .run();
    let writer = open_writer(&input);
    out.until("ready");
    let pids: Vec<u32> =
        task.pids().expect("pids").processes.iter().map(|process| process.pid).collect();
    assert_eq!(pids.len(), 2, "{pids:?}");
    task.close_stdin().expect("close stdin");
    drop(writer);
    task.wait().expect("wait");
    until("the child is gone", || pids.iter().all(|pid| !alive(*pid)).then_some(()));
    task.delete().expect("delete");
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}
