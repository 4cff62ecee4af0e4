//! One operation, once for each point.

use std::collections::BTreeMap;
use std::fs;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::check::{Told, told};
use crate::harness::points::{Aim, Blow, Choice, Point, all, tell};
use crate::harness::trace::{reap_all, release, start_held, trace};
use crate::harness::watchdog::Watchdog;
use crate::harness::{Lab, skip};
use crate::likeness;
use crate::operation::{ID, Operation, Place};
use hoist::Status;

/// For orphans to notice that they are alone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many points of a kind a plain run takes.
const SAMPLE: usize = 40;
/// So many failures are enough to know that something is wrong.
const ENOUGH: usize = 20;

pub(crate) struct Sweep {
    operation: Operation,
    place: Place,
    watchdog: Watchdog,
    failures: Vec<String>,
    /// What the container is like where nothing goes wrong.
    likeness: Vec<String>,
    /// How often it was how afterwards.
    seen: BTreeMap<String, usize>,
}

impl Sweep {
    pub(crate) fn new(lab: Lab, operation: Operation) -> Self {
        let place = Place::new(lab, &operation);
        Self {
            operation,
            place,
            watchdog: Watchdog::new(),
            failures: Vec::new(),
            likeness: Vec::new(),
            seen: BTreeMap::new(),
        }
    }

    /// All points that this run takes.
    pub(crate) fn run(&mut self, view: &str) {
        if self.operation.name == "update" && !self.place.can_be_updated() {
            return skip(&format!("update{view}"), "needs a cgroup controller with limits");
        }
        let choice = Choice::made(SAMPLE);
        println!("{choice}");
        let calls = self.count();
        let title = format!("{}{view}", self.operation.name);
        let killed = all(&calls, false);
        self.strike(&format!("{title} killed"), &choice.killed(&killed), killed.len());
        let failing = all(&calls, true);
        let blows = choice.failing(&failing);
        let (of, title) =
            (failing.len() * crate::harness::points::ERRNOS.len(), format!("{title} failed"));
        self.strike(&title, &blows, of);
        println!("SEEN {title}: {:?}", self.seen);
        assert!(self.failures.is_empty(), "{} failures", self.failures.len());
    }

    fn strike(&mut self, title: &str, blows: &[(Point, Blow)], of: usize) {
        let mut tried = 0;
        let mut told = Instant::now();
        for (nth, (point, blow)) in blows.iter().enumerate() {
            tried += usize::from(self.at(*point, *blow));
            if told.elapsed() > Duration::from_secs(2) {
                println!("PROGRESS {title}: {nth} of {}", blows.len());
                told = Instant::now();
            }
            assert!(self.failures.len() < ENOUGH, "{title}: {:#?}", self.failures);
        }
        tell(title, tried, blows.len(), of);
    }

    /// All the calls of the operation.
    fn count(&mut self) -> Vec<Vec<crate::harness::points::Call>> {
        self.place.prepare(self.operation.before).expect("prepare");
        let (aim, status, said) = self.act(None);
        assert!(status.success(), "{status}: {said}");
        self.likeness = self.likeness();
        self.place.delete().expect("delete");
        self.nothing_left().expect("nothing is left");
        aim.calls
    }

    /// Strikes at one point; says whether it was reached.
    fn at(&mut self, point: Point, blow: Blow) -> bool {
        self.watchdog.watch(0, &format!("prepare {}", self.operation.name));
        self.place.prepare(self.operation.before).expect("prepare");
        let (aim, status, said) = self.act(Some((point, blow)));
        let call = aim.hit.map_or_else(String::new, |call| call.name());
        let what = format!(
            "{}, process {}, call {} ({call}) {blow:?}",
            self.operation.name, point.process, point.call
        );
        let hung = self.watchdog.done();
        self.watchdog.watch(0, &format!("{what}, afterwards"));
        let mut result = match (hung, aim.hit) {
            (Some(place), _) => Err(format!("it hung: {place}")),
            (None, Some(call)) => told(status, &said, call, point, blow)
                .and_then(|told| self.truth(told, &said, point, blow)),
            (None, None) => Ok("not reached".to_owned()),
        };
        let clean = self.once_more();
        if clean.is_err() {
            self.rescue();
        }
        result = result.and_then(|found| clean.map(|()| found));
        self.watchdog.done();
        match result {
            Ok(found) => *self.seen.entry(found).or_default() += 1,
            Err(error) => {
                println!("FAILED {what}: {error}");
                self.failures.push(what);
            }
        }
        aim.hit.is_some()
    }

