//! The process that serves.

use std::env;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use super::request::Request;
use crate::failure::{During, Result};

/// A server that was started. Dropped, it is killed.
#[derive(Debug)]
pub(super) struct Server(Option<Child>);

impl Server {
    /// Executes this program again, in the same directory, as the server of `listener`.
    ///
    /// The socket becomes its standard input, as inetd(8) does it: so nothing has to run between fork
    /// and exec, and it is one vfork. It gets a process group of its own, so that a signal to
    /// containerd's doesn't reach it.
    pub(super) fn spawn(request: &Request, listener: &impl AsFd) -> Result<Self> {
        let listener: BorrowedFd<'_> = listener.as_fd();
        let listener = listener.try_clone_to_owned().during("hand over the socket")?;
        // The file may have been replaced meanwhile; its name is for who looks at a list of processes.
        let mut command = Command::new("/proc/self/exe");
        if let Ok(name) = env::current_exe() {
            command.arg0(name);
        }
        command.args(["-namespace", &request.namespace, "-id", &request.id]);
        command.args(["-address", &request.address]);
        if request.debug {
            command.arg("-debug");
        }
        if let Some(address) = &request.ttrpc_address {
            command.env("TTRPC_ADDRESS", address);
        }
        command.stdin(listener).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        Ok(Self(Some(command.spawn().during("start the shim")?)))
    }

    /// It is on its own from here on.
    pub(super) fn keep(mut self) {
        self.0 = None;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
