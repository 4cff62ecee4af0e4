//! The processes that this program has executed in containers: its own children.
//!
//! A container's first process can't finish its exit before all others of its pid namespace are
//! collected by their parents (pid_namespaces(7)). For those that were executed from here that is
//! this program: whoever waits for the container therefore collects them, too. Their status is
//! kept, so [`Process::wait`](crate::Process::wait) has it whoever collected it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::sys::pidfd::{Ending, RawExit, Waited};

/// A process that was executed in a container.
#[derive(Debug)]
pub(crate) struct Child {
    pidfd: OwnedFd,
    ending: Ending,
}

impl Child {
    /// Waits for its end.
    pub(crate) fn wait(&self) -> Result<RawExit> {
        self.ending.wait(self.pidfd.as_fd())
    }

    /// Collects it if it has ended; false as long as it has not.
    fn collect(&self) -> bool {
        // Where it can't be told how it ended, somebody else collects it, or has.
        !matches!(self.ending.try_wait(self.pidfd.as_fd()), Ok(Waited::Running))
    }
}

impl AsFd for Child {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }
}

/// All of a runtime's children that have not been collected, by container.
#[derive(Debug, Default)]
pub(crate) struct Children(Mutex<List>);

#[derive(Debug, Default)]
struct List {
    children: Vec<(String, Arc<Child>)>,
    /// Who waits for a container, to be told of new children.
    waiters: Vec<(String, Arc<OwnedFd>)>,
}

impl Children {
    /// Remembers a new child.
    pub(crate) fn add(&self, container: &str, pidfd: OwnedFd) -> Arc<Child> {
        let child = Arc::new(Child { pidfd, ending: Ending::default() });
        let mut list = self.lock();
        list.children.retain(|(_, child)| !child.collect());
        list.children.push((container.to_owned(), child.clone()));
        for (_, waiter) in list.waiters.iter().filter(|(id, _)| id == container) {
            let _ = rustix::io::write(waiter, &1u64.to_ne_bytes());
        }
        child
    }

    /// Collects those that have ended.
    pub(crate) fn collect(&self) {
        self.lock().children.retain(|(_, child)| !child.collect());
    }

    /// Waits until a container's first process has ended, and collects its other processes that
    /// are ours as they end.
    pub(crate) fn wait_with(&self, container: &str, first: BorrowedFd<'_>) -> Result<()> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map_err(|errno| Error::system("make an eventfd", errno))?;
        let wake = Arc::new(wake);
        self.lock().waiters.push((container.to_owned(), wake.clone()));
        let outcome = self.wait_loop(container, first, &wake);
        self.lock().waiters.retain(|(_, waiter)| !Arc::ptr_eq(waiter, &wake));
        outcome
    }

    fn wait_loop(&self, container: &str, first: BorrowedFd<'_>, wake: &OwnedFd) -> Result<()> {
        loop {
            let running: Vec<Arc<Child>> = {
                let mut list = self.lock();
                list.children.retain(|(_, child)| !child.collect());
                let ours = list.children.iter().filter(|(id, _)| id == container);
                ours.map(|(_, child)| child.clone()).collect()
            };
            let mut fds = vec![
                PollFd::from_borrowed_fd(first, PollFlags::IN),
                PollFd::new(wake, PollFlags::IN),
            ];
            fds.extend(running.iter().map(|child| PollFd::new(&**child, PollFlags::IN)));
            match rustix::event::poll(&mut fds, None) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(Error::system("wait for the container", errno)),
            }
            if fds.first().is_some_and(|first| !first.revents().is_empty()) {
                return Ok(());
            }
            let mut count = [0u8; 8];
            let _ = rustix::io::read(wake, &mut count[..]);
        }
    }

    fn lock(&self) -> MutexGuard<'_, List> {
        // A thread that panicked meanwhile has left a list that is as good as any.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
