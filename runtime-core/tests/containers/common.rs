//! What every test needs: a bundle with a busybox userland, a state directory and a cgroup of its
//! own, and the certainty that nothing of it is left.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use hoist::{
    Bundle, Container, CreateOptions, DefaultSpec, ErrorKind, ExecOptions, ExitStatus, Process,
    Runtime, Signal, Stdio,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use serde_json::{Value, json};

/// How long a container's process may take before the test fails.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The programs of busybox that tests use.
const APPLETS: &[&str] = &[
    "[", "awk", "basename", "cat", "chmod", "chown", "cp", "cut", "date", "dd", "df", "dirname",
    "echo", "env", "expr", "false", "find", "grep", "head", "hostname", "id", "ifconfig", "ionice",
    "ip", "kill", "ln", "ls", "mkdir", "mkfifo", "mknod", "mktemp", "mount", "mv", "nice", "nohup",
    "printf", "ps", "pwd", "readlink", "realpath", "rm", "rmdir", "route", "sed", "seq", "setsid",
    "sh", "sleep", "sort", "stat", "stty", "sync", "sysctl", "tail", "tee", "test", "timeout",
    "touch", "tr", "true", "tty", "umount", "uname", "uniq", "wc", "which", "xargs",
];

/// Says that a test can't run here. The line goes past libtest's capture, and into the file that
/// `HOIST_SKIPS` names: `.ci/integration` counts them there.
pub(crate) fn skip(name: &str, reason: &str) {
    // Some tests run again with another view of the cgroup hierarchies.
    let view = std::env::var("HOIST_TEST_VIEW").map_or(String::new(), |view| view + "::");
    let line = format!("SKIP {view}{name}: {reason}\n");
    // Not eprint!, which libtest captures.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
    if let Some(path) = std::env::var_os("HOIST_SKIPS") {
        let file = fs::OpenOptions::new().append(true).create(true).open(path);
        let _ = file.and_then(|mut file| file.write_all(line.as_bytes()));
    }
}

/// The name of the running test.
pub(crate) fn test_name() -> String {
    std::thread::current().name().unwrap_or("test").to_owned()
}

/// Ends the test with a `SKIP` line.
#[macro_export]
macro_rules! skip {
    ($($reason:tt)*) => {{
        $crate::common::skip(&$crate::common::test_name(), &format!($($reason)*));
        return;
    }};
}

/// A [`Case`], or the end of the test where containers can't be made.
#[macro_export]
macro_rules! case {
    () => {
        match $crate::common::Case::new() {
            Ok(case) => case,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// A host that a container can be made on, or why not.
fn usable() -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("needs root".to_owned());
    }
    let effective = capabilities();
    if !effective.contains(rustix::thread::CapabilitySet::SYS_ADMIN) {
        return Err("needs CAP_SYS_ADMIN".to_owned());
    }
    busybox().map(drop)
}

/// This process's effective capabilities.
pub(crate) fn capabilities() -> rustix::thread::CapabilitySet {
    rustix::thread::capabilities(None)
        .map(|sets| sets.effective)
        .unwrap_or(rustix::thread::CapabilitySet::empty())
}

fn busybox() -> Result<&'static Path, String> {
    static FOUND: OnceLock<Option<PathBuf>> = OnceLock::new();
    let find =
        || ["/bin/busybox", "/usr/bin/busybox"].map(PathBuf::from).into_iter().find(|p| p.exists());
    FOUND.get_or_init(find).as_deref().ok_or_else(|| "needs busybox-static".to_owned())
}

/// One copy of busybox for all tests, which they link to: the host's own file never gets a second
/// name, so that nothing can change its owner or mode.
fn shared_busybox(base: &Path) -> PathBuf {
    static COPY: OnceLock<PathBuf> = OnceLock::new();
    let make = || {
        let keep = base.join("hoist-test-busybox");
        fs::create_dir_all(&keep).unwrap();
        let copy = keep.join(format!("busybox-{}", std::process::id()));
        // Copies of runs that are over.
        for entry in fs::read_dir(&keep).unwrap().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let pid = name.strip_prefix("busybox-").unwrap_or_default();
            if !Path::new("/proc").join(pid).exists() {
                let _ = fs::remove_file(entry.path());
            }
        }
        fs::copy(busybox().unwrap(), &copy).unwrap();
        fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
        copy
    };
    COPY.get_or_init(make).clone()
}

