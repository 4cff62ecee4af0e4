//! Why a command failed: one message and an exit code.

use std::fmt::Display;
use std::io;

/// Short for `std::result::Result<T, Failure>`.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// The reader of our output went away; what a program that SIGPIPE ended leaves as exit code.
const PIPE_CLOSED: u8 = 128 + 13;

/// Why a command failed.
#[derive(Debug)]
pub(crate) struct Failure {
    /// Nothing is logged where there is no message.
    message: Option<String>,
    exit_code: u8,
    /// The message without operation and container in front, if they are there.
    brief: Option<String>,
    is_about_output: bool,
}

impl Failure {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: Some(message.into()), exit_code: 1, brief: None, is_about_output: false }
    }

    /// Writing to stdout or stderr failed. A reader that has seen enough is no reason to complain.
    pub(crate) fn output(error: &io::Error) -> Self {
        let failure = Self::new(format!("write output: {}", plain(error)));
        let failure = Self { is_about_output: true, ..failure };
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self { message: None, exit_code: PIPE_CLOSED, ..failure },
            _ => failure,
        }
    }

    pub(crate) fn with_exit_code(mut self, exit_code: u8) -> Self {
        self.exit_code = exit_code;
        self
    }

    /// Says which command failed with which container: `runc create failed: …`, where the first
    /// word is the name that we were called by. The words are runc's, which people and programs
    /// look for in engines' logs.
    pub(crate) fn of_command(mut self, command: &str, id: &str) -> Self {
        self.message = match (self.brief.take(), self.message) {
            (Some(brief), _) => Some(format!("{command} failed: {brief}")),
            (None, Some(message)) => Some(format!("{command} failed: {message} (container {id})")),
            (None, None) => None,
        };
        self
    }

    /// Whether the output can't be written: to go on makes no sense.
    pub(crate) fn is_about_output(&self) -> bool {
        self.is_about_output
    }

    pub(crate) fn message(&self) -> Option<&str> {
        self.message.as_deref()
    }

    pub(crate) fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

/// The library's errors name the operation and the container, and contain runc's words where
/// callers look for them: `container does not exist`, `executable file not found in $PATH`.
impl From<hoist::Error> for Failure {
    fn from(error: hoist::Error) -> Self {
        let brief = error.container().is_some().then(|| format!("{error:#}"));
        Self { brief, ..Self::new(error.to_string()) }
    }
}

/// Adds what was tried to an error of the operating system.
pub(crate) trait Context<T> {
    /// `what` reads like Go's errors: `open config.json`.
    fn context(self, what: impl Display) -> Result<T>;
}

impl<T> Context<T> for io::Result<T> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(|error| Failure::new(format!("{what}: {}", plain(&error))))
    }
}

impl<T> Context<T> for rustix::io::Result<T> {
    fn context(self, what: impl Display) -> Result<T> {
        self.map_err(io::Error::from).context(what)
    }
}

/// The error in lower case and without the number that Rust adds: `no such file or directory`,
/// which is what callers look for in runc's messages.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error ").next().unwrap_or(&text).to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_like_those_of_runc() {
        let missing: io::Result<()> = Err(io::Error::from_raw_os_error(2));
        let failure = missing.context("open /x").unwrap_err().of_command("runc run", "web-1");
        assert_eq!(
            failure.message(),
            Some("runc run failed: open /x: no such file or directory (container web-1)")
        );
        assert_eq!(failure.exit_code(), 1);
        assert_eq!(failure.with_exit_code(255).exit_code(), 255);
    }

    #[test]
    fn a_closed_pipe_is_silent() {
        let failure = Failure::output(&io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!((failure.message(), failure.exit_code()), (None, 141));
    }
}
