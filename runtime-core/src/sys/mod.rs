//! Typed wrappers for the system calls that `rustix` does not offer. The only room of this crate
//! with `unsafe`; each file is one family and names its manual pages.

pub(crate) mod bpf;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod netlink;
pub(crate) mod pidfd;
pub(crate) mod required;
pub(crate) mod vfork;

use rustix::io::Errno;

/// errno(3) of the last system call that this thread has made.
fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}
