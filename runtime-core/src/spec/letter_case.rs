//! Names of members of `linux.resources` in another letter case. Go's reader, and so runc, takes
//! `CPU` for `cpu`; oci-spec would pass over it, and the container would be without the limit.

use serde_json::{Map, Value};

use super::json;
use crate::error::{Error, Result};

/// config-linux.md "Control groups": the names on all levels.
const NAMES: &[&str] = &[
    "access",
    "allow",
    "blockIO",
    "burst",
    "checkBeforeUpdate",
    "classID",
    "cpu",
    "cpus",
    "devices",
    "disableOOMKiller",
    "hugepageLimits",
    "idle",
    "kernel",
    "kernelTCP",
    "leafWeight",
    "limit",
    "major",
    "memory",
    "mems",
    "minor",
    "name",
    "network",
    "pageSize",
    "period",
    "pids",
    "priorities",
    "priority",
    "quota",
    "rate",
    "rdma",
    "realtimePeriod",
    "realtimeRuntime",
    "reservation",
    "shares",
    "swap",
    "swappiness",
    "throttleReadBpsDevice",
    "throttleReadIOPSDevice",
    "throttleWriteBpsDevice",
    "throttleWriteIOPSDevice",
    "type",
    "unified",
    "useHierarchy",
    "weight",
    "weightDevice",
];

/// Members that are maps: what is in them has names of its own.
const MAPS: [&str; 2] = ["rdma", "unified"];

/// The known name that this one is, but for the case of its letters.
fn known(name: &str) -> Option<&'static str> {
    if NAMES.contains(&name) {
        return None;
    }
    NAMES.iter().copied().find(|known| known.eq_ignore_ascii_case(name))
}

/// Gives all members of `resources` the names that the runtime-spec has for them. If a member is
/// there in both spellings, what is in the two is put together.
pub(super) fn normalize(resources: &mut Value, pointer: &str) -> Result<()> {
    match resources {
        Value::Array(items) => items.iter_mut().try_for_each(|item| normalize(item, pointer)),
        Value::Object(members) => {
            let others: Vec<_> =
                members.keys().filter_map(|name| Some((name.clone(), known(name)?))).collect();
            for (name, known) in others {
                if let Some(value) = members.remove(&name) {
                    join(members, known, value, pointer)?;
                }
            }
            for (name, member) in members {
                if !MAPS.contains(&name.as_str()) {
                    normalize(member, &format!("{pointer}/{name}"))?;
                }
            }
            Ok(())
        }
        _ => Ok(()),
    }
}

fn join(members: &mut Map<String, Value>, name: &str, value: Value, pointer: &str) -> Result<()> {
    let pointer = format!("{pointer}/{name}");
    match (members.get_mut(name), value) {
        (None, value) => drop(members.insert(name.to_owned(), value)),
        (Some(Value::Object(old)), Value::Object(new)) => {
            for (name, value) in new {
                join(old, &name, value, &pointer)?;
            }
        }
        // Readers differ in which of the two they take.
        (Some(_), _) => return Err(Error::config(pointer, format!("`{name}` is given twice"))),
    }
    Ok(())
}

/// Whether an object called `resources` in this JSON, which is known to be valid, has a member
/// whose name [`normalize`] would change. A name that is written with escapes can't be told as it stands.
pub(super) fn differs(text: &[u8]) -> bool {
    if has_escaped_name(text) {
        return true;
    }
    const START: &[u8] = b"\"resources\"";
    let mut rest = text;
    while let Some(at) = json::find(rest, START) {
        rest = rest.get(at + START.len()..).unwrap_or_default();
        if names(rest).any(|name| std::str::from_utf8(name).is_ok_and(|name| known(name).is_some()))
        {
            return true;
        }
    }
    false
}

/// Whether a member's name is written with an escape. No backslash is anywhere but in a string.
fn has_escaped_name(text: &[u8]) -> bool {
    let mut rest = text;
    while let Some(at) = rest.iter().position(|byte| *byte == b'\\') {
        let string = rest.get(at..).unwrap_or_default();
        rest = string.get(end_of_string(string) + 1..).unwrap_or_default();
        if after(rest, b':').is_some() {
            return true;
        }
    }
    false
}

/// The names of members in the object that follows a colon.
fn names(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut depth = 0_u32;
    let mut rest = match after(text, b':') {
        Some(value) if value.trim_ascii_start().first() == Some(&b'{') => value,
        _ => &[],
    };
    std::iter::from_fn(move || {
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 1 => rest = &[],
                b'}' => depth -= 1,
                b'"' => {
                    let end = end_of_string(tail);
                    let string = tail.get(..end)?;
                    rest = tail.get(end + 1..).unwrap_or_default();
                    if after(rest, b':').is_some() {
                        return Some(string);
                    }
                }
                _ => {}
            }
        }
        None
    })
}

/// What follows a byte, if nothing but white space is before that.
fn after(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.trim_ascii_start().strip_prefix(&[byte])
}

fn end_of_string(text: &[u8]) -> usize {
    let mut escaped = false;
    let is_end = |byte: &u8| {
        let end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        end
    };
    text.iter().position(is_end).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_are_found_in_resources_only() {
        for (text, expected) in [
            (r#"{"linux": {"resources" : {"cpu": {"shares": 1}}}}"#, false),
            (r#"{"linux": {"resources": {"cpu": {"Shares": 1}}}}"#, true),
            (r#"{"linux": {"resources": {"a": "}\"", "x": ["CPU"], "CPU" :{}}}}"#, true),
            (r#"{"resources": 1, "linux": {"resources": {}, "CPU": {}}}"#, false),
            (r#"{"annotations": {"a": "\"resources\": {\"CPU\": 1}"}}"#, false),
            (r#"{"resources": {"hugepageLimits": [{"pagesize": "2MB"}]}}"#, true),
            (r#"{"resources": {"\u0043PU": {"shares": 1}}}"#, true),
            (r#"{"resour\u0063es": {"CPU": {"shares": 1}}}"#, true),
            (r#"{"resources": {}, "env": ["a=\"b\":", "\\"], "x": "\u003c"}"#, false),
            (r#"{"resources"#, false),
            (r#"{"resources": {"CPU"#, false),
        ] {
            assert_eq!(differs(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn members_get_their_names() {
        let mut value = json!({
            "CPU": {"Cpus": "0", "MEMS": "0"}, "cpu": {"shares": 5}, "other": 1,
            "unified": {"Limit": "1"}, "hugepagelimits": [{"pagesize": "2MB", "limit": 1}],
        });
        normalize(&mut value, "").unwrap();
        let expected = json!({
            "cpu": {"cpus": "0", "mems": "0", "shares": 5}, "other": 1,
            "unified": {"Limit": "1"}, "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
        });
        assert_eq!(value, expected);
        let mut value = json!({"cpu": {"shares": 5}, "CPU": {"shares": 6}});
        let error = normalize(&mut value, "/linux/resources").unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/resources/cpu/shares"));
    }
}
