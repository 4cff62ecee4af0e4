//! Keys that are given twice in a map. serde sees to the members of its structs; of a map it takes the last
//! one, where another reader takes the first: whoever looks at a configuration has to see what the container
//! gets.

use std::collections::HashSet;
use std::fmt;

use oci_spec::runtime::Spec;
use serde::de::{Deserialize, Deserializer, Error as _, IgnoredAny, MapAccess, Visitor};

/// The maps of a configuration: their keys are the user's.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Maps {
    #[serde(rename = "annotations")]
    _annotations: Option<Keys>,
    #[serde(rename = "linux")]
    _linux: Option<Linux>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Linux {
    #[serde(rename = "netDevices")]
    _net_devices: Option<Keys>,
    #[serde(rename = "resources")]
    _resources: Option<Resources>,
    #[serde(rename = "sysctl")]
    _sysctl: Option<Keys>,
    #[serde(rename = "timeOffsets")]
    _time_offsets: Option<Keys>,
}

#[derive(Default, serde::Deserialize)]
#[serde(default)]
struct Resources {
    #[serde(rename = "rdma")]
    _rdma: Option<Keys>,
    #[serde(rename = "unified")]
    _unified: Option<Keys>,
}

/// A map in which each key is there once.
struct Keys;

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(KeysVisitor)
    }
}

struct KeysVisitor;

impl<'de> Visitor<'de> for KeysVisitor {
    type Value = Keys;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Keys, A::Error> {
        let mut seen = HashSet::new();
        while let Some((key, IgnoredAny)) = map.next_entry::<String, IgnoredAny>()? {
            if !seen.insert(key) {
                return Err(A::Error::custom("a key is given twice"));
            }
        }
        Ok(Keys)
    }
}

/// Whether a map of the configuration that `spec` was read from may have a key twice. Another look at the
/// text is taken only where there is a map.
pub(super) fn in_a_map(spec: &Spec, text: &[u8]) -> bool {
    let linux = spec.linux().as_ref();
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let has_map = spec.annotations().is_some()
        || linux.is_some_and(|linux| {
            linux.net_devices().is_some()
                || linux.sysctl().is_some()
                || linux.time_offsets().is_some()
        })
        || resources.is_some_and(|it| it.rdma().is_some() || it.unified().is_some());
    has_map && serde_json::from_slice::<Maps>(text).is_err()
}
