//! sd_notify(3) for containers, as runc does it.
//!
//! systemd listens on the socket that `$NOTIFY_SOCKET` names, and attributes a message by its
//! sender's pid. So the container gets a socket of its own, in a directory that is mounted there,
//! and this program passes on READY in its own name, with the pid that systemd is to watch.

use std::fs;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use oci_spec::runtime::{Mount, Process, Spec};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::failure::{Context, Result};
use crate::launch::at_short_path;
use crate::log::Log;

/// Where the directory is in the container.
const INSIDE: &str = "/run/notify";
const NAME: &str = "notify.sock";
/// Below the state directory, beside the containers: none can have this name.
const OUTSIDE: &str = "@notify";

/// The directory of the container's socket.
pub(crate) fn directory(root: &Path, id: &str) -> PathBuf {
    root.join(OUTSIDE).join(id)
}

/// Whether systemd wants to be notified.
pub(crate) fn is_wanted() -> bool {
    host_socket().is_some()
}

fn host_socket() -> Option<PathBuf> {
    std::env::var_os("NOTIFY_SOCKET").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Makes the directory, and lets the container have it.
pub(crate) fn prepare(directory: &Path, spec: &mut Spec) -> Result<()> {
    fs::create_dir_all(directory)
        .and_then(|()| fs::set_permissions(directory, fs::Permissions::from_mode(0o755)))
        .context(format_args!("make {}", directory.display()))?;
    let mut mount = Mount::default();
    let options = ["bind", "nosuid", "noexec", "nodev", "ro"].map(str::to_owned);
    mount
        .set_destination(INSIDE.into())
        .set_source(Some(directory.to_owned()))
        .set_typ(None)
        .set_options(Some(options.into()));
    let mut mounts = spec.mounts().clone().unwrap_or_default();
    mounts.push(mount);
    spec.set_mounts(Some(mounts));
    let mut process: Process = spec.process().clone().unwrap_or_default();
    let mut environment = process.env().clone().unwrap_or_default();
    environment.push(format!("NOTIFY_SOCKET={INSIDE}/{NAME}"));
    process.set_env(Some(environment));
    spec.set_process(Some(process));
    Ok(())
}

/// Removes what [`prepare`] and [`Relay::bind`] left. Most containers have nothing there.
pub(crate) fn remove(directory: &Path) {
    if fs::remove_dir(directory).is_err_and(|error| error.kind() != io::ErrorKind::NotFound) {
        let _ = fs::remove_file(directory.join(NAME)).and_then(|()| fs::remove_dir(directory));
    }
}

/// The container's socket, and the way from there to systemd.
#[derive(Debug)]
pub(crate) struct Relay {
    socket: UnixDatagram,
    host: UnixDatagram,
}

impl Relay {
    /// Binds the container's socket. `None` if systemd doesn't care, or the container was created
    /// when it did not.
    pub(crate) fn bind(directory: &Path) -> Result<Option<Self>> {
        let Some(host_path) = host_socket().filter(|_| directory.is_dir()) else {
            return Ok(None);
        };
        let path = directory.join(NAME);
        let socket = at_short_path(&path, |path| UnixDatagram::bind(path))
            .context(format_args!("bind {}", path.display()))?;
        // Whatever user the process is, it may write.
        fs::set_permissions(&path, fs::Permissions::from_mode(0o777))
            .context(format_args!("change the mode of {}", path.display()))?;
        socket.set_nonblocking(true).context("prepare the notify socket")?;
        let host = connect(&host_path)
            .context(format_args!("connect to $NOTIFY_SOCKET {}", host_path.display()))?;
        Ok(Some(Self { socket, host }))
    }

    /// Reads one message and passes READY on, with the pid that systemd is to watch; true once that
    /// is done.
    pub(crate) fn pass_on(&self, main_pid: u32, log: &Log) -> bool {
        let mut message = [0; 4096];
        let Ok(length) = self.socket.recv(&mut message) else { return false };
        let Some(ready) = ready(message.get(..length).unwrap_or_default()) else { return false };
        let passed = self.host.send(&ready).and_then(|_| {
            self.host.send(format!("MAINPID={main_pid}\n").as_bytes())?;
            self.barrier(log)
        });
        if let Err(error) = passed {
            log.warn(&format!("notify systemd: {}", crate::failure::plain(&error)));
        }
        true
    }

    /// Waits until the container is ready or its process has ended.
    pub(crate) fn wait(&self, process: BorrowedFd<'_>, main_pid: u32, log: &Log) -> Result<()> {
        loop {
            let mut polled = [
                PollFd::from_borrowed_fd(self.socket.as_fd(), PollFlags::IN),
                PollFd::from_borrowed_fd(process, PollFlags::IN),
            ];
            poll(&mut polled, None).context("poll")?;
            let [socket, process] = polled.map(|polled| !polled.revents().is_empty());
            if (socket && self.pass_on(main_pid, log)) || process {
                return Ok(());
            }
        }
    }

    /// Waits until systemd has read everything, sd_notify_barrier(3): it closes the descriptor
    /// that it is sent. Otherwise it may look at us when we are gone already.
    fn barrier(&self, log: &Log) -> io::Result<()> {
        let (ours, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
        let descriptors = [theirs.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        sendmsg(&self.host, &[IoSlice::new(b"BARRIER=1")], &mut control, SendFlags::NOSIGNAL)?;
        drop(theirs);
        let mut polled = [PollFd::new(&ours, PollFlags::IN)];
        if poll(&mut polled, Some(&Timespec { tv_sec: 30, tv_nsec: 0 }))? == 0 {
            log.warn("Timeout after waiting 30s for barrier. Ignored.");
        }
        Ok(())
    }
}

impl AsFd for Relay {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// The line of a message that says that the service is ready, ended by a newline.
fn ready(message: &[u8]) -> Option<Vec<u8>> {
    let line = message.split(|byte| *byte == b'\n').find(|line| line.starts_with(b"READY="))?;
    Some([line, b"\n"].concat())
}

fn connect(path: &Path) -> io::Result<UnixDatagram> {
    let socket = UnixDatagram::unbound()?;
    match path.as_os_str().as_bytes().strip_prefix(b"@") {
        Some(name) => socket.connect_addr(&SocketAddr::from_abstract_name(name)?)?,
        None => at_short_path(path, |path| socket.connect(path))?,
    }
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ready_is_passed_on() {
        assert_eq!(ready(b"READY=1"), Some(b"READY=1\n".to_vec()));
        assert_eq!(ready(b"STATUS=x\nREADY=1\nMAINPID=1\n"), Some(b"READY=1\n".to_vec()));
        assert_eq!(ready(b"STATUS=READY=1"), None);
        assert_eq!(ready(b""), None);
    }

    #[test]
    fn the_container_gets_the_directory() {
        let root = std::env::temp_dir().join(format!("hoist-notify-{}", std::process::id()));
        let directory = directory(&root, "id");
        let mut spec = Spec::default();
        let before = spec.mounts().as_ref().map_or(0, Vec::len);
        prepare(&directory, &mut spec).unwrap();
        let mounts = spec.mounts().as_ref().unwrap();
        assert_eq!(mounts.len(), before + 1);
        assert_eq!(mounts.last().unwrap().source().as_ref(), Some(&directory));
        let environment = spec.process().as_ref().unwrap().env().as_ref().unwrap();
        assert_eq!(environment.last().unwrap(), "NOTIFY_SOCKET=/run/notify/notify.sock");
        fs::write(directory.join(NAME), "").unwrap();
        remove(&directory);
        assert!(!directory.exists());
        remove(&directory);
        fs::remove_dir_all(&root).unwrap();
    }

    #[test]
    fn systemd_learns_of_it() {
        let root = std::env::temp_dir().join(format!("hoist-relay-{}", std::process::id()));
        fs::create_dir_all(&root).unwrap();
        let systemd = UnixDatagram::bind(root.join("systemd")).unwrap();
        let socket = UnixDatagram::bind(root.join(NAME)).unwrap();
        socket.set_nonblocking(true).unwrap();
        let host = connect(&root.join("systemd")).unwrap();
        let relay = Relay { socket, host };
        let inside = connect(&root.join(NAME)).unwrap();
        inside.send(b"STATUS=starting").unwrap();
        assert!(!relay.pass_on(42, &Log::stderr()));
        inside.send(b"READY=1\nSTATUS=up").unwrap();
        let reader = std::thread::spawn(move || {
            let mut got = Vec::new();
            for _ in 0..3 {
                let mut message = [0; 64];
                // The descriptor that comes with BARRIER is closed as nobody asks for it.
                let length = systemd.recv(&mut message).unwrap();
                got.push(String::from_utf8(message[..length].to_vec()).unwrap());
            }
            got
        });
        assert!(relay.pass_on(42, &Log::stderr()));
        assert_eq!(reader.join().unwrap(), ["READY=1\n", "MAINPID=42\n", "BARRIER=1"]);
        fs::remove_dir_all(&root).unwrap();
    }
}
