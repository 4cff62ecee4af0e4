//! The system calls that init makes, typed. The only place of this crate with `unsafe`.
//!
//! There is no libc below: the results are the kernel's. Each function is named after its manual
//! page in section 2.

use core::ffi::CStr;
use core::mem::{MaybeUninit, size_of};

#[cfg(target_arch = "aarch64")]
#[path = "aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "x86_64.rs"]
mod arch;

mod start;
pub(crate) mod types;

pub(crate) use start::{directory_names, pointers, stack};
pub(crate) use types::*;

use arch::{clone_and_leave, nr, syscall6};

/// A kernel error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T> = core::result::Result<T, Errno>;

/// A descriptor that is closed when it goes out of scope.
#[derive(Debug)]
pub(crate) struct Fd(i32);

impl Fd {
    /// Takes over a descriptor number.
    pub(crate) fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    pub(crate) fn raw(&self) -> i32 {
        self.0
    }

    /// Gives the number away without closing it.
    pub(crate) fn into_raw(self) -> i32 {
        let raw = self.0;
        core::mem::forget(self);
        raw
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        close(self.0);
    }
}

/// Fills the unused arguments with zeros.
fn six<const N: usize>(given: [usize; N]) -> [usize; 6] {
    let mut all = [0; 6];
    for (to, from) in all.iter_mut().zip(given) {
        *to = from;
    }
    all
}

/// Makes a system call and splits its result.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        let [a, b, c, d, e, f] = six([$($argument as usize),*]);
        // SAFETY: the typed wrapper around this call passes pointers into live references, with
        // their lengths, as the system call's manual page wants them.
        let result = unsafe { syscall6(nr::$number, a, b, c, d, e, f) };
        if result < 0 { Err(Errno(-(result as i32))) } else { Ok(result as usize) }
    }};
}

pub(crate) fn close(fd: i32) {
    let _ = call!(CLOSE, fd);
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        let _ = call!(EXIT_GROUP, code);
    }
}

pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<usize> {
    call!(READ, fd, buffer.as_mut_ptr(), buffer.len())
}

pub(crate) fn write(fd: i32, bytes: &[u8]) -> Result<usize> {
    call!(WRITE, fd, bytes.as_ptr(), bytes.len())
}

pub(crate) fn openat(dir: i32, path: &CStr, flags: u64, mode: u32) -> Result<Fd> {
    call!(OPENAT, dir, path.as_ptr(), flags | O_CLOEXEC, mode).map(|fd| Fd(fd as i32))
}

/// openat2(2); EAGAIN (a rename or mount happened meanwhile) is for the caller to retry.
pub(crate) fn openat2(dir: i32, path: &CStr, flags: u64, mode: u64, resolve: u64) -> Result<Fd> {
    let how = [flags | O_CLOEXEC, mode, resolve];
    call!(OPENAT2, dir, path.as_ptr(), how.as_ptr(), size_of::<[u64; 3]>()).map(|fd| Fd(fd as i32))
}

pub(crate) fn mkdirat(dir: i32, path: &CStr, mode: u32) -> Result<()> {
    call!(MKDIRAT, dir, path.as_ptr(), mode).map(drop)
}

pub(crate) fn mknodat(dir: i32, path: &CStr, mode: u32, device: u64) -> Result<()> {
    call!(MKNODAT, dir, path.as_ptr(), mode, device).map(drop)
}

pub(crate) fn symlinkat(target: &CStr, dir: i32, path: &CStr) -> Result<()> {
    call!(SYMLINKAT, target.as_ptr(), dir, path.as_ptr()).map(drop)
}

pub(crate) fn readlinkat<'a>(dir: i32, path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let n = call!(READLINKAT, dir, path.as_ptr(), buffer.as_mut_ptr(), buffer.len())?;
    buffer.get(..n).ok_or(EINVAL)
}

pub(crate) fn unlinkat(dir: i32, path: &CStr) -> Result<()> {
    call!(UNLINKAT, dir, path.as_ptr(), 0).map(drop)
}

