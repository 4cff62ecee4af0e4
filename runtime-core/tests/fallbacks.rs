//! Kernels that forbid or lack something: a container runs all the same, or there is one clear
//! error that names what is missing, and nothing is left behind.

#![cfg(test)]

mod harness;

use std::path::{Path, PathBuf};
use std::time::Duration;

use harness::deny::{self, CALLS, Call};
use harness::{Finished, Lab, again, finish, skip};
use hoist::{Bundle, CreateOptions, ExecOptions, Result, Runtime, Signal, Stdio};
use serde_json::json;

const LIMIT: Duration = Duration::from_secs(60);

/// The container's program.
const SCRIPT: &[&str] = &["sh", "-c", "read line; exit 5"];

/// Runs one of the ignored tests below in a program that `through` prepares and that lacks the system
/// calls `denied`.
fn run(lab: &Lab, test: &str, through: &str, denied: &str, errno: i32) -> Finished {
    let mut command = again(test, through);
    command.env("HOIST_LAB", lab.dir()).env("HOIST_DENIED", denied);
    command.env("HOIST_ERRNO", errno.to_string());
    finish(command, LIMIT)
}

/// What the program said that [`run`] has run: each line is an operation's outcome.
fn results(finished: &Finished) -> Vec<&str> {
    let lines = finished.text.lines();
    lines.filter_map(|line| line.split_once("RESULT ").map(|(_, result)| result)).collect()
}

#[test]
fn executable_memfds_are_forbidden() {
    let name = "executable_memfds_are_forbidden";
    let Some(lab) = Lab::new(name) else { return };
    if !Path::new("/proc/sys/vm/memfd_noexec").exists() {
        skip(name, "needs the sysctl vm.memfd_noexec (Linux 6.3)");
        return;
    }
    // The sysctl is the pid namespace's own.
    let through = r#"exec unshare --pid --fork --mount-proc sh -c '
        echo 2 > /proc/sys/vm/memfd_noexec && exec "$@"' sh "$@""#;
    lab.write_config(&lab.config(SCRIPT));
    let finished = run(&lab, "a_container", through, "", 0);
    finished.passed();
    assert_eq!(results(&finished), ["ok"]);
    assert_eq!(lab.left(), Vec::<String>::new());
}

/// That an error says which calls this kernel lacks.
fn is_clear(result: &str, missing: &[Call], errno: &str) -> bool {
    result.contains("this host lacks ")
        && result.contains(errno)
        && missing.iter().all(|call| result.contains(&call.text()))
}

