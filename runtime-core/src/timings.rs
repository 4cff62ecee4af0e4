//! What each step cost.

use std::time::{Duration, Instant};

use crate::error::Result;
use crate::plan::Plan;
use crate::spawn::report::Report;

/// The time of each phase of an operation, in its order: the library's own work, then the steps
/// of the plan as init clocked them.
#[derive(Debug, Clone, Default)]
pub struct Timings {
    entries: Vec<Timing>,
    total: Duration,
}

/// One phase of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timing {
    /// The step's index in the plan; `None` for what the library itself did.
    pub step: Option<u32>,
    /// The step's name, or the library's phase.
    pub name: String,
    /// What it was for: a JSON pointer into `config.json`, or empty.
    pub pointer: String,
    /// How long it took.
    pub duration: Duration,
}

impl Timings {
    /// The phases in their order.
    pub fn iter(&self) -> impl Iterator<Item = &Timing> {
        self.entries.iter()
    }

    /// Wall-clock time of the whole operation, as the caller saw it.
    #[must_use]
    pub fn total(&self) -> Duration {
        self.total
    }
}

/// Clocks the library's own phases; does nothing unless timings are wanted.
#[derive(Debug)]
pub(crate) struct Clock {
    wanted: bool,
    began: Instant,
    last: Instant,
    entries: Vec<Timing>,
}

impl Clock {
    pub(crate) fn start(wanted: bool) -> Self {
        let now = Instant::now();
        Self { wanted, began: now, last: now, entries: Vec::new() }
    }

    /// A phase has ended.
    pub(crate) fn lap(&mut self, name: &str) {
        if !self.wanted {
            return;
        }
        let now = Instant::now();
        self.entries.push(Timing {
            step: None,
            name: name.to_owned(),
            pointer: String::new(),
            duration: now - self.last,
        });
        self.last = now;
    }

    /// The result, with the steps as init clocked them.
    pub(crate) fn finish(&mut self, plan: &Plan, report: &Report) -> Result<Timings> {
        if !self.wanted {
            return Ok(Timings::default());
        }
        let total = self.began.elapsed();
        let steps = u32::try_from(plan.len()).unwrap_or(u32::MAX);
        let times = report.times(steps)?;
        let mut entries = std::mem::take(&mut self.entries);
        entries.extend(plan.steps().zip(times).filter_map(|(step, time)| {
            Some(Timing {
                step: Some(step.index()),
                name: step.name().to_owned(),
                pointer: step.pointer().to_owned(),
                duration: time?,
            })
        }));
        Ok(Timings { entries, total })
    }
}
