//! The shim as containerd sees it: each test plays containerd and drives a shim program through its
//! command line, its socket and the events that it sends. Nothing in here knows what is inside, so
//! that any shim can be tested: `HOIST_TEST_SHIM=PATH` names another one, and `HOIST_TEST_RUNC=PATH`
//! the runtime that it is to use. containerd's own shim is how these tests are calibrated; where it
//! does something else the test says which is right, and why.
//!
//! They need root; one that can't run says `SKIP name: reason`. `HOIST_TEST_STORM=N` is the number of
//! containers in the storm.

// Helpers outside of #[test] functions are tests as well.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod attacks;
mod away;
mod calls;
mod death;
mod exec;
mod faults;
mod garbage;
mod given_up;
mod harness;
mod lifecycle;
mod loggers;
mod pods;
mod resources;
mod roots;
mod storm;
mod streams;
mod terminal;
mod view;
