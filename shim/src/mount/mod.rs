//! The mounts that make a container's root filesystem.
//!
//! Each is made detached, given its attributes and its id mapping, and only then moved to its place
//! by descriptor: nobody sees it half done. containerd's mount manager (2.2 and later) has consumed
//! what only it can do, `format/`, `mkdir/` and `mkfs/` types for instance; what is left are mounts
//! as the kernel or a helper program (fuse) makes them.

mod filesystem;
mod fuse;
mod idmap;
mod loop_device;
mod options;
mod overlay;
mod private;
mod sys;
mod unmount;

use std::fmt;
use std::fs::DirBuilder;
use std::io::ErrorKind;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsPickFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags, fspick, move_mount, open_tree,
};

use crate::failure::{Code, During, Failure, Result};
use crate::proto::types::Mount;
use filesystem::Filesystem;
use loop_device::LoopDevice;
use options::Options;

pub(crate) use unmount::unmount_all;

impl fmt::Display for Mount {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "type {:?}, source {:?}", self.r#type, self.source)?;
        if !self.target.is_empty() {
            write!(formatter, ", target {:?}", self.target)?;
        }
        Ok(())
    }
}

/// Makes the mounts at `target`, in their order, and the directory itself if it is missing. Undoes
/// what it did when one fails.
pub(crate) fn mount_all(mounts: &[Mount], target: &Path) -> Result<()> {
    if mounts.is_empty() {
        return Ok(());
    }
    // The mode that containerd gives it: users of a user namespace have to pass.
    match DirBuilder::new().mode(0o711).create(target) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).during(format_args!("mkdir {}", target.display()));
        }
        _ => {}
    }
    let mut made = Vec::new();
    for (index, mount) in mounts.iter().enumerate() {
        match Place::new(target, &mount.target).and_then(|place| make(mount, &place)) {
            Ok(mount) => made.extend(mount),
            Err(failure) => {
                let mut failure = failure
                    .during(&format!("rootfs mount {index} ({mount}) at {}", target.display()));
                for mount in made.iter().rev() {
                    if let Err(errno) = detach(mount.as_fd()) {
                        failure.message += &format!("; an earlier mount stays: umount2: {errno}");
                    }
                }
                return Err(failure);
            }
        }
    }
    Ok(())
}

