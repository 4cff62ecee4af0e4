//! From the report page to an [`Error`] that names the culprit.

use hoist_init::page::Op;
use hoist_init::wire::Step;
use rustix::io::Errno;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::Plan;
use crate::spawn::report::{Report, Snapshot};

/// What everything that keeps a process from being started begins with, as in runc.
const START: &str = "unable to start container process";

/// The same for all that isn't the program itself.
const DURING_INIT: &str = "unable to start container process: error during container init";

/// The step that leads to the user's program, if it is executed at all.
const EXECUTE: &str = "execute";
const FIND: &str = "find-program";
/// Where there is none yet.
const BEGINNING: &str = "start";

/// What went wrong according to the page, if anything did. Called after the conversation's end.
///
/// `argument` is asked for the program's name.
pub(crate) fn of(
    report: &Report,
    plan: Option<&Plan>,
    argument: impl Fn() -> String,
) -> Result<Option<Error>> {
    Ok(told(&report.read()?, plan, argument))
}

/// What went wrong according to what anybody may have written.
pub(super) fn told(
    snapshot: &Snapshot,
    plan: Option<&Plan>,
    argument: impl Fn() -> String,
) -> Option<Error> {
    let name = Step::name_of(snapshot.code).unwrap_or(BEGINNING);
    let planned = plan.and_then(|plan| plan.step(snapshot.step)).filter(|step| step.name() == name);
    let mut pointer =
        planned.map_or_else(|| well_known_pointer(name), |step| step.pointer()).to_owned();
    let Some(failure) = &snapshot.failure else {
        // Without a failure the connection ends at execve, or with init.
        return (name != EXECUTE).then(|| died(snapshot, name, pointer));
    };
    let error = match (failure.op, name) {
        (Some(Op::Find), FIND) => not_found(&argument(), failure.errno),
        (Some(Op::Execve), EXECUTE) => {
            // All but the sum of the arguments' lengths is about the program.
            if failure.errno != Errno::TOOBIG {
                pointer = well_known_pointer(FIND).to_owned();
            }
            not_executed(&argument(), failure.errno)
        }
        (Some(Op::Getcwd), _) => Error::new(
            ErrorKind::Step,
            "current working directory is outside of container mount namespace root -- possible \
             container breakout detected",
        ),
        (op, _) => {
            let what = op.map_or("failed", Op::text);
            let message = if failure.message.is_empty() {
                what.to_owned()
            } else {
                format!("{what}: {}", failure.message)
            };
            let error = Error::new(ErrorKind::Step, message).with_errno(failure.errno);
            let error = match planned.and_then(|step| mounting(&step.step())) {
                Some(what) => error.in_context(&what),
                None => error,
            };
            match hint(op, failure.errno) {
                Some(hint) => error.with_hint(hint),
                None => error,
            }
        }
    };
    let error = error.with_step(snapshot.step, name);
    Some(if pointer.is_empty() { error } else { error.with_pointer(pointer) })
}

/// [`of`] for a container that is being created or started. The words in front are runc's, which
/// people and programs look for in engines' logs.
pub(crate) fn of_container(
    report: &Report,
    plan: Option<&Plan>,
    argument: impl Fn() -> String,
) -> Result<Option<Error>> {
    Ok(of(report, plan, argument)?.map(|error| match error.kind() {
        ErrorKind::Step => error.in_context(DURING_INIT),
        _ => error,
    }))
}

/// [`of_container`] for what the library did in init's stead, while init waits in that step.
pub(crate) fn in_step(report: &Report, plan: &Plan, error: Error) -> Result<Error> {
    let Some(planned) = plan.step(report.read()?.step) else { return Ok(error) };
    let error = match asked_for(plan, &planned.step()).as_ref().and_then(mounting) {
        Some(what) => error.in_context(&what),
        None => error,
    };
    Ok(error
        .in_context(DURING_INIT)
        .with_step(planned.index(), planned.name())
        .with_pointer(planned.pointer()))
}

