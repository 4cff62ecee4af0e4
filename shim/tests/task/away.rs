//! containerd is killed, hangs and comes back: nothing that happened meanwhile is lost, doubled or
//! told in another order.

use std::io::Write;

use containerd_shim_protos::shim::shim::WaitRequest;
use serde_json::json;

use crate::harness::{Containerd, Io, Task, later, open_writer, ours, skip, until};

#[test]
fn an_exit_while_containerd_is_away() {
    let Some(containerd) = Containerd::new("an_exit_while_containerd_is_away") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let exec = task.run_exec("x", &["sleep", "1000"]);
    let added = ["create", "start", "exec-added x", "exec-started x"];
    containerd.events.are("a", &added);
    containerd.events.die();
    exec.kill(libc::SIGKILL).expect("kill");
    assert_eq!(exec.wait().expect("wait"), 137);
    task.kill(libc::SIGKILL).expect("kill");
    assert_eq!(task.wait().expect("wait"), 137);
    containerd.events.come_back();
    containerd.events.came("a", &[&added[..], &["exit x 137", "exit 137"]].concat());
    // Nothing comes twice, also not later.
    task.delete().expect("delete");
    containerd.events.came("a", &[&added[..], &["exit x 137", "exit 137", "delete"]].concat());
    task.shim.end();
}

#[test]
fn a_life_while_containerd_is_away() {
    let Some(containerd) = Containerd::new("a_life_while_containerd_is_away") else { return };
    let group = "io.containerd.runc.v2.group";
    let keeper = containerd.bundle("keeper", &["sleep", "1000"]).annotation(group, "g").run();
    containerd.events.are("keeper", &["create", "start"]);
    containerd.events.die();
    let task = containerd.bundle("a", &["sh", "-c", "exit 3"]).annotation(group, "g").run();
    assert_eq!(task.wait().expect("wait"), 3);
    task.delete().expect("delete");
    containerd.events.come_back();
    containerd.events.came("a", &["create", "start", "exit 3", "delete"]);
    keeper.finish();
    keeper.shim.end();
}

/// It takes the event and doesn't answer; then it is killed, and never has seen it.
#[test]
fn containerd_hangs() {
    let Some(containerd) = Containerd::new("containerd_hangs") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    containerd.events.are("a", &["create", "start"]);
    containerd.events.fall_silent();
    task.kill(libc::SIGKILL).expect("kill");
    assert_eq!(task.wait().expect("calls are served meanwhile"), 137);
    task.delete().expect("delete");
    containerd.events.die();
    containerd.events.come_back();
    containerd.events.came("a", &["create", "start", "exit 137", "delete"]);
    task.shim.end();
}

/// Asked to end, a shim first brings its events home.
#[test]
fn shutdown_while_containerd_is_away() {
    let Some(containerd) = Containerd::new("shutdown_while_containerd_is_away") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    containerd.events.are("a", &["create", "start"]);
    containerd.events.die();
    task.finish();
    let answer = task.shim.shutdown();
    containerd.events.come_back();
    // containerd's shim goes at once.
    if ours() {
        answer.expect("shutdown");
        containerd.events.are("a", &["create", "start", "exit 137", "delete"]);
    }
    task.shim.end();
}

/// It asks for a container, and is killed before that is there. When it is back it finds the whole
/// container, or none.
#[test]
fn killed_in_the_midst_of_a_create() {
    let name = "killed_in_the_midst_of_a_create";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, "containerd's shim kills runc then, and leaves what that has made");
    }
    let gate = containerd.fifo("gate");
    let script = format!("read line <{}", gate.display());
    let hook = json!([{ "path": "/bin/sh", "args": ["sh", "-c", script] }]);
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let bundle = bundle.edit(|config| config["hooks"] = json!({ "createRuntime": hook }));
    let shim = bundle.start_shim();
    let asked = shim.ask("Create", &bundle.request());
    let mut gate = open_writer(&gate);
    drop(asked);
    containerd.events.die();
    // The hook may have been killed, too.
    let _ = gate.write_all(b"\n");
    containerd.events.come_back();
    let task = Task::new(&shim.again(), "a", "", 0);
    let exists = until("the container, or nothing", || {
        let nothing = || containerd.left().iter().all(|line| line.starts_with("process"));
        match task.state() {
            Ok(_) => Some(true),
            Err(_) => nothing().then_some(false),
        }
    });
    if exists {
        task.start().expect("start");
        task.finish();
        containerd.events.are("a", &["create", "start", "exit 137", "delete"]);
    }
    shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// The same in a wait: the next one gets the status.
#[test]
fn killed_in_a_wait() {
    let Some(containerd) = Containerd::new("killed_in_a_wait") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    for _ in 0..50 {
        let request = WaitRequest { id: "a".to_owned(), ..WaitRequest::default() };
        drop(task.shim.ask("Wait", &request));
    }
    let again = Task { shim: task.shim.again(), ..task.clone() };
    let waiting = again.wait_later();
    task.kill(libc::SIGKILL).expect("kill");
    assert_eq!(waiting.get().expect("wait"), 137);
    task.delete().expect("delete");
    containerd.events.are("a", &["create", "start", "exit 137", "delete"]);
}

/// It is killed and started again and again, while execs come and go.
#[test]
fn containerd_restarts_in_an_exec_storm() {
    let name = "containerd_restarts_in_an_exec_storm";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, "containerd's shim loses some events, and sends others twice");
    }
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let storm = {
        let task = task.clone();
        later(move || (0..40).for_each(|number| one_exec(&task, &format!("x{number}"))))
    };
    let mut restarts = 0;
    while storm.is_done().is_none() {
        containerd.events.die();
        containerd.events.come_back();
        restarts += 1;
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    assert!(restarts > 1);
    task.finish();
    let mut expected = vec!["create".to_owned(), "start".to_owned()];
    for number in 0..40 {
        let kinds = ["exec-added x{}", "exec-started x{}", "exit x{} 0"];
        expected.extend(kinds.map(|kind| kind.replace("{}", &number.to_string())));
    }
    expected.extend(["exit 137".to_owned(), "delete".to_owned()]);
    let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
    containerd.events.came("a", &expected);
    task.shim.end();
}

fn one_exec(task: &Task, id: &str) {
    let exec = task.exec(id, &["true"], &Io::default()).expect("exec");
    exec.start().expect("start");
    assert_eq!(exec.wait().expect("wait"), 0);
    exec.delete().expect("delete");
}
