//! What a person at the terminal sees. Figures for machines go into files.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

/// Text that was asked for.
pub(crate) fn print(text: impl Display) {
    let _ = writeln!(std::io::stdout(), "{text}");
}

/// A line of progress, or of complaint. A reader that has gone away is no reason to stop.
pub(crate) fn line(text: impl Display) {
    let clear = if std::io::stderr().is_terminal() { "\r\x1b[K" } else { "" };
    let _ = writeln!(std::io::stderr(), "{clear}{text}");
}

/// The line at the bottom of a terminal that says what is being done right now. Elsewhere, nothing.
pub(crate) fn status(text: impl Display) {
    let mut out = std::io::stderr();
    if out.is_terminal() {
        let _ = write!(out, "\r\x1b[K    {text}").and_then(|()| out.flush());
    }
}
