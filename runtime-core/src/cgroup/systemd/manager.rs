//! Which systemd there is to ask, and how: org.freedesktop.systemd1(5).

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::bus::{Address, Bus, Fault, MANAGER, parse_address};
use super::names::object_path;
use super::properties::Property;
use super::value::Value;
use crate::error::{self, Error, ErrorKind, Result};

/// What one operation may take altogether. Under load systemd has been seen to need many seconds
/// (runc #3464), and runc waits for a job as long.
const PATIENCE: Duration = Duration::from_secs(30);

/// sd_booted(3): only where systemd is the init of the system there is this directory.
const BOOTED: &str = "/run/systemd/system";
const SYSTEM: [(&str, bool); 2] =
    [("/run/systemd/private", false), ("/run/dbus/system_bus_socket", true)];

/// An instance of systemd. It is recorded with the container: a later caller may have another
/// environment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Manager {
    /// The one that is the system's init.
    System,
    /// A user's own, for rootless containers.
    User {
        /// `$XDG_RUNTIME_DIR`.
        runtime_dir: Option<PathBuf>,
        /// `$DBUS_SESSION_BUS_ADDRESS`.
        bus: Option<String>,
    },
}

impl Manager {
    /// The caller's: that of the system for root.
    pub(super) fn of_caller(rootless: bool) -> Result<Self> {
        let manager = if rootless {
            let bus = std::env::var_os("DBUS_SESSION_BUS_ADDRESS");
            Self::User {
                runtime_dir: std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from),
                bus: bus.and_then(|address| address.into_string().ok()),
            }
        } else {
            Self::System
        };
        if manager.candidates().is_empty() {
            return Err(Error::new(
                ErrorKind::Unsupported,
                "there is no systemd user manager: neither XDG_RUNTIME_DIR nor \
                 DBUS_SESSION_BUS_ADDRESS is set",
            )
            .with_hint(USER_HINT));
        }
        // A user's manager may be in a container that sees no system's.
        if !rootless && !Path::new(BOOTED).is_dir() {
            // runc's words.
            return Err(Error::new(
                ErrorKind::Unsupported,
                "systemd not running on this host, cannot use systemd cgroups manager",
            )
            .with_file(BOOTED)
            .with_hint("use the cgroupfs manager"));
        }
        Ok(manager)
    }

    /// Where it listens, the best first, and whether that is a bus. Its own socket takes fewer
    /// messages and no bus daemon.
    fn candidates(&self) -> Vec<(Address, bool)> {
        match self {
            Self::System => SYSTEM.map(|(path, bus)| (Address::Path(path.into()), bus)).into(),
            Self::User { runtime_dir, bus } => {
                let at = |name| runtime_dir.as_ref().map(|dir| Address::Path(dir.join(name)));
                let own = at("systemd/private").map(|address| (address, false));
                let session = bus.as_ref().and_then(|text| parse_address(text.as_bytes()));
                let buses = [session, at("bus")].into_iter().flatten();
                own.into_iter().chain(buses.map(|address| (address, true))).collect()
            }
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Self::System => "is systemd in reach? The cgroupfs manager does without it",
            Self::User { .. } => USER_HINT,
        }
    }

    /// Connects to it.
    pub(super) fn connect(&self) -> Result<Connection> {
        self.connect_until(Instant::now() + PATIENCE)
    }

    pub(super) fn connect_until(&self, deadline: Instant) -> Result<Connection> {
        // Inside of a user namespace nobody knows what the other side calls us.
        let uid = rustix::process::geteuid().as_raw();
        let uid = (!crate::user_namespace::in_user_namespace()?).then_some(uid);
        let mut tried = Vec::new();
        for (address, brokered) in self.candidates() {
            match Bus::connect(&address, brokered, uid, deadline) {
                Ok(bus) => return Ok(Connection { bus, address }),
                Err(fault) => tried.push((address, fault)),
            }
        }
        let mut message = "cannot connect to systemd".to_owned();
        let mut kind = ErrorKind::Unsupported;
        for (address, fault) in &tried {
            message.push_str(&format!(": {}: {}", address.display(), fault.describe()));
            if matches!(fault, Fault::Late) {
                kind = ErrorKind::Cgroup;
            }
        }
        Err(Error::new(kind, message).with_hint(self.hint()))
    }
}

