//! How fast hoist is, beside its peers and beside the floor: what the kernel alone takes.

#![deny(unsafe_code)]

mod args;
mod bundles;
mod command;
mod console;
#[path = "../../conformance/src/failure.rs"]
mod failure;
#[allow(unsafe_code, reason = "clippy looks at the floor's sources by this way")]
mod floor;
mod guard;
mod host;
mod job;
mod measure;
mod report;
mod results;
mod run;
mod statistics;
#[allow(unsafe_code, reason = "wait4(2), fork(2) and sigaction(2)")]
mod sys;
#[path = "../../conformance/src/view.rs"]
mod view;

use std::process::ExitCode;

use args::Arguments;
use failure::Result;

fn main() -> ExitCode {
    match args::parse().and_then(act) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            console::line(format_args!("hoist-bench: {}", failure.message));
            ExitCode::from(failure.status)
        }
    }
}

fn act(arguments: Arguments) -> Result<()> {
    match arguments {
        Arguments::Help => console::print(args::help().trim_end()),
        Arguments::Run(options) => run::run(&options)?,
        Arguments::Measure(job) => measure::measure(&job)?,
        Arguments::Library(job) => measure::library::call(&job)?,
        Arguments::Report(arguments) => report::command(&arguments)?,
        Arguments::Guard(arguments) => guard::run(&arguments)?,
    }
    Ok(())
}
