//! `hoist exec`.

use std::fs;
use std::os::fd::AsFd;
use std::path::Path;

use oci_spec::runtime::{Capabilities, Capability, LinuxCapabilities, Process as Spec};
use serde_json::Value;

use crate::args::Values;
use crate::failure::{Context, Failure, Result};
use crate::foreground::Foreground;
use crate::launch::{Launch, User};
use crate::log::Log;
use crate::session::Session;
use crate::table::flags;
use hoist::{Process, Signal};

/// What runc's callers tell an error of the runtime by.
const FAILED: u8 = 255;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let exec = || {
        let id = session.id()?;
        exec(session).map_err(|failure| failure.of_command("exec", id))
    };
    exec().map_err(|failure| failure.with_exit_code(FAILED))
}

fn exec(session: &Session) -> Result<u8> {
    let container = session.container()?;
    let arguments = session.operands.get(1..).unwrap_or_default();
    let arguments = arguments.iter().map(|argument| {
        let argument = argument.clone().into_string();
        argument.map_err(|bad| Failure::new(format!("{bad:?} is not valid UTF-8")))
    });
    let spec = match session.values.path(&flags::PROCESS) {
        Some(path) => read(path, &session.log)?,
        None => {
            let spec = container.spec()?.process().clone();
            let spec = spec.ok_or_else(|| Failure::new("process property must not be empty"))?;
            with_options(spec, arguments.collect::<Result<_>>()?, &session.values, &session.log)?
        }
    };
    let detach = session.values.is_on(&flags::DETACH);
    let foreground = if detach { None } else { Some(Foreground::new()?) };
    let mut launch = Launch::prepare(session, spec.terminal().unwrap_or(false), detach, false)?;
    let process = container.exec(&spec, launch.exec_options(session))?;
    session.report(process.warnings(), &[], process.timings());
    attend(session, &launch, &process, foreground).inspect_err(|_| {
        // Nobody learns of it, so it must not go on.
        let _ = process.kill(Signal::KILL).and_then(|()| process.wait());
    })
}

/// Stays with the process unless it is to be left alone; the result is its exit code.
fn attend(
    session: &Session,
    launch: &Launch,
    process: &Process,
    foreground: Option<Foreground>,
) -> Result<u8> {
    let Some(mut foreground) = foreground else {
        launch.announce(Some(process.as_fd()), "setns")?;
        return Ok(0);
    };
    if let Some(master) = launch.receive_terminal()? {
        foreground.attach(master)?;
    }
    launch.announce(Some(process.as_fd()), "setns")?;
    foreground.stay(session, process.as_fd(), None, |signal| process.kill(signal))?;
    Ok(u8::try_from(process.wait()?.exit_code()).unwrap_or(u8::MAX))
}

/// The process that a file describes.
fn read(path: &Path, log: &Log) -> Result<Spec> {
    let text = fs::read(path).context(format_args!("open {}", path.display()))?;
    let (process, warnings) = hoist::parse_process(text)?;
    warnings.iter().for_each(|warning| log.warn(warning));
    Ok(process)
}

/// The container's own process with what the options change.
fn with_options(
    mut process: Spec,
    arguments: Vec<String>,
    values: &Values,
    log: &Log,
) -> Result<Spec> {
    if arguments.is_empty() {
        return Err(Failure::new("exec args cannot be empty"));
    }
    process.set_args(Some(arguments));
    // The container's terminal is no reason for another one.
    process.set_terminal(Some(values.is_on(&flags::TTY)));
    if let Some(cwd) = values.text(&flags::CWD).filter(|cwd| !cwd.is_empty()) {
        process.set_cwd(cwd.into());
    }
    if let Some(profile) = values.text(&flags::APPARMOR).filter(|profile| !profile.is_empty()) {
        process.set_apparmor_profile(Some(profile.to_owned()));
    }
    if let Some(label) = values.text(&flags::PROCESS_LABEL).filter(|label| !label.is_empty()) {
        process.set_selinux_label(Some(label.to_owned()));
    }
    if let Some(on) = values.switch(&flags::NO_NEW_PRIVS) {
        process.set_no_new_privileges(Some(on));
    }
    let mut environment = process.env().clone().unwrap_or_default();
    environment.extend(values.texts(&flags::ENV).map(str::to_owned));
    process.set_env(Some(environment));
    if let Some(user) = values.text(&flags::USER) {
        let User { uid, gid } = User::parse(user)?;
        process.user_mut().set_uid(uid);
        if let Some(gid) = gid {
            process.user_mut().set_gid(gid);
        }
    }
    let mut gids = process.user().additional_gids().clone().unwrap_or_default();
    gids.extend(values.numbers(&flags::ADDITIONAL_GIDS));
    process.user_mut().set_additional_gids(Some(gids).filter(|gids| !gids.is_empty()));
    let added = capabilities(values.texts(&flags::CAP), log);
    if !added.is_empty() {
        let sets = process.capabilities().clone();
        process.set_capabilities(Some(with_capabilities(sets, &added)));
    }
    Ok(process)
}

/// Capabilities by name. Unknown ones are a warning, as they are in config.json.
fn capabilities<'a>(names: impl Iterator<Item = &'a str>, log: &Log) -> Vec<Capability> {
    let parse = |name: &str| serde_json::from_value(Value::String(name.to_owned()));
    let mut known = Vec::new();
    for name in names {
        match parse(name) {
            Ok(capability) => known.push(capability),
            Err(_) => log.warn(&format!("ignoring unknown capability {name:?}")),
        }
    }
    known
}

/// Adds capabilities as runc does: to the bounding, effective and permitted sets, and to the
/// ambient set only where the configuration has inheritable ones. The inheritable set is left
/// alone (CVE-2022-29162).
fn with_capabilities(sets: Option<LinuxCapabilities>, added: &[Capability]) -> LinuxCapabilities {
    let none = || {
        let mut sets = LinuxCapabilities::default();
        sets.set_bounding(None)
            .set_effective(None)
            .set_inheritable(None)
            .set_permitted(None)
            .set_ambient(None);
        sets
    };
    let mut sets = sets.unwrap_or_else(none);
    let with = |set: &Option<Capabilities>| {
        let set = set.clone().unwrap_or_default();
        Some(set.into_iter().chain(added.iter().copied()).collect::<Capabilities>())
    };
    let (bounding, effective) = (with(sets.bounding()), with(sets.effective()));
    let permitted = with(sets.permitted());
    let ambient = sets.inheritable().as_ref().and_then(|_| with(sets.ambient()));
    let ambient = ambient.or_else(|| sets.ambient().clone());
    sets.set_bounding(bounding)
        .set_effective(effective)
        .set_permitted(permitted)
        .set_ambient(ambient);
    sets
}

#[cfg(test)]
#[path = "exec_tests.rs"]
mod tests;
