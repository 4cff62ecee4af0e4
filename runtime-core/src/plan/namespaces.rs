//! Namespaces and the cgroup: what outer does before it clones inner, the clone, and what inner
//! does first.

use oci_spec::runtime::{LinuxNamespaceType as Kind, LinuxTimeOffset, Spec};

use hoist_init::page::Sync;
use hoist_init::wire::{Reg, Step};

use super::Passed;
use super::builder::{Builder, path, text};
use super::context::{Context, Placement};
use crate::error::{Error, Result};
use crate::spec::namespaces::Namespaces;

/// The order in which namespaces are joined, but for the user namespace. The mount namespace
/// comes last: joining it changes the root and the working directory.
const JOINED: [Kind; 6] = [Kind::Ipc, Kind::Uts, Kind::Network, Kind::Pid, Kind::Time, Kind::Mount];

/// The kinds that clone3(2) makes. A time namespace can have its offsets set only while it is
/// empty, and a cgroup namespace begins at the cgroup its maker is in: both are steps.
const CLONED: [Kind; 6] = [Kind::User, Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Network, Kind::Pid];

/// Of these, the ones that outer can make before, unshare(2): all whose maker may be outside.
const EARLY: [Kind; 4] = [Kind::Mount, Kind::Uts, Kind::Ipc, Kind::Network];

/// The kernel's CLONE_NEW* flag: the discriminants of oci-spec are these.
pub(super) fn flag(kind: Kind) -> u64 {
    u64::from(kind as u32)
}

/// The entry of `linux.namespaces` with this kind.
fn pointer(spec: &Spec, kind: Kind) -> String {
    let linux = spec.linux().as_ref();
    let list = linux.and_then(|linux| linux.namespaces().as_deref()).unwrap_or_default();
    match list.iter().position(|namespace| namespace.typ() == kind) {
        Some(index) => format!("/linux/namespaces/{index}"),
        None => String::new(),
    }
}

/// What outer has made, and what it has opened and not yet joined.
pub(super) struct Opened {
    /// The flags of the namespaces that it is in.
    early: u64,
    /// Joined by outer in the end.
    pub(super) user: Option<Reg>,
    /// Joined by inner.
    cgroup: Option<Reg>,
}

/// Outer, while the library still compiles the rest of the plan and makes the cgroup: a clean start,
/// and the namespaces that take the kernel longest, whose flags are returned.
pub(super) fn begin(plan: &mut Builder, spec: &Spec, privileged: bool) -> u64 {
    // Before the cgroup: a v1 cpu cgroup takes no real-time task that it has no budget for.
    plan.push("", &Step::ResetInherited {});
    let early = early(Namespaces::of(spec), privileged);
    if early != 0 {
        plan.push("/linux/namespaces", &Step::Unshare { flags: early });
        if early & flag(Kind::Network) != 0 {
            plan.push(pointer(spec, Kind::Network), &Step::LoopbackUp {});
        }
    }
    plan.push("", &Step::TakeRest {});
    plan.end_head();
    early
}

/// Outer: the v1 cgroups, and the namespaces to join.
pub(super) fn enter(plan: &mut Builder, ctx: &Context<'_>, early: u64) -> Result<Opened> {
    attach(plan, ctx.facts.placement)?;

    // All are opened before any is joined: the paths are the caller's.
    let namespaces = ctx.namespaces();
    let mut joins = Vec::new();
    for kind in [Kind::User, Kind::Cgroup].into_iter().chain(JOINED) {
        if let Some(file) = namespaces.path(kind) {
            let pointer = pointer(ctx.spec, kind);
            let out = plan.register(&pointer)?;
            let file = path(file, &pointer)?;
            plan.push(pointer, &Step::OpenNamespace { path: &file, out });
            joins.push((kind, out));
        }
    }
    // Who has the privilege for all of it loses it in the user namespace, and joins that last;
    // who hasn't gets it there.
    if !ctx.facts.privileged && namespaces.path(Kind::User).is_some() {
        // Who is there already may have capabilities over what joins.
        plan.push("", &Step::NotDumpable {});
    }
    let mut join = |kind: Kind| {
        if let Some((_, fd)) = joins.iter().find(|(joined, _)| *joined == kind) {
            plan.push(pointer(ctx.spec, kind), &Step::JoinNamespace { fd: *fd, flag: flag(kind) });
        }
    };
    if !ctx.facts.privileged {
        join(Kind::User);
    }
    JOINED.into_iter().for_each(&mut join);
    if time_outside(ctx) {
        unshare_time(plan, ctx)?;
    }
    let opened = |kind: Kind| joins.iter().find(|(joined, _)| *joined == kind).map(|(_, fd)| *fd);
    Ok(Opened {
        early,
        user: opened(Kind::User).filter(|_| ctx.facts.privileged),
        cgroup: opened(Kind::Cgroup),
    })
}

