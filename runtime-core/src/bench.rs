//! What is pure, worth measuring by itself, and has no place in the public face. There with the feature
//! `bench` only.

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxSeccomp};

use crate::error::Result;
use crate::{cgroup, seccomp};

/// Compiles a seccomp profile. Returns the length of the program in bytes.
///
/// # Errors
/// If the profile can't be compiled.
pub fn seccomp_program(profile: &LinuxSeccomp) -> Result<usize> {
    seccomp::compile(profile).map(|filter| filter.program_bytes().len())
}

/// Encodes the device program of a container for cgroup2. Returns its number of instructions.
///
/// # Errors
/// If a rule is no rule.
pub fn device_program(rules: &[LinuxDeviceCgroup], nodes: &[LinuxDevice]) -> Result<usize> {
    cgroup::encode_devices(rules, nodes).map(|program| program.len())
}
