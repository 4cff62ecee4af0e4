//! One life, or one `delete`, for each point.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use super::life::{Lived, live};
use super::points::{Aim, Blow, Call, Choice, ERRNOS, Point, all, tell};
use super::trace::{release, start_held, trace};
use super::watchdog::{Watchdog, place};
use crate::harness::{Bundle, Containerd, Shim};

/// How many points of a kind a plain run takes.
const SAMPLE: usize = 30;
/// So many failures are enough to know that something is wrong.
const ENOUGH: usize = 10;
/// No life takes a tenth of it.
const LIMIT: Duration = Duration::from_secs(30);

/// A target, and what was found at it.
type Target = Option<(Point, Blow)>;
type Found = (Aim, Result<String, String>);

pub(crate) struct Sweep {
    title: String,
    watchdog: Watchdog,
    failures: Vec<String>,
    seen: BTreeMap<String, usize>,
}

impl Sweep {
    pub(crate) fn new(title: String) -> Self {
        let (watchdog, failures, seen) = (Watchdog::new(), Vec::new(), BTreeMap::new());
        Self { title, watchdog, failures, seen }
    }

    /// The shim, all its threads, and what it starts.
    pub(crate) fn life(&mut self) {
        self.all_points(one_life);
    }

    /// The command that containerd calls when a shim has died.
    pub(crate) fn delete(&mut self) {
        self.all_points(one_delete);
    }

    pub(crate) fn end(&self) {
        println!("SEEN {}: {:?}", self.title, self.seen);
        assert!(self.failures.is_empty(), "{:#?}", self.failures);
    }

    fn all_points(&mut self, one: fn(&Self, Target) -> Found) {
        let choice = Choice::made(SAMPLE);
        println!("{choice}");
        let (aim, found) = one(self, None);
        found.expect("where nothing goes wrong");
        let killed = all(&aim.calls, false);
        self.strike("killed", &choice.killed(&killed), killed.len(), one);
        let failing = all(&aim.calls, true);
        self.strike("failed", &choice.failing(&failing), failing.len() * ERRNOS.len(), one);
    }

    fn strike(
        &mut self,
        how: &str,
        blows: &[(Point, Blow)],
        of: usize,
        one: fn(&Self, Target) -> Found,
    ) {
        let title = format!("{} {how}", self.title);
        let (mut tried, mut told) = (0, Instant::now());
        for (nth, target) in blows.iter().enumerate() {
            let (aim, found) = one(self, Some(*target));
            tried += usize::from(aim.hit.is_some());
            match found {
                Ok(found) => *self.seen.entry(found).or_default() += 1,
                Err(error) => {
                    let (Point { process, call }, blow) = *target;
                    let name = aim.hit.map_or_else(String::new, Call::name);
                    let what = format!("process {process}, call {call} ({name}) {blow:?}: {error}");
                    println!("FAILED {title}: {what}");
                    self.failures.push(what);
                }
            }
            if told.elapsed() > Duration::from_secs(2) {
                println!("PROGRESS {title}: {nth} of {}", blows.len());
                told = Instant::now();
            }
            assert!(self.failures.len() < ENOUGH, "{title}: {:#?}", self.failures);
        }
        tell(&title, tried, blows.len(), of);
    }
}

fn one_life(sweep: &Sweep, target: Target) -> Found {
    let containerd = Containerd::new("faults").expect("checked before");
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let shim = bundle.start_shim();
    let pid = shim.pid.as_raw_pid();
    let mut aim = Aim::new(&threads(pid), target);
    sweep.watchdog.watch(pid, "a life");
    let (sender, receiver) = std::sync::mpsc::channel();
    let lived = std::thread::scope(|scope| {
        let begin = || {
            let (shim, bundle) = (&shim, &bundle);
            scope.spawn(move || {
                let mut lived = live(shim, bundle);
                lived.shut_down = shim.shutdown().is_ok();
                sender.send(lived)
            });
        };
        trace(pid, &threads(pid), begin, |stop| aim.decide(stop));
        receiver.recv_timeout(2 * LIMIT).map_err(|_| format!("no answer: {}", place_of(&shim)))
    });
    let found = match (sweep.watchdog.done(), lived) {
        (Some(hung), _) => Err(format!("it hung: {hung}")),
        (None, Err(hung)) => Err(hung),
        (None, Ok(lived)) if lived.shut_down && !ends_soon(&shim) => {
            Err("the shim does not end".to_owned())
        }
        (None, Ok(lived)) => judge(&containerd, &shim, &lived, &aim, target),
    };
    let found = found.and_then(|found| afterwards(&containerd, &bundle, &shim).map(|()| found));
    (aim, found)
}

fn place_of(shim: &Shim) -> String {
    place(shim.pid.as_raw_pid().unsigned_abs())
}

fn threads(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).expect("threads").flatten();
    let mut threads: Vec<i32> =
        tasks.filter_map(|task| task.file_name().to_str()?.parse().ok()).collect();
    threads.sort_by_key(|thread| (*thread != pid, *thread));
    threads
}