/// fchownat(2) on the descriptor itself where `path` is empty.
pub(crate) fn fchownat(dir: i32, path: &CStr, uid: u32, gid: u32) -> Result<()> {
    let flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
    call!(FCHOWNAT, dir, path.as_ptr(), uid, gid, flags).map(drop)
}

pub(crate) fn fchmod(fd: i32, mode: u32) -> Result<()> {
    call!(FCHMOD, fd, mode).map(drop)
}

pub(crate) fn fchown(fd: i32, uid: u32, gid: u32) -> Result<()> {
    call!(FCHOWN, fd, uid, gid).map(drop)
}

pub(crate) fn statx(dir: i32, path: &CStr, flags: u32) -> Result<Statx> {
    let mut stat = MaybeUninit::<Statx>::zeroed();
    call!(STATX, dir, path.as_ptr(), flags, STATX_BASIC_STATS, stat.as_mut_ptr())?;
    // SAFETY: an all-zero Statx is valid, and the kernel has filled it.
    Ok(unsafe { stat.assume_init() })
}

/// A file's size in bytes.
pub(crate) fn file_size(fd: i32) -> Result<usize> {
    statx(fd, c"", AT_EMPTY_PATH).map(|stat| stat.size as usize)
}

/// The filesystem's magic number, statfs(2).
pub(crate) fn filesystem_magic(fd: i32) -> Result<u64> {
    let mut statfs = [0u64; 32];
    call!(FSTATFS, fd, statfs.as_mut_ptr())?;
    Ok(statfs[0])
}

/// How the mount is mounted (and its filesystem, if that is read-only), statfs(2)'s `f_flags`.
pub(crate) fn mount_flags(fd: i32) -> Result<u64> {
    let mut statfs = [0u64; 32];
    call!(FSTATFS, fd, statfs.as_mut_ptr())?;
    Ok(statfs[10])
}

pub(crate) fn getdents64(fd: i32, buffer: &mut [u64]) -> Result<usize> {
    call!(GETDENTS64, fd, buffer.as_mut_ptr(), size_of_val(buffer))
}

/// faccessat2(2) with the effective ids.
pub(crate) fn executable(path: &CStr) -> Result<()> {
    call!(FACCESSAT2, AT_FDCWD, path.as_ptr(), X_OK, AT_EACCESS).map(drop)
}

pub(crate) fn chdir(path: &CStr) -> Result<()> {
    call!(CHDIR, path.as_ptr()).map(drop)
}

pub(crate) fn fchdir(fd: i32) -> Result<()> {
    call!(FCHDIR, fd).map(drop)
}

pub(crate) fn getcwd(buffer: &mut [u8]) -> Result<usize> {
    call!(GETCWD, buffer.as_mut_ptr(), buffer.len())
}

pub(crate) fn chroot(path: &CStr) -> Result<()> {
    call!(CHROOT, path.as_ptr()).map(drop)
}

pub(crate) fn pivot_root(new: &CStr, old: &CStr) -> Result<()> {
    call!(PIVOT_ROOT, new.as_ptr(), old.as_ptr()).map(drop)
}

pub(crate) fn mount(
    source: &CStr,
    target: &CStr,
    fstype: &CStr,
    flags: u64,
    data: &CStr,
) -> Result<()> {
    call!(MOUNT, source.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags, data.as_ptr()).map(drop)
}

pub(crate) fn umount2(path: &CStr, flags: u32) -> Result<()> {
    call!(UMOUNT2, path.as_ptr(), flags).map(drop)
}

pub(crate) fn fsopen(fstype: &CStr) -> Result<Fd> {
    call!(FSOPEN, fstype.as_ptr(), FSOPEN_CLOEXEC).map(|fd| Fd(fd as i32))
}

pub(crate) fn fsconfig_string(fd: i32, key: &CStr, value: &CStr) -> Result<()> {
    call!(FSCONFIG, fd, FSCONFIG_SET_STRING, key.as_ptr(), value.as_ptr(), 0).map(drop)
}

