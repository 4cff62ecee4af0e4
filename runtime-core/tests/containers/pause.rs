//! pause and resume, and what else can be done with a paused container.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use hoist::{Container, ErrorKind, ExecOptions, Signal, Status, Stdio};
use serde_json::json;

use crate::case;
use crate::common::{Case, assert_refused, end, wait_for_exit};

/// The file of the container's cgroup in the hierarchy that has it.
fn file(case: &Case, name: &str) -> Option<PathBuf> {
    case.cgroups().into_iter().map(|directory| directory.join(name)).find(|path| path.exists())
}

fn status(container: &Container) -> Status {
    container.state().unwrap().status
}

/// A container that counts without end; the count.
fn counting(case: &mut Case) -> (Container, impl Fn() -> u64 + use<>) {
    case.script("i=0; while :; do i=$((i+1)); echo $i > /tmp/next; mv /tmp/next /tmp/count; done");
    let container = start(case);
    let path = case.rootfs().join("tmp/count");
    let count = move || fs::read_to_string(&path).map_or(0, |text| text.trim().parse().unwrap());
    (container, count)
}

fn start(case: &Case) -> Container {
    let options = hoist::CreateOptions::new().stdio(Stdio::null());
    case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap()
}

/// Resumes a container in any case.
struct Resumed<'a>(&'a Container);

impl Drop for Resumed<'_> {
    fn drop(&mut self) {
        let _ = self.0.resume();
    }
}

fn until(what: &str, check: impl Fn() -> bool) {
    let deadline = std::time::Instant::now() + crate::common::PATIENCE;
    while !check() {
        assert!(std::time::Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn it_stands_still_and_goes_on() {
    let mut case = case!();
    let (container, count) = counting(&mut case);
    until("it counts", || count() > 0);
    let error = container.resume().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert!(error.to_string().contains("container not paused"), "{error}");

    container.pause().unwrap();
    assert_eq!(status(&container), Status::Paused);
    assert_ne!(container.state().unwrap().pid, 0);
    let before = count();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(count(), before);
    let error = container.pause().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    assert!(error.to_string().contains("container not running"), "{error}");
    let error = case.runtime.container(&case.id).unwrap().delete().unwrap_err();
    assert!(error.to_string().contains("that is not stopped: paused"), "{error}");
    assert_refused(container.start(), ErrorKind::WrongState, "in the paused state");

    // Whoever resumes it.
    case.runtime.container(&case.id).unwrap().resume().unwrap();
    assert_eq!(status(&container), Status::Running);
    until("it counts on", || count() > before);
    end(container);
    case.assert_nothing_left();
}

#[test]
fn one_that_forks_all_the_time() {
    let mut case = case!();
    case.script("while :; do /bin/true & /bin/true & /bin/true; done");
    let container = start(&case);
    for _ in 0..20 {
        container.pause().unwrap();
        assert_eq!(status(&container), Status::Paused);
        let before = container.processes().unwrap();
        std::thread::sleep(Duration::from_millis(5));
        assert_eq!(container.processes().unwrap(), before);
        container.resume().unwrap();
        assert_eq!(status(&container), Status::Running);
    }
    end(container);
}

#[test]
fn signals_wait_but_for_the_last_one() {
    let mut case = case!();
    let container = case.running();
    // Its trap is set before it waits for a child: until then TERM would be lost on a PID 1.
    until("it waits", || container.processes().unwrap().len() == 2);
    container.pause().unwrap();
    container.kill(Signal::TERM).unwrap();
    std::thread::sleep(Duration::from_millis(50));
    assert_eq!(status(&container), Status::Paused);
    container.resume().unwrap();
    wait_for_exit(container.pidfd().unwrap());
    // Its trap was run.
    assert_eq!(container.wait().unwrap().code(), Some(0));
    assert_refused(container.pause(), ErrorKind::WrongState, "container not running");
    assert_refused(container.resume(), ErrorKind::WrongState, "container not paused");
    container.delete().unwrap();

    for shared in [false, true] {
        if shared {
            case.without_namespace("pid");
        }
        let container = case.running();
        container.pause().unwrap();
        container.kill(Signal::KILL).unwrap();
        wait_for_exit(container.pidfd().unwrap());
        assert_eq!(container.wait().unwrap().signal(), Some(9));
        assert_eq!(status(&container), Status::Stopped);
        container.delete().unwrap();
        case.assert_nothing_left();
    }
}

#[test]
fn it_is_deleted_by_force() {
    let mut case = case!();
    let container = case.running();
    container.pause().unwrap();
    container.delete_force().unwrap();
    case.assert_nothing_left();
}

#[test]
fn a_created_one() {
    let mut case = case!();
    case.script("exec sleep 1000");
    let container = case.create();
    container.pause().unwrap();
    assert_eq!(status(&container), Status::Paused);
    // It would wait for a process that stands still.
    assert_refused(container.start(), ErrorKind::WrongState, "in the paused state");
    container.resume().unwrap();
    assert_eq!(status(&container), Status::Created);
    container.start().unwrap();
    end(container);
}

#[test]
fn exec_refuses_or_waits() {
    let mut case = case!();
    let container = case.running();
    let mut process = container.spec().unwrap().process().clone().unwrap();
    process.set_args(Some(vec!["/bin/true".to_owned()]));
    container.pause().unwrap();
    let refused = container.exec(&process, ExecOptions::new());
    let words = "cannot exec in a paused container (use --ignore-paused to override)";
    assert_refused(refused, ErrorKind::WrongState, words);

    let before = container.processes().unwrap().len();
    let (send, receive) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            send.send(rustix::thread::gettid()).unwrap();
            let options = ExecOptions::new().ignore_paused(true).stdio(Stdio::null());
            container.exec(&process, options).unwrap().wait().unwrap()
        });
        let thread = receive.recv().unwrap().as_raw_nonzero();
        // A failure here must not leave the other thread waiting.
        let _resumed = Resumed(&container);
        // What is in the cgroup now, be it the process or what attaches itself for it, waits
        // there. The caller's thread doesn't: it sleeps and can be interrupted, so it is neither
        // stuck in vfork(2) nor frozen.
        until("one more is in the cgroup", || container.processes().unwrap().len() > before);
        until("the caller sleeps", || {
            let stat = fs::read_to_string(format!("/proc/self/task/{thread}/stat")).unwrap();
            stat.rsplit_once(") ").unwrap().1.starts_with('S')
        });
        assert!(!waiting.is_finished());
        assert_eq!(status(&container), Status::Paused);
        container.resume().unwrap();
        assert_eq!(waiting.join().unwrap().code(), Some(0));
    });
    end(container);
}

