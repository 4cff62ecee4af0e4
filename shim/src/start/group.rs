//! Which containers share a shim.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::args::is_name;
use crate::failure::{Code, During, Failure, Result};

/// The annotations that name a group, in their order: the one of Go's shim, for whoever wants to, and
/// the pod that CRI gives.
const ANNOTATIONS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// All that is read of the configuration. The library reads it as a whole, and says what is wrong
/// with it, at Create.
#[derive(Deserialize)]
struct Shallow<'a> {
    #[serde(borrow, default)]
    annotations: Option<HashMap<Cow<'a, str>, Cow<'a, str>>>,
}

/// The group of the container whose configuration is at `path`; by itself it is one of its own.
pub(super) fn of(path: &Path, id: &str) -> Result<String> {
    let text = fs::read(path).during(format_args!("read {}", path.display()))?;
    let config: Shallow<'_> = serde_json::from_slice(&text)
        .map_err(|error| Failure::new(Code::InvalidArgument, error.to_string()))
        .during(format_args!("read {}", path.display()))?;
    let annotations = config.annotations.unwrap_or_default();
    let found = ANNOTATIONS.iter().find_map(|name| annotations.get_key_value(*name));
    let Some((name, group)) = found else { return Ok(id.to_owned()) };
    // It becomes the last part of a path, which is cleaned: `..` would lead to a shim of another of
    // containerd's namespaces.
    if !is_name(group) {
        let message = format!("the annotation {name}: {group:?} is no name of a group");
        return Err(Failure::new(Code::InvalidArgument, message));
    }
    Ok(group.clone().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Scratch;

    #[test]
    fn groups_by_annotation() {
        let scratch = Scratch::new("group");
        let path = scratch.path().join("config.json");
        for (config, expected) in [
            (r#"{}"#, "web"),
            (r#"{"annotations": null, "process": {"args": ["x"]}}"#, "web"),
            (r#"{"annotations": {"a": "b"}}"#, "web"),
            (r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod\u0031"}}"#, "pod1"),
            (
                r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod",
                    "io.containerd.runc.v2.group": "mine"}}"#,
                "mine",
            ),
        ] {
            fs::write(&path, config).unwrap();
            assert_eq!(of(&path, "web").unwrap(), expected, "{config}");
        }
    }

    #[test]
    fn a_group_is_one_name() {
        let scratch = Scratch::new("group-name");
        let path = scratch.path().join("config.json");
        for annotation in ANNOTATIONS {
            for group in ["", ".", "..", "../other/x", "/x", "a/b", "a\0"] {
                let config = serde_json::json!({ "annotations": { annotation: group } });
                fs::write(&path, config.to_string()).unwrap();
                let failure = of(&path, "web").unwrap_err();
                let expected =
                    format!("the annotation {annotation}: {group:?} is no name of a group");
                assert_eq!((failure.code, failure.message), (Code::InvalidArgument, expected));
            }
        }
    }

    #[test]
    fn a_bad_configuration_is_named() {
        let scratch = Scratch::new("group-bad");
        let path = scratch.path().join("config.json");
        let failure = of(&path, "web").unwrap_err();
        assert!(failure.message.ends_with("config.json: No such file or directory (os error 2)"));
        for config in ["", "[1]", r#"{"annotations": {"a": 1}}"#, r#"{"annotations": {}"#] {
            fs::write(&path, config).unwrap();
            let failure = of(&path, "web").unwrap_err();
            assert!(failure.message.contains("config.json: ") && failure.message.contains("line"));
        }
    }
}
