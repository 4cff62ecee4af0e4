//! Device nodes and links in an open directory of the root.

use core::ffi::CStr;

use super::mounts::set_propagation_fd;
use super::{At, Fail, Outcome, root};
use crate::page::Op;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_SYMLINK_NOFOLLOW, EEXIST, ENODEV, OPEN_TREE_CLONE,
};

/// A device node's type, permissions, number and owner.
pub(super) struct Node {
    pub(super) mode: u32,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The kernel's encoding of a device number in user space, makedev(3).
pub(super) fn makedev(major: u32, minor: u32) -> u64 {
    let (major, minor) = (u64::from(major), u64::from(minor));
    (minor & 0xff) | (major & 0xfff) << 8 | (minor & !0xff) << 12 | (major & !0xfff) << 32
}

/// mknodat(2), then owner and mode. What exists already must be the very device.
pub(super) fn make(directory: i32, path: &CStr, node: &Node) -> Outcome {
    let parent = root::parent(directory, path)?;
    let (dir, name) = parent.get(directory);
    match sys::mknodat(dir, name, node.mode, makedev(node.major, node.minor)) {
        Ok(()) => {}
        Err(EEXIST) => return verify(dir, name, node),
        Err(errno) => return Err(Fail { op: Op::MakeNode, errno }),
    }
    if (node.uid, node.gid) != (0, 0) {
        // The umask is 0, so the mode is as asked for; chown clears set-id bits only.
        sys::fchownat(dir, name, node.uid, node.gid).at(Op::Chown)?;
    }
    Ok(())
}

fn verify(dir: i32, name: &CStr, node: &Node) -> Outcome {
    let stat = sys::statx(dir, name, AT_SYMLINK_NOFOLLOW).at(Op::Stat)?;
    let fifo = node.mode & sys::S_IFMT == sys::S_IFIFO;
    let number = (stat.rdev_major, stat.rdev_minor);
    if stat.kind() == node.mode & sys::S_IFMT && (fifo || number == (node.major, node.minor)) {
        return Ok(());
    }
    Err(Fail { op: Op::NotADevice, errno: EEXIST })
}

/// Binds a device of the host, where a user namespace forbids mknod(2). A symbolic link of the image
/// in its place is an error: followed from here, it would not lead where the container sees it lead.
pub(super) fn bind(directory: i32, path: &CStr, source: &CStr, tree: Option<i32>) -> Outcome {
    let parent = root::parent(directory, path)?;
    let (dir, name) = parent.get(directory);
    let target = root::make_in(dir, name, true)?;
    let opened;
    let tree = match tree {
        Some(tree) => tree,
        None => {
            opened = sys::open_tree(AT_FDCWD, source, OPEN_TREE_CLONE).at(Op::OpenTree)?;
            // It has nothing below and shares nothing.
            set_propagation_fd(opened.raw(), sys::MS_PRIVATE)?;
            opened.raw()
        }
    };
    let kind = sys::statx(tree, c"", AT_EMPTY_PATH).at(Op::Stat)?.kind();
    if kind == sys::S_IFDIR || kind == sys::S_IFREG || kind == sys::S_IFLNK {
        return Err(Fail { op: Op::NotADevice, errno: ENODEV });
    }
    sys::move_mount(tree, target.raw()).at(Op::MoveMount)
}

/// A symbolic link; an existing name stays, or is replaced.
pub(super) fn symlink(directory: i32, name: &CStr, target: &CStr, replace: bool) -> Outcome {
    match sys::symlinkat(target, directory, name) {
        Err(EEXIST) if replace => {
            let mut text = [0u8; 256];
            if sys::readlinkat(directory, name, &mut text) == Ok(target.to_bytes()) {
                return Ok(());
            }
            sys::unlinkat(directory, name).at(Op::Symlink)?;
            sys::symlinkat(target, directory, name).at(Op::Symlink)
        }
        Ok(()) | Err(EEXIST) => Ok(()),
        Err(errno) => Err(Fail { op: Op::Symlink, errno }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn device_numbers() {
        assert_eq!(makedev(1, 3), 0x103);
        assert_eq!(makedev(0x1234, 0x56789), 0x0000_1000_5672_3489);
    }
}
