//! From a finished container to the user's program: common to create and exec.

use std::collections::HashSet;

use hoist_init::wire::{Reg, Step};
use oci_spec::runtime::{Hook, PosixRlimit, PosixRlimitType, Process, Spec};

use super::builder::{Builder, List, path, text};
use super::context::Context;
use super::{Passed, namespaces, scheduling, security};
use crate::error::{Error, Result};

/// Where programs are looked for if the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What follows once the program has been found.
pub(super) enum Start<'a> {
    /// Wait for `start`, at the startContainer hooks' barrier too if there are any.
    Await { listener: Reg, hooks: bool, announced: bool },
    /// Go on.
    Now,
    /// Go on in a process that is cloned when all else is done.
    Last { terminal: bool },
    /// Go on with the program of a startContainer hook. Its path is given, and so is its
    /// environment, unless it gets the process's.
    Hook(&'a Hook),
}

/// Outer: limits that have to be raised, while the caller's privileges are there.
pub(super) fn raise_limits(plan: &mut Builder, process: &Process, spec: &Spec) {
    for (pointer, limit) in limits(process, spec) {
        let step = Step::RaiseLimit { resource: resource(limit.typ()), hard: limit.hard() };
        plan.push(pointer, &step);
    }
}

/// Inner: all that is the process's own.
pub(super) fn compile(
    plan: &mut Builder,
    ctx: &Context<'_>,
    process: &Process,
    start: Start<'_>,
) -> Result<()> {
    let spec = ctx.spec;
    scheduling::compile(plan, process, spec)?;
    let umask = process.user().umask();
    let umask = umask.or(ctx.process().and_then(|process| process.user().umask()));
    plan.push("/process/user/umask", &Step::Umask { mask: umask.unwrap_or(0o022) & 0o777 });
    let cwd = path(process.cwd(), "/process/cwd")?;
    plan.push("/process/cwd", &Step::WorkingDirectory { path: &cwd, last: false });

    let arguments = process.args().as_deref().unwrap_or_default();
    let Some(program) = arguments.first() else {
        return Err(Error::config("/process/args", "there is no program to execute"));
    };
    let uid = process.user().uid();
    let environment =
        Environment::of(process.env().as_deref().unwrap_or_default(), ctx.options.extra_env)?;
    let own = |hook: &Hook| hook.env().as_ref().is_some_and(|own| !own.is_empty());
    if !environment.home && !matches!(start, Start::Hook(hook) if own(hook)) {
        plan.push("/process/env", &Step::LookupHome { uid });
    }
    plan.push("/process/user/uid", &Step::ChownStdio { uid });
    let list = List::collect(arguments, "/process/args")?;
    let variables = environment.list()?;
    let step = Step::PrepareExecute { arguments: list.get(), environment: variables.get() };
    plan.push("/process/args", &step);

    let (last, others): (Vec<_>, Vec<_>) = limits(process, spec).partition(|(_, limit)| {
        matches!(limit.typ(), PosixRlimitType::RlimitNofile | PosixRlimitType::RlimitAs)
    });
    set_limits(plan, &others);
    security::label(plan, process, spec)?;
    let keep = match start {
        Start::Await { listener, .. } => listener,
        Start::Now | Start::Last { .. } | Start::Hook(_) => Reg::NONE,
    };
    plan.push("", &Step::CloseHost { keep });
    security::compile(plan, ctx, process);
    // An `exec` hides from the image's programs. None of them runs beside a container's init:
    // `exec` refuses to start one there.
    if !matches!(start, Start::Now | Start::Last { .. }) {
        namespaces::stay_accessible(plan, ctx);
    }
    plan.push("/process/cwd", &Step::WorkingDirectory { path: &cwd, last: true });
    let name = match start {
        Start::Hook(hook) => path(hook.path(), "/path")?,
        _ => text(program.as_str(), "/process/args/0")?,
    };
    let search = text(environment.path, "/process/env")?;
    plan.push("/process/args/0", &Step::FindProgram { name: &name, path: &search });
    if let Start::Await { listener, hooks, announced } = start {
        plan.push("", &Step::AwaitStart { listener, hooks, announced });
    }
    // Nothing is opened or mapped any more: whoever waited needed both to be started. Inner has yet to
    // send a descriptor if it is followed by another process.
    if !matches!(start, Start::Last { .. }) {
        set_limits(plan, &last);
    }
    let first = ctx.options.preserve_fds.saturating_add(3);
    plan.push("", &Step::CloseFrom { first });
    security::seccomp(plan, ctx);
    if let Start::Last { terminal } = start {
        let drop = security::only_until_filter(ctx, process);
        plan.push("", &Step::CloneLast { drop, terminal });
        set_limits(plan, &last);
    }
    plan.push("/process/args", &Step::Execute {});
    Ok(())
}

