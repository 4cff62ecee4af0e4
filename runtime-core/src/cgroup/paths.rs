//! Where a container's cgroup is: pure names, kept in `state.json`.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::systemd::Unit;

/// A container's cgroup in each of the host's hierarchies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Paths {
    /// Whether `cgroupsPath` asked for this place.
    pub(super) requested: bool,
    /// In cgroup2: on unified and hybrid hosts.
    pub(super) unified: Option<Location>,
    /// In each v1 hierarchy.
    pub(super) legacy: Vec<Location>,
    /// The unit whose cgroup it is, if systemd makes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) unit: Option<Unit>,
}

/// A cgroup in one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Location {
    /// v1 controllers, or `name=…`; empty for cgroup2.
    pub(super) controllers: Vec<String>,
    /// Where the hierarchy is mounted on the host.
    pub(super) mountpoint: String,
    /// The cgroup below the mount point, without a leading slash.
    pub(super) path: String,
    /// How many of the path's last components hoist made, and therefore removes.
    pub(super) made: usize,
}

/// What a mount of type `cgroup` in the container shows of one v1 hierarchy.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct LegacyMount {
    /// The directory's name below the mount's destination: `cpu,cpuacct`, `systemd`.
    pub(crate) name: String,
    /// The option that mounts this hierarchy in a cgroup namespace: `cpu,cpuacct`,
    /// `name=systemd`.
    pub(crate) option: String,
    /// The container's cgroup on the host, to be bound without a cgroup namespace.
    pub(crate) directory: PathBuf,
    /// Links to `name` beside it, one for each of several controllers: `cpu`, `cpuacct`.
    pub(crate) links: Vec<String>,
}

impl Location {
    /// The cgroup's directory on the host.
    pub(super) fn directory(&self) -> PathBuf {
        Path::new(&self.mountpoint).join(&self.path)
    }

    /// Whether this is a v1 hierarchy with only a name and no controllers, such as systemd's.
    pub(super) fn is_named(&self) -> bool {
        self.controllers.iter().any(|name| name.starts_with("name="))
    }

    /// Whether this is the hierarchy of a v1 controller.
    pub(super) fn has(&self, controller: &str) -> bool {
        self.controllers.iter().any(|name| name == controller)
    }
}

impl Paths {
    /// Nowhere yet: what is made is added.
    pub(super) fn nowhere(requested: bool) -> Self {
        Self { requested, unified: None, legacy: vec![], unit: None }
    }

    /// Sets the unit that is about to be made apart from all others of its name.
    pub(crate) fn mark(&mut self) -> crate::error::Result<()> {
        self.unit.as_mut().map_or(Ok(()), Unit::mark)
    }

    /// Whether systemd makes it, around the container's first process.
    pub(crate) fn by_systemd(&self) -> bool {
        self.unit.is_some()
    }

    /// The container's directory in cgroup2, on unified hosts: what its mount of cgroup2 shows.
    pub(crate) fn unified_directory(&self) -> Option<PathBuf> {
        self.unified.as_ref().filter(|_| self.legacy.is_empty()).map(Location::directory)
    }

    /// What a container on a v1 host sees below its `/sys/fs/cgroup`: the v1 hierarchies; as in
    /// runc, cgroup2 is not among them on a hybrid host. Empty on a unified one.
    pub(crate) fn legacy_mounts(&self) -> Vec<LegacyMount> {
        let mounts = self.legacy.iter().map(|location| {
            let option = location.controllers.join(",");
            let name = Path::new(&location.mountpoint).file_name().and_then(|name| name.to_str());
            let name = name.unwrap_or(&option).to_owned();
            let links = match location.controllers.as_slice() {
                [_] => vec![],
                several => several.iter().filter(|link| **link != name).cloned().collect(),
            };
            LegacyMount { name, option, directory: location.directory(), links }
        });
        mounts.collect()
    }

    /// The directory in the v1 hierarchy of this controller.
    #[cfg(test)]
    pub(crate) fn legacy_directory(&self, controller: &str) -> Option<PathBuf> {
        let mut legacy = self.legacy.iter();
        legacy.find(|location| location.has(controller)).map(Location::directory)
    }
}

/// Makes a path relative to a root that no `..` leads out of: `/a//./b/../../../c` is `c`.
pub(super) fn clean(path: &str) -> String {
    let mut components = Vec::new();
    for component in path.split('/') {
        match component {
            "" | "." => {}
            ".." => drop(components.pop()),
            name => components.push(name),
        }
    }
    components.join("/")
}