pub(crate) fn fsconfig_flag(fd: i32, key: &CStr) -> Result<()> {
    call!(FSCONFIG, fd, FSCONFIG_SET_FLAG, key.as_ptr(), 0, 0).map(drop)
}

pub(crate) fn fsconfig_create(fd: i32) -> Result<()> {
    call!(FSCONFIG, fd, FSCONFIG_CMD_CREATE, 0, 0, 0).map(drop)
}

pub(crate) fn fsmount(fd: i32, attributes: u64) -> Result<Fd> {
    call!(FSMOUNT, fd, FSMOUNT_CLOEXEC, attributes).map(|fd| Fd(fd as i32))
}

pub(crate) fn open_tree(dir: i32, path: &CStr, flags: u32) -> Result<Fd> {
    call!(OPEN_TREE, dir, path.as_ptr(), flags | OPEN_TREE_CLOEXEC).map(|fd| Fd(fd as i32))
}

/// Puts a detached (or attached) mount onto what `target` refers to.
pub(crate) fn move_mount(tree: i32, target: i32) -> Result<()> {
    let empty = c"".as_ptr();
    let flags = MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH;
    call!(MOVE_MOUNT, tree, empty, target, empty, flags).map(drop)
}

/// The same onto what has this name in a directory; a symbolic link there is not followed.
pub(crate) fn move_mount_at(tree: i32, directory: i32, name: &CStr) -> Result<()> {
    let flags = MOVE_MOUNT_F_EMPTY_PATH;
    call!(MOVE_MOUNT, tree, c"".as_ptr(), directory, name.as_ptr(), flags).map(drop)
}

pub(crate) fn mount_setattr(fd: i32, path: &CStr, flags: u32, attr: &MountAttr) -> Result<()> {
    call!(MOUNT_SETATTR, fd, path.as_ptr(), flags, &raw const *attr, size_of::<MountAttr>())
        .map(drop)
}

pub(crate) fn setns(fd: i32, flags: u64) -> Result<()> {
    call!(SETNS, fd, flags).map(drop)
}

pub(crate) fn unshare(flags: u64) -> Result<()> {
    call!(UNSHARE, flags).map(drop)
}

/// clone3(2), of which only the child returns: the parent sends the farewell, with the child's pidfd
/// and pid in it, and is gone. If nobody is there to receive it, the child finds out by itself.
///
/// With CLONE_VM both have the same memory for that while, so a farewell has to stay where it is.
pub(crate) fn clone_with_farewell(
    arguments: &mut CloneArgs,
    socket: i32,
    farewell: &mut Farewell,
) -> Result<()> {
    let (pidfd, pid, header) = farewell.prepare();
    arguments.pidfd = pidfd as u64;
    // SAFETY: the structures are those of the system calls' manual pages; the farewell lives on.
    let result = unsafe {
        clone_and_leave(
            (&raw const *arguments) as usize,
            size_of::<CloneArgs>(),
            pid,
            socket as usize,
            header,
            MSG_NOSIGNAL as usize,
        )
    };
    if result < 0 { Err(Errno(-(result as i32))) } else { Ok(()) }
}

/// clone(2) without new memory arrangements, as fork(2): 0 in the child, and in the parent its pid,
/// with the pidfd. The older call, for filters that answer to clone3(2) that there is none.
pub(crate) fn clone(flags: u64, pidfd: &mut i32) -> Result<usize> {
    call!(CLONE, flags, 0, &raw mut *pidfd, 0, 0)
}

/// kill(2) with SIGKILL.
pub(crate) fn kill(pid: usize) -> Result<()> {
    call!(KILL, pid, 9).map(drop)
}

pub(crate) fn execve(path: &CStr, arguments: *const usize, environment: *const usize) -> Errno {
    match call!(EXECVE, path.as_ptr(), arguments, environment) {
        Err(errno) => errno,
        Ok(_) => EINVAL,
    }
}

