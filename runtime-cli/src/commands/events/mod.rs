//! `hoist events`: statistics and OOM events, as runc prints them.

mod json;
#[cfg(test)]
mod tests;

use std::time::{Duration, Instant};

use crate::failure::{Failure, Result};
use crate::output;
use crate::session::Session;
use crate::table::flags;
use hoist::{Container, Event, Status};

/// In nanoseconds.
const INTERVAL: i64 = 5_000_000_000;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let container = session.container()?;
    let interval = session.values.duration(&flags::INTERVAL).unwrap_or(INTERVAL);
    let interval = match u64::try_from(interval) {
        Ok(0) | Err(_) => {
            return Err(Failure::new("duration interval must be greater than 0"));
        }
        Ok(nanoseconds) => Duration::from_nanos(nanoseconds),
    };
    if container.state()?.status == Status::Stopped {
        let message = format!("container with id {} is not running", container.id());
        return Err(Failure::new(message));
    }
    match session.values.is_on(&flags::STATS) {
        true => print_stats(&container)?,
        false => follow(session, &container, interval)?,
    }
    Ok(0)
}

/// Prints what happens until the container has ended.
fn follow(session: &Session, container: &Container, interval: Duration) -> Result<()> {
    let mut events = container.events()?;
    let mut next = Instant::now() + interval;
    loop {
        match events.wait(Some(next.saturating_duration_since(Instant::now())))? {
            // Kills that came together are one event of the library, but not of runc.
            Some(Event::Oom { kills }) => {
                for _ in 0..kills.max(1) {
                    output::print_json(&json::Event::oom(container.id()))?;
                }
            }
            Some(Event::Ended) => return Ok(()),
            Some(_) => {}
            None => {
                // Those that could not be printed in time are left out.
                next = (next + interval).max(Instant::now());
                match print_stats(container) {
                    Err(failure) if failure.is_about_output() => return Err(failure),
                    Err(failure) => session.log.failure(&failure),
                    Ok(()) => {}
                }
            }
        }
    }
}

fn print_stats(container: &Container) -> Result<()> {
    let stats = container.stats()?;
    // Without the pids controller runc counts processes, which are fewer than tasks.
    let processes = match stats.pids {
        Some(_) => 0,
        None => container.processes()?.len(),
    };
    output::print_json(&json::Event::stats(container.id(), &stats, processes))
}
