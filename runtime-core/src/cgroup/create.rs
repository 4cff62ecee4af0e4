//! Making a container's cgroup: directories, limits, devices; all of it or nothing.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxDevice, LinuxResources};
use rustix::io::Errno;

use super::devices::{Policy, attach, legacy};
use super::dir::Dir;
use super::host::{Host, Mode};
use super::limits::{self, Write};
use super::paths::{Location, Paths};
use super::{Cgroup, make, systemd};
use crate::error::{Error, ErrorKind, Result};

/// What a container's cgroup has to be like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    /// `linux.resources`.
    pub(crate) resources: Option<&'a LinuxResources>,
    /// `linux.devices`: a node there replaces the default device at its path, and with it the
    /// rule that allows the default one.
    pub(crate) nodes: &'a [LinuxDevice],
    /// An update's: the resources that the cgroup has had, for what the kernel doesn't show.
    pub(crate) recorded: Option<&'a LinuxResources>,
    /// Do without a cgroup where making it is not permitted, as long as neither `cgroupsPath` nor
    /// a limit asks for it; and without device rules, which need privileges, while an
    /// unprivileged user's container has no access to devices that the user has not.
    pub(crate) rootless: bool,
}

impl Request<'_> {
    /// The device rules.
    pub(super) fn policy(&self) -> Result<Policy> {
        let rules = self.resources.and_then(|resources| resources.devices().as_deref());
        Policy::of_container(rules.unwrap_or_default(), self.nodes)
    }
}

