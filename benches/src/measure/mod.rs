//! Measuring, in the process that has a view of the cgroups to itself.

mod arena;
mod crowd;
mod field;
pub(crate) mod library;
mod lifecycle;
mod once;
mod phases;
mod rounds;
mod surroundings;

use std::fs;
use std::time::Instant;

use crate::failure::{Context, Result};
use crate::job::{Job, Outcome, Part, View};
use crate::{console, sys};

use arena::Arena;

/// Does the job, a text in JSON, and leaves its outcome in the job's directory.
pub(crate) fn measure(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job).context("the job")?;
    sys::remember_signals();
    let arena = Arena::enter(job)?;
    let measured = parts(&arena);
    // Also after ^C.
    let cleaned = arena.clean();
    let outcome = measured?;
    cleaned?;
    let path = arena.directory().join("outcome.json");
    let text = serde_json::to_vec(&outcome).context("the outcome")?;
    fs::write(&path, text).context(path.display())
}

fn parts(arena: &Arena) -> Result<Outcome> {
    let mut all = Outcome::default();
    for part in arena.parts() {
        if matches!(part, Part::Memory | Part::Idle) && arena.view() != View::Hybrid {
            continue;
        }
        console::line(format_args!("==> {}: {}", arena.view().name(), part.about()));
        let begin = Instant::now();
        let outcome = measured(arena, *part)?;
        all.groups.extend(outcome.groups);
        all.curves.extend(outcome.curves);
        all.phases.extend(outcome.phases);
        console::line(format_args!("    {} s", begin.elapsed().as_secs()));
    }
    Ok(all)
}

fn measured(arena: &Arena, part: Part) -> Result<Outcome> {
    let groups = match part {
        Part::Run => once::run(arena)?,
        Part::Lifecycle => lifecycle::run(arena)?,
        Part::Memory => surroundings::memory(arena)?,
        Part::Idle => surroundings::idle(arena)?,
        Part::AtOnce => return crowd::at_once(arena),
        Part::Crowd => return crowd::run(arena),
        Part::Mounts => return surroundings::mounts(arena),
        Part::Library => return library::run(arena),
        Part::Phases => {
            return Ok(Outcome { phases: phases::run(arena)?, ..Outcome::default() });
        }
    };
    Ok(Outcome { groups, ..Outcome::default() })
}
