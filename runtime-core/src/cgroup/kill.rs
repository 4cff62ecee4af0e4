//! Signalling every process of a container.

use std::collections::HashSet;
use std::os::fd::AsFd;

use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::signal::Signal;
use crate::sys::pidfd;
use crate::sys::required::PIDFD_OPEN;

/// How many processes are held by a pidfd at a time.
const BATCH: usize = 64;
/// How often new processes are looked for while the cgroup could not be frozen.
const ROUNDS: usize = 4096;

impl Cgroup {
    /// Sends a signal to all processes in the cgroup and below.
    ///
    /// SIGKILL goes through `cgroup.kill` (Linux 5.14), which no process can escape by forking.
    /// Otherwise the cgroup is frozen meanwhile: then its processes can neither fork nor exit,
    /// and each gets the signal once.
    pub(crate) fn kill_all(&self, signal: Signal) -> Result<()> {
        let killed = signal == Signal::KILL && self.kill_at_once()?;
        if !killed {
            let frozen = self.is_frozen()?;
            // A cgroup that can't be frozen is searched until nobody new is found.
            let froze = !frozen && self.freeze().is_ok();
            let result = self.signal_each(signal);
            if froze {
                self.thaw()?;
            }
            result?;
        }
        // What the v1 freezer holds doesn't die before it is thawed.
        if signal == Signal::KILL { self.thaw_to_die() } else { Ok(()) }
    }

    fn kill_at_once(&self) -> Result<bool> {
        let Some(dir) = &self.unified else { return Ok(false) };
        match dir.write("cgroup.kill", "1") {
            Ok(()) | Err(Errno::NODEV) => Ok(true),
            // Older kernels; threaded cgroups.
            Err(Errno::NOENT | Errno::OPNOTSUPP) => Ok(false),
            Err(errno) => Err(dir.error("kill the cgroup", "cgroup.kill", errno)),
        }
    }

    fn signal_each(&self, signal: Signal) -> Result<()> {
        let mut done = HashSet::new();
        for _ in 0..ROUNDS {
            let mut new = self.pids()?;
            new.retain(|pid| !done.contains(pid));
            if new.is_empty() {
                return Ok(());
            }
            let mut held = Vec::new();
            for pid in new.into_iter().take(BATCH) {
                match pidfd_open(pid, PidfdFlags::empty()) {
                    Ok(pidfd) => held.push((pid, pidfd)),
                    // It is gone, or the number is only a thread's (ENOENT since Linux 6.15).
                    Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => drop(done.insert(pid)),
                    Err(errno) => return Err(fail("open a pidfd", pid, errno)),
                }
            }
            // A number read before may have come to mean somebody else. If it is still listed, now
            // that the pidfd holds its process, the process is one of the container's.
            let listed: HashSet<Pid> = self.pids()?.into_iter().collect();
            for (pid, pidfd) in held {
                done.insert(pid);
                if listed.contains(&pid) {
                    match pidfd::send_signal(pidfd.as_fd(), signal.number()) {
                        Err(error) if error.kind() != ErrorKind::WrongState => return Err(error),
                        Ok(()) | Err(_) => {} // sent, or gone meanwhile
                    }
                }
            }
        }
        Err(Error::new(ErrorKind::Cgroup, "processes appear faster than they can be signalled"))
    }
}

fn fail(what: &'static str, pid: Pid, errno: Errno) -> Error {
    Error::system(what, errno)
        .with_kind(ErrorKind::Cgroup)
        .with_file(pid.as_raw_pid().to_string())
        .needs(PIDFD_OPEN)
}
