//! containerd, as far as the shim's commands know it, and a place of its own for each test.

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use prost::Message;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mount::{MountFlags, MountPropagationFlags, mount, mount_change};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

pub(crate) const SHIM: &str = env!("CARGO_BIN_EXE_containerd-shim-hoist-v2");
pub(crate) const CONTAINERD: &str = "/run/containerd/containerd.sock";

/// Some of containerd's messages, with the fields that are looked at here.
#[derive(Clone, PartialEq, Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Extension {
    #[prost(message, optional, tag = "1")]
    pub(crate) value: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BootstrapParams {
    #[prost(string, tag = "1")]
    pub(crate) instance_id: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(int32, tag = "3")]
    pub(crate) log_level: i32,
    #[prost(string, tag = "4")]
    pub(crate) containerd_version: String,
    #[prost(string, tag = "5")]
    pub(crate) containerd_ttrpc_address: String,
    #[prost(string, tag = "6")]
    pub(crate) containerd_grpc_address: String,
    #[prost(message, repeated, tag = "8")]
    pub(crate) extensions: Vec<Extension>,
    #[prost(string, optional, tag = "9")]
    pub(crate) socket_dir: Option<String>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct BootstrapResult {
    #[prost(int32, tag = "1")]
    pub(crate) version: i32,
    #[prost(string, tag = "2")]
    pub(crate) address: String,
    #[prost(string, tag = "3")]
    pub(crate) protocol: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct DeleteResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) exited_at: Option<Timestamp>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct RuntimeInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) options: Option<Any>,
    #[prost(message, optional, tag = "4")]
    pub(crate) features: Option<Any>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Options {
    #[prost(string, tag = "3")]
    pub(crate) shim_cgroup: String,
    #[prost(string, tag = "7")]
    pub(crate) root: String,
}

impl Options {
    pub(crate) fn any(&self) -> Any {
        Any { type_url: "containerd.runc.v1.Options".to_owned(), value: self.encode_to_vec() }
    }
}

/// A daemon's way to start a shim.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Daemon {
    V1_6,
    V1_7,
    V2_3,
}

/// A test's namespace of containerd, whose shims end with it.
pub(crate) struct Test {
    pub(crate) namespace: String,
}

pub(crate) fn test(name: &'static str, body: impl FnOnce(&Test) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        return skip(name, "needs root");
    }
    let thread = std::thread::spawn(move || {
        // SAFETY: the descriptor table stays shared.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).unwrap();
        mount("test", "/run", "tmpfs", MountFlags::empty(), None).unwrap();
        body(&Test { namespace: format!("{name}-{}", std::process::id()) });
    });
    if let Err(panic) = thread.join() {
        std::panic::resume_unwind(panic);
    }
}

pub(crate) fn skip(name: &str, reason: &str) {
    let line = format!("SKIP {name}: {reason}\n");
    eprint!("{line}");
    if let Some(list) = std::env::var_os("HOIST_SKIPS") {
        let mut list = fs::File::options().append(true).create(true).open(list).unwrap();
        list.write_all(line.as_bytes()).unwrap();
    }
}

impl Test {
    /// A bundle as the daemon leaves it: with the configuration and the log's fifo.
    pub(crate) fn bundle(&self, id: &str, config: &str) -> PathBuf {
        let bundle = Path::new("/run/containerd/io.containerd.runtime.v2.task").join(id);
        fs::create_dir_all(bundle.join("rootfs")).unwrap();
        fs::write(bundle.join("config.json"), config).unwrap();
        let (kind, mode) = (rustix::fs::FileType::Fifo, rustix::fs::Mode::RWXU);
        let _ = rustix::fs::mknodat(rustix::fs::CWD, bundle.join("log"), kind, mode, 0);
        bundle
    }

    pub(crate) fn command(&self, id: &str, bundle: &Path) -> Command {
        let mut command = Command::new(SHIM);
        command.args(["-namespace", &self.namespace, "-address", CONTAINERD]);
        command.args(["-publish-binary", "/usr/bin/containerd", "-id", id]);
        command.current_dir(bundle).env_remove("MAX_SHIM_VERSION").env_remove("SCHED_CORE");
        command.env("TTRPC_ADDRESS", "/run/containerd/containerd.sock.ttrpc");
        command
    }

    pub(crate) fn params(&self, id: &str) -> BootstrapParams {
        BootstrapParams {
            instance_id: id.to_owned(),
            namespace: self.namespace.clone(),
            containerd_version: "2.3.4".to_owned(),
            containerd_ttrpc_address: "/run/containerd/new.ttrpc".to_owned(),
            containerd_grpc_address: CONTAINERD.to_owned(),
            ..BootstrapParams::default()
        }
    }

    /// `start`, as the daemon does it.
    pub(crate) fn start_as(&self, daemon: Daemon, id: &str, bundle: &Path) -> Output {
        let mut command = self.command(id, bundle);
        if daemon != Daemon::V1_6 {
            command.env("MAX_SHIM_VERSION", "2");
        }
        command.arg("start");
        let options = Options { root: "/run/r".to_owned(), ..Options::default() }.any();
        output(
            command,
            &match daemon {
                Daemon::V1_6 => Vec::new(),
                Daemon::V1_7 => options.encode_to_vec(),
                Daemon::V2_3 => self.params(id).encode_to_vec(),
            },
        )
    }

    /// A start that has to succeed; the socket's path.
    pub(crate) fn start(&self, id: &str, bundle: &Path) -> PathBuf {
        socket_of(&self.start_as(Daemon::V1_6, id, bundle))
    }

