//! On the real kernel: [`hybrid`] as this machine is, [`unified`] in a mount namespace with
//! nothing but cgroup2. [`names`] needs neither.

mod hybrid;
mod names;
mod oom;
mod unified;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Pid;

use super::*;

/// Below which all cgroups of a test are, in each hierarchy.
fn scope(name: &str) -> String {
    format!("/hoist-test-{}-{name}", std::process::id())
}

/// Removes everything below a test's scope, whatever the test left there.
struct Cleanup<'a> {
    host: &'a Host,
    scope: String,
}

impl<'a> Cleanup<'a> {
    fn new(host: &'a Host, name: &str) -> Self {
        Self { host, scope: scope(name) }
    }

    fn paths(&self, below: &str) -> Paths {
        self.host.paths(Some(&format!("{}/{below}", self.scope)), "unused").unwrap()
    }
}

impl Drop for Cleanup<'_> {
    fn drop(&mut self) {
        let paths = self.host.paths(Some(&self.scope), "unused").unwrap();
        if let Ok(cgroup) = Cgroup::open(self.host, &paths) {
            let killed = cgroup.kill_all(crate::signal::Signal::KILL);
            let removed = cgroup.remove();
            if !std::thread::panicking() {
                killed.unwrap();
                removed.unwrap();
            }
        }
    }
}

/// A shell that waits for a line before it runs a script: time to put it into a cgroup.
struct Waiting(Child);

impl Waiting {
    fn new(script: &str) -> Self {
        let script = format!("read line; {script}");
        let mut command = Command::new("sh");
        command.args(["-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> Pid {
        Pid::from_raw(i32::try_from(self.0.id()).unwrap()).unwrap()
    }

    fn enter(self, cgroup: &Cgroup) -> Self {
        let pid = self.0.id().to_string();
        let placement = cgroup.placement().unwrap();
        let tasks: &[OwnedFd] = &placement.v1_tasks;
        for file in tasks {
            rustix::io::write(file, pid.as_bytes()).unwrap();
        }
        if let Some(dir) = &cgroup.unified {
            dir.write("cgroup.procs", &pid).unwrap();
        }
        self
    }

    fn go(mut self) -> Running {
        self.0.stdin.take().unwrap().write_all(b"go\n").unwrap();
        Running(self.0)
    }
}

struct Running(Child);

impl Running {
    fn output(self) -> String {
        let output = self.0.wait_with_output().unwrap();
        format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        )
    }

    /// The signal that ended it.
    fn signal(mut self) -> Option<i32> {
        std::os::unix::process::ExitStatusExt::signal(&self.0.wait().unwrap())
    }
}

/// `Char:1:5` and so on: what a process in this cgroup can open, as errno names.
fn probe_device(cgroup: &Cgroup, minor: u32) -> String {
    let node = std::env::temp_dir().join(format!("hoist-dev-{}-{minor}", std::process::id()));
    let _ = std::fs::remove_file(&node);
    let device = rustix::fs::makedev(1, minor);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &node,
        rustix::fs::FileType::CharacterDevice,
        mode,
        device,
    )
    .unwrap();
    let script = format!("(: < {}) && echo opened", node.display());
    let output = Waiting::new(&script).enter(cgroup).go().output();
    std::fs::remove_file(&node).unwrap();
    match output {
        output if output.contains("opened") => "opened".to_owned(),
        output if output.contains("not permitted") => "EPERM".to_owned(),
        output => output,
    }
}

fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !check() {
        assert!(Instant::now() < deadline, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn resources(json: serde_json::Value) -> oci_spec::runtime::LinuxResources {
    serde_json::from_value(json).unwrap()
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
