//! The runner itself: bad input, and that nothing of what it runs stays.

#![cfg(test)]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

const RUNNER: &str = env!("CARGO_BIN_EXE_hoist-conformance");

/// A directory that is gone in the end; it is the runner's cache, too.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("hoist-runner-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&path).expect("a directory");
        Self(path)
    }

    fn runner(&self) -> Command {
        let mut command = Command::new(RUNNER);
        command.env("HOIST_CACHE", &self.0).stdin(Stdio::null());
        command
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Nobody but root makes containers; CI is root.
fn is_root(name: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        let line = format!("SKIP {name}: needs root");
        println!("{line}");
        if let Some(path) = std::env::var_os("HOIST_SKIPS") {
            let file = std::fs::File::options().append(true).create(true).open(path);
            use std::io::Write;
            writeln!(file.expect("HOIST_SKIPS"), "{line}").expect("HOIST_SKIPS");
        }
    }
    root
}

/// One clear line, and the status for bad input.
fn refused(mut command: Command, words: &str) {
    let output: Output = command.output().expect("the runner");
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{command:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{command:?}: {text}");
    assert!(text.contains(words), "{command:?}: {text} lacks {words:?}");
}

#[test]
fn mistakes_on_the_command_line() {
    let directory = Directory::new("mistakes");
    for (arguments, words) in [
        (&["walk"] as &[_], "there is no command \"walk\""),
        (
            &["run", "oki"],
            "there is no suite \"oki\"; there are oci, runc, hoist, containerd, docker, vm",
        ),
        (
            &["run", "--environment", "moon"],
            "there is no environment \"moon\"; there are host, hybrid",
        ),
        (&["run", "--machines", "0"], "not a number from 1 to 16"),
        (&["run", "--runtime"], "--runtime"),
        (&["run", "--frobnicate"], "--frobnicate"),
        (&["report", "now"], "\"now\" is one word too many"),
        (&["report"], "no results are kept yet"),
    ] {
        let mut command = directory.runner();
        command.args(arguments);
        refused(command, words);
    }
}

#[test]
fn runtimes_that_are_none() {
    if !is_root("runtimes_that_are_none") {
        return;
    }
    let directory = Directory::new("runtimes");
    let plain = directory.0.join("plain");
    std::fs::write(&plain, "#!/bin/sh\necho runc version 1\n").expect("a script");
    for (path, words) in [
        ("/bin/true", "/bin/true is no OCI runtime: `--version` doesn't tell"),
        ("/nowhere/runc", "the runtime /nowhere/runc: No such file"),
        ("/tmp", "the runtime /tmp: no executable file"),
        (plain.to_str().expect("UTF-8"), "no executable file"),
    ] {
        let mut command = directory.runner();
        command.args(["run", "oci", "--runtime", path]);
        refused(command, words);
    }
}

#[test]
fn a_user_who_is_not_root() {
    if !is_root("a_user_who_is_not_root") {
        return;
    }
    let directory = Directory::new("user");
    let mut command = Command::new("unshare");
    command.args(["--user", RUNNER, "run", "oci"]).env("HOIST_CACHE", &directory.0);
    refused(command, "needs root: containers, mounts and cgroups are made here");
}

/// A job as the runner hands it to a supervisor.
fn job(directory: &Directory, script: &str, limit: u64, terminal: bool) -> String {
    serde_json::json!({
        "arguments": ["sh", "-c", script],
        "directory": directory.0,
        "variables": {"DIRECTORY": directory.0},
        "terminal": terminal,
        "limit": limit,
        "cgroups": ["hoist-runner-*"],
        "output": directory.0.join("output"),
    })
    .to_string()
}

fn supervise(directory: &Directory, job: &str) -> serde_json::Value {
    let mut command = Command::new("unshare");
    command.args(["--mount", RUNNER, "view", "host", "--", RUNNER, "supervise", job]);
    command.env("HOIST_CACHE", &directory.0);
    let output = command.output().expect("a supervisor");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON")
}

/// The process whose number a job has written down.
fn number(directory: &Directory) -> u32 {
    let path = directory.0.join("pid");
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        if let (Ok(pid), true) = (text.trim().parse(), text.ends_with('\n')) {
            return pid;
        }
        assert!(Instant::now() < end, "the job has written no number");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn lives(pid: u32) -> bool {
    Path::new("/proc").join(pid.to_string()).exists()
}

/// What runs on, in a session of its own, when its parent has ended.
const LEAVES_A_PROCESS: &str = "setsid sh -c 'echo $$ > $DIRECTORY/pid; exec sleep 1000' & while [ ! -s $DIRECTORY/pid ]; do :; done; exit 3";

#[test]
fn what_a_job_leaves_is_gone() {
    if !is_root("what_a_job_leaves_is_gone") {
        return;
    }
    let directory = Directory::new("leaves");
    let cgroup =
        std::fs::read_dir("/sys/fs/cgroup").expect("cgroups").flatten().find_map(|entry| {
            // Any hierarchy will do.
            entry.path().join("cgroup.procs").exists().then(|| entry.path())
        });
    let cgroup = cgroup.unwrap_or_else(|| "/sys/fs/cgroup".into());
    let cgroup = cgroup.join(format!("hoist-runner-{}", std::process::id()));
    let mount = directory.0.join("mount");
    std::fs::create_dir(&mount).expect("a directory");
    let script = format!(
        "mkdir {}; mount -t tmpfs leak {}; {LEAVES_A_PROCESS}",
        cgroup.display(),
        mount.display()
    );
    let ended = supervise(&directory, &job(&directory, &script, 60, false));
    assert_eq!(ended["status"], 3, "{ended}");
    assert_eq!(ended["timed_out"], false, "{ended}");
    assert!(!lives(number(&directory)), "{ended}");
    assert!(!cgroup.exists(), "{ended}");
    let leaks = ended["leaks"].to_string();
    assert!(leaks.contains("(sleep)") && leaks.contains("hoist-runner-"), "{ended}");
    // Its mount namespace is gone with it.
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("mounts");
    assert!(!mounts.contains(mount.to_str().expect("UTF-8")));
}

#[test]
fn a_job_that_takes_too_long() {
    if !is_root("a_job_that_takes_too_long") {
        return;
    }
    let directory = Directory::new("long");
    let ended = supervise(&directory, &job(&directory, "echo $$ > pid; exec sleep 1000", 1, true));
    assert_eq!(ended["timed_out"], true, "{ended}");
    assert!(!lives(number(&directory)), "{ended}");
    let output = std::fs::read_to_string(directory.0.join("output")).expect("output");
    assert!(output.contains("the time is over"), "{output}");
}

#[test]
fn a_job_can_be_ended_kindly() {
    if !is_root("a_job_can_be_ended_kindly") {
        return;
    }
    let directory = Directory::new("kindly");
    let script = "exec grep SigBlk /proc/self/status >said";
    let ended = supervise(&directory, &job(&directory, script, 60, false));
    assert_eq!(ended["status"], 0, "{ended}");
    let said = std::fs::read_to_string(directory.0.join("said")).expect("said");
    let blocked = said.trim().rsplit('\t').next().map(|mask| u64::from_str_radix(mask, 16));
    // SIGHUP, SIGINT, SIGTERM: the supervisor has these blocked for itself.
    assert_eq!(blocked.expect("a mask").expect(&said) & 0x4003, 0, "{said}");
}

#[test]
fn a_job_has_a_terminal() {
    if !is_root("a_job_has_a_terminal") {
        return;
    }
    let directory = Directory::new("terminal");
    let script = "test -t 0 && test -t 1 && echo from /dev/tty > /dev/tty && stty size";
    let ended = supervise(&directory, &job(&directory, script, 60, true));
    assert_eq!(ended["status"], 0, "{ended}");
    let output = std::fs::read_to_string(directory.0.join("output")).expect("output");
    assert_eq!(output, "from /dev/tty\n24 200\n");
}

#[test]
fn the_runner_is_killed() {
    if !is_root("the_runner_is_killed") {
        return;
    }
    let directory = Directory::new("killed");
    let script = format!("{LEAVES_A_PROCESS}; sleep 1000").replace("exit 3", "true");
    let mut runner = Command::new("sh")
        .args([
            "-c",
            "\"$@\" & wait",
            "sh",
            RUNNER,
            "supervise",
            &job(&directory, &script, 60, false),
        ])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("a runner");
    let pid = number(&directory);
    assert!(lives(pid));
    runner.kill().expect("SIGKILL");
    runner.wait().expect("its end");
    let end = Instant::now() + Duration::from_secs(30);
    while lives(pid) {
        assert!(Instant::now() < end, "process {pid} lives on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn clean_leaves_what_is_not_ours() {
    if !is_root("clean_leaves_what_is_not_ours") {
        return;
    }
    let directory = Directory::new("clean");
    for name in ["mine", "oci/bundle", "outputs/a", ".runc.work"] {
        std::fs::create_dir_all(directory.0.join(name)).expect("a directory");
    }
    std::os::unix::fs::symlink("mine", directory.0.join("runc")).expect("a link");
    assert!(directory.runner().arg("clean").status().expect("the runner").success());
    let left = std::fs::read_dir(&directory.0).expect("a directory").flatten();
    let left: Vec<_> = left.map(|entry| entry.file_name()).collect();
    assert_eq!(left, ["mine"]);
}

#[test]
fn help_names_everything() {
    let output = Command::new(RUNNER).arg("--help").output().expect("the runner");
    let text = String::from_utf8_lossy(&output.stdout);
    for word in ["oci", "runc", "hoist", "hybrid", "unified", "vm-systemd", "--runtime", "vm shell"]
    {
        assert!(text.contains(word), "{word}: {text}");
    }
    assert!(output.status.success());
}
