//! Which namespaces the container gets, joins or shares with the runtime.

use std::path::Path;

use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType, Spec};

/// The `linux.namespaces` of a configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Namespaces<'a>(&'a [LinuxNamespace]);

impl<'a> Namespaces<'a> {
    /// The namespaces of `spec`.
    pub(crate) fn of(spec: &'a Spec) -> Self {
        let list = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_deref());
        Self(list.unwrap_or_default())
    }

    /// True if the container is in a namespace of this kind that the configuration names: a new
    /// one, or one to join. Otherwise it stays in the runtime's.
    pub(crate) fn has(self, kind: LinuxNamespaceType) -> bool {
        self.entry(kind).is_some()
    }

    /// True if a new namespace of this kind is made for the container.
    pub(crate) fn is_new(self, kind: LinuxNamespaceType) -> bool {
        self.entry(kind).is_some_and(|namespace| namespace.path().is_none())
    }

    /// The namespace file to join, if one is given.
    pub(crate) fn path(self, kind: LinuxNamespaceType) -> Option<&'a Path> {
        self.entry(kind)?.path().as_deref()
    }

    fn entry(self, kind: LinuxNamespaceType) -> Option<&'a LinuxNamespace> {
        self.0.iter().find(|namespace| namespace.typ() == kind)
    }
}

/// The name of a kind of namespace in `config.json` (oci-spec displays the names in
/// `/proc/PID/ns`).
pub(crate) fn name(kind: LinuxNamespaceType) -> &'static str {
    match kind {
        LinuxNamespaceType::Mount => "mount",
        LinuxNamespaceType::Cgroup => "cgroup",
        LinuxNamespaceType::Uts => "uts",
        LinuxNamespaceType::Ipc => "ipc",
        LinuxNamespaceType::User => "user",
        LinuxNamespaceType::Pid => "pid",
        LinuxNamespaceType::Network => "network",
        LinuxNamespaceType::Time => "time",
    }
}
