//! The OOM killer's work in a cgroup: how many processes it has killed, and the moment when it
//! kills another one.
//!
//! Both versions of cgroups count kills, and the count is what this goes by; what wakes somebody
//! who waits says only that it may be time to look. So nothing is lost however late one looks, as
//! long as the cgroup is there.
//!
//! cgroup2 counts a kill in the victim's cgroup and all above it, and reports each change of
//! `memory.events` to poll(2) as POLLPRI. v1 counts it in the victim's cgroup alone, so that the
//! counts of all cgroups below are added; and what it reports, through an eventfd, is not the kill
//! but that memory has run out, a moment earlier (cgroup-v1/memory.rst, "OOM Control"). Then a
//! timer takes over until the kill is counted: there is no event for that.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::OFlags;
use rustix::io::{Errno, retry_on_intr};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::Cgroup;
use super::dir::{Dir, find_key, read_from_start};
use crate::error::{Error, Result};

const EVENTS: &str = "memory.events";
const CONTROL: &str = "memory.oom_control";
const POPULATION: &str = "cgroup.events";
const KILLS: &str = "oom_kill";
const LIMIT: usize = 4096;
/// v1: the first wait for a kill to be counted, each next one being twice as long.
const FIRST_LOOK: Duration = Duration::from_millis(1);
/// How many of them there are, four seconds in all. Where nobody of this cgroup was killed, for
/// the memory that ran out was that of a cgroup above, nothing comes.
const LOOKS: u32 = 12;

impl Cgroup {
    /// How many processes the OOM killer has killed here and below; `None` without the memory
    /// controller.
    pub(crate) fn oom_kills(&self) -> Result<Option<u64>> {
        let (dir, file, kills) = match (self.legacy_dir("memory"), self.memory_v2()) {
            (Some(dir), _) => (dir, CONTROL, dir.sum_key(CONTROL, KILLS)),
            (None, Some(dir)) => (dir, EVENTS, dir.read_key(EVENTS, KILLS)),
            (None, None) => return Ok(None),
        };
        match kills {
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            other => other.map_err(|errno| dir.error("read", file, errno)),
        }
    }

    /// The directory that would have cgroup2's memory controller.
    fn memory_v2(&self) -> Option<&Dir> {
        self.unified.as_ref().filter(|_| self.legacy.is_empty())
    }
}

/// What has happened since the last look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    /// The OOM killer has killed so many processes; 0 where memory has run out and it may not
    /// kill (v1's `disableOOMKiller`).
    Oom(u64),
    /// Nobody is left.
    Ended,
}

/// Watches one container's cgroup. Its descriptor is readable when it is time to look.
#[derive(Debug)]
pub(crate) struct OomWatch {
    epoll: OwnedFd,
    pub(super) memory: Memory,
    /// The kills that were reported, or had happened before.
    seen: u64,
    /// `None` if nobody was left from the beginning.
    end: Option<End>,
    ended: bool,
}

#[derive(Debug)]
pub(super) enum Memory {
    /// No memory controller, or none any more.
    None,
    /// cgroup2's `memory.events`.
    Unified(OwnedFd),
    Legacy(Legacy),
}

#[derive(Debug)]
pub(super) struct Legacy {
    dir: Dir,
    /// Counts how often memory ran out, and the removal of the cgroup.
    eventfd: OwnedFd,
    timer: OwnedFd,
    /// How often the timer is still to be set.
    looks: u32,
}

/// Why it was time to look.
#[derive(Debug, Clone, Copy, Default)]
struct Wake {
    ran_out: bool,
    timer: bool,
}

/// What tells that nobody is left.
#[derive(Debug)]
enum End {
    /// cgroup2's `cgroup.events`.
    Unified(OwnedFd),
    /// Without cgroup2 there is no event for an empty cgroup: it is the first process's end.
    Process(OwnedFd),
}

