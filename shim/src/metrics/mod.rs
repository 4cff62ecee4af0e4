//! A container's figures as containerd's metrics.
//!
//! What reads them (ctr, Docker, CRI, containerd's Prometheus page) is used to containerd's own shim
//! and fills its tables from `io.containerd.cgroups.v1.Metrics` on hosts that have v1 hierarchies and
//! from `io.containerd.cgroups.v2.Metrics` on others. Much of it takes for granted that a message
//! inside is there: so what the module containerd/cgroups always fills is always there, at worst with
//! zeros.

#[cfg(test)]
mod tests;
mod v1;
mod v2;

use hoist::Stats;
use rustix::fs::{FsWord, statfs};

use crate::failure::{During as _, Result};
use crate::proto::wire::Any;

const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// All figures. `unified`: see [`unified`].
pub(crate) fn any(stats: &Stats, unified: bool) -> Any {
    if unified {
        Any::pack(&v2::metrics(stats))
    } else {
        Any::pack(&v1::metrics(stats, &v1::Devices::read()))
    }
}

/// Whether cgroup2 is the host's only hierarchy, found as containerd/cgroups does: a hybrid host has a
/// tmpfs there, with a cgroup2 below it.
pub(crate) fn unified() -> Result<bool> {
    let found = statfs(CGROUP_ROOT).during(format_args!("statfs {CGROUP_ROOT}"))?;
    Ok(found.f_type == FsWord::from(libc::CGROUP2_SUPER_MAGIC))
}
