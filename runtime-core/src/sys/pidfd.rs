//! How a process ended, asked of its pidfd: waitid(2) and ioctl_pidfd(2).
//!
//! waitid tells the parent, once. A program that embeds this library may ignore SIGCHLD or reap
//! every child itself, and then the parent is told nothing; and other programs than the parent
//! never are. PIDFD_GET_INFO tells everybody who opened the pidfd before the process was reaped,
//! from Linux 6.15 on, but only after that. So waitid is asked first, which reaps, then the
//! pidfd.

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};

use crate::error::{Error, ErrorKind, Result};
use crate::process::Usage;
use crate::sys::last_errno;
use crate::sys::required::PIDFD_SEND_SIGNAL;

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// By exit(2), with this code.
    Exited(u8),
    /// By a signal.
    Signaled { signal: i32, core_dumped: bool },
}

impl End {
    /// The code that shells and runc use: the exit code, or 128 plus the signal.
    pub(crate) fn code(self) -> i32 {
        match self {
            Self::Exited(code) => i32::from(code),
            Self::Signaled { signal, .. } => 128 + signal,
        }
    }

    /// From the encoding of wait(2): `code << 8`, or the signal, with 0x80 for a core dump.
    fn from_status(status: i32) -> Self {
        match status & 0x7f {
            0 => Self::Exited(status.to_le_bytes()[1]),
            signal => Self::Signaled { signal, core_dumped: status & 0x80 != 0 },
        }
    }
}

/// The end of a process, and what it used, which only a parent that reaps it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RawExit {
    pub(crate) end: End,
    pub(crate) usage: Option<Usage>,
}

/// What [`try_wait`] finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waited {
    /// It ended. A child of the caller is reaped by now.
    Exit(RawExit),
    /// It runs. The pidfd is readable (POLLIN) once it ends.
    Running,
    /// It is a zombie, and somebody else's child: how it ended is known once that parent has
    /// reaped it. The pidfd hangs up (POLLHUP) then; it is readable already.
    Unreaped,
}

/// Whether and how a process ended, without blocking.
///
/// # Errors
/// [`ErrorKind::StatusStolen`] if it ended and the kernel doesn't know any more, or won't tell,
/// how.
pub(crate) fn try_wait(pidfd: BorrowedFd<'_>) -> Result<Waited> {
    match waitid(pidfd)? {
        Child::Ended(exit) => return Ok(Waited::Exit(exit)),
        Child::Running => return Ok(Waited::Running),
        Child::NotOurs => {}
    }
    // The events first: what ends after this question answers the next one all the same.
    let ready = ready(pidfd)?;
    match info(pidfd)? {
        Info::Ended(end) => Ok(Waited::Exit(RawExit { end, usage: None })),
        _ if ready.is_empty() => Ok(Waited::Running),
        Info::NotEnded if !ready.contains(PollFlags::HUP) => Ok(Waited::Unreaped),
        Info::NotEnded | Info::Unknown => Err(stolen()),
    }
}

/// Waits until a process has ended, and for an [unreaped](Waited::Unreaped) one until it is
/// reaped.
///
/// # Errors
/// As [`try_wait`].
pub(crate) fn wait(pidfd: BorrowedFd<'_>) -> Result<RawExit> {
    wait_by(pidfd, || try_wait(pidfd))
}

fn wait_by(pidfd: BorrowedFd<'_>, ask: impl Fn() -> Result<Waited>) -> Result<RawExit> {
    loop {
        let events = match ask()? {
            Waited::Exit(exit) => return Ok(exit),
            Waited::Running => PollFlags::IN,
            Waited::Unreaped => PollFlags::empty(), // POLLHUP comes unasked
        };
        let mut fds = [PollFd::from_borrowed_fd(pidfd, events)];
        retry_on_intr(|| poll(&mut fds, None)).map_err(failed)?;
    }
}

/// The end of one process, for threads that wait for it side by side, and for whoever asks again:
/// waitid tells it once, and before Linux 6.15 nobody else does.
#[derive(Debug, Default)]
pub(crate) struct Ending(Mutex<Option<RawExit>>);

