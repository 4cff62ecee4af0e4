//! Whether the host has the LSM that a configuration's labels are for.
//!
//! A label that can't be applied is an error, before anything is touched: whoever asks for
//! confinement must not run without it.

use oci_spec::runtime::{Process, Spec};

use crate::error::{Error, Result};

/// `SELINUX_MAGIC`, statfs(2).
const SELINUX_MAGIC: u32 = 0xf97c_ff8c;

/// Checks the labels of a container.
pub(super) fn check(spec: &Spec) -> Result<()> {
    let mount_label = spec.linux().as_ref().and_then(|linux| linux.mount_label().as_deref());
    if wanted(mount_label) && !selinux() {
        return Err(absent("/linux/mountLabel", "SELinux"));
    }
    spec.process().as_ref().map_or(Ok(()), check_process)
}

/// Checks the labels of a process.
pub(super) fn check_process(process: &Process) -> Result<()> {
    if wanted(process.selinux_label().as_deref()) && !selinux() {
        return Err(absent("/process/selinuxLabel", "SELinux"));
    }
    // "unconfined" is what a process is without AppArmor, too.
    let profile = process.apparmor_profile().as_deref();
    if wanted(profile.filter(|profile| *profile != "unconfined")) && !apparmor() {
        return Err(absent("/process/apparmorProfile", "AppArmor"));
    }
    Ok(())
}

fn wanted(label: Option<&str>) -> bool {
    label.is_some_and(|label| !label.is_empty())
}

fn absent(pointer: &str, lsm: &str) -> Error {
    Error::unsupported(pointer, format!("{lsm} is not enabled on this host"))
        .with_hint("take the label out of the configuration, or enable the LSM")
}

fn selinux() -> bool {
    rustix::fs::statfs("/sys/fs/selinux")
        .is_ok_and(|statfs| u32::try_from(statfs.f_type) == Ok(SELINUX_MAGIC))
}

fn apparmor() -> bool {
    std::fs::read("/sys/module/apparmor/parameters/enabled")
        .is_ok_and(|enabled| enabled.starts_with(b"Y"))
}
