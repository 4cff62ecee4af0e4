//! Whether an operation told its caller the truth.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::harness::points::{Blow, Call, Point};

/// What the caller was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Told {
    Success,
    Error,
    /// It was killed, or ended because there was no memory.
    Nothing,
}

/// What nobody should have to read.
const UNCLEAR: [&str; 4] = ["panicked", "internal error", "unreachable", "unwrap"];

/// An error has a message with the errno that the call failed with, in words or by its name.
pub(crate) fn told(
    status: ExitStatus,
    text: &str,
    call: Call,
    point: Point,
    blow: Blow,
) -> Result<Told, String> {
    if let Some(words) = UNCLEAR.iter().find(|words| text.contains(**words)) {
        return Err(format!("it said {words:?}: {text}"));
    }
    if status.success() {
        return Ok(Told::Success);
    }
    match (status.signal(), blow) {
        (Some(libc::SIGKILL), Blow::Killed) => return Ok(Told::Nothing),
        (Some(libc::SIGABRT), Blow::Fails(..)) if call.allocates() => return Ok(Told::Nothing),
        (Some(_), _) => return Err(format!("{status}: {text}")),
        (None, _) => {}
    }
    match blow {
        _ if text.trim().is_empty() && !call.tells() => Err(format!("{status}, with no word")),
        Blow::Fails(..) if point.is_untold_in(text) => Ok(Told::Error),
        _ if !blow.is_told_in(text) && !call.tells() => {
            Err(format!("the error does not tell of {blow:?}: {text}"))
        }
        _ => Ok(Told::Error),
    }
}
