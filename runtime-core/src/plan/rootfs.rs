//! The root filesystem: bound onto itself, masked, made the root and sealed.

use std::collections::BTreeSet;
use std::ffi::CString;

use hoist_init::wire::{Reg, Step};
use libc::{MOUNT_ATTR_RDONLY, MS_PRIVATE, MS_REC, MS_SHARED, MS_SLAVE, MS_UNBINDABLE};

use super::builder::{Builder, path, text};
use super::context::Context;
use super::mounts::{self, Entry, clean};
use crate::error::{Error, Result};

/// What `rootfsPropagation` means for the mounts of a new mount namespace.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Propagation {
    /// All mounts of the namespace, as soon as it exists.
    pub(super) namespace: u64,
    /// The mount that the root filesystem lies in would share what is mounted below.
    private_parent: bool,
    /// The root mount in the end; 0 leaves what it has.
    root: u64,
}

impl Propagation {
    /// By default nothing propagates from the container to the host, and what the host mounts
    /// later does reach what was bound from it, but not the root.
    ///
    /// With `shared` the mounts stay the host's peers, because volumes are to be shared with the
    /// host; only the root filesystem's own mount is taken out. `unbindable` can come only in the
    /// end, or nothing could be bound.
    pub(super) fn of(ctx: &Context<'_>) -> Result<Self> {
        let name = ctx.linux().and_then(|linux| linux.rootfs_propagation().as_deref());
        let slave = MS_SLAVE | MS_REC;
        let private = MS_PRIVATE | MS_REC;
        let (namespace, private_parent, root) = match name.unwrap_or_default() {
            "" => (slave, false, MS_PRIVATE),
            "slave" | "rslave" => (slave, false, 0),
            "private" | "rprivate" => (private, false, 0),
            "shared" => (MS_SHARED, true, MS_SHARED),
            "rshared" => (MS_SHARED | MS_REC, true, MS_SHARED | MS_REC),
            "unbindable" => (private, false, MS_UNBINDABLE),
            "runbindable" => (private, false, MS_UNBINDABLE | MS_REC),
            other => {
                let message = format!("`{other}` is no kind of mount propagation");
                return Err(Error::config("/linux/rootfsPropagation", message));
            }
        };
        Ok(Self { namespace, private_parent, root })
    }

    /// What a mount that was cloned among the host's mounts has to become: what it would be, had
    /// it been cloned in the container's mount namespace.
    pub(super) fn of_clone(self) -> u64 {
        if self.namespace & MS_SHARED == 0 { self.namespace } else { 0 }
    }
}

/// Opens the root filesystem, in a mount namespace as a mount of its own.
pub(super) fn open(plan: &mut Builder, ctx: &Context<'_>) -> Result<()> {
    let rootfs = path(ctx.rootfs, "/root/path")?;
    if !ctx.mount_namespace() {
        // A read-only root has to be a mount, which then is one of the host's, and stays: as all
        // mounts of a container without a mount namespace, and as with runc.
        let step = if readonly(ctx) {
            Step::BindRoot { path: &rootfs, recursive: true, private_parent: false }
        } else {
            Step::OpenRoot { path: &rootfs }
        };
        plan.push("/root/path", &step);
        return Ok(());
    }
    let propagation = Propagation::of(ctx)?;
    plan.push(
        "/linux/rootfsPropagation",
        &Step::Propagation {
            flags: propagation.namespace & !MS_REC,
            recursive: propagation.namespace & MS_REC != 0,
        },
    );
    plan.push(
        "/root/path",
        &Step::BindRoot {
            path: &rootfs,
            recursive: true,
            private_parent: propagation.private_parent,
        },
    );
    Ok(())
}

