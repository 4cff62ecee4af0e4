//! Containers on the real kernel: each test looks from inside of one, or at what the kernel says
//! of it. They need root; one that can't run says `SKIP name: reason`.

// Helpers outside of #[test] functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod caller;
mod cgroups;
mod common;
mod device_rules;
mod devices;
mod exec;
mod hooks;
mod hostile;
mod idmap;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
mod pause;
mod placing;
mod process;
mod removal;
mod root;
mod seccomp;
mod security;
mod stats;
mod terminal;
mod update;
