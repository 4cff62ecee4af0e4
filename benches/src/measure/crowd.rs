//! Many containers: how many can be started and deleted per second, and what a further one costs.

use std::process::Command;
use std::sync::{Barrier, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use crate::bundles::Config;
use crate::command::{self, Orphan};
use crate::failure::{Failure, Result};
use crate::job::{Outcome, Peer};
use crate::{console, sys};

use super::arena::Arena;
use super::field::{Field, Samples, Unit};

/// How many are started at a time.
const AT_A_TIME: [u32; 7] = [1, 2, 4, 8, 16, 32, 100];
/// The crowd is started so many at a time.
const WORKERS: u32 = 8;
/// How often a crowd is listed.
const LISTINGS: u32 = 7;

/// Containers that are running.
#[derive(Debug, Default)]
struct Crowd {
    ids: Vec<String>,
    processes: Vec<Orphan>,
}

/// A hundred containers, by how many are started at a time.
pub(crate) fn at_once(arena: &Arena) -> Result<Outcome> {
    let few = arena.effort().few;
    let mut places: Vec<u32> = AT_A_TIME.into_iter().filter(|workers| *workers < few).collect();
    places.push(few);
    let mut samples = Samples::default();
    let mut field = Field::new(arena, arena.runtimes());
    for pass in 1..=arena.effort().passes {
        for workers in &places {
            console::status(format_args!("{few} containers, {workers} at a time, pass {pass}"));
            field.round(|peer| {
                let mut crowd = Crowd::default();
                let starts = crowd.grow(arena, peer, few, *workers)?;
                samples.add(&format!("starts {workers}"), &peer.name, starts);
                let deletes = crowd.delete(arena, peer, *workers)?;
                samples.add(&format!("deletes {workers}"), &peer.name, deletes);
                if *workers == few {
                    samples.add("at-once-100", &peer.name, starts);
                    samples.add("at-once-100-delete", &peer.name, deletes);
                }
                Ok(())
            })?;
        }
    }
    let group = |subject| field.group(subject, Unit::PerSecond, &samples);
    let curve = |subject, y, what| {
        let name = |workers| format!("{what} {workers}");
        field.curve(subject, ("containers at a time", y), &places, name, &samples)
    };
    Ok(Outcome {
        groups: vec![
            group(("at-once-100", "`run --detach` of 100 containers at once")),
            group(("at-once-100-delete", "`delete` of 100 stopped containers at once")),
        ],
        curves: vec![
            curve(("throughput", "Starts of 100 containers"), "starts per second", "starts"),
            curve(
                ("throughput-delete", "Deletes of 100 containers"),
                "deletes per second",
                "deletes",
            ),
        ],
        ..Outcome::default()
    })
}

/// A thousand containers of one runtime after the other: starting, listing and deleting them, and
/// running one more.
pub(crate) fn run(arena: &Arena) -> Result<Outcome> {
    let effort = *arena.effort();
    let places = [0, effort.few, effort.many];
    let mut samples = Samples::default();
    let mut field = Field::new(arena, arena.runtimes());
    let floor = arena.all().find(|peer| peer.is_floor());
    let beside = |peer: &Peer| floor.filter(|_| peer.name == "hoist");
    for pass in 1..=effort.passes.min(2) {
        field.round(|peer| {
            console::status(format_args!(
                "{} containers of {}, pass {pass}",
                effort.many, peer.name
            ));
            let mut crowd = Crowd::default();
            let (mut seconds, mut before) = (0.0, 0);
            for place in places {
                if place > before {
                    let count = place - before;
                    seconds += f64::from(count) / crowd.grow(arena, peer, count, WORKERS)?;
                    before = place;
                    list(
                        arena,
                        peer,
                        if place == effort.many { "list-1000" } else { "list-100" },
                        &mut samples,
                    )?;
                }
                for _ in 0..effort.points {
                    for peer in [Some(peer), beside(peer)].into_iter().flatten() {
                        let cost = command::succeed(&mut arena.once(peer, Config::Default)?)?;
                        samples.add_time(&format!("among {place}"), &peer.name, &cost);
                    }
                }
            }
            samples.add("eight-1000", &peer.name, f64::from(effort.many) / seconds);
            samples.add("eight-1000-delete", &peer.name, crowd.delete(arena, peer, WORKERS)?);
            Ok(())
        })?;
    }
    let per_second = |subject| field.group(subject, Unit::PerSecond, &samples);
    let time = |subject| field.group(subject, Unit::Milliseconds, &samples);
    let all = Field::new(arena, arena.all());
    let subject = ("start-among", "`run /bin/true` beside containers that are running");
    let axes = ("containers running", "ms");
    Ok(Outcome {
        groups: vec![
            per_second(("eight-1000", "`run --detach` of 1,000 containers, eight at a time")),
            per_second((
                "eight-1000-delete",
                "`delete` of 1,000 stopped containers, eight at a time",
            )),
            time(("list-100", "`list` of 100 containers")),
            time(("list-1000", "`list` of 1,000 containers")),
        ],
        curves: vec![all.curve(subject, axes, &places, |place| format!("among {place}"), &samples)],
        ..Outcome::default()
    })
}

fn list(arena: &Arena, peer: &Peer, subject: &str, samples: &mut Samples) -> Result<()> {
    for _ in 0..LISTINGS {
        let cost = command::succeed(&mut arena.command(peer, &["list"]))?;
        samples.add_time(subject, &peer.name, &cost);
    }
    let cost = command::succeed(sys::forked(&mut arena.command(peer, &["list"])))?;
    samples.add_memory(subject, &peer.name, &cost);
    Ok(())
}

impl Crowd {
    /// Starts so many more, and tells how many that were per second.
    fn grow(&mut self, arena: &Arena, peer: &Peer, count: u32, workers: u32) -> Result<f64> {
        let bundle = arena.bundles().sleeping(Config::Default);
        let ids: Vec<String> = (0..count).map(|_| arena.id()).collect();
        let start = |id: &String| arena.detached(peer, &["run", "--detach"], &bundle, id);
        let commands = ids.iter().map(start).collect::<Result<_>>()?;
        let rate = together(commands, workers)?;
        for id in ids {
            self.processes.push(arena.process(&id)?);
            self.ids.push(id);
        }
        Ok(rate)
    }

    /// Ends and then deletes all of them, and tells how many deletes that were per second.
    fn delete(&mut self, arena: &Arena, peer: &Peer, workers: u32) -> Result<f64> {
        self.processes.iter().try_for_each(Orphan::kill)?;
        self.processes.drain(..).try_for_each(Orphan::reap)?;
        let delete = |id: String| arena.command(peer, &["delete", &id]);
        together(self.ids.drain(..).map(delete).collect(), workers)
    }
}

/// Runs commands, so many at a time, and tells how many were done per second. All have to succeed.
pub(crate) fn together(commands: Vec<Command>, workers: u32) -> Result<f64> {
    let count = u32::try_from(commands.len()).unwrap_or(u32::MAX);
    let queue = Mutex::new(commands.into_iter());
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let workers = workers.min(count);
    let gate = Barrier::new(usize::try_from(workers).unwrap_or(1) + 1);
    let work = || {
        gate.wait();
        loop {
            let next = queue.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some(mut command) = next else { return };
            if let Err(failure) = command::succeed(&mut command) {
                failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(failure);
                return;
            }
        }
    };
    let mut begin = Instant::now();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(work);
        }
        gate.wait();
        begin = Instant::now();
    });
    let seconds = begin.elapsed().as_secs_f64();
    match failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
        Some(failure) => Err(failure),
        None => Ok(f64::from(count) / seconds),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_commands_are_run_and_have_to_succeed() {
        let commands = |name: &str| (0..9).map(|_| Command::new(name)).collect::<Vec<_>>();
        assert!(together(commands("/bin/true"), 4).unwrap() > 0.0);
        assert!(together(commands("/bin/true"), 100).unwrap() > 0.0);
        let failure = together(commands("/bin/false"), 4).unwrap_err();
        assert!(failure.message.contains("/bin/false: exit status: 1"), "{}", failure.message);
    }
}
