//! seccomp's user notification: the descriptor goes to the listener that the profile names
//! (runtime-spec config-linux.md, "The Container Process State").

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::process::PidfdGetfdFlags;
use serde_json::json;

use crate::error::{Error, ErrorKind, Result};
use crate::seccomp::{Filter, Notify};
use crate::spawn::report::Report;
use crate::spawn::send_descriptor;
use crate::sys::required::{self, PIDFD_GETFD};

/// Init's own bound is of this order (decision 0006).
const PATIENCE: Duration = Duration::from_secs(10);

/// A connected listener: the connection is made before init goes on, so that nothing can fail
/// once the filter is loaded.
#[derive(Debug)]
pub(crate) struct Listener {
    socket: OwnedFd,
    metadata: String,
}

impl Listener {
    /// Connects to the listener that a filter asks for, if it does. An agent may serve one
    /// connection after another, and wait for each one's descriptor: so a connection is made only
    /// when its process is about to load the filter.
    pub(crate) fn of(filter: Option<&Filter>) -> Result<Option<Self>> {
        filter.and_then(Filter::notify).map(Self::connect).transpose()
    }

    /// That the descriptor of a listener can be taken out of init, if the filter has one.
    pub(crate) fn check(filter: Option<&Filter>) -> Result<()> {
        match filter.and_then(Filter::notify) {
            Some(_) => required::check(&[PIDFD_GETFD])
                .map_err(|error| error.with_pointer("/linux/seccomp/listenerPath")),
            None => Ok(()),
        }
    }

    fn connect(notify: &Notify) -> Result<Self> {
        let fail = |errno| {
            Error::system(
                "failed to connect with seccomp agent specified in the seccomp profile",
                errno,
            )
            .with_file(&notify.listener_path)
            .with_pointer("/linux/seccomp/listenerPath")
        };
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(fail)?;
        let address = SocketAddrUnix::new(&notify.listener_path).map_err(fail)?;
        rustix::io::retry_on_intr(|| rustix::net::connect(&socket, &address)).map_err(fail)?;
        Ok(Self { socket, metadata: notify.metadata.clone().unwrap_or_default() })
    }

    /// Takes the notify descriptor out of init and sends it on. Init has loaded its filter and
    /// can make no system call to tell us so: it writes the number to the report page, and the
    /// page is watched for the fraction of a millisecond that this takes.
    pub(crate) fn hand_over(
        &self,
        report: &Report,
        pid: u32,
        pidfd: BorrowedFd<'_>,
        state: &serde_json::Value,
    ) -> Result<()> {
        let Some(number) = watch(report, pidfd)? else { return Ok(()) };
        let descriptor = rustix::process::pidfd_getfd(pidfd, number, PidfdGetfdFlags::empty())
            .map_err(|errno| Error::system("take the seccomp notify descriptor", errno))?;
        let message = json!({
            "ociVersion": state.get("ociVersion"),
            "fds": ["seccompFd"],
            "pid": pid,
            "metadata": self.metadata,
            "state": state,
        });
        send_descriptor(&self.socket, message.to_string().as_bytes(), descriptor.as_fd()).map_err(
            |errno| {
                Error::system("send the seccomp notify descriptor", errno)
                    .with_pointer("/linux/seccomp/listenerPath")
            },
        )?;
        report.notify_taken()
    }
}

/// The notify descriptor's number in init, or `None` if init has ended or failed meanwhile.
fn watch(report: &Report, pidfd: BorrowedFd<'_>) -> Result<Option<i32>> {
    let end = Instant::now() + PATIENCE;
    loop {
        let snapshot = report.read()?;
        if let Some(number) = snapshot.notify {
            return Ok(Some(number));
        }
        if snapshot.failure.is_some() {
            return Ok(None);
        }
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        let now = rustix::event::Timespec { tv_sec: 0, tv_nsec: 0 };
        match rustix::event::poll(&mut fds, Some(&now)) {
            Ok(0) | Err(Errno::INTR) => {}
            _ => return Ok(None),
        }
        if Instant::now() > end {
            return Err(Error::new(ErrorKind::Step, "init didn't hand over its seccomp listener"));
        }
        std::thread::yield_now();
    }
}
