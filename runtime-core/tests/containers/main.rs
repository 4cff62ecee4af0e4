//! Containers on the real kernel: each test looks from inside of one, or at what the kernel says
//! of it. They need root; one that can't run says `SKIP name: reason`.

// Helpers outside of #[test] functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod caller;
mod common;
mod devices;
mod exec;
mod hooks;
mod idmap;
mod lifecycle;
mod mounts;
mod namespaces;
mod process;
mod root;
mod seccomp;
mod security;
mod stats;
mod terminal;
