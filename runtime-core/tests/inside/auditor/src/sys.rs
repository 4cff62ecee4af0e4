//! The system calls that the auditor makes. The only `unsafe` here, with `freestanding.rs`.

use core::ffi::CStr;

#[cfg(target_arch = "aarch64")]
#[path = "../../../../init/src/sys/aarch64.rs"]
mod arch;
#[cfg(target_arch = "x86_64")]
#[path = "../../../../init/src/sys/x86_64.rs"]
mod arch;

/// With the numbers that init doesn't need.
pub(crate) mod nr {
    pub(crate) use super::arch::nr::*;
    const X86_64: bool = cfg!(target_arch = "x86_64");
    pub(crate) const FCNTL: usize = if X86_64 { 72 } else { 25 };
    pub(crate) const SETITIMER: usize = if X86_64 { 38 } else { 103 };
    pub(crate) const CLONE: usize = if X86_64 { 56 } else { 220 };
    pub(crate) const WAIT4: usize = if X86_64 { 61 } else { 260 };
    pub(crate) const KILL: usize = if X86_64 { 62 } else { 129 };
    pub(crate) const PTRACE: usize = if X86_64 { 101 } else { 117 };
    pub(crate) const GETPID: usize = if X86_64 { 39 } else { 172 };
}

pub(crate) const O_RDONLY: u32 = 0;
pub(crate) const O_WRONLY: u32 = 1;
pub(crate) const O_RDWR: u32 = 2;
pub(crate) const O_CREAT_EXCL: u32 = 0o300;
pub(crate) const O_NONBLOCK: u32 = 0o4000;
pub(crate) const O_NOCTTY: u32 = 0o400;
const O_CLOEXEC: u32 = 0o2_000_000;
/// __WALL, wait(2).
const WALL: usize = 0x4000_0000;
const AT_FDCWD: usize = -100isize as usize;

/// Makes any system call with any arguments: whatever it does, it does to this process, which is
/// made for that.
#[inline(always)]
pub(crate) fn raw(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments;
    // SAFETY: all that this program has in memory may be lost. The addresses that it passes
    // itself are of buffers that live through the call.
    unsafe { arch::syscall6(number, a, b, c, d, e, f) }
}

/// The same through the 32-bit interface, `int 0x80`.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
pub(crate) fn raw32(number: usize, arguments: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = arguments.map(|argument| argument as u32 as u64);
    let result: u64;
    // SAFETY: as for `raw`. rbx and rbp, which the compiler keeps for itself, are put back, from
    // registers: after vfork(2) the stack may have been used by the child.
    unsafe {
        core::arch::asm!(
            "mov r12, rbx", "mov r13, rbp",
            "mov rbx, r15", "mov rbp, r14",
            "int 0x80",
            "mov rbp, r13", "mov rbx, r12",
            out("r12") _, out("r13") _, in("r14") f, in("r15") a,
            inlateout("rax") number as u64 => result,
            in("rcx") b, in("rdx") c, in("rsi") d, in("rdi") e,
            lateout("r8") _, lateout("r9") _, lateout("r10") _, lateout("r11") _,
        );
    }
    result as u32 as i32 as isize
}

#[cfg(not(target_arch = "x86_64"))]
pub(crate) fn raw32(_: usize, _: [usize; 6]) -> isize {
    -38
}

/// An errno.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Errno(pub(crate) isize);

pub(crate) type Result<T = usize> = core::result::Result<T, Errno>;

macro_rules! call {
    ($number:ident $(, $argument:expr)*) => {{
        let mut six = [0usize; 6];
        for (slot, argument) in six.iter_mut().zip([$($argument as usize),*]) {
            *slot = argument;
        }
        match raw(nr::$number, six) {
            error if error < 0 => Err(Errno(-error)),
            value => Ok(value as usize),
        }
    }};
}

pub(crate) fn open(path: &CStr, flags: u32) -> Result {
    call!(OPENAT, AT_FDCWD, path.as_ptr(), flags | O_CLOEXEC, 0o600)
}

pub(crate) fn close(fd: usize) {
    let _ = call!(CLOSE, fd);
}

pub(crate) fn read(fd: usize, buffer: &mut [u8]) -> Result<&[u8]> {
    let length = call!(READ, fd, buffer.as_mut_ptr(), buffer.len())?;
    Ok(&buffer[..length])
}

pub(crate) fn write(fd: usize, bytes: &[u8]) -> Result {
    call!(WRITE, fd, bytes.as_ptr(), bytes.len())
}

pub(crate) fn unlink(path: &CStr) {
    let _ = call!(UNLINKAT, AT_FDCWD, path.as_ptr(), 0);
}