impl Cgroup {
    /// Makes a container's cgroup in each hierarchy, and sets limits and device rules.
    ///
    /// # Errors
    /// If it exists and has processes or is frozen; if anything asked for can't be honoured. Then
    /// all is as it was before.
    #[cfg(test)]
    pub(crate) fn create(host: &Host, paths: &Paths, request: &Request<'_>) -> Result<Self> {
        let prepared = Prepared::new(host, paths, request, "", None)?;
        let cgroup = prepared.make(host, paths)?;
        match prepared.confine(&cgroup) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.undo();
                Err(error)
            }
        }
    }

    fn build(&mut self, host: &Host, paths: &Paths, plan: &Plan) -> Result<()> {
        // Without permission, a rootless container may stay in the caller's cgroup; and on
        // hierarchies without a controller of ours, any container may (as in runc).
        let excused = |error: &Error, idle: bool| {
            let denied = [Errno::PERM, Errno::ACCESS, Errno::ROFS]
                .iter()
                .any(|errno| error.errno() == Some(errno.raw_os_error()));
            denied && (idle || plan.rootless && !paths.requested && plan.writes.is_empty())
        };
        let mut existed = false;
        if let Some(location) = &paths.unified {
            match make::unified(host, location, plan.mode, &plan.writes) {
                Ok((dir, made)) => {
                    self.paths.unified = Some(Location { made, ..location.clone() });
                    existed |= made == 0;
                    self.unified = Some(dir);
                }
                Err(error) if excused(&error, plan.mode == Mode::Hybrid) => {}
                Err(error) => return Err(plan.explain(error)),
            }
        }
        for location in &paths.legacy {
            match make::legacy(host, location) {
                Ok((dir, made)) => {
                    self.paths.legacy.push(Location { made, ..location.clone() });
                    existed |= made == 0;
                    self.legacy.push(dir);
                }
                Err(error) if excused(&error, location.is_named()) => {}
                Err(error) => return Err(plan.explain(error)),
            }
        }
        if existed {
            self.refuse_used()?;
        }
        // Also where it is new: it inherits the state of those above it.
        if !self.is_new_below_roots(host)? {
            self.refuse_frozen()?;
        }
        self.apply_limits(plan)?;
        if let Some(dir) = self.legacy_dir("cpuset") {
            let limited = plan.writes.iter().any(|write| write.controller == "cpuset");
            let parent = dir.parent().map_err(|errno| dir.error("open", "..", errno))?;
            make::inherit_cpuset(&parent, dir, self.has_made("cpuset") && !limited)?;
        }
        // v1's rules stand in many files' lines, between which a device node is refused that init
        // may make; v2's program comes in one go, `Prepared::confine`.
        if plan.mode == Mode::Unified { Ok(()) } else { self.confine(plan) }
    }

    fn confine(&self, plan: &Plan) -> Result<()> {
        match self.apply_devices(plan) {
            Err(_) if plan.rootless => Ok(()),
            other => other,
        }
    }

    /// A cgroup that was there already must not have processes, which would become the
    /// container's. Of v1's hierarchies one is looked at, as in runc.
    fn refuse_used(&self) -> Result<()> {
        for dir in self.unified.iter().chain(self.legacy_dir("devices")) {
            let pids = dir.pids().map_err(|errno| dir.error("read", "cgroup.procs", errno))?;
            if !pids.is_empty() {
                let count = pids.len();
                let message = format!("container's cgroup is not empty: {count} process(es) found");
                return Err(Error::new(ErrorKind::Cgroup, message).with_file(dir.path()));
            }
        }
        Ok(())
    }

    /// Nor must it be frozen, by itself or with one above it: the container's first process would
    /// be as well, and whoever waits for it.
    pub(crate) fn refuse_frozen(&self) -> Result<()> {
        match self.legacy_dir("freezer").or(self.unified.as_ref()) {
            Some(dir) if self.is_frozen()? => {
                let message = "container's cgroup unexpectedly frozen";
                Err(Error::new(ErrorKind::Cgroup, message).with_file(dir.path()))
            }
            _ => Ok(()),
        }
    }

    pub(super) fn apply_limits(&self, plan: &Plan) -> Result<()> {
        limits::apply(&plan.writes, |controller| self.limits_dir(plan.mode, controller))
    }

    /// The directory in which a controller's files are.
    pub(super) fn limits_dir(&self, mode: Mode, controller: &str) -> Option<&Dir> {
        match mode {
            Mode::Unified => self.unified.as_ref(),
            Mode::Legacy | Mode::Hybrid => self.legacy_dir(controller),
        }
    }

    fn apply_devices(&self, plan: &Plan) -> Result<()> {
        match (plan.mode, self.legacy_dir("devices"), &self.unified) {
            (Mode::Unified, _, Some(dir)) => match &self.paths.unified {
                Some(location) if location.made > 0 => attach::attach(dir, &plan.policy),
                _ => attach::replace(dir, &plan.policy),
            },
            (_, Some(dir), _) => legacy::apply(dir, &plan.policy, self.has_made("devices")),
            _ if plan.policy.allows_everything() => Ok(()),
            // A container that was to be confined must not run with all devices.
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "cannot restrict devices: the cgroup controller devices is not available",
            )
            .with_pointer("/linux/resources/devices")),
        }
    }

    /// Whether hoist has made the directory in the hierarchy of this v1 controller. Only while the
    /// cgroup is being made that says what is in its files: what the kernel gives a new one.
    fn has_made(&self, controller: &str) -> bool {
        let mut legacy = self.paths.legacy.iter();
        legacy.any(|location| location.has(controller) && location.made > 0)
    }

    /// How many processes the OOM killer has killed in a cgroup before it became a container's,
    /// which has no process yet.
    pub(crate) fn oom_kills_before(&self) -> Result<u64> {
        match &self.paths.unified {
            Some(location) if self.legacy.is_empty() && location.made > 0 => Ok(0),
            _ if self.has_made("memory") => Ok(0),
            _ => Ok(self.oom_kills()?.unwrap_or_default()),
        }
    }

    /// One that systemd will make at this place.
    pub(crate) fn expected(paths: &Paths) -> Self {
        Self { paths: paths.clone(), unified: None, legacy: vec![], unit: None }
    }

    /// Removes what was made; the container has no process yet.
    fn undo(self) {
        let unified = self.unified.into_iter().zip(self.paths.unified);
        for (dir, location) in unified.chain(self.legacy.into_iter().zip(self.paths.legacy)) {
            dir.remove_upwards(location.made);
        }
    }
}

