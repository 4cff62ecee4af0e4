//! The messages of containerd's protocols, written by hand as prost structs.
//!
//! Names are those of the .proto files, so that each can be compared with its source. Generated code
//! would need protoc to build and bring clients, services and reflection that nobody calls here.
//! What the sources have and the shim never sends or reads is left out; unknown fields are skipped,
//! as protobuf demands.

pub(crate) mod bootstrap;
pub(crate) mod events;
pub(crate) mod metrics;
pub(crate) mod options;
pub(crate) mod task;
#[cfg(test)]
mod tests;
pub(crate) mod types;
pub(crate) mod wire;

/// A message that travels in an [`Any`](wire::Any).
pub(crate) trait Typed: prost::Message + Default {
    /// Its full name. containerd (module typeurl) puts no `type.googleapis.com/` in front.
    const TYPE_URL: &'static str;
}