impl OomWatch {
    /// Begins to watch. What happened before is not reported.
    ///
    /// `first` is a pidfd of the container's first process, if that is alive.
    pub(crate) fn new(cgroup: &Cgroup, first: Option<OwnedFd>) -> Result<Self> {
        let fail = |errno| Error::system("make an epoll instance", errno);
        let epoll = epoll::create(CreateFlags::CLOEXEC).map_err(fail)?;
        let add = |fd: BorrowedFd<'_>, events| {
            epoll::add(&epoll, fd, EventData::new_u64(0), events).map_err(fail)
        };
        let end = match cgroup.unified.as_ref().map(|dir| dir.open(POPULATION, OFlags::RDONLY)) {
            Some(Ok(file)) => Some(End::Unified(file)),
            Some(Err(_)) | None => first.map(End::Process),
        };
        match &end {
            Some(End::Unified(file)) => add(file.as_fd(), EventFlags::PRI)?,
            Some(End::Process(pidfd)) => add(pidfd.as_fd(), EventFlags::IN)?,
            None => {}
        }
        let memory = match (cgroup.legacy_dir("memory"), cgroup.memory_v2()) {
            (Some(dir), _) => Memory::Legacy(Legacy::new(dir)?),
            (None, Some(dir)) => match dir.open(EVENTS, OFlags::RDONLY) {
                Ok(file) => Memory::Unified(file),
                Err(Errno::NOENT | Errno::NODEV) => Memory::None,
                Err(errno) => return Err(dir.error("open", EVENTS, errno)),
            },
            (None, None) => Memory::None,
        };
        match &memory {
            Memory::Unified(file) => add(file.as_fd(), EventFlags::PRI)?,
            Memory::Legacy(legacy) => {
                add(legacy.eventfd.as_fd(), EventFlags::IN)?;
                add(legacy.timer.as_fd(), EventFlags::IN)?;
            }
            Memory::None => {}
        }
        let mut watch = Self { epoll, memory, seen: 0, end, ended: false };
        watch.seen = watch.kills()?.unwrap_or_default();
        Ok(watch)
    }

    /// What has happened since the last look, one thing at a time; the end is the last.
    pub(crate) fn look(&mut self) -> Result<Option<Change>> {
        // An end is noticed first and reported last: a kill before it is counted by then.
        self.ended = self.ended || self.end.as_ref().map_or(Ok(true), End::is_reached)?;
        let wake = match &self.memory {
            Memory::Legacy(legacy) => legacy.take_wake()?,
            Memory::Unified(_) | Memory::None => Wake::default(),
        };
        // Gone with the cgroup, if it is; and on v1 with one below.
        let kills = self.kills()?;
        if kills.is_none() {
            self.forget_unified()?;
        }
        let kills = kills.unwrap_or(self.seen);
        let new = kills.saturating_sub(self.seen);
        self.seen = kills;
        if let Memory::Legacy(legacy) = &mut self.memory {
            if new > 0 {
                legacy.looks = 0;
            } else if wake.ran_out && legacy.may_not_kill()? {
                legacy.looks = 0;
                return Ok(Some(Change::Oom(0)));
            } else if wake.ran_out {
                legacy.looks = LOOKS;
            }
            if wake.ran_out || wake.timer {
                legacy.look_again()?;
            }
        }
        Ok(match new {
            0 => self.ended.then_some(Change::Ended),
            new => Some(Change::Oom(new)),
        })
    }

    /// A `memory.events` that is gone, because the parent gives the controller no longer, would be
    /// ready for ever.
    fn forget_unified(&mut self) -> Result<()> {
        if let Memory::Unified(file) = &self.memory {
            let fail = |errno| Error::system("remove a file from an epoll instance", errno);
            epoll::delete(&self.epoll, file).map_err(fail)?;
            self.memory = Memory::None;
        }
        Ok(())
    }

    fn kills(&self) -> Result<Option<u64>> {
        let (kills, file) = match &self.memory {
            Memory::None => return Ok(None),
            Memory::Unified(file) => {
                (read_from_start(file, LIMIT).map(|text| find_key(&text, KILLS)), EVENTS)
            }
            Memory::Legacy(legacy) => (legacy.dir.sum_key(CONTROL, KILLS), CONTROL),
        };
        match kills {
            Err(Errno::NOENT | Errno::NODEV) => Ok(None),
            other => other.map_err(|errno| Error::system("read", errno).with_file(file)),
        }
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }
}

impl Legacy {
    fn new(dir: &Dir) -> Result<Self> {
        let fail = |errno| Error::system("make an eventfd", errno);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let eventfd = eventfd(0, flags).map_err(fail)?;
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags).map_err(fail)?;
        let control =
            dir.open(CONTROL, OFlags::RDONLY).map_err(|errno| dir.error("open", CONTROL, errno))?;
        let request = format!("{} {}", eventfd.as_raw_fd(), control.as_raw_fd());
        dir.write("cgroup.event_control", &request)
            .map_err(|errno| dir.error("ask for OOM events", "cgroup.event_control", errno))?;
        let dir = dir.child(".").map_err(|errno| dir.error("open the cgroup", "", errno))?;
        Ok(Self { dir, eventfd, timer, looks: 0 })
    }

    /// Why it was time to look; from now on that is over.
    fn take_wake(&self) -> Result<Wake> {
        // Both hold a number of eight bytes that reading sets to 0.
        let is_set = |fd| match retry_on_intr(|| rustix::io::read(fd, &mut [0u8; 8])) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(errno) => Err(Error::system("read an eventfd", errno)),
        };
        Ok(Wake { ran_out: is_set(&self.eventfd)?, timer: is_set(&self.timer)? })
    }

    /// Whether processes wait for memory instead of being killed.
    fn may_not_kill(&self) -> Result<bool> {
        match self.dir.read_key(CONTROL, "oom_kill_disable") {
            Ok(value) => Ok(value == Some(1)),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(self.dir.error("read", CONTROL, errno)),
        }
    }

    /// Sets the timer, if the count is still awaited.
    fn look_again(&mut self) -> Result<()> {
        let Some(left) = self.looks.checked_sub(1) else { return Ok(()) };
        let pause = FIRST_LOOK * 2u32.pow(LOOKS.saturating_sub(self.looks));
        self.looks = left;
        let fail = |errno| Error::system("set a timer", errno);
        let it_value = Timespec::try_from(pause).map_err(|_| fail(Errno::INVAL))?;
        let time = Itimerspec { it_interval: Timespec::default(), it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &time).map(drop).map_err(fail)
    }
}

impl End {
    fn is_reached(&self) -> Result<bool> {
        match self {
            Self::Unified(file) => match read_from_start(file, LIMIT) {
                Ok(text) => Ok(find_key(&text, "populated") != Some(1)),
                Err(Errno::NOENT | Errno::NODEV) => Ok(true),
                Err(errno) => Err(Error::system("read", errno).with_file(POPULATION)),
            },
            Self::Process(pidfd) => {
                let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
                retry_on_intr(|| poll(&mut fds, Some(&Timespec::default())))
                    .map(|ready| ready > 0)
                    .map_err(|errno| Error::system("poll a pidfd", errno))
            }
        }
    }
}
