//! Tests of the whole room: from text to a `Bundle`.

mod cost;
mod fuzz;
mod loading;
mod rules;
mod rules_linux;

use serde_json::{Value, json};

use super::Bundle;
use crate::error::Error;

/// A small valid configuration with all namespaces but user and time.
fn valid() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "root": {"path": "rootfs"},
        "process": {
            "user": {"uid": 0, "gid": 0},
            "cwd": "/",
            "args": ["sh"],
            "env": ["PATH=/bin"],
        },
        "mounts": [{"destination": "/proc", "type": "proc", "source": "proc"}],
        "linux": {
            "namespaces": [
                {"type": "pid"}, {"type": "network"}, {"type": "ipc"}, {"type": "uts"},
                {"type": "mount"}, {"type": "cgroup"},
            ],
        },
    })
}

/// Sets the value at a JSON pointer, making objects on the way; `-` appends to an array.
fn set(config: &mut Value, pointer: &str, value: Value) {
    let mut at = config;
    for key in pointer.split('/').skip(1) {
        let key = key.replace("~1", "/").replace("~0", "~");
        if let Value::Array(items) = at {
            let index = key.parse().unwrap_or(items.len());
            if index == items.len() {
                items.push(Value::Null);
            }
            at = &mut items[index];
        } else {
            at = &mut at[&key];
        }
    }
    *at = value;
}

/// `valid()` with some values set.
fn with(changes: &[(&str, Value)]) -> Value {
    let mut config = valid();
    for (pointer, value) in changes {
        set(&mut config, pointer, value.clone());
    }
    config
}

fn load(config: &Value) -> Result<Bundle, Error> {
    Bundle::from_json("/", config.to_string())
}

/// A configuration with every field: the example of the runtime-spec's own schema tests, with
/// what is newer added.
fn full() -> Value {
    serde_json::from_str(include_str!("full.json")).unwrap()
}
