//! What the integration tests share: bundles, and ways to call the program.

#![allow(dead_code, unreachable_pub, missing_docs, missing_debug_implementations)] // no test program uses all of it
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // clippy.toml allows these in tests, but does not take helpers of integration tests for such

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// The program under test. `HOIST_BIN` names it where these tests run away from the directory that
/// they were built in.
pub fn program() -> PathBuf {
    std::env::var_os("HOIST_BIN").map_or_else(|| env!("CARGO_BIN_EXE_hoist").into(), PathBuf::from)
}

/// A bundle with busybox, and a state directory of its own. Dropping it deletes the containers.
pub struct Bench {
    pub directory: PathBuf,
    /// Two ids. Cgroups are named after containers, and tests run side by side.
    pub a: String,
    pub b: String,
}

/// What containers need and a test machine may lack; prints why a test is skipped.
pub fn bench() -> Option<Bench> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    if !rustix::process::geteuid().is_root() {
        println!("SKIP: needs root");
        return None;
    }
    let mut candidates = ["/bin/busybox", "/usr/bin/busybox"].into_iter();
    let busybox = candidates.find(|path| fs::read(path).is_ok_and(|image| is_static(&image)));
    let Some(busybox) = busybox else {
        println!("SKIP: needs a static busybox (Debian: busybox-static)");
        return None;
    };
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!("hoist-cli-{}-{number}", std::process::id());
    let directory = std::env::temp_dir().join(&name);
    let bin = directory.join("bundle/rootfs/bin");
    fs::create_dir_all(&bin).unwrap();
    for point in ["dev", "proc", "sys", "tmp", "run", "etc"] {
        fs::create_dir(directory.join("bundle/rootfs").join(point)).unwrap();
    }
    fs::copy(busybox, bin.join("busybox")).unwrap();
    // Hard links: a symbolic link that is absolute would lead to the host's programs.
    for applet in
        ["sh", "true", "echo", "cat", "sleep", "id", "pwd", "stty", "readlink", "kill", "dd"]
    {
        fs::hard_link(bin.join("busybox"), bin.join(applet)).unwrap();
    }
    let [a, b] = ["a", "b"].map(|id| format!("{name}-{id}"));
    let bench = Bench { directory, a, b };
    assert_ok(&bench.hoist(&["spec", "--bundle", bench.bundle().to_str().unwrap()]));
    bench.configure(|config| config["process"]["terminal"] = json!(false));
    Some(bench)
}

/// Whether an ELF file has no interpreter (PT_INTERP): the libraries of one that has would be missing
/// in the container.
fn is_static(image: &[u8]) -> bool {
    let number = |at: usize, length: usize| {
        let bytes = image.get(at..at + length).unwrap_or_default();
        bytes.iter().rev().fold(0, |number, byte| number << 8 | usize::from(*byte))
    };
    let (table, size, count) = (number(32, 8), number(54, 2), number(56, 2));
    (0..count).all(|index| number(table + index * size, 4) != 3)
}

impl Bench {
    pub fn bundle(&self) -> PathBuf {
        self.directory.join("bundle")
    }

    pub fn path(&self, name: &str) -> String {
        self.directory.join(name).to_str().unwrap().to_owned()
    }

    pub fn configure(&self, change: impl FnOnce(&mut Value)) {
        let path = self.bundle().join("config.json");
        let mut config = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
        change(&mut config);
        fs::write(&path, serde_json::to_vec(&config).unwrap()).unwrap();
    }

    pub fn arguments(&self, arguments: &[&str]) {
        self.configure(|config| config["process"]["args"] = json!(arguments));
    }

    /// The program with the bench's state directory, in the bundle.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .arg("--root")
            .arg(self.directory.join("state"))
            .args(arguments)
            .current_dir(self.bundle())
            .env_remove("NOTIFY_SOCKET")
            .env_remove("LISTEN_FDS")
            .stdin(Stdio::null());
        command
    }

    /// `create` and `run --detach`: the container keeps the output, so there must be no pipe that
    /// the test reads to its end.
    #[track_caller]
    pub fn detached(&self, arguments: &[&str]) {
        let path = self.path("errors-of-detached");
        let errors = fs::File::create(&path).unwrap();
        let mut command = self.command(arguments);
        let status = command.stdout(Stdio::null()).stderr(errors).status().unwrap();
        let errors = fs::read_to_string(path).unwrap();
        assert!(status.success(), "{arguments:?}: {status}: {errors}");
    }

    /// Waits until the container runs that `child`, whose standard error is a pipe, is to start.
    #[track_caller]
    pub fn await_running(&self, child: &mut Child, id: &str) {
        eventually("the container runs", || {
            if let Some(status) = child.try_wait().unwrap() {
                let errors = child.stderr.take().map(std::io::read_to_string);
                panic!("{id}: {status}: {errors:?}");
            }
            self.hoist(&["state", id]).status.success() && self.status(id) == "running"
        });
    }

    pub fn hoist(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().unwrap()
    }

    pub fn status(&self, id: &str) -> String {
        let state = self.state(id);
        state["status"].as_str().unwrap().to_owned()
    }

    pub fn state(&self, id: &str) -> Value {
        let output = self.hoist(&["state", id]);
        assert_ok(&output);
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let ids = self.hoist(&["list", "--quiet"]);
        for id in String::from_utf8_lossy(&ids.stdout).lines() {
            self.hoist(&["delete", "--force", id]);
        }
        let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
        // What is mounted there would be the host's.
        if !mounts.contains(self.directory.to_str().unwrap()) {
            let _ = fs::remove_dir_all(&self.directory);
        }
    }
}

#[track_caller]
pub fn assert_ok(output: &Output) {
    assert!(output.status.success(), "{output:?}");
}

#[track_caller]
pub fn assert_fails(output: &Output, code: i32, message: &str) {
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    let errors = text(&output.stderr).replace("\\\"", "\""); // logrus quotes
    assert!(errors.contains(message), "{errors:?} does not contain {message:?}");
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Waits for something that another process does.
#[track_caller]
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

pub fn exists(path: impl AsRef<Path>) -> bool {
    path.as_ref().exists()
}
