//! What is fuzzed: a function of bytes for each way in which data comes from elsewhere. It panics where a
//! promise is broken. There with the feature `fuzz` only, for conformance/fuzz.

pub use hoist_init::fuzz::passwd;

pub use crate::cgroup::fuzz::{bus, devices, gvariant, message};
pub use crate::container::fuzz::report;
pub use crate::plan::fuzz::{compile, plans, wire};
pub use crate::procfs::fuzz::procfs;
pub use crate::seccomp::fuzz::seccomp;
pub use crate::signal::fuzz::signal;
pub use crate::spec::fuzz::{config, mount_options, process, resources};
pub use crate::state::fuzz::state;
