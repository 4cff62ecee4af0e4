//! x86_64: system-call numbers (the kernel's syscall_64.tbl) and the instruction itself.

use core::arch::asm;

/// System-call numbers.
pub(crate) mod nr {
    pub(crate) const READ: usize = 0;
    pub(crate) const WRITE: usize = 1;
    pub(crate) const CLOSE: usize = 3;
    pub(crate) const MMAP: usize = 9;
    pub(crate) const RT_SIGACTION: usize = 13;
    pub(crate) const RT_SIGPROCMASK: usize = 14;
    pub(crate) const IOCTL: usize = 16;
    pub(crate) const SENDMSG: usize = 46;
    pub(crate) const RECVMSG: usize = 47;
    pub(crate) const SOCKET: usize = 41;
    pub(crate) const CLONE: usize = 56;
    pub(crate) const EXECVE: usize = 59;
    pub(crate) const KILL: usize = 62;
    pub(crate) const EXIT_GROUP: usize = 231;
    pub(crate) const GETCWD: usize = 79;
    pub(crate) const CHDIR: usize = 80;
    pub(crate) const FCHDIR: usize = 81;
    pub(crate) const FCHMOD: usize = 91;
    pub(crate) const FCHOWN: usize = 93;
    pub(crate) const UMASK: usize = 95;
    pub(crate) const SETSID: usize = 112;
    pub(crate) const SETGROUPS: usize = 116;
    pub(crate) const SETRESUID: usize = 117;
    pub(crate) const SETRESGID: usize = 119;
    pub(crate) const CAPGET: usize = 125;
    pub(crate) const CAPSET: usize = 126;
    pub(crate) const PERSONALITY: usize = 135;
    pub(crate) const FSTATFS: usize = 138;
    pub(crate) const SETPRIORITY: usize = 141;
    pub(crate) const PIVOT_ROOT: usize = 155;
    pub(crate) const PRCTL: usize = 157;
    pub(crate) const CHROOT: usize = 161;
    pub(crate) const MOUNT: usize = 165;
    pub(crate) const UMOUNT2: usize = 166;
    pub(crate) const SETHOSTNAME: usize = 170;
    pub(crate) const SETDOMAINNAME: usize = 171;
    pub(crate) const SCHED_SETAFFINITY: usize = 203;
    pub(crate) const GETDENTS64: usize = 217;
    pub(crate) const CLOCK_GETTIME: usize = 228;
    pub(crate) const SET_MEMPOLICY: usize = 238;
    pub(crate) const KEYCTL: usize = 250;
    pub(crate) const IOPRIO_SET: usize = 251;
    pub(crate) const OPENAT: usize = 257;
    pub(crate) const MKDIRAT: usize = 258;
    pub(crate) const MKNODAT: usize = 259;
    pub(crate) const FCHOWNAT: usize = 260;
    pub(crate) const UNLINKAT: usize = 263;
    pub(crate) const SYMLINKAT: usize = 266;
    pub(crate) const READLINKAT: usize = 267;
    pub(crate) const UNSHARE: usize = 272;
    pub(crate) const PPOLL: usize = 271;
    pub(crate) const SIGNALFD4: usize = 289;
    pub(crate) const ACCEPT4: usize = 288;
    pub(crate) const DUP3: usize = 292;
    pub(crate) const PRLIMIT64: usize = 302;
    pub(crate) const SETNS: usize = 308;
    pub(crate) const SCHED_SETATTR: usize = 314;
    pub(crate) const SECCOMP: usize = 317;
    pub(crate) const STATX: usize = 332;
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
            "syscall",
            inlateout("rax") number => result,
            in("rdi") a, in("rsi") b, in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
            lateout("rcx") _, lateout("r11") _,
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
            "syscall",
            "test rax, rax",
            "jle 3f",
            "mov [r8], eax",
            "mov rdi, r9",
            "mov rsi, r10",
            "mov eax, {sendmsg}",
            "syscall",
            "xor edi, edi",
            "neg eax",
            "cmovns edi, eax",
            "2:",
            "mov eax, {exit_group}",
            "syscall",
            "jmp 2b",
            "3:",
            sendmsg = const nr::SENDMSG,
            exit_group = const nr::EXIT_GROUP,
            inlateout("rax") nr::CLONE3 => result,
            inlateout("rdi") arguments => _, inlateout("rsi") size => _,
            in("rdx") flags, in("r8") pid, in("r9") socket, in("r10") message,
            lateout("rcx") _, lateout("r11") _,
            options(nostack),
        );
    }
    result
}
