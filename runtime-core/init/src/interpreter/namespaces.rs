//! Namespaces, the clone of inner, and the conversation with the library.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;

use super::{At, Fail, Init, Outcome, console, credentials};
use crate::page::{
    MAP_RECURSIVE, MSG_CLONED, MSG_CREATED, MSG_LEN, MSG_MAP_IDS, MSG_PAGE, MSG_SYNC, Op, Page,
    REPLY_COMMIT, REPLY_GO, REPLY_START, ROLE_INNER, Sync,
};
use crate::sys::{
    self, AT_FDCWD, CLONE_INTO_CGROUP, CLONE_NEWPID, CLONE_NEWTIME, CLONE_PARENT,
    CLONE_PARENT_SETTID, CLONE_PIDFD, CLONE_VM, CloneArgs, Control, EINTR, ENOSYS, EOPNOTSUPP,
    EPROTO, Errno, Fd, IfReq, O_WRONLY,
};
use crate::wire::Reg;

/// What ends a created container: SIGHUP, SIGINT, SIGQUIT and SIGTERM, signal(7).
const ENDING_SIGNALS: u64 = 1 | 1 << 1 | 1 << 2 | 1 << 14;
/// The interface is up, netdevice(7).
const IFF_UP: u16 = 1;

/// A time namespace for the children; its offsets can be set until something is in it.
pub(super) fn unshare_time(offsets: &CStr) -> Outcome {
    sys::unshare(CLONE_NEWTIME).at(Op::Unshare)?;
    if offsets.is_empty() {
        return Ok(());
    }
    let file = sys::openat(AT_FDCWD, c"/proc/self/timens_offsets", O_WRONLY, 0).at(Op::Open)?;
    sys::write(file.raw(), offsets.to_bytes()).at(Op::Write).map(drop)
}

/// KEY_POS_ALL with KEY_USR_VIEW, READ, LINK, as the kernel makes a session keyring, and with
/// KEY_USR_SEARCH: a process that joins the container later finds it by its name, keyctl(2).
const KEYRING_PERMISSIONS: u32 = 0x3f1b_0000;

pub(super) fn new_keyring(name: &CStr) -> Outcome {
    match sys::keyctl_join(name) {
        Ok(keyring) => {
            // The keyring that was there already has its permissions, and maybe another owner.
            let _ = sys::keyctl_setperm(keyring, KEYRING_PERMISSIONS);
            Ok(())
        }
        // A kernel without keyrings has nothing to be separated from.
        Err(ENOSYS | EOPNOTSUPP) => Ok(()),
        Err(errno) => Err(Fail { op: Op::Keyctl, errno }),
    }
}

/// In a new network namespace: of the flags that can be set it has none yet.
pub(super) fn loopback_up() -> Outcome {
    let socket = sys::socket(sys::AF_INET, sys::SOCK_DGRAM).at(Op::Socket)?;
    let mut request = IfReq { name: [0; 16], flags: IFF_UP, rest: [0; 22] };
    if let Some(name) = request.name.get_mut(..2) {
        name.copy_from_slice(b"lo");
    }
    sys::ioctl_with(socket.raw(), sys::SIOCSIFFLAGS, &mut request).at(Op::Ioctl).map(drop)
}

fn message(kind: u32, value: u32) -> [u8; MSG_LEN] {
    let mut bytes = [0; MSG_LEN];
    let (first, second) = bytes.split_at_mut(4);
    first.copy_from_slice(&kind.to_le_bytes());
    second.copy_from_slice(&value.to_le_bytes());
    bytes
}

impl Init {
    /// Outer becomes two: inner, the caller's own child, goes on; outer reports it and is gone.
    /// If the library is gone, inner finds out by itself: its socket ends.
    pub(super) fn clone_inner(&mut self, flags: u64, cgroup: Reg) -> Outcome {
        // Inner goes on in outer's memory: nothing is copied, neither now nor at the first writes. Only
        // where nobody else is in inner's pid namespace: who may write its memory would write that of
        // outer, which is outside of the container. And who shares memory shares the time
        // namespace, too, time_namespaces(7).
        let alone = flags & CLONE_NEWPID != 0 && !self.time_differs;
        let memory = if alone { CLONE_VM } else { 0 };
        let mut arguments = CloneArgs {
            flags: flags | CLONE_PARENT | CLONE_PIDFD | CLONE_PARENT_SETTID | memory,
            parent_tid: (&raw const self.page.inner) as u64,
            ..CloneArgs::default()
        };
        if cgroup != Reg::NONE {
            arguments.flags |= CLONE_INTO_CGROUP;
            arguments.cgroup = self.fd(cgroup)? as u64;
        }
        let control = self.control()?;
        sys::clone_with_farewell(&mut arguments, control, &mut self.farewell).at(Op::Clone)?;
        // It was for the clone; from here on the container's processes may be near.
        self.close_register(cgroup);
        self.become_inner();
        Ok(())
    }

