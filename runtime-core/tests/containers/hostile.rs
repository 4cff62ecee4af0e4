//! Containers that want it all, and very many of them: the host is not affected, and nothing is
//! left.

use std::fs;

use hoist::{Bundle, CreateOptions, Stdio};
use serde_json::json;

use crate::case;
use crate::cgroups::{cgroup2, eventually, hierarchy, read};
use crate::common::{mounts_below, wait_for_exit};
use crate::skip;

/// It forks until it can't, with the limit reached, and is gone at once.
#[test]
fn a_fork_bomb() {
    let mut case = case!();
    let Some(pids) = hierarchy("pids") else { skip!("controller pids isn't here") };
    case.linux()["resources"] = json!({"pids": {"limit": 64}});
    case.script("bomb() { bomb | bomb & }; while :; do bomb; done");
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let dir = pids.join(&case.id);
    // Forks that the limit has refused.
    eventually("the limit is reached", || {
        let events = read(&dir.join("pids.events"));
        events.lines().any(|line| line.strip_prefix("max ").is_some_and(|count| count != "0"))
    });
    let inside: u32 = read(&dir.join("pids.current")).parse().unwrap();
    assert!(inside <= 64, "{inside}");
    container.delete_force().unwrap();
    case.assert_nothing_left();
    // The same without a pid namespace, whose end would kill everybody.
    case.without_namespace("pid");
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    eventually("the limit is reached", || !read(&dir.join("pids.events")).ends_with(" 0"));
    container.delete_force().unwrap();
    case.assert_nothing_left();
}

#[test]
fn a_memory_hog() {
    let mut case = case!();
    let Some(memory) = hierarchy("memory") else { skip!("controller memory isn't here") };
    let limit = 16_777_216;
    case.linux()["resources"] = json!({"memory": {"limit": limit, "swap": limit}});
    // A buffer of 64 MB.
    case.process()["args"] =
        json!(["dd", "if=/dev/zero", "of=/dev/null", "bs=67108864", "count=9"]);
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    wait_for_exit(container.pidfd().unwrap());
    let exit = container.wait().unwrap();
    assert_eq!(
        (exit.signal(), exit.exit_code(), exit.oom_killed()),
        (Some(9), 137, true),
        "{exit:?}"
    );
    let dir = memory.join(&case.id);
    let events = ["memory.events", "memory.oom_control"].map(|file| dir.join(file));
    let events = events.iter().find(|file| file.exists()).unwrap();
    assert!(read(events).lines().any(|line| line == "oom_kill 1"), "{}", read(events));
    container.delete().unwrap();
    case.assert_nothing_left();
    // Killed by something else isn't killed by the OOM killer.
    case.script("kill -KILL $$; sleep 1000");
    case.without_namespace("pid");
    let exit = case.run().unwrap().exit;
    assert_eq!((exit.signal(), exit.oom_killed()), (Some(9), false), "{exit:?}");
}

/// A child that the OOM killer takes isn't the container's end, and the container isn't said to
/// have been killed by it.
#[test]
fn a_child_that_is_a_hog() {
    let mut case = case!();
    if hierarchy("memory").is_none() {
        skip!("controller memory isn't here");
    }
    let limit = 16_777_216;
    case.linux()["resources"] = json!({"memory": {"limit": limit, "swap": limit}});
    case.script("dd if=/dev/zero of=/dev/null bs=67108864 count=9; echo $?");
    let output = case.run().unwrap();
    assert_eq!((output.exit.code(), output.stdout.as_str()), (Some(0), "137\n"), "{output:?}");
}

/// Two hundred, eight at a time.
#[test]
fn two_hundred_at_once() {
    const THREADS: usize = 8;
    let mut case = case!();
    case.script("true");
    let before = children();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let case = &case;
            scope.spawn(move || {
                for round in 0..200 / THREADS {
                    let id = format!("{}-{thread}-{round}", case.id);
                    let mut config = case.config.clone();
                    config["linux"]["cgroupsPath"] = json!(format!("/{id}"));
                    let bundle = Bundle::from_json(&case.dir, config.to_string()).unwrap();
                    let container = case.runtime.create(&id, bundle, Stdio::null()).unwrap();
                    // Some are never started, some are deleted while they run.
                    if round % 3 > 0 {
                        container.start().unwrap();
                    }
                    if round % 3 > 1 {
                        assert!(container.wait().unwrap().success());
                        container.delete().unwrap();
                    } else {
                        container.delete_force().unwrap();
                    }
                }
            });
        }
    });
    case.assert_nothing_left();
    let named: Vec<_> = cgroup2()
        .into_iter()
        .chain(hierarchy("devices"))
        .flat_map(|top| fs::read_dir(top).unwrap())
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(&case.id))
        .collect();
    assert!(named.is_empty(), "{named:?}");
    assert!(mounts_below(&case.dir).is_empty());
    // Of the processes that these containers were, none is left, not even as a zombie.
    let left: Vec<_> = children().into_iter().filter(|pid| !before.contains(pid)).collect();
    let mine = |pid: &&u32| {
        fs::read_link(format!("/proc/{pid}/root")).is_ok_and(|root| root.starts_with(&case.dir))
    };
    assert!(left.iter().filter(mine).count() == 0, "{left:?}");
}

/// The processes of the host.
fn children() -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
}
