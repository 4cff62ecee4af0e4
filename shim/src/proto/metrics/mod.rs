//! A container's figures: the messages of the module containerd/cgroups.

pub(crate) mod v1;
pub(crate) mod v2;
