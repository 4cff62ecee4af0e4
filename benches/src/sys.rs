//! System calls that neither the standard library nor rustix has a safe form of.

use std::io;
use std::mem::MaybeUninit;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, ExitStatus};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::time::Duration;

/// What a process has used, with all the children that it has waited for (wait4(2), getrusage(2)).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Usage {
    pub(crate) user: Duration,
    pub(crate) system: Duration,
    pub(crate) peak_rss_kib: u64,
}

/// Waits for a child.
pub(crate) fn wait(pid: u32) -> io::Result<(ExitStatus, Usage)> {
    let pid = i32::try_from(pid).map_err(io::Error::other)?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    loop {
        // SAFETY: both are written by the kernel, and large enough for what it writes.
        let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
        if ended == pid {
            break;
        }
        let error = io::Error::last_os_error();
        if error.kind() != io::ErrorKind::Interrupted {
            return Err(error);
        }
    }
    // SAFETY: all-zero is a valid rusage, and the kernel has filled it in.
    let usage = unsafe { usage.assume_init() };
    let duration = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
        Duration::from_secs(seconds)
            + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or_default())
    };
    let usage = Usage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        peak_rss_kib: u64::try_from(usage.ru_maxrss).unwrap_or_default(),
    };
    Ok((ExitStatus::from_raw(status), usage))
}

/// Has a command started by fork(2) in place of vfork(2).
///
/// Up to its execve(2) a child counts the memory of the process that it runs in as its own: after
/// vfork that is all of ours, and its peak is never less. A forked child begins with the pages that
/// were copied for it.
pub(crate) fn forked(command: &mut Command) -> &mut Command {
    // SAFETY: the closure does nothing. (With one the standard library doesn't use vfork.)
    unsafe { command.pre_exec(|| Ok(())) }
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);
/// The process that signals are passed on to; 0 is none.
static HEIR: AtomicI32 = AtomicI32::new(0);

/// Whether somebody wants this program to end.
pub(crate) fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

/// Runs a command that is told when somebody wants this program to end.
pub(crate) fn run_as_heir(command: &mut Command) -> io::Result<ExitStatus> {
    let mut child = command.spawn()?;
    HEIR.store(i32::try_from(child.id()).map_err(io::Error::other)?, Ordering::SeqCst);
    if interrupted() {
        pass_on(libc::SIGTERM);
    }
    let status = child.wait();
    HEIR.store(0, Ordering::SeqCst);
    status
}

/// From now on a signal that would end this program is remembered, so that it can clean up first.
pub(crate) fn remember_signals() {
    extern "C" fn remember(signal: libc::c_int) {
        INTERRUPTED.store(true, Ordering::SeqCst);
        pass_on(signal);
    }
    let handler: extern "C" fn(libc::c_int) = remember;
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: the handler stores to atomics and calls kill(2), which it may (signal-safety(7)); the
        // action is all zero but for what is set.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction = handler as libc::sighandler_t;
            action.sa_flags = libc::SA_RESTART;
            libc::sigaction(signal, &raw const action, std::ptr::null_mut());
        }
    }
}

fn pass_on(signal: libc::c_int) {
    let heir = HEIR.load(Ordering::SeqCst);
    if heir > 0 {
        // SAFETY: kill(2) touches no memory of ours.
        unsafe { libc::kill(heir, signal) };
    }
}