/// Docker and the kubelet freeze cgroups themselves, in whatever hierarchy.
#[test]
fn paused_by_somebody_else() {
    let mut case = case!();
    let container = case.running();
    let freezers = [("freezer.state", "FROZEN"), ("cgroup.freeze", "1")];
    let freezers = freezers.map(|(name, value)| (file(&case, name), value));
    let mut seen = 0;
    for (path, value) in &freezers {
        let Some(path) = path else { continue };
        seen += 1;
        fs::write(path, value).unwrap();
        until("it is frozen", || status(&container) == Status::Paused);
        assert_refused(container.pause(), ErrorKind::WrongState, "container not running");
        container.resume().unwrap();
        assert_eq!(status(&container), Status::Running);
    }
    assert_ne!(seen, 0);
    // In all of them, and killed.
    for (path, value) in &freezers {
        if let Some(path) = path {
            fs::write(path, value).unwrap();
        }
    }
    until("it is frozen", || status(&container) == Status::Paused);
    container.kill(Signal::KILL).unwrap();
    wait_for_exit(container.pidfd().unwrap());
    container.delete().unwrap();
    case.assert_nothing_left();
}

#[test]
fn a_frozen_parent() {
    let mut case = case!();
    let parent = format!("/{}", case.id);
    case.linux()["cgroupsPath"] = json!(format!("{parent}/below"));
    let container = case.running();
    for (name, freeze, thaw) in [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")]
    {
        // `Case` knows the parent as its cgroup.
        let Some(path) = file(&case, name) else { continue };
        fs::write(&path, freeze).unwrap();
        until("it is frozen", || status(&container) == Status::Paused);
        let above = "a cgroup above the container's own is frozen";
        assert_refused(container.resume(), ErrorKind::WrongState, above);
        // It can be asked to stay so.
        container.pause().unwrap();
        assert_refused(container.pause(), ErrorKind::WrongState, "container not running");
        fs::write(&path, thaw).unwrap();
        // At once, unless v1's freezer has to hand the processes over to cgroup2's.
        until("it stays frozen", || status(&container) == Status::Paused);
        container.resume().unwrap();
        assert_eq!(status(&container), Status::Running);
    }
    end(container);
}

/// Cgroups that the container makes below its own stand still with it, and stay as it wants them.
#[test]
fn nested_cgroups() {
    let mut case = case!();
    case.script("sleep 1000 & sleep 1000 & wait");
    let container = start(&case);
    until("its children run", || container.processes().unwrap().len() == 3);
    let processes = container.processes().unwrap();
    for (name, freeze, thaw) in [("freezer.state", "FROZEN", "THAWED"), ("cgroup.freeze", "1", "0")]
    {
        let Some(path) = file(&case, name) else { continue };
        let nested = path.with_file_name("nested");
        fs::create_dir(&nested).unwrap();
        fs::write(nested.join("cgroup.procs"), processes.last().unwrap().to_string()).unwrap();
        container.pause().unwrap();
        // Not always at once: see `await_frozen` in cgroup/freezer.rs.
        until("all of it is frozen", || status(&container) == Status::Paused);
        container.resume().unwrap();
        assert_eq!(status(&container), Status::Running);
        // The container's own affair.
        fs::write(nested.join(name), freeze).unwrap();
        container.pause().unwrap();
        container.resume().unwrap();
        assert_eq!(status(&container), Status::Running);
        let own = fs::read_to_string(nested.join(name)).unwrap();
        assert_ne!(own.trim_end(), thaw);
    }
    // What v1's freezer holds below dies all the same.
    container.delete_force().unwrap();
    case.assert_nothing_left();
}
