//! Who gets the master end of a process's terminal.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};

use super::unix::{connect, receive_descriptor};
use crate::failure::{Context, Failure, Result};

/// Who gets the master end of a process's terminal.
#[derive(Debug)]
pub(crate) enum Console {
    /// There is no terminal.
    None,
    /// Whoever listens on `--console-socket`.
    Other(Option<OwnedFd>),
    /// This program.
    Own { ours: OwnedFd, theirs: Option<OwnedFd> },
}

impl Console {
    /// `detach`: nobody here stays with the process. The texts are those of runc, which callers
    /// may look for.
    pub(super) fn new(terminal: bool, detach: bool, socket: Option<&Path>) -> Result<Self> {
        match (terminal, detach, socket) {
            (true, true, Some(path)) => Ok(Self::Other(Some(connect(path)?))),
            (true, true, None) => Err(Failure::new(
                "cannot allocate tty if runc will detach without setting console socket",
            )),
            (_, _, Some(_)) => Err(Failure::new(
                "cannot use console socket if runc will not detach or allocate tty",
            )),
            (true, false, None) => {
                let kind = SocketType::STREAM;
                let (ours, theirs) =
                    socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None)
                        .context("make the console's socket")?;
                Ok(Self::Own { ours, theirs: Some(theirs) })
            }
            (false, _, None) => Ok(Self::None),
        }
    }

    pub(super) fn is_own(&self) -> bool {
        matches!(self, Self::Own { .. })
    }

    /// The socket that the master is to be sent to; the caller's from now on.
    pub(super) fn take_socket(&mut self) -> Option<OwnedFd> {
        match self {
            Self::None => None,
            Self::Other(socket) | Self::Own { theirs: socket, .. } => socket.take(),
        }
    }

    pub(super) fn receive(&self) -> Result<Option<OwnedFd>> {
        match self {
            Self::Own { ours, .. } => {
                receive_descriptor(ours).map(Some).context("receive the terminal")
            }
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(terminal: bool, detach: bool, socket: Option<&str>) -> String {
        let failure = Console::new(terminal, detach, socket.map(Path::new)).unwrap_err();
        failure.message().unwrap().to_owned()
    }

    #[test]
    fn a_terminal_needs_an_owner() {
        assert!(matches!(Console::new(false, true, None), Ok(Console::None)));
        assert!(matches!(Console::new(false, false, None), Ok(Console::None)));
        assert!(Console::new(true, false, None).unwrap().is_own());
        assert_eq!(
            refusal(true, true, None),
            "cannot allocate tty if runc will detach without setting console socket"
        );
        for (terminal, detach) in [(false, false), (false, true), (true, false)] {
            assert_eq!(
                refusal(terminal, detach, Some("/s")),
                "cannot use console socket if runc will not detach or allocate tty"
            );
        }
        assert_eq!(
            refusal(true, true, Some("/nonexistent/s")),
            "connect to /nonexistent/s: no such file or directory"
        );
    }
}
