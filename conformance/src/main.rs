//! Runs other people's test suites against hoist, or any other runtime, on several kinds of host.

#![deny(unsafe_code)]

mod args;
mod cache;
mod console;
#[allow(unsafe_code, reason = "prctl(2) with a filter, as the library's tests load it")]
#[path = "../../runtime-core/tests/harness/deny.rs"]
mod deny;
mod environment;
mod expected;
mod failure;
mod leftovers;
mod libtest;
mod missing;
mod report;
mod results;
mod run;
mod runtime;
mod security;
mod suite;
mod supervise;
mod tap;
mod tree;
mod view;
mod vm;
mod without;

use std::process::ExitCode;

use args::{Arguments, Security};
use cache::Cache;
use failure::{Context, Result};
use results::Host;

fn main() -> ExitCode {
    match args::parse().and_then(act) {
        Ok(status) => ExitCode::from(status),
        Err(failure) => {
            console::complain(&failure.message);
            ExitCode::from(failure.status)
        }
    }
}

fn act(arguments: Arguments) -> Result<u8> {
    match arguments {
        Arguments::Help => console::line(args::help().trim_end()),
        Arguments::Run(options) => match &options.inside {
            Some(answer) => run::run_inside(&options, answer)?,
            None => return Ok(u8::from(!run::run(&options)?)),
        },
        Arguments::List(suite, parts) => {
            let cache = Cache::open()?;
            suite.build(&cache)?;
            if parts.is_empty() {
                suite.units(&cache)?.iter().for_each(console::line);
            }
            for unit in suite.select(&cache, &parts)? {
                for test in suite.tests(&cache, &unit)? {
                    console::line(format_args!("{unit}/{test}"));
                }
            }
        }
        Arguments::Missing(calls) => return Ok(u8::from(!missing::run(&Cache::open()?, &calls)?)),
        Arguments::Without(calls, command) => without::run(&calls, &command)?,
        Arguments::Report => report::write(&Cache::open()?)?,
        Arguments::Security(Security::Write) => security::write()?,
        Arguments::Security(Security::Tests) => security::tests()?.iter().for_each(console::line),
        Arguments::Security(Security::Record(run)) => security::record(&run)?,
        Arguments::Shell(arguments) => return vm::shell(&Cache::open()?, &arguments),
        Arguments::Clean => Cache::open()?.clean()?,
        Arguments::View(environment, arguments) => environment::enter(environment, &arguments)?,
        Arguments::Supervise(job) => supervise::supervise(&job)?,
        Arguments::Facts => {
            let host =
                Host { description: environment::describe(), lacking: environment::lacking() };
            console::line(serde_json::to_string(&host).context("facts")?);
        }
    }
    Ok(0)
}
