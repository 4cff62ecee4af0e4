//! What a person at the terminal sees: progress while a suite runs, and the lines that stay.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// A line that stays. A reader that has gone away is no reason to stop a run.
pub(crate) fn line(text: impl Display) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}").and_then(|()| out.flush());
}

/// The beginning of a longer piece of work.
pub(crate) fn step(text: impl Display) {
    line(format_args!("==> {text}"));
}

/// A line for the error stream.
pub(crate) fn complain(text: impl Display) {
    let _ = writeln!(std::io::stderr(), "hoist-conformance: {text}");
}

/// The line at the bottom of a terminal that says what is being done right now. Elsewhere, nothing.
#[derive(Debug)]
pub(crate) struct Status(bool);

impl Status {
    pub(crate) fn new() -> Self {
        Self(std::io::stdout().is_terminal())
    }

    /// Replaces the line.
    pub(crate) fn show(&self, text: impl Display) {
        if self.0 {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[K    {text}").and_then(|()| out.flush());
        }
    }

    /// Takes the line away, so that another can be printed.
    pub(crate) fn clear(&self) {
        if self.0 {
            let _ = write!(std::io::stdout(), "\r\x1b[K");
        }
    }
}
