//! ioctl_ns(2): what a namespace's descriptor tells.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::io::Errno;

use crate::sys::last_errno;

/// `_IO(0xb7, 1)`, NS_GET_USERNS(2const).
const NS_GET_USERNS: libc::Ioctl = 0xb701;

/// The user namespace that a namespace belongs to.
pub(crate) fn owner(namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    // SAFETY: the request takes no argument.
    let fd = unsafe { libc::ioctl(namespace.as_raw_fd(), NS_GET_USERNS) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made this descriptor, with O_CLOEXEC, and nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
