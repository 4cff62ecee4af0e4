//! From bytes to a typed `Spec`.
//!
//! The usual way is one direct pass. Only a text that fails it is read again, slowly, for two
//! reasons: `oci-spec`'s closed types refuse some configurations that the runtime-spec allows
//! (see `lenient`), and an error should say where it is and what to do.

use std::fmt::Write;

use oci_spec::runtime::Spec;
use serde::Serialize;
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{given_twice, lenient, letter_case, members};
use crate::error::{Error, ErrorKind, Result};

/// Parses `config.json`; the strings are warnings about what was left out.
pub(super) fn parse(text: &[u8]) -> Result<(Box<Spec>, Vec<String>)> {
    let (spec, warnings) = match serde_json::from_slice::<Box<Spec>>(text) {
        Ok(spec) if lenient::may_lack_pids_limit(&spec) || says_more(text, &spec) => {
            parse_slowly(text, None)?
        }
        Ok(spec) => (spec, Vec::new()),
        Err(error) => parse_slowly(text, Some(&error))?,
    };
    // serde would also take the members of any object as an array, in order.
    if text.trim_ascii_start().first() != Some(&b'{') {
        return Err(no_object());
    }
    // JSON has no other way to write a NUL: raw control characters are a syntax error.
    if text.contains(&b'\\') && text.windows(6).any(|six| six == b"\\u0000") {
        reject_nul(&*spec, "")?;
    }
    Ok((spec, warnings))
}

/// Whether the text may say something that the typed form of it hides: a key that is given twice, or a member
/// of `resources` in another letter case.
fn says_more(text: &[u8], spec: &Spec) -> bool {
    let maps = given_twice::maps(spec);
    let wanted: Vec<&str> = maps.iter().map(|(name, _)| *name).chain(["resources"]).collect();
    members::any_escaped(text)
        || members::of_each(text, &wanted).any(|(object, names)| {
            match maps.iter().find(|(name, _)| *name == object) {
                Some((_, keys)) => names.count() != *keys,
                None => letter_case::differs(names),
            }
        })
}

#[cold]
#[inline(never)] // it would be most of the code and of the stack of who hardly ever calls it
pub(super) fn parse_slowly(
    text: &[u8],
    first: Option<&serde_json::Error>,
) -> Result<(Box<Spec>, Vec<String>)> {
    let mut value = lenient::value(text, "config.json is")?;
    if !value.is_object() {
        return Err(no_object());
    }
    let warnings = lenient::repair(&mut value)?;
    Ok((Box::new(typed(value, first)?), warnings))
}

/// The typed form of a value, or the error that says best what is wrong; `first` is what the
/// direct pass over the text had to say.
pub(super) fn typed(value: Value, first: Option<&serde_json::Error>) -> Result<Spec> {
    serde_path_to_error::deserialize(value)
        .map_err(|error| explain(&pointer(error.path()), &error.inner().to_string(), first))
}

/// The error for what serde says about the value at `pointer`.
fn explain(pointer: &str, message: &str, first: Option<&serde_json::Error>) -> Error {
    // The first pass knows the line, the second one the pointer: if both met the same error.
    let place = match first {
        Some(first) if first.to_string().starts_with(message) => {
            format!(" (line {}, column {})", first.line(), first.column())
        }
        _ => String::new(),
    };
    if let Some(field) = quoted(message, "missing field `") {
        let pointer = format!("{pointer}/{field}");
        let message = format!("invalid {}: it is required, but missing", noun(&pointer));
        return Error::config(pointer, message);
    }
    if let Some(variant) = quoted(message, "unknown variant `") {
        let known = message.split_once(", expected ").map_or("", |(_, known)| known);
        let known = known.strip_prefix("one of ").unwrap_or(known);
        return Error::config(pointer, format!("invalid {} `{variant}`{place}", noun(pointer)))
            .with_hint(format!("known are {known}"));
    }
    let wrong = ["invalid type: ", "invalid value: "].iter().find_map(|p| message.strip_prefix(p));
    if let Some((found, expected)) = wrong.and_then(|m| m.split_once(", expected ")) {
        let expected = in_plain_words(expected);
        return Error::config(pointer, format!("expected {expected}, found {found}{place}"));
    }
    Error::config(pointer, format!("{message}{place}"))
}