pub(crate) fn getdents<'a>(fd: usize, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let length = call!(GETDENTS64, fd, buffer.as_mut_ptr(), buffer.len())?;
    Ok(&buffer[..length])
}

pub(crate) fn readlink<'a>(path: &CStr, buffer: &'a mut [u8]) -> Result<&'a [u8]> {
    let length = call!(READLINKAT, AT_FDCWD, path.as_ptr(), buffer.as_mut_ptr(), buffer.len())?;
    Ok(&buffer[..length])
}

/// `struct statx`, statx(2).
pub(crate) fn statx(path: &CStr, buffer: &mut [u8; 256]) -> Result {
    const AT_SYMLINK_NOFOLLOW: usize = 0x100;
    const STATX_BASIC_STATS: usize = 0x7ff;
    let flags = AT_SYMLINK_NOFOLLOW;
    call!(STATX, AT_FDCWD, path.as_ptr(), flags, STATX_BASIC_STATS, buffer.as_mut_ptr())
}

/// True if a descriptor is open.
pub(crate) fn is_open(fd: usize) -> bool {
    const F_GETFD: usize = 1;
    call!(FCNTL, fd, F_GETFD).is_ok()
}

/// A number for each system call, that a child can write and its parent can read.
pub(crate) struct Shared(*mut isize);

impl Shared {
    pub(crate) const SLOTS: usize = 2048;

    pub(crate) fn new() -> Result<Self> {
        const READ_WRITE: usize = 3;
        const SHARED_ANONYMOUS: usize = 0x21;
        let address = call!(MMAP, 0, Self::SLOTS * 8, READ_WRITE, SHARED_ANONYMOUS, usize::MAX, 0)?;
        Ok(Self(address as *mut isize))
    }

    pub(crate) fn set(&self, slot: usize, value: isize) {
        // SAFETY: within the mapping, which is never undone.
        unsafe { self.0.add(slot % Self::SLOTS).write_volatile(value) }
    }

    pub(crate) fn get(&self, slot: usize) -> isize {
        // SAFETY: within the mapping, which is never undone.
        unsafe { self.0.add(slot % Self::SLOTS).read_volatile() }
    }
}

/// fork(2): 0 in the child.
#[inline(always)]
pub(crate) fn fork() -> Result {
    const SIGCHLD: usize = 17;
    call!(CLONE, SIGCHLD)
}

/// The status of a child that has ended.
pub(crate) fn wait(pid: usize) -> Result<i32> {
    let mut status = 0i32;
    call!(WAIT4, pid, &raw mut status, 0, 0)?;
    Ok(status)
}

/// SIGALRM ends a process that sleeps, and nothing is left of one that dies.
pub(crate) fn be_mortal() {
    const PR_SET_DUMPABLE: usize = 4;
    let in_200_ms = [0usize, 0, 0, 200_000];
    let _ = call!(SETITIMER, 0, in_200_ms.as_ptr(), 0);
    let _ = call!(PRCTL, PR_SET_DUMPABLE, 0, 0, 0, 0);
}

pub(crate) fn kill(pid: usize) -> Result {
    const SIGKILL: usize = 9;
    call!(KILL, pid, SIGKILL)
}

/// PTRACE_SEIZE; then the process is let go again, which it has to be stopped for.
pub(crate) fn seize(pid: usize) -> Result {
    const PTRACE_SEIZE: usize = 0x4206;
    const PTRACE_INTERRUPT: usize = 0x4207;
    const PTRACE_DETACH: usize = 17;
    let seized = call!(PTRACE, PTRACE_SEIZE, pid, 0, 0)?;
    let _ = call!(PTRACE, PTRACE_INTERRUPT, pid, 0, 0);
    // It stops, or it has ended: so does the wait.
    let _ = call!(WAIT4, pid, 0, WALL, 0);
    let _ = call!(PTRACE, PTRACE_DETACH, pid, 0, 0);
    Ok(seized)
}

pub(crate) fn pid() -> usize {
    call!(GETPID).unwrap_or(0)
}

/// Until a signal comes.
pub(crate) fn sleep() {
    let _ = call!(PPOLL, 0, 0, 0, 0, 0);
}

pub(crate) fn exit(code: i32) -> ! {
    loop {
        let _ = call!(EXIT_GROUP, code);
    }
}

/// The argument with this number, 0 being the program's name, from the stack as the kernel made it.
pub(crate) fn argument(stack: *const usize, index: usize) -> Option<&'static CStr> {
    // SAFETY: the kernel put argc there, and argc pointers to strings that live as long as the
    // process.
    unsafe { (index < *stack).then(|| CStr::from_ptr(*stack.add(1 + index) as *const _)) }
}
