//! What a shim tells containerd: api/events/task.proto, and what carries it there,
//! api/types/event.proto and api/services/ttrpc/events/v1/events.proto.

use super::Typed;
use super::types::Mount;
use super::wire::{Any, Timestamp};

/// An event of a task.
pub(crate) trait Event: Typed {
    /// Subscribers choose by it (containerd's core/runtime/events.go).
    const TOPIC: &'static str;
}

macro_rules! events {
    ($($message:ident $topic:literal,)*) => {$(
        impl Typed for $message {
            const TYPE_URL: &'static str = concat!("containerd.events.", stringify!($message));
        }

        impl Event for $message {
            const TOPIC: &'static str = $topic;
        }
    )*};
}

events! {
    TaskCreate "/tasks/create",
    TaskStart "/tasks/start",
    TaskDelete "/tasks/delete",
    TaskExit "/tasks/exit",
    TaskOOM "/tasks/oom",
    TaskExecAdded "/tasks/exec-added",
    TaskExecStarted "/tasks/exec-started",
    TaskPaused "/tasks/paused",
    TaskResumed "/tasks/resumed",
}

/// `containerd.services.events.ttrpc.v1.ForwardRequest` (api/services/ttrpc/events/v1/events.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ForwardRequest {
    #[prost(message, optional, tag = "1")]
    pub(crate) envelope: Option<Envelope>,
}

/// `containerd.types.Envelope` (api/types/event.proto). Up to containerd 1.7 it stood beside
/// `ForwardRequest`, with the same fields.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Envelope {
    #[prost(message, optional, tag = "1")]
    pub(crate) timestamp: Option<Timestamp>,
    #[prost(string, tag = "2")]
    pub(crate) namespace: String,
    #[prost(string, tag = "3")]
    pub(crate) topic: String,
    #[prost(message, optional, tag = "4")]
    pub(crate) event: Option<Any>,
}

impl Envelope {
    /// The event as it happened at `timestamp` in containerd's `namespace`.
    pub(crate) fn of<E: Event>(event: &E, namespace: &str, timestamp: Timestamp) -> Self {
        Self {
            timestamp: Some(timestamp),
            namespace: namespace.to_owned(),
            topic: E::TOPIC.to_owned(),
            event: Some(Any::pack(event)),
        }
    }
}

/// `containerd.events.TaskCreate`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskCreate {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "2")]
    pub(crate) bundle: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) rootfs: Vec<Mount>,
    #[prost(message, optional, tag = "4")]
    pub(crate) io: Option<TaskIO>,
    #[prost(string, tag = "5")]
    pub(crate) checkpoint: String,
    #[prost(uint32, tag = "6")]
    pub(crate) pid: u32,
}

/// `containerd.events.TaskStart`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskStart {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(uint32, tag = "2")]
    pub(crate) pid: u32,
}

/// `containerd.events.TaskDelete`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskDelete {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(uint32, tag = "2")]
    pub(crate) pid: u32,
    #[prost(uint32, tag = "3")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "4")]
    pub(crate) exited_at: Option<Timestamp>,
    /// The exec's; empty for the container's first process.
    #[prost(string, tag = "5")]
    pub(crate) id: String,
}

/// `containerd.events.TaskIO`: a part of [`TaskCreate`].
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskIO {
    #[prost(string, tag = "1")]
    pub(crate) stdin: String,
    #[prost(string, tag = "2")]
    pub(crate) stdout: String,
    #[prost(string, tag = "3")]
    pub(crate) stderr: String,
    #[prost(bool, tag = "4")]
    pub(crate) terminal: bool,
}

/// `containerd.events.TaskExit`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskExit {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    /// The exec's, or again the container's for its first process.
    #[prost(string, tag = "2")]
    pub(crate) id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) pid: u32,
    #[prost(uint32, tag = "4")]
    pub(crate) exit_status: u32,
    #[prost(message, optional, tag = "5")]
    pub(crate) exited_at: Option<Timestamp>,
}

/// `containerd.events.TaskOOM`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskOOM {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
}

/// `containerd.events.TaskExecAdded`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskExecAdded {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
}

/// `containerd.events.TaskExecStarted`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskExecStarted {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
    #[prost(string, tag = "2")]
    pub(crate) exec_id: String,
    #[prost(uint32, tag = "3")]
    pub(crate) pid: u32,
}

/// `containerd.events.TaskPaused`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskPaused {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
}

/// `containerd.events.TaskResumed`.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct TaskResumed {
    #[prost(string, tag = "1")]
    pub(crate) container_id: String,
}
