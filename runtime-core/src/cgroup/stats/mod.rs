//! What a container uses: each figure from the hierarchy that has its controller.

mod files;
mod parse;
#[cfg(test)]
mod tests;
mod types;
mod v1;
mod v2;

pub use self::types::{
    BlockIoEntry, BlockIoStats, CpuStats, CpusetStats, HugetlbStats, MemoryEvents, MemoryStats,
    MemoryUsage, PidsStats, Pressure, PressureStats, RdmaStats, Stall, Stats, Throttling,
};

use self::files::Files;
use super::Cgroup;
use crate::error::Result;

impl Cgroup {
    /// All figures of the cgroup; `None` if it is gone. What is the container's in other places
    /// (network, resctrl) is not among them.
    pub(crate) fn stats(&self) -> Result<Option<Stats>> {
        let mut found = Stats::default();
        if let Some(dir) = &self.unified {
            let files = Files(dir);
            found.pressure = v2::pressure(&files)?;
            found.hugetlb = v2::hugetlb(&files)?;
            if self.legacy.is_empty() {
                (found.cpu, found.throttling) = v2::cpu(&files)?;
                found.memory = v2::memory(&files)?;
                found.pids = v1::pids(&files)?;
                found.block_io = v2::block_io(&files)?;
                found.rdma = v2::rdma(&files)?;
            }
        }
        found.cpu = self.legacy_or("cpuacct", found.cpu, v1::cpu)?;
        found.throttling = self.legacy_or("cpu", found.throttling, v1::throttling)?;
        found.cpuset = self.legacy_or("cpuset", None, v1::cpuset)?;
        found.memory = self.legacy_or("memory", found.memory, v1::memory)?;
        found.pids = self.legacy_or("pids", found.pids, v1::pids)?;
        found.block_io = self.legacy_or("blkio", found.block_io, v1::block_io)?;
        found.hugetlb = self.legacy_or("hugetlb", found.hugetlb, v1::hugetlb)?;
        found.rdma = self.legacy_or("rdma", found.rdma, v2::rdma)?;
        if let Some(memory) = &mut found.memory {
            memory.oom_kills = self.oom_kills()?;
        }
        // Had it gone meanwhile, absent would mean nothing.
        Ok(self.is_there().then_some(found))
    }

    /// A v1 controller's figures, where the container has one.
    fn legacy_or<T>(
        &self,
        controller: &str,
        unified: Option<T>,
        read: impl FnOnce(&Files<'_>) -> Result<Option<T>>,
    ) -> Result<Option<T>> {
        self.legacy_dir(controller).map_or(Ok(unified), |dir| read(&Files(dir)))
    }

    /// Whether the cgroup exists: a directory that was removed has no files.
    fn is_there(&self) -> bool {
        self.processes().is_some_and(|dir| {
            rustix::fs::accessat(
                dir,
                "cgroup.procs",
                rustix::fs::Access::EXISTS,
                rustix::fs::AtFlags::empty(),
            )
            .is_ok()
        })
    }
}