/// v1: outer attaches itself, and inner is born where outer is; but for the hierarchies with the
/// controllers pids, where outer would count as well, and memory, where the container would pay for
/// what the kernel needs to make inner (32 KiB of it, cgroup-v1/memory.rst "kernel memory").
pub(super) fn attach(plan: &mut Builder, placement: Placement) -> Result<()> {
    attach_where(plan, placement, false)
}

/// Inner attaches itself where outer hasn't. A limit of one process is no obstacle: it is for
/// fork(2) and clone(2) (cgroup-v1/pids.rst), and what is attached may exceed it.
pub(super) fn attach_inner(plan: &mut Builder, placement: Placement) -> Result<()> {
    attach_where(plan, placement, true)
}

fn attach_where(plan: &mut Builder, placement: Placement, is_inner: bool) -> Result<()> {
    if let Placement::V1 { hierarchies, inner, .. } = placement {
        for index in (0..hierarchies).filter(|index| inner.contains(&Some(*index)) == is_inner) {
            let tasks = plan.pass(Passed::CgroupTasks(index), "/linux/cgroupsPath")?;
            plan.push("", &Step::AttachCgroup { tasks });
        }
    }
    Ok(())
}

/// The namespaces that outer makes itself, while the library makes the cgroup: a network namespace
/// takes the kernel longer than all that the library does meanwhile. None where a user namespace is
/// to own them, or where outer joins others, which come first.
fn early(namespaces: Namespaces<'_>, privileged: bool) -> u64 {
    let joined = |kind: &Kind| namespaces.path(*kind).is_some();
    if !privileged
        || namespaces.is_new(Kind::User)
        || [Kind::User, Kind::Cgroup].iter().chain(&JOINED).any(joined)
    {
        return 0;
    }
    new_flags(namespaces, &EARLY)
}

/// The flags of those kinds of which a new namespace is asked for.
fn new_flags(namespaces: Namespaces<'_>, kinds: &[Kind]) -> u64 {
    let new = kinds.iter().filter(|kind| namespaces.is_new(**kind));
    new.fold(0, |flags, kind| flags | flag(*kind))
}

/// The directory for CLONE_INTO_CGROUP.
pub(super) fn cgroup_directory(plan: &mut Builder, placement: Placement) -> Result<Reg> {
    match placement {
        Placement::V2 | Placement::V1 { unified: true, .. } => {
            plan.pass(Passed::CgroupDir, "/linux/cgroupsPath")
        }
        Placement::Stay | Placement::V1 { .. } | Placement::Library => Ok(Reg::NONE),
    }
}

/// Outer's last step: inner comes to be.
pub(super) fn clone(plan: &mut Builder, ctx: &Context<'_>, opened: &Opened) -> Result<()> {
    let flags = new_flags(ctx.namespaces(), &CLONED) & !opened.early;
    let cgroup = cgroup_directory(plan, ctx.facts.placement)?;
    if ctx.facts.privileged {
        plan.push("", &Step::NotDumpable {});
    }
    if let Some(fd) = opened.user {
        plan.push(
            pointer(ctx.spec, Kind::User),
            &Step::JoinNamespace { fd, flag: flag(Kind::User) },
        );
    }
    plan.push("/linux/namespaces", &Step::CloneInner { flags, cgroup });
    Ok(())
}

/// Inner's first steps: it becomes the container's root and completes its namespaces.
pub(super) fn complete(plan: &mut Builder, ctx: &Context<'_>, opened: &Opened) -> Result<()> {
    let namespaces = ctx.namespaces();
    attach_inner(plan, ctx.facts.placement)?;
    if ctx.facts.placement == Placement::Library {
        plan.push("/linux/cgroupsPath", &Step::Sync { point: Sync::Cgroup as u32 });
    }
    if ctx.user_namespace() {
        let pointer = pointer(ctx.spec, Kind::User);
        if namespaces.is_new(Kind::User) {
            stay_accessible(plan, ctx);
            plan.push(&pointer, &Step::Sync { point: Sync::Maps as u32 });
        }
        plan.push(pointer, &Step::BecomeRoot { setgroups: ctx.facts.setgroups });
        stay_accessible(plan, ctx);
    }
    if !time_outside(ctx) {
        unshare_time(plan, ctx)?;
    }
    if !ctx.facts.privileged && !namespaces.is_new(Kind::User) {
        plan.push("", &Step::NotDumpable {});
    }
    // Only now, in its cgroup: a new namespace begins there; and from inside of one, cgroup2 with
    // `nsdelegate` lets nobody be moved or born across its boundary.
    if let Some(fd) = opened.cgroup {
        let step = Step::JoinNamespace { fd, flag: flag(Kind::Cgroup) };
        plan.push(pointer(ctx.spec, Kind::Cgroup), &step);
    } else if namespaces.is_new(Kind::Cgroup) {
        plan.push(pointer(ctx.spec, Kind::Cgroup), &Step::UnshareCgroup {});
    }
    Ok(())
}