pub(crate) fn prctl(option: u32, a: u64, b: u64) -> Result<usize> {
    call!(PRCTL, option, a, b, 0, 0)
}

pub(crate) fn setsid() -> Result<()> {
    call!(SETSID).map(drop)
}

/// The new session keyring's number.
pub(crate) fn keyctl_join(name: &CStr) -> Result<usize> {
    call!(KEYCTL, KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr())
}

pub(crate) fn keyctl_setperm(key: usize, permissions: u32) -> Result<()> {
    call!(KEYCTL, KEYCTL_SETPERM, key, permissions).map(drop)
}

pub(crate) fn sethostname(name: &[u8]) -> Result<()> {
    call!(SETHOSTNAME, name.as_ptr(), name.len()).map(drop)
}

pub(crate) fn setdomainname(name: &[u8]) -> Result<()> {
    call!(SETDOMAINNAME, name.as_ptr(), name.len()).map(drop)
}

pub(crate) fn setrlimit(resource: u32, soft: u64, hard: u64) -> Result<()> {
    let limits = [soft, hard];
    call!(PRLIMIT64, 0, resource, limits.as_ptr(), 0).map(drop)
}

/// The soft and the hard limit; RLIM_INFINITY is the largest number.
pub(crate) fn getrlimit(resource: u32) -> Result<(u64, u64)> {
    let mut limits = [0u64; 2];
    call!(PRLIMIT64, 0, resource, 0, limits.as_mut_ptr())?;
    Ok((limits[0], limits[1]))
}

pub(crate) fn sched_setattr(attributes: &[u8]) -> Result<()> {
    call!(SCHED_SETATTR, 0, attributes.as_ptr(), 0).map(drop)
}

pub(crate) fn sched_setaffinity(mask: &[u8]) -> Result<()> {
    call!(SCHED_SETAFFINITY, 0, mask.len(), mask.as_ptr()).map(drop)
}

pub(crate) fn setpriority(nice: i32) -> Result<()> {
    call!(SETPRIORITY, 0, 0, nice).map(drop)
}

pub(crate) fn ioprio_set(value: u32) -> Result<()> {
    call!(IOPRIO_SET, IOPRIO_WHO_PROCESS, 0, value).map(drop)
}

pub(crate) fn set_mempolicy(mode: u32, nodes: &[u8], bits: u64) -> Result<()> {
    let nodes = if nodes.is_empty() { core::ptr::null() } else { nodes.as_ptr() };
    call!(SET_MEMPOLICY, mode, nodes, bits).map(drop)
}

pub(crate) fn personality(value: u64) -> Result<usize> {
    call!(PERSONALITY, value)
}

pub(crate) fn umask(mask: u32) {
    let _ = call!(UMASK, mask);
}

pub(crate) fn setgroups(groups: &[u8]) -> Result<()> {
    call!(SETGROUPS, groups.len() / 4, groups.as_ptr()).map(drop)
}

pub(crate) fn setresgid(gid: u32) -> Result<()> {
    call!(SETRESGID, gid, gid, gid).map(drop)
}

pub(crate) fn setresuid(uid: u32) -> Result<()> {
    call!(SETRESUID, uid, uid, uid).map(drop)
}

pub(crate) fn capget() -> Result<CapSets> {
    let header = [CAPABILITY_VERSION_3, 0];
    let mut data = [0u32; 6];
    call!(CAPGET, header.as_ptr(), data.as_mut_ptr())?;
    let [e, p, i, high_e, high_p, high_i] = data;
    let wide = |low: u32, high: u32| u64::from(low) | u64::from(high) << 32;
    Ok(CapSets {
        effective: wide(e, high_e),
        permitted: wide(p, high_p),
        inheritable: wide(i, high_i),
    })
}