    /// Calls the program, and strikes at it.
    fn act(&self, target: Option<(Point, Blow)>) -> (Aim, ExitStatus, String) {
        let lab = &self.place.lab;
        let path = lab.dir().join("log");
        let log = fs::File::create(&path).expect("a log");
        let mut command = Command::new(crate::program());
        command
            .arg("--root")
            .arg(lab.state_root())
            .args(self.operation.arguments)
            .current_dir(lab.bundle())
            .env_clear()
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log);
        let mut child = start_held(&mut command).expect("start the program");
        let pid = i32::try_from(child.id()).expect("a pid");
        self.watchdog.watch(pid, self.operation.name);
        let mut threads = vec![pid];
        // Its init is not a child of what starts it.
        if self.operation.before == Some(Status::Created) {
            let init = self.place.container().and_then(|container| container.pid());
            let init = init.expect("look").expect("init waits");
            threads.push(i32::try_from(init).expect("a pid"));
        }
        let mut aim = Aim::new(&threads, target);
        let ended = trace(pid, &threads, || release(pid), |stop| aim.decide(stop));
        let status = ended.unwrap_or_else(|| child.wait().expect("wait for the program"));
        let said = fs::read(path).expect("the log");
        (aim, status, String::from_utf8_lossy(&said).into_owned())
    }

    /// Whether what is there agrees with what was told, and can be used.
    fn truth(&self, told: Told, said: &str, point: Point, blow: Blow) -> Result<String, String> {
        let Operation { name, done, failed, .. } = self.operation;
        let there = self.place.look().map_err(|error| format!("state: {error}"))?;
        let agrees = match told {
            // A signal has been sent, which takes its time.
            Told::Success if name == "kill" => failed.contains(&there),
            // Its program has run: that it could not be deleted is a warning.
            Told::Success if name == "run" && !said.is_empty() => failed.contains(&there),
            // The container's first process was killed when all was done, or failed at waiting for its
            // start.
            Told::Success if point.process > 0 && (blow == Blow::Killed || name == "create") => {
                there == done || there == Some(Status::Stopped)
            }
            Told::Success => there == done,
            Told::Error => failed.contains(&there),
            Told::Nothing => true,
        };
        if !agrees {
            return Err(format!("it told {told:?}, and the container is {there:?}"));
        }
        if told == Told::Success && there == done && ["create", "start"].contains(&name) {
            let differs = likeness::difference(&self.likeness, &self.likeness());
            if !differs.is_empty() {
                return Err(format!("it told {told:?}, and the container is {differs:?}"));
            }
        }
        if name == "update" {
            let updated = self.place.is_updated().map_err(|error| error.to_string())?;
            if told != Told::Nothing && updated != (told == Told::Success) {
                return Err(format!("it told {told:?}, and updated is {updated}"));
            }
        }
        if there == Some(Status::Paused) {
            let resumed = self.place.container().and_then(|container| container.resume());
            resumed.map_err(|error| format!("resume: {error}"))?;
        }
        if ["create", "run"].contains(&name) && told == Told::Error && there.is_none() {
            self.nothing_left().map_err(|error| format!("after the error: {error}"))?;
        }
        Ok(format!("{told:?}, {}", there.map_or("not there".to_owned(), |s| s.to_string())))
    }

    /// What the container's first process is like, if there is one.
    fn likeness(&self) -> Vec<String> {
        let pid = self.place.container().and_then(|container| container.pid());
        pid.ok().flatten().map_or_else(Vec::new, likeness::of)
    }

    /// `delete --force` removes all, and the id can be used again.
    fn once_more(&self) -> Result<(), String> {
        let delete = || {
            self.place.delete().map_err(|error| format!("delete: {error}"))?;
            self.nothing_left()
        };
        delete()?;
        self.place.create().map_err(|error| format!("create once more: {error}"))?;
        delete()
    }

    fn nothing_left(&self) -> Result<(), String> {
        let end = Instant::now() + PATIENCE;
        while reap_all() {
            if Instant::now() > end {
                return Err(format!("left alive: {}", children()));
            }
            std::thread::sleep(Duration::from_micros(500));
        }
        let left = self.place.left();
        if left.is_empty() { Ok(()) } else { Err(format!("left: {left:?}")) }
    }

    /// What should have been removed, by force: the next point shall not suffer from it.
    fn rescue(&self) {
        let end = Instant::now() + PATIENCE;
        while reap_all() && Instant::now() < end {
            for pid in children().split_whitespace() {
                let pid = pid.parse().ok().and_then(rustix::process::Pid::from_raw);
                let kill = |pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL);
                let _ = pid.map(kill);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        let _ = fs::remove_dir_all(self.place.lab.state_root().join(ID));
        for cgroup in crate::harness::cgroups(self.place.lab.name()) {
            let _ = fs::remove_dir(cgroup);
        }
    }
}

fn children() -> String {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default()).collect()
}
