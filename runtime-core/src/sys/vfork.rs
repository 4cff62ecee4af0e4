//! Starting init: clone3(2) like vfork(2), then execveat(2), in a few instructions.
//!
//! The child shares the caller's memory until it has executed init, and the calling thread sleeps
//! meanwhile. It runs nothing but the assembly below: no allocator, no lock, no destructor, no
//! signal handler. So it works from any thread of any program, and costs the same with 1 MB and
//! with 100 GB resident.

use std::ffi::CStr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

/// `struct clone_args`, clone3(2), as far as it is used here.
#[repr(C)]
#[derive(Default)]
struct CloneArgs {
    flags: u64,
    pidfd: u64,
    child_tid: u64,
    parent_tid: u64,
    exit_signal: u64,
    stack: u64,
    stack_size: u64,
    tls: u64,
}

/// Everything the child needs, laid out for the assembly.
#[repr(C)]
struct Stub {
    /// Source descriptors; the child overwrites each with its duplicate.
    fds: *mut RawFd,
    count: u64,
    image: u64,
    argv: *const *const libc::c_char,
    envp: *const *const libc::c_char,
    empty: *const libc::c_char,
    /// The child's failure, as the kernel's negative number.
    error: i64,
}

/// A child that is not collected yet: so its pid is nobody else's.
#[derive(Debug)]
pub(crate) struct Child {
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// Starts the program behind `image` with the given descriptors as its numbers 0, 1, 2 …; all
/// others are closed. `arguments` are its argv; its environment is empty.
///
/// All signals are blocked in the new process, and handled ones have their default disposition.
///
/// # Errors
/// The errno of clone3(2), or of what the child did: fcntl(2), dup3(2), close_range(2) or
/// execveat(2).
pub(crate) fn spawn(
    image: BorrowedFd<'_>,
    fds: &[BorrowedFd<'_>],
    arguments: &[&CStr],
) -> Result<Child, Errno> {
    let mut sources: Vec<RawFd> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let argv: Vec<*const libc::c_char> =
        arguments.iter().map(|a| a.as_ptr()).chain([std::ptr::null()]).collect();
    let envp = [std::ptr::null()];
    let mut pidfd: RawFd = -1;
    let arguments = CloneArgs {
        flags: (libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD) as u64
            | CLONE_CLEAR_SIGHAND,
        pidfd: &raw mut pidfd as u64,
        ..CloneArgs::default()
    };
    let mut stub = Stub {
        fds: sources.as_mut_ptr(),
        count: sources.len() as u64,
        image: u64::from(image.as_raw_fd().cast_unsigned()),
        argv: argv.as_ptr(),
        envp: envp.as_ptr(),
        empty: c"".as_ptr(),
        error: 0,
    };
    let blocked = BlockedSignals::new();
    // SAFETY: both structures live in this frame, which sleeps until the child has gone its way.
    let result = unsafe { clone_and_exec(&arguments, &mut stub) };
    drop(blocked);
    if let Ok(errno) = i32::try_from(-result)
        && errno > 0
    {
        return Err(Errno::from_raw_os_error(errno));
    }
    // SAFETY: the kernel has just stored a new descriptor there, close-on-exec.
    let pidfd = unsafe { OwnedFd::from_raw_fd(pidfd) };
    // SAFETY: a plain read; the compiler must not assume that the field is as it was.
    let error = unsafe { (&raw const stub.error).read_volatile() };
    if error == 0 {
        // It is positive, as it is no error.
        return Ok(Child { pid: u32::try_from(result).unwrap_or_default(), pidfd });
    }
    reap(&pidfd);
    Err(Errno::from_raw_os_error(i32::try_from(-error).unwrap_or(libc::EINVAL)))
}

/// Handled signals get their default disposition in the child, clone3(2).
const CLONE_CLEAR_SIGHAND: u64 = 0x1_0000_0000;

/// Collects a child that never became init; its exit signal is 0, hence `__WALL`.
fn reap(pidfd: &OwnedFd) {
    let mut info = std::mem::MaybeUninit::<libc::siginfo_t>::uninit();
    // SAFETY: `info` has room for what waitid(2) writes.
    unsafe {
        libc::waitid(
            libc::P_PIDFD,
            pidfd.as_raw_fd().cast_unsigned(),
            info.as_mut_ptr(),
            libc::WEXITED | libc::__WALL,
        );
    }
}

/// All signals are blocked in the calling thread while this lives: no handler may run in the
/// child, which shares our memory.
pub(crate) struct BlockedSignals(libc::sigset_t);

impl BlockedSignals {
    pub(crate) fn new() -> Self {
        let mut all = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        let mut before = std::mem::MaybeUninit::<libc::sigset_t>::zeroed();
        // SAFETY: sigfillset(3) initializes `all`, pthread_sigmask(3) fills `before`; both can
        // only fail for a bad pointer or operation.
        unsafe {
            libc::sigfillset(all.as_mut_ptr());
            libc::pthread_sigmask(libc::SIG_SETMASK, all.as_ptr(), before.as_mut_ptr());
            Self(before.assume_init())
        }
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // SAFETY: the mask that pthread_sigmask(3) gave.
        unsafe {
            libc::pthread_sigmask(libc::SIG_SETMASK, &raw const self.0, std::ptr::null_mut());
        }
    }
}

/// clone3, and in the child: every descriptor out of the way (F_DUPFD from `count` on), then into
/// its place (dup3), the rest close-on-exec (close_range), execveat. The result is that of clone3
/// in the parent; a failure in the child goes to `stub.error`.
///
/// # Safety
/// `arguments` must ask for CLONE_VM | CLONE_VFORK and no stack; `stub`'s pointers must be valid.
#[cfg(target_arch = "x86_64")]
unsafe fn clone_and_exec(arguments: &CloneArgs, stub: &mut Stub) -> i64 {
    let result: i64;
    // SAFETY: the child only makes system calls and writes to `stub` and `stub.fds`; it never
    // touches the stack, which it shares with this sleeping thread, and never gets to the end.
    unsafe {
        std::arch::asm!(
            "syscall",
            "test rax, rax",
            "jnz 9f",
            "mov r12, [r15]",          // fds
            "mov r13, [r15 + 8]",      // count
            "xor r14d, r14d",
            "2:",
            "cmp r14, r13",
            "jae 3f",
            "mov edi, [r12 + r14*4]",
            "xor esi, esi",            // F_DUPFD
            "mov edx, r13d",
            "mov eax, {fcntl}",
            "syscall",
            "test rax, rax",
            "js 8f",
            "mov [r12 + r14*4], eax",
            "inc r14",
            "jmp 2b",
            "3:",
            "mov edi, [r15 + 16]",     // image
            "xor esi, esi",
            "mov edx, r13d",
            "mov eax, {fcntl}",
            "syscall",
            "test rax, rax",
            "js 8f",
            "mov [r15 + 16], rax",
            "xor r14d, r14d",
            "4:",
            "cmp r14, r13",
            "jae 5f",
            "mov edi, [r12 + r14*4]",
            "mov esi, r14d",
            "xor edx, edx",
            "mov eax, {dup3}",
            "syscall",
            "test rax, rax",
            "js 8f",
            "inc r14",
            "jmp 4b",
            "5:",
            "mov edi, r13d",
            "mov esi, -1",
            "mov edx, {cloexec}",
            "mov eax, {close_range}",
            "syscall",
            "test rax, rax",
            "js 8f",
            "mov edi, [r15 + 16]",
            "mov rsi, [r15 + 40]",     // ""
            "mov rdx, [r15 + 24]",     // argv
            "mov r10, [r15 + 32]",     // envp
            "mov r8d, {at_empty_path}",
            "mov eax, {execveat}",
            "syscall",
            "8:",
            "mov [r15 + 48], rax",
            "mov edi, 127",
            "mov eax, {exit_group}",
            "syscall",
            "ud2",
            "9:",
            fcntl = const libc::SYS_fcntl,
            dup3 = const libc::SYS_dup3,
            close_range = const libc::SYS_close_range,
            execveat = const libc::SYS_execveat,
            exit_group = const libc::SYS_exit_group,
            cloexec = const 4,
            at_empty_path = const libc::AT_EMPTY_PATH,
            inlateout("rax") libc::SYS_clone3 => result,
            inlateout("rdi") std::ptr::from_ref(arguments) => _,
            inlateout("rsi") size_of::<CloneArgs>() => _,
            in("r15") std::ptr::from_mut(stub),
            lateout("rdx") _, lateout("r8") _, lateout("r10") _,
            lateout("rcx") _, lateout("r11") _,
            lateout("r12") _, lateout("r13") _, lateout("r14") _,
            options(nostack),
        );
    }
    result
}

/// As on x86_64; see there.
///
/// # Safety
/// `arguments` must ask for CLONE_VM | CLONE_VFORK and no stack; `stub`'s pointers must be valid.
#[cfg(target_arch = "aarch64")]
unsafe fn clone_and_exec(arguments: &CloneArgs, stub: &mut Stub) -> i64 {
    let result: i64;
    // SAFETY: as on x86_64.
    unsafe {
        std::arch::asm!(
            "svc #0",
            "cbnz x0, 9f",
            "ldp x21, x22, [x20]",     // fds, count
            "mov x23, #0",
            "2:",
            "cmp x23, x22",
            "b.hs 3f",
            "ldr w0, [x21, x23, lsl #2]",
            "mov x1, #0",              // F_DUPFD
            "mov x2, x22",
            "mov x8, #{fcntl}",
            "svc #0",
            "tbnz x0, #63, 8f",
            "str w0, [x21, x23, lsl #2]",
            "add x23, x23, #1",
            "b 2b",
            "3:",
            "ldr x0, [x20, #16]",      // image
            "mov x1, #0",
            "mov x2, x22",
            "mov x8, #{fcntl}",
            "svc #0",
            "tbnz x0, #63, 8f",
            "str x0, [x20, #16]",
            "mov x23, #0",
            "4:",
            "cmp x23, x22",
            "b.hs 5f",
            "ldr w0, [x21, x23, lsl #2]",
            "mov x1, x23",
            "mov x2, #0",
            "mov x8, #{dup3}",
            "svc #0",
            "tbnz x0, #63, 8f",
            "add x23, x23, #1",
            "b 4b",
            "5:",
            "mov x0, x22",
            "mov w1, #-1",
            "mov x2, #{cloexec}",
            "mov x8, #{close_range}",
            "svc #0",
            "tbnz x0, #63, 8f",
            "ldr x0, [x20, #16]",
            "ldr x1, [x20, #40]",      // ""
            "ldr x2, [x20, #24]",      // argv
            "ldr x3, [x20, #32]",      // envp
            "mov x4, #{at_empty_path}",
            "mov x8, #{execveat}",
            "svc #0",
            "8:",
            "str x0, [x20, #48]",
            "mov x0, #127",
            "mov x8, #{exit_group}",
            "svc #0",
            "brk #1",
            "9:",
            fcntl = const libc::SYS_fcntl,
            dup3 = const libc::SYS_dup3,
            close_range = const libc::SYS_close_range,
            execveat = const libc::SYS_execveat,
            exit_group = const libc::SYS_exit_group,
            cloexec = const 4,
            at_empty_path = const libc::AT_EMPTY_PATH,
            in("x8") libc::SYS_clone3,
            inlateout("x0") std::ptr::from_ref(arguments) => result,
            inlateout("x1") size_of::<CloneArgs>() => _,
            in("x20") std::ptr::from_mut(stub),
            lateout("x2") _, lateout("x3") _, lateout("x4") _,
            lateout("x21") _, lateout("x22") _, lateout("x23") _,
            options(nostack),
        );
    }
    result
}
