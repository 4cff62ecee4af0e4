//! The only place that writes to stdout and stderr.

use std::io::{self, BufWriter, Write};

use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter};

use crate::failure::{Failure, Result};

/// Writes `text` to stdout.
pub(crate) fn print(text: &str) -> Result<()> {
    stdout(|out| out.write_all(text.as_bytes()))
}

/// Writes lines to stdout, one after the other.
pub(crate) fn print_lines(mut lines: impl Iterator<Item = String>) -> Result<()> {
    stdout(|out| lines.try_for_each(|line| out.write_all(line.as_bytes())))
}

/// Writes `value` to stdout as JSON on one line.
pub(crate) fn print_json(value: &impl Serialize) -> Result<()> {
    stdout(|out| {
        json(&mut *out, value, CompactFormatter)?;
        out.write_all(b"\n")
    })
}

/// Writes `value` to stdout as JSON with each level indented by `indent`.
pub(crate) fn print_pretty_json(value: &impl Serialize, indent: &str) -> Result<()> {
    stdout(|out| {
        json(&mut *out, value, PrettyFormatter::with_indent(indent.as_bytes()))?;
        out.write_all(b"\n")
    })
}

/// Writes `value` as JSON.
fn json(out: impl Write, value: &impl Serialize, formatter: impl Formatter) -> io::Result<()> {
    value
        .serialize(&mut serde_json::Serializer::with_formatter(out, formatter))
        .map_err(io::Error::from)
}

/// Writes to stdout in as few system calls as it takes.
fn stdout(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    write(&mut out).and_then(|()| out.flush()).map_err(|error| Failure::output(&error))
}

/// Writes `text` to stderr. There is nobody to tell if that fails.
pub(crate) fn complain(text: &str) {
    let _ = io::stderr().lock().write_all(text.as_bytes());
}
