//! ptrace(2): stops a program and all that it starts before and after each of their system calls.
#![allow(dead_code, reason = "each of its users takes a part")]

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus};

/// A thread that is about to make a system call, or has made one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stop {
    pub(crate) pid: i32,
    /// It is the program that was given, not one of its descendants.
    pub(crate) first: bool,
    pub(crate) at: At,
}

/// Where in a system call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum At {
    /// Before it; with its number and its first two arguments.
    Entry(u64, [u64; 2]),
    /// After it.
    Exit,
}

/// What to do at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Then {
    GoOn,
    /// SIGKILL to the program; what it has started goes on, untraced.
    KillFirst,
    /// SIGKILL to the process that has stopped; all go on, untraced.
    KillThis,
    /// The call that is about to be made fails with this errno; then all go on, untraced.
    Fail(i32),
    /// All go on, untraced: nothing more is of interest.
    LetGo,
}

/// Traces threads of other programs until the first of them ends, something is killed or made to fail,
/// or they are let go; and their descendants until they execute something other than hoist-init.
///
/// It does so on a thread of its own: with the end of the tracer everybody is let go. How the first
/// ended is returned if it did: a tracer that is also the parent gets it once.
pub(crate) fn trace(
    program: i32,
    threads: &[i32],
    begin: impl FnOnce() + Send,
    decide: impl FnMut(Stop) -> Then + Send,
) -> Option<ExitStatus> {
    std::thread::scope(|scope| {
        scope.spawn(|| trace_here(program, threads, begin, decide)).join().expect("the tracer")
    })
}

/// Starts a program that is stopped before its first system call: [`trace`] it, and then [`release`] it.
pub(crate) fn start_held(command: &mut Command) -> io::Result<Child> {
    // SAFETY: between fork and exec it makes one plain system call.
    unsafe { command.pre_exec(|| request(libc::PTRACE_TRACEME, 0, 0)) };
    let child = command.spawn()?;
    let pid = i32::try_from(child.id()).map_err(io::Error::other)?;
    let mut status = 0;
    // SAFETY: `status` has room for what is written. It stops as it has executed the program.
    match unsafe { libc::waitpid(pid, &raw mut status, libc::__WALL) } {
        -1 => return Err(io::Error::last_os_error()),
        _ if libc::WIFSTOPPED(status) => {}
        _ => return Err(io::Error::other(format!("status {status:#x} instead of a stop"))),
    }
    // A tracee of this kind would have its children stopped when they are let go; PTRACE_SEIZE's not.
    request(libc::PTRACE_DETACH, pid, i64::from(libc::SIGSTOP))?;
    Ok(child)
}

/// Lets a program go on that was [started held](start_held).
pub(crate) fn release(pid: i32) {
    // SAFETY: plain system call; the process was not yet waited for.
    unsafe { libc::kill(pid, libc::SIGCONT) };
}

fn trace_here(
    program: i32,
    threads: &[i32],
    begin: impl FnOnce(),
    mut decide: impl FnMut(Stop) -> Then,
) -> Option<ExitStatus> {
    let first = threads[0];
    let options = libc::PTRACE_O_TRACESYSGOOD
        | libc::PTRACE_O_TRACECLONE
        | libc::PTRACE_O_TRACEFORK
        | libc::PTRACE_O_TRACEVFORK
        | libc::PTRACE_O_TRACEEXEC;
    for thread in threads {
        request(libc::PTRACE_SEIZE, *thread, i64::from(options)).expect("PTRACE_SEIZE");
        request(libc::PTRACE_INTERRUPT, *thread, 0).expect("PTRACE_INTERRUPT");
    }
    let mut begin = Some(begin);
    let mut failing = None;
    loop {
        let (pid, status) = wait_any().expect("wait for a traced process");
        if !libc::WIFSTOPPED(status) {
            if pid == first {
                return Some(ExitStatus::from_raw(status));
            }
            continue;
        }
        let event = status >> 16;
        let system_call = libc::WSTOPSIG(status) == libc::SIGTRAP | 0x80;
        if event == libc::PTRACE_EVENT_EXEC && !is_init(pid) {
            let _ = request(libc::PTRACE_DETACH, pid, 0);
            continue;
        }
        if system_call {
            let at = position(pid);
            if at == At::Exit
                && let Some((failing, errno)) = failing
                && failing == pid
            {
                let _ = set_result(pid, errno);
                return None;
            }
            let victim = match decide(Stop { pid, first: pid == first, at }) {
                Then::GoOn => None,
                Then::LetGo => return None,
                Then::KillFirst => Some(program),
                Then::KillThis => Some(pid),
                Then::Fail(errno) => {
                    failing = Some((pid, errno));
                    if !takes_effect(at) {
                        let _ = leave_out(pid);
                    }
                    None
                }
            };
            if let Some(victim) = victim {
                // SAFETY: plain system call; the process was not yet waited for.
                unsafe { libc::kill(victim, libc::SIGKILL) };
                return None;
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

/// Where in a system call a stopped thread is.
fn position(pid: i32) -> At {
    let mut info = std::mem::MaybeUninit::<libc::ptrace_syscall_info>::zeroed();
    let size = size_of::<libc::ptrace_syscall_info>();
    // SAFETY: the kernel writes at most `size` bytes to `info`, whose all-zero form is valid. Before
    // a call it is `entry` that it has filled in.
    unsafe {
        libc::ptrace(libc::PTRACE_GET_SYSCALL_INFO, pid, size, info.as_mut_ptr());
        let info = info.assume_init();
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                At::Entry(info.u.entry.nr, [info.u.entry.args[0], info.u.entry.args[1]])
            }
            _ => At::Exit,
        }
    }
}

/// close(2) releases the descriptor also where it fails: so it is made, and only its result changed.
fn takes_effect(at: At) -> bool {
    matches!(at, At::Entry(number, _) if i64::try_from(number) == Ok(libc::SYS_close))
}

/// Whether calls can be made to fail here: how is known for one architecture.
pub(crate) const CAN_FAIL: bool = cfg!(target_arch = "x86_64");

/// A thread that is before a system call makes none: no call has the number -1.
#[cfg(target_arch = "x86_64")]
fn leave_out(pid: i32) -> io::Result<()> {
    poke(pid, std::mem::offset_of!(libc::user_regs_struct, orig_rax), -1)
}

/// What the system call that a thread is after has returned.
#[cfg(target_arch = "x86_64")]
fn set_result(pid: i32, errno: i32) -> io::Result<()> {
    poke(pid, std::mem::offset_of!(libc::user_regs_struct, rax), -i64::from(errno))
}

#[cfg(target_arch = "x86_64")]
fn poke(pid: i32, register: usize, value: i64) -> io::Result<()> {
    let at = std::mem::offset_of!(libc::user, regs) + register;
    // SAFETY: a request that reads and writes no memory of this program.
    match unsafe { libc::ptrace(libc::PTRACE_POKEUSER, pid, at, value) } {
        -1 => Err(io::Error::last_os_error()),
        _ => Ok(()),
    }
}

#[cfg(not(target_arch = "x86_64"))]
fn leave_out(_pid: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(not(target_arch = "x86_64"))]
fn set_result(_pid: i32, _errno: i32) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
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
