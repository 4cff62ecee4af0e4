//! `tmpcopyup`: what the mount point held is copied into the new tmpfs.
//!
//! Directories, files, links and special files, with owner, mode; depth and names are bounded,
//! nothing is followed.

use core::ffi::CStr;

use super::{At, Fail, Outcome};
use crate::page::Op;
use crate::sys::{
    self, AT_EMPTY_PATH, AT_SYMLINK_NOFOLLOW, ELOOP, Fd, O_CREAT, O_DIRECTORY, O_EXCL, O_NOFOLLOW,
    O_RDONLY, O_WRONLY, Statx,
};

/// How deep a tree may be.
const DEPTH: u32 = 64;

/// Copies the contents of one directory into another.
pub(super) fn copy(from: &Fd, to: &Fd) -> Outcome {
    let source = sys::openat(from.raw(), c".", O_RDONLY | O_DIRECTORY, 0).at(Op::Copy)?;
    let target = sys::openat(to.raw(), c".", O_RDONLY | O_DIRECTORY, 0).at(Op::Copy)?;
    let stat = sys::statx(source.raw(), c"", AT_EMPTY_PATH).at(Op::Copy)?;
    copy_tree(&source, &target, DEPTH)?;
    own(&target, &stat)
}

fn own(target: &Fd, stat: &Statx) -> Outcome {
    sys::fchown(target.raw(), stat.uid, stat.gid).at(Op::Copy)?;
    sys::fchmod(target.raw(), u32::from(stat.mode) & 0o7777).at(Op::Copy)
}

fn copy_tree(source: &Fd, target: &Fd, depth: u32) -> Outcome {
    let Some(depth) = depth.checked_sub(1) else {
        return Err(Fail { op: Op::Copy, errno: ELOOP });
    };
    let mut entries = [0u64; 256];
    loop {
        let length = sys::getdents64(source.raw(), &mut entries).at(Op::Copy)?;
        if length == 0 {
            return Ok(());
        }
        for name in sys::directory_names(&entries, length) {
            if name != c"." && name != c".." {
                copy_entry(source, target, name, depth)?;
            }
        }
    }
}

fn copy_entry(source: &Fd, target: &Fd, name: &CStr, depth: u32) -> Outcome {
    let stat = sys::statx(source.raw(), name, AT_SYMLINK_NOFOLLOW).at(Op::Copy)?;
    let mode = u32::from(stat.mode) & 0o7777;
    match stat.kind() {
        sys::S_IFDIR => {
            let flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
            let from = sys::openat(source.raw(), name, flags, 0).at(Op::Copy)?;
            sys::mkdirat(target.raw(), name, mode).at(Op::Copy)?;
            let to = sys::openat(target.raw(), name, flags, 0).at(Op::Copy)?;
            copy_tree(&from, &to, depth)?;
            own(&to, &stat)
        }
        sys::S_IFREG => {
            let from = sys::openat(source.raw(), name, O_RDONLY | O_NOFOLLOW, 0).at(Op::Copy)?;
            let flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW;
            let to = sys::openat(target.raw(), name, flags, mode).at(Op::Copy)?;
            copy_file(&from, &to)?;
            own(&to, &stat)
        }
        sys::S_IFLNK => {
            let mut text = [0u8; 4096];
            let length = sys::readlinkat(source.raw(), name, &mut text).at(Op::Copy)?.len();
            if let Some(end) = text.get_mut(length) {
                *end = 0;
            }
            let link = CStr::from_bytes_until_nul(&text).map_err(|_| ELOOP).at(Op::Copy)?;
            sys::symlinkat(link, target.raw(), name).at(Op::Copy)?;
            sys::fchownat(target.raw(), name, stat.uid, stat.gid).at(Op::Copy)
        }
        _ => {
            let device = super::devices::makedev(stat.rdev_major, stat.rdev_minor);
            sys::mknodat(target.raw(), name, u32::from(stat.mode), device).at(Op::Copy)?;
            sys::fchownat(target.raw(), name, stat.uid, stat.gid).at(Op::Copy)
        }
    }
}

fn copy_file(from: &Fd, to: &Fd) -> Outcome {
    let mut buffer = [0u8; 8192];
    loop {
        let length = sys::read(from.raw(), &mut buffer).at(Op::Copy)?;
        let mut rest = buffer.get(..length).unwrap_or_default();
        if rest.is_empty() {
            return Ok(());
        }
        while !rest.is_empty() {
            let written = sys::write(to.raw(), rest).at(Op::Copy)?;
            rest = rest.get(written..).unwrap_or_default();
        }
    }
}
