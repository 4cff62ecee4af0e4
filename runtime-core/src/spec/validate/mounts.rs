//! config.md "Mounts".

use std::path::{Component, Path};

use oci_spec::runtime::{LinuxNamespaceType, Mount, Spec};

use super::{entries, id_mappings, member};
use crate::error::{Error, Result};
use crate::spec::mount_options::{FsOption, MountOptions};
use crate::spec::namespaces::Namespaces;

pub(super) fn validate(spec: &Spec, warnings: &mut Vec<String>) -> Result<()> {
    let has_user_namespace = Namespaces::of(spec).has(LinuxNamespaceType::User);
    for (index, mount) in entries(spec.mounts().as_ref()) {
        let pointer = format!("/mounts/{index}");
        let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default());
        destination(&pointer, mount, warnings)?;
        if options.bind.is_some() {
            bind(&pointer, mount, &options, warnings)?;
        } else if !options.remount {
            filesystem(&pointer, mount)?;
        }
        if options.tmpcopyup && mount.typ().as_deref() != Some("tmpfs") {
            warnings.push(format!("{pointer}: ignoring tmpcopyup on what is no tmpfs"));
        }
        id_mapped(&pointer, mount, &options, has_user_namespace)?;
    }
    Ok(())
}

fn destination(pointer: &str, mount: &Mount, warnings: &mut Vec<String>) -> Result<()> {
    let destination = mount.destination();
    if destination.as_os_str().is_empty() {
        let message = "the destination of a mount must not be empty";
        return Err(Error::config(member(pointer, "destination"), message));
    }
    if is_root(destination) {
        let message = "the container's root can't be mounted over";
        return Err(Error::config(member(pointer, "destination"), message)
            .with_hint("linux.rootfsPropagation and root.readonly change the root's own mount"));
    }
    if !destination.is_absolute() {
        let destination = destination.display();
        warnings.push(format!(
            "{pointer}: the relative destination `{destination}` is deprecated; taken as /{destination}"
        ));
    }
    Ok(())
}

/// True if the path leads to the root whatever is in it: `/`, `.`, `/a/..`.
fn is_root(path: &Path) -> bool {
    let depth = path.components().fold(0_usize, |depth, component| match component {
        Component::Normal(_) => depth.saturating_add(1),
        Component::ParentDir => depth.saturating_sub(1),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => depth,
    });
    depth == 0
}

fn filesystem(pointer: &str, mount: &Mount) -> Result<()> {
    let message = match mount.typ().as_deref() {
        None | Some("") => "a mount that is no bind mount needs a type",
        Some("bind") => "\"bind\" is not a filesystem",
        Some(_) => return Ok(()),
    };
    Err(Error::config(member(pointer, "type"), message)
        .with_hint("a bind mount has \"bind\" or \"rbind\" in its options"))
}

fn bind(
    pointer: &str,
    mount: &Mount,
    options: &MountOptions<'_>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    if !options.remount && mount.source().as_ref().is_none_or(|s| s.as_os_str().is_empty()) {
        let message = "a bind mount needs a source";
        return Err(Error::config(member(pointer, "source"), message));
    }
    // The filesystem is mounted already: the kernel would drop its options without a word.
    if let Some(FsOption { index, text }) = options.data.first() {
        let message = format!("`{text}` is an option of a filesystem; a bind mount can't have any");
        return Err(Error::config(format!("{pointer}/options/{index}"), message));
    }
    // The same goes for these, but mount(8) and every runtime take them.
    if !options.superblock.is_empty() {
        let flags = options.superblock.join(", ");
        warnings.push(format!("{pointer}: ignoring {flags}: not possible on a bind mount"));
    }
    Ok(())
}

/// config.md, `idmap` and `ridmap`, `uidMappings` and `gidMappings`.
fn id_mapped(
    pointer: &str,
    mount: &Mount,
    options: &MountOptions<'_>,
    has_user_namespace: bool,
) -> Result<()> {
    let uids = mount.uid_mappings().as_deref().unwrap_or_default();
    let gids = mount.gid_mappings().as_deref().unwrap_or_default();
    if uids.is_empty() && gids.is_empty() && options.idmap.is_none() {
        return Ok(());
    }
    let (uid_pointer, gid_pointer) =
        (member(pointer, "uidMappings"), member(pointer, "gidMappings"));
    if uids.is_empty() != gids.is_empty() {
        let (missing, given) = if uids.is_empty() {
            (uid_pointer, "gidMappings")
        } else {
            (gid_pointer, "uidMappings")
        };
        return Err(Error::config(missing, format!("missing: it goes together with {given}")));
    }
    if options.idmap.is_some() && uids.is_empty() && !has_user_namespace {
        let message = "an id-mapped mount needs mappings of its own or a user namespace";
        return Err(Error::config(pointer, message).with_hint("add uidMappings and gidMappings"));
    }
    id_mappings::validate(&uid_pointer, uids)?;
    id_mappings::validate(&gid_pointer, gids)
}
