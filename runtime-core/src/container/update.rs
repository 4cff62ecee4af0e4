//! update: other limits for a container that exists.

use oci_spec::runtime::LinuxResources;

use super::Container;
use super::state::Status;
use crate::cgroup::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::intel_rdt::Resctrl;
use crate::spec::{Resources, merge};
use crate::user_namespace;

impl Container {
    /// Changes the limits of a container that is not stopped; what `resources` doesn't mention
    /// stays as it is. Later calls, and [`spec`](Self::spec), see the new ones as the container's
    /// configuration.
    ///
    /// A limit of memory that is in use makes the kernel free memory, on cgroup2 by ending
    /// processes if need be: see
    /// [`check_before_update`](Resources::check_before_update). Device rules take the place of
    /// all that there are.
    ///
    /// Returns warnings: what was left out.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if it is stopped; [`ErrorKind::InvalidConfig`],
    /// [`ErrorKind::Unsupported`] or [`ErrorKind::Cgroup`] for a value that can't be had, with its
    /// [pointer](Error::pointer) and [file](Error::file). Then all limits are what they were; if
    /// that was not possible, the error says which are not.
    pub fn update(&self, resources: &Resources) -> Result<Vec<String>> {
        self.update_inner(resources).map_err(|error| error.in_operation("update", self.id()))
    }

    fn update_inner(&self, resources: &Resources) -> Result<Vec<String>> {
        let (wanted, warnings) = resources.validated()?;
        let locked = self.dir.lock()?;
        let (record, status, _) = self.current()?;
        if matches!(status, Status::Stopped | Status::Creating) {
            // runc's wording.
            return Err(Error::new(ErrorKind::WrongState, "container not running"));
        }
        let group = record.intel_rdt.as_ref();
        let schemata = resources.schemata();
        let resctrl = match schemata {
            [None, None] => None,
            _ => group.zip(Some(Resctrl::open_for_update(group, schemata)?)),
        };
        let mut spec = self.spec()?;
        let recorded = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
        let complete =
            without_known_devices(merge::completed(recorded.as_ref(), &wanted), &recorded);
        let nodes = spec.linux().as_ref().and_then(|linux| linux.devices().clone());
        let cgroup = self.cgroup(&record)?;
        let request = Request {
            resources: Some(&complete),
            nodes: nodes.as_deref().unwrap_or_default(),
            recorded: recorded.as_ref(),
            rootless: user_namespace::is_rootless()?,
        };
        resources.record(&mut spec, &wanted)?;
        let update = cgroup.update(self.shared.host()?, &request)?;
        let record = || {
            let json = crate::spec::to_json(&spec)?;
            let Some((group, resctrl)) = &resctrl else { return locked.write_config(&json) };
            let old = resctrl.replace(group, schemata)?;
            locked.write_config(&json).inspect_err(|_| drop(resctrl.put_back(group, &old)))
        };
        match record() {
            Ok(()) => Ok(warnings),
            Err(error) => Err(update.revert(error)),
        }
    }
}

/// Rules that say what is recorded change nothing, and are not set again: engines send all of the
/// container's resources, and others may have given it devices meanwhile (NVIDIA's hooks do).
fn without_known_devices(
    mut update: LinuxResources,
    recorded: &Option<LinuxResources>,
) -> LinuxResources {
    let known = recorded.as_ref().and_then(|recorded| recorded.devices().as_ref());
    if update.devices().as_ref() == known {
        update.set_devices(None);
    }
    update
}
