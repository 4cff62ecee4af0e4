//! config.md "Process".

use oci_spec::runtime::{
    Capabilities, Capability, LinuxCapabilities, LinuxIOPriority, LinuxSchedulerPolicy,
    PosixRlimit, Process, Scheduler, User,
};

use super::{entries, member};
use crate::error::{Error, Result};
use crate::spec::id_list;

/// The kernel's `NGROUPS_MAX` (setgroups(2)).
const MAX_GROUPS: usize = 65_536;

pub(in crate::spec) fn validate(
    process: Option<&mut Process>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    // The spec requires it at `start` only; what is to be started can't be learned later, so this
    // is an error at `create`, as in runc.
    let Some(process) = process else {
        return Err(Error::config("/process", "process property must not be empty"));
    };
    program(process)?;
    user(process.user(), warnings)?;
    rlimits(process.rlimits().as_ref())?;
    console_size(process)?;
    if let Some(score) = process.oom_score_adj().filter(|score| !(-1000..=1000).contains(score)) {
        let message = format!("{score} is out of range: -1000 to 1000");
        return Err(Error::config("/process/oomScoreAdj", message));
    }
    scheduler(process.scheduler().as_ref())?;
    io_priority(process.io_priority().as_ref())?;
    affinity(process)?;
    if let Some(mut capabilities) = process.capabilities().clone() {
        drop_ungrantable(&mut capabilities, warnings);
        process.set_capabilities(Some(capabilities));
    }
    Ok(())
}

fn program(process: &Process) -> Result<()> {
    if process.cwd().as_os_str().is_empty() {
        return Err(Error::config("/process/cwd", "cwd property must not be empty"));
    }
    if !process.cwd().is_absolute() {
        return Err(Error::config("/process/cwd", "cwd must be an absolute path"));
    }
    if process.args().as_ref().is_none_or(Vec::is_empty) {
        return Err(Error::config("/process/args", "args must not be empty")
            .with_hint("it holds the program to run and its arguments"));
    }
    // runc ≥ 1.3: no program can make sense of an entry that is no assignment.
    for (index, variable) in entries(process.env().as_ref()) {
        let wrong = match variable.find('=') {
            None => "the environment variable has no `=`",
            Some(0) => "the environment variable has no name",
            Some(_) => continue,
        };
        return Err(Error::config(format!("/process/env/{index}"), wrong)
            .with_hint("an entry looks like NAME=value"));
    }
    Ok(())
}

fn user(user: &User, warnings: &mut Vec<String>) -> Result<()> {
    let gids = user.additional_gids().as_ref();
    let extra = entries(gids).map(|(i, gid)| (format!("/process/user/additionalGids/{i}"), *gid));
    let ids = [
        ("/process/user/uid".to_owned(), user.uid()),
        ("/process/user/gid".to_owned(), user.gid()),
    ];
    for (pointer, id) in ids.into_iter().chain(extra) {
        // setresuid(2) takes (uid_t)-1 for "unchanged".
        if id == u32::MAX {
            return Err(Error::config(pointer, format!("{id} is not a valid id")));
        }
    }
    if gids.is_some_and(|gids| gids.len() > MAX_GROUPS) {
        let message = format!("more than {MAX_GROUPS} groups, the kernel's limit");
        return Err(Error::config("/process/user/additionalGids", message));
    }
    match user.umask() {
        Some(umask) if umask > 0o7777 => {
            let message = format!("{umask} is not a file mode mask: 0 to 511 (octal 0777)");
            Err(Error::config("/process/user/umask", message)
                .with_hint("JSON numbers are decimal: octal 0022 is 18"))
        }
        // Podman takes up to four octal digits from its user.
        Some(umask) if umask > 0o777 => {
            warnings.push(format!(
                "process.user.umask: the kernel ignores more than 0777 of {umask:o}"
            ));
            Ok(())
        }
        _ => Ok(()),
    }
}

fn rlimits(limits: Option<&Vec<PosixRlimit>>) -> Result<()> {
    let mut seen = Vec::new();
    for (index, limit) in entries(limits) {
        let pointer = format!("/process/rlimits/{index}");
        if seen.contains(&limit.typ()) {
            return Err(Error::config(pointer, format!("{} is given twice", limit.typ())));
        }
        seen.push(limit.typ());
        if limit.soft() > limit.hard() {
            let (soft, hard) = (limit.soft(), limit.hard());
            let message = format!("the soft limit {soft} is above the hard limit {hard}");
            return Err(Error::config(member(&pointer, "soft"), message));
        }
    }
    Ok(())
}

/// `consoleSize` MUST be ignored unless `terminal` is true.
fn console_size(process: &Process) -> Result<()> {
    let Some(size) = process.console_size().filter(|_| process.terminal() == Some(true)) else {
        return Ok(());
    };
    for (name, value) in [("height", size.height()), ("width", size.width())] {
        // struct winsize of ioctl_tty(2) has 16 bits for each.
        if value > u64::from(u16::MAX) {
            let message = format!("{value} is out of range: 0 to {}", u16::MAX);
            return Err(Error::config(member("/process/consoleSize", name), message));
        }
    }
    Ok(())
}

