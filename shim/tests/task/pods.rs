//! Several containers in one shim, by the annotations that name their group.

use containerd_shim_protos::types::task::Status;

use crate::harness::{Containerd, Task, alive, later};

const SANDBOX: &str = "io.kubernetes.cri.sandbox-id";
const GROUP: &str = "io.containerd.runc.v2.group";

#[test]
fn two_in_a_sandbox() {
    let Some(containerd) = Containerd::new("two_in_a_sandbox") else { return };
    let member =
        |id: &str| containerd.bundle(id, &["sleep", "1000"]).annotation(SANDBOX, "sandbox").run();
    let (first, second) = (member("sandbox"), member("b"));
    assert_eq!((first.shim.pid, &first.shim.address), (second.shim.pid, &second.shim.address));
    first.kill(libc::SIGKILL).expect("kill");
    assert_eq!(first.wait().expect("wait"), 137);
    first.delete().expect("delete");
    assert_eq!(second.status(), Status::RUNNING, "one's end is not the other's");
    assert!(alive(second.pid));
    first.shim.shutdown().expect("shutdown");
    assert_eq!(second.status(), Status::RUNNING, "the shim stays while it has a container");
    second.finish();
    containerd.events.are("sandbox", &["create", "start", "exit 137", "delete"]);
    containerd.events.are("b", &["create", "start", "exit 137", "delete"]);
    second.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

#[test]
fn without_a_group_each_has_its_own() {
    let Some(containerd) = Containerd::new("without_a_group_each_has_its_own") else { return };
    let [one, other] = ["a", "b"].map(|id| containerd.bundle(id, &["sleep", "1000"]).run());
    assert_ne!(one.shim.pid, other.shim.pid);
    one.finish();
    one.shim.end();
    assert_eq!(other.status(), Status::RUNNING);
    other.finish();
    other.shim.end();
}

#[test]
fn ten_in_a_group() {
    let Some(containerd) = Containerd::new("ten_in_a_group") else { return };
    let tasks: Vec<Task> = (0..10)
        .map(|number| {
            let bundle = containerd.bundle(&format!("a{number}"), &["sleep", "1000"]);
            bundle.annotation(GROUP, "group").run()
        })
        .collect();
    assert!(tasks.iter().all(|task| task.shim.pid == tasks[0].shim.pid));
    let execs: Vec<Task> =
        tasks.iter().map(|task| task.run_exec("x", &["sleep", "1000"])).collect();
    // The odd ones end, all at once.
    let ends: Vec<_> = tasks.iter().skip(1).step_by(2).cloned().collect();
    let ends: Vec<_> = ends.into_iter().map(|task| later(move || task.finish())).collect();
    ends.into_iter().for_each(|end| end.get());
    for (number, (task, exec)) in tasks.iter().zip(&execs).enumerate() {
        if number % 2 == 0 {
            assert_eq!((task.status(), exec.status()), (Status::RUNNING, Status::RUNNING));
            task.shim.shutdown().expect("shutdown");
            task.finish();
        }
        let id = format!("a{number}");
        let all = [
            "create",
            "start",
            "exec-added x",
            "exec-started x",
            "exit x 137",
            "exit 137",
            "delete",
        ];
        containerd.events.are(&id, &all);
    }
    tasks[0].shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// An id that was used before in the same shim.
#[test]
fn an_id_comes_back() {
    let Some(containerd) = Containerd::new("an_id_comes_back") else { return };
    let keeper = containerd.bundle("keeper", &["sleep", "1000"]).annotation(GROUP, "g").run();
    let bundle = containerd.bundle("a", &["true"]).annotation(GROUP, "g");
    for _ in 0..5 {
        let task = bundle.create_in(&keeper.shim).expect("create");
        task.start().expect("start");
        assert_eq!(task.wait().expect("wait"), 0);
        task.delete().expect("delete");
    }
    containerd.events.wait("five ends", |all| {
        let ends = all.iter().filter(|e| e.container == "a" && e.kind == "delete").count();
        (ends == 5).then_some(())
    });
    assert_eq!(containerd.events.of("a"), ["create", "start", "exit 0", "delete"].repeat(5));
    keeper.finish();
}
