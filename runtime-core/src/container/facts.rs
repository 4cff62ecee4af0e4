//! What the plan compiler has to know of the host.

use std::path::Path;

use rustix::fs::Access;
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::cgroup;
use crate::error::{Error, Result};
use crate::plan::{self, CgroupView, Placement, V1Hierarchy};
use crate::runtime::Shared;
use crate::seccomp;
use crate::spec::Bundle;
use crate::user_namespace;

/// The compiler's facts, with what they refer to.
#[derive(Debug, Clone)]
pub(crate) struct Facts {
    privileged: bool,
    own_mounts: bool,
    bind_devices: bool,
    setgroups: bool,
    last_cap: u32,
    kcore: bool,
    cgroup: CgroupView,
    placement: Placement,
}

impl Facts {
    /// How a process gets into the cgroup that it is placed in.
    pub(crate) fn set_placement(&mut self, shape: cgroup::Shape) {
        let number = |number| u32::try_from(number).unwrap_or(u32::MAX);
        self.placement = match (number(shape.hierarchies), shape.unified) {
            (0, false) => Placement::Stay,
            (0, true) => Placement::V2,
            (hierarchies, unified) => {
                let inner = shape.inner.map(|index| index.map(number));
                Placement::V1 { hierarchies, inner, unified }
            }
        };
    }

    /// The caller is the host's root.
    /// The caller's mount namespace is its user namespace's.
    pub(super) fn own_mounts(&self) -> bool {
        self.own_mounts
    }

    pub(crate) fn privileged(&self) -> bool {
        self.privileged
    }

    /// Somebody else moves the process there.
    pub(crate) fn set_library_placement(&mut self) {
        self.placement = Placement::Library;
    }

    pub(crate) fn borrow<'a>(&self, id: &'a str) -> plan::Facts<'a> {
        plan::Facts {
            id,
            privileged: self.privileged,
            own_mounts: self.own_mounts,
            bind_devices: self.bind_devices,
            setgroups: self.setgroups,
            last_cap: self.last_cap,
            kcore: self.kcore,
            overlay_layers: true,
            cgroup: self.cgroup.clone(),
            placement: self.placement,
        }
    }
}

/// The facts for a new container, with what is known of the caller. Its cgroup is where it was made,
/// or where it is expected to be.
pub(crate) fn create(
    caller: Facts,
    shared: &Shared,
    id: &str,
    bundle: &Bundle,
    made: Option<&cgroup::Paths>,
) -> Result<Facts> {
    let linux = bundle.spec().linux().as_ref();
    let host = shared.host()?;
    let cgroups_path = linux.and_then(|linux| linux.cgroups_path().as_deref());
    let paths = match made {
        Some(made) => made.clone(),
        None => host.paths(cgroups_path.and_then(Path::to_str), id)?,
    };
    let mut facts = caller;
    facts.cgroup = view(&paths);
    if paths.by_systemd() {
        facts.set_library_placement();
    } else {
        facts.set_placement(paths.shape());
    }
    if let Some(gids) = linux.and_then(|linux| linux.gid_mappings().as_ref()) {
        facts.setgroups &= !crate::spawn::idmap::needs_setgroups_deny(gids)?;
    }
    Ok(facts)
}

/// What is known of the caller alone.
///
/// # Errors
/// It is never guessed: for a caller without privileges the plan is another one.
pub(crate) fn caller() -> Result<Facts> {
    let have = rustix::thread::capabilities(None)
        .map_err(|errno| Error::system("look at the caller's capabilities: capget", errno))?
        .effective;
    let root = rustix::process::geteuid().is_root();
    let inside = user_namespace::in_user_namespace()?;
    Ok(Facts {
        privileged: root && have.contains(CapabilitySet::SYS_ADMIN),
        own_mounts: !inside || user_namespace::owns_mount_namespace()?,
        bind_devices: inside || !have.contains(CapabilitySet::MKNOD),
        setgroups: !inside || user_namespace::permits_setgroups()?,
        last_cap: last_cap()?,
        kcore: has_kcore()?,
        cgroup: CgroupView::None,
        placement: Placement::Stay,
    })
}

/// The highest capability of this kernel: the last of which it says whether the bounding set has
/// it (PR_CAPBSET_READ(2const)), which takes no file.
fn last_cap() -> Result<u32> {
    // CAP_CHECKPOINT_RESTORE, of Linux 5.9.
    const LATEST: u32 = 40;
    let known = |cap: u32| {
        match rustix::thread::capability_is_in_bounding_set(CapabilitySet::from_bits_retain(
            1 << cap,
        )) {
            Ok(_) => Ok(true),
            // Anything else is no answer: a capability that is taken for unknown stays in the set.
            Err(Errno::INVAL) => Ok(false),
            Err(errno) => Err(Error::system("read the bounding set", errno)),
        }
    };
    let mut last = LATEST;
    while last > 0 && !known(last)? {
        last -= 1;
    }
    while (LATEST..63).contains(&last) && known(last + 1)? {
        last += 1;
    }
    Ok(last)
}

/// Not every kernel has it, and `/dev/core` leads there.
fn has_kcore() -> Result<bool> {
    let path = "/proc/kcore";
    match rustix::fs::access(path, Access::EXISTS) {
        Ok(()) => Ok(true),
        Err(Errno::NOENT | Errno::ACCESS | Errno::PERM) => Ok(false),
        Err(errno) => Err(Error::system("look for", errno).with_file(path)),
    }
}

/// A filter as the compiler takes it.
pub(crate) fn filter(filter: &seccomp::Filter) -> plan::Filter<'_> {
    plan::Filter {
        program: filter.program_bytes(),
        flags: filter.flags(),
        notify: filter.notify().is_some(),
    }
}

/// The cgroup as a mount inside the container shows it.
fn view(paths: &cgroup::Paths) -> CgroupView {
    if let Some(directory) = paths.unified_directory() {
        return CgroupView::V2(directory);
    }
    let hierarchies: Vec<_> = paths
        .legacy_mounts()
        .into_iter()
        .map(|mount| V1Hierarchy { name: mount.name, directory: mount.directory })
        .collect();
    if hierarchies.is_empty() { CgroupView::None } else { CgroupView::V1(hierarchies) }
}
