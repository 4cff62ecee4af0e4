//! The system calls that the floor makes, named after their manual pages. The only `unsafe` here.

use core::ffi::CStr;

#[cfg(target_arch = "aarch64")]
#[path = "../../runtime-core/init/src/sys/aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "../../runtime-core/init/src/sys/x86_64.rs"]
mod arch;

/// With the numbers that init doesn't need.
mod nr {
    pub(super) use super::arch::nr::*;
    const X86_64: bool = cfg!(target_arch = "x86_64");
    pub(super) const LSEEK: usize = if X86_64 { 8 } else { 62 };
    pub(super) const WAIT4: usize = if X86_64 { 61 } else { 260 };
    pub(super) const BPF: usize = if X86_64 { 321 } else { 280 };
}

/// A kernel error number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(pub(crate) i32);

pub(crate) type Result<T = ()> = core::result::Result<T, Errno>;

pub(crate) const ENOENT: Errno = Errno(2);

macro_rules! constants {
    ($($type:ty { $($name:ident = $value:expr,)* })*) => {
        $($( pub(crate) const $name: $type = $value; )*)*
    };
}

constants! {
    u64 {
        MS_RDONLY = 1, MS_NOSUID = 2, MS_NODEV = 4, MS_NOEXEC = 8, MS_BIND = 0x1000,
        MS_REC = 0x4000, MS_PRIVATE = 0x4_0000, MS_SLAVE = 0x8_0000, MS_RELATIME = 0x20_0000,
        MS_STRICTATIME = 0x100_0000,
        CLONE_VM = 0x100, CLONE_VFORK = 0x4000, CLONE_NEWNS = 0x2_0000,
        CLONE_NEWCGROUP = 0x200_0000, CLONE_NEWUTS = 0x400_0000, CLONE_NEWIPC = 0x800_0000,
        CLONE_NEWPID = 0x2000_0000, CLONE_NEWNET = 0x4000_0000, CLONE_INTO_CGROUP = 0x2_0000_0000,
    }
    u32 {
        O_RDONLY = 0, O_WRONLY = 1, O_PATH = 0o10_000_000, O_CLOEXEC = 0o2_000_000,
        AT_RECURSIVE = 0x8000,
    }
    i32 { AT_FDCWD = -100, AT_REMOVEDIR = 0x200, MNT_DETACH = 2, }
    usize {
        S_IFCHR = 0o020_000, SEEK_END = 2, PROT_READ = 1, MAP_PRIVATE = 2, SIGCHLD = 17,
        AF_INET = 2, SOCK_DGRAM = 2, SIOCSIFFLAGS = 0x8914, RLIMIT_NOFILE = 7,
        PR_CAPBSET_DROP = 24, PR_SET_NO_NEW_PRIVS = 38, CLOSE_RANGE_CLOEXEC = 4,
        KEYCTL_JOIN_SESSION_KEYRING = 1, SECCOMP_SET_MODE_FILTER = 1,
        SECCOMP_FILTER_FLAG_SPEC_ALLOW = 4, BPF_PROG_LOAD = 5, BPF_PROG_ATTACH = 8,
    }
}

/// Makes a system call and splits its result. What an argument points to needs a name of its own:
/// a temporary would be gone before the call.
macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        let mut six = [0usize; 6];
        for (slot, argument) in six.iter_mut().zip([$($argument as usize),*]) {
            *slot = argument;
        }
        let [a, b, c, d, e, f] = six;
        // SAFETY: the typed wrapper around this call passes pointers into live references, with
        // their lengths, as the system call's manual page wants them.
        let result = unsafe { arch::syscall6(nr::$number, a, b, c, d, e, f) };
        if result < 0 { Err(Errno(-(result as i32))) } else { Ok(result as usize) }
    }};
}

/// Functions that are one call, with no result.
macro_rules! calls {
    ($(fn $name:ident($($argument:ident: $type:ty),*) = $number:ident($($value:expr),*);)*) => {
        $(pub(crate) fn $name($($argument: $type),*) -> Result {
            call!($number $(, $value)*).map(drop)
        })*
    };
}

