//! The options that were given, checked and typed.

use std::ffi::{OsStr, OsString};
use std::path::Path;

use super::duration::{self, Nanoseconds};
use super::{Flag, Value};

/// The options that were given, in their order.
#[derive(Debug, Default)]
pub(crate) struct Values(Vec<(&'static str, Given)>);

/// One option's value; its kind is the one that the table gives the option.
#[derive(Debug)]
enum Given {
    Switch(bool),
    Number(u32),
    Duration(Nanoseconds),
    Text(String),
    Path(OsString),
}

impl Values {
    /// Checks `value` against what `flag` takes and keeps it; says what is wrong with it otherwise.
    pub(super) fn add(&mut self, flag: &Flag, value: OsString) -> Result<(), String> {
        let given = match flag.value {
            Value::File(_) | Value::Directory(_) => Given::Path(value),
            Value::Switch => Given::Switch(boolean(text(&value)?).ok_or("not a boolean")?),
            Value::Number(_) => Given::Number(number(text(&value)?).ok_or("not a number")?),
            Value::Duration(_) => Given::Duration(
                duration::parse(text(&value)?).ok_or("not a duration such as 300ms or 1m30s")?,
            ),
            Value::Text(_) => Given::Text(text(&value)?.to_owned()),
            Value::OneOf(_, words) => {
                let value = text(&value)?;
                if !words.contains(&value) {
                    return Err(format!("not one of {}", words.join(", ")));
                }
                Given::Text(value.to_owned())
            }
        };
        self.0.push((flag.name, given));
        Ok(())
    }

    /// A switch that was given without a value.
    pub(super) fn turn_on(&mut self, flag: &Flag) {
        self.0.push((flag.name, Given::Switch(true)));
    }

    fn all(&self, flag: &Flag) -> impl DoubleEndedIterator<Item = &Given> {
        let name = flag.name;
        self.0.iter().filter(move |(given, _)| *given == name).map(|(_, value)| value)
    }

    /// As everywhere in the world of runc, the last one wins.
    fn last(&self, flag: &Flag) -> Option<&Given> {
        self.all(flag).next_back()
    }

    pub(crate) fn is_set(&self, flag: &Flag) -> bool {
        self.last(flag).is_some()
    }

    /// What a switch was set to, if it was given.
    pub(crate) fn switch(&self, flag: &Flag) -> Option<bool> {
        match self.last(flag) {
            Some(Given::Switch(on)) => Some(*on),
            _ => None,
        }
    }

    pub(crate) fn is_on(&self, flag: &Flag) -> bool {
        self.switch(flag).unwrap_or(false)
    }

    pub(crate) fn number(&self, flag: &Flag) -> Option<u32> {
        match self.last(flag) {
            Some(Given::Number(number)) => Some(*number),
            _ => None,
        }
    }

    /// How long, in nanoseconds: Go's durations may be negative.
    pub(crate) fn duration(&self, flag: &Flag) -> Option<Nanoseconds> {
        match self.last(flag) {
            Some(Given::Duration(duration)) => Some(*duration),
            _ => None,
        }
    }

    pub(crate) fn text(&self, flag: &Flag) -> Option<&str> {
        match self.last(flag) {
            Some(Given::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// A path; the empty one counts as not given, as in runc.
    pub(crate) fn path(&self, flag: &Flag) -> Option<&Path> {
        match self.last(flag) {
            Some(Given::Path(path)) if !path.is_empty() => Some(Path::new(path)),
            _ => None,
        }
    }

    /// Every text that a repeatable option was given.
    pub(crate) fn texts(&self, flag: &Flag) -> impl Iterator<Item = &str> {
        self.all(flag).filter_map(|given| match given {
            Given::Text(text) => Some(text.as_str()),
            _ => None,
        })
    }

    /// Every number that a repeatable option was given.
    pub(crate) fn numbers(&self, flag: &Flag) -> impl Iterator<Item = u32> {
        self.all(flag).filter_map(|given| match given {
            Given::Number(number) => Some(*number),
            _ => None,
        })
    }
}

fn text(value: &OsStr) -> Result<&str, String> {
    value.to_str().ok_or_else(|| "not valid UTF-8".to_owned())
}

/// The words that Go's `strconv.ParseBool` knows.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// Digits and nothing else: `u32::from_str` would take a sign too.
pub(crate) fn number(text: &str) -> Option<u32> {
    if text.bytes().all(|byte| byte.is_ascii_digit()) { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_digits_only() {
        assert_eq!(number("0"), Some(0));
        assert_eq!(number("4294967295"), Some(u32::MAX));
        for bad in ["", "+1", "-1", " 1", "1 ", "0x1", "4294967296", "1e3", "١"] {
            assert_eq!(number(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn an_empty_path_is_no_path() {
        let flag = Flag::new("bundle", Value::Directory("DIR"), "");
        let mut values = Values::default();
        values.add(&flag, OsString::new()).unwrap();
        assert!(values.is_set(&flag));
        assert_eq!(values.path(&flag), None);
        values.add(&flag, "/a".into()).unwrap();
        assert_eq!(values.path(&flag), Some(Path::new("/a")));
    }
}
