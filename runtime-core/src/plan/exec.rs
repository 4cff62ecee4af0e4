//! The plan of a process that joins a container.

use std::path::Path;

use hoist_init::page::Sync;
use hoist_init::wire::Step;
use oci_spec::runtime::{Hook, LinuxNamespaceType as Kind, Process, Spec};

use super::builder::{Builder, path};
use super::context::{Context, Facts, Filter, Options, Placement};
use super::namespaces::{attach, attach_inner, cgroup_directory, flag};
use super::process::Start;
use super::{Passed, Plan, create, process, rootfs, scheduling, security};
use crate::error::Result;

/// Where a joining process goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ExecOptions<'a> {
    /// CLONE_NEW* of the namespaces to join: those that differ from the caller's.
    pub(crate) join: u64,
    /// The root filesystem of a container that has no mount namespace.
    pub(crate) chroot: Option<&'a Path>,
    /// The process is this startContainer hook.
    pub(crate) hook: Option<&'a Hook>,
    /// Those who share the pid namespace may trace whom they see there: inner stays outside, and the
    /// process is cloned last of all (decision 0009). The filter has to permit that.
    pub(crate) last: bool,
}

/// Compiles a process of a container that runs `spec`; what the process doesn't say itself it
/// takes from there.
///
/// # Errors
/// The process asks for what can't be expressed.
pub(crate) fn compile(
    process: &Process,
    spec: &Spec,
    exec: ExecOptions<'_>,
    facts: &Facts<'_>,
    options: &Options<'_>,
    filter: Option<Filter<'_>>,
) -> Result<Plan> {
    let here = Path::new("/");
    let ctx = Context { bundle: here, rootfs: here, spec, facts, options, filter };
    let mut plan = Builder::new(options.timings);
    let affinity = scheduling::exec_affinity(process, spec);

    // Outer. Nobody in the container may look into it from the moment it joins.
    plan.push("", &Step::ResetInherited {});
    let initial = affinity.and_then(|affinity| affinity.initial().as_deref());
    scheduling::affinity(&mut plan, initial, "/process/execCPUAffinity/initial")?;
    attach(&mut plan, facts.placement)?;
    process::raise_limits(&mut plan, process, spec);
    let cgroup = cgroup_directory(&mut plan, facts.placement)?;
    if let Some(root) = exec.chroot {
        let root = path(root, "/root/path")?;
        plan.push("/root/path", &Step::OpenRoot { path: &root });
    }
    plan.push("", &Step::NotDumpable {});
    // From inside a cgroup namespace nobody can be born in a cgroup if he comes from outside of
    // it (cgroups(7), `nsdelegate`); and in a user namespace host root may not write to a cgroup
    // that was given to the container. So inner joins these two. Who has no privileges but in the
    // user namespace has to go there first, and owns the cgroup.
    let user_later = facts.privileged && exec.join & flag(Kind::User) != 0;
    let mut later = flag(Kind::Cgroup) | if user_later { flag(Kind::User) } else { 0 };
    if exec.last {
        later |= flag(Kind::Pid);
    }
    let flags = exec.join & !later;
    if flags != 0 {
        let pidfd = plan.pass(Passed::Process, "")?;
        plan.push("", &Step::JoinProcess { pidfd, flags });
    }
    if exec.chroot.is_none() {
        rootfs::join(&mut plan);
    }
    security::limit(&mut plan, facts, process, spec);
    plan.push("", &Step::CloneInner { flags: 0, cgroup });

    // Inner.
    if facts.placement == Placement::Library {
        plan.push("/linux/cgroupsPath", &Step::Sync { point: Sync::Cgroup as u32 });
    }
    attach_inner(&mut plan, facts.placement)?;
    let rdt = spec.linux().as_ref().is_some_and(|linux| linux.intel_rdt().is_some());
    let notify = filter.is_some_and(|filter| filter.notify);
    if oom_score(process, spec).is_some() || rdt || notify {
        // The first two are written from outside, before the program runs.
        plan.push("", &Step::Sync { point: Sync::Maps as u32 });
    }
    if user_later {
        let pidfd = plan.pass(Passed::Process, "")?;
        plan.push("", &Step::JoinProcess { pidfd, flags: flag(Kind::User) });
        // A user namespace is entered with all capabilities over it.
        security::limit(&mut plan, facts, process, spec);
    }
    if exec.join & flag(Kind::User) != 0 {
        plan.push("", &Step::BecomeRoot { setgroups: facts.setgroups });
    }
    if exec.join & flag(Kind::Cgroup) != 0 {
        let fd = plan.pass(Passed::CgroupNamespace, "")?;
        plan.push("", &Step::JoinNamespace { fd, flag: flag(Kind::Cgroup) });
    }
    let last = affinity.and_then(|affinity| affinity.cpu_affinity_final().as_deref());
    scheduling::affinity(&mut plan, last, "/process/execCPUAffinity/final")?;
    // Also for who is cloned last, and makes one of its own: until then no signal of the caller's terminal
    // is inner's.
    plan.push("", &Step::NewSession {});
    create::keyring(&mut plan, facts.id, options.no_new_keyring)?;
    // The procfs of where it is now: in the container's it has no number.
    security::open_proc(&mut plan, security::is_labelled(process, spec));
    if exec.last {
        let pidfd = plan.pass(Passed::Process, "")?;
        plan.push("", &Step::JoinProcess { pidfd, flags: flag(Kind::Pid) });
    }
    if exec.chroot.is_some() {
        plan.push("/root/path", &Step::Chroot {});
    }
    process::console(&mut plan, process, false, exec.last)?;
    let start = match exec.hook {
        Some(hook) => Start::Hook(hook),
        None if exec.last => Start::Last { terminal: process.terminal() == Some(true) },
        None => Start::Now,
    };
    process::compile(&mut plan, &ctx, process, start)?;
    plan.finish()
}

/// The process's own `oomScoreAdj`, or the container's.
pub(crate) fn oom_score(process: &Process, spec: &Spec) -> Option<i32> {
    let container = spec.process().as_ref().and_then(Process::oom_score_adj);
    process.oom_score_adj().or(container)
}