/// A directory for a root filesystem with busybox in it.
pub(crate) fn make_rootfs(rootfs: &Path) {
    for dir in ["bin", "dev", "etc", "proc", "root", "sys", "tmp", "var/empty"] {
        fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    let busybox = rootfs.join("bin/busybox");
    let copy = shared_busybox(Path::new("/tmp"));
    if fs::hard_link(&copy, &busybox).is_err() {
        fs::copy(&copy, &busybox).unwrap();
    }
    for applet in APPLETS {
        symlink("busybox", rootfs.join("bin").join(applet)).unwrap();
    }
    let passwd = "root:x:0:0:root:/root:/bin/sh\nuser:x:1000:1000::/home/user:/bin/sh\n";
    fs::write(rootfs.join("etc/passwd"), passwd).unwrap();
    fs::set_permissions(rootfs.join("tmp"), fs::Permissions::from_mode(0o1777)).unwrap();
}

/// A bundle, a state directory and a cgroup of a test's own. Dropping it leaves nothing, also
/// where the test failed.
pub(crate) struct Case {
    /// `/tmp/hoist-test-PID-N`: all that the test has on disk.
    pub(crate) dir: PathBuf,
    /// Its runtime.
    pub(crate) runtime: Runtime,
    /// The configuration, to be changed before the container is made.
    pub(crate) config: Value,
    /// The id of the container that [`Case::run`] makes.
    pub(crate) id: String,
    cgroup: String,
}

impl Case {
    /// See [`case!`].
    pub(crate) fn new() -> Result<Self, String> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        usable()?;
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("hoist-test-{}-{number}", std::process::id());
        let dir = Path::new("/tmp").join(&name);
        fs::create_dir(&dir).map_err(|e| format!("{}: {e}", dir.display()))?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)).unwrap();
        make_rootfs(&dir.join("rootfs"));
        let runtime = Runtime::builder().root(dir.join("state")).build().unwrap();
        let mut config: Value = serde_json::from_str(&DefaultSpec::default().json()).unwrap();
        config["process"]["terminal"] = json!(false);
        config["root"]["readonly"] = json!(false);
        config["linux"]["cgroupsPath"] = json!(format!("/{name}"));
        // Resources have tests of their own.
        config["linux"]["resources"] = json!({});
        let mut case = Self { dir, runtime, config, id: name.clone(), cgroup: name };
        case.mounts().retain(|mount| mount["type"] != "cgroup");
        Ok(case)
    }

    /// The root filesystem.
    pub(crate) fn rootfs(&self) -> PathBuf {
        self.dir.join("rootfs")
    }

    /// A fresh directory of the host's, outside of the root filesystem.
    pub(crate) fn host_dir(&self, name: &str) -> PathBuf {
        let dir = self.dir.join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    /// `process`.
    pub(crate) fn process(&mut self) -> &mut Value {
        &mut self.config["process"]
    }

    /// `linux`.
    pub(crate) fn linux(&mut self) -> &mut Value {
        &mut self.config["linux"]
    }

    /// `mounts`.
    pub(crate) fn mounts(&mut self) -> &mut Vec<Value> {
        self.config["mounts"].as_array_mut().unwrap()
    }

    /// Adds a mount.
    pub(crate) fn mount(&mut self, kind: &str, source: &str, destination: &str, options: &[&str]) {
        self.mounts().push(json!({
            "type": kind, "source": source, "destination": destination, "options": options,
        }));
    }

    /// Adds a bind mount.
    pub(crate) fn bind(&mut self, source: &Path, destination: &str, options: &[&str]) {
        self.mount("bind", source.to_str().unwrap(), destination, options);
    }

    /// `process.args` is a shell with this script.
    pub(crate) fn script(&mut self, script: &str) {
        self.process()["args"] = json!(["/bin/sh", "-c", script]);
    }

    /// Removes a namespace, so that the container shares the caller's.
    pub(crate) fn without_namespace(&mut self, kind: &str) {
        let list = self.linux()["namespaces"].as_array_mut().unwrap();
        list.retain(|namespace| namespace["type"] != kind);
    }

    /// A new namespace, or the one at `path`.
    pub(crate) fn namespace(&mut self, kind: &str, path: Option<&Path>) {
        self.without_namespace(kind);
        let list = self.linux()["namespaces"].as_array_mut().unwrap();
        list.push(match path {
            None => json!({"type": kind}),
            Some(path) => json!({"type": kind, "path": path}),
        });
    }

    /// A user namespace in which ids from 0 on are the host's from 100000 on; the root
    /// filesystem belongs to its root.
    pub(crate) fn user_namespace(&mut self) {
        self.namespace("user", None);
        let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
        self.linux()["uidMappings"] = map.clone();
        self.linux()["gidMappings"] = map;
        chown_tree(&self.rootfs(), 100_000);
    }

    /// All capabilities that this process has, in all sets but the inheritable and ambient ones.
    pub(crate) fn all_capabilities(&mut self) {
        let have = capabilities();
        let names: Vec<String> = caps::all()
            .into_iter()
            .filter(|cap| have.bits() & cap.bitmask() != 0)
            .map(|cap| cap.to_string())
            .collect();
        self.process()["capabilities"] =
            json!({"bounding": names, "effective": names, "permitted": names});
    }

    /// CAP_SYS_PTRACE beside the default's capabilities.
    pub(crate) fn may_trace(&mut self) {
        for set in ["bounding", "effective", "permitted"] {
            let set = &mut self.process()["capabilities"][set];
            set.as_array_mut().unwrap().push(json!("CAP_SYS_PTRACE"));
        }
    }

    /// The configuration as a bundle.
    pub(crate) fn bundle(&self) -> hoist::Result<Bundle> {
        Bundle::from_json(&self.dir, self.config.to_string())
    }

    /// Runs the container to its end and removes it.
    pub(crate) fn run(&self) -> hoist::Result<Output> {
        self.run_with(CreateOptions::new())
    }

    /// [`run`](Self::run) with options; stdio are pipes whatever they say.
    pub(crate) fn run_with(&self, options: CreateOptions) -> hoist::Result<Output> {
        let options = options.stdio(Stdio::piped());
        let mut container = self.runtime.run_with(&self.id, self.bundle()?, options)?;
        let readers = Readers::new(container.pipes());
        wait_for_exit(container.pidfd().unwrap());
        let exit = container.wait()?;
        let warnings = container.warnings().to_vec();
        assert_eq!(container.delete()?.len(), 0);
        Ok(readers.finish(exit, warnings))
    }

    /// Runs a script and returns what it writes; it must succeed.
    #[track_caller]
    pub(crate) fn sh(&mut self, script: &str) -> String {
        self.script(script);
        match self.run() {
            Ok(output) => output.success(),
            Err(error) => panic!("{error}"),
        }
    }

    /// The error of a container that can't be made.
    #[track_caller]
    pub(crate) fn fails(&self) -> hoist::Error {
        match self.run() {
            Ok(output) => panic!("no error but {output:?}"),
            Err(error) => {
                self.assert_nothing_left();
                error
            }
        }
    }

    /// Creates the container, waiting to be started.
    #[track_caller]
    pub(crate) fn create(&self) -> Container {
        self.create_with(CreateOptions::new().stdio(Stdio::null())).unwrap()
    }

    /// Creates the container, waiting to be started.
    pub(crate) fn create_with(&self, options: CreateOptions) -> hoist::Result<Container> {
        self.runtime.create_with(&self.id, self.bundle()?, options)
    }

    /// A container that runs until it is killed.
    #[track_caller]
    pub(crate) fn running(&mut self) -> Container {
        self.script("trap 'exit 0' TERM; while :; do sleep 1000 & wait $!; done");
        let options = CreateOptions::new().stdio(Stdio::null());
        self.runtime.run_with(&self.id, self.bundle().unwrap(), options).unwrap()
    }

    /// That neither state nor a cgroup is left of the container.
    #[track_caller]
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.runtime.list().unwrap(), Vec::<String>::new());
        assert_eq!(self.cgroups(), Vec::<PathBuf>::new());
    }

    /// The directories of the test's cgroup in all hierarchies.
    pub(crate) fn cgroups(&self) -> Vec<PathBuf> {
        let base = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(base).into_iter().flatten().flatten().map(|e| e.path());
        let directories = hierarchies.chain([base.to_owned()]).map(|path| path.join(&self.cgroup));
        let mut found: Vec<_> = directories.filter(|path| path.is_dir()).collect();
        // cpu and cpuacct may be two names of one hierarchy.
        found.sort();
        found
    }
}

