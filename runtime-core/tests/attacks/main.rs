//! Every published way out of runc, crun and youki, played against hoist: one named test for each
//! advisory. A hostile image, a hostile neighbour that swaps paths while containers are made, a
//! hostile process inside while others join.
//!
//! Each test watches the host through one harness ([`attack::Attack`]): the canary tree, `/dev`
//! and the kernel's settings are as they were, and nothing was mounted outside of the root. What
//! the container got is what the spec promises, or a clear error.
//!
//! Races run for a fixed number of rounds, or as long as `HOIST_ATTACK_SECONDS` or
//! `HOIST_ATTACK_ITERATIONS` say (`make attack`). `HOIST_ATTACK_RUNTIME` names the binary of
//! another runtime, with runc's command line, that the same attacks are played against.

// Helpers outside of #[test] functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod attack;
mod attacker;
mod cgroup_escapes;
#[allow(dead_code, reason = "shared with the tests of containers; a part of it is used here")]
#[path = "../containers/cgroups.rs"]
mod cgroups;
#[allow(dead_code, reason = "shared with the tests of containers; a part of it is used here")]
#[path = "../containers/common.rs"]
mod common;
mod credentials;
mod descriptors;
mod destinations;
mod device_escapes;
mod executable;
mod host;
mod neighbour;
mod procfs;
mod races;
mod subject;
mod terminals;
