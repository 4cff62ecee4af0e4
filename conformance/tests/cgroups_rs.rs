//! What cgroups-rs reads of the cgroups that hoist makes: two programs that were written without
//! knowledge of each other have to mean the same files by the same limits.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

// The same bundles, and the same views of the hierarchies, as the library's own tests have.
#[allow(dead_code)]
#[path = "../../runtime-core/tests/containers/cgroups.rs"]
mod cgroups;
#[allow(dead_code)]
#[path = "../../runtime-core/tests/containers/common.rs"]
mod common;
mod oracle;
