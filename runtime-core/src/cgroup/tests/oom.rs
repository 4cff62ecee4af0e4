//! The OOM killer's work: counted, and noticed as it happens.

use serde_json::json;

use super::hybrid::host;
use super::*;
use crate::cgroup::oom::{Change, Memory, OomWatch};

/// tail(1) keeps a line, however long it is, in memory. The shell lives on.
const HOG: &str = "head -c 64000000 /dev/zero | tail -n 1 >/dev/null;";
/// A shell that takes memory by writing to it. Where the kernel writes to what a system call was
/// given, memory that runs out is an error (EFAULT), and nobody waits.
const WRITER: &str = "x=x; while :; do x=$x$x; done";
const LIMITS: &str = r#"{"memory": {"limit": 8388608, "swap": 8388608}}"#;

fn limited(host: &Host, cleanup: &Cleanup<'_>) -> Cgroup {
    let resources = resources(serde_json::from_str(LIMITS).unwrap());
    let request = Request { resources: Some(&resources), ..Request::default() };
    Cgroup::create(host, &cleanup.paths("c"), &request).unwrap()
}

fn pidfd(child: &Waiting) -> OwnedFd {
    rustix::process::pidfd_open(child.pid(), rustix::process::PidfdFlags::empty()).unwrap()
}

/// The next change, which has to come.
fn next(watch: &mut OomWatch) -> Change {
    let deadline = Instant::now() + Duration::from_secs(30);
    loop {
        if let Some(change) = watch.look().unwrap() {
            return change;
        }
        assert!(Instant::now() < deadline, "no change");
        let mut fds = [rustix::event::PollFd::new(&*watch, rustix::event::PollFlags::IN)];
        let second = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
        rustix::event::poll(&mut fds, Some(&second)).unwrap();
    }
}

/// Kills are added up until the end.
fn kills_until_the_end(watch: &mut OomWatch) -> u64 {
    let mut kills = 0;
    while let Change::Oom(new) = next(watch) {
        assert_ne!(new, 0);
        kills += new;
    }
    assert_eq!(watch.look().unwrap(), Some(Change::Ended), "the end is the end");
    kills
}

#[test]
fn each_watcher_sees_each_kill() {
    let Some(host) = host("oom::each_watcher_sees_each_kill") else { return };
    let cleanup = Cleanup::new(&host, "watchers");
    for with_unified in [true, false] {
        let mut cgroup = limited(&host, &cleanup);
        if !with_unified {
            cgroup.paths.unified = None;
            cgroup.unified.take().unwrap().remove_self().unwrap();
        }
        let child = Waiting::new(&format!("{HOG} {HOG} {HOG} :")).enter(&cgroup);
        let mut prompt = OomWatch::new(&cgroup, Some(pidfd(&child))).unwrap();
        let mut slow = OomWatch::new(&cgroup, Some(pidfd(&child))).unwrap();
        assert_eq!(prompt.look().unwrap(), None);
        let child = child.go();
        let seen = kills_until_the_end(&mut prompt);
        child.output();
        assert_eq!(cgroup.oom_kills().unwrap(), Some(seen));
        assert!(seen >= 1, "{seen}");
        // Whoever comes late gets them all at once.
        assert_eq!(slow.look().unwrap(), Some(Change::Oom(seen)));
        assert_eq!(slow.look().unwrap(), Some(Change::Ended));
        // What has happened is not reported.
        let mut late = OomWatch::new(&cgroup, None).unwrap();
        assert_eq!(late.look().unwrap(), Some(Change::Ended));
        cgroup.remove().unwrap();
        assert_eq!(slow.look().unwrap(), Some(Change::Ended), "also when the cgroup is gone");
    }
}

#[test]
fn v1_counts_what_is_below() {
    let Some(host) = host("oom::v1_counts_what_is_below") else { return };
    let cleanup = Cleanup::new(&host, "below");
    let cgroup = limited(&host, &cleanup);
    let inner = cgroup.legacy_dir("memory").unwrap().make("foo").unwrap().0;
    let inner = inner.make("bar").unwrap().0;
    let child = Waiting::new(HOG).enter(&cgroup);
    inner.write("tasks", &child.0.id().to_string()).unwrap();
    let mut watch = OomWatch::new(&cgroup, Some(pidfd(&child))).unwrap();
    let child = child.go();
    let seen = kills_until_the_end(&mut watch);
    child.output();
    assert!(seen > 0);
    assert_eq!(cgroup.oom_kills().unwrap(), Some(seen));
    let own = cgroup.legacy_dir("memory").unwrap().read_key("memory.oom_control", "oom_kill");
    assert_eq!(own, Ok(Some(0)), "v1 counts it where the victim was");
    cgroup.remove().unwrap();
}

#[test]
fn v1_may_be_told_not_to_kill() {
    let Some(host) = host("oom::v1_may_be_told_not_to_kill") else { return };
    let cleanup = Cleanup::new(&host, "stuck");
    let resources = resources(json!({
        "memory": {"limit": 8_388_608, "swap": 8_388_608, "disableOOMKiller": true}
    }));
    let request = Request { resources: Some(&resources), ..Request::default() };
    let cgroup = Cgroup::create(&host, &cleanup.paths("c"), &request).unwrap();
    let child = Waiting::new(WRITER).enter(&cgroup);
    let mut watch = OomWatch::new(&cgroup, Some(pidfd(&child))).unwrap();
    let child = child.go();
    assert_eq!(next(&mut watch), Change::Oom(0));
    assert_eq!(cgroup.oom_kills().unwrap(), Some(0));
    cgroup.kill_all(crate::signal::Signal::KILL).unwrap();
    child.output();
    cgroup.remove().unwrap();
}

/// The file that is gone is that of another cgroup here, for this host's memory controller is v1's.
#[test]
fn events_that_are_gone_wake_nobody() {
    use rustix::event::epoll::{EventData, EventFlags, add};
    let test = "oom::events_that_are_gone_wake_nobody";
    let Some(host) = host(test) else { return };
    let cleanup = Cleanup::new(&host, "gone");
    let create = |name| Cgroup::create(&host, &cleanup.paths(name), &Request::default()).unwrap();
    let (cgroup, other) = (create("c"), create("other"));
    let Some(dir) = &other.unified else {
        println!("SKIP {test}: this host has no cgroup2");
        return;
    };
    let child = Waiting::new(":").enter(&cgroup);
    let mut watch = OomWatch::new(&cgroup, Some(pidfd(&child))).unwrap();
    let file = dir.open("cgroup.events", rustix::fs::OFlags::RDONLY).unwrap();
    add(&watch, &file, EventData::new_u64(0), EventFlags::PRI).unwrap();
    watch.memory = Memory::Unified(file);
    other.remove().unwrap();
    assert!(is_ready(&watch));
    assert_eq!(watch.look().unwrap(), None);
    assert!(!is_ready(&watch));
    child.go().output();
    assert_eq!(next(&mut watch), Change::Ended);
}

fn is_ready(watch: &OomWatch) -> bool {
    let mut fds = [rustix::event::PollFd::new(watch, rustix::event::PollFlags::IN)];
    let now = rustix::event::Timespec::default();
    rustix::event::poll(&mut fds, Some(&now)).unwrap() > 0
}
