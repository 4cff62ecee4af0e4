//! ptrace(2): stops a program and all that it starts before each of their system calls.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;

/// A process that is about to make a system call, or to begin the program it has executed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) pid: i32,
    /// It is the program that was given, not one of its descendants.
    pub(crate) first: bool,
}

/// What to do at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// SIGKILL to the program; what it has started goes on, untraced.
    KillFirst,
    /// SIGKILL to the process that has stopped; all go on, untraced.
    KillThis,
}

/// Traces a thread of another program until it ends or something is killed, and its descendants
/// until they execute something other than hoist-init.
///
/// It does so on a thread of its own: with the end of the tracer everybody is let go.
pub(crate) fn trace(
    program: i32,
    thread: i32,
    begin: impl FnOnce() + Send,
    decide: impl FnMut(Stop) -> Then + Send,
) {
    std::thread::scope(|scope| {
        scope.spawn(|| trace_here(program, thread, begin, decide)).join().expect("the tracer");
    });
}

fn trace_here(
    program: i32,
    first: i32,
    begin: impl FnOnce(),
    mut decide: impl FnMut(Stop) -> Then,
) {
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    request(libc::PTRACE_SEIZE, first, i64::from(options)).expect("PTRACE_SEIZE");
    request(libc::PTRACE_INTERRUPT, first, 0).expect("PTRACE_INTERRUPT");
    let mut begin = Some(begin);
    loop {
        let (pid, status) = wait_any().expect("wait for a traced process");
        if !libc::WIFSTOPPED(status) {
            if pid == first {
                return;
            }
            continue;
        }
        let event = status >> 16;
        let system_call = libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80;
        if event == libc::PTRACE_EVENT_EXEC && !is_init(pid) {
            let _ = request(libc::PTRACE_DETACH, pid, 0);
            continue;
        }
        if system_call && is_entry(pid) {
            let victim = match decide(Stop { pid, first: pid == first }) {
                Then::GoOn => None,
                Then::KillFirst => Some(program),
                Then::KillThis => Some(pid),
            };
            if let Some(victim) = victim {
                // SAFETY: plain system call; the process was not yet waited for.
                unsafe { libc::kill(victim, libc::SIGKILL) };
                return;
            }
        }
        let deliver = if system_call || event != 0 { 0 } else { libc::WSTOPSIG(status) };
        let _ = request(libc::PTRACE_SYSCALL, pid, i64::from(deliver));
        if let Some(begin) = begin.take() {
            begin();
        }
    }
}

fn request(what: u32, pid: i32, data: i64) -> io::Result<()> {
    // SAFETY: these requests read and write no memory of this program.
    match unsafe { libc::ptrace(what, pid, 0usize, data) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

/// True before a system call, false after it.
fn is_entry(pid: i32) -> bool {
    let mut info = std::mem::MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes to `info`, whose all-zero form is valid.
    let op = unsafe {
        libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, info.as_mut_ptr());
        info.assume_init().op
    };
    op == libc::PTRACE_SYSCALL_INFO_ENTRY
}

fn wait_any() -> io::Result<(i32, i32)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` has room for what is written. __WALL: init's exit signal is not always
        // SIGCHLD; __WNOTHREAD: the children of other threads are their own.
        let pid = unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::__WNOTHREAD) };
        match pid {
            -1 => match io::Error::last_os_error() {
                error if error.kind() == io::ErrorKind::Interrupted => {}
                error => return Err(error),
            },
            pid => return Ok((pid, status)),
        }
    }
}

/// Collects every child that has ended; says whether any are left.
pub(crate) fn reap_all() -> bool {
    loop {
        let mut status = 0;
        // SAFETY: `status` has room for what is written.
        match unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) } {
            -1 => return false,
            0 => return true,
            _ => {}
        }
    }
}

fn is_init(pid: i32) -> bool {
    let target = fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    target.to_string_lossy().contains("hoist-init")
}

/// The role and the step that a traced hoist-init is at, as its report page has them.
pub(crate) fn step_of(pid: i32) -> Option<(u32, u32)> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).ok()?;
    let line = maps.lines().find(|line| line.contains("memfd:hoist-report"))?;
    let start = u64::from_str_radix(line.split('-').next()?, 16).ok()?;
    let memory = fs::File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut words = [0u8; 8];
    memory.read_exact_at(&mut words, start).ok()?;
    let word =
        |at: usize| u32::from_le_bytes([words[at], words[at + 1], words[at + 2], words[at + 3]]);
    Some((word(0), word(4)))
}
