//! System calls for mounts that `rustix` doesn't offer: mount_setattr(2), loop(4), and a process
//! for a user namespace.

use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;
use rustix::thread::UnshareFlags;

fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)
}

fn mount_setattr(
    mount: BorrowedFd<'_>,
    attr: &libc::mount_attr,
    recursive: bool,
) -> Result<(), Errno> {
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is a C string; `attr` is only read, and its own size is passed.
    let result = unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            mount.as_raw_fd(),
            c"".as_ptr(),
            flags,
            std::ptr::from_ref(attr),
            size_of::<libc::mount_attr>(),
        )
    };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// Changes the attributes `MOUNT_ATTR_*` of one mount.
pub(super) fn set_attributes(mount: BorrowedFd<'_>, set: u64, clear: u64) -> Result<(), Errno> {
    let attr = libc::mount_attr { attr_set: set, attr_clr: clear, propagation: 0, userns_fd: 0 };
    mount_setattr(mount, &attr, false)
}

/// Changes the propagation type: one of `MS_SHARED`, `MS_PRIVATE`, `MS_SLAVE`, `MS_UNBINDABLE`.
pub(super) fn set_propagation(
    mount: BorrowedFd<'_>,
    propagation: u64,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = libc::mount_attr { attr_set: 0, attr_clr: 0, propagation, userns_fd: 0 };
    mount_setattr(mount, &attr, recursive)
}

/// Gives a detached mount the id mapping of a user namespace, and more attributes.
pub(super) fn map_ids(
    mount: BorrowedFd<'_>,
    namespace: BorrowedFd<'_>,
    set: u64,
    recursive: bool,
) -> Result<(), Errno> {
    let attr = libc::mount_attr {
        attr_set: libc::MOUNT_ATTR_IDMAP | set,
        attr_clr: 0,
        propagation: 0,
        userns_fd: u64::from(namespace.as_raw_fd().cast_unsigned()),
    };
    mount_setattr(mount, &attr, recursive)
}

/// Gives the calling thread a mount namespace, or a working directory, of its own.
pub(super) fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: the descriptor table stays shared, which is what would break others' descriptors.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// `struct loop_info64`, linux/loop.h.
#[repr(C)]
struct LoopInfo {
    device: u64,
    inode: u64,
    rdevice: u64,
    offset: u64,
    sizelimit: u64,
    number: u32,
    encrypt_type: u32,
    encrypt_key_size: u32,
    flags: u32,
    file_name: [u8; 64],
    crypt_name: [u8; 64],
    encrypt_key: [u8; 32],
    init: [u64; 2],
}

/// `struct loop_config`, linux/loop.h.
#[repr(C)]
struct LoopConfig {
    fd: u32,
    block_size: u32,
    info: LoopInfo,
    reserved: [u64; 8],
}

const _: () = assert!(size_of::<LoopConfig>() == 304);

const LOOP_CONFIGURE: libc::Ioctl = 0x4c0a;
const LOOP_CTL_GET_FREE: libc::Ioctl = 0x4c82;

/// What a loop device shall be, besides that its last user frees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct LoopFlags {
    pub(super) read_only: bool,
    pub(super) direct_io: bool,
}

/// The number of a loop device that is free at this moment.
pub(super) fn free_loop_device(control: BorrowedFd<'_>) -> Result<u32, Errno> {
    // SAFETY: this ioctl takes no argument.
    let number = unsafe { libc::ioctl(control.as_raw_fd(), LOOP_CTL_GET_FREE) };
    u32::try_from(number).map_err(|_| last_error())
}

/// Attaches a file to a loop device (LOOP_CONFIGURE, Linux 5.8). `name` is for losetup(8) only.
pub(super) fn configure_loop(
    device: BorrowedFd<'_>,
    file: BorrowedFd<'_>,
    name: &[u8],
    flags: LoopFlags,
) -> Result<(), Errno> {
    const READ_ONLY: u32 = 1;
    const AUTOCLEAR: u32 = 4;
    const DIRECT_IO: u32 = 16;
    let mut file_name = [0; 64];
    // The last byte stays 0.
    for (to, from) in file_name.iter_mut().take(63).zip(name) {
        *to = *from;
    }
    let config = LoopConfig {
        fd: file.as_raw_fd().cast_unsigned(),
        block_size: 0,
        info: LoopInfo {
            device: 0,
            inode: 0,
            rdevice: 0,
            offset: 0,
            sizelimit: 0,
            number: 0,
            encrypt_type: 0,
            encrypt_key_size: 0,
            flags: AUTOCLEAR
                | if flags.read_only { READ_ONLY } else { 0 }
                | if flags.direct_io { DIRECT_IO } else { 0 },
            file_name,
            crypt_name: [0; 64],
            encrypt_key: [0; 32],
            init: [0; 2],
        },
        reserved: [0; 8],
    };
    // SAFETY: the kernel only reads `config`, which has the layout of linux/loop.h.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), LOOP_CONFIGURE, &raw const config) };
    if result == 0 { Ok(()) } else { Err(last_error()) }
}

/// A process in a new user namespace that does nothing. It is killed and reaped when dropped.
#[derive(Debug)]
pub(super) struct UserNamespaceProcess {
    pid: libc::pid_t,
    pidfd: OwnedFd,
}

impl UserNamespaceProcess {
    pub(super) fn start() -> Result<Self, Errno> {
        const CLEAR_SIGHAND: u64 = 0x1_0000_0000;
        let mut pidfd: RawFd = -1;
        // clone_args of Linux 5.3: flags, pidfd, child_tid, parent_tid, exit_signal, stack,
        // stack_size, tls. No exit signal: no wait of another thread's gets its status.
        let arguments = [
            (libc::CLONE_NEWUSER | libc::CLONE_PIDFD) as u64 | CLEAR_SIGHAND,
            &raw mut pidfd as u64,
            0,
            0,
            0,
            0,
            0,
            0,
        ];
        // SAFETY: without CLONE_VM the child has memory of its own. Other threads' locks may be
        // held in it, so it only makes system calls, and never returns from here.
        let pid = unsafe {
            let size = size_of_val(&arguments);
            let parent = libc::syscall(libc::SYS_getpid);
            let pid = libc::syscall(libc::SYS_clone3, arguments.as_ptr(), size);
            if pid == 0 {
                // Not one of the shim's descriptors stays open because of it.
                libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
                libc::syscall(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL, 0, 0, 0);
                // For a parent that had ended before, no signal comes.
                if libc::syscall(libc::SYS_getppid) != parent {
                    libc::syscall(libc::SYS_exit_group, 0);
                }
                loop {
                    libc::syscall(libc::SYS_ppoll, 0, 0, 0, 0, 0);
                }
            }
            pid
        };
        let pid = libc::pid_t::try_from(pid).unwrap_or(-1);
        if pid < 0 {
            return Err(last_error());
        }
        // SAFETY: the kernel has just stored a new descriptor there, close-on-exec.
        Ok(Self { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } })
    }

    pub(super) fn pid(&self) -> libc::pid_t {
        self.pid
    }
}

impl Drop for UserNamespaceProcess {
    fn drop(&mut self) {
        let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
        // SAFETY: no pointer is given to the first, and the second writes to `info`, which has
        // room. They can fail only if the process is gone.
        unsafe {
            libc::syscall(libc::SYS_pidfd_send_signal, self.pidfd.as_raw_fd(), libc::SIGKILL, 0, 0);
            libc::waitid(
                libc::P_PIDFD,
                self.pidfd.as_raw_fd().cast_unsigned(),
                info.as_mut_ptr(),
                libc::WEXITED | libc::__WALL,
            );
        }
    }
}
