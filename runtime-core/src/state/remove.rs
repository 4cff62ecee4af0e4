//! Removing a directory tree by descriptor.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{AtFlags, Dir};
use rustix::io::{Errno, Result};

use super::{DIRECTORY, open_beneath};

/// hoist itself makes no directories in a state directory; what others put there (CRIU's images,
/// say) is removed as well, but not without end.
const DEPTH_LIMIT: u32 = 16;

/// Removes all that is in a directory but the entry `keep`. Links are removed, not followed; at
/// a mount point it stops with EBUSY or EXDEV, for what is mounted is not the container's.
pub(super) fn contents(dir: BorrowedFd<'_>, keep: &str) -> Result<()> {
    for name in names(dir)? {
        if name.as_bytes() != keep.as_bytes() {
            entry(dir, &name, DEPTH_LIMIT)?;
        }
    }
    Ok(())
}

fn entry(dir: BorrowedFd<'_>, name: &CString, depth: u32) -> Result<()> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => return Ok(()),
        // POSIX says EPERM for a directory, Linux EISDIR; see unlink(2).
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(errno) => return Err(errno),
    }
    let depth = depth.checked_sub(1).ok_or(Errno::LOOP)?;
    let below = open_beneath(dir, name.as_c_str(), DIRECTORY)?;
    for name in names(below.as_fd())? {
        entry(below.as_fd(), &name, depth)?;
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR)
}

/// The entries of a directory, read before the first is removed: what readdir(3) returns while
/// entries vanish is unspecified.
fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let entry = entry?;
        if entry.file_name() != c"." && entry.file_name() != c".." {
            names.push(entry.file_name().to_owned());
        }
    }
    Ok(names)
}