impl Case {
    /// Where hoist is expected to refuse to make containers (`HOIST_REFUSED`, the conformance runner's
    /// environments of missing system calls), it touches nothing: not even the directory for their
    /// state is made.
    #[allow(clippy::print_stdout, reason = "it is a line of the test's own words")]
    fn tell_what_is_left(&self) {
        let state = self.dir.join("state");
        if std::env::var_os("HOIST_REFUSED").is_some() && state.exists() {
            println!("LEFT {}", state.display());
        }
    }
}

impl Drop for Case {
    fn drop(&mut self) {
        let failed = std::thread::panicking();
        self.tell_what_is_left();
        for id in self.runtime.list().unwrap_or_default() {
            if let Ok(container) = self.runtime.container(&id) {
                let _ = container.delete_force();
            }
        }
        // Without containers there is nothing in them; one that isn't empty stays and is seen.
        let cgroups = self.cgroups();
        cgroups.iter().for_each(|directory| remove_cgroups(directory));
        if let Err(reason) = remove_tree(&self.dir) {
            let line = format!("{}: {}: {reason}\n", test_name(), self.dir.display());
            let _ = std::io::stderr().lock().write_all(line.as_bytes());
            assert!(failed, "{line}");
        }
        assert!(failed || cgroups.is_empty(), "left behind: {cgroups:?}");
    }
}

