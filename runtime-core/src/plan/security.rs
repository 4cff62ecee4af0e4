//! Labels, capabilities, user and groups: what the process may do.

use hoist_init::wire::Step;
use oci_spec::runtime::{Capabilities, LinuxCapabilities, Process, Spec};

use super::builder::{Builder, text};
use super::context::{Context, Facts};
use crate::error::Result;

/// What steps after [`Step::LimitCapabilities`] need, capabilities(7): CAP_CHOWN and CAP_FOWNER
/// for the terminal; CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH to change directory; CAP_SETGID,
/// CAP_SETUID and CAP_SETPCAP to become the user; CAP_SYS_CHROOT; CAP_SYS_PTRACE to join the user
/// namespace of somebody else's process; CAP_SYS_ADMIN to join namespaces and to load a filter;
/// CAP_SYS_NICE to schedule.
const NEEDED_TO_JOIN: u64 =
    1 | 1 << 1 | 1 << 2 | 1 << 3 | 1 << 6 | 1 << 7 | 1 << 8 | 1 << 18 | 1 << 19 | 1 << 21 | 1 << 23;

/// The five sets as masks.
#[derive(Debug, Clone, Copy, Default)]
struct Sets {
    bounding: u64,
    effective: u64,
    permitted: u64,
    inheritable: u64,
    ambient: u64,
}

impl Sets {
    fn of(capabilities: Option<&LinuxCapabilities>) -> Self {
        let Some(sets) = capabilities else { return Self::default() };
        Self {
            bounding: mask(sets.bounding()),
            effective: mask(sets.effective()),
            permitted: mask(sets.permitted()),
            inheritable: mask(sets.inheritable()),
            ambient: mask(sets.ambient()),
        }
    }

    fn all(self) -> u64 {
        self.bounding | self.effective | self.permitted | self.inheritable | self.ambient
    }
}

fn mask(set: &Option<Capabilities>) -> u64 {
    let known = |capability: &oci_spec::runtime::Capability| {
        format!("CAP_{capability}").parse::<caps::Capability>().ok()
    };
    set.iter().flatten().filter_map(known).fold(0, |mask, cap| mask | cap.bitmask())
}

/// The process's own capabilities, or the container's.
fn capabilities<'a>(process: &'a Process, spec: &'a Spec) -> Option<&'a LinuxCapabilities> {
    let container = spec.process().as_ref().and_then(|process| process.capabilities().as_ref());
    process.capabilities().as_ref().or(container)
}

/// A joining process is seen by the container's: from then on it keeps only what it needs, and
/// what the container's processes have anyway.
pub(super) fn limit(plan: &mut Builder, facts: &Facts<'_>, process: &Process, spec: &Spec) {
    let keep = NEEDED_TO_JOIN | Sets::of(capabilities(process, spec)).all();
    plan.push("", &Step::LimitCapabilities { keep, last_cap: facts.last_cap });
}

/// True if a label has to be written.
pub(super) fn is_labelled(process: &Process, spec: &Spec) -> bool {
    apparmor(process, spec).or(selinux(process, spec)).is_some()
}

fn apparmor<'a>(process: &'a Process, spec: &'a Spec) -> Option<&'a str> {
    let own = |process: &'a Process| {
        process.apparmor_profile().as_deref().filter(|profile| !profile.is_empty())
    };
    own(process).or_else(|| spec.process().as_ref().and_then(own))
}

fn selinux<'a>(process: &'a Process, spec: &'a Spec) -> Option<&'a str> {
    let own =
        |process: &'a Process| process.selinux_label().as_deref().filter(|label| !label.is_empty());
    own(process).or_else(|| spec.process().as_ref().and_then(own))
}

/// The labels that execve(2) gives. AppArmor's own file exists where several LSMs are stacked.
pub(super) fn label(plan: &mut Builder, process: &Process, spec: &Spec) -> Result<()> {
    if let Some(profile) = apparmor(process, spec) {
        let pointer = "/process/apparmorProfile";
        let label = text(format!("exec {profile}"), pointer)?;
        let step = Step::ExecLabel {
            attr: c"self/attr/apparmor/exec",
            fallback: c"self/attr/exec",
            label: &label,
        };
        plan.push(pointer, &step);
    }
    if let Some(label) = selinux(process, spec) {
        let pointer = "/process/selinuxLabel";
        let label = text(label, pointer)?;
        let step = Step::ExecLabel { attr: c"self/attr/exec", fallback: c"", label: &label };
        plan.push(pointer, &step);
    }
    Ok(())
}

