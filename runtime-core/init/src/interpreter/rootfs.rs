//! The root filesystem as a mount: bound onto itself, then made the root.

use core::ffi::CStr;

use super::mounts::{attr, clone_tree, set_attributes, set_propagation_fd};
use super::{At, Fail, Init, Outcome};
use crate::page::Op;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, EINVAL, EPERM, Fd, MountAttr, O_DIRECTORY, O_PATH,
};
use crate::wire::Reg;

/// Propagation of `/` in the new mount namespace.
pub(super) fn propagation(flags: u64, recursive: bool) -> Outcome {
    let attr = MountAttr { propagation: flags, ..MountAttr::default() };
    sys::mount_setattr(AT_FDCWD, c"/", if recursive { AT_RECURSIVE } else { 0 }, &attr)
        .at(Op::MountSetattr)
}

impl Init {
    pub(super) fn bind_root(&mut self, path: &CStr, recursive: bool, private: bool) -> Outcome {
        let at = sys::openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0).at(Op::Open)?;
        if private {
            make_parent_private(&at)?;
        }
        let tree = clone_tree(at.raw(), c"", AT_EMPTY_PATH, recursive)?;
        sys::move_mount(tree.raw(), at.raw()).at(Op::MoveMount)?;
        self.keep(Reg::ROOT, tree);
        Ok(())
    }

    /// pivot_root(".", ".") stacks the old root under the new one; it is then detached. Nothing
    /// is written into the root for it.
    pub(super) fn pivot_root(&mut self) -> Outcome {
        let old = sys::openat(AT_FDCWD, c"/", O_PATH | O_DIRECTORY, 0).at(Op::Open)?;
        sys::fchdir(self.fd(Reg::ROOT)?).at(Op::Chdir)?;
        sys::pivot_root(c".", c".").at(Op::PivotRoot)?;
        // Detaching must not propagate to the host. (The old root is named by its descriptor: to
        // mount_setattr(2) "." is still the new one.)
        let attr = MountAttr { propagation: sys::MS_SLAVE, ..MountAttr::default() };
        set_attributes(old.raw(), true, &attr)?;
        sys::fchdir(old.raw()).at(Op::Chdir)?;
        sys::umount2(c".", sys::MNT_DETACH).at(Op::Umount)?;
        sys::chdir(c"/").at(Op::Chdir)
    }

    pub(super) fn move_root(&mut self) -> Outcome {
        // The host's root stays below, out of reach but in the namespace. The kernel takes its
        // procfs and sysfs for a proof that a fresh one shows nothing new, masked as the
        // container's may be.
        for path in [c"/proc", c"/sys"] {
            detach_all(path)?;
        }
        sys::fchdir(self.fd(Reg::ROOT)?).at(Op::Chdir)?;
        sys::mount(c".", c"/", c"", sys::MS_MOVE, c"").at(Op::Mount)?;
        sys::chroot(c".").at(Op::Chroot)?;
        sys::chdir(c"/").at(Op::Chdir)
    }

    pub(super) fn chroot(&mut self) -> Outcome {
        sys::fchdir(self.fd(Reg::ROOT)?).at(Op::Chdir)?;
        sys::chroot(c".").at(Op::Chroot)?;
        sys::chdir(c"/").at(Op::Chdir)
    }

    pub(super) fn set_root(&mut self, attributes: u64, propagation: u64) -> Outcome {
        let root = self.fd(Reg::ROOT)?;
        set_attributes(root, false, &attr(attributes, 0))?;
        set_propagation_fd(root, propagation)
    }
}

/// The mount that the root lies in: walks up to its root, then makes it private, so that binding
/// the root onto itself reaches no peer.
fn make_parent_private(at: &Fd) -> Outcome {
    let mut here = sys::openat(at.raw(), c".", O_PATH | O_DIRECTORY, 0).at(Op::Open)?;
    while sys::statx(here.raw(), c"", AT_EMPTY_PATH).at(Op::Stat)?.attributes
        & sys::STATX_ATTR_MOUNT_ROOT
        == 0
    {
        here = sys::openat(here.raw(), c"..", O_PATH | O_DIRECTORY, 0).at(Op::Open)?;
    }
    let attr = MountAttr { propagation: sys::MS_PRIVATE, ..MountAttr::default() };
    set_attributes(here.raw(), false, &attr)
}

/// Takes procfs and sysfs off a path of the host's; covers them where that is not permitted.
fn detach_all(path: &CStr) -> Outcome {
    const STACKED_MOUNTS: u32 = 16;
    for _ in 0..STACKED_MOUNTS {
        let Ok(here) = sys::openat(AT_FDCWD, path, O_PATH | O_DIRECTORY, 0) else { return Ok(()) };
        if !matches!(
            sys::filesystem_magic(here.raw()),
            Ok(sys::PROC_SUPER_MAGIC | sys::SYSFS_MAGIC)
        ) {
            return Ok(());
        }
        // None of it may reach the host.
        let attr = MountAttr { propagation: sys::MS_PRIVATE, ..MountAttr::default() };
        sys::mount_setattr(AT_FDCWD, path, AT_RECURSIVE, &attr).at(Op::MountSetattr)?;
        drop(here);
        match sys::umount2(path, sys::MNT_DETACH) {
            Ok(()) => {}
            Err(EINVAL | EPERM) => {
                return sys::mount(c"tmpfs", path, c"tmpfs", 0, c"").at(Op::Mount);
            }
            Err(errno) => return Err(Fail { op: Op::Umount, errno }),
        }
    }
    Ok(())
}
