//! Further processes in a container.

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::ProcessDetails;
use containerd_shim_protos::ttrpc::Code;
use containerd_shim_protos::types::task::Status;
use serde_json::json;

use crate::harness::{Containerd, Io, Reader, alive, ours, process_spec, text};

#[test]
fn a_life() {
    let Some(containerd) = Containerd::new("a_life") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let exec = task.exec("x", &["sh", "-c", "exit 3"], &Io::default()).expect("exec");
    let state = exec.state().expect("state");
    assert_eq!((state.status.enum_value(), state.pid), (Ok(Status::CREATED), 0));
    let waiting = exec.wait_later();
    let pid = exec.start().expect("start");
    assert_eq!(waiting.get().expect("wait"), 3);
    assert_eq!(exec.wait().expect("wait again"), 3);
    let state = exec.state().expect("state");
    assert_eq!((state.status.enum_value(), state.exit_status), (Ok(Status::STOPPED), 3));
    assert_eq!(state.id, "x");
    let deleted = exec.delete().expect("delete");
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 3));
    assert_eq!(exec.state().expect_err("deleted").code, Some(Code::NOT_FOUND));

    assert_eq!(task.status(), Status::RUNNING);
    // The id is free again.
    let again = task.run_exec("x", &["true"]);
    assert_eq!(again.wait().expect("wait"), 0);
    again.delete().expect("delete");
    task.finish();
    let once = ["exec-added x", "exec-started x", "exit x 3"];
    let twice = ["exec-added x", "exec-started x", "exit x 0"];
    let all = [&["create", "start"], &once[..], &twice[..], &["exit 137", "delete"]].concat();
    containerd.events.are("a", &all);
}

/// Who waits for both would else believe that the exec runs on (containerd #9719).
#[test]
fn an_execs_exit_comes_before_its_containers() {
    let name = "an_execs_exit_comes_before_its_containers";
    let Some(containerd) = Containerd::new(name) else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    for number in 0..5 {
        task.run_exec(&format!("x{number}"), &["sleep", "1000"]);
    }
    task.kill(libc::SIGKILL).expect("kill");
    task.wait().expect("wait");
    task.delete().expect("delete");
    containerd.events.wait("the end", |all| all.iter().any(|e| e.kind == "delete").then_some(()));
    let events = containerd.events.of("a");
    assert_eq!(events.len(), 2 + 5 * 3 + 2, "{events:?}");
    assert_eq!(events[events.len() - 2..], ["exit 137", "delete"]);
}

#[test]
fn a_signal_reaches_one_exec_only() {
    let Some(containerd) = Containerd::new("a_signal_reaches_one_exec_only") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let [one, other] = ["one", "other"].map(|id| task.run_exec(id, &["sleep", "1000"]));
    one.kill(libc::SIGKILL).expect("kill");
    assert_eq!(one.wait().expect("wait"), 137);
    assert_eq!((other.status(), task.status()), (Status::RUNNING, Status::RUNNING));
    let refused = one.kill(libc::SIGKILL).expect_err("it has ended");
    assert_eq!(refused.code, Some(Code::NOT_FOUND), "containerd takes this for done: {refused}");
    assert!(other.delete().is_err(), "it runs");
    other.kill(libc::SIGTERM).expect("kill");
    assert_eq!(other.wait().expect("wait"), 143);
    one.delete().expect("delete");
    other.delete().expect("delete");
    task.finish();
}

#[test]
fn kill_all() {
    let Some(containerd) = Containerd::new("kill_all") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let exec = task.run_exec("x", &["sleep", "1000"]);
    task.kill_all(libc::SIGKILL).expect("kill all");
    assert_eq!((exec.wait().expect("wait"), task.wait().expect("wait")), (137, 137));
    assert!(!alive(exec.pid) && !alive(task.pid));
    let refused = task.kill(libc::SIGKILL).expect_err("it has ended");
    assert_eq!(refused.code, Some(Code::NOT_FOUND), "containerd takes this for done: {refused}");
    task.delete().expect("delete");
}

#[test]
fn pids_name_the_execs() {
    let Some(containerd) = Containerd::new("pids_name_the_execs") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let exec = task.run_exec("x", &["sleep", "1000"]);
    let listed = task.pids().expect("pids").processes;
    let mut pids: Vec<u32> = listed.iter().map(|process| process.pid).collect();
    let mut expected = [task.pid, exec.pid];
    pids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(pids, expected);
    let entry = listed.iter().find(|process| process.pid == exec.pid).expect("the exec");
    assert_eq!(entry.info.type_url, "containerd.runc.v1.ProcessDetails");
    let details = ProcessDetails::parse_from_bytes(&entry.info.value).expect("decode");
    assert_eq!(details.exec_id, "x");
    let init = listed.iter().find(|process| process.pid == task.pid).expect("the init");
    assert!(init.info.is_none());
    task.finish();
}

