//! `containerd-shim-hoist-v2`: containerd's runtime v2 on the library `hoist`.
//!
//! containerd executes it as `… start` for a new container. That starts the shim proper, one process for
//! all the containers of a pod, and prints its socket's address; there containerd calls the task service
//! over ttrpc. No runtime binary is executed: containers are made by the library, in this process.

// As a library, in which nothing but that is used.
#![cfg_attr(feature = "fuzz", allow(dead_code))]

mod args;
mod delete;
mod failure;
#[cfg(feature = "fuzz")]
pub mod fuzz;
mod info;
mod io;
mod log;
mod metrics;
mod mount;
mod options;
mod proto;
mod publisher;
mod reactor;
mod service;
mod sha256;
mod socket;
mod start;
mod sys;
#[cfg(test)]
mod testing;
mod ttrpc;
mod workers;

use std::io::{Write, stdin, stdout};
use std::path::Path;
use std::process::ExitCode;

use args::{Action, Args};
use failure::{During, Result};
use log::Log;

const PROGRAM: &str = "containerd-shim-hoist-v2";

const HELP: &str = "\
containerd-shim-hoist-v2 runs containers for containerd, which starts it: there
is nothing to call by hand. Name the runtime io.containerd.hoist.v2, for example

    ctr run --runtime io.containerd.hoist.v2 IMAGE ID

and have this program in containerd's PATH.

    containerd-shim-hoist-v2 -v      prints the version
    containerd-shim-hoist-v2 -info   describes the runtime, as protobuf

What containerd calls, in a bundle's directory:

    -namespace NS -id ID -address SOCKET [-debug] start
    -namespace NS -id ID [-bundle DIRECTORY] delete
";

fn main() -> ExitCode {
    match Args::parse(std::env::args_os().skip(1)).and_then(|args| run(&args)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            // containerd shows it. There is nobody else to tell if that fails.
            let _ = writeln!(std::io::stderr(), "{PROGRAM}: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    match args.action {
        // containerd reads stdout and stderr of it as one: there is no log.
        Action::Start => start::run(args, stdin().lock(), stdout().lock()),
        Action::Delete => delete::run(args, &Log::stderr(args.debug), stdout().lock()),
        Action::Info => info::run(stdin().lock(), stdout().lock()),
        Action::Version => print(&format!("{PROGRAM}:\n  Version:  {}\n\n", info::VERSION)),
        Action::Help => print(HELP),
        Action::Serve => serve(args),
    }
}

fn print(text: &str) -> Result<()> {
    stdout().lock().write_all(text.as_bytes()).during("print")
}

/// Is the shim, until it isn't needed any more.
fn serve(args: &Args) -> Result<()> {
    let listener = match &args.socket {
        Some(path) => socket::serve_at(path)?,
        None => socket::inherited()?,
    };
    sys::keep_heap_small();
    // A shim's memory is a few dozen pages here and there: huge ones would only be mostly empty.
    let _ = rustix::thread::disable_transparent_huge_pages(true);
    // Executed as /proc/self/exe, it would be called `exe` in lists of processes.
    let _ = rustix::thread::set_name(c"containerd-shim");
    // What a container's process leaves behind comes here to be reaped.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .during("become the reaper of the containers' processes")?;
    // A shim works without a log: whoever removed the fifo has the containers still.
    let log = Log::open(Path::new(""), args.debug).unwrap_or_else(|_| Log::nowhere());
    let to_log = log.clone();
    std::panic::set_hook(Box::new(move |panic| to_log.error(panic)));
    service::serve(args, listener, &log).inspect_err(|failure| log.error(failure))
}
