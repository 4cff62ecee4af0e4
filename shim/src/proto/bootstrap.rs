//! What containerd since 2.3 and `start` say to each other over stdin and stdout:
//! api/runtime/bootstrap/v1/bootstrap.proto.

use std::collections::BTreeMap;

use super::wire::Any;

/// `containerd.runtime.bootstrap.v1.BootstrapParams`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BootstrapParams {
    #[prost(string, tag = "1")]
    pub(crate) instance_id: String,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    /// An open enum: numbers in between may come.
    #[prost(enumeration = "LogLevel", tag = "3")]
    pub(crate) log_level: i32,
    #[prost(string, tag = "4")]
    pub(crate) containerd_version: String,
    #[prost(string, tag = "5")]
    pub(crate) containerd_ttrpc_address: String,
    #[prost(string, tag = "6")]
    pub(crate) containerd_grpc_address: String,
    #[prost(string, tag = "7")]
    pub(crate) containerd_binary: String,
    #[prost(message, repeated, tag = "8")]
    pub(crate) extensions: Vec<Extension>,
    /// Where the shim's socket goes, if not to the usual place.
    #[prost(string, optional, tag = "9")]
    pub(crate) socket_dir: Option<String>,
}

/// `containerd.runtime.bootstrap.v1.Extension`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Extension {
    #[prost(message, optional, tag = "1")]
    pub(crate) value: Option<Any>,
}

/// `containerd.runtime.bootstrap.v1.BootstrapResult`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct BootstrapResult {
    /// Of the task service: 2 or 3.
    #[prost(int32, tag = "1")]
    pub(crate) version: i32,
    #[prost(string, tag = "2")]
    pub(crate) address: String,
    /// `ttrpc` or `grpc`.
    #[prost(string, tag = "3")]
    pub(crate) protocol: String,
    #[prost(enumeration = "Capability", repeated, tag = "4")]
    pub(crate) capabilities: Vec<i32>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) metadata: BTreeMap<String, String>,
}

/// `containerd.runtime.bootstrap.v1.LogLevel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum LogLevel {
    Info = 0,
    Trace = -8,
    Debug = -4,
    Warn = 4,
    Error = 8,
    Fatal = 10,
    Panic = 12,
}

/// `containerd.runtime.bootstrap.v1.Capability`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, prost::Enumeration)]
#[repr(i32)]
pub(crate) enum Capability {
    Unspecified = 0,
}