calls! {
    fn write(fd: i32, bytes: &[u8]) = WRITE(fd, bytes.as_ptr(), bytes.len());
    fn close(fd: i32) = CLOSE(fd);
    fn access(path: &CStr) = FACCESSAT2(AT_FDCWD, path.as_ptr(), 0, 0);
    fn mkdir(path: &CStr) = MKDIRAT(AT_FDCWD, path.as_ptr(), 0o755);
    fn rmdir(path: &CStr) = UNLINKAT(AT_FDCWD, path.as_ptr(), AT_REMOVEDIR);
    fn mknod(path: &CStr, device: u32) = MKNODAT(AT_FDCWD, path.as_ptr(), S_IFCHR | 0o666, device);
    fn symlink(target: &CStr, path: &CStr) = SYMLINKAT(target.as_ptr(), AT_FDCWD, path.as_ptr());
    fn chdir(path: &CStr) = CHDIR(path.as_ptr());
    fn mount(source: &CStr, target: &CStr, kind: &CStr, flags: u64, options: &CStr) =
        MOUNT(source.as_ptr(), target.as_ptr(), kind.as_ptr(), flags, options.as_ptr());
    fn pivot_root(new: &CStr, old: &CStr) = PIVOT_ROOT(new.as_ptr(), old.as_ptr());
    fn detach(path: &CStr) = UMOUNT2(path.as_ptr(), MNT_DETACH);
    fn unshare(flags: u64) = UNSHARE(flags);
    fn setsid() = SETSID();
    fn umask(mask: u32) = UMASK(mask);
    fn sethostname(name: &[u8]) = SETHOSTNAME(name.as_ptr(), name.len());
    fn new_session_keyring(name: &CStr) = KEYCTL(KEYCTL_JOIN_SESSION_KEYRING, name.as_ptr());
    fn limit_open_files(soft_and_hard: &[u64; 2]) =
        PRLIMIT64(0, RLIMIT_NOFILE, soft_and_hard.as_ptr(), 0);
    fn no_new_privileges() = PRCTL(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    fn drop_from_bounding_set(capability: u32) = PRCTL(PR_CAPBSET_DROP, capability, 0, 0, 0);
    fn setgroups(groups: &[u32]) = SETGROUPS(groups.len(), groups.as_ptr());
    fn close_range_on_exec(first: u32) = CLOSE_RANGE(first, u32::MAX, CLOSE_RANGE_CLOEXEC);
    fn exit(code: i32) = EXIT_GROUP(code);
}

pub(crate) fn open(path: &CStr, flags: u32) -> Result<i32> {
    call!(OPENAT, AT_FDCWD, path.as_ptr(), flags | O_CLOEXEC).map(|fd| fd as i32)
}

pub(crate) fn read(fd: i32, buffer: &mut [u8]) -> Result<&[u8]> {
    let length = call!(READ, fd, buffer.as_mut_ptr(), buffer.len())?;
    Ok(buffer.get(..length).unwrap_or_default())
}

/// mount_setattr(2); attributes have the values of mount(2)'s first four flags.
pub(crate) fn mount_setattr(path: &CStr, flags: u32, attributes: u64, propagation: u64) -> Result {
    let attr = [attributes, 0, propagation, 0];
    let size = size_of_val(&attr);
    call!(MOUNT_SETATTR, AT_FDCWD, path.as_ptr(), flags, attr.as_ptr(), size).map(drop)
}

/// netdevice(7): a new network namespace has `lo`, and that is down.
pub(crate) fn loopback_up() -> Result {
    let socket = call!(SOCKET, AF_INET, SOCK_DGRAM | O_CLOEXEC as usize, 0)?;
    let mut request = [0u64; 5];
    request[0] = u64::from_ne_bytes(*b"lo\0\0\0\0\0\0");
    request[2] = u64::from_ne_bytes([1, 0, 0, 0, 0, 0, 0, 0]); // IFF_UP
    call!(IOCTL, socket, SIOCSIFFLAGS, request.as_ptr())?;
    close(socket as i32)
}

/// Sets the permitted and the effective set, and empties the inheritable one.
pub(crate) fn capset(set: u64) -> Result {
    const VERSION_3: u32 = 0x2008_0522;
    let (low, high) = (set as u32, (set >> 32) as u32);
    let (header, sets) = ([VERSION_3, 0], [low, low, 0, high, high, 0]);
    call!(CAPSET, header.as_ptr(), sets.as_ptr()).map(drop)
}

/// A file's content, for as long as the process lives.
pub(crate) fn map(path: &CStr) -> Result<&'static [u8]> {
    let fd = open(path, O_RDONLY)?;
    let length = call!(LSEEK, fd, 0, SEEK_END)?;
    let address = call!(MMAP, 0, length, PROT_READ, MAP_PRIVATE, fd, 0)?;
    // SAFETY: a mapping of `length` bytes that is never undone.
    Ok(unsafe { core::slice::from_raw_parts(address as *const u8, length) })
}

