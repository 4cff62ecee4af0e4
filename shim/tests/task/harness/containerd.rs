//! The fake containerd: a directory, a namespace and an event service of its own. Dropping it ends
//! whatever is left of its shims and containers.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering};

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::shim::DeleteResponse;

use super::bundle::Bundle;
use super::events::Events;
use super::pipes::{Reader, make_fifo};
use super::{Shim, later, left, lock, skip};

/// The program under test.
fn shim_program() -> PathBuf {
    std::env::var_os("HOIST_TEST_SHIM")
        .unwrap_or_else(|| OsString::from(env!("CARGO_BIN_EXE_containerd-shim-hoist-v2")))
        .into()
}

/// Whether that is this project's. What containerd's own shim does differently, and wrongly, is
/// not asked of it.
pub(crate) fn ours() -> bool {
    shim_program().file_name().is_some_and(|name| name == "containerd-shim-hoist-v2")
}

pub(crate) struct Containerd {
    dir: PathBuf,
    name: String,
    pub(crate) events: Events,
    logs: Mutex<Vec<(String, Reader, File)>>,
    /// Of all shims: a killed one leaves its socket.
    sockets: Mutex<BTreeSet<String>>,
    open_umask: bool,
}

impl Containerd {
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
        let name = format!("shim-test-{}-{number}", std::process::id());
        let dir = std::env::temp_dir().join(&name);
        fs::create_dir_all(&dir).expect("a directory");
        make_root(&dir.join("root")).expect("make a root directory");
        let events = Events::listen(&dir.join("c.sock.ttrpc"));
        let (logs, sockets) = Default::default();
        Some(Self { dir, name, events, logs, sockets, open_umask: false })
    }

    /// The same; its shims' umask takes nothing from the modes of what they make.
    pub(crate) fn with_open_umask(mut self) -> Self {
        self.open_umask = true;
        self
    }

    /// The namespace, and the prefix of all cgroups.
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// What containers get as their root, by a bind mount.
    pub(crate) fn root(&self) -> PathBuf {
        self.dir.join("root")
    }

    /// A bundle as containerd prepares it.
    pub(crate) fn bundle(&self, id: &str, arguments: &[&str]) -> Bundle<'_> {
        Bundle::new(self, id, arguments)
    }

    /// A fifo of its own below this directory.
    pub(crate) fn fifo(&self, name: &str) -> PathBuf {
        let path = self.dir.join("fifos").join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        make_fifo(&path);
        path
    }

    fn command(&self, id: &str, bundle: &Path) -> Command {
        let mut command =
            Command::new(if self.open_umask { "/bin/sh".into() } else { shim_program() });
        if self.open_umask {
            // A process has one umask, and this one runs other tests.
            command.args(["-c", "umask 0; exec \"$0\" \"$@\""]).arg(shim_program());
        }
        let address = self.dir.join("c.sock");
        command
            .arg("-namespace")
            .arg(&self.name)
            .args(["-id", id, "-address"])
            .arg(&address)
            .args(["-publish-binary", "/bin/true"])
            .current_dir(bundle)
            .env("TTRPC_ADDRESS", self.dir.join("c.sock.ttrpc"))
            .env("GRPC_ADDRESS", &address)
            .env("NAMESPACE", &self.name)
            .env("MAX_SHIM_VERSION", "2")
            .stdin(Stdio::null());
        command
    }

    /// `start`, as containerd 1.7 does it: nothing on stdin. As there, both of its outputs are one
    /// pipe, which it must leave behind closed.
    pub(crate) fn start_shim(&self, id: &str, bundle: &Path) -> Shim {
        let log = bundle.join("log");
        if !log.exists() {
            make_fifo(&log);
            let (reader, keeper) = Reader::keep(&log);
            lock(&self.logs).push((id.to_owned(), reader, keeper));
        }
        let (mut output, writer) = std::io::pipe().expect("a pipe");
        let mut command = self.command(id, bundle);
        command.arg("start").stdout(writer.try_clone().expect("a descriptor")).stderr(writer);
        let mut child = command.spawn().expect("start the shim");
        drop(command);
        let said = later(move || {
            let mut text = String::new();
            output.read_to_string(&mut text).map(|_| text)
        });
        let said = said.get().expect("UTF-8");
        let status = child.wait().expect("wait");
        assert!(status.success(), "start: {status}: {said}");
        let (address, version) = read_start(&said);
        let shim = Shim::connect(&address, version, &self.name).expect("connect to the shim");
        lock(&self.sockets).insert(shim.socket().to_owned());
        shim
    }

    /// `delete`, which containerd executes after a shim's death.
    pub(crate) fn delete(&self, id: &str, bundle: &Path) -> DeleteResponse {
        let mut command = self.command(id, bundle);
        command.arg("-bundle").arg(bundle).arg("delete");
        let output = later(move || command.output()).get().expect("run delete");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "delete: {}: {stderr}", output.status);
        DeleteResponse::parse_from_bytes(&output.stdout).expect("decode what delete printed")
    }

    /// The same to be started otherwise, and where its errors go.
    pub(crate) fn delete_command(&self, id: &str, bundle: &Path) -> (Command, PathBuf) {
        let errors = self.dir.join("errors-of-delete");
        let mut command = self.command(id, bundle);
        command
            .arg("-bundle")
            .arg(bundle)
            .arg("delete")
            .stdout(Stdio::null())
            .stderr(File::create(&errors).expect("a file"));
        (command, errors)
    }

    /// What a container's shim has logged so far.
    pub(crate) fn log_of(&self, id: &str) -> String {
        let logs = lock(&self.logs);
        let of = logs.iter().filter(|(of, _, _)| of == id);
        of.map(|(_, log, _)| String::from_utf8_lossy(&log.so_far()).into_owned()).collect()
    }

    /// Removes a bundle: nothing of the container is wanted any more.
    pub(crate) fn remove(&self, bundle: &Bundle<'_>) {
        lock(&self.logs).retain(|(id, _, _)| *id != bundle.id);
        fs::remove_dir_all(bundle.dir()).expect("remove the bundle");
    }

    /// What is left of its containers and shims on the host.
    pub(crate) fn left(&self) -> Vec<String> {
        left::all(&self.name, &self.dir)
    }
}

