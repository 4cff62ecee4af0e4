//! DESIGN.md, laws 1 and 4, in a program that lives on: each system call that the library makes in it is made
//! to fail with EIO, ENOMEM, EMFILE and ENOSPC, and so is each of those of the processes that build a
//! container, which are killed after each of theirs, too. Whatever the program is told, it is as it was: no
//! descriptor, child, thread, mount or mapping more, and nothing of its own is changed.
//!
//! A plain run takes every so many points; `make faults` takes all.

#![cfg(test)]

#[allow(dead_code, reason = "the example takes more of it")]
#[path = "../examples/many_threads/caller.rs"]
mod caller;
mod harness;

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::PathBuf;
use std::process::{Child, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use caller::Caller;
use harness::points::{Aim, Blow, Call, Choice, ERRNOS, Point, all, tell};
use harness::trace::{At, CAN_FAIL, Stop, Then, trace};
use harness::watchdog::Watchdog;
use harness::{Lab, again, skip};
use hoist::{
    Bundle, Container, CreateOptions, Error, ErrorKind, ExecOptions, Process, Runtime, Signal,
    Stdio,
};
use serde_json::{Value, json};

/// How many points of a kind a plain run takes.
const SAMPLE: usize = 32;
/// So many failures are enough to know that something is wrong.
const ENOUGH: usize = 20;
const ID: &str = "survivor";
/// Between two of these calls, which the library has no use for, the program does what is looked at.
const MARK: i64 = libc::SYS_getppid;

macro_rules! operations {
    ($($test:ident $operation:literal)*) => {$(
        #[test]
        fn $test() {
            run($operation);
        }
    )*};
}

operations! {
    caller_lives_on_after_create "create"
    caller_lives_on_after_create_with_hooks "create-hooks"
    caller_lives_on_after_create_in_a_user_namespace "create-user"
    caller_lives_on_after_run "run"
    caller_lives_on_after_start "start"
    caller_lives_on_after_exec "exec"
    caller_lives_on_after_pause "pause"
    caller_lives_on_after_delete "delete-force"
}

fn run(operation: &str) {
    let Some(lab) = Lab::new(operation) else { return };
    if !CAN_FAIL {
        return skip(&format!("{operation}, caller failed"), "only known how for x86_64");
    }
    lab.write_config(&config(&lab, operation));
    let choice = Choice::made(SAMPLE);
    println!("{choice}");
    let survivor = Survivor::start(&lab, operation);
    let watchdog = Watchdog::new();
    let mut test = Test { operation, survivor, lab, watchdog, failures: Vec::new() };
    // The first time the program learns what it keeps.
    test.strike(None);
    let calls = test.strike(None).calls;
    let ours = |point: &Point| point.process == 0;
    let killed: Vec<Point> = all(&calls, false).into_iter().filter(|point| !ours(point)).collect();
    if !killed.is_empty() {
        test.all("killed", &choice.killed(&killed), killed.len());
    }
    let failing: Vec<Point> = all(&calls, true)
        .into_iter()
        .filter(|point| {
            !ours(point) || calls[0].get(point.call).is_some_and(|call| !call.allocates())
        })
        .collect();
    test.all("failed", &choice.failing(&failing), failing.len() * ERRNOS.len());
    assert!(test.failures.is_empty(), "{:#?}", test.failures);
}

/// A program of its own, which is told to do the same again and again.
struct Survivor {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Survivor {
    fn start(lab: &Lab, operation: &str) -> Self {
        let mut command = again("survivor", r#"exec "$@""#);
        command.env("HOIST_LAB", lab.dir()).env("HOIST_OPERATION", operation);
        command.stdin(std::process::Stdio::piped()).stderr(std::process::Stdio::inherit());
        let mut child = command.spawn().expect("start the survivor");
        let stdin = child.stdin.take().expect("a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("a pipe"));
        Self { child, stdin, stdout }
    }

    fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).expect("a pid")
    }

    /// The lines that it says until the one that is waited for; none if it has ended.
    fn hear(&mut self, last: &str) -> Option<Vec<String>> {
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).expect("read") == 0 {
                return None;
            }
            match line.trim_end() {
                line if line.ends_with(last) => return Some(lines),
                line => lines.push(line.to_owned()),
            }
        }
    }
}

impl Drop for Survivor {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

struct Test<'a> {
    operation: &'a str,
    survivor: Survivor,
    lab: Lab,
    watchdog: Watchdog,
    failures: Vec<String>,
}