/// The user with its groups and capabilities, in the order that the kernel needs: the bounding
/// set while CAP_SETPCAP is there, no_new_privs before what it protects, capabilities last.
pub(super) fn compile(plan: &mut Builder, ctx: &Context<'_>, process: &Process) {
    let sets = Sets::of(capabilities(process, ctx.spec));
    let last_cap = ctx.facts.last_cap;
    let no_new_privileges = no_new_privileges(process, ctx.spec);
    plan.push("/process/capabilities", &Step::BoundingSet { keep: sets.bounding, last_cap });
    if no_new_privileges {
        plan.push("/process/noNewPrivileges", &Step::NoNewPrivileges {});
    }
    let user = process.user();
    let gids = user.additional_gids().as_deref().unwrap_or_default();
    let groups: Vec<u8> = gids.iter().flat_map(|gid| gid.to_ne_bytes()).collect();
    let step = Step::User {
        uid: user.uid(),
        gid: user.gid(),
        groups: &groups,
        // Where none can be set, who asks for some gets the kernel's refusal.
        set_groups: ctx.facts.setgroups || !gids.is_empty(),
    };
    plan.push("/process/user", &step);
    let step = Step::Capabilities {
        effective: sets.effective,
        permitted: sets.permitted,
        inheritable: sets.inheritable,
        ambient: sets.ambient,
        filter: until_filter(ctx, process) != 0,
    };
    plan.push("/process/capabilities", &step);
}

/// What was permitted for the filter's sake, and isn't the process's.
pub(super) fn only_until_filter(ctx: &Context<'_>, process: &Process) -> u64 {
    until_filter(ctx, process) & !Sets::of(capabilities(process, ctx.spec)).permitted
}

/// What stays permitted until the filter is loaded, or execve(2) takes it away: CAP_SYS_ADMIN.
fn until_filter(ctx: &Context<'_>, process: &Process) -> u64 {
    let needed = ctx.filter.is_some() && !no_new_privileges(process, ctx.spec);
    if needed { caps::Capability::CAP_SYS_ADMIN.bitmask() } else { 0 }
}

fn no_new_privileges(process: &Process, spec: &Spec) -> bool {
    let container = spec.process().as_ref().and_then(Process::no_new_privileges);
    process.no_new_privileges().or(container).unwrap_or(false)
}

/// The filter, last of all.
pub(super) fn seccomp(plan: &mut Builder, ctx: &Context<'_>) {
    if let Some(filter) = ctx.filter {
        let step = Step::Seccomp {
            flags: u64::from(filter.flags),
            program: filter.program,
            notify: filter.notify,
        };
        plan.push("/linux/seccomp", &step);
    }
}

/// `linux.sysctl`, sorted: a map has no order.
pub(super) fn sysctl(plan: &mut Builder, ctx: &Context<'_>) -> Result<()> {
    let Some(sysctl) = ctx.linux().and_then(|linux| linux.sysctl().as_ref()) else {
        return Ok(());
    };
    let mut sorted: Vec<_> = sysctl.iter().collect();
    sorted.sort();
    for (key, value) in sorted {
        let pointer = format!("/linux/sysctl/{}", escape(key));
        let path = text(format!("sys/{}", crate::spec::sysctl::path(key)), &pointer)?;
        let value = text(value.as_str(), &pointer)?;
        plan.push(pointer, &Step::Sysctl { path: &path, value: &value });
    }
    Ok(())
}

/// A key in a JSON pointer, RFC 6901.
fn escape(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1")
}

/// The procfs that labels and kernel parameters are written through. It is opened before masked
/// and read-only paths exist: a user namespace's kernel gives a fresh one only to who sees all of
/// an old one.
pub(super) fn open_proc(plan: &mut Builder, wanted: bool) {
    if wanted {
        plan.push("", &Step::OpenProc {});
    }
}