impl Ending {
    /// As [`try_wait`].
    pub(crate) fn try_wait(&self, pidfd: BorrowedFd<'_>) -> Result<Waited> {
        // Held while the kernel is asked, so that its answer is written down before the next asks.
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(exit) = *known {
            return Ok(Waited::Exit(exit));
        }
        let waited = try_wait(pidfd)?;
        if let Waited::Exit(exit) = waited {
            *known = Some(exit);
        }
        Ok(waited)
    }

    /// As [`wait`].
    pub(crate) fn wait(&self, pidfd: BorrowedFd<'_>) -> Result<RawExit> {
        wait_by(pidfd, || self.try_wait(pidfd))
    }
}

fn stolen() -> Error {
    Error::new(ErrorKind::StatusStolen, "how the process ended was told to somebody else")
        .with_hint("let hoist reap its processes, or use Linux 6.15, which tells everybody")
}

fn failed(errno: Errno) -> Error {
    Error::system("wait for a process", errno)
}

/// Which events the pidfd has: readable once the process has ended, hung up (since Linux 6.9)
/// once it is reaped.
fn ready(pidfd: BorrowedFd<'_>) -> Result<PollFlags> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))).map_err(failed)?;
    Ok(fds.first().map_or(PollFlags::empty(), PollFd::revents))
}

/// What waitid(2) says.
enum Child {
    Ended(RawExit),
    Running,
    /// Not the caller's child, or not any more.
    NotOurs,
}

fn waitid(pidfd: BorrowedFd<'_>) -> Result<Child> {
    // SAFETY: siginfo_t is plain data, for which zeros are a value.
    let mut signal: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: likewise.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // __WALL: also children whose exit sends no SIGCHLD.
    let options = libc::WEXITED | libc::WNOHANG | libc::__WALL;
    // SAFETY: the system call, as waitid(2) describes it under "C library/kernel differences",
    // writes to the two structures, which are the kernel's own and live until it returns.
    let result = unsafe {
        libc::syscall(
            libc::SYS_waitid,
            libc::P_PIDFD,
            pidfd.as_raw_fd(),
            &raw mut signal,
            options,
            &raw mut usage,
        )
    };
    if result < 0 {
        return match last_errno() {
            Errno::CHILD => Ok(Child::NotOurs),
            errno => Err(failed(errno)),
        };
    }
    // SAFETY: waitid sets si_pid and si_status, or leaves both zero where nothing has ended.
    let (pid, status) = unsafe { (signal.si_pid(), signal.si_status()) };
    if pid == 0 {
        return Ok(Child::Running);
    }
    let end = match signal.si_code {
        libc::CLD_EXITED => End::from_status(status << 8),
        code => End::Signaled { signal: status, core_dumped: code == libc::CLD_DUMPED },
    };
    let usage = Usage {
        user: duration(usage.ru_utime),
        system: duration(usage.ru_stime),
        max_rss: u64::try_from(usage.ru_maxrss).unwrap_or(0).saturating_mul(1024),
    };
    Ok(Child::Ended(RawExit { end, usage: Some(usage) }))
}

fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::from_secs(seconds) + Duration::from_micros(u64::try_from(time.tv_usec).unwrap_or(0))
}

/// What PIDFD_GET_INFO says.
enum Info {
    Ended(End),
    /// The process exists, perhaps as a zombie.
    NotEnded,
    /// The process is gone, or the kernel is too old for the question (it came with Linux 6.13,
    /// the answer with 6.15).
    Unknown,
}

fn info(pidfd: BorrowedFd<'_>) -> Result<Info> {
    // SAFETY: pidfd_info is plain data, for which zeros are a value.
    let mut info: libc::pidfd_info = unsafe { std::mem::zeroed() };
    info.mask = u64::from(libc::PIDFD_INFO_EXIT);
    // SAFETY: the request's number holds the size of the structure, so the kernel writes no more
    // than that; it lives until the call returns.
    let result = unsafe { libc::ioctl(pidfd.as_raw_fd(), libc::PIDFD_GET_INFO, &raw mut info) };
    if result < 0 {
        return match last_errno() {
            Errno::NOTTY | Errno::INVAL | Errno::OPNOTSUPP | Errno::SRCH => Ok(Info::Unknown),
            errno => Err(failed(errno)),
        };
    }
    if info.mask & u64::from(libc::PIDFD_INFO_EXIT) == 0 {
        return Ok(Info::NotEnded);
    }
    Ok(Info::Ended(End::from_status(info.exit_code)))
}

