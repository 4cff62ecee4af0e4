//! Waiting for what happens in a cgroup2: `cgroup.events`, whose changes poll(2) reports as
//! POLLPRI (cgroup-v2.rst, "[Un]populated Notification").

use std::os::fd::OwnedFd;
use std::time::Instant;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::dir::{Dir, find_key, read_from_start};

const LIMIT: usize = 4096;

/// A cgroup's `cgroup.events`.
#[derive(Debug)]
pub(super) struct Events(OwnedFd);

impl Events {
    pub(super) fn open(dir: &Dir) -> Result<Self, Errno> {
        dir.open("cgroup.events", OFlags::RDONLY).map(Self)
    }

    pub(super) fn has(&self, key: &str, value: u64) -> Result<bool, Errno> {
        Ok(find_key(&read_from_start(&self.0, LIMIT)?, key) == Some(value))
    }

    /// Waits until a key has a value; false if it hasn't at the deadline. A cgroup that is
    /// removed meanwhile ends the wait with ENODEV.
    pub(super) fn wait(&self, key: &str, value: u64, deadline: Instant) -> Result<bool, Errno> {
        // Reading is what arms the next notification, so that none is lost in between.
        while !self.has(key, value)? {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
            let mut fds = [PollFd::new(&self.0, PollFlags::PRI)];
            match poll(&mut fds, Some(&left)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(errno) => return Err(errno),
            }
        }
        Ok(true)
    }
}
