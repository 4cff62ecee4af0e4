//! The hostile program that runs inside of containers: `attacker.c`, compiled once, static.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use crate::attack::Attack;
use crate::cgroups::eventually;

const SOURCE: &str = include_str!("attacker.c");

/// Puts it into the image as `/bin/attacker`; false where there is no C compiler.
pub(crate) fn install(attack: &Attack) -> bool {
    static PROGRAM: OnceLock<Option<Vec<u8>>> = OnceLock::new();
    let Some(program) = PROGRAM.get_or_init(|| compile(attack)) else { return false };
    let path = attack.rootfs().join("bin/attacker");
    fs::write(&path, program).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    true
}

fn compile(attack: &Attack) -> Option<Vec<u8>> {
    let output = attack.dir.join("attacker");
    let mut cc = Command::new("cc")
        .args(["-static", "-O1", "-x", "c", "-", "-o"])
        .arg(&output)
        .stdin(Stdio::piped())
        .spawn()
        .ok()?;
    cc.stdin.take()?.write_all(SOURCE.as_bytes()).ok()?;
    assert!(cc.wait().ok()?.success(), "attacker.c doesn't compile");
    fs::read(output).ok()
}

/// What it has achieved so far.
pub(crate) fn log(attack: &Attack) -> Vec<String> {
    let text = fs::read_to_string(attack.rootfs().join("attack.log")).unwrap_or_default();
    text.lines().map(|line| line.trim_end().to_owned()).collect()
}

/// Waits until it is at work.
pub(crate) fn await_ready(attack: &Attack) {
    eventually("the attacker is ready", || log(attack).iter().any(|line| line == "READY"));
}
