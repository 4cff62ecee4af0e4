//! What happens to a container, as a stream.

use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Container;
use super::state::Status;
use crate::cgroup::OomWatch;
use crate::cgroup::oom::Change;
use crate::error::{Error, ErrorKind, Result};

/// Something that has happened to a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The container ran out of memory.
    Oom {
        /// How many processes the OOM killer has killed since the last event. 0 on v1 where
        /// `linux.resources.memory.disableOOMKiller` makes them wait for memory instead.
        kills: u64,
    },
    /// The container has no processes any more. This is the last event.
    Ended,
}

/// The events of one container, from [`Container::events`].
///
/// It is a descriptor ([`AsFd`]) that becomes readable when there may be something to
/// [`read`](Self::read), for poll(2), epoll(7) or an asynchronous runtime. Several of them, in
/// several programs, each see every event. A slow reader loses none: the kernel counts kills, and
/// an event has those since the one before. Only once the cgroup is removed (by
/// [`delete`](Container::delete)) is its count gone; so read until [`Event::Ended`] before that.
///
/// On v1 the OOM killer's work in a cgroup that the container made below its own, with a limit of
/// its own, wakes nobody: it is reported with the next event, at the latest before the end.
#[derive(Debug)]
pub struct Events {
    watch: OomWatch,
    id: String,
}

impl Container {
    /// The events of this container from now on: what happened before is not among them.
    ///
    /// The end is that of the last process in its cgroup; on hosts without cgroup2 that of its
    /// first process. Without the memory controller there is only the end.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] as long as somebody creates it; [`ErrorKind::Cgroup`] if the
    /// kernel's files can't be watched.
    pub fn events(&self) -> Result<Events> {
        let watch = || {
            let (record, status, process) = self.current()?;
            if status == Status::Creating {
                // Nobody is in its cgroup yet: that would be the end.
                let message = "the container is still being created";
                return Err(Error::new(ErrorKind::WrongState, message));
            }
            let cgroup = self.cgroup(&record)?;
            OomWatch::new(&cgroup, process.map(|process| process.pidfd))
        };
        let watch = watch().map_err(|error: Error| error.in_operation("events", self.id()))?;
        Ok(Events { watch, id: self.id().to_owned() })
    }
}

impl Events {
    /// The next event, if there is one already. After [`Event::Ended`] that is all there is.
    ///
    /// # Errors
    /// If the kernel's files can't be read.
    pub fn read(&mut self) -> Result<Option<Event>> {
        let change = self.watch.look().map_err(|error| error.in_operation("events", &self.id))?;
        Ok(change.map(|change| match change {
            Change::Oom(kills) => Event::Oom { kills },
            Change::Ended => Event::Ended,
        }))
    }

    /// Waits for the next event; `None` if there was none within `timeout`.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Event>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.read()? {
                return Ok(Some(event));
            }
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            // What is too long for the kernel's clock is for ever.
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.watch, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => {
                    let error = Error::system("wait for events", errno);
                    return Err(error.in_operation("events", &self.id));
                }
            }
        }
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.watch.as_fd()
    }
}
