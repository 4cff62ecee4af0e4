//! What ends the runner: one line for a person, and an exit status.

use std::fmt::Display;

pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Bad input, or nothing to run with: what is wrong was found before anything was run.
const USAGE: u8 = 2;
/// As the scripts below `conformance/` say it: what is asked for can't be had on this machine.
pub(crate) const UNAVAILABLE: u8 = 77;

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) message: String,
    pub(crate) status: u8,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), status: USAGE }
    }

    pub(crate) fn with_status(mut self, status: u8) -> Self {
        self.status = status;
        self
    }
}

/// Says what was done to what, before the reason why it failed.
pub(crate) trait Context<T> {
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T, E: Display> Context<T> for std::result::Result<T, E> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{what}: {error}")))
    }
}
