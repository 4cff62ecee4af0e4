//! What a compilation is given: facts about the host, and the caller's wishes.

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Linux, LinuxNamespaceType, Process, Spec};

use crate::spec::namespaces::Namespaces;

/// What has to be known about the host and about the container's place on it.
#[derive(Debug, Clone)]
pub(crate) struct Facts<'a> {
    /// The container's id.
    pub(crate) id: &'a str,
    /// The caller has user id 0 and CAP_SYS_ADMIN over the namespaces it is in. Otherwise a user
    /// namespace has to be entered before anything else can be done.
    pub(crate) privileged: bool,
    /// The caller's capabilities count for its mount namespace. Not so for root of a user namespace
    /// that was made without one.
    pub(crate) own_mounts: bool,
    /// mknod(2) of devices is not permitted: the caller is in a user namespace, or lacks
    /// CAP_MKNOD. Devices are then bound from the host. A user namespace of the container's own
    /// has the same effect.
    pub(crate) bind_devices: bool,
    /// setgroups(2) is permitted in the container's user namespace; not so where an unprivileged
    /// caller, or who made the caller's, had to write `deny` to `/proc/PID/setgroups`,
    /// user_namespaces(7).
    pub(crate) setgroups: bool,
    /// The last capability that the kernel knows, `/proc/sys/kernel/cap_last_cap`.
    pub(crate) last_cap: u32,
    /// `/proc/kcore` exists, so `/dev/core` leads somewhere.
    pub(crate) kcore: bool,
    /// The kernel takes overlay's layers one by one, as `lowerdir+` (6.8 and later).
    pub(crate) overlay_layers: bool,
    /// Where the container's cgroup is seen.
    pub(crate) cgroup: CgroupView,
    /// How the process gets into it.
    pub(crate) placement: Placement,
}

/// The container's cgroup as a mount of type `cgroup` shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CgroupView {
    /// There is none: no cgroup filesystem is mounted, or none that the caller may use.
    None,
    /// The v1 hierarchies of a legacy or hybrid host.
    V1(Vec<V1Hierarchy>),
    /// The unified hierarchy: the container's cgroup directory.
    V2(PathBuf),
}

/// A mounted v1 hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct V1Hierarchy {
    /// The name of its directory: `memory`, `cpu,cpuacct`, `systemd`.
    pub(crate) name: String,
    /// The container's cgroup directory in it.
    pub(crate) directory: PathBuf,
}

/// How a process gets into the container's cgroup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Placement {
    /// It stays in the caller's.
    #[default]
    Stay,
    /// Inner is born in it: CLONE_INTO_CGROUP.
    V2,
    /// Outer attaches itself in so many v1 hierarchies; inner may be born in a v2 one as well, on
    /// a hybrid host.
    V1 {
        /// How many `tasks` files are passed.
        hierarchies: u32,
        /// In which of them inner attaches itself: those with the controllers pids and memory.
        inner: [Option<u32>; 2],
        /// A v2 directory is passed, too.
        unified: bool,
    },
    /// The library, or systemd for it, moves inner while that waits.
    Library,
}

/// What the caller wants.
#[derive(Debug, Clone, Default)]
pub(crate) struct Options<'a> {
    /// Don't use pivot_root(2), for a host whose root is a ramfs.
    pub(crate) no_pivot: bool,
    /// Leave the session keyring as it is.
    pub(crate) no_new_keyring: bool,
    /// How many descriptors from 3 on the process keeps.
    pub(crate) preserve_fds: u32,
    /// Report the time of each step.
    pub(crate) timings: bool,
    /// The created state may outlive the caller: pass the start socket.
    pub(crate) listener: bool,
    /// Environment after `process.env`: `NOTIFY_SOCKET=…`, `LISTEN_FDS=…`.
    pub(crate) extra_env: &'a [String],
}

/// A compiled seccomp filter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filter<'a> {
    /// An array of `struct sock_filter`.
    pub(crate) program: &'a [u8],
    /// `SECCOMP_FILTER_FLAG_*`.
    pub(crate) flags: u32,
    /// There is a listener whose descriptor the library takes.
    pub(crate) notify: bool,
}

/// All of it, for the parts of the compiler.
#[derive(Clone, Copy)]
pub(super) struct Context<'a> {
    pub(super) bundle: &'a Path,
    pub(super) rootfs: &'a Path,
    pub(super) spec: &'a Spec,
    pub(super) facts: &'a Facts<'a>,
    pub(super) options: &'a Options<'a>,
    pub(super) filter: Option<Filter<'a>>,
}

impl<'a> Context<'a> {
    pub(super) fn linux(&self) -> Option<&'a Linux> {
        self.spec.linux().as_ref()
    }

    pub(super) fn process(&self) -> Option<&'a Process> {
        self.spec.process().as_ref()
    }

    pub(super) fn namespaces(&self) -> Namespaces<'a> {
        Namespaces::of(self.spec)
    }

    /// The container is in a user namespace that the runtime isn't in.
    pub(super) fn user_namespace(&self) -> bool {
        self.namespaces().has(LinuxNamespaceType::User)
    }

    /// The container has mounts of its own.
    pub(super) fn mount_namespace(&self) -> bool {
        self.namespaces().has(LinuxNamespaceType::Mount)
    }

    /// What is bound from the host has to be opened by outer, with the caller's rights: inner is
    /// somebody else on the host. Who has no privileges over the mount namespace can't clone mounts
    /// there; inner can in its own.
    pub(super) fn open_outside(&self) -> bool {
        self.user_namespace() && self.facts.privileged && self.facts.own_mounts
    }

    /// SELinux: `mountLabel`.
    pub(super) fn mount_label(&self) -> Option<&'a str> {
        self.linux()?.mount_label().as_deref().filter(|label| !label.is_empty())
    }
}