/// The step that opened what `step` wants to be mapped.
fn asked_for<'a>(plan: &'a Plan, step: &Step<'_>) -> Option<Step<'a>> {
    let Step::MapIds { tree, .. } = *step else { return None };
    plan.steps()
        .map(|planned| planned.step())
        .find(|step| matches!(step, Step::OpenTree { out, .. } if *out == tree))
}

/// What was to be mounted, in runc's words.
fn mounting(step: &Step<'_>) -> Option<String> {
    let (source, destination) = match *step {
        Step::BindMount { source, destination, .. } => (source, Some(destination)),
        Step::MountFilesystem { source, destination, .. } => (source, Some(destination)),
        Step::OpenTree { source, .. } | Step::CreateMount { source, .. } => (source, None),
        _ => return None,
    };
    let source = source.to_string_lossy();
    Some(match destination {
        Some(to) => format!("error mounting {source:?} to rootfs at {:?}", to.to_string_lossy()),
        None => format!("error mounting {source:?}"),
    })
}

/// The program was looked for in vain. The messages are those of Go's exec.LookPath, which Docker
/// and containerd look for to tell exit codes 126 and 127.
fn not_found(argument: &str, errno: Errno) -> Error {
    let text = match errno {
        Errno::NOENT if !argument.contains('/') => "executable file not found in $PATH".to_owned(),
        Errno::NOENT => format!("stat {argument}: no such file or directory"),
        Errno::NOTDIR => format!("stat {argument}: not a directory"),
        other => plain(other),
    };
    let message = format!("{START}: exec: {argument:?}: {text}");
    Error::new(kind_of(errno), message)
}

/// The program was found, and execve(2) refused it: the words are those of Go's os.PathError. The
/// file that is missing then is not the program.
fn not_executed(argument: &str, errno: Errno) -> Error {
    let text = plain(errno);
    let message = format!("{START}: exec {argument}: {text}");
    let error = Error::new(kind_of(errno), message);
    match errno {
        Errno::NOENT => error.with_hint("does the interpreter that it names exist?"),
        _ => error,
    }
}

fn kind_of(errno: Errno) -> ErrorKind {
    match errno {
        Errno::NOENT | Errno::NOTDIR => ErrorKind::CommandNotFound,
        _ => ErrorKind::CommandNotExecutable,
    }
}

/// The errno in Go's words where somebody looks for them.
fn plain(errno: Errno) -> String {
    match errno {
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::NOTDIR => "not a directory".to_owned(),
        Errno::ACCESS | Errno::PERM => "permission denied".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        Errno::ISDIR => "is a directory".to_owned(),
        other => crate::error::describe(other),
    }
}

fn died(snapshot: &Snapshot, name: &'static str, pointer: String) -> Error {
    let who = if snapshot.inner { "the new process" } else { "hoist-init" };
    // Before it has the page, it can't tell what it failed at.
    let what = if name == BEGINNING { "could not begin, or was killed" } else { "was killed" };
    let error = Error::new(ErrorKind::Step, format!("{who} {what}"))
        .with_step(snapshot.step, name)
        .with_hint("is the memory limit too small, or has somebody killed it?");
    if pointer.is_empty() { error } else { error.with_pointer(pointer) }
}

/// Where in `config.json` the steps come from that a plan isn't at hand for.
fn well_known_pointer(name: &str) -> &'static str {
    match name {
        FIND | EXECUTE => "/process/args/0",
        "seccomp" => "/linux/seccomp",
        "rlimit" => "/process/rlimits",
        _ => "",
    }
}

/// What the answer of the kernel most likely means.
fn hint(op: Option<Op>, errno: Errno) -> Option<&'static str> {
    match (op, errno) {
        // sched_setattr(2): not while the affinity leaves out a CPU. The first words are runc's.
        (Some(Op::Schedule), Errno::PERM) => Some(
            "process scheduler can't be used together with AllowedCPUs (resources.cpu.cpus) if it \
             is SCHED_DEADLINE; a real-time one takes CAP_SYS_NICE",
        ),
        _ => None,
    }
}
