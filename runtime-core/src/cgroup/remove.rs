//! Removing a container's cgroup, with what the container made below it.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Cgroup;
use super::dir::Dir;
use super::events::Events;
use super::host::Host;
use super::paths::{Location, Paths};
use crate::error::{ErrorKind, Result};

/// How long killed processes are waited for altogether.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts at a cgroup2 that says it has no processes: somebody may be making new cgroups, as fast as
/// they are removed.
const ATTEMPTS: u32 = 1000;
/// Between attempts at a v1 cgroup that lists no process: doubled each time, up to the limit.
const PAUSE: Duration = Duration::from_micros(100);
const PAUSE_LIMIT: Duration = Duration::from_millis(16);
/// How long a systemd that can't be told gets to notice that a unit's cgroup is empty. The kernel
/// reports that to its inotify watch a moment later than to us, and not at all once the cgroup is
/// gone; then systemd would believe in the unit for ever. Nothing tells when it knows.
const NOTICE: Duration = Duration::from_millis(50);
/// How many processes are held by a pidfd at a time.
const BATCH: usize = 64;
/// How many processes an error lists.
const LISTED: usize = 16;

impl Paths {
    /// Removes the directories that nothing is in, which after a container's end are all that it
    /// has, with those above as [`Cgroup::remove`] does. What is left has to be looked at.
    ///
    /// For a container whose end was seen. Like all that another program than the creator does to
    /// it, this goes by the names that were recorded; to open what they name and to compare that
    /// with the names again would tell no more.
    pub(crate) fn remove_empty(&self, host: &Host) -> Result<Self> {
        if self.unit.is_some() {
            return Ok(self.clone());
        }
        let gone = |location: &Location| host.mount(location).map(|top| rmdir(&top, location));
        let mut left = Self::nowhere(self.requested);
        if let Some(location) = &self.unified
            && !gone(location)?
        {
            left.unified = Some(location.clone());
        }
        for location in &self.legacy {
            if !gone(location)? {
                left.legacy.push(location.clone());
            }
        }
        Ok(left)
    }
}

/// Whether the directory is gone; those above that hoist made for it are, if nobody uses them.
fn rmdir(top: &Dir, location: &Location) -> bool {
    let above = std::iter::successors(Some(location.path.as_str()), |path| {
        path.rsplit_once('/').map(|(parent, _)| parent)
    });
    let mut removed = above.take(location.made.max(1)).map(|path| top.rmdir(path));
    let gone = removed.next().is_some_and(|removed| removed.is_ok());
    if gone {
        removed.find(|removed| removed.is_err());
    }
    gone
}

impl Cgroup {
    /// Removes the cgroup in all hierarchies, nested ones first, and those above that hoist made
    /// for it, unless others use them. The container's processes have to be dead or dying.
    ///
    /// # Errors
    /// Names what can't be removed; everything else is removed all the same.
    pub(crate) fn remove(self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        if let Some(unit) = &self.unit {
            // Without systemd in reach the directory is what is left to remove, and systemd takes
            // a unit for stopped whose cgroup became empty. But where there is no directory yet, a
            // systemd that didn't answer in time may still start the unit.
            match (unit.stop(), &self.unified) {
                (Ok(()), _) => {}
                (Err(error), None) if error.kind() != ErrorKind::Unsupported => return Err(error),
                (Err(_), None) => {}
                (Err(_), Some(dir)) => await_notice(dir, deadline),
            }
        }
        let Self { paths, unified, legacy, unit: _ } = self;
        let mut result = Ok(());
        let mut note = |removed: Result<()>| {
            if result.is_ok() {
                result = removed;
            }
        };
        // cgroup2 is first: its event tells when the v1 ones can be removed as well.
        if let (Some(dir), Some(location)) = (unified, paths.unified) {
            let mut attempts = 0;
            note(remove(dir, location.made, deadline, |dir| {
                attempts += 1;
                let empty = Events::open(dir)?.wait("populated", 0, deadline)?;
                Ok(empty && attempts < ATTEMPTS)
            }));
        }
        for (dir, location) in legacy.into_iter().zip(paths.legacy) {
            let mut pause = PAUSE;
            note(remove(dir, location.made, deadline, |dir| {
                await_listed(dir, deadline, &mut pause)
            }));
        }
        result
    }
}