/// Makes one mount; None if it only changed what is mounted there.
fn make(mount: &Mount, place: &Place) -> Result<Option<OwnedFd>> {
    if let Some(helper) = fuse::Helper::of(mount) {
        helper.mount(mount, &place.open()?)?;
        return place.open().map(Some);
    }
    refuse_transformed(&mount.r#type)?;
    let options = Options::parse(&mount.options)?;
    let ids = options.id_maps()?.map(|maps| maps.namespace()).transpose()?;

    if options.remount {
        remount(&options, place.open()?.as_fd())?;
        return Ok(None);
    }
    if options.bind.is_some() || matches!(mount.r#type.as_str(), "bind" | "rbind") {
        let recursive = options.bind.unwrap_or(mount.r#type == "rbind");
        let tree = bind(&mount.source, recursive)?;
        return finish(tree, &options, ids.as_ref(), recursive, place).map(Some);
    }
    let read_only = filesystem::read_only(&mount.r#type, &options);
    let device = options
        .loop_device
        .then(|| LoopDevice::attach(Path::new(&mount.source), read_only, options.direct_io))
        .transpose()?;
    let source = device.as_ref().map_or(mount.source.as_str(), |device| device.path());
    let filesystem = Filesystem::new(&mount.r#type, source, &options);
    let tree = match ids {
        // overlay has no id mapping itself; its layers have.
        Some(ids) if mount.r#type == "overlay" => {
            let tree = overlay::mapped(&filesystem, ids.as_fd(), place)?;
            finish(tree, &options, None, false, place)
        }
        ids => finish(filesystem.create(place)?, &options, ids.as_ref(), false, place),
    };
    tree.map(Some)
}

/// What only containerd's mount manager can do must not reach the kernel as the name of a
/// filesystem.
fn refuse_transformed(kind: &str) -> Result<()> {
    if kind == "loop" || kind.contains('/') {
        let message = format!(
            "the type {kind:?} is for the mount manager of containerd (2.2 and later), which should \
             have made a plain mount of it; this shim doesn't"
        );
        return Err(Failure::new(Code::Unimplemented, message));
    }
    Ok(())
}

/// A detached copy of a file or a tree.
fn bind(source: &str, recursive: bool) -> Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    flags.set(OpenTreeFlags::AT_RECURSIVE, recursive);
    open_tree(CWD, source, flags).during("open_tree (the source)")
}

/// Gives a detached mount all that it shall have and moves it to its place.
fn finish(
    tree: OwnedFd,
    options: &Options<'_>,
    ids: Option<&OwnedFd>,
    recursive: bool,
    place: &Place,
) -> Result<OwnedFd> {
    if let Some(ids) = ids {
        sys::map_ids(tree.as_fd(), ids.as_fd(), 0, recursive)
            .during("mount_setattr: uidmap=, gidmap=")?;
    }
    set_attributes(tree.as_fd(), options)?;
    attach(tree.as_fd(), place.open()?.as_fd())?;
    // Now only: a mount that comes below a shared one becomes shared (mount_namespaces(7)).
    for (propagation, recursive) in &options.propagation {
        if let Err(errno) = sys::set_propagation(tree.as_fd(), *propagation, *recursive) {
            let failure = Failure::from(errno).during("mount_setattr: propagation");
            return match detach(tree.as_fd()) {
                Ok(()) => Err(failure),
                Err(errno) => Err(failure.during(&format!("the mount stays (umount2: {errno})"))),
            };
        }
    }
    Ok(tree)
}

fn set_attributes(tree: BorrowedFd<'_>, options: &Options<'_>) -> Result<()> {
    let attributes = options.attributes;
    if attributes.is_empty() {
        return Ok(());
    }
    sys::set_attributes(tree, attributes.set, attributes.clear)
        .during(format_args!("mount_setattr: {}", options.named()))
}

fn attach(tree: BorrowedFd<'_>, at: BorrowedFd<'_>) -> Result<()> {
    let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    move_mount(tree, "", at, "", flags).during("move_mount (to its place)")
}

/// `remount`: changes what is mounted there; with `bind` only the mount, not its filesystem.
fn remount(options: &Options<'_>, at: BorrowedFd<'_>) -> Result<()> {
    if options.bind.is_none() {
        let flags = FsPickFlags::FSPICK_EMPTY_PATH | FsPickFlags::FSPICK_CLOEXEC;
        let context = fspick(at, "", flags).during("fspick")?;
        filesystem::reconfigure(context.as_fd(), options)?;
    }
    set_attributes(at, options)
}

/// Takes exactly this mount away, and what is below it. It is held by its descriptor, so it goes
/// entirely when that is closed.
fn detach(mount: BorrowedFd<'_>) -> std::result::Result<(), Errno> {
    rustix::mount::unmount(descriptor_path(mount), UnmountFlags::DETACH)
}

/// A path to what a descriptor refers to, for calls that take nothing else.
fn descriptor_path(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// Where a mount goes: `below` the root, where names and links are those of an image.
#[derive(Debug, Clone)]
struct Place {
    root: PathBuf,
    below: String,
}

impl Place {
    fn new(root: &Path, below: &str) -> Result<Self> {
        if !root.is_absolute() {
            let message = format!("the target {} is not absolute", root.display());
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        Ok(Self { root: root.to_owned(), below: below.to_owned() })
    }

    /// Opens what is on top there at this moment, in the mount namespace of the calling thread.
    fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let root = open(&self.root, flags, Mode::empty())
            .during(format_args!("open {}", self.root.display()))?;
        if self.below.is_empty() {
            return Ok(root);
        }
        let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        // openat2(2): EAGAIN while something is renamed, anywhere on the machine.
        let mut tries = 0..64;
        let found = loop {
            match openat2(&root, &self.below, flags, Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries.next().is_some() => {}
                found => break found,
            }
        };
        found.during(format_args!("open the target {:?} in the root", self.below))
    }
}
