//! The log, as logrus writes it for runc.
//!
//! Text goes to stderr unless `--log` names a file; a terminal gets the short form. Engines read
//! the JSON form: containerd and conmon take the last line whose level is `error`.

use std::fs::{File, OpenOptions};
use std::io::{IsTerminal, Write};
use std::path::Path;
use std::time::SystemTime;

use crate::failure::{Context, Failure, Result};
use crate::{output, time};

/// How a line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Text,
    /// Text for a person's eyes: `ERRO[0000] message`.
    Terminal,
    Json,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Level {
    Error,
    Warning,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Debug => "debug",
        }
    }

    fn short(self) -> &'static str {
        match self {
            Self::Error => "ERRO",
            Self::Warning => "WARN",
            Self::Debug => "DEBU",
        }
    }
}

/// Where messages go.
#[derive(Debug)]
pub(crate) struct Log {
    /// The file that `--log` names; stderr without one.
    file: Option<File>,
    json: bool,
    debug: bool,
}

impl Log {
    pub(crate) fn open(file: Option<&Path>, json: bool, debug: bool) -> Result<Self> {
        let open = |path: &Path| {
            let mut options = OpenOptions::new();
            let opened = options.append(true).create(true).open(path);
            opened.context(format_args!("open {}", path.display()))
        };
        Ok(Self { file: file.map(open).transpose()?, json, debug })
    }

    /// The log of a program whose command line could not be read.
    pub(crate) fn stderr() -> Self {
        Self { file: None, json: false, debug: false }
    }

    pub(crate) fn is_debug(&self) -> bool {
        self.debug
    }

    pub(crate) fn warn(&self, message: &str) {
        self.write(Level::Warning, message);
    }

    /// The message is made only where it is wanted.
    pub(crate) fn debug(&self, message: impl FnOnce() -> String) {
        if self.debug {
            self.write(Level::Debug, &message());
        }
    }

    /// Logs why the program ends; a person at stderr sees it too if the log is a file.
    pub(crate) fn failure(&self, failure: &Failure) {
        let Some(message) = failure.message() else { return };
        self.write(Level::Error, message);
        if self.file.is_some() {
            output::complain(&format!("{message}\n"));
        }
    }

    fn write(&self, level: Level, message: &str) {
        let format = match (self.json, &self.file) {
            (true, _) => Format::Json,
            (false, None) if std::io::stderr().is_terminal() => Format::Terminal,
            (false, _) => Format::Text,
        };
        let line = line(format, level, message, &time::rfc3339(SystemTime::now()));
        match &self.file {
            // One write for a line: others append to the file too. It can't be reported anywhere
            // if that fails.
            Some(file) => drop((&*file).write_all(line.as_bytes())),
            None => output::complain(&line),
        }
    }
}

fn line(format: Format, level: Level, message: &str, time: &str) -> String {
    match format {
        Format::Text => {
            format!("time={} level={} msg={}\n", quote(time), level.name(), quote(message))
        }
        // logrus counts the seconds since the start there, which are always none.
        Format::Terminal => format!("{}[0000] {message}\n", level.short()),
        Format::Json => {
            let line = serde_json::json!({ "level": level.name(), "msg": message, "time": time });
            format!("{line}\n")
        }
    }
}

/// logrus quotes a value, as Go's `%q` does, unless it is made of a few harmless letters.
fn quote(value: &str) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !value.is_empty() && value.bytes().all(harmless) {
        return value.to_owned();
    }
    let mut quoted = String::with_capacity(value.len() + 2);
    quoted.push('"');
    for letter in value.chars() {
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: &str = "2026-11-21T09:34:27Z";

    #[test]
    fn text_is_that_of_logrus() {
        assert_eq!(
            line(Format::Text, Level::Error, "container does not exist", TIME),
            "time=\"2026-11-21T09:34:27Z\" level=error msg=\"container does not exist\"\n"
        );
        assert_eq!(
            line(Format::Text, Level::Warning, "a\"b\\c\nd\u{1b}[31m", TIME),
            "time=\"2026-11-21T09:34:27Z\" level=warning msg=\"a\\\"b\\\\c\\nd\\u001b[31m\"\n"
        );
        assert_eq!(quote("/run/hoist"), "/run/hoist");
        assert_eq!(quote(""), "\"\"");
    }

    #[test]
    fn json_has_three_keys_on_one_line() {
        let text = line(Format::Json, Level::Error, "exec: \"x\": not found\n", TIME);
        assert_eq!(
            text,
            "{\"level\":\"error\",\"msg\":\"exec: \\\"x\\\": not found\\n\",\
             \"time\":\"2026-11-21T09:34:27Z\"}\n"
        );
    }

    #[test]
    fn a_terminal_gets_the_short_form() {
        assert_eq!(line(Format::Terminal, Level::Debug, "a b", TIME), "DEBU[0000] a b\n");
    }

    #[test]
    fn a_file_is_appended_to() {
        let path = std::env::temp_dir().join(format!("hoist-log-{}", std::process::id()));
        std::fs::write(&path, "before\n").unwrap();
        let log = Log::open(Some(&path), true, true).unwrap();
        log.warn("one");
        log.debug(|| "two".to_owned());
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), 3);
        assert_eq!(lines[0], "before");
        assert!(lines[1].contains("\"level\":\"warning\""), "{text}");
        assert!(lines[2].contains("\"msg\":\"two\""), "{text}");
        // What is no directory has no files, on whatever machine.
        assert!(Log::open(Some(&path.join("x")), false, false).is_err());
        std::fs::remove_file(&path).unwrap();
    }
}
