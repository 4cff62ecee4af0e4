//! hoist: an OCI container runtime, a drop-in for runc.

#![forbid(unsafe_code)]
// As a library, in which nothing but that is used.
#![cfg_attr(feature = "fuzz", allow(dead_code))]

mod args;
mod columns;
mod commands;
mod failure;
mod foreground;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod integer;
mod launch;
mod log;
mod name;
mod notify;
mod output;
mod rootless;
mod session;
mod size;
mod table;
mod time;
mod timings;

use std::process::ExitCode;

use args::Parsed;
use failure::{Failure, Result};
use log::Log;
use session::Session;
use table::PROGRAM;

/// musl's own malloc gives a page back as soon as it is empty, and asks for one again at the next
/// call: 44 pairs of mmap(2) and munmap(2), with a page fault each, in a `run`.
#[cfg(target_env = "musl")]
#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

fn main() -> ExitCode {
    let mut args = std::env::args_os();
    args.next(); // our own name
    let parsed = match args::parse(&PROGRAM, args) {
        Ok(parsed) => parsed,
        Err(usage) => {
            let failure = Failure::new(usage.message).with_exit_code(usage.exit_code);
            return fail(&Log::stderr(), &failure);
        }
    };
    match parsed {
        Parsed::Run { command, globals, values, operands } => {
            match Session::open(command, globals, values, operands) {
                Ok(session) => finish(&session.log, (command.action)(&session)),
                Err(failure) => fail(&Log::stderr(), &failure),
            }
        }
        Parsed::Help(command) => {
            finish(&Log::stderr(), commands::reference::show_help(command).map(|()| 0))
        }
        Parsed::Version => finish(&Log::stderr(), commands::reference::show_version().map(|()| 0)),
    }
}

fn finish(log: &Log, outcome: Result<u8>) -> ExitCode {
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(failure) => fail(log, &failure),
    }
}

fn fail(log: &Log, failure: &Failure) -> ExitCode {
    log.failure(failure);
    ExitCode::from(failure.exit_code())
}
