//! aarch64: system-call numbers (the kernel's asm-generic/unistd.h) and the instruction itself.

use core::arch::asm;

/// System-call numbers.
pub(crate) mod nr {
    pub(crate) const READ: usize = 63;
    pub(crate) const WRITE: usize = 64;
    pub(crate) const CLOSE: usize = 57;
    pub(crate) const MMAP: usize = 222;
    pub(crate) const RT_SIGACTION: usize = 134;
    pub(crate) const RT_SIGPROCMASK: usize = 135;
    pub(crate) const IOCTL: usize = 29;
    pub(crate) const SENDMSG: usize = 211;
    pub(crate) const RECVMSG: usize = 212;
    pub(crate) const SOCKET: usize = 198;
    pub(crate) const CLONE: usize = 220;
    pub(crate) const EXECVE: usize = 221;
    pub(crate) const KILL: usize = 129;
    pub(crate) const EXIT_GROUP: usize = 94;
    pub(crate) const GETCWD: usize = 17;
    pub(crate) const CHDIR: usize = 49;
    pub(crate) const FCHDIR: usize = 50;
    pub(crate) const FCHMOD: usize = 52;
    pub(crate) const FCHOWN: usize = 55;
    pub(crate) const UMASK: usize = 166;
    pub(crate) const SETSID: usize = 157;
    pub(crate) const SETGROUPS: usize = 159;
    pub(crate) const SETRESUID: usize = 147;
    pub(crate) const SETRESGID: usize = 149;
    pub(crate) const CAPGET: usize = 90;
    pub(crate) const CAPSET: usize = 91;
    pub(crate) const PERSONALITY: usize = 92;
    pub(crate) const FSTATFS: usize = 44;
    pub(crate) const SETPRIORITY: usize = 140;
    pub(crate) const PIVOT_ROOT: usize = 41;
    pub(crate) const PRCTL: usize = 167;
    pub(crate) const CHROOT: usize = 51;
    pub(crate) const MOUNT: usize = 40;
    pub(crate) const UMOUNT2: usize = 39;
    pub(crate) const SETHOSTNAME: usize = 161;
    pub(crate) const SETDOMAINNAME: usize = 162;
    pub(crate) const SCHED_SETAFFINITY: usize = 122;
    pub(crate) const GETDENTS64: usize = 61;
    pub(crate) const CLOCK_GETTIME: usize = 113;
    pub(crate) const SET_MEMPOLICY: usize = 237;
    pub(crate) const KEYCTL: usize = 219;
    pub(crate) const IOPRIO_SET: usize = 30;
    pub(crate) const OPENAT: usize = 56;
    pub(crate) const MKDIRAT: usize = 34;
    pub(crate) const MKNODAT: usize = 33;
    pub(crate) const FCHOWNAT: usize = 54;
    pub(crate) const UNLINKAT: usize = 35;
    pub(crate) const SYMLINKAT: usize = 36;
    pub(crate) const READLINKAT: usize = 78;
    pub(crate) const UNSHARE: usize = 97;
    pub(crate) const PPOLL: usize = 73;
    pub(crate) const SIGNALFD4: usize = 74;
    pub(crate) const ACCEPT4: usize = 242;
    pub(crate) const DUP3: usize = 24;
    pub(crate) const PRLIMIT64: usize = 261;
    pub(crate) const SETNS: usize = 268;
    pub(crate) const SCHED_SETATTR: usize = 274;
    pub(crate) const SECCOMP: usize = 277;
    pub(crate) const STATX: usize = 291;
    pub(crate) const OPEN_TREE: usize = 428;
    pub(crate) const MOVE_MOUNT: usize = 429;
    pub(crate) const FSOPEN: usize = 430;
    pub(crate) const FSCONFIG: usize = 431;
    pub(crate) const FSMOUNT: usize = 432;
    pub(crate) const CLONE3: usize = 435;
    pub(crate) const CLOSE_RANGE: usize = 436;
    pub(crate) const OPENAT2: usize = 437;
    pub(crate) const FACCESSAT2: usize = 439;
    pub(crate) const MOUNT_SETATTR: usize = 442;
}

/// Makes a system call; see syscall(2) for the registers.
///
/// # Safety
/// The arguments must be what the system call takes: pointers valid for what it reads and writes.
pub(crate) unsafe fn syscall6(
    number: usize,
    a: usize,
    b: usize,
    c: usize,
    d: usize,
    e: usize,
    f: usize,
) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the kernel's ABI.
    unsafe {
        asm!(
            "svc #0",
            in("x8") number,
            inlateout("x0") a => result,
            in("x1") b, in("x2") c, in("x3") d, in("x4") e, in("x5") f,
            options(nostack),
        );
    }
    result
}

/// clone3(2), of which only the child returns. The parent stores the child's pid at `pid`, sends
/// `message` and exits, with the errno if that has failed: it touches no stack, for the child may go
/// on with the very same.
///
/// # Safety
/// As of [`syscall6`]; `message` and `pid` have to stay as they are in the child.
pub(crate) unsafe fn clone_and_leave(
    arguments: usize,
    size: usize,
    pid: usize,
    socket: usize,
    message: usize,
    flags: usize,
) -> isize {
    let result: isize;
    // SAFETY: the caller vouches for the arguments; the clobbers are those of the kernel's ABI.
    unsafe {
        asm!(
            "svc #0",
            "cmp x0, #0",
            "b.le 3f",
            "str w0, [x3]",
            "mov x0, x4",
            "mov x1, x5",
            "mov x8, #{sendmsg}",
            "svc #0",
            "neg x0, x0",
            "cmp x0, #0",
            "csel x0, x0, xzr, gt",
            "2:",
            "mov x8, #{exit_group}",
            "svc #0",
            "b 2b",
            "3:",
            sendmsg = const nr::SENDMSG,
            exit_group = const nr::EXIT_GROUP,
            inlateout("x8") nr::CLONE3 => _,
            inlateout("x0") arguments => result, inlateout("x1") size => _,
            in("x2") flags, in("x3") pid, in("x4") socket, in("x5") message,
            options(nostack),
        );
    }
    result
}
