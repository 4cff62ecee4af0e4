//! Mounts of type `cgroup`: the container's own cgroup, in the form that the host has.

use std::ffi::CStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use libc::{MOUNT_ATTR_NODEV, MOUNT_ATTR_NOEXEC, MOUNT_ATTR_NOSUID, MOUNT_ATTR_RDONLY, MS_REC};
use oci_spec::runtime::{LinuxNamespaceType as Kind, Mount};

use super::super::builder::{List, path, text};
use super::super::context::{CgroupView, Context, Placement, V1Hierarchy};
use super::filesystem::Filesystem;
use super::{Entry, What};
use crate::error::Result;
use crate::spec::mount_options::Attributes;

/// What a tmpfs that only holds mount points is given.
const PLAIN: u64 = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;

pub(super) fn resolve(
    ctx: &Context<'_>,
    mount: &Mount,
    mut entry: Entry,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let own_namespace = ctx.namespaces().has(Kind::Cgroup);
    // Without a cgroup namespace an unprivileged container would see the user's cgroup, which it
    // may write to (CVE-2023-25809).
    if !ctx.facts.privileged && !own_namespace {
        entry.attributes.set |= MOUNT_ATTR_RDONLY;
    }
    match &ctx.facts.cgroup {
        CgroupView::None => {
            entry.what = What::Filesystem(tmpfs(ctx, &entry.pointer)?);
            entry.attributes.set = PLAIN | MOUNT_ATTR_RDONLY;
            entry.seal = false;
            entries.push(entry);
        }
        CgroupView::V2(directory) => {
            let directory = path(directory, &entry.pointer)?;
            entry.what = if own_namespace {
                let source = mount.source().as_deref().unwrap_or(Path::new("cgroup2"));
                What::Filesystem(Filesystem {
                    fstype: c"cgroup2".to_owned(),
                    source: path(source, &entry.pointer)?,
                    fallback: directory,
                    ..Filesystem::default()
                })
            } else {
                What::Bind { source: directory, inside: false, recursive: true, idmap: None }
            };
            entries.push(entry);
        }
        CgroupView::V1(hierarchies) => v1(ctx, hierarchies, entry, own_namespace, entries)?,
    }
    Ok(())
}

/// Whether this is the container's cgroup, and isn't there before inner is. Anybody may look at a
/// cgroup, so inner can open it, too.
pub(super) fn comes_later(ctx: &Context<'_>, directory: &CStr) -> bool {
    let CgroupView::V2(own) = &ctx.facts.cgroup else { return false };
    ctx.facts.placement == Placement::Library && own.as_os_str().as_bytes() == directory.to_bytes()
}

fn tmpfs(ctx: &Context<'_>, pointer: &str) -> Result<Filesystem> {
    let mut options = List::default();
    options.push(&c"mode=755".to_owned());
    if let Some(label) = ctx.mount_label() {
        options.push(&text(format!("context={label}"), pointer)?);
    }
    Ok(Filesystem {
        fstype: c"tmpfs".to_owned(),
        source: c"tmpfs".to_owned(),
        options,
        ..Filesystem::default()
    })
}

/// A tmpfs, in it one mount for each hierarchy, and a link for each controller of those that
/// have several.
fn v1(
    ctx: &Context<'_>,
    hierarchies: &[V1Hierarchy],
    mut entry: Entry,
    own_namespace: bool,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let base = entry.destination.clone();
    let readonly = entry.attributes.set & MOUNT_ATTR_RDONLY;
    let attributes = Attributes { set: PLAIN | readonly, ..Attributes::default() };
    let pointer = entry.pointer.clone();
    for V1Hierarchy { name, .. } in hierarchies.iter().filter(|h| h.name.contains(',')) {
        for controller in name.split(',') {
            entry.links.push((text(controller, &pointer)?, text(name.as_str(), &pointer)?));
        }
    }
    let propagation = std::mem::take(&mut entry.propagation);
    let tree_attributes = std::mem::take(&mut entry.tree_attributes);
    entry.what = What::Filesystem(tmpfs(ctx, &pointer)?);
    entry.attributes = attributes;
    // What recurses would reach nothing yet: the hierarchies below have it themselves.
    entry.propagation = propagation.iter().map(|flags| flags & !MS_REC).collect();
    entry.seal = readonly != 0;
    entries.push(entry);

    for hierarchy in hierarchies {
        let mut destination = base.clone().into_bytes();
        destination.push(b'/');
        destination.extend_from_slice(hierarchy.name.as_bytes());
        let what = if own_namespace {
            What::Filesystem(hierarchy_of(hierarchy, &pointer)?)
        } else {
            let source = path(&hierarchy.directory, &pointer)?;
            What::Bind { source, inside: false, recursive: true, idmap: None }
        };
        entries.push(Entry {
            destination: text(destination, &pointer)?,
            what,
            attributes,
            reset: 0,
            locked: false,
            asks: false,
            tree_attributes,
            propagation: propagation.clone(),
            seal: false,
            covered: false,
            links: Vec::new(),
            reg: hoist_init::wire::Reg::NONE,
            parent: hoist_init::wire::Reg::NONE,
            pointer: pointer.clone(),
        });
    }
    Ok(())
}

/// A hierarchy is named by its controllers, or has a name alone.
fn hierarchy_of(hierarchy: &V1Hierarchy, pointer: &str) -> Result<Filesystem> {
    let mut options = List::default();
    let source = if hierarchy.name == "systemd" {
        options.push(&c"name=systemd".to_owned());
        c"systemd"
    } else {
        for controller in hierarchy.name.split(',') {
            options.push(&text(controller, pointer)?);
        }
        c"cgroup"
    };
    Ok(Filesystem {
        fstype: c"cgroup".to_owned(),
        source: source.to_owned(),
        options,
        fallback: path(&hierarchy.directory, pointer)?,
        ..Filesystem::default()
    })
}