/// Removes a cgroup and all below it, as far as nobody is there.
fn remove_cgroups(dir: &Path) {
    let below = fs::read_dir(dir).into_iter().flatten().flatten();
    for entry in below.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        remove_cgroups(&entry.path());
    }
    let _ = fs::remove_dir(dir);
}

/// Mounts at and below a directory in this mount namespace, the innermost last.
pub(crate) fn mounts_below(dir: &Path) -> Vec<PathBuf> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    points.filter(|point| point.starts_with(dir)).collect()
}

/// Removes a directory of a test, but nothing through a mount or a symbolic link.
pub(crate) fn remove_tree(dir: &Path) -> Result<(), String> {
    for mount in mounts_below(dir).iter().rev() {
        let flags = rustix::mount::UnmountFlags::DETACH | rustix::mount::UnmountFlags::NOFOLLOW;
        let _ = rustix::mount::unmount(mount, flags);
    }
    let mounts = mounts_below(dir);
    if !mounts.is_empty() {
        return Err(format!("still mounted: {mounts:?}"));
    }
    // It removes symbolic links and doesn't follow them.
    fs::remove_dir_all(dir).map_err(|e| e.to_string())
}

/// Gives a tree to a user of the host, links themselves included. The shared busybox stays root's.
pub(crate) fn chown_tree(dir: &Path, id: u32) {
    let own = |path: &Path| std::os::unix::fs::lchown(path, Some(id), Some(id)).unwrap();
    own(dir);
    for entry in fs::read_dir(dir).unwrap().flatten() {
        if entry.file_name() == "busybox" {
            continue;
        }
        match entry.file_type().unwrap().is_dir() {
            true => chown_tree(&entry.path(), id),
            false => own(&entry.path()),
        }
    }
}

/// Waits for a pidfd, or fails.
#[track_caller]
pub(crate) fn wait_for_exit(pidfd: std::os::fd::BorrowedFd<'_>) {
    assert!(ends_within(pidfd, PATIENCE), "the process has not ended within {PATIENCE:?}");
}

/// True if a process ends within some time.
pub(crate) fn ends_within(pidfd: std::os::fd::BorrowedFd<'_>, time: Duration) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let time = Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap(), tv_nsec: 0 };
    rustix::io::retry_on_intr(|| rustix::event::poll(&mut fds, Some(&time))).unwrap() > 0
}

/// Threads that read a process's output.
pub(crate) struct Readers(Vec<JoinHandle<String>>);

impl Readers {
    /// Closes the standard input and starts to read.
    pub(crate) fn new(pipes: &mut hoist::Pipes) -> Self {
        drop(pipes.stdin.take());
        Self([pipes.stdout.take(), pipes.stderr.take()].map(Self::start).into())
    }

    fn start(pipe: Option<File>) -> JoinHandle<String> {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            if let Some(mut pipe) = pipe {
                let _ = pipe.read_to_end(&mut bytes);
            }
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }

    /// What was read.
    pub(crate) fn finish(self, exit: ExitStatus, warnings: Vec<String>) -> Output {
        let mut texts = self.0.into_iter().map(|reader| reader.join().unwrap());
        let (stdout, stderr) = (texts.next().unwrap(), texts.next().unwrap());
        Output { exit, stdout, stderr, warnings }
    }
}

/// How a container's process ended and what it wrote.
#[derive(Debug)]
pub(crate) struct Output {
    /// How it ended.
    pub(crate) exit: ExitStatus,
    /// What it wrote.
    pub(crate) stdout: String,
    /// What it wrote.
    #[allow(dead_code, reason = "for the messages of failing tests")]
    pub(crate) stderr: String,
    /// What the library warned of.
    pub(crate) warnings: Vec<String>,
}

impl Output {
    /// The standard output of a process that succeeded.
    #[track_caller]
    pub(crate) fn success(self) -> String {
        assert!(self.exit.success(), "{self:?}");
        self.stdout
    }
}

/// Runs a process in a container and returns what it wrote.
#[track_caller]
pub(crate) fn exec(container: &Container, process: Value) -> Output {
    exec_with(container, process, ExecOptions::new()).unwrap()
}

