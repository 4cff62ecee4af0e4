//! Configurations to load and to compile. The micro-benchmarks have this file, too.

use serde_json::{Value, json};

use crate::failure::{Context, Result};

/// Docker's profile for the default capabilities; its origin is told beside it.
const DOCKER_SECCOMP: &str = include_str!("../../../runtime-core/tests/data/docker-seccomp.json");

/// Those that Docker gives.
const CAPABILITIES: [&str; 14] = [
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "NET_RAW",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
];

/// What `hoist spec` writes.
#[allow(clippy::unnecessary_wraps, reason = "as the others")]
pub(crate) fn default() -> Result<String> {
    Ok(hoist::DefaultSpec::default().json())
}

/// With what Docker puts in: its seccomp profile, capabilities and device rules, bind mounts for the network's
/// files; and with the variables of an orchestrator's services. 30 kB.
pub(crate) fn docker() -> Result<String> {
    let mut config: Value =
        serde_json::from_str(&default()?).context("the default configuration")?;
    let profile: Value =
        serde_json::from_str(DOCKER_SECCOMP).context("Docker's seccomp profile")?;
    let data =
        "/var/lib/docker/containers/4f66ad9a0b2e4f66ad9a0b2e4f66ad9a0b2e4f66ad9a0b2e4f66ad9a0b2e";
    let binds = ["resolv.conf", "hostname", "hosts"].map(|name| {
        json!({
            "destination": format!("/etc/{name}"),
            "type": "bind",
            "source": format!("{data}/{name}"),
            "options": ["rbind", "rprivate"],
        })
    });
    let devices = [(1, 5), (1, 3), (1, 9), (1, 8), (5, 0), (5, 1), (10, 229)].map(|(major, minor)| {
        json!({ "allow": true, "type": "c", "major": major, "minor": minor, "access": "rwm" })
    });
    let capabilities = CAPABILITIES.map(|name| format!("CAP_{name}"));
    let variables: Vec<_> = (0..160)
        .map(|number| format!("SERVICE_{number}_PORT_8080_TCP_ADDR=tcp://10.0.{number}.17:8080"))
        .collect();
    for (pointer, values) in [
        ("/mounts", binds.to_vec()),
        ("/process/env", variables.into_iter().map(Value::from).collect()),
        ("/linux/resources/devices", devices.to_vec()),
    ] {
        if let Some(list) = config.pointer_mut(pointer).and_then(Value::as_array_mut) {
            list.extend(values);
        }
    }
    for (parent, member, value) in [
        ("/linux", "seccomp", profile),
        ("/linux", "cgroupsPath", json!("/docker/4f66ad9a0b2e")),
        ("/process/capabilities", "bounding", json!(capabilities)),
        ("/process/capabilities", "effective", json!(capabilities)),
        ("/process/capabilities", "permitted", json!(capabilities)),
    ] {
        if let Some(parent) = config.pointer_mut(parent).and_then(Value::as_object_mut) {
            parent.insert(member.to_owned(), value);
        }
    }
    serde_json::to_string_pretty(&config).context("the configuration")
}

/// The same with another error number in its profile, or each compilation after the first would find the
/// filter in the runtime's cache.
pub(crate) fn distinct(text: &str, number: u32) -> String {
    text.replace(
        "\"defaultErrnoRet\": 1,",
        &format!("\"defaultErrnoRet\": {},", 1000 + number % 3000),
    )
}