/// Gives systemd the time to see that nobody is left. That it never does is not our error.
fn await_notice(dir: &Dir, deadline: Instant) {
    let _ = Events::open(dir).and_then(|events| events.wait("populated", 0, deadline));
    std::thread::sleep(NOTICE);
}

/// Removes one directory; `wait` says whether another attempt makes sense.
fn remove(
    dir: Dir,
    made: usize,
    deadline: Instant,
    mut wait: impl FnMut(&Dir) -> std::result::Result<bool, Errno>,
) -> Result<()> {
    let fail = |dir: &Dir, errno| dir.error("remove the cgroup", "", errno);
    loop {
        let (removed, busy) = match dir.remove_self() {
            Ok(parent) => {
                parent.remove_upwards(made.saturating_sub(1));
                return Ok(());
            }
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => match dir.remove_children() {
                Ok(children) => children,
                Err(Errno::NOENT | Errno::NODEV) => (false, None),
                Err(errno) => return Err(fail(&dir, errno)),
            },
            Err(errno) => return Err(fail(&dir, errno)),
        };
        // The children may have been all that was in the way. At once: somebody may be making others.
        if removed && busy.is_none() && Instant::now() < deadline {
            continue;
        }
        match wait(&dir) {
            Ok(true) => {}
            Ok(false) | Err(Errno::NOENT | Errno::NODEV) => {
                let error = fail(&dir, Errno::BUSY).with_hint(in_use(&dir));
                return Err(match busy {
                    Some(path) => error.with_file(path),
                    None => error,
                });
            }
            Err(errno) => return Err(fail(&dir, errno)),
        }
    }
}

/// Waits for the end of the processes that a v1 cgroup lists, which were killed. False when the
/// time is over.
///
/// v1 has no event that tells when a cgroup is empty (but for a release agent, which is a program
/// that the kernel starts), so the processes themselves are waited for. One that has ended may
/// still be in the way for a moment: it is not listed any more, but since Linux 6.18 it leaves its
/// cgroup only after its last turn on a CPU, which nothing tells of. For that alone the attempt
/// is repeated after a pause; a cgroup2 beside it, which is removed first, makes it unnecessary.
fn await_listed(
    dir: &Dir,
    deadline: Instant,
    pause: &mut Duration,
) -> std::result::Result<bool, Errno> {
    let mut held = Vec::new();
    for pid in dir.pids()?.into_iter().take(BATCH) {
        match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => held.push((pid, pidfd)),
            // It is gone, or the number is only a thread's (ENOENT since Linux 6.15).
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    // A number read before may have come to mean somebody else, who isn't listed then.
    let listed = dir.pids()?;
    held.retain(|(pid, _)| listed.contains(pid));
    if held.is_empty() {
        std::thread::sleep(*pause);
        *pause = (*pause * 2).min(PAUSE_LIMIT);
    }
    for (_, pidfd) in &held {
        // It is not collected: its status belongs to whoever has started it.
        if !ends_before(pidfd, deadline)? {
            return Ok(false);
        }
    }
    Ok(Instant::now() < deadline)
}

fn ends_before(pidfd: &OwnedFd, deadline: Instant) -> std::result::Result<bool, Errno> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let left = Timespec::try_from(left).map_err(|_| Errno::INVAL)?;
        match poll(&mut [PollFd::new(pidfd, PollFlags::IN)], Some(&left)) {
            Err(Errno::INTR) => {}
            ready => return ready.map(|count| count > 0),
        }
    }
}

/// Who is still in it.
fn in_use(dir: &Dir) -> String {
    let pids: Vec<Pid> = dir.pids().unwrap_or_default();
    let mut numbers: Vec<String> =
        pids.iter().take(LISTED).map(|pid| pid.as_raw_pid().to_string()).collect();
    if pids.len() > LISTED {
        numbers.push("…".to_owned());
    }
    match pids.len() {
        0 => "no process is in it, but the kernel does not let it go yet".to_owned(),
        count => format!("{count} process(es) are still in it: {}", numbers.join(", ")),
    }
}
