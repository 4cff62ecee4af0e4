//! What the tests of this directory share: bundles and state directories that go away with
//! everything in them, time limits, and what can't run here.
#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod deny;
pub(crate) mod points;
pub(crate) mod trace;
pub(crate) mod watchdog;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::symlink;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use hoist::{DefaultSpec, Runtime};
use serde_json::{Value, json};

/// A fresh cgroup2 in a mount namespace of its own, where there isn't one already: for [`again`].
pub(crate) const UNIFIED: &str = r#"exec unshare --mount sh -c '
    { [ -e /sys/fs/cgroup/cgroup.controllers ] || mount -t cgroup2 none /sys/fs/cgroup; } && exec "$@"' sh "$@""#;

/// Says that a test can't run here, and why.
pub(crate) fn skip(name: &str, reason: &str) {
    println!("SKIP {name}: {reason}");
    if let Some(path) = std::env::var_os("HOIST_SKIPS")
        && let Ok(mut file) = fs::OpenOptions::new().create(true).append(true).open(path)
    {
        let _ = writeln!(file, "SKIP {name}: {reason}");
    }
}

/// A directory of its own with a bundle and a place for state. Dropping it removes the
/// containers that are left, and then the directory.
#[derive(Debug)]
pub(crate) struct Lab {
    dir: PathBuf,
    name: String,
}

impl Lab {
    /// `None`, after a SKIP line, where containers can't be run.
    pub(crate) fn new(test: &str) -> Option<Self> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        if !rustix::process::geteuid().is_root() {
            skip(test, "needs root");
            return None;
        }
        if !Path::new("/bin/busybox").exists() {
            skip(test, "needs /bin/busybox (busybox-static)");
            return None;
        }
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("hoist-test-{}-{number}", std::process::id());
        let lab = Self { dir: std::env::temp_dir().join(&name), name };
        lab.make_bundle().expect("make a bundle");
        Some(lab)
    }

    fn make_bundle(&self) -> std::io::Result<()> {
        let root = self.rootfs();
        for directory in ["bin", "proc", "sys", "dev", "tmp", "etc"] {
            fs::create_dir_all(root.join(directory))?;
        }
        fs::copy("/bin/busybox", root.join("bin/busybox"))?;
        for name in ["sh", "true", "sleep", "cat", "echo"] {
            symlink("busybox", root.join("bin").join(name))?;
        }
        self.write_config(&self.config(&["sh", "-c", "read line"]));
        Ok(())
    }

    /// The prefix of all names: of ids, of cgroups, of the directory.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    pub(crate) fn bundle(&self) -> PathBuf {
        self.dir.join("bundle")
    }

    pub(crate) fn rootfs(&self) -> PathBuf {
        self.bundle().join("rootfs")
    }

    pub(crate) fn state_root(&self) -> PathBuf {
        self.dir.join("state")
    }

    pub(crate) fn runtime(&self) -> Runtime {
        Runtime::builder().root(self.state_root()).build().expect("a runtime")
    }

    /// The default configuration with these arguments, no terminal, and a cgroup of its own.
    pub(crate) fn config(&self, arguments: &[&str]) -> Value {
        let mut config: Value = serde_json::from_str(&DefaultSpec::default().json()).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(arguments);
        config["linux"]["cgroupsPath"] = json!(format!("/{}", self.name));
        config
    }

    pub(crate) fn write_config(&self, config: &Value) {
        let text = serde_json::to_vec(config).expect("JSON");
        fs::write(self.bundle().join("config.json"), text).expect("write config.json");
    }

    /// What is left of this lab's containers on the host: state, cgroups, mounts.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left: Vec<String> = Vec::new();
        let ids = self.runtime().list().expect("list");
        left.extend(ids.into_iter().map(|id| format!("state of {id}")));
        let cgroups = cgroups(&self.name);
        left.extend(cgroups.into_iter().map(|path| format!("cgroup {}", path.display())));
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").expect("mountinfo");
        let mounts = mountinfo.lines().filter(|line| line.contains(&self.name));
        left.extend(mounts.map(|line| format!("mount {line}")));
        left
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        let runtime = self.runtime();
        for id in runtime.list().unwrap_or_default() {
            let deleted = runtime.container(&id).and_then(hoist::Container::delete_force);
            if let Err(error) = deleted {
                eprintln!("clean up: {error}");
            }
        }
        for path in cgroups(&self.name) {
            let _ = fs::remove_dir(path);
        }
        let mountinfo = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        if mountinfo.contains(&self.name) {
            eprintln!("something is mounted below {}: not removed", self.dir.display());
        } else {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

/// Directories at the top of any cgroup hierarchy whose names begin so.
pub(crate) fn cgroups(prefix: &str) -> Vec<PathBuf> {
    let below = |dir: &Path| -> Vec<PathBuf> {
        let entries = fs::read_dir(dir).into_iter().flatten().flatten();
        entries.filter(|e| e.file_type().is_ok_and(|t| t.is_dir())).map(|e| e.path()).collect()
    };
    let mut dirs = below(Path::new("/sys/fs/cgroup"));
    dirs.extend(dirs.clone().iter().flat_map(|dir| below(dir)));
    dirs.retain(|dir| {
        dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(prefix))
    });
    dirs
}

/// This test program once more, to run just one of its `#[ignore]`d tests, on its main thread.
/// `through` is a shell script that ends in `exec "$@"`.
pub(crate) fn again(test: &str, through: &str) -> Command {
    // Not sh: dash doesn't ignore SIGCHLD when it is told to.
    let mut command = Command::new("bash");
    command
        .args(["-c", through, "bash"])
        .arg(std::env::current_exe().expect("this program's path"))
        .args(["--exact", test, "--ignored", "--nocapture", "--test-threads=1"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    command
}

/// What a program said and how it ended.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) status: ExitStatus,
    pub(crate) text: String,
}

impl Finished {
    /// Fails the test unless the one test that was asked for has passed.
    pub(crate) fn passed(&self) {
        assert!(
            self.status.success() && self.text.contains("1 passed"),
            "{:?}, signal {:?}:\n{}",
            self.status,
            self.status.signal(),
            self.text
        );
    }
}

/// Runs a program, and kills it with its process group when the time is over: a test that
/// hangs fails, it doesn't stop the others.
pub(crate) fn finish(mut command: Command, limit: Duration) -> Finished {
    let mut child = command.spawn().expect("start the program");
    let readers =
        [drain(child.stdout.take().expect("a pipe")), drain(child.stderr.take().expect("a pipe"))];
    let (status, late) = wait(&mut child, limit);
    let text: String =
        readers.map(|reader| reader.join().expect("a reader")).map(|t| t + "\n").concat();
    assert!(!late, "not done after {limit:?}:\n{text}");
    Finished { status, text }
}

fn drain(mut pipe: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = pipe.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

fn wait(child: &mut Child, limit: Duration) -> (ExitStatus, bool) {
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait().expect("wait") {
            return (status, false);
        }
        if Instant::now() > end {
            let group = rustix::process::Pid::from_child(child);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            return (child.wait().expect("wait"), true);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