/// What stands between `prefix` and the next backtick.
pub(super) fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.split('`').next()
}

/// What people, and runc's messages, call the value at `pointer`: `/linux/memoryPolicy/mode` is the
/// memory policy mode.
fn noun(pointer: &str) -> String {
    let mut names: Vec<&str> = pointer.split('/').filter(|s| s.parse::<u32>().is_err()).collect();
    let last_two = names.split_off(names.len().saturating_sub(2));
    let mut noun = String::new();
    for c in last_two.join(" ").trim_start().chars() {
        if c.is_ascii_uppercase() {
            noun.push(' ');
        }
        noun.push(c.to_ascii_lowercase());
    }
    noun
}

/// serde's name of an expected type for somebody who writes JSON, not Rust.
fn in_plain_words(expected: &str) -> &str {
    match expected {
        "u16" => "a whole number from 0 to 65535",
        "u32" => "a whole number from 0 to 4294967295",
        "u64" | "usize" => "a whole number from 0 to 18446744073709551615",
        "i32" => "a whole number from -2147483648 to 2147483647",
        "i64" => "a whole number from -9223372036854775808 to 9223372036854775807",
        "a sequence" => "an array",
        "a map" => "an object",
        "path string" => "a string",
        _ if expected.starts_with("struct ") => "an object",
        _ => expected,
    }
}

/// RFC 6901.
pub(super) fn pointer(path: &Path) -> String {
    let mut pointer = String::new();
    for segment in path {
        match segment {
            Segment::Seq { index } => push(&mut pointer, index),
            Segment::Map { key } => push_key(&mut pointer, key),
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    pointer
}

/// Appends the escaped `key` to the pointer.
pub(super) fn push_key(pointer: &mut String, key: &str) {
    pointer.push('/');
    match key.contains(['~', '/']) {
        true => pointer.push_str(&key.replace('~', "~0").replace('/', "~1")),
        false => pointer.push_str(key),
    }
}

fn push(pointer: &mut String, segment: impl std::fmt::Display) {
    // Writing to a String never fails.
    let _ = write!(pointer, "/{segment}");
}

pub(super) fn no_object() -> Error {
    invalid("config.json must hold a JSON object")
}

/// An error of the whole file, without a pointer.
pub(super) fn invalid(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidConfig, message.into())
}

/// No string that can reach the kernel may hold a NUL: the kernel would see it cut off there,
/// that is, something other than what was checked. `spec` stands at `pointer`.
pub(super) fn reject_nul(spec: &impl Serialize, pointer: &str) -> Result<()> {
    let value = serde_json::to_value(spec)
        .map_err(|e| invalid("the configuration can't be written as JSON").with_source(e))?;
    match find_nul(&value, &mut pointer.to_owned()) {
        Some(pointer) => Err(Error::config(pointer, "a NUL character is not allowed here")),
        None => Ok(()),
    }
}

/// The pointer to the first string, or object with a key, that holds a NUL.
fn find_nul(value: &Value, pointer: &mut String) -> Option<String> {
    match value {
        Value::String(s) => s.contains('\0').then(|| pointer.clone()),
        Value::Array(items) => items.iter().enumerate().find_map(|(index, item)| {
            let length = pointer.len();
            push(pointer, index);
            let found = find_nul(item, pointer);
            pointer.truncate(length);
            found
        }),
        Value::Object(members) => members.iter().find_map(|(key, member)| {
            if pointer.is_empty() && lenient::is_ignored(key) {
                return None;
            }
            let length = pointer.len();
            push_key(pointer, key);
            let found =
                if key.contains('\0') { Some(pointer.clone()) } else { find_nul(member, pointer) };
            pointer.truncate(length);
            found
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}
