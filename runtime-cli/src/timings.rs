//! What each step of a start cost, for `--timings` and for the debug log.

use std::time::Duration;

use crate::{columns, output};
use hoist::{Timing, Timings};

/// Prints a table to stderr.
pub(crate) fn print(timings: &Timings) {
    output::complain(&table(timings.iter(), timings.total()));
}

/// One step, for the log.
pub(crate) fn line(timing: &Timing) -> String {
    let [step, microseconds, _, name, pointer] = row(timing, Duration::ZERO);
    match timing.step {
        Some(_) => format!("step {step} {name} {pointer}: {microseconds} µs").replace(" :", ":"),
        None => format!("{name}: {microseconds} µs"),
    }
}

/// Steps without a number are the library's own; that called `init` is the time in which the
/// numbered ones are done.
fn table<'a>(timings: impl Iterator<Item = &'a Timing>, total: Duration) -> String {
    let head = ["STEP", "µs", "SHARE", "NAME", "CONFIG"].map(str::to_owned);
    let last = ["", &microseconds(total), "100.0%", "total", ""].map(str::to_owned);
    columns::render([head].into_iter().chain(timings.map(|one| row(one, total))).chain([last]))
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
}
