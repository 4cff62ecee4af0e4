//! The second, forgiving look at a `config.json` that `oci-spec`'s types refuse.
//!
//! Each repair stands for a configuration that the runtime-spec allows, or that every runtime has
//! always taken and engines do write. What is dropped and matters is warned about.

use std::fmt;

use oci_spec::runtime::Spec;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{json, letter_case};
use crate::error::{Error, Result};

/// Top-level members that are not for Linux: ignored, even when malformed (spec.md "Platforms").
/// `annotations` is none of them, but may hold anything and never reaches the kernel.
const OTHER_PLATFORMS: [&str; 5] = ["windows", "solaris", "vm", "zos", "freebsd"];

/// Top-level members in which no NUL is looked for.
pub(super) fn is_ignored(key: &str) -> bool {
    key == "annotations" || OTHER_PLATFORMS.contains(&key)
}

/// Parses any JSON value; a member that is given twice in one object is an error, because
/// readers differ in which of the two they take. `what` the text is begins the message if it is
/// none: `config.json is`.
pub(super) fn value(text: &[u8], what: &str) -> Result<Value> {
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let parsed: Unique = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        match error.inner() {
            e if e.is_data() => given_twice(&json::pointer(error.path()), &e.to_string()),
            e => not_json(what, e),
        }
    })?;
    deserializer.end().map_err(|e| not_json(what, &e))?;
    Ok(parsed.0)
}

fn not_json(what: &str, error: &serde_json::Error) -> Error {
    json::invalid(format!("{what} not valid JSON: {error}"))
}

/// The one thing that [`UniqueVisitor`] has against a value. serde's path ends at the object.
fn given_twice(object: &str, message: &str) -> Error {
    let mut pointer = object.to_owned();
    json::push_key(&mut pointer, json::quoted(message, "`").unwrap_or_default());
    Error::config(pointer, message.to_owned())
}

