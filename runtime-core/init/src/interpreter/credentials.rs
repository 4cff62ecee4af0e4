//! Users, groups and capabilities, in the order that the kernel needs (capabilities(7)).

use super::{At, Fail, Outcome};
use crate::page::Op;
use crate::sys::{self, CapSets, EINVAL, EPERM};

const CAP_SYS_ADMIN: u64 = 1 << 21;

/// Reduces what a joining process can be made to do by what it joins: everything outside `keep`
/// goes from the bounding set and from the process's own sets.
pub(super) fn limit(keep: u64, last_cap: u32) -> Outcome {
    bounding_set(keep, last_cap)?;
    let mut sets = sys::capget().at(Op::Capset)?;
    sets.permitted &= keep;
    sets.effective &= keep;
    sets.inheritable = 0;
    sys::capset(&sets).at(Op::Capset)
}

/// Drops capabilities from the process's own sets; those that are ambient go with them.
pub(super) fn drop(capabilities: u64) -> Outcome {
    let mut sets = sys::capget().at(Op::Capset)?;
    sets.permitted &= !capabilities;
    sets.effective &= !capabilities;
    sys::capset(&sets).at(Op::Capset)
}

/// User 0 and group 0 of the user namespace. Returns whether it permits setgroups(2): one that is
/// joined may have `deny` in its `/proc/PID/setgroups`, which only the kernel knows of.
pub(super) fn become_root(setgroups: bool) -> Outcome<bool> {
    sys::setresgid(0).at(Op::Setgid)?;
    sys::setresuid(0).at(Op::Setuid)?;
    if !setgroups {
        return Ok(false);
    }
    match sys::setgroups(&[]) {
        Ok(()) => Ok(true),
        Err(EPERM) => Ok(false),
        Err(errno) => Err(Fail { op: Op::Setgroups, errno }),
    }
}

pub(super) fn bounding_set(keep: u64, last_cap: u32) -> Outcome {
    for cap in 0..=last_cap.min(63) {
        if keep & 1 << cap != 0 {
            continue;
        }
        match sys::prctl(sys::PR_CAPBSET_DROP, u64::from(cap), 0) {
            Ok(_) => {}
            // Without CAP_SETPCAP it can't be dropped; fine if it isn't there anyway.
            Err(EPERM) if sys::prctl(sys::PR_CAPBSET_READ, u64::from(cap), 0) == Ok(0) => {}
            Err(EINVAL) => break, // the kernel knows fewer
            Err(errno) => return Err(Fail { op: Op::Prctl, errno }),
        }
    }
    Ok(())
}

/// Raises the hard limit of a resource to at least `hard`; the soft one stays.
pub(super) fn raise_limit(resource: u32, hard: u64) -> Outcome {
    let (soft, current) = sys::getrlimit(resource).at(Op::Limit)?;
    if current >= hard {
        return Ok(());
    }
    sys::setrlimit(resource, soft, hard).at(Op::Limit)
}

pub(super) fn user(uid: u32, gid: u32, groups: Option<&[u8]>) -> Outcome {
    // Who becomes root loses none.
    let keep = uid != 0;
    if keep {
        sys::prctl(sys::PR_SET_KEEPCAPS, 1, 0).at(Op::Prctl)?;
    }
    if let Some(groups) = groups {
        sys::setgroups(groups).at(Op::Setgroups)?;
    }
    sys::setresgid(gid).at(Op::Setgid)?;
    sys::setresuid(uid).at(Op::Setuid)?;
    if keep {
        sys::prctl(sys::PR_SET_KEEPCAPS, 0, 0).at(Op::Prctl)?;
    }
    Ok(())
}

/// Sets the permitted, effective, inheritable and ambient sets; returns what was asked for and
/// could not be granted, which the runtime-spec wants to be a warning.
pub(super) fn capabilities(wanted: &CapSets, ambient: u64, filter: bool) -> Outcome<u64> {
    let have = sys::capget().at(Op::Capset)?.permitted;
    let all = wanted.effective | wanted.permitted | wanted.inheritable | ambient;
    let filter = if filter { CAP_SYS_ADMIN & have } else { 0 };
    let permitted = wanted.permitted & have;
    let sets = CapSets {
        permitted: permitted | filter,
        effective: (wanted.effective & permitted) | filter,
        inheritable: wanted.inheritable & have,
    };
    sys::capset(&sets).at(Op::Capset)?;
    sys::prctl(sys::PR_CAP_AMBIENT, sys::PR_CAP_AMBIENT_CLEAR_ALL, 0).at(Op::Prctl)?;
    // The kernel takes into the ambient set what is both permitted and inheritable.
    let ambient = ambient & permitted & sets.inheritable;
    for cap in (0..64).filter(|cap| ambient & 1u64 << cap != 0) {
        sys::prctl(sys::PR_CAP_AMBIENT, sys::PR_CAP_AMBIENT_RAISE, cap).at(Op::Prctl)?;
    }
    Ok(all & !have)
}
