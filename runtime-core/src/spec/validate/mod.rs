//! Every rule of the runtime-spec 1.3 for Linux that can be checked without looking at the host.
//!
//! A broken rule is an error with the JSON pointer to the culprit. Where the spec leaves room,
//! runc's answer is taken, because engines were written against it.

mod hooks;
mod id_mappings;
mod linux;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod seccomp;
mod sysctl;

use oci_spec::runtime::Spec;

use super::namespaces::Namespaces;
use crate::error::{Error, Result};

pub(super) use process::validate as process;
pub(super) use resources::validate as resources;

/// Checks all rules. What is to be ignored with a warning is taken out of `spec`.
pub(super) fn validate(spec: &mut Spec, warnings: &mut Vec<String>) -> Result<()> {
    version(spec.version())?;
    root(spec)?;
    process(spec.process_mut().as_mut(), warnings)?;
    hooks::validate(spec.hooks().as_ref())?;
    annotations(spec)?;
    // Before everything that asks which namespaces there are.
    namespaces::normalize(spec.linux_mut().as_mut());
    if let Some(resources) = spec.linux_mut().as_mut().and_then(|l| l.resources_mut().as_mut()) {
        resources::validate(resources, warnings)?;
    }
    namespaces::validate(spec)?;
    mounts::validate(spec, warnings)?;
    if let Some(linux) = spec.linux() {
        let namespaces = Namespaces::of(spec);
        linux::validate(linux, namespaces, warnings)?;
        sysctl::validate(linux.sysctl().as_ref(), namespaces)?;
        seccomp::validate(linux.seccomp().as_ref())?;
    }
    Ok(())
}

/// config.md "Specification version". All of 1.x is taken: a new minor version has always been
/// compatible in practice, and crun had to learn that refusing one stops every container.
fn version(version: &str) -> Result<()> {
    let pointer = "/ociVersion";
    if version.is_empty() {
        return Err(Error::config(pointer, "`ociVersion` is required, but missing")
            .with_hint("write \"1.3.0\""));
    }
    let Some(major) = semver_major(version) else {
        return Err(Error::config(pointer, format!("`{version}` is not a semantic version"))
            .with_hint("it looks like \"1.3.0\""));
    };
    if major != "1" {
        return Err(Error::unsupported(
            pointer,
            format!("version {version} of the runtime-spec is not supported"),
        )
        .with_hint("hoist knows the versions 1.x"));
    }
    Ok(())
}

/// The major version, if `version` is in the form of SemVer 2.0.0.
fn semver_major(version: &str) -> Option<&str> {
    let (rest, build) = split_optional(version, '+');
    let (core, prerelease) = split_optional(rest, '-');
    let mut numbers = core.split('.');
    let (major, minor, patch) = (numbers.next()?, numbers.next()?, numbers.next()?);
    let is_number = |n: &str| {
        !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()) && (n == "0" || !n.starts_with('0'))
    };
    let is_identifier =
        |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let identifiers = |s: Option<&str>| s.is_none_or(|s| s.split('.').all(is_identifier));
    let valid = numbers.next().is_none()
        && [major, minor, patch].into_iter().all(is_number)
        && identifiers(prerelease)
        && identifiers(build);
    valid.then_some(major)
}

fn split_optional(text: &str, separator: char) -> (&str, Option<&str>) {
    match text.split_once(separator) {
        Some((before, after)) => (before, Some(after)),
        None => (text, None),
    }
}

/// config.md "Root": required on Linux.
fn root(spec: &Spec) -> Result<()> {
    match spec.root() {
        None => Err(Error::config("/root", "`root` is required, but missing")
            .with_hint("write \"root\": {\"path\": \"rootfs\"}")),
        Some(root) if root.path().as_os_str().is_empty() => {
            Err(Error::config("/root/path", "`root.path` is required, but missing or empty"))
        }
        Some(_) => Ok(()),
    }
}

/// config.md "Annotations": keys MUST NOT be empty.
fn annotations(spec: &Spec) -> Result<()> {
    match spec.annotations() {
        Some(annotations) if annotations.contains_key("") => {
            Err(Error::config("/annotations/", "the key of an annotation must not be empty"))
        }
        _ => Ok(()),
    }
}

/// The entries of an optional list, with their indices.
fn entries<T>(list: Option<&Vec<T>>) -> impl Iterator<Item = (usize, &T)> {
    list.into_iter().flatten().enumerate()
}

/// `pointer` with the member `key` appended (RFC 6901).
fn member(pointer: &str, key: &str) -> String {
    let mut pointer = pointer.to_owned();
    super::json::push_key(&mut pointer, key);
    pointer
}
