//! A process's terminal.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::fcntl_dupfd_cloexec;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType,
    recvmsg, socketpair,
};
use rustix::termios::{Winsize, isatty, tcsetwinsize};

use super::pump::{Pump, Sink};
use super::{non_blocking, readable_within};
use crate::failure::{Code, During, Failure, Result};

/// The library sends the master before it returns.
const PATIENCE: Duration = Duration::from_secs(10);

/// A process's terminal.
#[derive(Debug)]
pub(super) enum Terminal {
    /// The process isn't there yet.
    Awaited {
        socket: OwnedFd,
        input: Option<OwnedFd>,
        output: Sink,
    },
    Attached {
        master: OwnedFd,
    },
    Lost,
}

impl Terminal {
    /// A terminal to come, and the socket that its master is to be sent to.
    pub(super) fn new(input: Option<OwnedFd>, output: Sink) -> Result<(Self, OwnedFd)> {
        let (socket, theirs) =
            socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
                .during("make the console's socket")?;
        Ok((Self::Awaited { socket, input, output }, theirs))
    }

    /// Takes the master that was sent.
    pub(super) fn attach(&mut self) -> Result<Vec<Pump>> {
        let Self::Awaited { socket, input, output } = std::mem::replace(self, Self::Lost) else {
            return Err(Failure::new(Code::FailedPrecondition, "the terminal was taken already"));
        };
        let master = receive(&socket).and_then(non_blocking).during("receive the terminal")?;
        // Each gets a descriptor of its own: epoll(7) knows them by descriptor and open file.
        let clone = || fcntl_dupfd_cloexec(&master, 0).during("duplicate the terminal's master");
        let mut pumps = vec![Pump::terminal(clone()?, output)];
        if let Some(input) = input {
            pumps.push(Pump::input(input, clone()?));
        }
        *self = Self::Attached { master };
        Ok(pumps)
    }

    pub(super) fn resize(&self, width: u16, height: u16) -> Result<()> {
        let Self::Attached { master } = self else {
            return Err(Failure::new(Code::FailedPrecondition, "the process has no terminal yet"));
        };
        let size = Winsize { ws_col: width, ws_row: height, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(master, size).during("resize the terminal")
    }
}

/// Takes one descriptor, which must be a terminal.
fn receive(socket: &OwnedFd) -> Result<OwnedFd> {
    if !readable_within(socket, PATIENCE)? {
        return Err(Failure::new(Code::DeadlineExceeded, "none was sent"));
    }
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 64]; // the slave's, which nobody asks for
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    recvmsg(socket, &mut [IoSliceMut::new(&mut name)], &mut control, flags)?;
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received
        .filter(|master| isatty(master.as_fd()))
        .ok_or_else(|| Failure::new(Code::Unknown, "what was sent is no terminal"))
}
