//! Changing the limits and device rules of a container that exists: all of it or nothing.

mod journal;

use oci_spec::runtime::LinuxResources;

use self::journal::Journal;
use super::Cgroup;
use super::create::{Plan, Request};
use super::devices::Undo;
use super::host::{Host, Mode};
use super::systemd::{self, Before, Unit};
use crate::error::{Error, ErrorKind, Result};

/// An update that was made, for as long as it can be taken back.
#[derive(Debug)]
pub(crate) struct Update<'a> {
    limits: Journal<'a>,
    devices: Option<Undo<'a>>,
    unit: Option<(&'a Unit, Before)>,
}

impl Cgroup {
    /// Changes the limits, and the device rules if there are any. What the resources don't
    /// mention stays as it is.
    ///
    /// # Errors
    /// The one value that was refused; then all are again what they were, or the error says
    /// which are not.
    pub(crate) fn update<'a>(&'a self, host: &Host, request: &Request<'_>) -> Result<Update<'a>> {
        let mut plan = Plan::new(host, request)?;
        if let Some(dir) = &self.unified {
            plan.writes.iter_mut().for_each(|write| write.keep_quota(dir));
        }
        if self.unit.is_some() {
            systemd::round(&mut plan.writes);
        }
        if let Some(resources) = request.resources {
            self.check_usage(plan.mode, resources)?;
        }
        // Everything is read before anything is written.
        let limits = Journal::read(&plan.writes, |name| self.limits_dir(plan.mode, name));
        let mut update = Update { limits, devices: None, unit: None };
        let rules = request.resources.and_then(|resources| resources.devices().as_ref());
        let rules = rules.is_some_and(|rules| !rules.is_empty());
        if let Some(unit) = &self.unit {
            // First: what is more than systemd knows is then written over what it writes.
            let devices = (rules && !plan.rootless).then_some(&plan.policy);
            update.unit = Some((unit, unit.set(&plan.writes, devices)?));
        }
        if let Err(error) = self.apply_limits(&plan) {
            return Err(update.revert(error));
        }
        if rules {
            match self.change_devices(&plan, Request { resources: request.recorded, ..*request }) {
                Ok(undo) => update.devices = undo,
                Err(_) if plan.rootless => {}
                Err(error) => return Err(update.revert(error)),
            }
        }
        Ok(update)
    }

    fn change_devices(&self, plan: &Plan, before: Request<'_>) -> Result<Option<Undo<'_>>> {
        let Some(dir) = self.legacy_dir("devices").or(self.unified.as_ref()) else {
            return Ok(None);
        };
        let undo = match plan.mode {
            Mode::Unified => Undo::unified(dir)?,
            Mode::Legacy | Mode::Hybrid => Undo::legacy(dir, before.policy()?)?,
        };
        // Nobody may run into what holds between the steps; who can't be frozen has to.
        let froze = undo.has_steps(&plan.policy) && !self.is_frozen()? && self.freeze().is_ok();
        let put_back = |error| match undo.undo() {
            Ok(()) => error,
            Err(left) => and_left(error, &[left.to_string()]),
        };
        let changed = undo.change(&plan.policy).map_err(put_back);
        let thawed = if froze { self.thaw() } else { Ok(()) };
        match (changed, thawed) {
            (Ok(()), Ok(())) => Ok(Some(undo)),
            (Ok(()), Err(error)) => Err(put_back(error)),
            (Err(error), Ok(())) => Err(error),
            (Err(error), Err(frozen)) => Err(and_left(error, &[frozen.to_string()])),
        }
    }

    /// `checkBeforeUpdate`: on cgroup2 a limit below the current usage is accepted, and the OOM
    /// killer sees to it. v1 refuses such a limit by itself.
    fn check_usage(&self, mode: Mode, resources: &LinuxResources) -> Result<()> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let Some(dir) = self.unified.as_ref().filter(|_| mode == Mode::Unified) else {
            return Ok(());
        };
        if memory.check_before_update() != Some(true) {
            return Ok(());
        }
        // runc's wording, and its order.
        let usage = dir.read("memory.current").ok().and_then(|text| text.trim().parse().ok());
        for (limit, name, field) in
            [(memory.swap(), "memory+swap", "swap"), (memory.limit(), "memory", "limit")]
        {
            if let (Some(limit @ 1..), Some(usage)) = (limit, usage)
                && limit <= usage
            {
                let message = format!("rejecting {name} limit {limit} <= usage {usage}");
                return Err(Error::new(ErrorKind::Cgroup, message)
                    .with_pointer(format!("/linux/resources/memory/{field}")));
            }
        }
        Ok(())
    }
}

impl Update<'_> {
    /// Takes everything back because of an error, and adds to that what can't be taken back.
    pub(crate) fn revert(self, error: Error) -> Error {
        let mut left = Vec::new();
        if let Some(undo) = self.devices
            && let Err(failure) = undo.undo()
        {
            left.push(failure.to_string());
        }
        // systemd before the files: it writes to them, too.
        if let Some((unit, before)) = self.unit
            && let Err(failure) = unit.restore(&before)
        {
            left.push(failure.to_string());
        }
        left.extend(self.limits.restore());
        and_left(error, &left)
    }
}

/// Adds to an error what it has left changed.
fn and_left(error: Error, left: &[String]) -> Error {
    if left.is_empty() {
        return error;
    }
    let left = format!("and what was changed before could not be put back: {}", left.join("; "));
    let hint = match error.hint() {
        Some(hint) => format!("{hint}; {left}"),
        None => left,
    };
    error.with_hint(hint)
}