impl Test<'_> {
    fn all(&mut self, how: &str, blows: &[(Point, Blow)], of: usize) {
        let title = format!("{} in a program that lives on {how}", self.operation);
        let mut tried = 0;
        let mut told = Instant::now();
        for (nth, target) in blows.iter().enumerate() {
            let aim = self.strike(Some(*target));
            tried += usize::from(aim.hit.is_some());
            if told.elapsed() > Duration::from_secs(2) {
                println!("PROGRESS {title}: {nth} of {}", blows.len());
                told = Instant::now();
            }
            assert!(self.failures.len() < ENOUGH, "{title}: {:#?}", self.failures);
        }
        tell(&title, tried, blows.len(), of);
    }

    /// Has the operation done once, and something go wrong in it.
    fn strike(&mut self, target: Option<(Point, Blow)>) -> Aim {
        let pid = self.survivor.pid();
        self.watchdog.watch(pid, self.operation);
        self.survivor.stdin.write_all(b"p").expect("tell the survivor");
        let thread = self.survivor.hear("READY").expect("it is ready");
        let thread = thread.last().and_then(|line| line.parse().ok()).expect("its thread");
        let mut aim = Aim::new(&[thread], target);
        let mut marks = 0;
        let decide = |stop: Stop| match stop.at {
            At::Entry(number, _) if stop.first && i64::try_from(number) == Ok(MARK) => {
                marks += 1;
                if marks == 2 { Then::LetGo } else { Then::GoOn }
            }
            _ if stop.first && marks == 0 => Then::GoOn,
            _ => match aim.decide(stop) {
                // Memory is had a bit differently each time; without it Rust's programs end.
                Then::Fail(_) if stop.first && aim.hit.is_some_and(Call::allocates) => {
                    aim.hit = None;
                    Then::GoOn
                }
                then => then,
            },
        };
        let stdin = &mut self.survivor.stdin;
        trace(pid, &[thread], || stdin.write_all(b"g").expect("tell the survivor"), decide);
        let said = self.survivor.hear("DONE");
        let hung = self.watchdog.done();
        let call = aim.hit.map_or_else(String::new, Call::name);
        let what = format!("{}, {target:?} ({call})", self.operation);
        let wrong = match (hung, said) {
            (Some(place), _) => Some(format!("it hung: {place}")),
            (None, None) => Some("it ended".to_owned()),
            // What can't be waited for can't be collected.
            (None, Some(_)) if aim.hit.is_some_and(Call::waits) => None,
            (None, Some(lines)) => wrong(&lines, target),
        };
        if let Some(wrong) = wrong {
            println!("FAILED {what}: {wrong}");
            self.failures.push(format!("{what}: {wrong}"));
            self.survivor = Survivor::start(&self.lab, self.operation);
        }
        aim
    }
}

/// What is wrong with what the survivor has said.
fn wrong(lines: &[String], target: Option<(Point, Blow)>) -> Option<String> {
    if let Some(line) = lines.iter().find(|line| line.starts_with("WRONG ")) {
        return Some(format!("{line}; {lines:?}"));
    }
    let error = lines.iter().find_map(|line| line.strip_prefix("ERROR "))?;
    let Some((point, blow)) = target else { return Some(format!("where nothing fails: {error}")) };
    (!blow.is_told_in(error) && !point.is_untold_in(error))
        .then(|| format!("{error:?} does not tell of it"))
}

fn config(lab: &Lab, operation: &str) -> Value {
    let mut config = lab.config(&["sleep", "1000"]);
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }],
    });
    let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65_536 }]);
    match operation {
        "create-hooks" => {
            let hook = json!([{ "path": "/bin/busybox", "args": ["busybox", "true"] }]);
            config["hooks"] = json!({
                "prestart": hook, "createRuntime": hook, "createContainer": hook, "poststop": hook,
            });
            let volume = lab.dir().join("volume");
            fs::create_dir_all(&volume).expect("a directory");
            config["mounts"].as_array_mut().expect("mounts").push(json!({
                "destination": "/volume", "type": "bind", "source": volume,
                "options": ["rbind"], "uidMappings": map, "gidMappings": map,
            }));
        }
        "create-user" => {
            config["linux"]["namespaces"]
                .as_array_mut()
                .expect("namespaces")
                .push(json!({ "type": "user" }));
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        _ => {}
    }
    config
}

/// What the survivor is like, and what hangs on it.
#[derive(Debug, PartialEq, Eq)]
struct Likeness {
    caller: Caller,
    rest: Vec<String>,
}

