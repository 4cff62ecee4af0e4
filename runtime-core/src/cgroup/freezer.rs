//! Freezing and thawing: cgroup2's own freezer, or the v1 controller (cgroup-v1/
//! freezer-subsystem.rst). On a hybrid host cgroup2's is used: a process frozen by it can still be
//! killed, and there is an event for the moment when all are frozen.

use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Cgroup;
use super::dir::{Dir, find_key};
use super::events::Events;
use super::host::Host;
use super::paths::{Location, Paths};
use crate::error::{Error, ErrorKind, Result};

/// A process in uninterruptible sleep can't be frozen before it wakes up.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How long to sleep before looking at the v1 freezer again.
const PAUSE: Duration = Duration::from_millis(1);
/// How many looks at FREEZING before the freezer is thawed for a moment.
const LOOKS: u32 = 50;

const FREEZE: &str = "cgroup.freeze";
const STATE: &str = "freezer.state";
const EVENTS: &str = "cgroup.events";

impl Cgroup {
    /// Stops all processes; returns when they are stopped. If that takes too long, all run again.
    pub(crate) fn freeze(&self) -> Result<()> {
        // What v1's freezer holds never gets to cgroup2's: a cgroup above may be frozen, or one
        // below, by the container itself.
        let frozen = self.is_frozen()?;
        let mut below = false;
        if let Some(dir) = self.legacy_dir("freezer") {
            dir.each_below(|dir| {
                dir.read(STATE).map(|state| below |= state.trim_end() != "THAWED")
            })
            .map_err(|errno| dir.error("look below", STATE, errno))?;
        }
        if let Some(dir) = self.unified.as_ref().filter(|_| !below) {
            match dir.write(FREEZE, "1") {
                Ok(()) if frozen => return Ok(()),
                Ok(()) => {
                    let frozen = await_frozen(dir, Instant::now() + TIMEOUT);
                    return finish(dir, FREEZE, "0", frozen);
                }
                Err(Errno::NOENT) => {} // before Linux 5.2
                Err(errno) => return Err(dir.error("freeze the cgroup", FREEZE, errno)),
            }
        }
        match self.legacy_dir("freezer") {
            Some(dir) => finish(dir, STATE, "THAWED", freeze_legacy(dir)),
            None => Err(Error::new(ErrorKind::Unsupported, "cannot freeze: no freezer cgroup")),
        }
    }

    /// Lets all processes run again.
    pub(crate) fn thaw(&self) -> Result<()> {
        for (dir, file, value) in [
            (self.unified.as_ref(), FREEZE, "0"),
            // In hybrid mode, too: another program may have frozen the container there.
            (self.legacy_dir("freezer"), STATE, "THAWED"),
        ] {
            match dir.map_or(Ok(()), |dir| dir.write(file, value)) {
                Ok(()) | Err(Errno::NOENT | Errno::NODEV) => {}
                Err(errno) => {
                    let error = Error::system("thaw the cgroup", errno);
                    return Err(error.with_kind(ErrorKind::Cgroup).with_file(file));
                }
            }
        }
        Ok(())
    }

    /// Lets what is to die of SIGKILL die: cgroup2's freezer doesn't keep a process from that, v1's
    /// does, also in cgroups that the container has frozen itself.
    pub(crate) fn thaw_to_die(&self) -> Result<()> {
        self.thaw()?;
        match self.legacy_dir("freezer") {
            Some(dir) => dir
                .each_below(|dir| dir.write(STATE, "THAWED"))
                .map_err(|errno| dir.error("thaw what is below", STATE, errno)),
            None => Ok(()),
        }
    }

    /// Whether this very cgroup was asked to freeze, by whomever: what [`thaw`](Self::thaw) can
    /// take back.
    pub(crate) fn is_asked_to_freeze(&self) -> Result<bool> {
        let holds = |dir: Option<&Dir>, file| match dir.map(|dir| (dir, dir.read(file))) {
            Some((_, Ok(text))) => Ok(text.trim_end() == "1"),
            // Older kernels; the root cgroup.
            None | Some((_, Err(Errno::NOENT | Errno::NODEV))) => Ok(false),
            Some((dir, Err(errno))) => Err(dir.error("read", file, errno)),
        };
        Ok(holds(self.unified.as_ref(), FREEZE)?
            || holds(self.legacy_dir("freezer"), "freezer.self_freezing")?)
    }