const USER_HINT: &str = "rootless containers need a systemd user manager, which `loginctl \
                         enable-linger` starts, and XDG_RUNTIME_DIR; or use the cgroupfs manager";

impl Address {
    fn display(&self) -> String {
        match self {
            Self::Path(path) => path.display().to_string(),
            Self::Abstract(name) => format!("@{}", name.escape_ascii()),
        }
    }
}

impl Fault {
    fn describe(&self) -> String {
        match self {
            Self::System(what, errno) => format!("{what}: {}", error::describe(*errno)),
            Self::Late => "no answer in time".to_owned(),
            Self::Closed => "the connection was closed".to_owned(),
            Self::Refused(line) => format!("access denied ({})", line.escape_debug()),
            Self::Malformed(what) => format!("not what D-Bus says: {what}"),
            Self::Reply { name, text } if text.is_empty() => name.escape_debug().to_string(),
            Self::Reply { text, .. } => text.escape_debug().to_string(),
        }
    }

    fn is(&self, error: &str) -> bool {
        matches!(self, Self::Reply { name, .. } if name == error)
    }
}

const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
/// sd-bus-errors(3): what isn't D-Bus's own error is the errno's name.
const BUSY: &str = "System.Error.EBUSY";
const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
/// What polkit answers whom it can't ask: a user who talks to the system's manager.
const INTERACTIVE: &str = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
const DENIED: &str = "org.freedesktop.DBus.Error.AccessDenied";

/// What came of the attempt to start a unit.
#[derive(Debug)]
pub(super) enum Started {
    Done,
    /// There is no unit of ours: one of this name is somebody else's.
    Not(Error),
    /// There may be one, which has to be stopped.
    Perhaps(Error),
}

/// A connection to systemd.
#[derive(Debug)]
pub(super) struct Connection {
    bus: Bus,
    address: Address,
}

impl Connection {
    /// Begins the patience anew, for what is done later with this connection.
    pub(super) fn renew(&mut self) {
        self.bus.deadline = Instant::now() + PATIENCE;
    }

    /// An error about a unit: it names the unit and the bus.
    fn fail(&self, what: &str, unit: &str, fault: &Fault) -> Error {
        let bus = self.address.display();
        let why = match fault {
            Fault::System(what, _) => (*what).to_owned(),
            fault => fault.describe(),
        };
        let message = format!("{what} systemd unit `{unit}`: {why}");
        let error = Error::new(ErrorKind::Cgroup, message).with_file(bus);
        match fault {
            Fault::System(_, errno) => error.with_errno(*errno),
            Fault::Late => error.with_errno(Errno::TIMEDOUT),
            fault if fault.is(INTERACTIVE) || fault.is(DENIED) => error.with_hint(
                "the system's manager takes units from root only; rootless containers need the \
                 user's",
            ),
            // The cgroup has enabled controllers for those below it: nobody can be in it.
            fault if fault.is(BUSY) => error.with_errno(Errno::BUSY),
            fault if fault.is(EXISTS) => error
                .with_pointer("/linux/cgroupsPath")
                .with_hint("somebody else has a unit of this name: choose another one"),
            _ => error,
        }
    }

    fn call(
        &mut self,
        member: &str,
        arguments: &[Value],
    ) -> std::result::Result<Vec<Value>, Fault> {
        self.bus.call(&MANAGER.call(member, arguments))
    }

    fn property(
        &mut self,
        path: &str,
        interface: &str,
        name: &str,
    ) -> std::result::Result<Value, Fault> {
        let object = MANAGER.at(path, "org.freedesktop.DBus.Properties");
        let arguments = [Value::text(interface), Value::text(name)];
        let mut answer = self.bus.call(&object.call("Get", &arguments))?;
        match answer.pop() {
            Some(Value::Variant(value)) => Ok(*value),
            _ => Err(Fault::Malformed(super::value::Malformed("a property has no value"))),
        }
    }