pub(crate) fn capset(sets: &CapSets) -> Result<()> {
    let header = [CAPABILITY_VERSION_3, 0];
    let (e, p, i) = (sets.effective, sets.permitted, sets.inheritable);
    let data = [e as u32, p as u32, i as u32, (e >> 32) as u32, (p >> 32) as u32, (i >> 32) as u32];
    call!(CAPSET, header.as_ptr(), data.as_ptr()).map(drop)
}

/// The default disposition for a signal.
pub(crate) fn signal_default(signal: u32) -> Result<()> {
    let action = [0u64; 4];
    call!(RT_SIGACTION, signal, action.as_ptr(), 0, 8).map(drop)
}

/// Blocks these signals (1 is bit 0) and no others; they are read from the descriptor then,
/// signalfd(2).
pub(crate) fn signals_to_descriptor(mask: u64) -> Result<Fd> {
    call!(RT_SIGPROCMASK, SIG_SETMASK, &raw const mask, 0, 8)?;
    call!(SIGNALFD4, -1isize, &raw const mask, 8, O_CLOEXEC).map(|fd| Fd(fd as i32))
}

/// Unblocks all signals.
pub(crate) fn signals_unblock() -> Result<()> {
    let empty = 0u64;
    call!(RT_SIGPROCMASK, SIG_SETMASK, &raw const empty, 0, 8).map(drop)
}

pub(crate) fn socket(domain: u32, kind: u32) -> Result<Fd> {
    call!(SOCKET, domain, kind | SOCK_CLOEXEC, 0).map(|fd| Fd(fd as i32))
}

/// Waits until one of the descriptors is readable, or at its end, and says which are. Negative ones
/// never are.
pub(crate) fn poll<const N: usize>(descriptors: [i32; N]) -> Result<[bool; N]> {
    let mut polled = descriptors.map(|fd| PollFd { fd, events: POLLIN, revents: 0 });
    call!(PPOLL, polled.as_mut_ptr(), polled.len(), 0, 0, 8)?;
    Ok(polled.map(|polled| polled.revents != 0))
}

pub(crate) fn accept(fd: i32) -> Result<Fd> {
    call!(ACCEPT4, fd, 0, 0, SOCK_CLOEXEC).map(|fd| Fd(fd as i32))
}

/// ioctl(2) with a plain number as its argument.
pub(crate) fn ioctl(fd: i32, request: u32, argument: usize) -> Result<usize> {
    call!(IOCTL, fd, request, argument)
}

/// ioctl(2) that reads or writes `T`.
pub(crate) fn ioctl_with<T: Pod>(fd: i32, request: u32, argument: &mut T) -> Result<usize> {
    call!(IOCTL, fd, request, argument as *mut T)
}

pub(crate) fn dup3(from: i32, to: i32, flags: u32) -> Result<()> {
    call!(DUP3, from, to, flags).map(drop)
}

pub(crate) fn close_range(first: u32, flags: u32) -> Result<()> {
    call!(CLOSE_RANGE, first, u32::MAX, flags).map(drop)
}

pub(crate) fn seccomp_load(flags: u64, program: &[u8]) -> Result<usize> {
    let filter = SockFprog { len: (program.len() / 8) as u16, filter: program.as_ptr() };
    call!(SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const filter)
}

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = [0u64; 2];
    let _ = call!(CLOCK_GETTIME, 1, time.as_mut_ptr());
    time[0].wrapping_mul(1_000_000_000).wrapping_add(time[1])
}

/// Maps a whole file for as long as the process lives. Privately: a shared mapping of a file that is
/// open for writing would be in the way of its seal (fcntl(2), F_SEAL_WRITE).
pub(crate) fn map(fd: i32, length: usize) -> Result<&'static [u8]> {
    let address = call!(MMAP, 0, length, PROT_READ, MAP_PRIVATE, fd, 0)?;
    // SAFETY: a fresh mapping of `length` bytes of a file that is at least as long and whose bytes
    // are written once; what is in it of a plan's second part is not read through this mapping.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
}

