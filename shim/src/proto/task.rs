//! The task service: api/runtime/task/v3/shim.proto.
//!
//! api/runtime/task/v2/shim.proto differs in the package's name alone, so these are its messages
//! too; only the service is called `containerd.task.v2.Task` instead of `containerd.task.v3.Task`.

use std::collections::BTreeMap;

use super::types::{Mount, ProcessInfo, ProcessStatus};
use super::wire::{Any, Timestamp};

/// `containerd.task.v3.CreateTaskRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CreateTaskRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) bundle: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) rootfs: Vec<Mount>,
    #[prost(bool, tag = "4")]
    pub(crate) terminal: bool,
    #[prost(string, tag = "5")]
    pub(crate) stdin: String,
    #[prost(string, tag = "6")]
    pub(crate) stdout: String,
    #[prost(string, tag = "7")]
    pub(crate) stderr: String,
    #[prost(string, tag = "8")]
    pub(crate) checkpoint: String,
    #[prost(string, tag = "9")]
    pub(crate) parent_checkpoint: String,
    #[prost(message, optional, tag = "10")]
    pub(crate) options: Option<Any>,
}

/// `containerd.task.v3.CreateTaskResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct CreateTaskResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
}

/// `containerd.task.v3.DeleteRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct DeleteRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// `containerd.task.v3.DeleteResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct DeleteResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "3")]
    pub(crate) exited_at: Option<Timestamp>,
}

/// `containerd.task.v3.ExecProcessRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ExecProcessRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(bool, tag = "3")]
    pub(crate) terminal: bool,
    #[prost(string, tag = "4")]
    pub(crate) stdin: String,
    #[prost(string, tag = "5")]
    pub(crate) stdout: String,
    #[prost(string, tag = "6")]
    pub(crate) stderr: String,
    /// An OCI `Process`, in JSON.
    #[prost(message, optional, tag = "7")]
    pub(crate) spec: Option<Any>,
}

/// `containerd.task.v3.ResizePtyRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ResizePtyRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) width: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) height: u32,
}

/// `containerd.task.v3.StateRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StateRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// `containerd.task.v3.StateResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StateResponse {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) bundle: String,
    #[prost(uint32, tag = "3")]
    pub(crate) pid: u32,
    #[prost(enumeration = "ProcessStatus", tag = "4")]
    pub(crate) status: i32,
    #[prost(string, tag = "5")]
    pub(crate) stdin: String,
    #[prost(string, tag = "6")]
    pub(crate) stdout: String,
    #[prost(string, tag = "7")]
    pub(crate) stderr: String,
    #[prost(bool, tag = "8")]
    pub(crate) terminal: bool,
    #[prost(uint32, tag = "9")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "10")]
    pub(crate) exited_at: Option<Timestamp>,
    #[prost(string, tag = "11")]
    pub(crate) exec_id: String,
}

/// `containerd.task.v3.KillRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct KillRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) signal: u32,
    #[prost(bool, tag = "4")]
    pub(crate) all: bool,
}

/// `containerd.task.v3.CloseIORequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CloseIORequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(bool, tag = "3")]
    pub(crate) stdin: bool,
}

/// `containerd.task.v3.PidsRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PidsRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// `containerd.task.v3.PidsResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PidsResponse {
    #[prost(message, repeated, tag = "1")]
    pub(crate) processes: Vec<ProcessInfo>,
}

/// `containerd.task.v3.CheckpointTaskRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CheckpointTaskRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) path: String,
    #[prost(message, optional, tag = "3")]
    pub(crate) options: Option<Any>,
}

/// `containerd.task.v3.UpdateTaskRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct UpdateTaskRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    /// OCI `LinuxResources`, in JSON.
    #[prost(message, optional, tag = "2")]
    pub(crate) resources: Option<Any>,
    #[prost(btree_map = "string, string", tag = "3")]
    pub(crate) annotations: BTreeMap<String, String>,
}

/// `containerd.task.v3.StartRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StartRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// `containerd.task.v3.StartResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct StartResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) pid: u32,
}

/// `containerd.task.v3.WaitRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct WaitRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// `containerd.task.v3.WaitResponse`.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct WaitResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "2")]
    pub(crate) exited_at: Option<Timestamp>,
}

/// `containerd.task.v3.StatsRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatsRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// `containerd.task.v3.StatsResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct StatsResponse {
    #[prost(message, optional, tag = "1")]
    pub(crate) stats: Option<Any>,
}

/// `containerd.task.v3.ConnectRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ConnectRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// `containerd.task.v3.ConnectResponse`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ConnectResponse {
    #[prost(uint32, tag = "1")]
    pub(crate) shim_pid: u32,
    #[prost(uint32, tag = "2")]
    pub(crate) task_pid: u32,
    #[prost(string, tag = "3")]
    pub(crate) version: String,
}

/// `containerd.task.v3.ShutdownRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ShutdownRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
    #[prost(bool, tag = "2")]
    pub(crate) now: bool,
}

/// `containerd.task.v3.PauseRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct PauseRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}

/// `containerd.task.v3.ResumeRequest`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ResumeRequest {
    #[prost(string, tag = "1")]
    pub(crate) id: String,
}
