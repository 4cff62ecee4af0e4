//! Several files of results as one.

use crate::failure::{Failure, Result};
use crate::results::Results;

/// What a later file has measured takes the place of what an earlier one has. A ratio is worth
/// something within one run only; so a group is taken as a whole, and all have to be of the same
/// builds on the same machine.
pub(super) fn merge(all: impl IntoIterator<Item = Results>) -> Result<Results> {
    let mut all = all.into_iter();
    let mut merged = all.next().ok_or_else(|| Failure::new("no results are given"))?;
    for next in all {
        if next.machine != merged.machine {
            return Err(Failure::new("the results are of different machines: report each alone"));
        }
        for runtime in next.runtimes {
            match merged.runtimes.iter().find(|known| known.name == runtime.name) {
                Some(known) if *known == runtime => {}
                Some(known) => {
                    return Err(Failure::new(format!(
                        "the results are of different builds of {}: {} of {} bytes, {} of {} bytes",
                        known.name, known.version, known.size, runtime.version, runtime.size
                    )));
                }
                None => merged.runtimes.push(runtime),
            }
        }
        if next.command != merged.command {
            merged.command = format!("{}\n{}", merged.command, next.command);
        }
        merged.date = merged.date.max(next.date);
        replace(&mut merged.groups, next.groups, |a, b| {
            (&a.id, &a.environment) == (&b.id, &b.environment)
        });
        replace(&mut merged.curves, next.curves, |a, b| {
            (&a.id, &a.environment) == (&b.id, &b.environment)
        });
        replace(&mut merged.phases, next.phases, |a, b| {
            (&a.runtime, &a.bundle, &a.environment) == (&b.runtime, &b.bundle, &b.environment)
        });
    }
    Ok(merged)
}

fn replace<T>(old: &mut Vec<T>, new: Vec<T>, same: impl Fn(&T, &T) -> bool) {
    for one in new {
        match old.iter_mut().find(|known| same(known, &one)) {
            Some(known) => *known = one,
            None => old.push(one),
        }
    }
}
