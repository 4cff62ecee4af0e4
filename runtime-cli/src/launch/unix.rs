//! Unix sockets: connecting, and passing descriptors.

use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, recvmsg, sendmsg,
};

use crate::failure::{Context, Result};

/// The longest path that fits into a socket's address, unix(7).
const LONGEST: usize = 107;

/// Connects to a stream socket.
pub(super) fn connect(path: &Path) -> Result<OwnedFd> {
    at_short_path(path, |path| UnixStream::connect(path))
        .map(OwnedFd::from)
        .context(format_args!("connect to {}", path.display()))
}

/// Calls `action` with a path for `path` that fits into a socket's address: below a descriptor of
/// its directory where `path` itself is too long. Engines have long paths.
pub(crate) fn at_short_path<T>(
    path: &Path,
    action: impl FnOnce(&Path) -> io::Result<T>,
) -> io::Result<T> {
    if path.as_os_str().len() <= LONGEST {
        return action(path);
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Errno::INVAL.into());
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let directory = rustix::fs::open(directory, flags, Mode::empty())?;
    let number = std::os::fd::AsRawFd::as_raw_fd(&directory);
    action(&PathBuf::from(format!("/proc/self/fd/{number}")).join(name))
}

/// Sends a descriptor with a message that says what it is.
pub(super) fn send_descriptor(
    socket: impl AsFd,
    descriptor: BorrowedFd<'_>,
    message: &str,
) -> rustix::io::Result<()> {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let text = [IoSlice::new(message.as_bytes())];
    sendmsg(socket, &text, &mut control, SendFlags::NOSIGNAL).map(drop)
}

/// Takes a descriptor that has been sent already.
pub(super) fn receive_descriptor(socket: impl AsFd) -> rustix::io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut text = [0; 4096]; // its name, which nobody asks for
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut [IoSliceMut::new(&mut text)], &mut control, flags)?;
    control
        .drain()
        .find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        })
        .ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixListener;

    use super::*;

    #[test]
    fn a_descriptor_arrives() {
        let (a, b) = UnixStream::pair().unwrap();
        assert_eq!(receive_descriptor(&b).unwrap_err(), Errno::AGAIN);
        let file = std::fs::File::open("/dev/null").unwrap();
        send_descriptor(&a, file.as_fd(), "null").unwrap();
        let got = receive_descriptor(&b).unwrap();
        let (sent, got) = (rustix::fs::fstat(&file).unwrap(), rustix::fs::fstat(&got).unwrap());
        assert_eq!((sent.st_ino, sent.st_rdev), (got.st_ino, got.st_rdev));
        std::io::Write::write_all(&mut &a, b"no descriptor").unwrap();
        assert_eq!(receive_descriptor(&b).unwrap_err(), Errno::BADMSG);
    }

    #[test]
    fn long_paths_can_be_connected_to() {
        let root = std::env::temp_dir().join(format!("hoist-unix-{}", std::process::id()));
        let directory = root.join("d".repeat(200));
        std::fs::create_dir_all(&directory).unwrap();
        let path = directory.join("socket");
        let listener = at_short_path(&path, |path| UnixListener::bind(path)).unwrap();
        connect(&path).unwrap();
        listener.accept().unwrap();
        std::fs::remove_dir_all(&root).unwrap();
    }
}