/// Maps the report page for as long as the process lives: its fixed part and its times.
pub(crate) fn map_page(
    fd: i32,
    length: usize,
) -> Result<(&'static crate::page::Page, &'static [core::sync::atomic::AtomicU64])> {
    use crate::page::{Page, TIMES_AT};
    if length < TIMES_AT {
        return Err(EINVAL);
    }
    let address = call!(MMAP, 0, length, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0)?;
    // SAFETY: the mapping has `length` bytes, more than Page has and aligned to a page; all that
    // is in it are atomics, which other processes may change at any time.
    unsafe {
        let times = (address + TIMES_AT) as *const core::sync::atomic::AtomicU64;
        let count = (length - TIMES_AT) / 8;
        Ok((&*(address as *const Page), core::slice::from_raw_parts(times, count)))
    }
}

/// Puts another file's page where one is mapped, which takes no more memory and lets go of that.
pub(crate) fn replace_page(page: &'static crate::page::Page, fd: i32) -> Result<()> {
    use crate::page::TIMES_AT;
    // Beyond the end of a file there is only SIGBUS.
    if file_size(fd)? < TIMES_AT {
        return Err(EINVAL);
    }
    let (address, flags) = ((&raw const *page) as usize, MAP_SHARED | MAP_FIXED);
    // It begins with `page`, and what `map_page` mapped there has at least as much. All that is
    // in both are atomics, which others may change at any time.
    call!(MMAP, address, TIMES_AT, PROT_READ | PROT_WRITE, flags, fd, 0).map(drop)
}

/// Fresh zeroed memory for as long as the process lives.
pub(crate) fn allocate(words: usize) -> Result<&'static mut [usize]> {
    let length = words.checked_mul(size_of::<usize>()).ok_or(EINVAL)?;
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    let address = call!(MMAP, 0, length, PROT_READ | PROT_WRITE, flags, -1isize, 0)?;
    // SAFETY: a fresh mapping of that many zeroed words, given out once.
    Ok(unsafe { core::slice::from_raw_parts_mut(address as *mut usize, words) })
}

/// Sends one message, with up to one descriptor.
pub(crate) fn send(socket: i32, bytes: &[u8], fd: Option<i32>) -> Result<()> {
    let iov = [bytes.as_ptr() as usize, bytes.len()];
    let control = Control::<2>::with_descriptor(fd.unwrap_or(-1));
    let mut header = MsgHdr::new(&iov);
    if fd.is_some() {
        header.control = (&raw const control) as usize;
        header.control_len = size_of_val(&control);
    }
    call!(SENDMSG, socket, &raw const header, MSG_NOSIGNAL).map(drop)
}

/// Receives one message of which only the descriptor counts. `None` if there is none, or if the
/// other side is gone.
pub(crate) fn receive_descriptor(socket: i32) -> Result<Option<Fd>> {
    let mut control = Control::<2>::empty();
    receive_descriptors(socket, &mut control)?;
    Ok(control.descriptors().first().copied().map(Fd::from_raw))
}

/// Receives one message of which only the descriptors count, as many as there is room for. False
/// if the other side is gone.
pub(crate) fn receive_descriptors<const N: usize>(
    socket: i32,
    control: &mut Control<N>,
) -> Result<bool> {
    let mut byte = 0u8;
    let iov = [(&raw mut byte) as usize, 1];
    loop {
        let mut header = MsgHdr::new(&iov);
        header.control = (&raw mut *control) as usize;
        header.control_len = size_of_val(control);
        match call!(RECVMSG, socket, &raw mut header, MSG_CMSG_CLOEXEC) {
            Err(errno) if errno == EINTR => {}
            other => return other.map(|length| length > 0),
        }
    }
}

/// Receives one message; 0 bytes mean that the other side is gone.
pub(crate) fn receive(socket: i32, buffer: &mut [u8]) -> Result<usize> {
    loop {
        match read(socket, buffer) {
            Err(errno) if errno == EINTR => {}
            other => return other,
        }
    }
}
