//! The label of a security module.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::confinement::{audit, by_default, dockers_profile};
use crate::skip;

/// Other runs of this test have their own.
fn name() -> String {
    format!("hoist-test-inside-{}", std::process::id())
}

/// An AppArmor profile that allows everything, for as long as this lives.
struct Profile;

impl Profile {
    fn load() -> Result<Self, String> {
        let enabled = fs::read("/sys/module/apparmor/parameters/enabled").unwrap_or_default();
        if !enabled.starts_with(b"Y") {
            return Err("AppArmor is not enabled".to_owned());
        }
        parser("--replace").map(|()| Self)
    }
}

impl Drop for Profile {
    fn drop(&mut self) {
        let _ = parser("--remove");
    }
}

/// apparmor_parser(8) on the profile.
fn parser(how: &str) -> Result<(), String> {
    let rules = "capability, network, file, mount, umount, pivot_root, ptrace, signal, unix,";
    let flags = "flags=(attach_disconnected, mediate_deleted)";
    let text = format!("profile {} {flags} {{ {rules} }}\n", name());
    let mut child = Command::new("apparmor_parser")
        .args(["--skip-cache", how])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("apparmor_parser: {error}"))?;
    // It reads to the end of its input, which comes when this is dropped.
    let written = child.stdin.take().map(|mut stdin| stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().map_err(|error| error.to_string())?;
    match written {
        Some(Ok(())) if output.status.success() => Ok(()),
        _ => Err(format!("apparmor_parser: {}", String::from_utf8_lossy(&output.stderr))),
    }
}

/// The first process has it, and who joins.
///
/// Seen to fail: with the container's profile taken out for who joins, which was unconfined.
#[test]
fn an_apparmor_profile() {
    let mut case = match by_default() {
        Ok(case) => case,
        Err(reason) => skip!("{reason}"),
    };
    let _loaded = match Profile::load() {
        Ok(loaded) => loaded,
        Err(reason) => skip!("{reason}"),
    };
    case.process()["apparmorProfile"] = json!(name());
    case.linux()["seccomp"] = dockers_profile();
    audit(case);
}