/// Which fields go with which policy: sched_setattr(2), sched(7).
fn scheduler(scheduler: Option<&Scheduler>) -> Result<()> {
    use LinuxSchedulerPolicy::{
        SchedBatch, SchedDeadline, SchedFifo, SchedIdle, SchedIso, SchedOther, SchedRr,
    };
    let Some(scheduler) = scheduler else { return Ok(()) };
    let policy = scheduler.policy();
    let wrong = |field: &str, message: String| {
        Err(Error::config(member("/process/scheduler", field), message))
    };
    let nice = scheduler.nice().unwrap_or(0);
    let priority = scheduler.priority().unwrap_or(0);
    match policy {
        SchedIso => {
            let message = "Linux reserves SCHED_ISO, but has never implemented it";
            return Err(Error::unsupported("/process/scheduler/policy", message));
        }
        SchedFifo | SchedRr if !(1..=99).contains(&priority) => {
            return wrong("priority", format!("{policy} needs a priority from 1 to 99"));
        }
        SchedOther | SchedBatch if !(-20..=19).contains(&nice) => {
            return wrong("nice", format!("{nice} is out of range: -20 to 19"));
        }
        SchedFifo | SchedRr | SchedOther | SchedBatch | SchedIdle | SchedDeadline => {}
    }
    if priority != 0 && !matches!(policy, SchedFifo | SchedRr) {
        return wrong("priority", format!("only SCHED_FIFO and SCHED_RR have one, not {policy}"));
    }
    let times = [
        ("runtime", scheduler.runtime().unwrap_or(0)),
        ("deadline", scheduler.deadline().unwrap_or(0)),
        ("period", scheduler.period().unwrap_or(0)),
    ];
    if matches!(policy, SchedDeadline) {
        return deadline(times.map(|(_, nanoseconds)| nanoseconds));
    }
    match times.into_iter().find(|(_, nanoseconds)| *nanoseconds != 0) {
        Some((field, _)) => wrong(field, format!("only SCHED_DEADLINE has one, not {policy}")),
        None => Ok(()),
    }
}

/// sched_setattr(2): 1024 ns <= runtime <= deadline <= period, where a period of 0 means the
/// deadline; all below 2^63.
fn deadline([runtime, deadline, period]: [u64; 3]) -> Result<()> {
    let period = if period == 0 { deadline } else { period };
    let (field, message) = if runtime < 1024 {
        ("runtime", "SCHED_DEADLINE needs a runtime of at least 1024 ns")
    } else if deadline < runtime {
        ("deadline", "the deadline must not be shorter than the runtime")
    } else if period < deadline {
        ("period", "the period must not be shorter than the deadline")
    } else if period > i64::MAX.unsigned_abs() {
        ("period", "the period must be below 2^63 ns")
    } else {
        return Ok(());
    };
    Err(Error::config(member("/process/scheduler", field), message))
}

fn io_priority(priority: Option<&LinuxIOPriority>) -> Result<()> {
    match priority.map(LinuxIOPriority::priority) {
        Some(level) if !(0..=7).contains(&level) => Err(Error::config(
            "/process/ioPriority/priority",
            format!("{level} is out of range: 0 (highest) to 7 (lowest)"),
        )),
        _ => Ok(()),
    }
}

fn affinity(process: &Process) -> Result<()> {
    let Some(affinity) = process.exec_cpu_affinity() else { return Ok(()) };
    for (name, list) in [("initial", affinity.initial()), ("final", affinity.cpu_affinity_final())]
    {
        if let Err(message) = id_list::parse(list.as_deref().unwrap_or_default()) {
            return Err(Error::config(member("/process/execCPUAffinity", name), message));
        }
    }
    Ok(())
}

/// capabilities(7): effective is a subset of permitted, ambient one of permitted and inheritable.
/// The kernel would refuse the rest; the spec wants a warning rather than a failure.
fn drop_ungrantable(sets: &mut LinuxCapabilities, warnings: &mut Vec<String>) {
    let of = |set: &Option<Capabilities>| set.clone().unwrap_or_default();
    let (permitted, inheritable) = (of(sets.permitted()), of(sets.inheritable()));
    let effective = sets.effective().clone().map(|set| {
        let (kept, dropped) = split(set, |c| permitted.contains(&c));
        warnings.extend(dropped.map(|name| {
            format!("can't raise effective capability {name}: it is not in permitted")
        }));
        kept
    });
    let ambient = sets.ambient().clone().map(|set| {
        let (kept, dropped) = split(set, |c| permitted.contains(&c) && inheritable.contains(&c));
        warnings.extend(dropped.map(|name| {
            format!("can't raise ambient capability {name}: it is not in permitted and inheritable")
        }));
        kept
    });
    sets.set_effective(effective);
    sets.set_ambient(ambient);
}

/// What is allowed, and the sorted names of the rest.
fn split(
    set: Capabilities,
    allowed: impl Fn(Capability) -> bool,
) -> (Capabilities, impl Iterator<Item = String>) {
    let (kept, dropped): (Capabilities, Capabilities) = set.into_iter().partition(|c| allowed(*c));
    let mut names: Vec<String> = dropped.iter().map(|c| format!("CAP_{c}")).collect();
    names.sort();
    (kept, names.into_iter())
}
