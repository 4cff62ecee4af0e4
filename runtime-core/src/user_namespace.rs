//! The caller's user namespace, user_namespaces(7), and what it can't do in one that is not the
//! host's. Nothing of it is guessed where it can't be read: less is demanded, and the plan is another
//! one, for who is in one.

use std::os::fd::{AsFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Error, Result};
use crate::procfs::read_once;
use crate::sys;

/// The caller is in a user namespace other than the host's: its map is not the whole range.
pub(crate) fn in_user_namespace() -> Result<bool> {
    let map = match own("look at the caller's user namespace", "uid_map") {
        // A kernel without user namespaces.
        Err(error) if error.errno() == Some(Errno::NOENT.raw_os_error()) => return Ok(false),
        map => map?,
    };
    let fields = map.split(u8::is_ascii_whitespace).filter(|field| !field.is_empty());
    Ok(fields.ne([b"0".as_slice(), b"0", b"4294967295"]))
}

/// The caller isn't the host's root.
pub(crate) fn is_rootless() -> Result<bool> {
    Ok(!rustix::process::geteuid().is_root() || in_user_namespace()?)
}

/// The caller's user namespace permits setgroups(2), user_namespaces(7).
pub(crate) fn permits_setgroups() -> Result<bool> {
    Ok(!own("look whether groups can be set", "setgroups")?.starts_with(b"deny"))
}

/// The caller's mount namespace belongs to its user namespace: capabilities there count for it.
pub(crate) fn owns_mount_namespace() -> Result<bool> {
    let fail = |file: &str, errno| {
        Error::system("look at a namespace", errno)
            .with_file(format!("/proc/thread-self/ns/{file}"))
    };
    let open = |file: &str| {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let path = format!("/proc/thread-self/ns/{file}");
        rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| fail(file, errno))
    };
    let inode = |fd: &OwnedFd, file: &str| {
        rustix::fs::fstat(fd).map(|stat| stat.st_ino).map_err(|errno| fail(file, errno))
    };
    let owner = match sys::namespace::owner(open("mnt")?.as_fd()) {
        Ok(owner) => owner,
        // It is the one of somebody above, NS_GET_USERNS(2const).
        Err(Errno::PERM) => return Ok(false),
        Err(errno) => return Err(fail("mnt", errno)),
    };
    Ok(inode(&owner, "mnt")? == inode(&open("user")?, "user")?)
}

/// A file of the caller's own.
fn own(what: &'static str, file: &str) -> Result<Vec<u8>> {
    let path = format!("/proc/self/{file}");
    rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
        .and_then(|file| read_once(&file))
        .map_err(|errno| Error::system(what, errno).with_file(path))
}
