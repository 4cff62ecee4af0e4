//! Socket options of netlink(7).

use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Result;

/// NETLINK_EXT_ACK: has the kernel say in words why it refuses a request.
pub(crate) fn set_extended_ack(socket: BorrowedFd<'_>) -> Result<()> {
    const LENGTH: libc::socklen_t = 4;
    let on: libc::c_int = 1;
    // SAFETY: the option's value is an int of 4 bytes, which lives until the call returns.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_NETLINK,
            libc::NETLINK_EXT_ACK,
            (&raw const on).cast(),
            LENGTH,
        )
    };
    match result {
        0 => Ok(()),
        _ => Err(super::last_errno()),
    }
}
