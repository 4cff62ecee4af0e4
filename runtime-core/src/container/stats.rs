//! What a container uses.

use rustix::io::Errno;

use super::Container;
use crate::cgroup::stats::Stats;
use crate::error::{Error, ErrorKind, Result};
use crate::netdevice::NetworkStats;
use crate::procfs::{Proc, Process};

impl Container {
    /// What the container uses and has used: see [`Stats`]. A stopped container has figures until
    /// it is deleted.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if it was deleted; [`ErrorKind::WrongState`] if its cgroup is gone
    /// all the same; [`ErrorKind::Cgroup`] if the kernel's files can't be read.
    pub fn stats(&self) -> Result<Stats> {
        let look = || {
            let (record, _, process) = self.current()?;
            let stats = self.cgroup(&record)?.stats()?;
            let mut stats = stats.ok_or_else(|| {
                Error::new(ErrorKind::WrongState, "container not running: its cgroup is gone")
            })?;
            if let Some(group) = &record.intel_rdt {
                stats.intel_rdt = group.stats()?;
            }
            if let Some(process) = &process {
                stats.network = network(process)?;
            }
            Ok(stats)
        };
        look().map_err(|error: Error| error.in_operation("stats", self.id()))
    }
}

/// The interfaces of a process's network namespace, unless that is the caller's. Nobody enters
/// it: procfs shows each process's own.
fn network(process: &Process) -> Result<Option<Vec<NetworkStats>>> {
    const FILE: &str = "net/dev";
    let theirs = process.dir.namespaces()?.get("net").copied();
    if theirs.is_none() || theirs == Proc::open()?.own_namespaces()?.get("net").copied() {
        return Ok(None);
    }
    match process.dir.read_list(FILE) {
        Ok(text) => Ok(Some(NetworkStats::parse(&String::from_utf8_lossy(&text)))),
        // It has ended meanwhile.
        Err(Errno::NOENT | Errno::SRCH | Errno::INVAL) => Ok(None),
        Err(errno) => Err(process.dir.fail("read the network's figures", FILE, errno)),
    }
}
