//! DESIGN.md, law 4: crash-only. The runtime is killed before each of the system calls that it
//! and init make, and init is killed before each of its own, which is after each step of the
//! plan. Whatever is there then: `state` answers, `delete --force` leaves nothing, and the same
//! id can be used again.
//!
//! All calls take minutes. A plain run takes those at which something new happens to init, and
//! of the others every so many; HOIST_CRASH_ALL=1 takes all.

#![cfg(test)]

mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use harness::trace::{At, Stop, Then, reap_all, step_of, trace};
use harness::{Lab, UNIFIED, again, finish};
use hoist::{
    Bundle, Container, CreateOptions, ErrorKind, ExecOptions, Result, Runtime, Status,
    Stdio as ContainerStdio,
};
use serde_json::{Value, json};

/// For one scenario. Nobody waits for it: only what hangs takes so long.
const LIMIT: Duration = Duration::from_secs(120);
/// For orphans to notice that they are alone.
const PATIENCE: Duration = Duration::from_secs(10);
/// How many points of a kind a plain run takes.
const SAMPLE: usize = 48;
/// The helper says so when it is ready to be traced, and then which thread it acts on.
const READY: u8 = 0x06;
const ID: &str = "crash";

#[test]
fn runtime_killed_during_create() {
    run("create", "runtime");
}

#[test]
fn runtime_killed_during_create_with_hooks() {
    run("create-hooks", "runtime");
}

#[test]
fn runtime_killed_during_run() {
    run("run", "runtime");
}

#[test]
fn runtime_killed_during_start() {
    run("start", "runtime");
}

#[test]
fn runtime_killed_during_create_and_start() {
    run("create-start", "runtime");
}

#[test]
fn runtime_killed_during_exec() {
    run("exec", "runtime");
}

#[test]
fn runtime_killed_during_delete() {
    run("delete", "runtime");
}

#[test]
fn runtime_killed_during_delete_force() {
    run("delete-force", "runtime");
}

#[test]
fn init_killed_during_create() {
    run("create", "init");
}

#[test]
fn init_killed_during_create_with_hooks() {
    run("create-hooks", "init");
}

#[test]
fn init_killed_during_run() {
    run("run", "init");
}

#[test]
fn init_killed_during_start() {
    run("start", "init");
}

#[test]
fn init_killed_during_create_and_start() {
    run("create-start", "init");
}

#[test]
fn init_killed_during_exec() {
    run("exec", "init");
}

#[test]
fn runtime_killed_during_create_on_cgroup_v2() {
    run_through(UNIFIED, "create", "runtime");
}

#[test]
fn init_killed_during_run_on_cgroup_v2() {
    run_through(UNIFIED, "run", "init");
}

fn run(scenario: &str, victim: &str) {
    run_through(r#"exec "$@""#, scenario, victim);
}

/// In a program of its own: it becomes the parent of all that a killed runtime leaves.
fn run_through(through: &str, scenario: &str, victim: &str) {
    let view = if through == UNIFIED { "_on_cgroup_v2" } else { "" };
    let name = format!("{victim}_killed_during_{scenario}{view}");
    if Lab::new(&name).is_none() {
        return;
    }
    let mut command = again("scenario", through);
    command.env("HOIST_SCENARIO", scenario).env("HOIST_VICTIM", victim);
    let all = if std::env::var_os("HOIST_CRASH_ALL").is_some() { 10 } else { 1 };
    let finished = finish(command, LIMIT * all);
    for line in finished.text.lines().map(|line| line.trim_start_matches("test scenario ... ")) {
        if line.contains("points") {
            println!("{name}: {line}");
        } else if let Some(points) = line.strip_prefix("POINTS ") {
            println!("POINTS {scenario} by the library{}, {points}", view.replace('_', " "));
        }
    }
    finished.passed();
}

#[test]
#[ignore = "run by the others"]
fn scenario() {
    let variable = |name| std::env::var(name).expect("set by the test that runs this");
    let (scenario, victim) = (variable("HOIST_SCENARIO"), variable("HOIST_VICTIM"));
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).expect("subreaper");
    let lab = Lab::new("crash").expect("checked before");
    let test = Test { lab, scenario, victim_is_init: victim == "init" };

    let all = test.profile();
    let steps: BTreeSet<_> = all.iter().filter_map(|point| *point).collect();
    let points = choose(&all);
    let mut seen = BTreeMap::new();
    let mut tried = 0;
    for point in &points {
        let (reached, found) = test.kill_at(*point);
        tried += usize::from(reached);
        *seen.entry(found).or_insert(0) += 1;
    }
    println!("POINTS {victim} killed: {tried} of {}", all.len());
    println!(
        "{tried} points of {} tried, {} steps of init among them; afterwards it was {seen:?}",
        all.len(),
        steps.len()
    );
    assert!(tried * 10 >= points.len() * 9, "{tried} of {} points were reached", points.len());
}

