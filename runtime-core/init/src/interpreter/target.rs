//! What a mount is put onto.

use core::ffi::CStr;

use super::{At, Fail, Outcome, root};
use crate::page::Op;
use crate::sys::{self, EINVAL, ELOOP, ENOENT, ENOTDIR, Fd, O_DIRECTORY, O_PATH};

/// What a mount is put onto.
pub(super) enum Target<'a> {
    /// What was resolved.
    Opened(Fd),
    /// A directory that was made just now, right in a mount of ours: that mount, and the path that
    /// ends in the directory's name. Nobody else is there yet, so the name is enough.
    New(i32, &'a CStr),
}

impl<'a> Target<'a> {
    /// Inside the root; made where it is missing.
    pub(super) fn in_root(rootfd: i32, path: &CStr, directory: bool) -> Outcome<Self> {
        let make = if directory { root::make_directory } else { root::make_file };
        make(rootfd, path).map(Self::Opened)
    }

    /// Right in what an earlier step has mounted; made where it is missing.
    pub(super) fn in_mount(mount: i32, path: &'a CStr, directory: bool) -> Outcome<Self> {
        if directory && root::make_new_in(mount, path)? {
            return Ok(Self::New(mount, path));
        }
        root::make_in(mount, path, !directory).map(Self::Opened)
    }

    /// The same of a directory, to work with it before something covers it.
    pub(super) fn opened_in(mount: i32, path: &CStr) -> Outcome<Self> {
        root::make_in(mount, path, false).map(Self::Opened)
    }

    /// The directory for a filesystem. For procfs and sysfs no symbolic link may be on the way: an
    /// image could otherwise have the real one mounted elsewhere (CVE-2019-19921, CVE-2023-27561).
    pub(super) fn of_filesystem(rootfd: i32, path: &CStr, fstype: &CStr) -> Outcome<Self> {
        if fstype != c"proc" && fstype != c"sysfs" {
            // A directory that can be read where its contents are to be copied.
            return Self::in_root(rootfd, path, true);
        }
        let open = || root::try_open_plain(rootfd, path, O_PATH | O_DIRECTORY);
        let target = match open() {
            Err(ENOENT) => {
                root::make_directory(rootfd, path)?;
                open()
            }
            other => other,
        };
        target.map(Self::Opened).map_err(|errno| match errno {
            ELOOP => Fail { op: Op::NotADirectory, errno: ENOTDIR },
            errno => Fail { op: Op::OpenInRoot, errno },
        })
    }

    /// For what needs a descriptor.
    pub(super) fn opened(&self) -> Outcome<&Fd> {
        match self {
            Self::Opened(target) => Ok(target),
            Self::New(..) => Err(Fail { op: Op::OpenInRoot, errno: EINVAL }),
        }
    }

    /// Puts a mount there.
    pub(super) fn put(&self, mount: i32) -> Outcome {
        match *self {
            Self::Opened(ref target) => sys::move_mount(mount, target.raw()).at(Op::MoveMount),
            Self::New(parent, path) => root::mount_on_new(mount, parent, path),
        }
    }

    /// Nothing may come to lie inside a procfs by way of a symbolic link of the image: what may be
    /// mounted at a path that begins with `/proc` was decided when the plan was compiled. (What
    /// was made just now is in no procfs, for nothing can be made there.)
    pub(super) fn guard_proc(&self, path: &CStr, procfs: impl Fn() -> bool) -> Outcome {
        let Self::Opened(target) = self else { return Ok(()) };
        let mut parts = path.to_bytes().split(|b| *b == b'/').filter(|c| !c.is_empty());
        if parts.next() == Some(b"proc") || procfs() {
            return Ok(());
        }
        match sys::filesystem_magic(target.raw()) {
            Ok(sys::PROC_SUPER_MAGIC) => Err(Fail { op: Op::NotProcfs, errno: EINVAL }),
            _ => Ok(()),
        }
    }
}