    /// Whether the cgroup or one above it is frozen, by whomever.
    pub(crate) fn is_frozen(&self) -> Result<bool> {
        let unified = self.unified.as_ref().map_or(Ok(false), |dir| is_frozen(dir, EVENTS))?;
        Ok(unified || self.legacy_dir("freezer").map_or(Ok(false), |dir| is_frozen(dir, STATE))?)
    }

    /// Whether all of a cgroup that was made just now is new, up to roots that can't be frozen: then
    /// there is nobody that it could have that from. (A hierarchy's root has no such files, but
    /// what is mounted may be a part of the hierarchy.)
    pub(super) fn is_new_below_roots(&self, host: &Host) -> Result<bool> {
        let freezer = self.paths.legacy.iter().find(|location| location.has("freezer"));
        let places = [(self.paths.unified.as_ref(), EVENTS), (freezer, STATE)];
        for (location, file) in places {
            let Some(location) = location else { continue };
            let root = host.mount(location)?;
            if location.made < location.path.split('/').count()
                || root.has(file).map_err(|errno| root.error("look for", file, errno))?
            {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The same of a cgroup that isn't open. One that isn't there is not frozen.
    pub(crate) fn frozen_at(host: &Host, paths: &Paths) -> Result<bool> {
        let look = |location: &Location, file| {
            let mount = host.mount(location)?;
            is_frozen(&mount, &format!("./{}/{file}", location.path))
        };
        let freezer = || paths.legacy.iter().find(|location| location.has("freezer"));
        let unified =
            paths.unified.as_ref().map_or(Ok(false), |location| look(location, EVENTS))?;
        Ok(unified || freezer().map_or(Ok(false), |location| look(location, STATE))?)
    }
}

/// What cgroup2's `cgroup.events` or v1's `freezer.state` below this directory says.
fn is_frozen(dir: &Dir, file: &str) -> Result<bool> {
    match dir.read(file) {
        Ok(text) if file.ends_with(EVENTS) => Ok(find_key(&text, "frozen") == Some(1)),
        // FREEZING: on the way there, or back on it for a moment because a process was added.
        Ok(state) => Ok(state.trim_end() != "THAWED"),
        // The root cgroup has no such file.
        Err(Errno::NOENT | Errno::NODEV) => Ok(false),
        Err(errno) => Err(dir.error("read", file, errno)),
    }
}

/// Waits until a cgroup2 and all below it are frozen.
///
/// Each is waited for, for the kernel says that of a cgroup when its own processes stand still or
/// when all below it do (cgroup_update_frozen and cgroup_propagate_frozen in
/// kernel/cgroup/freezer.c). Where it has both kinds, its own may still be a moment behind.
fn await_frozen(dir: &Dir, deadline: Instant) -> std::result::Result<bool, Errno> {
    let wait = |dir: &Dir| Events::open(dir)?.wait("frozen", 1, deadline);
    let mut frozen = true;
    dir.each_below(|below| wait(below).map(|done| frozen &= done))?;
    Ok(frozen && wait(dir)?)
}

/// Thaws again what could not be frozen: nobody must be left half stopped.
fn finish(
    dir: &Dir,
    file: &str,
    thaw: &str,
    frozen: std::result::Result<bool, Errno>,
) -> Result<()> {
    if frozen == Ok(true) {
        return Ok(());
    }
    let errno = frozen.err().unwrap_or(Errno::TIMEDOUT);
    let error = dir.error("freeze the cgroup", file, errno);
    match dir.write(file, thaw) {
        Ok(()) | Err(Errno::NOENT | Errno::NODEV) => Err(error),
        Err(errno) => Err(error.with_source(dir.error("thaw it again", file, errno))),
    }
}

/// The v1 freezer has no event: there is nothing to wait for but the state itself, read again and
/// again. A process that forks or is attached while it is FREEZING can keep it there for good,
/// and writing FROZEN once more, sometimes after a thaw, is what gets it on; cgroup2's freezer
/// was written to be free of that.
fn freeze_legacy(dir: &Dir) -> std::result::Result<bool, Errno> {
    let deadline = Instant::now() + TIMEOUT;
    for look in 1_u32.. {
        dir.write(STATE, "FROZEN")?;
        if dir.read(STATE)?.trim_end() == "FROZEN" {
            return Ok(true);
        }
        if Instant::now() >= deadline {
            break;
        }
        if look.is_multiple_of(LOOKS) {
            dir.write(STATE, "THAWED")?;
        }
        std::thread::sleep(PAUSE);
    }
    Ok(false)
}
