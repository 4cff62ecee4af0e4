//! create, start, state, kill, delete; what is left of it; foreign sections and annotations.

use std::fs;
use std::time::Duration;

use hoist::{Bundle, Container, CreateOptions, ErrorKind, Runtime, Signal, Status, Stdio};
use serde_json::{Value, json};

use crate::case;
use crate::common::{assert_error, end, ends_within, pointer_of};

#[test]
fn a_life() {
    let mut case = case!();
    case.config["annotations"] = json!({"a": "b", "org.example.empty": ""});
    case.script("echo started > /tmp/f; sleep 1000");
    let container = case.create();
    let state = container.state().unwrap();
    assert_eq!(state.status, Status::Created);
    assert_eq!(state.id, case.id);
    assert_eq!(state.bundle, case.dir);
    assert_eq!(state.rootfs, case.rootfs());
    assert_eq!(state.annotations["a"], "b");
    assert_eq!(state.annotations["org.example.empty"], "");
    assert_eq!(Some(state.pid), container.pid().unwrap());
    assert_eq!(state.owner, "root");
    // The user's program has not run: what waits is init.
    assert!(!case.rootfs().join("tmp/f").exists());
    let error = case.runtime.create(&case.id, case.bundle().unwrap(), Stdio::null()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::AlreadyExists, "{error}");

    container.start().unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
    let error = container.start().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState, "{error}");
    let again = case.runtime.container(&case.id).unwrap();
    let error = again.delete().unwrap_err();
    assert!(error.to_string().contains("that is not stopped: running"), "{error}");
    assert_eq!(case.runtime.list().unwrap(), [case.id.clone()]);

    container.kill(Signal::KILL).unwrap();
    assert_eq!(container.wait().unwrap().signal(), Some(9));
    let state = container.state().unwrap();
    assert_eq!((state.status, state.pid), (Status::Stopped, 0));
    let error = container.kill(Signal::TERM).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState, "{error}");
    let error = container.start().unwrap_err();
    assert!(error.to_string().contains("cannot start a container that has stopped"), "{error}");
    container.delete().unwrap();
    case.assert_nothing_left();
    let error = case.runtime.container(&case.id).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn a_created_container_is_deleted() {
    let mut case = case!();
    case.script("true");
    let container = case.create();
    let pid = container.pid().unwrap().unwrap();
    container.delete().unwrap();
    case.assert_nothing_left();
    assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
}

#[test]
fn a_running_container_is_deleted_by_force() {
    let mut case = case!();
    let container = case.running();
    container.delete_force().unwrap();
    case.assert_nothing_left();
    // And the same id is free.
    end(case.running());
}

/// Without a pid namespace of its own all of its processes go.
#[test]
fn without_a_pid_namespace() {
    let mut case = case!();
    case.without_namespace("pid");
    case.script("sleep 1000 & sleep 1000 & wait");
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let begin = std::time::Instant::now();
    while container.processes().unwrap().len() < 3 {
        assert!(begin.elapsed() < crate::common::PATIENCE);
        std::thread::yield_now();
    }
    container.kill(Signal::KILL).unwrap();
    container.wait().unwrap();
    let begin = std::time::Instant::now();
    while !container.processes().unwrap().is_empty() {
        assert!(begin.elapsed() < crate::common::PATIENCE);
        std::thread::yield_now();
    }
    container.delete().unwrap();
    case.assert_nothing_left();
}

#[test]
fn signals_arrive() {
    let mut case = case!();
    case.script("trap 'exit 9' USR1; echo ready; while :; do sleep 0.02; done");
    let options = CreateOptions::new().stdio(Stdio::piped());
    let mut container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let mut ready = [0u8; 6];
    let stdout = container.pipes().stdout.as_mut().unwrap();
    std::io::Read::read_exact(stdout, &mut ready).unwrap();
    container.kill("USR1".parse().unwrap()).unwrap();
    assert_eq!(container.wait().unwrap().code(), Some(9));
    container.delete().unwrap();
}

