//! Names of members of `linux.resources` in another letter case. Go's reader, and so runc, takes
//! `CPU` for `cpu`; oci-spec would pass over it, and the container would be without the limit.

use serde_json::{Map, Value};

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

/// Whether `resources`, with members of these names, has one whose name [`normalize`] would change.
pub(super) fn differs<'a>(mut names: impl Iterator<Item = &'a [u8]>) -> bool {
    names.any(|name| std::str::from_utf8(name).is_ok_and(|name| known(name).is_some()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::members;
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
            (r#"{"resources"#, false),
            (r#"{"resources": {"CPU"#, false),
        ] {
            let mut objects = members::of_each(text.as_bytes(), &["resources"]);
            assert_eq!(objects.any(|(_, names)| differs(names)), expected, "{text}");
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
