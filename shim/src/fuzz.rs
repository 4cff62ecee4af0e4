//! What is fuzzed of the shim: what daemons and clients send. A function panics where a promise is broken.
//! There with the feature `fuzz` only, for conformance/fuzz.

pub use crate::start::fuzz::{bootstrap, options};
pub use crate::ttrpc::fuzz::ttrpc;