/// Another runtime value, as another program would have it, sees the same container.
#[test]
fn another_runtime_goes_on() {
    let mut case = case!();
    case.script("exit 6");
    let container = case.create();
    let other = Runtime::builder().root(case.dir.join("state")).build().unwrap();
    let same = other.container(&case.id).unwrap();
    assert_eq!(same.state().unwrap(), container.state().unwrap());
    same.start().unwrap();
    assert_eq!(container.wait().unwrap().code(), Some(6));
    same.delete().unwrap();
    // The status is still known to who holds the pidfd.
    assert_eq!(container.wait().unwrap().code(), Some(6));
    case.assert_nothing_left();
}

/// Two may start it at once: one does.
#[test]
fn two_start_at_once() {
    let mut case = case!();
    case.script("sleep 1000");
    let container = case.create();
    let results = std::thread::scope(|scope| {
        let start = || case.runtime.container(&case.id).unwrap().start();
        let threads = [scope.spawn(start), scope.spawn(start)];
        threads.map(|thread| thread.join().unwrap())
    });
    assert_eq!(results.iter().filter(|result| result.is_ok()).count(), 1, "{results:?}");
    end(container);
}

/// So too if one of them is the value that has made it, which has a conversation of its own with init.
#[test]
fn its_creator_and_another_start_at_once() {
    let mut case = case!();
    case.script("sleep 1000");
    for _ in 0..16 {
        let container = case.create();
        let results = std::thread::scope(|scope| {
            let other = scope.spawn(|| case.runtime.container(&case.id).unwrap().start());
            [container.start(), other.join().unwrap()]
        });
        let ([Ok(()), Err(error)] | [Err(error), Ok(())]) = &results else { panic!("{results:?}") };
        assert_error(error, ErrorKind::WrongState, "", "already running");
        assert_eq!(container.state().unwrap().status, Status::Running);
        end(container);
    }
}

/// What happens to a container between its creation and its start happens to its creator's value, too.
#[test]
fn a_creators_start_comes_too_late() {
    let mut case = case!();
    case.script("sleep 1000");
    let other = || case.runtime.container(&case.id).unwrap();
    let refused = |container: &Container, words: &str| {
        assert_error(&container.start().unwrap_err(), ErrorKind::WrongState, "", words);
    };
    let container = case.create();
    other().start().unwrap();
    refused(&container, "already running");
    refused(&other(), "already running");
    end(container);

    let container = case.create();
    other().kill(Signal::KILL).unwrap();
    container.wait().unwrap();
    refused(&container, "has stopped");
    end(container);

    let container = case.create();
    other().delete_force().unwrap();
    assert_eq!(container.start().unwrap_err().kind(), ErrorKind::NotFound);
    let next = case.create();
    assert_eq!(container.start().unwrap_err().kind(), ErrorKind::NotFound);
    assert_eq!(next.state().unwrap().status, Status::Created);
    end(next);
    case.assert_nothing_left();
}

/// A creator that is gone is missed by nobody, and one that is there has one try as everybody.
#[test]
fn init_outlives_its_creators_value() {
    let mut case = case!();
    case.script("sleep 1000");
    drop(case.create());
    let other = case.runtime.container(&case.id).unwrap();
    assert_eq!(other.state().unwrap().status, Status::Created);
    other.start().unwrap();
    end(other);

    let container = case.create();
    container.pause().unwrap();
    let error = container.start().unwrap_err();
    assert_error(&error, ErrorKind::WrongState, "", "in the paused state");
    container.resume().unwrap();
    container.start().unwrap();
    assert_eq!(container.state().unwrap().status, Status::Running);
    end(container);
}

/// The init of an older hoist expects another conversation: it is left waiting, and can be deleted.
#[test]
fn an_older_hoists_container_is_not_started() {
    let mut case = case!();
    case.script("true");
    let container = case.create();
    let file = case.dir.join("state").join(&case.id).join("state.json");
    let mut record: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    record["version"] = json!(1);
    fs::write(&file, record.to_string()).unwrap();
    let error = container.start().unwrap_err();
    assert_error(&error, ErrorKind::State, "", "created by an older hoist");
    assert_eq!(container.state().unwrap().status, Status::Created);
    container.delete_force().unwrap();
    case.assert_nothing_left();
}