/// pidfd_send_signal(2) with any signal, real-time ones included, which `rustix` has no safe type
/// for.
///
/// # Errors
/// [`ErrorKind::WrongState`] if the process has ended.
pub(crate) fn send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> Result<()> {
    // SAFETY: no memory is passed but a null pointer, which means: as kill(2) does it.
    let result = unsafe {
        libc::syscall(
            libc::SYS_pidfd_send_signal,
            pidfd.as_raw_fd(),
            signal,
            std::ptr::null::<libc::siginfo_t>(),
            0,
        )
    };
    if result == 0 {
        return Ok(());
    }
    Err(match last_errno() {
        // runc's wording.
        Errno::SRCH => Error::new(ErrorKind::WrongState, "container not running"),
        errno => Error::system(format!("send signal {signal}"), errno).needs(PIDFD_SEND_SIGNAL),
    })
}

/// Waits until a process has ended, and collects it if it is the caller's child. Nobody else's
/// program has to reap it for that.
pub(crate) fn wait_end(pidfd: BorrowedFd<'_>) -> Result<()> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    retry_on_intr(|| poll(&mut fds, None)).map_err(failed)?;
    // Whatever the answer: it is gone, and no zombie of ours is left.
    let _ = waitid(pidfd);
    Ok(())
}