/// Which of all points to try: the first of each step, and of the others every so many.
fn choose(all: &[Option<(i32, u32, u32)>]) -> Vec<usize> {
    if std::env::var_os("HOIST_CRASH_ALL").is_some() {
        return (0..all.len()).collect();
    }
    let every = all.len().div_ceil(SAMPLE).max(1);
    let mut steps = BTreeSet::new();
    (0..all.len())
        .filter(|n| all[*n].is_some_and(|step| steps.insert(step)) || n % every == 0)
        .collect()
}

struct Test {
    lab: Lab,
    scenario: String,
    victim_is_init: bool,
}

impl Test {
    /// All points of the scenario, with the step that init is at where that is who stops.
    fn profile(&self) -> Vec<Option<(i32, u32, u32)>> {
        let mut points = Vec::new();
        let mut known = BTreeMap::new();
        self.prepare();
        let status = self.traced(|stop| {
            if stop.at == At::Exit || stop.first && self.victim_is_init {
                return Then::GoOn;
            }
            let next = i32::try_from(known.len()).expect("few processes");
            let process = *known.entry(stop.pid).or_insert(next);
            let step = if stop.first { None } else { step_of(stop.pid) };
            points.push(step.map(|(role, step)| (process, role, step)));
            Then::GoOn
        });
        assert!(status.success(), "{}", self.log());
        self.clean();
        points
    }

    /// Kills at one point; says whether it was reached, and what the container was then.
    fn kill_at(&self, point: usize) -> (bool, String) {
        self.prepare();
        let mut count = 0;
        let mut reached = false;
        let status = self.traced(|stop| {
            if stop.at == At::Exit || stop.first && self.victim_is_init {
                return Then::GoOn;
            }
            count += 1;
            if count <= point {
                return Then::GoOn;
            }
            reached = true;
            if self.victim_is_init { Then::KillThis } else { Then::KillFirst }
        });
        let what = format!("{}, killed at point {point}", self.scenario);
        let code = status.code();
        assert!(code.is_none_or(|code| [0, 3].contains(&code)), "{what}: {}", self.log());
        let failed = self.victim_is_init && status.code() == Some(3);
        if failed && ["create", "create-hooks", "run"].contains(&self.scenario.as_str()) {
            self.nothing_left(&format!("{what}, after the error"));
        }
        let found = self.look();
        let found = match found {
            Ok(status) => {
                if self.scenario == "start" && status == Status::Created {
                    self.container().expect("load").start().expect("start once more");
                }
                if self.scenario == "create-start" && status == Status::Created {
                    self.start_or_started(&what);
                }
                let running = matches!(status, Status::Running | Status::Created);
                assert!(self.scenario != "exec" || running, "{what}: {status}");
                status.to_string()
            }
            Err(error) if error.kind() == ErrorKind::NotFound => "not there".to_owned(),
            Err(error) => panic!("{what}: state: {error}"),
        };
        self.delete(&what);
        self.nothing_left(&what);

        let create = CreateOptions::new().stdio(ContainerStdio::null());
        let again = self.lab.runtime().create_with(ID, self.bundle(false), create);
        again.unwrap_or_else(|error| panic!("{what}: create once more: {error}"));
        self.delete(&what);
        self.nothing_left(&what);
        let outcome = if failed { "an error and " } else { "" };
        (reached, format!("{outcome}{found}"))
    }

    /// Starts it, unless init is on its way already: whoever was killed may just have told it to.
    fn start_or_started(&self, what: &str) {
        let Err(error) = self.container().expect("load").start() else { return };
        assert_eq!(error.kind(), ErrorKind::WrongState, "{what}: {error}");
        let end = Instant::now() + PATIENCE;
        while self.look().expect("state") != Status::Running {
            assert!(Instant::now() < end, "{what}: not running: {error}");
            std::thread::sleep(Duration::from_micros(500));
        }
    }

    fn traced(&self, decide: impl FnMut(Stop) -> Then + Send) -> ExitStatus {
        let log = fs::File::create(self.lab.dir().join("log")).expect("a log");
        let mut helper = Command::new(std::env::current_exe().expect("this program"))
            .args(["--exact", "act", "--ignored", "--nocapture", "--test-threads=1"])
            .env("HOIST_LAB", self.lab.dir())
            .env("HOIST_LAB_NAME", self.lab.name())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("start the helper");
        let mut stdout = helper.stdout.take().expect("a pipe");
        let mut byte = [0u8];
        let mut read = |byte: &mut [u8]| {
            stdout.read_exact(byte).unwrap_or_else(|_| panic!("{}", self.log()));
        };
        while byte != [READY] {
            read(&mut byte);
        }
        let mut thread = [0u8; 4];
        read(&mut thread);
        let mut stdin = helper.stdin.take().expect("a pipe");
        let pid = i32::try_from(helper.id()).expect("a pid");
        let begin = || stdin.write_all(b"g").expect("tell the helper");
        trace(pid, &[i32::from_ne_bytes(thread)], begin, decide);
        helper.wait().expect("the helper's end")
    }

