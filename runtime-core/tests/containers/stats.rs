//! What containers use, and what the OOM killer does to them.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use hoist::{Container, CreateOptions, ErrorKind, Event, Events, Stats, Stdio};
use serde_json::json;

use crate::common::{Case, PATIENCE, end, ends_within};
use crate::{case, skip};

/// Runs the container until it has written a line.
#[track_caller]
fn run_until_ready(case: &Case) -> Container {
    let options = CreateOptions::new().stdio(Stdio::piped());
    let mut container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let mut line = String::new();
    BufReader::new(container.pipes().stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    container
}

/// Looks again and again, for what takes time.
#[track_caller]
fn until(what: &str, container: &Container, holds: impl Fn(&Stats) -> bool) -> Stats {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let stats = container.stats().unwrap();
        if holds(&stats) {
            return stats;
        }
        assert!(Instant::now() < deadline, "never: {what}: {stats:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_busy_container() {
    let mut case = case!();
    case.all_capabilities();
    let controllers = fs::read_to_string("/sys/fs/cgroup/cgroup.controllers");
    if controllers.map_or(true, |list| list.split_whitespace().any(|name| name == "cpu")) {
        case.linux()["resources"] = json!({"cpu": {"quota": 5_000, "period": 50_000}});
    }
    case.script(
        "ip link set lo up; busybox ping -c 1 -W 10 127.0.0.1 >/dev/null
        sleep 1000 & sleep 1000 & echo ready; while :; do :; done",
    );
    let container = run_until_ready(&case);
    let stats = container.stats().unwrap();
    let before = stats.cpu.expect("every kind of host counts CPU time").total;
    let after = until("CPU time grows", &container, |stats| {
        stats.cpu.as_ref().unwrap().total > before + Duration::from_millis(20)
    });
    let cpu = after.cpu.unwrap();
    assert!(cpu.user + cpu.kernel > Duration::ZERO, "{cpu:?}");
    if after.throttling.is_some() {
        until("it is throttled", &container, |stats| {
            let throttling = stats.throttling.unwrap();
            throttling.throttled_periods > 0 && throttling.throttled_time > Duration::ZERO
        });
    }
    if let Some(pids) = after.pids {
        assert_eq!((pids.current, pids.limit), (3, None));
    }
    if let Some(memory) = after.memory {
        let usage = memory.usage;
        assert!(usage.usage > 0 && usage.max_usage.is_none_or(|max| max > 0), "{usage:?}");
        assert!(memory.raw.contains_key("pgfault"), "{:?}", memory.raw);
        assert_eq!(memory.oom_kills, Some(0));
    }
    let network = after.network.expect("a network namespace of its own");
    let names: Vec<_> = network.iter().map(|interface| interface.name.as_str()).collect();
    assert!(names.contains(&"lo"), "{names:?}");
    let lo = network.iter().find(|interface| interface.name == "lo").unwrap();
    assert!(lo.rx_packets >= 2 && lo.tx_bytes >= 2 * 64, "a request and an answer: {lo:?}");
    assert_eq!(after.intel_rdt, None);
    end(container);
}

#[test]
fn the_callers_network_is_not_the_containers() {
    let mut case = case!();
    case.without_namespace("network");
    let container = case.running();
    assert_eq!(container.stats().unwrap().network, None);
    end(container);
}

#[test]
fn pressure_is_cgroup2s() {
    let mut case = case!();
    let container = case.running();
    let pressure = container.stats().unwrap().pressure;
    let there = case.cgroups().iter().any(|dir| dir.join("io.pressure").exists());
    assert_eq!(pressure.io.is_some(), there);
    assert_eq!(pressure.cpu.is_some(), there);
    end(container);
}

#[test]
fn a_stopped_container_has_figures_until_it_is_deleted() {
    let mut case = case!();
    case.script("echo ready; exit 0");
    let container = run_until_ready(&case);
    assert!(ends_within(container.pidfd().unwrap(), PATIENCE));
    container.wait().unwrap();
    let other = case.runtime.container(&case.id).unwrap();
    let stats = container.stats().unwrap();
    assert!(stats.cpu.unwrap().total > Duration::ZERO);
    assert_eq!(stats.network, None);
    assert!(stats.pids.is_none_or(|pids| pids.current == 0));
    assert_eq!(container.events().unwrap().read().unwrap(), Some(Event::Ended));
    container.delete().unwrap();
    let error = other.stats().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(error.operation(), Some("stats"));
}

/// The directory in which the kernel counts OOM kills, if it does.
fn memory_cgroup(case: &Case) -> Option<PathBuf> {
    let counts = |dir: &PathBuf| COUNTS.iter().any(|file| dir.join(file).exists());
    case.cgroups().into_iter().find(counts)
}

const COUNTS: [&str; 2] = ["memory.oom_control", "memory.events"];

fn counted(dir: &Path) -> u64 {
    let text = COUNTS.iter().find_map(|file| fs::read_to_string(dir.join(file)).ok()).unwrap();
    let count = text.lines().find_map(|line| line.strip_prefix("oom_kill "));
    count.unwrap().parse().unwrap()
}

/// All kills until the end.
fn follow(mut events: Events) -> u64 {
    let mut kills = 0;
    loop {
        match events.wait(Some(PATIENCE)).unwrap() {
            Some(Event::Oom { kills: new }) => kills += new,
            Some(Event::Ended) => return kills,
            other => panic!("{other:?} after {kills} kills"),
        }
    }
}

/// A process that needs more than there is.
const HOG: &str = "dd if=/dev/zero of=/dev/null bs=256M count=1";

#[test]
fn each_oom_kill_is_told_to_everybody() {
    let mut case = case!();
    let limit = 32 << 20;
    case.script(&format!("{HOG}; {HOG}; {HOG}; exit 0"));
    let container = case.create();
    if memory_cgroup(&case).is_none() {
        skip!("needs the memory controller");
    }
    container.delete().unwrap();
    case.linux()["resources"] = json!({"memory": {"limit": limit, "swap": limit}});
    let container = case.create();
    let dir = memory_cgroup(&case).unwrap();
    let (one, two) = (container.events().unwrap(), container.events().unwrap());
    let mut slow = case.runtime.container(&case.id).unwrap().events().unwrap();
    container.start().unwrap();
    let others = std::thread::spawn(move || follow(two));
    let seen = follow(one);
    assert_eq!(others.join().unwrap(), seen);
    assert_eq!(counted(&dir), seen);
    assert!(seen >= 3, "{seen}");
    let exit = container.wait().unwrap();
    assert!(exit.success() && exit.oom_killed(), "{exit:?}");
    // Nothing was read yet, and nothing is lost.
    assert!(ends_within(slow.as_fd(), PATIENCE), "readable");
    assert_eq!(slow.read().unwrap(), Some(Event::Oom { kills: seen }));
    assert_eq!(slow.read().unwrap(), Some(Event::Ended));
    let memory = container.stats().unwrap().memory.unwrap();
    assert_eq!(memory.oom_kills, Some(seen));
    assert_eq!(memory.usage.limit, Some(limit));
    container.delete().unwrap();
}

#[test]
fn the_past_of_a_cgroup_is_not_the_containers() {
    let mut case = case!();
    let base = ["/sys/fs/cgroup/memory", "/sys/fs/cgroup"].into_iter().map(Path::new);
    let dir = base.filter(|dir| dir.is_dir()).map(|dir| dir.join(&case.id)).next().unwrap();
    fs::create_dir(&dir).unwrap();
    if memory_cgroup(&case).is_none() {
        fs::remove_dir(&dir).unwrap();
        skip!("needs the memory controller");
    }
    for file in ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max"] {
        if dir.join(file).exists() {
            fs::write(dir.join(file), "33554432").unwrap();
        }
    }
    let _ = fs::write(dir.join("memory.swap.max"), "0");
    let script = format!("echo $$ > {}/cgroup.procs && exec {HOG}", dir.display());
    let hog = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
    assert!(!hog.status.success() && counted(&dir) == 1, "{hog:?}");
    case.script("exit 0");
    let exit = case.run().unwrap().exit;
    assert!(exit.success() && !exit.oom_killed(), "{exit:?}");
}

#[test]
fn a_memory_hog_is_known_by_its_exit() {
    let mut case = case!();
    let container = case.create();
    if memory_cgroup(&case).is_none() {
        skip!("needs the memory controller");
    }
    container.delete().unwrap();
    case.linux()["resources"] = json!({"memory": {"limit": 33_554_432, "swap": 33_554_432}});
    case.script(&format!("exec {HOG}"));
    let exit = case.run().unwrap().exit;
    assert!(exit.signal() == Some(9) && exit.oom_killed(), "{exit:?}");
}

#[test]
fn events_of_a_quiet_container() {
    let mut case = case!();
    let container = case.running();
    let mut events = container.events().unwrap();
    assert_eq!(events.read().unwrap(), None);
    assert_eq!(events.wait(Some(Duration::from_millis(1))).unwrap(), None);
    container.kill(hoist::Signal::KILL).unwrap();
    assert_eq!(events.wait(Some(PATIENCE)).unwrap(), Some(Event::Ended));
    container.wait().unwrap();
    container.delete().unwrap();
    assert_eq!(events.wait(Some(Duration::ZERO)).unwrap(), Some(Event::Ended));
}