/// [`wait_end`] with a bound; false if it was still not the end then.
pub(crate) fn wait_end_within(pidfd: BorrowedFd<'_>, bound: Duration) -> Result<bool> {
    let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
    let bound = Timespec::try_from(bound).unwrap_or_default();
    match poll(&mut fds, Some(&bound)) {
        Ok(0) | Err(Errno::INTR) => Ok(false),
        Ok(_) => {
            let _ = waitid(pidfd); // as above
            Ok(true)
        }
        Err(errno) => Err(failed(errno)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::os::fd::{AsFd, OwnedFd};
    use std::process::{Child, Command, Stdio};

    use rustix::process::{Pid, PidfdFlags, Signal};

    use super::*;

    fn pid_of(child: &Child) -> Pid {
        Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap()
    }

    fn pidfd(pid: Pid) -> OwnedFd {
        rustix::process::pidfd_open(pid, PidfdFlags::empty()).unwrap()
    }

    /// A shell that does `script` and a pidfd of it.
    fn shell(script: &str) -> (Child, OwnedFd) {
        let child = Command::new("sh")
            .args(["-c", script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let fd = pidfd(pid_of(&child));
        (child, fd)
    }

    /// The shell's child, whose number it prints, with a pidfd.
    fn grandchild(child: &mut Child) -> OwnedFd {
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        pidfd(Pid::from_raw(line.trim().parse().unwrap()).unwrap())
    }

    /// From Linux 6.15 on the kernel tells everybody.
    fn kernel_tells() -> bool {
        let release = rustix::system::uname().release().to_string_lossy().into_owned();
        let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
        let tells = (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 15);
        if !tells {
            eprintln!("in part: Linux {release} doesn't keep the exit status");
        }
        tells
    }

    fn assert_told(result: Result<RawExit>, end: End) {
        if kernel_tells() {
            assert_eq!(result.unwrap(), RawExit { end, usage: None });
        } else {
            assert_eq!(result.unwrap_err().kind(), ErrorKind::StatusStolen);
        }
    }

    #[test]
    fn statuses_are_decoded() {
        assert_eq!(End::from_status(0), End::Exited(0));
        assert_eq!(End::from_status(0xff00), End::Exited(255));
        assert_eq!(End::from_status(9), End::Signaled { signal: 9, core_dumped: false });
        assert_eq!(End::from_status(0x8b), End::Signaled { signal: 11, core_dumped: true });
        assert_eq!(End::from_status(9).code(), 137);
        assert_eq!(End::Exited(3).code(), 3);
    }

    #[test]
    fn threads_that_wait_side_by_side_are_all_told() {
        for _ in 0..20 {
            let (_child, fd) = shell("exit 7");
            let ending = Ending::default();
            std::thread::scope(|scope| {
                let wait = || ending.wait(fd.as_fd()).unwrap();
                let waiters = [0; 4].map(|_| scope.spawn(wait));
                for waiter in waiters {
                    let exit = waiter.join().unwrap();
                    assert_eq!(exit.end, End::Exited(7));
                    // waitid's own answer, which has more than the pidfd's.
                    assert!(exit.usage.is_some());
                }
            });
        }
    }

    #[test]
    fn a_child_is_reaped() {
        for code in [0, 3, 255] {
            let (_child, fd) = shell(&format!("exit {code}"));
            let exit = wait(fd.as_fd()).unwrap();
            assert_eq!(exit.end, End::Exited(code));
            assert!(exit.usage.unwrap().max_rss > 0);
        }
        let (_child, fd) = shell("kill -TERM $$");
        let end = wait(fd.as_fd()).unwrap().end;
        assert_eq!(end, End::Signaled { signal: 15, core_dumped: false });
    }

    #[test]
    fn a_running_child_is_not_waited_for() {
        let (_child, fd) = shell("exec sleep 60");
        assert_eq!(try_wait(fd.as_fd()).unwrap(), Waited::Running);
        rustix::process::pidfd_send_signal(&fd, Signal::KILL).unwrap();
        let end = wait(fd.as_fd()).unwrap().end;
        assert_eq!(end, End::Signaled { signal: 9, core_dumped: false });
    }

    #[test]
    fn a_child_that_was_reaped_by_somebody_else_is_known() {
        let (mut child, fd) = shell("exit 7");
        child.wait().unwrap();
        assert_told(wait(fd.as_fd()), End::Exited(7));
        // And again, as often as one asks.
        assert_told(wait(fd.as_fd()), End::Exited(7));
    }

    #[test]
    fn somebody_elses_child_is_known() {
        let (mut parent, _fd) = shell("exec 3<&0; (read x <&3; exit 7) & echo $!; wait");
        let fd = grandchild(&mut parent);
        assert_eq!(try_wait(fd.as_fd()).unwrap(), Waited::Running);
        drop(parent.stdin.take());
        assert_told(wait(fd.as_fd()), End::Exited(7));
        parent.wait().unwrap();
    }

    #[test]
    fn an_unreaped_zombie_is_waited_for_until_it_is_reaped() {
        if !kernel_tells() {
            return;
        }
        // The inner shell becomes a sleep(1), which reaps no one.
        let (mut parent, _fd) = shell("exec 3<&0; (read x <&3; exit 7) & echo $!; exec sleep 60");
        let fd = grandchild(&mut parent);
        drop(parent.stdin.take());
        poll(&mut [PollFd::new(&fd, PollFlags::IN)], None).unwrap();
        assert_eq!(try_wait(fd.as_fd()).unwrap(), Waited::Unreaped);
        parent.kill().unwrap();
        parent.wait().unwrap();
        // Now it is the child of the nearest subreaper, or of process 1.
        assert_told(wait(fd.as_fd()), End::Exited(7));
    }

    #[test]
    fn ignoring_sigchld_loses_nothing() {
        // The disposition is the whole process's: so this needs one of its own.
        let name =
            format!("{}::inner_ignoring_sigchld", module_path!().split_once("::").unwrap().1);
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &name, "--ignored", "--nocapture"])
            .env("HOIST_TEST_INNER", "1")
            .output()
            .unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    #[test]
    #[ignore = "run by ignoring_sigchld_loses_nothing"]
    fn inner_ignoring_sigchld() {
        if std::env::var_os("HOIST_TEST_INNER").is_none() {
            return;
        }
        // SAFETY: SIG_IGN is a valid disposition of SIGCHLD, and this process is the test's own.
        unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
        let (mut child, fd) = shell("read x; exit 7");
        assert_eq!(try_wait(fd.as_fd()).unwrap(), Waited::Running);
        drop(child.stdin.take());
        assert_told(wait(fd.as_fd()), End::Exited(7));
    }

    #[test]
    fn what_is_no_pidfd_is_an_error() {
        let file = std::fs::File::open("/dev/null").unwrap();
        assert_eq!(wait(file.as_fd()).unwrap_err().kind(), ErrorKind::System);
    }
}