/// `readonlyPaths`, then `maskedPaths`. It is done before the root changes, because what covers
/// the masked ones is the host's.
pub(super) fn mask(plan: &mut Builder, ctx: &Context<'_>, mounts: &[Entry]) -> Result<()> {
    let Some(linux) = ctx.linux() else { return Ok(()) };
    let readonly = linux.readonly_paths().as_deref().unwrap_or_default();
    let masked = linux.masked_paths().as_deref().unwrap_or_default();
    for (pointer, list) in [("/linux/readonlyPaths", readonly), ("/linux/maskedPaths", masked)] {
        if !list.is_empty() && !ctx.mount_namespace() {
            return Err(Error::config(pointer, "needs a mount namespace"));
        }
    }
    for (pointer, name) in distinct("/linux/readonlyPaths", readonly) {
        let (name, within) = found_in(mounts, name, &pointer)?;
        plan.push(pointer, &Step::ReadonlyPath { path: &name, within });
    }
    if !masked.is_empty() {
        let label = ctx.mount_label().map(|label| format!("context={label}")).unwrap_or_default();
        let label = text(label, "/linux/mountLabel")?;
        plan.push("/linux/maskedPaths", &Step::OpenMasks { label: &label });
    }
    for (pointer, name) in distinct("/linux/maskedPaths", masked) {
        let (name, within) = found_in(mounts, name, &pointer)?;
        plan.push(pointer, &Step::MaskPath { path: &name, within });
    }
    Ok(())
}

/// A path to be covered: in a mount of its own, or in the root.
fn found_in(mounts: &[Entry], name: &str, pointer: &str) -> Result<(CString, Reg)> {
    match mounts::holder(mounts, &clean(name)) {
        Some((mount, rest)) => Ok((text(rest, pointer)?, mount)),
        None => Ok((text(name, pointer)?, Reg::NONE)),
    }
}

/// The paths with their pointers; what covers itself once is enough.
fn distinct<'a>(
    pointer: &'a str,
    paths: &'a [String],
) -> impl Iterator<Item = (String, &'a str)> + 'a {
    let mut seen = BTreeSet::new();
    paths
        .iter()
        .enumerate()
        .filter(move |(_, path)| seen.insert(clean(path)))
        .map(move |(index, path)| (format!("{pointer}/{index}"), path.as_str()))
}

/// Makes the root filesystem the root.
pub(super) fn enter(plan: &mut Builder, ctx: &Context<'_>) -> Result<()> {
    if !ctx.mount_namespace() {
        plan.push("/root/path", &Step::Chroot {});
    } else if ctx.options.no_pivot {
        // The host's root stays in the namespace, below the new one. While its mounts are
        // private, the host can't unmount what the container doesn't even see.
        if Propagation::of(ctx)?.namespace & MS_PRIVATE != 0 {
            let message = "private propagation is not safe without pivot_root(2)";
            return Err(Error::config("/linux/rootfsPropagation", message));
        }
        plan.push("/root/path", &Step::MoveRoot {});
    } else {
        plan.push("/root/path", &Step::PivotRoot {});
    }
    Ok(())
}

fn readonly(ctx: &Context<'_>) -> bool {
    ctx.spec.root().as_ref().and_then(|root| root.readonly()).unwrap_or(false)
}

/// The root's attributes and propagation, when nothing is left to be made in it.
pub(super) fn seal(plan: &mut Builder, ctx: &Context<'_>) -> Result<()> {
    let readonly = readonly(ctx);
    let attributes = if readonly { MOUNT_ATTR_RDONLY } else { 0 };
    let propagation = if ctx.mount_namespace() { Propagation::of(ctx)?.root } else { 0 };
    if attributes != 0 || propagation != 0 {
        let pointer = if readonly { "/root/readonly" } else { "/linux/rootfsPropagation" };
        plan.push(pointer, &Step::SetRoot { attributes, propagation });
    }
    Ok(())
}

/// The working directory is made where it is missing, by the container's root.
pub(super) fn working_directory(plan: &mut Builder, ctx: &Context<'_>) -> Result<()> {
    let Some(process) = ctx.process() else { return Ok(()) };
    if clean(&process.cwd().to_string_lossy()) == "/" {
        return Ok(());
    }
    let directory = path(process.cwd(), "/process/cwd")?;
    plan.push("/process/cwd", &Step::MakeDirectory { path: &directory });
    Ok(())
}

/// The root, for a process that joins the container: with its mount namespace the root came
/// along.
pub(super) fn join(plan: &mut Builder) {
    plan.push("", &Step::OpenRoot { path: c"/" });
}