    /// Inner becomes two as outer did, but it has done nearly everything by then, out of the sight of
    /// the container's processes: who is born among them has no more than they have (decision 0009).
    pub(super) fn clone_last(&mut self, drop: u64, terminal: bool) -> Outcome {
        if drop != 0 {
            credentials::drop(drop)?;
        }
        let mut pidfd = -1;
        let pid = sys::clone(CLONE_PARENT | CLONE_PIDFD, &mut pidfd).at(Op::Clone)?;
        if pid != 0 {
            if let Err(fail) = self.tell(MSG_CLONED, pid as u32, Some(pidfd)) {
                // Nobody would know of it.
                let _ = sys::kill(pid);
                return Err(fail);
            }
            sys::exit(0);
        }
        // The filter wasn't asked about clocks.
        self.timed = false;
        sys::setsid().at(Op::Session)?;
        if terminal { console::take_terminal() } else { Ok(()) }
    }

    fn control(&self) -> Outcome<i32> {
        self.control.as_ref().map(Fd::raw).ok_or(Fail { op: Op::Gone, errno: EPROTO })
    }

    pub(super) fn tell(&self, kind: u32, value: u32, fd: Option<i32>) -> Outcome {
        sys::send(self.control()?, &message(kind, value), fd).at(Op::Send)
    }

    /// Waits for one byte; the end of the connection means that the library is gone.
    fn listen(&self) -> Outcome<u8> {
        let mut reply = [0u8; 1];
        match sys::receive(self.control()?, &mut reply).at(Op::Receive)? {
            1 => Ok(reply[0]),
            _ => Err(Fail { op: Op::Gone, errno: EPROTO }),
        }
    }

    /// The library's descriptors, in the order of the registers. By now the plan is complete.
    pub(super) fn take_rest(&mut self) -> Outcome {
        let mut control = Control::<{ Reg::ROOT.0 as usize }>::empty();
        if !sys::receive_descriptors(self.control()?, &mut control).at(Op::Receive)? {
            return Err(Fail { op: Op::Gone, errno: EPROTO });
        }
        for (register, fd) in (0..).zip(control.descriptors()) {
            self.keep(Reg(register), Fd::from_raw(*fd));
        }
        Ok(())
    }

    pub(super) fn synchronize(&mut self, point: u32) -> Outcome {
        self.tell(MSG_SYNC, point, None)?;
        self.await_go()
    }

    /// A mount is mapped by who has privileges over its filesystem.
    pub(super) fn ask_for_map(&mut self, tree: Reg, map: Reg, recursive: bool) -> Outcome {
        let flag = if recursive { MAP_RECURSIVE } else { 0 };
        self.tell(MSG_MAP_IDS, map.0 | flag, Some(self.fd(tree)?))?;
        self.await_go()
    }

    fn await_go(&mut self) -> Outcome {
        loop {
            match self.listen()? {
                REPLY_GO => return Ok(()),
                // The answer to `Step::Announce` comes whenever it comes.
                REPLY_START if !self.started => self.started = true,
                _ => return Err(Fail { op: Op::Receive, errno: EPROTO }),
            }
        }
    }

    /// The library has recorded the container meanwhile, or is about to.
    pub(super) fn await_announced(&mut self) -> Outcome {
        self.close_registers(Reg::NONE);
        if self.started {
            return Ok(());
        }
        match self.listen()? {
            REPLY_START => Ok(()),
            _ => Err(Fail { op: Op::Receive, errno: EPROTO }),
        }
    }

