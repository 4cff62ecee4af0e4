//! config-linux.md "Namespaces", and what needs one: id mappings, time offsets, host names.

use oci_spec::runtime::{Linux, LinuxIdMapping, LinuxNamespaceType as Kind, Spec};

use super::{entries, id_mappings, member};
use crate::error::{Error, Result};
use crate::spec::namespaces::{self, Namespaces};

/// An empty path is none, as Go's runtimes read it.
pub(super) fn normalize(linux: Option<&mut Linux>) {
    let list = linux.and_then(|linux| linux.namespaces_mut().as_mut());
    for namespace in list.into_iter().flatten() {
        if namespace.path().as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            namespace.set_path(None);
        }
    }
}

pub(super) fn validate(spec: &Spec) -> Result<()> {
    let namespaces = Namespaces::of(spec);
    host_names(spec, namespaces)?;
    let Some(linux) = spec.linux() else { return Ok(()) };
    let mut seen = Vec::new();
    for (index, namespace) in entries(linux.namespaces().as_ref()) {
        let pointer = format!("/linux/namespaces/{index}");
        let name = namespaces::name(namespace.typ());
        if seen.contains(&name) {
            return Err(Error::config(pointer, format!("the {name} namespace is given twice")));
        }
        seen.push(name);
        if let Some(path) = namespace.path().as_ref().filter(|path| !path.is_absolute()) {
            let message = format!("the path `{}` must be absolute", path.display());
            return Err(Error::config(member(&pointer, "path"), message));
        }
    }
    user_namespace(spec, linux, namespaces)?;
    time_offsets(linux, namespaces)
}

/// uname(2): the kernel takes 64 bytes each, and only a UTS namespace of the container's may be
/// changed.
fn host_names(spec: &Spec, namespaces: Namespaces<'_>) -> Result<()> {
    for (field, name) in [("hostname", spec.hostname()), ("domainname", spec.domainname())] {
        let Some(name) = name.as_deref().filter(|name| !name.is_empty()) else { continue };
        let pointer = member("", field);
        if !namespaces.has(Kind::Uts) {
            let message = format!("a {field} needs a uts namespace");
            return Err(Error::config(pointer, message)
                .with_hint("add {\"type\": \"uts\"} to linux.namespaces"));
        }
        if name.len() > 64 {
            let message = format!("{} bytes long; the kernel takes 64", name.len());
            return Err(Error::config(pointer, message));
        }
    }
    Ok(())
}

fn user_namespace(spec: &Spec, linux: &Linux, namespaces: Namespaces<'_>) -> Result<()> {
    let uids = linux.uid_mappings().as_deref().unwrap_or_default();
    let gids = linux.gid_mappings().as_deref().unwrap_or_default();
    for (pointer, mappings) in [("/linux/uidMappings", uids), ("/linux/gidMappings", gids)] {
        if !namespaces.has(Kind::User) && !mappings.is_empty() {
            return Err(Error::config(pointer, "id mappings need a user namespace")
                .with_hint("add {\"type\": \"user\"} to linux.namespaces"));
        }
        if namespaces.is_new(Kind::User) && mappings.is_empty() {
            let message = "a new user namespace needs at least one mapping here";
            return Err(Error::config(pointer, message));
        }
        id_mappings::validate(pointer, mappings)?;
    }
    // containerd and CRI-O give a path together with that namespace's own mappings; whether they
    // agree can be seen on the host only.
    if namespaces.is_new(Kind::User) { mapped_ids(spec, uids, gids) } else { Ok(()) }
}

/// Without a mapping of id 0 nobody could prepare the root filesystem inside the namespace, and a
/// process can't become a user that isn't mapped.
fn mapped_ids(spec: &Spec, uids: &[LinuxIdMapping], gids: &[LinuxIdMapping]) -> Result<()> {
    for (pointer, mappings) in [("/linux/uidMappings", uids), ("/linux/gidMappings", gids)] {
        if !id_mappings::maps(mappings, 0) {
            return Err(Error::config(pointer, "no mapping for id 0 of the container"));
        }
    }
    let Some(user) = spec.process().as_ref().map(|process| process.user()) else { return Ok(()) };
    let unmapped = |pointer: String, id: u32| {
        Err(Error::config(pointer, format!("id {id} is not mapped in the user namespace")))
    };
    if !id_mappings::maps(uids, user.uid()) {
        return unmapped("/process/user/uid".to_owned(), user.uid());
    }
    if !id_mappings::maps(gids, user.gid()) {
        return unmapped("/process/user/gid".to_owned(), user.gid());
    }
    for (index, gid) in entries(user.additional_gids().as_ref()) {
        if !id_mappings::maps(gids, *gid) {
            return unmapped(format!("/process/user/additionalGids/{index}"), *gid);
        }
    }
    Ok(())
}

/// config-linux.md "Offset for Time Namespace", time_namespaces(7): offsets can be written only
/// before the first process enters.
fn time_offsets(linux: &Linux, namespaces: Namespaces<'_>) -> Result<()> {
    let pointer = "/linux/timeOffsets";
    let Some(offsets) = linux.time_offsets().as_ref().filter(|o| !o.is_empty()) else {
        return Ok(());
    };
    if !namespaces.has(Kind::Time) {
        return Err(Error::config(pointer, "time offsets need a time namespace")
            .with_hint("add {\"type\": \"time\"} to linux.namespaces"));
    }
    if !namespaces.is_new(Kind::Time) {
        let message = "the offsets of a time namespace that is joined can't be changed";
        return Err(Error::config(pointer, message));
    }
    for (clock, offset) in offsets {
        let pointer = member(pointer, clock);
        if !["monotonic", "boottime"].contains(&clock.as_str()) {
            return Err(Error::config(pointer, format!("the clock `{clock}` has no offset"))
                .with_hint("known are `monotonic` and `boottime`"));
        }
        if offset.nanosecs().is_some_and(|n| n >= 1_000_000_000) {
            let message = "nanoseconds must be less than a second: 0 to 999999999";
            return Err(Error::config(member(&pointer, "nanosecs"), message));
        }
    }
    Ok(())
}
