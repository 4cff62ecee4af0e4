//! What several services share: api/types/mount.proto, api/types/task/task.proto.

use super::wire::Any;

/// `containerd.types.Mount` (api/types/mount.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Mount {
    #[prost(string, tag = "1")]
    pub(crate) r#type: String,
    #[prost(string, tag = "2")]
    pub(crate) source: String,
    /// Where, below what is mounted; empty: there.
    #[prost(string, tag = "3")]
    pub(crate) target: String,
    /// As in fstab(5).
    #[prost(string, repeated, tag = "4")]
    pub(crate) options: Vec<String>,
}

/// `containerd.v1.types.ProcessInfo` (api/types/task/task.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProcessInfo {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) info: Option<Any>,
}

/// `containerd.v1.types.Status` (api/types/task/task.proto).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum ProcessStatus {
    Unknown = 0,
    Created = 1,
    Running = 2,
    Stopped = 3,
    Paused = 4,
    Pausing = 5,
}