impl Likeness {
    fn look(prefix: &str) -> Self {
        let threads = fs::read_dir("/proc/self/task").expect("threads").count();
        let mut rest = vec![format!("{threads} threads")];
        rest.extend(caller::children().into_iter().map(|pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            format!("child {stat}")
        }));
        let maps = fs::read_to_string("/proc/self/maps").expect("maps");
        rest.extend(maps.lines().filter(|line| line.contains("memfd")).map(str::to_owned));
        rest.extend(caller::mounts(prefix));
        rest.extend(caller::cgroups(prefix).into_iter().map(|path| path.display().to_string()));
        Self { caller: Caller::look(), rest }
    }

    fn differences(&self, later: &Self) -> Vec<String> {
        let mut differences = self.caller.differences(&later.caller);
        // The tracer takes a moment to let go.
        differences.retain(|difference| !difference.starts_with("TracerPid"));
        if self.rest != later.rest {
            differences.push(format!("was {:?}, is {:?}", self.rest, later.rest));
        }
        differences
    }
}

#[test]
#[ignore = "run by the others"]
fn survivor() {
    let variable = |name| std::env::var(name).expect("set by the test that runs this");
    let (dir, operation) = (PathBuf::from(variable("HOIST_LAB")), variable("HOIST_OPERATION"));
    let prefix = dir.file_name().expect("a name").to_string_lossy().into_owned();
    println!();
    let mut stdin = std::io::stdin();
    let mut byte = [0];
    // At the end of the standard input the test has seen enough.
    while stdin.read_exact(&mut byte).is_ok() {
        let before = Likeness::look(&prefix);
        let runtime = Runtime::builder().root(dir.join("state")).build().expect("a runtime");
        let bundle = || Bundle::load(dir.join("bundle"));
        let options = || CreateOptions::new().stdio(Stdio::null());
        let mut container = (!operation.starts_with("create") && operation != "run")
            .then(|| runtime.create_with(ID, bundle()?, options()))
            .transpose()
            .expect("create");
        if let Some(container) = container.as_ref().filter(|_| operation != "start") {
            container.start().expect("start");
        }
        let children = caller::children();
        println!("{}\nREADY", rustix::thread::gettid().as_raw_pid());

        stdin.read_exact(&mut byte).expect("wait for the tracer");
        let _ = rustix::process::getppid();
        let result = act(&operation, &runtime, &mut container, bundle, options);
        let _ = rustix::process::getppid();

        match result {
            Err(error) => {
                println!("ERROR {}", error.to_string().replace('\n', " "));
                if operation == "exec" && caller::children() != children {
                    println!("WRONG children: {:?}, before {children:?}", caller::children());
                }
                let found = runtime.container(ID).map(drop).map_err(|error| error.kind());
                if container.is_none()
                    && operation != "delete-force"
                    && found != Err(ErrorKind::NotFound)
                {
                    println!("WRONG after the error: {found:?}");
                }
            }
            Ok(Some(process)) => {
                process.kill(Signal::KILL).expect("kill what was executed");
                process.wait().expect("wait for what was executed");
            }
            Ok(None) => {}
        }
        let left = container.map_or_else(|| runtime.container(ID), Ok);
        match left.and_then(Container::delete_force) {
            Err(error) if error.kind() != ErrorKind::NotFound => println!("WRONG delete: {error}"),
            _ => {}
        }
        drop(runtime);
        let differences = before.differences(&Likeness::look(&prefix));
        if !differences.is_empty() {
            println!("WRONG {differences:?}");
        }
        println!("DONE");
    }
}

/// What is traced. It may return a process besides the container.
fn act(
    operation: &str,
    runtime: &Runtime,
    container: &mut Option<Container>,
    bundle: impl Fn() -> Result<Bundle, Error>,
    options: impl Fn() -> CreateOptions,
) -> Result<Option<Process>, Error> {
    let Some(there) = container else {
        *container = Some(match operation {
            "run" => runtime.run_with(ID, bundle()?, options())?,
            _ => runtime.create_with(ID, bundle()?, options())?,
        });
        return Ok(None);
    };
    match operation {
        "start" => there.start()?,
        "pause" => {
            there.pause()?;
            there.resume()?;
            there.processes()?;
            there.state()?;
        }
        "exec" => {
            let process = there.spec()?.process().clone().expect("a process");
            return there.exec(&process, ExecOptions::new().stdio(Stdio::null())).map(Some);
        }
        "delete-force" => {
            if let Some(container) = container.take() {
                container.delete_force()?;
            }
        }
        other => panic!("no operation {other}"),
    }
    Ok(None)
}