#[test]
fn what_cannot_be_done_twice() {
    let Some(containerd) = Containerd::new("what_cannot_be_done_twice") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    assert!(task.start().is_err(), "start of a running container");
    let exec = task.run_exec("x", &["sleep", "1000"]);
    if ours() {
        // containerd's shim says UNKNOWN, and dies of a panic when the exec ends.
        let refused = exec.start().expect_err("it runs");
        assert_eq!(refused.code, Some(Code::FAILED_PRECONDITION), "{refused}");
    }
    let refused = task.exec("x", &["true"], &Io::default()).err().expect("the id is taken");
    assert_eq!(refused.code, Some(Code::ALREADY_EXISTS), "{refused}");
    exec.kill(libc::SIGKILL).expect("kill");
    exec.wait().expect("wait");
    assert!(!ours() || exec.start().is_err(), "start of an exec that has ended");
    exec.delete().expect("delete");
    assert_eq!(exec.delete().expect_err("deleted").code, Some(Code::NOT_FOUND));
    task.finish();
}

/// Docker looks for these words to choose between the exit codes 125, 126 and 127.
#[test]
fn a_program_that_cannot_be_executed() {
    let Some(containerd) = Containerd::new("a_program_that_cannot_be_executed") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let absent = "exec: \"no-such\": executable file not found";
    let cases = [("no-such", absent), ("/bin/no-program", "permission denied")];
    for (number, (program, words)) in cases.into_iter().enumerate() {
        let exec = task.exec(&format!("x{number}"), &[program], &Io::default()).expect("exec");
        let refused = exec.start().expect_err("it can't be executed");
        assert!(refused.message.contains(words), "{refused}");
        exec.delete().expect("delete of an exec that never ran");

        let bundle = containerd.bundle(&format!("b{number}"), &[program]);
        let shim = bundle.start_shim();
        let refused = bundle.create_in(&shim).and_then(|task| task.start());
        let refused = refused.expect_err("it can't be executed");
        assert!(refused.message.contains(words), "{refused}");
    }
    assert_eq!(task.status(), Status::RUNNING);
    task.finish();
}

#[test]
fn working_directory_and_user() {
    let Some(containerd) = Containerd::new("working_directory_and_user") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let mut spec = process_spec(&["sh", "-c", "echo $PWD $HOME $NAME; cat /proc/self/status"]);
    spec["cwd"] = json!("/tmp");
    spec["env"] = json!(["PATH=/bin", "NAME=value", "HOME=/home/somebody"]);
    spec["user"] = json!({ "uid": 1000, "gid": 1001, "additionalGids": [1002] });
    let fifos = ["out", "err"].map(|name| containerd.fifo(name));
    let [out, _err] = [0, 1].map(|index| Reader::new(&fifos[index]));
    let io = Io { stdout: text(&fifos[0]), stderr: text(&fifos[1]), ..Io::default() };
    let exec = task.exec_spec("x", &spec, &io).expect("exec");
    exec.start().expect("start");
    assert_eq!(exec.wait().expect("wait"), 0);
    exec.delete().expect("delete");
    let said = out.text();
    assert!(said.starts_with("/tmp /home/somebody value\n"), "{said}");
    assert!(said.contains("Uid:\t1000\t1000\t1000\t1000\n"), "{said}");
    assert!(said.contains("Gid:\t1001\t1001\t1001\t1001\n"), "{said}");

    spec["cwd"] = json!("/nowhere");
    let exec = task.exec_spec("y", &spec, &Io::default()).expect("exec");
    let refused = exec.start().expect_err("no such directory");
    let message = refused.message.to_lowercase();
    let named = message.contains("cwd") && message.contains("no such file or directory");
    assert!(named, "{refused}");
    exec.delete().expect("delete");
    task.finish();
}

#[test]
fn not_in_what_has_ended() {
    let Some(containerd) = Containerd::new("not_in_what_has_ended") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let prepared = task.exec("x", &["true"], &Io::default()).expect("exec");
    task.kill(libc::SIGKILL).expect("kill");
    task.wait().expect("wait");
    let refused = prepared.start().expect_err("the container has ended");
    assert_eq!(refused.code, Some(Code::FAILED_PRECONDITION), "{refused}");
    let late = task.exec("y", &["true"], &Io::default()).and_then(|exec| exec.start());
    assert!(late.is_err(), "the container has ended");
    task.delete().expect("delete");
    containerd.events.wait("the end", |all| all.iter().any(|e| e.kind == "delete").then_some(()));
    assert!(!containerd.events.of("a").iter().any(|event| event.starts_with("exec-started")));
}