    fn log(&self) -> String {
        fs::read_to_string(self.lab.dir().join("log")).unwrap_or_default()
    }

    fn bundle(&self, hooks: bool) -> Bundle {
        Bundle::from_json(self.lab.bundle(), config(&self.lab, hooks).to_string()).expect("valid")
    }

    fn runtime(&self) -> Runtime {
        self.lab.runtime()
    }

    fn container(&self) -> Result<Container> {
        self.runtime().container(ID)
    }

    fn look(&self) -> Result<Status> {
        Ok(self.container()?.state()?.status)
    }

    /// What has to be there before the helper acts.
    fn prepare(&self) {
        let hooks = self.scenario.ends_with("-hooks");
        self.lab.write_config(&config(&self.lab, hooks));
        let options = CreateOptions::new().stdio(ContainerStdio::null());
        let create = || self.runtime().create_with(ID, self.bundle(true), options);
        match self.scenario.as_str() {
            "create" | "create-hooks" | "create-start" | "run" => {}
            "start" => drop(create().expect("create")),
            "exec" | "delete-force" => create().expect("create").start().expect("start"),
            "delete" => {
                let container = create().expect("create");
                container.start().expect("start");
                container.kill(hoist::Signal::KILL).expect("kill");
                container.wait().expect("wait");
            }
            other => panic!("no scenario {other}"),
        }
    }

    fn delete(&self, what: &str) {
        match self.container().and_then(Container::delete_force) {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => panic!("{what}: delete: {error}"),
        }
    }

    fn clean(&self) {
        self.delete("clean up");
        self.nothing_left("clean up");
    }

    fn nothing_left(&self, what: &str) {
        let end = Instant::now() + PATIENCE;
        while reap_all() {
            assert!(Instant::now() < end, "{what}: left alive: {:?}", children());
            std::thread::sleep(Duration::from_micros(500));
        }
        let left = self.lab.left();
        assert!(left.is_empty(), "{what}: {left:?}; the helper said: {}", self.log());
    }
}

fn children() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")));
    let all: String = lists.map(std::io::Result::unwrap_or_default).collect();
    let show = |pid: &str| {
        let read = |file| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
        format!("{pid} {:?} {:?} {:?}", read("cmdline"), read("wchan"), read("stat"))
    };
    all.split_whitespace().map(show).collect()
}

/// A program that runs until it is killed, with mounts, devices, masks and a seccomp filter.
fn config(lab: &Lab, hooks: bool) -> Value {
    let mut config = lab.config(&["sleep", "1000"]);
    if hooks {
        let hook = json!([{ "path": "/bin/busybox", "args": ["busybox", "true"] }]);
        config["hooks"] = json!({
            "createRuntime": hook, "createContainer": hook,
            "poststart": hook, "poststop": hook,
        });
    }
    config["linux"]["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }],
    });
    config
}

/// The runtime that is killed.
#[test]
#[ignore = "run by the others"]
fn act() {
    let variable = |name| std::env::var(name).expect("set by the test that runs this");
    let dir = std::path::PathBuf::from(variable("HOIST_LAB"));
    let scenario = variable("HOIST_SCENARIO");
    let runtime = Runtime::builder().root(dir.join("state")).build().expect("a runtime");
    let mut stdout = std::io::stdout();
    let thread = rustix::thread::gettid().as_raw_pid().to_ne_bytes();
    stdout
        .write_all(&[READY])
        .and_then(|()| stdout.write_all(&thread))
        .and_then(|()| stdout.flush())
        .expect("say so");
    std::io::stdin().read_exact(&mut [0]).expect("wait for the tracer");

    let act = || -> Result<()> {
        let null = || CreateOptions::new().stdio(ContainerStdio::null());
        let bundle = || Bundle::load(dir.join("bundle"));
        match scenario.as_str() {
            "create" | "create-hooks" => drop(runtime.create_with(ID, bundle()?, null())?),
            "create-start" => {
                let container = runtime.create_with(ID, bundle()?, null())?;
                // Its end is this program's to collect.
                container.start().inspect_err(|_| drop(container.wait()))?;
            }
            "run" => drop(runtime.run_with(ID, bundle()?, null())?),
            "start" => runtime.container(ID)?.start()?,
            "delete" => drop(runtime.container(ID)?.delete()?),
            "delete-force" => drop(runtime.container(ID)?.delete_force()?),
            "exec" => {
                let container = runtime.container(ID)?;
                let process = container.spec()?.process().clone().expect("a process");
                let options = ExecOptions::new().stdio(ContainerStdio::null());
                drop(container.exec(&process, options)?);
            }
            other => panic!("no scenario {other}"),
        }
        Ok(())
    };
    match act() {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            eprintln!("{error}");
            // What is left of init is this program's to collect, not a subreaper's.
            let children = children();
            eprintln!("children: {children:?}");
            std::process::exit(if children.is_empty() { 3 } else { 4 });
        }
    }
}