/// What an unprivileged caller looks at in `/proc/PID` (maps, namespaces) belongs to root while a
/// process isn't dumpable, and the kernel makes it so whenever the process becomes another user
/// (proc(5), `PR_SET_DUMPABLE`).
///
/// Only in a new user namespace: there nobody but its owner, who is the caller, has capabilities
/// over the process (user_namespaces(7), ptrace(2)). In one that is joined others may have them, and
/// a pid namespace hides the process from none of those who are in one above it.
pub(super) fn stay_accessible(plan: &mut Builder, ctx: &Context<'_>) {
    if !ctx.facts.privileged && ctx.namespaces().is_new(Kind::User) {
        plan.push("", &Step::Dumpable {});
    }
}

/// What inner sets up in its namespaces before it comes to the mounts.
pub(super) fn configure(plan: &mut Builder, ctx: &Context<'_>, opened: &Opened) -> Result<()> {
    let devices = ctx.linux().and_then(|linux| linux.net_devices().as_ref());
    if devices.is_some_and(|devices| !devices.is_empty()) {
        plan.push("/linux/netDevices", &Step::Sync { point: Sync::Namespaces as u32 });
    }
    if ctx.namespaces().is_new(Kind::Network) && opened.early & flag(Kind::Network) == 0 {
        plan.push(pointer(ctx.spec, Kind::Network), &Step::LoopbackUp {});
    }
    if let Some(name) = ctx.spec.hostname().as_deref().filter(|name| !name.is_empty()) {
        let name = text(name, "/hostname")?;
        plan.push("/hostname", &Step::Hostname { name: &name });
    }
    if let Some(name) = ctx.spec.domainname().as_deref().filter(|name| !name.is_empty()) {
        let name = text(name, "/domainname")?;
        plan.push("/domainname", &Step::Domainname { name: &name });
    }
    Ok(())
}

/// Outer makes the time namespace if it may. An unprivileged one may only in its new user
/// namespace, where inner is; inner then enters it at execve(2) (Linux 6.3 on).
fn time_outside(ctx: &Context<'_>) -> bool {
    ctx.facts.privileged || !ctx.namespaces().is_new(Kind::User)
}

/// A new time namespace with its offsets. One that is joined keeps its own.
fn unshare_time(plan: &mut Builder, ctx: &Context<'_>) -> Result<()> {
    if !ctx.namespaces().is_new(Kind::Time) {
        return Ok(());
    }
    let offsets = ctx.linux().and_then(|linux| linux.time_offsets().as_ref());
    let offset = |clock: &str| offsets.and_then(|offsets| offsets.get(clock));
    let parts = |offset: Option<&LinuxTimeOffset>| {
        let secs = offset.and_then(LinuxTimeOffset::secs).unwrap_or(0);
        let nanosecs = offset.and_then(LinuxTimeOffset::nanosecs).unwrap_or(0);
        (secs, i64::from(nanosecs))
    };
    let mut lines = String::new();
    for clock in ["monotonic", "boottime"] {
        if let Some(offset) = offset(clock) {
            let (secs, nanosecs) = parts(Some(offset));
            lines.push_str(&format!("{clock} {secs} {nanosecs}\n"));
        }
    }
    if !lines.is_empty() && !ctx.facts.privileged && ctx.namespaces().path(Kind::User).is_some() {
        // Outer is not dumpable there, so its file for them is root's.
        let message = "time offsets in a user namespace that is joined need privileges";
        return Err(Error::unsupported("/linux/timeOffsets", message));
    }
    let lines = text(lines, "/linux/timeOffsets")?;
    let (monotonic_sec, monotonic_nsec) = parts(offset("monotonic"));
    let (boottime_sec, boottime_nsec) = parts(offset("boottime"));
    plan.push(
        if offsets.is_some() {
            "/linux/timeOffsets".to_owned()
        } else {
            pointer(ctx.spec, Kind::Time)
        },
        &Step::UnshareTime {
            monotonic_sec,
            monotonic_nsec,
            boottime_sec,
            boottime_nsec,
            offsets: &lines,
        },
    );
    Ok(())
}