/// A JSON value in which no object has the same member twice.
struct Unique(Value);

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor).map(Self)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, v: bool) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_i64<E>(self, v: i64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_u64<E>(self, v: u64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_f64<E>(self, v: f64) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_str<E>(self, v: &str) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_string<E>(self, v: String) -> std::result::Result<Value, E> {
        Ok(v.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> std::result::Result<Value, A::Error> {
        let mut items = Vec::new();
        while let Some(Unique(item)) = seq.next_element()? {
            items.push(item);
        }
        Ok(items.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Value, A::Error> {
        let mut members = Map::new();
        while let Some((key, Unique(member))) = map.next_entry::<String, Unique>()? {
            if members.contains_key(&key) {
                return Err(A::Error::custom(format!("`{key}` is given twice")));
            }
            members.insert(key, member);
        }
        Ok(members.into())
    }
}

/// Makes of `config` what `oci-spec` can take; returns warnings.
pub(super) fn repair(config: &mut Value) -> Result<Vec<String>> {
    let mut warnings = Vec::new();
    if let Value::Object(members) = config {
        for platform in OTHER_PLATFORMS {
            members.remove(platform);
        }
        // Never part of the runtime-spec; oci-spec 0.10 still has them here.
        members.remove("uidMappings");
        members.remove("gidMappings");
    }
    drop_nulls(config);
    if let Some(Value::Object(process)) = config.get_mut("process") {
        repair_process(process, &mut warnings);
    }
    if let Some(Value::Object(linux)) = config.get_mut("linux") {
        repair_linux(linux, &mut warnings)?;
    }
    Ok(warnings)
}

/// Go writes an absent array, map or pointer as `null` and reads it back as absent.
fn drop_nulls(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(drop_nulls),
        Value::Object(members) => {
            members.retain(|_, member| !member.is_null());
            members.values_mut().for_each(drop_nulls);
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn repair_process(process: &mut Map<String, Value>, warnings: &mut Vec<String>) {
    // config.md "User": the object itself is not REQUIRED; every runtime takes 0:0.
    process.entry("user").or_insert_with(|| Map::new().into());
    // config.md "Process": consoleSize MUST be ignored unless `terminal` is true.
    if process.get("terminal") != Some(&Value::Bool(true)) {
        process.remove("consoleSize");
    }
    if let Some(Value::Object(sets)) = process.get_mut("capabilities") {
        for (set, names) in sets {
            drop_unknown_capabilities(set, names, warnings);
        }
    }
    if let Some(Value::Array(flags)) = pointer_mut(process, &["scheduler", "flags"]) {
        flags.iter_mut().for_each(rename_scheduler_flag);
    }
    if let Some(Value::Object(affinity)) = process.get_mut("execCPUAffinity") {
        repair_affinity(affinity);
    }
}

/// config.md "Linux Process": a capability that can't be mapped to the kernel's MUST be warned
/// about and SHOULD NOT make the container fail.
fn drop_unknown_capabilities(set: &str, names: &mut Value, warnings: &mut Vec<String>) {
    let Value::Array(names) = names else { return };
    names.retain(|name| {
        let Value::String(text) = name else { return true };
        let known = oci_spec::runtime::Capability::deserialize(name).is_ok();
        if !known {
            warnings.push(format!("ignoring the unknown capability {text:?} in {set}"));
        }
        known
    });
}

/// oci-spec 0.10 spells two flags otherwise than config.md and sched_setattr(2).
fn rename_scheduler_flag(flag: &mut Value) {
    let renamed = match flag.as_str() {
        Some("SCHED_FLAG_RESET_ON_FORK") => "SCHED_RESET_ON_FORK",
        Some("SCHED_FLAG_DL_OVERRUN") => "SCHED_FLAG_D_L_OVERRUN",
        _ => return,
    };
    *flag = renamed.into();
}

/// oci-spec takes neither an empty list ("omitted or empty", config.md) nor the spaces and
/// superfluous commas that runc takes.
fn repair_affinity(affinity: &mut Map<String, Value>) {
    affinity.retain(|_, list| {
        let Value::String(text) = list else { return true };
        let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
        *text = parts.collect::<Vec<_>>().join(",");
        !text.is_empty()
    });
}

/// Whether a limit seems to be 0 that may not be given at all: oci-spec has no way to say so, and 0
/// is a limit.
pub(super) fn may_lack_pids_limit(spec: &Spec) -> bool {
    let resources = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
    resources.and_then(|resources| *resources.pids()).is_some_and(|pids| pids.limit() == 0)
}

fn repair_linux(linux: &mut Map<String, Value>, warnings: &mut Vec<String>) -> Result<()> {
    if let Some(resources) = linux.get_mut("resources") {
        letter_case::normalize(resources, "/linux/resources")?;
        if let Value::Object(resources) = resources
            && resources.get("pids").is_some_and(|pids| pids.get("limit").is_none())
        {
            resources.remove("pids");
        }
    }
    if let Some(Value::Array(limits)) = pointer_mut(linux, &["resources", "hugepageLimits"]) {
        for limit in limits.iter_mut().filter_map(|l| l.get_mut("limit")) {
            // A uint64 in config-linux.md, an i64 in oci-spec; the kernel's own maximum is less.
            if limit.as_u64().is_some_and(|l| i64::try_from(l).is_err()) {
                *limit = i64::MAX.into();
            }
        }
    }
    // What Go writes for an empty seccomp object; runc takes it as none.
    if let Some(Value::Object(seccomp)) = linux.get("seccomp") {
        let action = seccomp.get("defaultAction").and_then(Value::as_str).unwrap_or_default();
        let syscalls = seccomp.get("syscalls").and_then(Value::as_array);
        if action.is_empty() && syscalls.is_none_or(Vec::is_empty) {
            warnings.push("ignoring linux.seccomp: it has no defaultAction".to_owned());
            linux.remove("seccomp");
        }
    }
    Ok(())
}

fn pointer_mut<'a>(object: &'a mut Map<String, Value>, path: &[&str]) -> Option<&'a mut Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(object.get_mut(*first)?, |value, key| value.get_mut(key))
}