/// Makes a container without each of the calls, and without several. Nothing may be touched where the
/// error can be known before: not even the directory for the state of containers is made.
fn containers_without(name: &str, errno: i32, text: &str) {
    let mut wrong = Vec::new();
    let sets = CALLS.iter().map(|call| call.name).chain(["mount-api", "all"]);
    for denied in sets {
        let Some(lab) = Lab::new(name) else { return };
        lab.write_config(&lab.config(SCRIPT));
        let finished = run(&lab, "a_container", r#"exec "$@""#, denied, errno);
        let results = results(&finished);
        println!("without {denied}: {results:?}");
        let mut missing = deny::named(denied).expect("calls");
        missing.retain(|call| call.required);
        // The kernel's own answer to those who may not mount, so it is known only when it comes.
        let late = |call: &Call| ["fsopen", "fsmount", "move_mount"].contains(&call.name);
        let good = match (missing.as_slice(), results.as_slice()) {
            ([], ["ok"]) => true,
            ([call], [result]) if errno == libc::EPERM && late(call) => {
                result.contains(&format!("{}: operation not permitted (EPERM)", call.name))
            }
            ([_, ..], [result]) => {
                missing.retain(|call| errno == libc::ENOSYS || !late(call));
                is_clear(result, &missing, text) && !lab.state_root().exists()
            }
            _ => false,
        };
        if !good || !finished.status.success() {
            wrong.push(format!("without {denied}: {}", finished.text));
        }
        for left in lab.left() {
            wrong.push(format!("without {denied}: {left} is left"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_system_call_is_missing() {
    containers_without("a_system_call_is_missing", libc::ENOSYS, "(ENOSYS)");
}

/// Profiles of Docker from before 2021 answer so to every call that they don't know.
#[test]
fn a_system_call_is_forbidden() {
    containers_without("a_system_call_is_forbidden", libc::EPERM, "(EPERM)");
}

/// A container that runs already: each command either works, or says what is missing and leaves the
/// container as it was.
#[test]
fn commands_without_a_system_call() {
    let name = "commands_without_a_system_call";
    let mut wrong = Vec::new();
    for denied in CALLS.iter().map(|call| call.name).chain(["mount-api", "all"]) {
        let Some(lab) = Lab::new(name) else { return };
        lab.write_config(&lab.config(&["sleep", "1000"]));
        let options = CreateOptions::new().stdio(Stdio::null());
        let bundle = Bundle::load(lab.bundle()).expect("a bundle");
        let runtime = lab.runtime();
        let container = runtime.run_with("one", bundle, options).expect("a container");
        let mut config = lab.config(&["sleep", "1000"]);
        let path = format!("{}-two", config["linux"]["cgroupsPath"].as_str().expect("a path"));
        config["linux"]["cgroupsPath"] = json!(path);
        lab.write_config(&config);
        let bundle = Bundle::load(lab.bundle()).expect("a bundle");
        let options = CreateOptions::new().stdio(Stdio::null());
        let created = runtime.create_with("two", bundle, options).expect("a container");
        let finished = run(&lab, "commands", r#"exec "$@""#, denied, libc::ENOSYS);
        let results = results(&finished);
        println!("without {denied}: {results:?}");
        let missing = deny::named(denied).expect("calls");
        let clear = |result: &&&str| {
            result.ends_with(": ok")
                || missing.iter().any(|call| is_clear(result, &[*call], "(ENOSYS)"))
        };
        if results.len() != 6 || !results.iter().all(|result| clear(&result)) {
            wrong.push(format!("without {denied}: {}", finished.text));
        }
        let status = if results.contains(&"start: ok") { "running" } else { "created" };
        assert_eq!(created.state().expect("a state").status.to_string(), status);
        created.delete_force().expect("delete");
        if results.contains(&"delete: ok") {
            wrong.extend(lab.left().into_iter().map(|left| format!("without {denied}: {left}")));
        } else {
            assert_eq!(container.state().expect("a state").status.to_string(), "running");
            container.delete_force().expect("delete");
        }
        assert_eq!(lab.left(), Vec::<String>::new());
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// The one thing of a bundle that takes pidfd_getfd(2).
#[test]
fn notifications_without_pidfd_getfd() {
    let Some(lab) = Lab::new("notifications_without_pidfd_getfd") else { return };
    let mut config = lab.config(SCRIPT);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": lab.dir().join("listener"),
        "syscalls": [{"names": ["chmod"], "action": "SCMP_ACT_NOTIFY"}],
    });
    lab.write_config(&config);
    let finished = run(&lab, "a_container", r#"exec "$@""#, "pidfd_getfd", libc::ENOSYS);
    let results = results(&finished);
    let call = deny::named("pidfd_getfd").expect("a call");
    assert!(is_clear(results[0], &call, "(ENOSYS)"), "{}", finished.text);
    assert!(results[0].contains("/linux/seccomp/listenerPath"), "{}", finished.text);
    assert!(!lab.state_root().exists());
}

/// Has the calls fail from here on that the test has asked for; returns its directory.
fn prepare() -> PathBuf {
    let variable = |name| std::env::var(name).expect(name);
    let denied = variable("HOIST_DENIED");
    let errno = variable("HOIST_ERRNO").parse().expect("a number");
    if !denied.is_empty() {
        deny::deny(&deny::named(&denied).expect("calls"), errno).expect("load the filter");
    }
    variable("HOIST_LAB").into()
}

#[test]
#[ignore = "run by the others"]
fn a_container() {
    let dir = prepare();
    let bundle = Bundle::load(dir.join("bundle")).expect("a bundle");
    match live(&dir, bundle) {
        Ok(()) => println!("RESULT ok"),
        Err(error) => println!("RESULT {error}"),
    }
    // Nothing of it is left in this program either.
    let children = std::fs::read_dir("/proc/self/task").expect("threads").flatten();
    let children: String = children
        .map(|task| std::fs::read_to_string(task.path().join("children")).unwrap_or_default())
        .collect();
    assert_eq!(children, "");
}

#[test]
#[ignore = "run by another"]
fn commands() {
    fn tell<T>(name: &str, result: Result<T>) {
        match result {
            Ok(_) => println!("RESULT {name}: ok"),
            Err(error) => println!("RESULT {name}: {error}"),
        }
    }
    let runtime = Runtime::builder().root(prepare().join("state")).build().expect("a runtime");
    let one = || runtime.container("one");
    tell("start", runtime.container("two").and_then(|two| two.start()));
    tell("state", one().and_then(|one| one.state().map(drop)));
    let exec = |container: hoist::Container| {
        let process = container.spec()?.process().clone().expect("a process");
        let process = container.exec(&process, ExecOptions::new().stdio(Stdio::null()))?;
        process.kill(Signal::KILL)?;
        process.wait()
    };
    tell("exec", one().and_then(exec));
    tell("stats", one().and_then(|one| one.stats()));
    tell("kill", one().and_then(|one| one.kill(Signal::TERM)));
    tell("delete", one().and_then(hoist::Container::delete_force));
}

/// A container's whole life.
fn live(dir: &Path, bundle: Bundle) -> Result<()> {
    let runtime = Runtime::builder().root(dir.join("state")).build()?;
    let mut container =
        runtime.create_with("one", bundle, CreateOptions::new().stdio(Stdio::piped()))?;
    let mut rest = || {
        container.start()?;
        let process = container.spec()?.process().clone().expect("a process");
        let exec = container.exec(&process, ExecOptions::new().stdio(Stdio::null()))?;
        assert_eq!(exec.wait()?.code(), Some(5));
        drop(container.pipes().stdin.take());
        assert_eq!(container.wait()?.code(), Some(5));
        Ok(())
    };
    let outcome = rest();
    container.delete_force()?;
    outcome
}