/// A cgroup that is about to be made: all that could be checked before is in order.
#[derive(Debug)]
pub(crate) struct Prepared {
    plan: Plan,
    unit: Option<systemd::Prepared>,
}

impl Prepared {
    /// Checks what is asked for; a unit's manager has to answer. Its further properties are among
    /// the container's annotations.
    pub(crate) fn new(
        host: &Host,
        paths: &Paths,
        request: &Request<'_>,
        id: &str,
        annotations: Option<&HashMap<String, String>>,
    ) -> Result<Self> {
        let mut plan = Plan::new(host, request)?;
        let unit = match &paths.unit {
            Some(unit) => {
                systemd::round(&mut plan.writes);
                Some(unit.prepare(id, annotations)?)
            }
            None => None,
        };
        Ok(Self { plan, unit })
    }

    /// Makes the cgroup, with its limits; [`Self::confine`] has to follow.
    ///
    /// # Errors
    /// If it exists and has processes or is frozen; if anything asked for can't be honoured. Then
    /// all is as it was before.
    pub(crate) fn make(&self, host: &Host, paths: &Paths) -> Result<Cgroup> {
        let mut cgroup = Cgroup {
            paths: Paths::nowhere(paths.requested),
            unified: None,
            legacy: vec![],
            unit: None,
        };
        match cgroup.build(host, paths, &self.plan) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.undo();
                Err(error)
            }
        }
    }

    /// Sets the device rules, unless they are in force already. Until then nothing of the user's
    /// may run in the cgroup.
    ///
    /// # Errors
    /// What the kernel refuses.
    pub(crate) fn confine(&self, cgroup: &Cgroup) -> Result<()> {
        if self.plan.mode == Mode::Unified { cgroup.confine(&self.plan) } else { Ok(()) }
    }

    /// Has systemd make the [expected](Cgroup::expected) cgroup around a process, and sets limits
    /// and device rules.
    ///
    /// # Errors
    /// What systemd or the kernel refuses. What was made is in `cgroup` and has to be removed,
    /// after the process.
    pub(crate) fn start(self, host: &Host, cgroup: &mut Cgroup, pid: u32) -> Result<()> {
        let (Some(unit), Some(location), Some(prepared)) =
            (cgroup.paths.unit.clone(), cgroup.paths.unified.clone(), self.unit)
        else {
            return Err(Error::new(ErrorKind::State, "the container's cgroup is not a unit's"));
        };
        let devices = (!self.plan.rootless).then_some(&self.plan.policy);
        prepared.start(&unit, pid, &self.plan.writes, devices, &mut cgroup.unit)?;
        let (dir, _) = make::unified(host, &location, self.plan.mode, &self.plan.writes)?;
        let dir = cgroup.unified.insert(dir);
        let pids = dir.pids().map_err(|errno| dir.error("read", "cgroup.procs", errno))?;
        if !pids.iter().any(|other| u32::try_from(other.as_raw_pid()) == Ok(pid)) {
            let message = "systemd has started the unit, but the process is not in its cgroup";
            return Err(Error::new(ErrorKind::Cgroup, message).with_file(dir.path()));
        }
        cgroup.refuse_frozen()?;
        cgroup.apply_limits(&self.plan)?;
        cgroup.confine(&self.plan)
    }
}

/// What is to be written, all of it checked before anything is touched.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) mode: Mode,
    pub(super) writes: Vec<Write>,
    pub(super) policy: Policy,
    pub(super) rootless: bool,
}

impl Plan {
    pub(super) fn new(host: &Host, request: &Request<'_>) -> Result<Self> {
        let mode = host.mode();
        let writes = match request.resources {
            Some(resources) => limits::translate(resources, mode)?,
            None => Vec::new(),
        };
        let policy = request.policy()?;
        if mode != Mode::Unified {
            legacy::check(&policy)?;
        }
        Ok(Self { mode, writes, policy, rootless: request.rootless })
    }

    fn explain(&self, error: Error) -> Error {
        if self.rootless {
            let hint = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
            // runc's words, and the hint's are, too.
            return error.in_context("unable to apply cgroup configuration").with_hint(hint);
        }
        error
    }
}
