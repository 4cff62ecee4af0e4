//! Taking mounts away.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags, open, openat2};
use rustix::io::Errno;
use rustix::mount::{UnmountFlags, unmount};

use super::descriptor_path;
use crate::failure::{Code, During, Failure, Result};

/// Unmounts everything that is mounted at the target and below it, stacked mounts included. What is
/// busy goes as soon as it no longer is (`MNT_DETACH`). Nothing mounted is no error; symbolic links
/// are not followed.
pub(crate) fn unmount_all(target: &Path) -> Result<()> {
    let (Some(parent), Some(name)) = (target.parent(), target.file_name()) else {
        let message = format!("unmount {}: no path to a directory", target.display());
        return Err(Failure::new(Code::InvalidArgument, message));
    };
    let parent = match parent.canonicalize() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        parent => parent.during(format_args!("unmount {}", target.display()))?,
    };
    let target = parent.join(name);
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let base =
        open(&parent, flags, Mode::empty()).during(format_args!("open {}", parent.display()))?;

    // A mount can hide others. These come to light when it is gone, so there may be more rounds
    // than one; each has to bring something.
    loop {
        let mut points = mount_points(&target)?;
        if points.is_empty() {
            return Ok(());
        }
        points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
        let mut done = false;
        let mut failed = None;
        for point in points {
            let below = point.strip_prefix(&parent).unwrap_or(&point);
            match unmount_one(base.as_fd(), below) {
                Ok(()) => done = true,
                Err(errno) => failed = Some((point, errno)),
            }
        }
        if let (false, Some((point, errno))) = (done, failed) {
            return Err(errno).during(format_args!("umount2 {}", point.display()));
        }
    }
}

/// Unmounts what is on top at a path below `base`. The path has no links: mountinfo has resolved
/// it, and what has become one since is not followed.
fn unmount_one(base: BorrowedFd<'_>, below: &Path) -> std::result::Result<(), Errno> {
    let name = below.file_name().ok_or(Errno::INVAL)?;
    let directory = match below.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
    let mut tries = 0..64;
    let directory = loop {
        match openat2(base, directory, flags, Mode::empty(), resolve) {
            Err(Errno::AGAIN) if tries.next().is_some() => {}
            directory => break directory?,
        }
    };
    let path = Path::new(&descriptor_path(directory.as_fd())).join(name);
    match unmount(&path, UnmountFlags::NOFOLLOW) {
        // Somebody has a file open there, or a copy of this mount namespace is being made.
        Err(Errno::BUSY) => unmount(&path, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH),
        result => result,
    }
}

/// What is mounted at `target` and below it, in the mount namespace of the calling thread.
fn mount_points(target: &Path) -> Result<Vec<PathBuf>> {
    const FILE: &str = "/proc/thread-self/mountinfo";
    let table = fs::read(FILE).during(FILE)?;
    Ok(points_below(&table, target))
}

fn points_below(table: &[u8], target: &Path) -> Vec<PathBuf> {
    // proc_pid_mountinfo(5): the fifth field.
    let points = table.split(|byte| *byte == b'\n').filter_map(|line| {
        let point = line.split(|byte| *byte == b' ').nth(4)?;
        Some(PathBuf::from(OsString::from_vec(decoded(point))))
    });
    points.filter(|point| point.starts_with(target)).collect()
}

/// Blank, tabulator, newline and backslash are written as `\040`.
fn decoded(field: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [first, tail @ ..] = rest {
        let octal = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                Some((a - b'0') * 64 + (b - b'0') * 8 + (c - b'0'))
            }
            _ => None,
        };
        bytes.push(octal.unwrap_or(*first));
        rest = if octal.is_some() { rest.get(4..).unwrap_or_default() } else { tail };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn points_of_mountinfo() {
        let table = br"21 1 8:1 / / rw - ext4 /dev/vda rw
30 21 0:5 / /run/a/rootfs rw,relatime shared:1 - overlay overlay rw
31 30 0:6 / /run/a/rootfs/with\040blank\134 rw - tmpfs tmpfs rw
32 21 0:7 / /run/a/rootfs2 rw - tmpfs tmpfs rw
33 30 0:8 / /run/a/rootfs rw - tmpfs tmpfs rw
";
        let found = points_below(table, Path::new("/run/a/rootfs"));
        let paths: Vec<&str> = found.iter().map(|point| point.to_str().unwrap()).collect();
        assert_eq!(paths, ["/run/a/rootfs", r"/run/a/rootfs/with blank\", "/run/a/rootfs"]);
        assert_eq!(points_below(b"", Path::new("/")), Vec::<PathBuf>::new());
    }

    #[test]
    fn escapes_of_mountinfo() {
        for (field, bytes) in [
            (&br"\011\012\040\134"[..], &b"\t\n \\"[..]),
            (br"a\04", br"a\04"),
            (br"\400\", br"\400\"),
            (b"", b""),
        ] {
            assert_eq!(decoded(field), bytes);
        }
    }
}