/// [`exec`], that may fail.
pub(crate) fn exec_with(
    container: &Container,
    process: Value,
    options: ExecOptions,
) -> hoist::Result<Output> {
    let process = serde_json::from_value(process).unwrap();
    let mut process: Process = container.exec(&process, options.stdio(Stdio::piped()))?;
    let readers = Readers::new(process.pipes());
    wait_for_exit(process.as_fd());
    let warnings = process.warnings().to_vec();
    Ok(readers.finish(process.wait()?, warnings))
}

/// A process of root's that runs a shell script, for [`exec`].
pub(crate) fn sh_process(script: &str) -> Value {
    json!({
        "user": {"uid": 0, "gid": 0},
        "args": ["/bin/sh", "-c", script],
        "env": ["PATH=/bin"],
        "cwd": "/",
    })
}

/// The value of a field in `/proc/PID/status`.
#[track_caller]
pub(crate) fn status_field<'a>(status: &'a str, name: &str) -> &'a str {
    let line = status.lines().find(|line| line.split(':').next() == Some(name));
    line.and_then(|line| line.split_once(':')).map(|(_, value)| value.trim()).unwrap_or_else(|| {
        panic!("no {name} in:\n{status}");
    })
}

/// A line of `/proc/PID/mountinfo`, proc_pid_mountinfo(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MountLine {
    /// The root of the mount in its filesystem.
    pub(crate) root: String,
    /// Where it is mounted.
    pub(crate) point: String,
    /// The mount's options.
    pub(crate) options: Vec<String>,
    /// `shared:N`, `master:N`, `unbindable`.
    pub(crate) propagation: Vec<String>,
    /// The filesystem's type.
    pub(crate) kind: String,
    /// Its source.
    pub(crate) source: String,
    /// The superblock's options.
    pub(crate) superblock: Vec<String>,
}

impl MountLine {
    /// True if the mount has an option.
    pub(crate) fn has(&self, option: &str) -> bool {
        self.options.iter().any(|o| o == option)
    }
}

/// All lines of a mountinfo; other lines are passed over.
pub(crate) fn mountinfo(text: &str) -> Vec<MountLine> {
    let list = |text: &str| text.split(',').map(str::to_owned).collect::<Vec<_>>();
    let parse = |line: &str| {
        let (before, after) = line.split_once(" - ")?;
        let before: Vec<&str> = before.split(' ').collect();
        let after: Vec<&str> = after.split(' ').collect();
        Some(MountLine {
            root: before[3].to_owned(),
            point: before[4].to_owned(),
            options: list(before[5]),
            propagation: before[6..].iter().map(|s| (*s).to_owned()).collect(),
            kind: after[0].to_owned(),
            source: after[1].to_owned(),
            superblock: list(after[2]),
        })
    };
    text.lines().filter_map(parse).collect()
}

/// The topmost mount at a place.
#[track_caller]
pub(crate) fn mount_at(text: &str, point: &str) -> MountLine {
    let all = mountinfo(text);
    let found = all.into_iter().rfind(|mount| mount.point == point);
    found.unwrap_or_else(|| panic!("nothing is mounted at {point}:\n{text}"))
}

/// That an error names its culprit.
#[track_caller]
pub(crate) fn assert_error(error: &hoist::Error, kind: ErrorKind, pointer: &str, words: &str) {
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert_eq!(error.pointer().unwrap_or_default(), pointer, "{text}");
    assert!(text.contains(words), "{text}");
}

/// The place in `config.json` that an error names.
#[track_caller]
pub(crate) fn pointer_of(error: &hoist::Error) -> &str {
    error.pointer().unwrap_or_else(|| panic!("no place is named: {error}"))
}

/// That a call fails in this way.
#[track_caller]
pub(crate) fn assert_refused<T: std::fmt::Debug>(
    result: hoist::Result<T>,
    kind: ErrorKind,
    words: &str,
) {
    let error = result.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), kind, "{text}");
    assert!(text.contains(words), "{text}");
}

/// Kills and removes a container.
#[track_caller]
pub(crate) fn end(container: Container) {
    let _ = container.kill(Signal::KILL);
    container.delete_force().unwrap();
}

/// mount(8) on the host, below the test's own directory.
#[track_caller]
pub(crate) fn host_mount(arguments: &[&str]) {
    run_host("mount", arguments);
}

/// Runs a program of the host's; it must succeed.
#[track_caller]
pub(crate) fn run_host(program: &str, arguments: &[&str]) -> String {
    let output = std::process::Command::new(program).args(arguments).output().unwrap();
    assert!(output.status.success(), "{program} {arguments:?}: {output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}
