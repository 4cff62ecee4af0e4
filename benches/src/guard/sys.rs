//! unshare(2).

use rustix::thread::{UnshareFlags, unshare_unsafe};

/// Gives the calling thread a mount namespace of its own. What it starts is in there, too.
pub(super) fn unshare_mounts() -> rustix::io::Result<()> {
    // SAFETY: what must not be unshared behind the back of safe code is the table of descriptors.
    // NEWNS leaves it alone: it unshares mounts, working directory and umask (CLONE_FS).
    unsafe { unshare_unsafe(UnshareFlags::NEWNS) }
}