/// Loads a filter, an array of `struct sock_filter`.
pub(crate) fn seccomp(filter: &[u8]) -> Result {
    let program = [filter.len() / 8, filter.as_ptr() as usize];
    let flags = SECCOMP_FILTER_FLAG_SPEC_ALLOW;
    call!(SECCOMP, SECCOMP_SET_MODE_FILTER, flags, program.as_ptr()).map(drop)
}

/// Loads a program for devices and attaches it to a cgroup2, bpf(2).
pub(crate) fn device_program(cgroup: i32, program: &[u64]) -> Result {
    const PROG_TYPE_CGROUP_DEVICE: u64 = 15;
    const CGROUP_DEVICE: u32 = 6;
    const F_ALLOW_MULTI: u32 = 2;
    let kind_and_length = PROG_TYPE_CGROUP_DEVICE | (program.len() as u64) << 32;
    let load = [kind_and_length, program.as_ptr() as u64, c"Apache-2.0".as_ptr() as u64];
    let loaded = call!(BPF, BPF_PROG_LOAD, load.as_ptr(), size_of_val(&load))?;
    let attach = [cgroup as u32, loaded as u32, CGROUP_DEVICE, F_ALLOW_MULTI];
    call!(BPF, BPF_PROG_ATTACH, attach.as_ptr(), size_of_val(&attach))?;
    close(loaded as i32)
}

/// execve(2) with no arguments; comes back only with an error.
pub(crate) fn execve(program: &CStr, environment: [&CStr; 3]) -> Result {
    let arguments = [program.as_ptr() as usize, 0];
    let [a, b, c] = environment.map(|variable| variable.as_ptr() as usize);
    let environment = [a, b, c, 0];
    call!(EXECVE, program.as_ptr(), arguments.as_ptr(), environment.as_ptr()).map(drop)
}

/// Waits for a child; its status as a shell says it.
pub(crate) fn wait(pid: i32) -> Result<i32> {
    let mut status = 0i32;
    call!(WAIT4, pid, &raw mut status, 0, 0)?;
    Ok(if status & 0x7f == 0 { status >> 8 & 0xff } else { 128 + (status & 0x7f) })
}

/// CLOCK_MONOTONIC in nanoseconds.
pub(crate) fn now() -> u64 {
    let mut time = [0u64; 2];
    let _ = call!(CLOCK_GETTIME, 1, time.as_mut_ptr());
    time[0] * 1_000_000_000 + time[1]
}

/// The argument with this number, 0 being the program's name, from the stack as the kernel made it.
pub(crate) fn argument(stack: *const usize, index: usize) -> Option<&'static CStr> {
    // SAFETY: the kernel put argc there, and argc pointers to strings that live as long as the
    // process.
    unsafe { (index < *stack).then(|| CStr::from_ptr(*stack.add(1 + index) as *const _)) }
}

/// clone3(2) as vfork(2): the child calls `child`, in this memory and on this stack, and the caller
/// stands still until it has executed a program or ended.
pub(crate) fn vfork<T>(
    namespaces: u64,
    cgroup: i32,
    child: extern "C" fn(&mut T) -> !,
    state: &mut T,
) -> Result<i32> {
    let mut arguments = [0u64; 11];
    arguments[0] = namespaces | CLONE_VM | CLONE_VFORK | CLONE_INTO_CGROUP;
    arguments[4] = SIGCHLD as u64;
    arguments[10] = cgroup as u64;
    let result: isize;
    // SAFETY: the child doesn't come back from `child`, and what it puts on the stack is below all
    // that the caller has there.
    #[cfg(target_arch = "x86_64")]
    unsafe {
        core::arch::asm!(
            "syscall", "test rax, rax", "jnz 2f", "mov rdi, r12", "call r13", "2:",
            inlateout("rax") nr::CLONE3 => result,
            in("rdi") arguments.as_ptr(), in("rsi") size_of_val(&arguments),
            in("r12") state, in("r13") child, lateout("rcx") _, lateout("r11") _,
        );
    }
    // SAFETY: as above.
    #[cfg(target_arch = "aarch64")]
    unsafe {
        core::arch::asm!(
            "svc #0", "cbnz x0, 2f", "mov x0, x20", "blr x21", "2:",
            in("x8") nr::CLONE3,
            inlateout("x0") arguments.as_ptr() => result,
            in("x1") size_of_val(&arguments),
            in("x20") state, in("x21") child,
        );
    }
    if result < 0 { Err(Errno(-(result as i32))) } else { Ok(result as i32) }
}
