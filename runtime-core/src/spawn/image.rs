//! The init program in a place that nobody can write to: a sealed memfd, or a read-only tmpfs
//! that is mounted nowhere.
//!
//! `/proc/PID/exe` of every process that hoist starts leads here until the user's program is
//! executed, so the class of CVE-2019-5736 ends at a sealed, anonymous file.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags};

use crate::error::{Error, Result};
use crate::sys::required::MEMFD_CREATE;

/// Only execution: `PR_SET_DUMPABLE` is set back by execve(2), but a file that can't be read
/// makes a process not dumpable (prctl(2)), so nothing in a joined namespace can trace it.
const MODE: Mode = Mode::XUSR.union(Mode::XGRP).union(Mode::XOTH);
/// What makes a memfd's contents final.
pub(super) const SEALS: SealFlags =
    SealFlags::SEAL.union(SealFlags::SHRINK).union(SealFlags::GROW).union(SealFlags::WRITE);

/// The init program, ready to be executed.
#[derive(Debug)]
pub(crate) struct InitImage {
    file: OwnedFd,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Sealed { inode: u64 },
    ReadOnlyMount,
}

impl InitImage {
    /// Makes the memfd; where executable ones are forbidden (`vm.memfd_noexec=2`), a file on a
    /// detached tmpfs, which takes CAP_SYS_ADMIN.
    pub(crate) fn new() -> Result<Self> {
        match sealed_memfd() {
            Ok(image) => Ok(image),
            Err(Errno::ACCESS) => detached_tmpfs().map_err(|errno| {
                Error::system("put the init program on a detached tmpfs", errno).with_hint(
                    "vm.memfd_noexec=2 forbids executable memfds on this host; allow them, or \
                     run hoist with CAP_SYS_ADMIN",
                )
            }),
            Err(errno) => {
                Err(Error::system("make a memfd for the init program", errno).needs(MEMFD_CREATE))
            }
        }
    }

    /// The descriptor to execute, after a check that it is still what was made: in a program
    /// that embeds hoist, somebody may have closed it and the number may be another file's.
    pub(crate) fn checked(&self) -> Result<BorrowedFd<'_>> {
        match self.is_same() {
            Ok(true) => Ok(self.file.as_fd()),
            // EINVAL: a file that can't have seals.
            Ok(false) | Err(Errno::BADF | Errno::INVAL) => Err(Error::system(
                "the init program's descriptor is not hoist's any more",
                Errno::BADF,
            )
            .with_hint("another part of this program closed a descriptor that it doesn't own")),
            Err(errno) => Err(Error::system("look at the init program's descriptor", errno)),
        }
    }

    fn is_same(&self) -> rustix::io::Result<bool> {
        let Kind::Sealed { inode } = self.kind else { return Ok(true) };
        Ok(rustix::fs::fcntl_get_seals(&self.file)?.contains(SEALS)
            && rustix::fs::fstat(&self.file)?.st_ino == inode)
    }
}

fn sealed_memfd() -> rustix::io::Result<InitImage> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(c"hoist-init", flags | MemfdFlags::EXEC) {
        // Linux before 6.3 doesn't know MFD_EXEC; its memfds are executable.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"hoist-init", flags)?,
        other => other?,
    };
    write_all(&file, hoist_init::IMAGE)?;
    rustix::fs::fchmod(&file, MODE)?;
    rustix::fs::fcntl_add_seals(&file, SEALS)?;
    let inode = rustix::fs::fstat(&file)?.st_ino;
    Ok(InitImage { file, kind: Kind::Sealed { inode } })
}

fn detached_tmpfs() -> rustix::io::Result<InitImage> {
    let context = rustix::mount::fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)?;
    rustix::mount::fsconfig_set_string(&context, c"mode", c"0700")?;
    rustix::mount::fsconfig_create(&context)?;
    let nothing = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV;
    let mount = rustix::mount::fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, nothing)?;
    let create = OFlags::CREATE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    let file = rustix::fs::openat(&mount, c"hoist-init", create, MODE)?;
    write_all(&file, hoist_init::IMAGE)?;
    rustix::fs::fchmod(&file, MODE)?;
    drop(file);
    // Read-only for good: the superblock itself, and no descriptor to it stays behind but O_PATH.
    rustix::mount::fsconfig_set_flag(&context, c"ro")?;
    rustix::mount::fsconfig_reconfigure(&context)?;
    let file = rustix::fs::openat(
        &mount,
        c"hoist-init",
        OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    Ok(InitImage { file, kind: Kind::ReadOnlyMount })
}

/// Writes all of `bytes` at the file's position.
pub(crate) fn write_all(file: impl AsFd, mut bytes: &[u8]) -> rustix::io::Result<()> {
    while !bytes.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(&file, bytes))?;
        bytes = bytes.get(written..).unwrap_or_default();
    }
    Ok(())
}