/// JSON (containerd 1.7), or the bare address (before).
fn read_start(said: &str) -> (String, u32) {
    if !said.starts_with('{') {
        return (said.trim().to_owned(), 2);
    }
    let answer: serde_json::Value = serde_json::from_str(said).expect("JSON");
    assert_eq!(answer["protocol"], "ttrpc", "{said}");
    let version = answer["version"].as_u64().expect("a version").try_into().expect("a version");
    (answer["address"].as_str().expect("an address").to_owned(), version)
}

fn make_root(root: &Path) -> std::io::Result<()> {
    for directory in ["bin", "proc", "sys", "dev", "tmp", "etc", "run"] {
        fs::create_dir_all(root.join(directory))?;
    }
    let busybox = root.join("bin/busybox");
    fs::copy("/bin/busybox", &busybox)?;
    // Hard links: an absolute symlink would lead to the host's files, seen from outside.
    for name in
        ["sh", "true", "false", "sleep", "cat", "echo", "tail", "stty", "dd", "head", "kill"]
    {
        fs::hard_link(&busybox, root.join("bin").join(name))?;
    }
    fs::write(root.join("bin/no-program"), "")
}

impl Drop for Containerd {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for (id, log, _) in lock(&self.logs).iter() {
                let text = String::from_utf8_lossy(&log.so_far()).into_owned();
                let lines: Vec<&str> = text.lines().collect();
                for line in lines.iter().skip(lines.len().saturating_sub(20)) {
                    let _ = writeln!(std::io::stderr(), "shim of {id}: {line}");
                }
            }
        }
        self.events.die();
        left::clean(&self.name, &self.dir);
        for socket in lock(&self.sockets).iter() {
            let _ = fs::remove_file(socket);
        }
    }
}
