//! What is fuzzed of devices: rules, against what they mean.

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

use super::model::{Plain, compare};
use super::{Access, Kind, Policy};

/// More rules are the same again, only slowly.
const MOST_RULES: usize = 48;

/// `linux.resources.devices`.
pub fn devices(data: &[u8]) {
    let Ok(rules) = serde_json::from_slice::<Vec<LinuxDeviceCgroup>>(data) else { return };
    match Policy::of_container(&rules, &[]) {
        Ok(_) if rules.len() > MOST_RULES => {}
        Ok(_) => compare(&rules.iter().map(plain).collect::<Vec<_>>()),
        Err(error) => {
            let pointer = error.pointer().unwrap_or_default();
            assert!(pointer.starts_with("/linux/resources/devices/"), "{error:?}");
        }
    }
}

/// A rule that a policy was made of.
fn plain(rule: &LinuxDeviceCgroup) -> Plain {
    // -1 stands for all numbers.
    let number = |value: Option<i64>| value.and_then(|value| u32::try_from(value).ok());
    let access = rule.access().as_deref().and_then(Access::parse);
    Plain {
        allow: rule.allow(),
        kind: match rule.typ().unwrap_or_default() {
            LinuxDeviceType::B => Some(Kind::Block),
            LinuxDeviceType::C => Some(Kind::Char),
            _ => None,
        },
        major: number(rule.major()),
        minor: number(rule.minor()),
        access: access.map_or(0, |access| access.0),
    }
}
