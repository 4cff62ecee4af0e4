//! `org.systemd.property.NAME` annotations: a property of the unit, its value in GVariant's text
//! form.

use std::collections::HashMap;

use super::gvariant;
use super::properties::Property;
use super::value::Value;
use crate::error::{Error, Result};

const PREFIX: &str = "org.systemd.property.";
/// What `cgroupsPath` and hoist decide: which processes are in the unit, and where it is.
const OURS: [&str; 3] = ["PIDs", "PIDFDs", "Slice"];
const SECOND: f64 = 1e6;

/// Reads all of them, sorted by name.
pub(super) fn parse(annotations: &HashMap<String, String>) -> Result<Vec<Property>> {
    let mut properties = Vec::new();
    for (annotation, text) in annotations {
        let Some(name) = annotation.strip_prefix(PREFIX) else { continue };
        let refuse = |why: String| Error::config(pointer(name), why);
        check_name(name)
            .map_err(|why| refuse(format!("systemd property name incorrect: {why}")))?;
        let value = gvariant::parse(text)
            .and_then(|value| in_microseconds(name, value))
            .map_err(|why| refuse(format!("systemd property value parse error: {why}")))?;
        properties.push(value);
    }
    properties.sort_by(|(a, _), (b, _)| a.cmp(b));
    Ok(properties)
}

/// Where a property is from.
pub(super) fn pointer(name: &str) -> String {
    format!("/annotations/{PREFIX}{}", name.replace('~', "~0").replace('/', "~1"))
}

/// As in runc: "a valid name should consist of latin letters only, and have least 3 of them".
fn check_name(name: &str) -> std::result::Result<(), &'static str> {
    if name.len() < 3 {
        return Err("too short");
    }
    if !name.bytes().all(|byte| byte.is_ascii_alphabetic()) {
        return Err("contains non-alphabetic character");
    }
    if OURS.contains(&name) {
        return Err("it is not for the configuration to set");
    }
    Ok(())
}

/// What systemd.unit(5) calls `TimeoutStopSec` is `TimeoutStopUSec` on D-Bus, in microseconds.
fn in_microseconds(name: &str, value: Value) -> std::result::Result<Property, String> {
    let stem = name.strip_suffix("Sec");
    let stem = stem.filter(|stem| stem.ends_with(|last: char| last.is_ascii_lowercase()));
    let Some(stem) = stem else { return Ok((name.to_owned(), value)) };
    let seconds: i128 = match value {
        Value::Byte(value) => value.into(),
        Value::I16(value) => value.into(),
        Value::U16(value) => value.into(),
        Value::I32(value) => value.into(),
        Value::U32(value) => value.into(),
        Value::I64(value) => value.into(),
        Value::U64(value) => value.into(),
        Value::Double(value) => {
            let micros = value * SECOND;
            // A double holds every number of microseconds below that exactly.
            if !(0.0..9e15).contains(&micros) {
                return Err(format!("{value} seconds are out of range"));
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // see above
            let micros = micros as u64;
            return Ok((format!("{stem}USec"), Value::U64(micros)));
        }
        _ => return Err("not a number".to_owned()),
    };
    let micros = seconds.checked_mul(1_000_000).and_then(|micros| u64::try_from(micros).ok());
    let micros = micros.ok_or_else(|| format!("{seconds} seconds are out of range"))?;
    Ok((format!("{stem}USec"), Value::U64(micros)))
}
