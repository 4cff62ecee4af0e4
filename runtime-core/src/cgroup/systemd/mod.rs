//! The systemd driver: a container's cgroup is that of a unit, which systemd makes.
//!
//! systemd takes itself for the one writer of the hierarchy, so it is asked: to start a transient
//! scope around the container's first process, with the limits that it knows, and to stop it. The
//! scope's own cgroup is then hoist's (`Delegate=`), and everything else goes straight to the
//! files. See docs/decisions/0010.

mod annotations;
mod bus;
#[cfg(feature = "fuzz")]
pub(super) mod fuzz;
mod gvariant;
mod manager;
mod message;
mod names;
mod properties;
#[cfg(test)]
mod tests;
mod value;

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use self::manager::{Connection, Manager, Started};
use self::names::Names;
use self::properties::Property;
pub(super) use self::properties::round;
use self::value::Value;
use super::devices::Policy;
use super::limits::Write;
use super::paths::clean;
use crate::error::{Error, Result};

/// A container's unit, as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Unit {
    pub(super) name: String,
    slice: String,
    manager: Manager,
    /// Random letters at the end of the unit's description, from which it is known. Its name is
    /// free as soon as its last process has ended, and the next unit of that name is another's.
    #[serde(default)]
    mark: Option<String>,
}

impl Unit {
    /// The unit that `cgroupsPath` names, and its cgroup in the hierarchy, without a leading
    /// slash. Nothing is made; for a rootless container the user's manager is asked where it is.
    pub(super) fn locate(
        cgroups_path: Option<&str>,
        id: &str,
        rootless: bool,
    ) -> Result<(Self, String)> {
        let names = Names::parse(cgroups_path, id, rootless)?;
        let path = names.path()?;
        let manager = Manager::of_caller(rootless)?;
        let path = match manager {
            Manager::System => path,
            Manager::User { .. } => {
                let above = manager.connect()?.control_group()?;
                format!("{}/{path}", clean(&above))
            }
        };
        let Names { slice, unit: name } = names;
        Ok((Self { name, slice, manager, mark: None }, path))
    }

    /// Sets this unit apart from all others of its name, past and to come.
    pub(super) fn mark(&mut self) -> Result<()> {
        let mut random = [0; 8];
        let flags = rustix::rand::GetRandomFlags::empty();
        rustix::io::retry_on_intr(|| rustix::rand::getrandom(&mut random[..], flags))
            .map_err(|errno| Error::system("get random bytes", errno))?;
        self.mark = Some(random.map(|byte| format!("{byte:02x}")).concat());
        Ok(())
    }

    /// Whether there is a unit of this name that is somebody else's.
    pub(super) fn is_taken(&self) -> Result<bool> {
        let Some(mark) = &self.mark else { return Ok(false) };
        let description = self.manager.connect()?.description(&self.name)?;
        Ok(description.is_some_and(|text| !text.ends_with(&bracketed(mark))))
    }

