//! ttrpc: calls over a unix socket, as containerd's PROTOCOL.md of ttrpc has it.
//!
//! Only unary calls: that is all that the task service and the events service have.

mod frames;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod server;

pub(crate) use frames::{Arrival, Frame, Frames, Kind};
pub(crate) use server::{Call, Connection, Received};