    fn manager_property(&mut self, name: &str) -> Result<String> {
        let value = self.property(MANAGER.path, MANAGER.interface, name);
        let value = value.map_err(|fault| {
            let message = format!("ask systemd for its {name}: {}", fault.describe());
            Error::new(ErrorKind::Cgroup, message).with_file(self.address.display())
        })?;
        value.as_str().map(str::to_owned).ok_or_else(|| {
            let message = format!("systemd's property {name} is not a text");
            Error::new(ErrorKind::Cgroup, message).with_file(self.address.display())
        })
    }

    /// The first number of the version: `257.13-1~deb13u1` is 257.
    pub(super) fn version(&mut self) -> Result<u32> {
        let version = self.manager_property("Version")?;
        let digits = version.trim_start_matches('v');
        let digits = digits.split(|c: char| !c.is_ascii_digit()).next().unwrap_or_default();
        // One that can't be read is taken for old: the limits are written to the files, too.
        Ok(digits.parse().unwrap_or(0))
    }

    /// The manager's own cgroup, which all its units are in.
    pub(super) fn control_group(&mut self) -> Result<String> {
        self.manager_property("ControlGroup")
    }

    /// Refuses a unit that somebody has already. One that is over or has failed is nobody's.
    pub(super) fn refuse_used(&mut self, unit: &str) -> Result<()> {
        match self.call("GetUnit", &[Value::text(unit)]) {
            Err(fault) if fault.is(NO_SUCH_UNIT) => return Ok(()),
            Err(fault) => return Err(self.fail("ask about", unit, &fault)),
            Ok(_) => {}
        }
        let path = object_path(unit);
        let state = self.property(&path, "org.freedesktop.systemd1.Unit", "ActiveState");
        match state.map_err(|fault| self.fail("ask about", unit, &fault))?.as_str() {
            Some("inactive" | "failed") => Ok(()),
            state => {
                let state = state.unwrap_or("of no state").escape_debug();
                // The first words are runc's.
                let message =
                    format!("container's cgroup is not empty: systemd unit `{unit}` is {state}");
                Err(Error::new(ErrorKind::Cgroup, message)
                    .with_file(self.address.display())
                    .with_pointer("/linux/cgroupsPath"))
            }
        }
    }

    /// The description of a unit that is there.
    pub(super) fn description(&mut self, unit: &str) -> Result<Option<String>> {
        match self.call("GetUnit", &[Value::text(unit)]) {
            Err(fault) if fault.is(NO_SUCH_UNIT) => return Ok(None),
            Err(fault) => return Err(self.fail("ask about", unit, &fault)),
            Ok(_) => {}
        }
        let path = object_path(unit);
        let text = self.property(&path, "org.freedesktop.systemd1.Unit", "Description");
        let text = text.map_err(|fault| self.fail("ask about", unit, &fault))?;
        Ok(text.as_str().map(str::to_owned))
    }

    /// Starts a unit that exists until it is stopped or has no processes, and waits until it has
    /// been started.
    pub(super) fn start(&mut self, unit: &str, properties: &[Property]) -> Started {
        let what = "start";
        if let Err(fault) = self.bus.listen() {
            return Started::Not(self.fail(what, unit, &fault));
        }
        let auxiliary = Value::Array("(sa(sv))".to_owned(), vec![]);
        // "replace": what systemd may be about to do with the slice must not be in the way.
        let arguments =
            [Value::text(unit), Value::text("replace"), dictionary(properties), auxiliary];
        let mut answer = self.call("StartTransientUnit", &arguments);
        if answer.as_ref().is_err_and(|fault| fault.is(EXISTS)) {
            // It may be a leftover that has failed: systemd keeps such a one to be looked at.
            let _ = self.call("ResetFailedUnit", &[Value::text(unit)]);
            answer = self.call("StartTransientUnit", &arguments);
        }
        let answer = match answer {
            Ok(answer) => answer,
            Err(fault @ Fault::Reply { .. }) => {
                return Started::Not(self.fail(what, unit, &fault));
            }
            Err(fault) => return Started::Perhaps(self.fail(what, unit, &fault)),
        };
        match self.job(&answer) {
            Ok(result) if result == "done" => Started::Done,
            Ok(result) => {
                let _ = self.call("ResetFailedUnit", &[Value::text(unit)]);
                let message =
                    format!("start systemd unit `{unit}`: got `{}`", result.escape_debug());
                let error = Error::new(ErrorKind::Cgroup, message);
                Started::Perhaps(error.with_file(self.address.display()))
            }
            Err(fault) => Started::Perhaps(self.fail(what, unit, &fault)),
        }
    }

