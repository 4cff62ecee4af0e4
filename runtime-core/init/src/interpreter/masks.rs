//! Masked and read-only paths inside the root.

use core::ffi::CStr;

use super::mounts::{attr, clone_tree, set_attributes, set_option, set_propagation_fd};
use super::{At, Fail, Init, Outcome, root};
use crate::page::Op;
use crate::sys::{self, AT_EMPTY_PATH, AT_FDCWD, ENODEV, Fd, MOUNT_ATTR_RDONLY, O_PATH};
use crate::wire::Reg;

impl Init {
    pub(super) fn open_masks(&mut self, label: &'static CStr) -> Outcome {
        let null = sys::openat(AT_FDCWD, c"/dev/null", O_PATH, 0).at(Op::Open)?;
        // The very descriptor that is mounted is checked, not a path (CVE-2025-31133).
        let stat = sys::statx(null.raw(), c"", AT_EMPTY_PATH).at(Op::Stat)?;
        if stat.kind() != sys::S_IFCHR || (stat.rdev_major, stat.rdev_minor) != (1, 3) {
            return Err(Fail { op: Op::NotADevice, errno: ENODEV });
        }
        self.keep(Reg::NULL, null);
        self.mask_label = label;
        Ok(())
    }

    pub(super) fn mask_path(&mut self, path: &CStr, within: Reg) -> Outcome {
        let Some(target) = self.open_existing(path, within)? else { return Ok(()) };
        let kind = sys::statx(target.raw(), c"", AT_EMPTY_PATH).at(Op::Stat)?.kind();
        let directory = kind == sys::S_IFDIR;
        if directory && self.fd(Reg::EMPTY).is_err() {
            // The first directory gets the empty one itself, and the others clones of that. Before
            // Linux 6.15 a mount can't be cloned while it is detached; and one that stays detached
            // makes its last close(2) wait for all processors (38 µs).
            let empty = empty_directory(self.mask_label)?;
            sys::move_mount(empty.raw(), target.raw()).at(Op::MoveMount)?;
            self.keep(Reg::EMPTY, empty);
            return Ok(());
        }
        let cover = self.fd(if directory { Reg::EMPTY } else { Reg::NULL })?;
        let tree = clone_tree(cover, c"", AT_EMPTY_PATH, false)?;
        if directory || self.null_is_private {
            return sys::move_mount(tree.raw(), target.raw()).at(Op::MoveMount);
        }
        // What is mounted on the host's own must not get here; with `rootfsPropagation` `shared` what
        // is mounted here would even get there. The others are clones of this one.
        set_propagation_fd(tree.raw(), sys::MS_PRIVATE)?;
        sys::move_mount(tree.raw(), target.raw()).at(Op::MoveMount)?;
        self.keep(Reg::NULL, tree);
        self.null_is_private = true;
        Ok(())
    }

    pub(super) fn readonly_path(&mut self, path: &CStr, within: Reg) -> Outcome {
        let Some(target) = self.open_existing(path, within)? else { return Ok(()) };
        let tree = clone_tree(target.raw(), c"", AT_EMPTY_PATH, true)?;
        set_attributes(tree.raw(), true, &attr(MOUNT_ATTR_RDONLY, 0))?;
        sys::move_mount(tree.raw(), target.raw()).at(Op::MoveMount)
    }

    /// What is to be covered of a procfs or sysfs is looked for in that very mount: who shares the
    /// root filesystem may have put another directory in its place (CVE-2019-19921).
    fn open_existing(&self, path: &CStr, within: Reg) -> Outcome<Option<Fd>> {
        let within = if within == Reg::NONE { Reg::ROOT } else { within };
        match root::try_open(self.fd(within)?, path, O_PATH) {
            Ok(target) => Ok(Some(target)),
            Err(errno) if root::is_absent(errno) => Ok(None),
            Err(errno) => Err(Fail { op: Op::OpenInRoot, errno }),
        }
    }
}

/// An empty read-only tmpfs.
fn empty_directory(label: &CStr) -> Outcome<Fd> {
    let context = sys::fsopen(c"tmpfs").at(Op::Fsopen)?;
    for option in [c"mode=0755", label].into_iter().filter(|option| !option.is_empty()) {
        set_option(&context, option)?;
    }
    sys::fsconfig_create(context.raw()).at(Op::FsCreate)?;
    let attributes =
        MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;
    sys::fsmount(context.raw(), attributes).at(Op::Fsmount)
}