    /// Checks what the unit has to be like, and that systemd is there.
    pub(super) fn prepare(
        &self,
        id: &str,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Prepared> {
        let text = |name: &str, value: &str| (name.to_owned(), Value::text(value));
        let mut annotated = annotations.map(annotations::parse).transpose()?.unwrap_or_default();
        let names = annotated.iter().map(|(name, _)| name.clone()).collect();
        let mut description = format!("hoist container {id}");
        if let Some(at) = annotated.iter().position(|(name, _)| name == "Description") {
            let (_, value) = annotated.swap_remove(at);
            description = value.as_str().map_or(description, str::to_owned);
        }
        description.extend(self.mark.as_deref().map(bracketed));
        let mut unit = vec![
            text("Description", &description),
            text("Slice", &self.slice),
            // The container's cgroups are its own, and systemd leaves them alone.
            ("Delegate".to_owned(), Value::Bool(true)),
            // It is not stopped at shutdown before what it depends on: engines see to that.
            ("DefaultDependencies".to_owned(), Value::Bool(false)),
        ];
        for controller in ["Memory", "CPU", "IO", "Tasks"] {
            unit.push((format!("{controller}Accounting"), Value::Bool(true)));
        }
        unit.extend(annotated);
        let mut systemd = self.manager.connect()?;
        // What is about to be recorded is what `delete` stops.
        systemd.refuse_used(&self.name)?;
        Ok(Prepared { systemd, properties: unit, annotated: names })
    }

    /// Tells systemd of new limits and device rules. Returns what it had before, for
    /// [`restore`](Self::restore).
    pub(super) fn set(&self, writes: &[Write], devices: Option<&Policy>) -> Result<Before> {
        let mut systemd = self.manager.connect()?;
        let mut properties = limits(&mut systemd, writes)?;
        properties.extend(devices.into_iter().flat_map(properties::of_devices));
        let mut old: Vec<Property> = Vec::new();
        for (name, _) in &properties {
            if old.iter().any(|(known, _)| known == name) {
                continue;
            }
            let value = systemd.get(&self.name, name)?;
            if name == "DeviceAllow" {
                old.push((name.clone(), properties::no_devices()));
            }
            old.push((name.clone(), value));
        }
        systemd.set(&self.name, &properties)?;
        Ok(Before(old))
    }

    /// Takes back what [`set`](Self::set) has changed.
    pub(super) fn restore(&self, before: &Before) -> Result<()> {
        self.manager.connect()?.set(&self.name, &before.0)
    }

    /// Stops the unit, if it is there, and waits for that.
    pub(super) fn stop(&self) -> Result<()> {
        self.manager.connect()?.stop(&self.name)
    }

    /// Moves a process into the unit's cgroup, or into one below.
    pub(super) fn attach(&self, below: &str, pid: u32) -> Result<()> {
        self.manager.connect()?.attach(&self.name, below, pid)
    }
}

fn bracketed(mark: &str) -> String {
    format!(" [{mark}]")
}

/// What properties were before they were changed.
#[derive(Debug)]
pub(super) struct Before(Vec<Property>);

/// A unit that is about to be started.
#[derive(Debug)]
pub(super) struct Prepared {
    systemd: Connection,
    properties: Vec<Property>,
    /// The properties that are from annotations.
    annotated: Vec<String>,
}

/// Whether an error is about a property: its name is a word of the message.
fn mentions(error: &Error, property: &str) -> bool {
    let mut words = error.message().split(|c: char| !c.is_ascii_alphanumeric());
    words.any(|word| word == property)
}

impl Prepared {
    /// Starts the unit with a process in it. What `linux.resources` says comes after the
    /// annotations, and counts. `ours` is set if the unit may be there from then on.
    pub(super) fn start(
        self,
        unit: &Unit,
        pid: u32,
        writes: &[Write],
        devices: Option<&Policy>,
        ours: &mut Option<Unit>,
    ) -> Result<()> {
        let Self { mut systemd, mut properties, annotated } = self;
        systemd.renew();
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        properties.push(("PIDs".to_owned(), pids));
        properties.extend(properties::oom_policy(writes));
        properties.extend(limits(&mut systemd, writes)?);
        properties.extend(devices.into_iter().flat_map(properties::of_devices));
        let started = systemd.start(&unit.name, &properties);
        if !matches!(started, Started::Not(_)) {
            *ours = Some(unit.clone());
        }
        let (Started::Not(error) | Started::Perhaps(error)) = started else { return Ok(()) };
        // systemd says which property it doesn't know, but not always which one it doesn't like.
        Err(match annotated.iter().find(|name| mentions(&error, name)) {
            Some(name) => error.with_pointer(annotations::pointer(name)),
            None => error,
        })
    }
}

/// The properties for limits, as this systemd has them.
fn limits(systemd: &mut Connection, writes: &[Write]) -> Result<Vec<Property>> {
    let version = if properties::need_version(writes) { systemd.version()? } else { 0 };
    Ok(properties::of_limits(writes, version))
}