/// Whether containerd was told the truth.
fn judge(
    containerd: &Containerd,
    shim: &Shim,
    lived: &Lived,
    aim: &Aim,
    target: Target,
) -> Result<String, String> {
    let said = containerd.log_of("a");
    // Where there is no memory for a thread's second stack, the standard library ends the program.
    if said.contains("panicked") && !said.contains("alternative stack") {
        return Err(format!("the shim's log: {said}"));
    }
    for (call, refused) in &lived.refused {
        let told = target.is_none_or(|(point, blow)| {
            blow.is_told_in(&refused.message) || point.is_untold_in(&refused.message)
        });
        let cut = refused.code.is_none();
        // A connection on which nothing can be transferred is closed, and the shim goes on without it.
        if cut && !aim.hit.is_some_and(Call::transfers) && !ends_soon(shim) {
            return Err(format!("{call}: {refused}, and the shim is there"));
        }
        if !cut && !told && aim.hit.is_some() && !follows(lived) {
            return Err(format!("{call} does not say why: {refused}"));
        }
    }
    if !lived.wrong.is_empty() {
        return Err(format!("{:?}, refused: {:?}; {said}", lived.wrong, lived.refused));
    }
    if lived.created && !lived.is_cut() {
        let end = |events: &[crate::harness::Event]| {
            let of = |kind| events.iter().any(|e| e.kind == kind && e.exec.is_empty());
            (of("create") && of("exit") && of("delete")).then_some(())
        };
        let what = format!("all events after {:?}", lived.refused);
        containerd.events.wait(&what, end);
    }
    let refused: Vec<&str> = lived.refused.iter().map(|(call, _)| *call).collect();
    Ok(match (refused.as_slice(), lived.is_cut()) {
        ([], _) => "all was well".to_owned(),
        (_, true) if shim.is_gone() => "the shim was gone".to_owned(),
        (_, true) => "the connection was cut".to_owned(),
        (refused, false) => format!("refused: {}", refused.join(", ")),
    })
}

/// After a call was refused with the reason, others may be for reasons of their own.
fn follows(lived: &Lived) -> bool {
    lived.refused.len() > 1
}

fn ends_soon(shim: &Shim) -> bool {
    let end = Instant::now() + Duration::from_secs(5);
    while !shim.is_gone() && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(1));
    }
    shim.is_gone()
}

/// containerd finds the connection ended, calls `delete`, and creates a container with the same id.
fn afterwards(containerd: &Containerd, bundle: &Bundle<'_>, shim: &Shim) -> Result<(), String> {
    let gone = ends_soon(shim);
    let deleted = containerd.delete("a", &bundle.dir());
    if deleted.exit_status != 137 || deleted.exited_at.seconds == 0 {
        return Err(format!("delete answered {deleted:?}"));
    }
    if !gone {
        // Only the connection was lost, and containerd asks for no more before it is restarted.
        shim.again().shutdown().map_err(|refused| format!("Shutdown: {refused}"))?;
        if !ends_soon(shim) {
            return Err("the shim does not end".to_owned());
        }
    }
    nothing_left(containerd)?;
    containerd.remove(bundle);
    let task = bundle.run();
    task.finish();
    task.shim.end();
    nothing_left(containerd)
}

/// An init whose creator is gone ends by itself, soon.
fn nothing_left(containerd: &Containerd) -> Result<(), String> {
    let end = Instant::now() + Duration::from_secs(10);
    loop {
        let left = containerd.left();
        let process = left.iter().any(|line| line.starts_with("process"));
        if left.is_empty() {
            return Ok(());
        }
        if !process || Instant::now() > end {
            return Err(format!("left: {left:?}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn one_delete(sweep: &Sweep, target: Target) -> Found {
    let containerd = Containerd::new("faults").expect("checked before");
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let shim = bundle.run().shim;
    shim.kill();
    let (mut command, path) = containerd.delete_command("a", &bundle.dir());
    let mut child = start_held(&mut command).expect("start delete");
    let pid = i32::try_from(child.id()).expect("a pid");
    let mut aim = Aim::new(&[pid], target);
    sweep.watchdog.watch(pid, "delete");
    let ended = trace(pid, &[pid], || release(pid), |stop| aim.decide(stop));
    let status = ended.unwrap_or_else(|| child.wait().expect("wait"));
    let said = fs::read_to_string(path).unwrap_or_default();
    let found = match (sweep.watchdog.done(), target.map(|(_, blow)| blow)) {
        (Some(hung), _) => Err(format!("it hung: {hung}")),
        _ if said.contains("panicked") => Err(said),
        _ if status.success() => Ok("success".to_owned()),
        (None, Some(Blow::Killed)) => Ok("killed".to_owned()),
        (None, Some(blow)) => {
            let known = blow.is_told_in(&said);
            let silent = aim.hit.is_some_and(|call| call.tells() || call.allocates());
            if known || silent {
                Ok("an error".to_owned())
            } else {
                Err(format!("{status}: {said}"))
            }
        }
        (None, None) => Err(format!("{status}: {said}")),
    };
    let found = found.and_then(|found| {
        if status.success() {
            nothing_left(&containerd)?;
        }
        afterwards(&containerd, &bundle, &shim).map(|()| found)
    });
    (aim, found)
}
