//! What each step of a start cost, for `--timings` and for the debug log.

use std::time::{Duration, Instant};

use crate::{columns, output};
use hoist::{Timing, Timings};

/// Clocks a whole command: what it does itself, and what it has the library do.
#[derive(Debug)]
pub(crate) struct Clock {
    wanted: bool,
    last: Instant,
    entries: Vec<Timing>,
    total: Duration,
}

impl Clock {
    pub(crate) fn start(wanted: bool) -> Self {
        Self { wanted, last: Instant::now(), entries: Vec::new(), total: Duration::ZERO }
    }

    /// A phase of the command's own has ended.
    pub(crate) fn lap(&mut self, name: &str) {
        if self.wanted {
            let duration = self.last.elapsed();
            self.last += duration;
            self.total += duration;
            let (name, pointer) = (name.to_owned(), String::new());
            self.entries.push(Timing { step: None, name, pointer, duration });
        }
    }

    /// The library, which has clocked itself, has come back.
    pub(crate) fn library(&mut self, timings: &Timings) {
        if self.wanted {
            self.last = Instant::now();
            self.total += timings.total();
            self.entries.extend(timings.iter().cloned());
        }
    }

    /// Prints a table to stderr, if it is wanted.
    pub(crate) fn print(&self) {
        if self.wanted {
            output::complain(&table(self.entries.iter(), self.total));
        }
    }
}

/// One step, for the log.
pub(crate) fn line(timing: &Timing) -> String {
    let [step, microseconds, _, name, pointer] = row(timing, Duration::ZERO);
    match timing.step {
        Some(_) => format!("step {step} {name} {pointer}: {microseconds} µs").replace(" :", ":"),
        None => format!("{name}: {microseconds} µs"),
    }
}

/// What has no number is the command's and the library's own, one after another; that called `init`
/// is the time in which they wait for the numbered steps.
fn table<'a>(timings: impl Iterator<Item = &'a Timing>, total: Duration) -> String {
    let head = ["STEP", "µs", "SHARE", "NAME", "CONFIG"];
    let last = ["", &microseconds(total), "100.0%", "total", ""].map(str::to_owned);
    let rows = timings.map(|one| row(one, total)).chain([last]);
    columns::lines(head, rows.collect()).collect()
}

fn row(timing: &Timing, total: Duration) -> [String; 5] {
    let share = match total.is_zero() {
        true => 0.0,
        false => 100.0 * timing.duration.as_secs_f64() / total.as_secs_f64(),
    };
    [
        timing.step.map_or_else(|| "-".to_owned(), |step| step.to_string()),
        microseconds(timing.duration),
        format!("{share:.1}%"),
        timing.name.clone(),
        timing.pointer.clone(),
    ]
}

fn microseconds(duration: Duration) -> String {
    duration.as_micros().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_of_the_total() {
        let step = |step, name: &str, micros| Timing {
            step,
            name: name.to_owned(),
            pointer: String::new(),
            duration: Duration::from_micros(micros),
        };
        let steps = [step(None, "compile", 250), step(Some(3), "pivot-root", 13)];
        let text = table(steps.iter(), Duration::from_micros(1000));
        let lines: Vec<Vec<_>> =
            text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["STEP", "µs", "SHARE", "NAME", "CONFIG"]);
        assert_eq!(lines[1], ["-", "250", "25.0%", "compile"]);
        assert_eq!(lines[2], ["3", "13", "1.3%", "pivot-root"]);
        assert_eq!(lines[3], ["1000", "100.0%", "total"]);
        assert_eq!(table([].iter(), Duration::ZERO).lines().count(), 2);
    }

    #[test]
    fn laps_add_up() {
        let mut clock = Clock::start(true);
        clock.lap("load");
        clock.library(&Timings::default());
        clock.lap("program");
        let names: Vec<&str> = clock.entries.iter().map(|entry| entry.name.as_str()).collect();
        assert_eq!(names, ["load", "program"]);
        assert_eq!(clock.entries.iter().map(|entry| entry.duration).sum::<Duration>(), clock.total);

        let mut unwanted = Clock::start(false);
        unwanted.lap("load");
        assert!(unwanted.entries.is_empty());
    }
}