    /// Stops a unit, if it is there, and waits until it has been stopped; forgets one that has
    /// failed.
    pub(super) fn stop(&mut self, unit: &str) -> Result<()> {
        let what = "stop";
        self.bus.listen().map_err(|fault| self.fail(what, unit, &fault))?;
        let stop = self.call("StopUnit", &[Value::text(unit), Value::text("replace")]);
        match stop.and_then(|answer| self.job(&answer)) {
            Ok(_) => {}
            Err(fault) if fault.is(NO_SUCH_UNIT) => return Ok(()),
            Err(fault) => return Err(self.fail(what, unit, &fault)),
        }
        match self.call("ResetFailedUnit", &[Value::text(unit)]) {
            Ok(_) | Err(Fault::Reply { .. }) => Ok(()),
            Err(fault) => Err(self.fail(what, unit, &fault)),
        }
    }

    /// Waits for the end of a job that a call has returned. Its result is a word such as `done`.
    fn job(&mut self, answer: &[Value]) -> std::result::Result<String, Fault> {
        let [job @ Value::Path(_)] = answer else {
            return Err(Fault::Malformed(super::value::Malformed("a job has no path")));
        };
        self.bus.job_removed(|signal| match signal {
            [Value::U32(_), path, Value::Str(_), Value::Str(result)] if path == job => {
                Some(result.clone())
            }
            _ => None,
        })
    }

    /// Changes a unit until the next boot, and waits until systemd has written what it has to the
    /// unit's cgroup.
    pub(super) fn set(&mut self, unit: &str, properties: &[Property]) -> Result<()> {
        if properties.is_empty() {
            return Ok(());
        }
        let arguments = [Value::text(unit), Value::Bool(true), dictionary(properties)];
        let set = self.call("SetUnitProperties", &arguments);
        // It answers before it writes, and writes before it listens again. Who writes to the same
        // files next must not be overtaken.
        let peer = MANAGER.at(MANAGER.path, "org.freedesktop.DBus.Peer");
        let written = set.and_then(|_| self.bus.call(&peer.call("Ping", &[])));
        written.map(drop).map_err(|fault| self.fail("change", unit, &fault))
    }

    /// A property of a scope.
    pub(super) fn get(&mut self, unit: &str, property: &str) -> Result<Value> {
        let path = object_path(unit);
        let value = self.property(&path, "org.freedesktop.systemd1.Scope", property);
        value.map_err(|fault| self.fail("ask about", unit, &fault))
    }

    /// Moves a process into a unit, to the cgroup `below` that of the unit.
    pub(super) fn attach(&mut self, unit: &str, below: &str, pid: u32) -> Result<()> {
        let pids = Value::Array("u".to_owned(), vec![Value::U32(pid)]);
        let arguments = [Value::text(unit), Value::text(format!("/{below}")), pids];
        let attached = self.call("AttachProcessesToUnit", &arguments);
        attached.map(drop).map_err(|fault| self.fail("move the process into", unit, &fault))
    }
}

/// Properties as a call takes them.
fn dictionary(properties: &[Property]) -> Value {
    let properties = properties
        .iter()
        .map(|(name, value)| Value::Struct(vec![Value::text(name), value.clone().variant()]));
    Value::Array("(sv)".to_owned(), properties.collect())
}

#[cfg(test)]
impl Connection {
    pub(super) fn for_test(bus: Bus, address: Address) -> Self {
        Self { bus, address }
    }
}