    pub(crate) fn delete(&self, id: &str, bundle: &Path) -> Output {
        let mut command = self.command(id, bundle);
        command.arg("-bundle").arg(bundle).arg("delete");
        output(command, b"")
    }

    /// The path of the socket of a group of containers, by coreutils.
    pub(crate) fn socket(&self, group: &str) -> PathBuf {
        let mut command = Command::new("sha256sum");
        command.env("LC_ALL", "C");
        let text = format!("{CONTAINERD}/{}/{group}", self.namespace);
        let digest = output(command, text.as_bytes()).stdout;
        Path::new("/run/containerd/s").join(std::str::from_utf8(&digest[..64]).unwrap())
    }

    /// The processes that serve, of this test.
    pub(crate) fn servers(&self) -> Vec<Server> {
        let processes = fs::read_dir("/proc").unwrap();
        let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
        let servers = numbers.filter_map(|pid: i32| {
            // First the handle: what is read afterwards is of no later process of that number.
            let pidfd = pidfd_open(Pid::from_raw(pid)?, PidfdFlags::empty()).ok()?;
            if fs::read_link(format!("/proc/{pid}/exe")).ok()? != Path::new(SHIM) {
                return None;
            }
            // Right after its execve(2) it has no arguments yet, and when it has ended, none any more.
            let line = loop {
                let line = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
                if !line.is_empty() || ended(&pidfd, 0) {
                    break line;
                }
            };
            let arguments: Vec<&[u8]> = line.split(|byte| *byte == 0).collect();
            let ours = arguments.contains(&self.namespace.as_bytes());
            (ours && !arguments.contains(&b"start".as_slice())).then_some(Server { pid, pidfd })
        });
        servers.collect()
    }

    pub(crate) fn server(&self) -> Server {
        let mut servers = self.servers();
        assert_eq!(servers.len(), 1, "one shim serves");
        servers.remove(0)
    }

    /// Nothing serves, and no socket is there.
    pub(crate) fn assert_nothing_left(&self) {
        assert_eq!(self.servers().len(), 0, "a shim is left");
        let sockets = fs::read_dir("/run/containerd/s").map_or(0, Iterator::count);
        assert_eq!(sockets, 0, "a socket is left");
    }
}

impl Drop for Test {
    fn drop(&mut self) {
        drop(Servers(self));
    }
}

/// Ends the shims of a test, before what was made in front of it goes.
pub(crate) struct Servers<'a>(pub(crate) &'a Test);

impl Drop for Servers<'_> {
    fn drop(&mut self) {
        for server in self.0.servers() {
            server.kill();
        }
    }
}

/// A directory of the cgroup hierarchy, of a test's own, which goes with it.
pub(crate) struct Cgroup(pub(crate) PathBuf);

impl Drop for Cgroup {
    fn drop(&mut self) {
        // A process that has ended leaves its cgroup a moment later (cgroups(7)).
        let limit = Instant::now() + Duration::from_secs(10);
        while let Err(error) = fs::remove_dir(&self.0) {
            match error.kind() {
                ErrorKind::NotFound => break,
                ErrorKind::ResourceBusy if Instant::now() < limit => std::thread::yield_now(),
                // A second panic would end the process, and hide the first.
                _ => {
                    assert!(std::thread::panicking(), "remove {}: {error}", self.0.display());
                    break;
                }
            }
        }
    }
}

/// A container of the library's own, which goes with its test.
pub(crate) struct Container<'a>(pub(crate) &'a hoist::Runtime, pub(crate) &'static str);

impl Drop for Container<'_> {
    fn drop(&mut self) {
        // What has passed has removed it already.
        if let Ok(container) = self.0.container(self.1) {
            let _ = container.delete_force();
        }
    }
}

pub(crate) struct Server {
    pub(crate) pid: i32,
    pub(crate) pidfd: OwnedFd,
}

impl Server {
    pub(crate) fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
        assert!(ended(&self.pidfd, 10), "a killed shim ends");
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(format!("/proc/{}/{file}", self.pid)).unwrap()
    }

    pub(crate) fn link(&self, file: &str) -> PathBuf {
        fs::read_link(format!("/proc/{}/{file}", self.pid)).unwrap()
    }

    /// Waits until it has set itself up, the last part of which is its log.
    pub(crate) fn ready(self) -> Self {
        let log = || {
            let descriptors = fs::read_dir(format!("/proc/{}/fd", self.pid)).unwrap();
            let mut links = descriptors.filter_map(|entry| fs::read_link(entry.ok()?.path()).ok());
            links.any(|link| link.ends_with("log"))
        };
        let limit = Instant::now() + Duration::from_secs(30);
        while !log() {
            assert!(Instant::now() < limit, "the shim opens its log");
            std::thread::yield_now();
        }
        self
    }
}

pub(crate) fn ended(pidfd: &OwnedFd, seconds: i64) -> bool {
    let limit = Timespec { tv_sec: seconds, tv_nsec: 0 };
    poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&limit)) == Ok(1)
}

pub(crate) fn output(mut command: Command, input: &[u8]) -> Output {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // It may end without having read all of it.
    let _ = child.stdin.take().unwrap().write_all(input);
    child.wait_with_output().unwrap()
}

pub(crate) fn socket_of(output: &Output) -> PathBuf {
    assert_silent(output);
    let address = std::str::from_utf8(&output.stdout).unwrap();
    PathBuf::from(address.strip_prefix("unix://").unwrap())
}

/// It succeeded and there is not a byte on stderr, which containerd takes for a part of the answer.
pub(crate) fn assert_silent(output: &Output) {
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(output.status.code(), Some(0));
}

pub(crate) fn assert_failed(output: &Output, message: &str) {
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(error, format!("containerd-shim-hoist-v2: {message}\n"));
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"");
}
