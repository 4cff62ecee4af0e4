//! Work in a mount namespace that only its thread has.

use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::thread::UnshareFlags;

use super::sys;
use crate::failure::{Code, During, Failure, Result};

/// Runs `work` in a thread with a mount namespace and a working directory of its own. What it
/// mounts there nobody else sees, and goes with the thread, but for what its descriptors hold.
pub(super) fn run<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().name("mount".to_owned()).stack_size(STACK);
        let thread = thread
            .spawn_scoped(scope, || {
                sys::unshare(UnshareFlags::NEWNS).during("unshare (a mount namespace)")?;
                mount_change("/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)
                    .during("make the mounts of a new mount namespace private")?;
                work()
            })
            .during("start a thread")?;
        thread.join().unwrap_or_else(|_| {
            Err(Failure::new(Code::Internal, "the thread that mounts has panicked"))
        })
    })
}

const STACK: usize = 128 * 1024;
