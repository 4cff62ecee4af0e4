//! hoist: a low-level OCI container runtime as a library.
//!
//! It creates, starts, executes into, kills and deletes containers of OCI bundles (runtime-spec
//! 1.3), with no daemon. A container is a small program: the library compiles a bundle into a
//! [`Plan`], and a freestanding init executes it inside the container.
//!
//! ```no_run
//! # fn main() -> hoist::Result<()> {
//! let runtime = hoist::Runtime::builder().root("/run/myapp").build()?;
//! let bundle = hoist::Bundle::load("/bundles/web")?;
//! let container = runtime.create("web-1", bundle, hoist::Stdio::inherit())?;
//! container.start()?;
//! let exit = container.wait()?;
//! container.delete()?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a program that embeds it can rely on
//!
//! * Every call may be made from any thread, in parallel, with any allocator and whatever the
//!   program does with SIGCHLD. Between clone and exec nothing runs in its memory but a few
//!   instructions of assembly.
//! * No call changes the program: working directory, umask, environment, signal mask and handlers,
//!   limits, capabilities, credentials, namespaces. All descriptors are close-on-exec.
//! * It prints nothing and doesn't panic. An [`Error`] names operation, container, step, the JSON
//!   pointer into `config.json`, file and errno.
//! * After a failed creation nothing is left. After a crash at any moment
//!   [`Container::delete_force`] removes every trace.
//! * What can be waited for has a pidfd: see [`Container::pidfd`] and [`Process`].
//!
//! It needs Linux 5.12 or later, on x86_64; the aarch64 layer compiles and was not run yet.

#[cfg(feature = "bench")]
#[doc(hidden)]
pub mod bench;
mod cgroup;
mod children;
mod container;
mod error;
#[cfg(feature = "fuzz")]
#[doc(hidden)]
pub mod fuzz;
mod hooks;
mod intel_rdt;
mod netdevice;
mod options;
mod plan;
mod process;
mod procfs;
mod runtime;
mod seccomp;
mod signal;
mod spawn;
mod spec;
mod state;
mod stdio;
mod sys;
mod timings;
mod user_namespace;

pub use cgroup::Manager as CgroupManager;
pub use cgroup::stats::{
    BlockIoEntry, BlockIoStats, CpuStats, CpusetStats, HugetlbStats, MemoryEvents, MemoryStats,
    MemoryUsage, PidsStats, Pressure, PressureStats, RdmaStats, Stall, Stats, Throttling,
};
pub use container::Container;
pub use container::events::{Event, Events};
pub use container::state::{State, Status};
pub use error::{Error, ErrorKind, Result};
pub use intel_rdt::{IntelRdtStats, L3CacheInfo, MemoryBandwidthInfo, MonitorStats};
pub use netdevice::NetworkStats;
/// The types of `config.json`: the crate `oci-spec`, version 0.10.
pub use oci_spec::runtime as oci;
pub use options::{CreateOptions, ExecOptions};
pub use plan::{Plan, PlannedStep};
pub use process::{ExitStatus, Process, Usage};
pub use runtime::{Runtime, RuntimeBuilder};
pub use signal::Signal;
pub use spec::{Bundle, DefaultSpec, Limit, Resources, features, parse_process};
pub use stdio::{Pipes, Stdio};
pub use timings::{Timing, Timings};
