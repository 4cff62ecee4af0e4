//! Isolation as seen from inside: a program of ours is the container's process, or one that joins
//! it, and tells what it has and what it can reach (`auditor/`). What it tells is compared with
//! what `config.json` promises (`facts.rs`, `places.rs`).
//!
//! `HOIST_ATTACK_RUNTIME=PATH` asks the same of another runtime, one with runc's command line.

// Helpers outside of #[test] functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod answers;
mod circumstances;
#[path = "../containers/common.rs"]
#[allow(dead_code, reason = "a part of it is needed here")]
mod common;
mod confinement;
mod deviations;
mod facts;
mod filter;
mod joiners;
mod label;
mod places;
mod promise;
mod subject;
mod verdicts;