/// The sections of other platforms and unknown members mean nothing here (config.md,
/// "Extensibility").
#[test]
fn foreign_sections_are_ignored() {
    let mut case = case!();
    let foreign: Value = serde_json::from_str(
        r#"{"windows": {"layerFolders": ["C:\\x"], "devices": [{"id": "x", "idType": "class"}]},
            "solaris": {"milestone": "svc:/x"}, "zos": {"namespaces": []},
            "vm": {"kernel": {"path": "/vmlinuz"}}, "freebsd": {"jail": {}},
            "org.example.unknown": {"a": [1, 2]}}"#,
    )
    .unwrap();
    for (key, value) in foreign.as_object().unwrap() {
        case.config[key] = value.clone();
    }
    case.linux()["noSuchMember"] = json!(true);
    case.process()["commandLine"] = json!("ignored on Linux");
    assert_eq!(case.sh("echo fine"), "fine\n");
}

#[test]
fn ids() {
    let mut case = case!();
    case.script("true");
    for id in ["", ".", "..", "a/b", "../x", "a b", "\u{fc}", &"x".repeat(2000)] {
        let result = case.runtime.create(id, case.bundle().unwrap(), Stdio::null());
        assert_eq!(result.unwrap_err().kind(), ErrorKind::InvalidArgument, "{id:?}");
    }
    case.assert_nothing_left();
    case.id = "Az0_+-.".to_owned();
    case.run().unwrap().success();
}

#[test]
fn bundles_from_a_file() {
    let mut case = case!();
    case.script("echo loaded");
    fs::write(case.dir.join("config.json"), case.config.to_string()).unwrap();
    let bundle = Bundle::load(&case.dir).unwrap();
    let options = CreateOptions::new().stdio(Stdio::piped()).timings(true);
    let mut container = case.runtime.run_with(&case.id, bundle, options).unwrap();
    let readers = crate::common::Readers::new(container.pipes());
    let exit = container.wait().unwrap();
    assert_eq!(readers.finish(exit, Vec::new()).success(), "loaded\n");
    assert!(container.timings().iter().count() > 20);
    assert!(container.timings().total() > Duration::ZERO);
    container.delete().unwrap();
}

/// A failed creation leaves nothing, at whatever step it fails.
#[test]
fn failures_leave_nothing() {
    let mut case = case!();
    case.script("true");
    let good = case.config.clone();
    let breaking: [(&str, Value); 8] = [
        ("/root/path", json!("nowhere")),
        ("/process/cwd", json!("/bin/busybox")),
        ("/process/args/0", json!("/no/such")),
        ("/mounts/1/type", json!("no-such-fs")),
        ("/linux/namespaces/0", json!({"type": "pid", "path": "/proc/self/ns/uts"})),
        ("/linux/sysctl", json!({"net.no.such": "1"})),
        ("/linux/devices", json!([{"path": "/bin/busybox", "type": "c", "major": 1, "minor": 3}])),
        ("/hooks", json!({"createRuntime": [{"path": "/bin/false"}]})),
    ];
    for (pointer, value) in breaking {
        case.config = good.clone();
        match case.config.pointer_mut(pointer) {
            Some(place) => *place = value,
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                case.config.pointer_mut(parent).unwrap()[key] = value;
            }
        }
        let error = case.fails();
        let named = pointer_of(&error);
        assert!(named.starts_with(pointer) || pointer.starts_with(named), "{pointer}: {error}");
        assert_eq!(error.container(), Some(case.id.as_str()));
    }
    case.config = good;
    case.run().unwrap().success();
}

/// The memory of a container that waits to be started is small.
#[test]
fn a_waiting_container_is_small() {
    let mut case = case!();
    case.script("true");
    let container = case.create();
    let pid = container.pid().unwrap().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let rss = crate::common::status_field(&status, "VmRSS").trim_end_matches(" kB");
    assert!(rss.parse::<u64>().unwrap() < 300, "{rss} kB");
    container.delete().unwrap();
}

/// init alone in the created state: killing it stops the container.
#[test]
fn init_may_be_killed() {
    let mut case = case!();
    case.script("true");
    let container = case.create();
    container.kill(Signal::KILL).unwrap();
    assert!(ends_within(container.pidfd().unwrap(), Duration::from_secs(10)));
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    let error = container.start().unwrap_err();
    assert_error(&error, ErrorKind::WrongState, "", "cannot start a container that has stopped");
    container.delete().unwrap();
}
