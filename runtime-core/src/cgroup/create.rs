//! Making a container's cgroup: directories, limits, devices; all of it or nothing.

use oci_spec::runtime::{LinuxDevice, LinuxResources};
use rustix::io::Errno;

use super::devices::{Policy, attach, legacy};
use super::dir::Dir;
use super::host::{Host, Mode};
use super::limits::{self, Write};
use super::paths::{Location, Paths};
use super::{Cgroup, make};
use crate::error::{Error, ErrorKind, Result};

/// What a container's cgroup has to be like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Request<'a> {
    /// `linux.resources`.
    pub(crate) resources: Option<&'a LinuxResources>,
    /// `linux.devices`: a node there replaces the default device at its path, and with it the
    /// rule that allows the default one.
    pub(crate) nodes: &'a [LinuxDevice],
    /// Do without a cgroup where making it is not permitted, as long as neither `cgroupsPath` nor
    /// a limit asks for it; and without device rules, which need privileges, while an
    /// unprivileged user's container has no access to devices that the user has not.
    pub(crate) rootless: bool,
}

impl Cgroup {
    /// Makes a container's cgroup in each hierarchy, and sets limits and device rules.
    ///
    /// # Errors
    /// If it exists and has processes or is frozen; if anything asked for can't be honoured. Then
    /// all is as it was before.
    pub(crate) fn create(host: &Host, paths: &Paths, request: &Request<'_>) -> Result<Self> {
        let plan = Plan::new(host, request)?;
        let mut cgroup = Self {
            paths: Paths { requested: paths.requested, unified: None, legacy: vec![] },
            unified: None,
            legacy: vec![],
        };
        match cgroup.build(host, paths, &plan) {
            Ok(()) => Ok(cgroup),
            Err(error) => {
                cgroup.undo();
                Err(error)
            }
        }
    }

    /// Changes the limits, and the device rules if there are any. What the resources don't
    /// mention stays as it is.
    #[cfg_attr(not(test), expect(dead_code, reason = "for `hoist update`, which is to come"))]
    pub(crate) fn update(&self, host: &Host, request: &Request<'_>) -> Result<()> {
        let plan = Plan::new(host, request)?;
        if let Some(resources) = request.resources {
            self.check_usage(resources)?;
        }
        self.apply_limits(&plan)?;
        let rules = request.resources.and_then(|resources| resources.devices().as_ref());
        if rules.is_none_or(Vec::is_empty) {
            return Ok(());
        }
        match (self.legacy_dir("devices"), &self.unified) {
            (Some(dir), _) => legacy::apply(dir, &plan.policy),
            (None, Some(dir)) => attach::replace(dir, &plan.policy),
            (None, None) => Ok(()),
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
        self.apply_limits(plan)?;
        if let Some(dir) = self.legacy_dir("cpuset") {
            make::inherit_cpuset(dir)?;
        }
        match self.apply_devices(plan) {
            Err(_) if plan.rootless => Ok(()),
            other => other,
        }
    }

    /// A cgroup that was there already must not have processes, which would become the
    /// container's, and must not be frozen, for then the container's first process would be as
    /// well, and whoever waits for it. Of v1's hierarchies one is looked at, as in runc.
    fn refuse_used(&self) -> Result<()> {
        let refuse = |dir: &Dir, message: String| {
            Err(Error::new(ErrorKind::Cgroup, message).with_file(dir.path()))
        };
        for dir in self.unified.iter().chain(self.legacy_dir("devices")) {
            let pids = dir.pids().map_err(|errno| dir.error("read", "cgroup.procs", errno))?;
            if !pids.is_empty() {
                let count = pids.len();
                let message = format!("container's cgroup is not empty: {count} process(es) found");
                return refuse(dir, message);
            }
        }
        match self.legacy_dir("freezer").or(self.unified.as_ref()) {
            Some(dir) if self.is_frozen()? => {
                refuse(dir, "container's cgroup unexpectedly frozen".to_owned())
            }
            _ => Ok(()),
        }
    }

    fn apply_limits(&self, plan: &Plan) -> Result<()> {
        limits::apply(&plan.writes, |controller| match plan.mode {
            Mode::Unified => self.unified.as_ref(),
            Mode::Legacy | Mode::Hybrid => self.legacy_dir(controller),
        })
    }

    fn apply_devices(&self, plan: &Plan) -> Result<()> {
        match (plan.mode, self.legacy_dir("devices"), &self.unified) {
            (Mode::Unified, _, Some(dir)) => match &self.paths.unified {
                Some(location) if location.made > 0 => attach::attach(dir, &plan.policy),
                _ => attach::replace(dir, &plan.policy),
            },
            (_, Some(dir), _) => legacy::apply(dir, &plan.policy),
            _ if plan.policy.allows_everything() => Ok(()),
            // A container that was to be confined must not run with all devices.
            _ => Err(Error::new(
                ErrorKind::Unsupported,
                "cannot restrict devices: the cgroup controller devices is not available",
            )
            .with_pointer("/linux/resources/devices")),
        }
    }

    /// `checkBeforeUpdate`: on cgroup2 a limit below the current usage is accepted, and the OOM
    /// killer sees to it. v1 refuses such a limit by itself.
    fn check_usage(&self, resources: &LinuxResources) -> Result<()> {
        let Some(memory) = resources.memory() else { return Ok(()) };
        let Some(dir) = self.unified.as_ref().filter(|_| self.legacy.is_empty()) else {
            return Ok(());
        };
        if memory.check_before_update() != Some(true) {
            return Ok(());
        }
        let usage = dir.read("memory.current").ok().and_then(|text| text.trim().parse().ok());
        for (limit, field) in [(memory.limit(), "limit"), (memory.swap(), "swap")] {
            if let (Some(limit @ 1..), Some(usage)) = (limit, usage)
                && limit <= usage
            {
                let message = format!("rejecting memory {field} {limit} <= usage {usage}");
                return Err(Error::new(ErrorKind::Cgroup, message)
                    .with_pointer(format!("/linux/resources/memory/{field}")));
            }
        }
        Ok(())
    }

    /// Removes what was made; the container has no process yet.
    fn undo(self) {
        let unified = self.unified.into_iter().zip(self.paths.unified);
        for (dir, location) in unified.chain(self.legacy.into_iter().zip(self.paths.legacy)) {
            dir.remove_upwards(location.made);
        }
    }
}

/// What is to be written, all of it checked before anything is touched.
struct Plan {
    mode: Mode,
    writes: Vec<Write>,
    policy: Policy,
    rootless: bool,
}

impl Plan {
    fn new(host: &Host, request: &Request<'_>) -> Result<Self> {
        let mode = host.mode();
        let writes = match request.resources {
            Some(resources) => limits::translate(resources, mode)?,
            None => Vec::new(),
        };
        let rules = request.resources.and_then(|resources| resources.devices().as_deref());
        let policy = Policy::of_container(rules.unwrap_or_default(), request.nodes)?;
        if mode != Mode::Unified {
            legacy::check(&policy)?;
        }
        Ok(Self { mode, writes, policy, rootless: request.rootless })
    }

    fn explain(&self, error: Error) -> Error {
        if self.rootless {
            let hint = "rootless needs no limits + no cgrouppath when no permission is granted for cgroups";
            return error.with_hint(hint);
        }
        error
    }
}
