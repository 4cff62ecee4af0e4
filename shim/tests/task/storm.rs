//! Many short lives at a time: each event exactly once, and in its order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::{Containerd, Io, Task, later, ours};

const AT_A_TIME: usize = 8;

/// Calls `work` with each number below `count`, some at a time.
fn storm(count: usize, work: impl Fn(usize) + Send + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..AT_A_TIME {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        return;
                    }
                    work(number);
                }
            });
        }
    });
}

/// Ends a shim at once: its last events are still on their way.
fn end(containerd: &Containerd, task: &Task) {
    if !ours() {
        // containerd's shim loses them then.
        deleted(containerd, &task.id);
    }
    task.shim.end();
}

/// Waits for the last event of a container.
fn deleted(containerd: &Containerd, id: &str) {
    containerd.events.wait(&format!("delete of {id}"), |all| {
        all.iter().any(|event| event.container == id && event.kind == "delete").then_some(())
    });
}

#[test]
fn of_containers() {
    let Some(containerd) = Containerd::new("of_containers") else { return };
    let count =
        std::env::var("HOIST_TEST_STORM").ok().map_or(200, |n| n.parse().expect("a number"));
    storm(count, |number| {
        let id = format!("a{number}");
        let bundle = containerd.bundle(&id, &["true"]);
        let task = bundle.run();
        assert_eq!(task.wait().expect("wait"), 0);
        assert_eq!(task.delete().expect("delete").exit_status, 0);
        end(&containerd, &task);
        containerd.remove(&bundle);
    });
    for number in 0..count {
        containerd.events.came(&format!("a{number}"), &["create", "start", "exit 0", "delete"]);
    }
    assert_eq!(containerd.left(), [""; 0]);
}

/// In one shim, as a pod's.
#[test]
fn of_containers_in_a_pod() {
    let Some(containerd) = Containerd::new("of_containers_in_a_pod") else { return };
    let group = "io.containerd.runc.v2.group";
    let keeper = containerd.bundle("keeper", &["sleep", "1000"]).annotation(group, "g").run();
    storm(100, |number| {
        let script = format!("exit {}", number % 100);
        let bundle = containerd.bundle(&format!("a{number}"), &["sh", "-c", &script]);
        let task = bundle.annotation(group, "g").create_in(&keeper.shim).expect("create");
        task.start().expect("start");
        assert_eq!(usize::try_from(task.wait().expect("wait")), Ok(number % 100));
        task.delete().expect("delete");
    });
    for number in 0..100 {
        let exit = format!("exit {}", number % 100);
        containerd.events.came(&format!("a{number}"), &["create", "start", &exit, "delete"]);
    }
    keeper.finish();
    keeper.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

#[test]
fn of_execs() {
    let Some(containerd) = Containerd::new("of_execs") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    storm(200, |number| {
        let script = format!("exit {}", number % 200);
        let id = format!("x{number}");
        let exec = task.exec(&id, &["sh", "-c", &script], &Io::default()).expect("exec");
        exec.start().expect("start");
        assert_eq!(usize::try_from(exec.wait().expect("wait")), Ok(number % 200));
        exec.delete().expect("delete");
    });
    task.finish();
    deleted(&containerd, "a");
    let events = containerd.events.of("a");
    assert_eq!(events.len(), 2 + 200 * 3 + 2);
    for number in 0..200 {
        let of: Vec<&String> =
            events.iter().filter(|e| e.split(' ').nth(1) == Some(&format!("x{number}"))).collect();
        let exit = format!("exit x{number} {}", number % 200);
        let (added, started) = (format!("exec-added x{number}"), format!("exec-started x{number}"));
        assert_eq!(of, [&added, &started, &exit]);
    }
}

/// A signal that comes as soon as start has answered, or before.
#[test]
fn of_kills() {
    let Some(containerd) = Containerd::new("of_kills") else { return };
    storm(40, |number| {
        let id = format!("a{number}");
        let task = containerd.bundle(&id, &["sleep", "1000"]).create();
        let early = number % 2 == 0;
        let other = Task { shim: task.shim.again(), ..task.clone() };
        let started = later({
            let task = task.clone();
            move || task.start()
        });
        if early {
            other.kill(libc::SIGKILL).expect("kill");
            let _ = started.get();
        } else {
            started.get().expect("start");
            other.kill(libc::SIGKILL).expect("kill");
        }
        assert_eq!(task.wait().expect("wait"), 137);
        task.delete().expect("delete");
        end(&containerd, &task);
        deleted(&containerd, &id);
        let events = containerd.events.of(&id);
        let all = ["create", "start", "exit 137", "delete"];
        let never_started = ["create", "exit 137", "delete"];
        assert!(events == all || (early && events == never_started), "{events:?}");
    });
    assert_eq!(containerd.left(), [""; 0]);
}

/// An init that ends while its execs are being started.
#[test]
fn of_execs_at_the_end() {
    let Some(containerd) = Containerd::new("of_execs_at_the_end") else { return };
    for round in 0..10 {
        let id = format!("a{round}");
        let task = Arc::new(containerd.bundle(&id, &["sleep", "1000"]).run());
        let execs: Vec<_> = (0..AT_A_TIME)
            .map(|number| {
                let task = Arc::clone(&task);
                later(move || {
                    let exec = task.exec(&format!("x{number}"), &["sleep", "1000"], &Io::default());
                    exec.and_then(|exec| exec.start()).is_ok()
                })
            })
            .collect();
        task.kill(libc::SIGKILL).expect("kill");
        assert_eq!(task.wait().expect("wait"), 137);
        let started = execs.into_iter().map(|exec| exec.get()).filter(|started| *started).count();
        task.delete().expect("delete");
        deleted(&containerd, &id);
        let events = containerd.events.of(&id);
        let count = |kind: &str| events.iter().filter(|event| event.starts_with(kind)).count();
        assert_eq!((count("exec-started"), count("exit x")), (started, started), "{events:?}");
        assert_eq!(events[events.len() - 2..], ["exit 137", "delete"], "{events:?}");
        task.shim.end();
    }
    assert_eq!(containerd.left(), [""; 0]);
}
