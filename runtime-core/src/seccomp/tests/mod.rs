//! The room's tests. `oracle` is libseccomp.

mod differential;
mod kernel;
mod oracle;
mod profile;
mod tables;

use oci_spec::runtime::LinuxSeccomp;

/// Docker's default profile, see tests/data/docker-seccomp.md.
fn docker() -> LinuxSeccomp {
    serde_json::from_str(include_str!("../../../tests/data/docker-seccomp.json")).unwrap()
}

/// A profile from JSON.
fn parse(profile: serde_json::Value) -> LinuxSeccomp {
    serde_json::from_value(profile).unwrap()
}