    /// The created state. Until the library has said that the state is on disk, its end is our
    /// end; from then on it may start us as well as whoever holds the state directory and connects,
    /// the first of them once (decision 0018).
    pub(super) fn await_start(&mut self, listener: Reg, hooks: bool) -> Outcome {
        // Among them are the host's cgroups; what is left to do needs none of them.
        self.close_registers(listener);
        // Before anybody knows of the container: nobody's signal may be lost.
        let signals = if listener == Reg::NONE {
            None
        } else {
            Some(sys::signals_to_descriptor(ENDING_SIGNALS).at(Op::Signals)?)
        };
        self.tell(MSG_CREATED, 0, None)?;
        match self.listen()? {
            REPLY_START if hooks => return self.synchronize(Sync::Start as u32),
            REPLY_START => return Ok(()),
            REPLY_COMMIT => {}
            _ => return Err(Fail { op: Op::Receive, errno: EPROTO }),
        }
        let (listener, Some(signals)) = (self.fd(listener)?, signals) else {
            return Err(Fail { op: Op::Receive, errno: EPROTO });
        };
        loop {
            let creator = self.control.as_ref().map_or(-1, Fd::raw);
            let [asked, connected] = await_readable([creator, listener], &signals)?;
            if asked {
                if !matches!(self.listen(), Ok(REPLY_START)) {
                    // It is gone, or has no more to say.
                    self.control = None;
                    continue;
                }
            } else if !connected || !self.take_starter(listener, &signals)? {
                continue;
            }
            // A starter that dies while its hooks run leaves a created container behind, which
            // can be started again.
            if !hooks || self.synchronize(Sync::Start as u32).is_ok() {
                break;
            }
            self.control = None;
        }
        sys::close(listener);
        sys::signals_unblock().at(Op::Signals)
    }

    /// Turns to who has connected, and to its page; false if that is gone again. Whom init has listened
    /// to before, its creator, sees the end of its own connection.
    fn take_starter(&mut self, listener: i32, signals: &Fd) -> Outcome<bool> {
        let connection = match sys::accept(listener) {
            Ok(connection) => connection,
            // ECONNABORTED: it was gone before we came to it.
            Err(EINTR | Errno(103)) => return Ok(false),
            Err(errno) => return Err(Fail { op: Op::Accept, errno }),
        };
        await_readable([connection.raw(), -1], signals)?;
        let Ok(Some(page)) = sys::receive_descriptor(connection.raw()) else { return Ok(false) };
        self.control = Some(connection);
        let turned = self.turn_to(&page).is_ok() && self.tell(MSG_PAGE, 0, None).is_ok();
        if !turned {
            self.control = None;
        }
        Ok(turned)
    }

    /// Reports on another page from now on. So a created container, which may wait for long, holds
    /// no descriptor of its creator's page.
    fn turn_to(&mut self, page: &Fd) -> Outcome {
        let Page { role, step, code, inner, .. } = self.page;
        let (now, kind, pid) = (step.load(Relaxed), code.load(Relaxed), inner.load(Relaxed));
        // Times are the creator's.
        self.timed = false;
        sys::replace_page(self.page, page.raw()).at(Op::Memory)?;
        role.store(ROLE_INNER, Relaxed);
        step.store(now, Relaxed);
        code.store(kind, Relaxed);
        inner.store(pid, Relaxed);
        Ok(())
    }
}

/// Waits for who starts us, or for a signal that ends us. Says which of the sockets are readable; -1
/// stands for none.
fn await_readable(sockets: [i32; 2], signals: &Fd) -> Outcome<[bool; 2]> {
    loop {
        match sys::poll([sockets[0], sockets[1], signals.raw()]) {
            Ok([_, _, true]) => end_by(signals),
            Ok([first, second, _]) => return Ok([first, second]),
            Err(EINTR) => {}
            Err(errno) => return Err(Fail { op: Op::Accept, errno }),
        }
    }
}

/// Ends as shells say that a signal ended a program. As the first process of a pid namespace
/// init can't be ended by a signal itself, pid_namespaces(7).
fn end_by(signals: &Fd) -> ! {
    // `struct signalfd_siginfo`, which begins with the signal's number.
    let mut information = [0u8; 128];
    let _ = sys::read(signals.raw(), &mut information);
    sys::exit(128 + i32::from(information[0]))
}