/// The terminal.
pub(super) fn console(
    plan: &mut Builder,
    process: &Process,
    mount: bool,
    later: bool,
) -> Result<()> {
    if process.terminal() != Some(true) {
        return Ok(());
    }
    let socket = plan.pass(Passed::ConsoleSocket, "/process/terminal")?;
    let size = |name: &str, value: Option<u64>| {
        u16::try_from(value.unwrap_or(0)).map(u32::from).map_err(|_| {
            Error::config(format!("/process/consoleSize/{name}"), "no terminal is that large")
        })
    };
    let console_size = process.console_size();
    let step = Step::Console {
        socket,
        rows: size("height", console_size.map(|size| size.height()))?,
        columns: size("width", console_size.map(|size| size.width()))?,
        uid: process.user().uid(),
        mount,
        later,
    };
    plan.push("/process/terminal", &step);
    Ok(())
}

/// The process's own limits, or the container's, with their pointers.
fn limits<'a>(
    process: &'a Process,
    spec: &'a Spec,
) -> impl Iterator<Item = (String, &'a PosixRlimit)> {
    let own = process.rlimits().as_deref().unwrap_or_default();
    let container = spec.process().as_ref().and_then(|process| process.rlimits().as_deref());
    let limits = if own.is_empty() { container.unwrap_or_default() } else { own };
    limits.iter().enumerate().map(|(index, limit)| (format!("/process/rlimits/{index}"), limit))
}

fn set_limits(plan: &mut Builder, limits: &[(String, &PosixRlimit)]) {
    for (pointer, limit) in limits {
        let step = Step::Rlimit {
            resource: resource(limit.typ()),
            soft: limit.soft(),
            hard: limit.hard(),
        };
        plan.push(pointer, &step);
    }
}

fn resource(kind: PosixRlimitType) -> u32 {
    match kind {
        PosixRlimitType::RlimitCpu => 0,
        PosixRlimitType::RlimitFsize => 1,
        PosixRlimitType::RlimitData => 2,
        PosixRlimitType::RlimitStack => 3,
        PosixRlimitType::RlimitCore => 4,
        PosixRlimitType::RlimitRss => 5,
        PosixRlimitType::RlimitNproc => 6,
        PosixRlimitType::RlimitNofile => 7,
        PosixRlimitType::RlimitMemlock => 8,
        PosixRlimitType::RlimitAs => 9,
        PosixRlimitType::RlimitLocks => 10,
        PosixRlimitType::RlimitSigpending => 11,
        PosixRlimitType::RlimitMsgqueue => 12,
        PosixRlimitType::RlimitNice => 13,
        PosixRlimitType::RlimitRtprio => 14,
        PosixRlimitType::RlimitRttime => 15,
    }
}

/// The environment as the program gets it.
#[derive(Debug)]
pub(super) struct Environment<'a> {
    /// Each name once.
    variables: Vec<(usize, &'a str)>,
    /// HOME is set to something.
    pub(super) home: bool,
    /// PATH, or the default.
    pub(super) path: &'a str,
}

impl<'a> Environment<'a> {
    /// Of variables with the same name the last one counts, in its place; an empty HOME is none.
    pub(super) fn of(own: &'a [String], extra: &'a [String]) -> Result<Self> {
        let mut environment = Self { variables: Vec::new(), home: false, path: DEFAULT_PATH };
        let mut seen = HashSet::new();
        let all: Vec<&String> = own.iter().chain(extra).collect();
        for (index, variable) in all.into_iter().enumerate().rev() {
            let Some((name, value)) = variable.split_once('=').filter(|(name, _)| !name.is_empty())
            else {
                let message = "an environment variable is NAME=VALUE";
                return Err(Error::config(format!("/process/env/{index}"), message));
            };
            if !seen.insert(name) {
                continue;
            }
            match name {
                "HOME" if value.is_empty() => continue,
                "HOME" => environment.home = true,
                "PATH" => environment.path = value,
                _ => {}
            }
            environment.variables.push((index, variable));
        }
        environment.variables.reverse();
        Ok(environment)
    }

    pub(super) fn list(&self) -> Result<List> {
        let mut list = List::default();
        for (index, variable) in &self.variables {
            list.push(&text(*variable, &format!("/process/env/{index}"))?);
        }
        Ok(list)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn environment(own: &[&str], extra: &[&str]) -> (Vec<String>, bool, String) {
        let strings = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let (own, extra) = (strings(own), strings(extra));
        let environment = Environment::of(&own, &extra).unwrap();
        let variables = environment.variables.iter().map(|(_, v)| (*v).to_owned()).collect();
        (variables, environment.home, environment.path.to_owned())
    }

    #[test]
    fn the_last_of_a_name_counts() {
        let (variables, home, path) =
            environment(&["A=1", "PATH=/x", "B=2", "A=3", "HOME="], &["B=4"]);
        assert_eq!(variables, ["PATH=/x", "A=3", "B=4"]);
        assert!(!home);
        assert_eq!(path, "/x");
        let (variables, home, path) = environment(&["HOME=/a"], &[]);
        assert_eq!(variables, ["HOME=/a"]);
        assert!(home);
        assert_eq!(path, DEFAULT_PATH);
        assert!(Environment::of(&["=x".to_owned()], &[]).is_err());
        assert!(Environment::of(&["x".to_owned()], &[]).is_err());
    }
}
