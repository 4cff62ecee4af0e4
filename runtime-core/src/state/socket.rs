//! The start socket, `start.sock` in the container's directory: init listens on it between
//! `create` and `start`.

use std::os::fd::{AsFd, AsRawFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{ContainerDir, Locked};
use crate::error::{Error, ErrorKind, Result};

const NAME: &str = "start.sock";
/// More than one: a `start` that died has left its connection in the queue.
const BACKLOG: i32 = 16;

impl Locked {
    /// Makes the start socket: SOCK_SEQPACKET, bound and listening. The directory's mode is what
    /// keeps others away from it.
    pub(crate) fn listen(&self) -> Result<OwnedFd> {
        let fail = |errno| self.fail("listen on", NAME, errno);
        let socket = socket(SocketFlags::empty()).map_err(fail)?;
        rustix::net::bind(&socket, &address(self).map_err(fail)?).map_err(fail)?;
        rustix::net::listen(&socket, BACKLOG).map_err(fail)?;
        Ok(socket)
    }
}

impl ContainerDir {
    /// Connects to the start socket. The connection is non-blocking: poll it.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if no init listens: the container was started, or has died.
    pub(crate) fn connect(&self) -> Result<OwnedFd> {
        let fail = |errno| self.fail("connect to", NAME, errno);
        let socket = socket(SocketFlags::NONBLOCK).map_err(fail)?;
        let address = address(self).map_err(fail)?;
        match retry_on_intr(|| rustix::net::connect(&socket, &address)) {
            Ok(()) => Ok(socket),
            Err(Errno::NOENT | Errno::CONNREFUSED) => {
                Err(Error::new(ErrorKind::WrongState, "the container does not wait to be started"))
            }
            Err(errno) => Err(fail(errno)),
        }
    }
}

fn socket(flags: SocketFlags) -> rustix::io::Result<OwnedFd> {
    let flags = flags | SocketFlags::CLOEXEC;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
}

/// The socket's address, by way of the directory's descriptor. A socket's path has at most 107
/// bytes (unix(7)), which the state directory's own path may exceed, and changing the working
/// directory would change the caller's. `thread-self`, because a thread may have a descriptor
/// table of its own.
fn address(dir: &ContainerDir) -> rustix::io::Result<SocketAddrUnix> {
    SocketAddrUnix::new(format!("/proc/thread-self/fd/{}/{NAME}", dir.as_fd().as_raw_fd()))
}
