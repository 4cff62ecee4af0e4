//! hoist-init: the program that builds a container from inside, and the plan it executes.
//!
//! * [`wire`] is the plan's format, shared with the `hoist` library, which writes plans.
//! * [`page`] is the report page, through which init tells how far it came.
//! * [`interpreter`] executes a plan. It uses no libc, allocates nothing and never panics.
//! * [`IMAGE`] is the program itself, compiled by this crate's build script.
//!
//! The program runs twice for each process that hoist starts: *outer* joins namespaces and cgroups
//! from the caller's side, then clones *inner*, which becomes the container's process. Both execute
//! the same plan: outer up to [`wire::Step::CloneInner`], inner from there. Who joins a container
//! that may trace it is cloned once more, [`wire::Step::CloneLast`].
#![cfg_attr(not(any(test, feature = "fuzz")), no_std)]
#![allow(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "the kernel's interface is machine words; lengths are bounded where they are made"
)]

/// The program has this instead of a libc; here it is looked at by tests alone.
#[cfg(test)]
#[path = "sys/freestanding.rs"]
mod freestanding;
/// What is fuzzed, as in the `hoist` library's module of this name.
#[cfg(any(test, feature = "fuzz"))]
#[doc(hidden)]
pub mod fuzz {
    pub use crate::interpreter::passwd::fuzz::passwd;
}
#[doc(hidden)]
pub mod interpreter;
pub mod page;
mod sys;
pub mod wire;

/// The program hoist-init: a static ELF executable.
pub static IMAGE: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/hoist-init"));
