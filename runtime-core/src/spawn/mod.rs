//! Spawning: one path for everything that hoist starts.
//!
//! Outer is started with the caller's rights in the caller's namespaces, executes the first part
//! of the plan and clones inner, the caller's own child, which executes the rest. The library
//! holds one end of a socket pair meanwhile: its end means that both are gone or that the user's
//! program was executed.

pub(crate) mod idmap;
pub(crate) mod image;
pub(crate) mod report;

use std::collections::VecDeque;
use std::ffi::CString;
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hoist_init::page::{
    MAP_RECURSIVE, MSG_ANNOUNCED, MSG_CLONED, MSG_CREATED, MSG_LEN, MSG_MAP_IDS, MSG_PAGE,
    MSG_SYNC, REPLY_COMMIT, REPLY_GO, REPLY_PAGE, REPLY_START, Sync,
};
use hoist_init::wire::Reg;
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendFlags, Shutdown, SocketFlags, SocketType,
};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open};

use crate::error::{Error, Result};
use crate::plan::Plan;
use crate::sys::pidfd;
use crate::sys::required::{self, EVERY_CONTAINER, MEMFD_CREATE};
use crate::sys::vfork::Child;
use image::{InitImage, SEALS, write_all};
use report::Report;

const WALL: u32 = libc::__WALL.cast_unsigned();

/// What a new process gets.
#[derive(Debug)]
pub(crate) struct Spawn<'a> {
    pub(crate) image: &'a InitImage,
    /// The plan, or its first part.
    pub(crate) plan: &'a Plan,
    /// Descriptors 0 to 2.
    pub(crate) stdio: [BorrowedFd<'a>; 3],
    /// Descriptors 3 to 3+N of the user's process.
    pub(crate) preserved: &'a [BorrowedFd<'a>],
    /// What the plan expects in init's first registers.
    pub(crate) passed: &'a [BorrowedFd<'a>],
}

impl Spawn<'_> {
    /// Starts outer. From here on the process reports through the [`Conversation`].
    pub(crate) fn start(&self) -> Result<Conversation> {
        let image = self.image.checked()?;
        let report = Report::new()?;
        let plan = plan_file(self.plan.bytes()).map_err(plan_error)?;
        let complete = !self.plan.is_head();
        if complete {
            rustix::fs::fcntl_add_seals(&plan, SEALS).map_err(plan_error)?;
            report.seal(self.plan.count())?;
        }
        let (control, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(|errno| Error::system("make the control socket", errno))?;
        if self.plan.clones_last() {
            rustix::net::sockopt::set_socket_passcred(&control, true)
                .map_err(|errno| Error::system("make the control socket", errno))?;
        }

        let base = 3 + self.preserved.len();
        let mut fds: Vec<BorrowedFd<'_>> = Vec::with_capacity(base + 3 + self.passed.len());
        fds.extend(self.stdio);
        fds.extend(self.preserved);
        fds.extend([plan.as_fd(), report.descriptor().as_fd(), theirs.as_fd()]);
        fds.extend(self.passed);
        let number = |n: usize| CString::new(n.to_string()).unwrap_or_default();
        let (base, passed) = (number(base), number(self.passed.len()));
        let outer = crate::sys::vfork::spawn(image, &fds, &[c"hoist-init", &base, &passed])
            .map_err(spawn_error)?;
        drop(theirs);
        Ok(Conversation {
            control,
            report,
            outer: Some(outer),
            inner: None,
            last: if self.plan.clones_last() { Last::Expected } else { Last::None },
            early: VecDeque::new(),
            unheard: VecDeque::new(),
            untold: None,
            head: (!complete).then_some(plan),
        })
    }
}

fn spawn_error(errno: Errno) -> Error {
    let error = Error::system("start hoist-init", errno);
    match errno {
        Errno::NOSYS | Errno::PERM => required::check(EVERY_CONTAINER).err().unwrap_or(error),
        Errno::ACCESS => error.with_hint("is /proc or the host's security policy in the way?"),
        Errno::AGAIN => error.with_hint("a limit on the number of processes was reached"),
        _ => error,
    }
}

fn plan_error(errno: Errno) -> Error {
    Error::system("put the plan into a memfd", errno).needs(MEMFD_CREATE)
}

fn plan_file(bytes: &[u8]) -> rustix::io::Result<OwnedFd> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let file = match rustix::fs::memfd_create(c"hoist-plan", flags | MemfdFlags::NOEXEC_SEAL) {
        // Linux before 6.3 doesn't know the flag.
        Err(Errno::INVAL) => rustix::fs::memfd_create(c"hoist-plan", flags)?,
        other => other?,
    };
    write_all(&file, bytes)?;
    Ok(file)
}

/// The container's process, as outer reported it.
#[derive(Debug)]
pub(crate) struct Inner {
    /// Its pid in the caller's pid namespace.
    pub(crate) pid: u32,
    pub(crate) pidfd: OwnedFd,
}

/// Whether inner is followed by another process, `Step::CloneLast`. That may be traced by the
/// container's, and has the socket as well: it is not listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Last {
    None,
    Expected,
    Here,
}

/// What init has to say.
#[derive(Debug)]
pub(crate) enum Event {
    /// Inner exists; see [`Conversation::inner`].
    Cloned,
    /// Init waits for [`Conversation::go`] at this point.
    Sync(Sync),
    /// Init waits for [`Conversation::go`] until `tree` has the id mapping that was passed to it as
    /// the descriptor with this index.
    MapIds { tree: OwnedFd, map: usize, recursive: bool },
    /// Inner is in all its namespaces and waits for [`Conversation::start`] only in the end.
    Announced,
    /// The container is created; init waits for [`Conversation::commit`] or
    /// [`Conversation::start`].
    Created,
    /// The connection ended: the user's program was executed, or init is gone.
    End,
}

/// The library's end of the control socket, with the report page.
#[derive(Debug)]
pub(crate) struct Conversation {
    control: OwnedFd,
    pub(crate) report: Report,
    outer: Option<Child>,
    inner: Option<Inner>,
    last: Last,
    /// What inner said before outer had told of it.
    early: VecDeque<Event>,
    /// What others than outer have sent before it had told of inner, where inner is followed by another
    /// process: it counts if inner has sent it.
    unheard: VecDeque<Message>,
    /// Why outer could not tell of inner, if both were there.
    untold: Option<Errno>,
    /// The file that holds the first part of the plan, until the rest is in it.
    head: Option<OwnedFd>,
}

impl Conversation {
    /// A conversation with a created container that waits on its start socket: it begins with a
    /// report page for it.
    pub(crate) fn with_created(connection: OwnedFd) -> Result<Option<Self>> {
        // It was connected without blocking; from here on waiting is what is wanted.
        rustix::io::ioctl_fionbio(&connection, false)
            .map_err(|errno| Error::system("wait for init", errno))?;
        let report = Report::new()?;
        report.seal(0)?;
        match send_descriptor(&connection, &[REPLY_PAGE], report.descriptor().as_fd()) {
            // What comes next says that init is gone.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => {}
            Err(errno) => return Err(Error::system("send init a report page", errno)),
        }
        match receive(&connection, RecvFlags::empty())? {
            Some(Message { kind: MSG_PAGE, fd: None, .. }) => Ok(Some(Self {
                control: connection,
                report,
                outer: None,
                inner: None,
                last: Last::None,
                early: VecDeque::new(),
                unheard: VecDeque::new(),
                untold: None,
                head: None,
            })),
            Some(_) => Err(protocol_error()),
            None => Ok(None),
        }
    }

    /// The container's process, once it exists.
    pub(crate) fn inner(&self) -> Option<&Inner> {
        self.inner.as_ref()
    }

    /// Takes the container's process over.
    pub(crate) fn take_inner(&mut self) -> Option<Inner> {
        self.settle();
        // The one that has only prepared it is nobody's process.
        if self.last == Last::Expected { None } else { self.inner.take() }
    }

    /// Ends outer, and finds the inner that it has cloned though nobody has read of it.
    fn settle(&mut self) {
        if self.outer.is_some() {
            // Outer may wait for what will not come.
            let _ = rustix::net::shutdown(&self.control, Shutdown::Both);
            let _ = self.reap_outer();
            self.adopt();
        }
    }

    /// Waits for the next event.
    pub(crate) fn next(&mut self) -> Result<Event> {
        if let Some(event) = self.early.pop_front() {
            return Ok(event);
        }
        let event = self.receive(RecvFlags::empty())?;
        if self.inner.is_some() || self.outer.is_none() || matches!(event, Event::End) {
            return Ok(event);
        }
        // Both write to one socket, and inner may be faster than outer, which ends right after it has
        // sent: what it said is here once it is gone. Of inner there may be more before that, as it
        // doesn't wait after an announcement.
        self.reap_outer()?;
        self.early.push_back(event);
        loop {
            match self.receive(RecvFlags::DONTWAIT) {
                Ok(Event::Cloned) => return Ok(Event::Cloned),
                // Somebody has killed outer in between, and the page says where.
                Ok(Event::End) => break,
                Err(error) if error.errno() == Some(libc::EAGAIN) => break,
                Ok(more) => self.early.push_back(more),
                Err(error) => return Err(error),
            }
        }
        self.early.clear();
        self.adopt();
        self.ended()
    }

    /// The end of the connection, unless outer says why it could not tell of inner: that is its exit
    /// status then, and the page is inner's.
    fn ended(&self) -> Result<Event> {
        match self.untold {
            Some(errno) if self.inner.is_some() => {
                Err(Error::system("hoist-init: tell of the new process", errno))
            }
            _ => Ok(Event::End),
        }
    }

    fn receive(&mut self, flags: RecvFlags) -> Result<Event> {
        loop {
            let held = if self.inner.is_some() { self.unheard.pop_front() } else { None };
            let Some(message) =
                held.map_or_else(|| receive(&self.control, flags), |held| Ok(Some(held)))?
            else {
                return self.end();
            };
            match (self.last, self.inner.as_ref().map(|inner| inner.pid)) {
                (Last::None, _) => return self.event(message),
                (Last::Expected, None) => {
                    if message.sender == self.outer.as_ref().map(|outer| outer.pid) {
                        return self.event(message);
                    }
                    self.unheard.push_back(message);
                }
                (Last::Expected, Some(inner)) if message.sender == Some(inner) => {
                    if message.kind != MSG_CLONED {
                        return self.event(message);
                    }
                    self.follow(message)?;
                }
                (Last::Expected | Last::Here, _) => {}
            }
        }
    }

    /// Inner has cloned the process that executes the program, and ends right after that, as outer did.
    fn follow(&mut self, message: Message) -> Result<()> {
        let pid = message.value;
        // There may have been no room for a descriptor here. It is our child, so the number is still its own.
        let pidfd = match message.fd {
            Some(pidfd) => pidfd,
            None => i32::try_from(pid)
                .ok()
                .and_then(Pid::from_raw)
                .ok_or_else(protocol_error)
                .and_then(|pid| {
                    pidfd_open(pid, PidfdFlags::empty())
                        .map_err(|errno| Error::system("look at the new process", errno))
                })?,
        };
        let inner = self.inner.replace(Inner { pid, pidfd });
        self.last = Last::Here;
        self.reap_outer()?;
        self.outer = inner.map(|Inner { pid, pidfd }| Child { pid, pidfd });
        Ok(())
    }

    fn end(&mut self) -> Result<Event> {
        if self.outer.is_some() {
            self.reap_outer()?;
            self.adopt();
            // Outer could not tell of inner, which has gone on.
            let inner = self.inner.as_ref().map(|inner| inner.pid);
            let cloned = |message: &Message| message.kind == MSG_CLONED && message.sender == inner;
            if let Some(at) = self.unheard.iter().position(cloned)
                && inner.is_some()
                && let Some(message) = self.unheard.remove(at)
            {
                self.follow(message)?;
            }
        }
        self.ended()
    }

    fn event(&mut self, Message { kind, value, fd, .. }: Message) -> Result<Event> {
        match (kind, fd) {
            (MSG_CLONED, Some(pidfd)) if self.inner.is_none() => {
                self.inner = Some(Inner { pid: value, pidfd });
                Ok(Event::Cloned)
            }
            (MSG_SYNC, None) => {
                let points = [Sync::Cgroup, Sync::Maps, Sync::Namespaces, Sync::Hooks, Sync::Start];
                let point = points.into_iter().find(|sync| *sync as u32 == value);
                point.map(Event::Sync).ok_or_else(protocol_error)
            }
            (MSG_MAP_IDS, Some(tree)) => Ok(Event::MapIds {
                tree,
                map: usize::try_from(value & !MAP_RECURSIVE).map_err(|_| protocol_error())?,
                recursive: value & MAP_RECURSIVE != 0,
            }),
            (MSG_ANNOUNCED, None) => Ok(Event::Announced),
            (MSG_CREATED, None) => Ok(Event::Created),
            _ => Err(protocol_error()),
        }
    }

    /// Gives outer, which was started with the first part of this plan, the rest of it and the
    /// descriptors that it asks for, in its order: `Step::TakeRest`.
    pub(crate) fn pass(&mut self, plan: &Plan, descriptors: &[BorrowedFd<'_>]) -> Result<()> {
        let file = self.head.take().ok_or_else(protocol_error)?;
        write_all(&file, plan.rest()).map_err(plan_error)?;
        rustix::fs::fcntl_add_seals(&file, SEALS).map_err(plan_error)?;
        self.report.seal(plan.count())?;
        match send_descriptors(&self.control, &[REPLY_GO], descriptors) {
            // Outer is gone; the next event says so, and the page says why.
            Ok(()) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Error::system("pass descriptors to init", errno)),
        }
    }

    /// Lets init go on from a [`Event::Sync`] or [`Event::MapIds`].
    pub(crate) fn go(&self) -> Result<()> {
        self.reply(REPLY_GO)
    }

    /// The state is on disk: init waits on its start socket from now on.
    pub(crate) fn commit(&self) -> Result<()> {
        self.reply(REPLY_COMMIT)
    }

    /// The state is on disk, and init goes on to the user's program.
    pub(crate) fn start(&self) -> Result<()> {
        self.reply(REPLY_START)
    }

    fn reply(&self, byte: u8) -> Result<()> {
        match rustix::net::send(&self.control, &[byte], SendFlags::NOSIGNAL) {
            // Init is gone; the next event says so, and the page says why.
            Ok(_) | Err(Errno::PIPE | Errno::CONNRESET) => Ok(()),
            Err(errno) => Err(Error::system("answer init", errno)),
        }
    }

    /// Takes on an inner that outer was killed before telling of. The page could be anybody's
    /// word, so only an own child counts.
    fn adopt(&mut self) {
        let own = || {
            let pid = self.report.read().ok()?.inner_pid;
            let raw = i32::try_from(pid).ok()?;
            let pidfd = pidfd_open(Pid::from_raw(raw)?, PidfdFlags::empty()).ok()?;
            let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
            rustix::process::waitid(WaitId::PidFd(pidfd.as_fd()), look).ok()?;
            Some(Inner { pid, pidfd })
        };
        if self.inner.is_none() {
            self.inner = own();
        }
    }

    /// Collects outer, which ends right after it has cloned inner. Its status says nothing that
    /// the page doesn't, but in [`ended`](Self::ended); a program that reaps every child itself may
    /// have been faster.
    pub(crate) fn reap_outer(&mut self) -> Result<()> {
        if let Some(outer) = self.outer.take() {
            // A child that was killed before it executed init has no exit signal, so it is there
            // only for those who ask for all, waitid(2).
            let all = WaitIdOptions::EXITED | WaitIdOptions::from_bits_retain(WALL);
            let end = rustix::io::retry_on_intr(|| {
                rustix::process::waitid(WaitId::PidFd(outer.pidfd.as_fd()), all)
            });
            let status = match end {
                Ok(end) => end.and_then(|end| end.exit_status()),
                Err(Errno::CHILD) => None,
                Err(errno) => return Err(Error::system("wait for hoist-init", errno)),
            };
            self.untold = status.filter(|status| *status != 0).map(Errno::from_raw_os_error);
        }
        Ok(())
    }
}

impl Drop for Conversation {
    /// An inner that nobody has taken over is nobody's: it ends here.
    fn drop(&mut self) {
        self.settle();
        if let Some(inner) = self.inner.take() {
            // It may wait for an answer, and the signal may be refused.
            let _ = rustix::net::shutdown(&self.control, Shutdown::Both);
            let _ = pidfd::send_signal(inner.pidfd.as_fd(), libc::SIGKILL);
            let _ = pidfd::wait_end(inner.pidfd.as_fd());
        }
    }
}

/// What init sent has no place in this conversation. Left unanswered, both would wait for ever.
pub(crate) fn protocol_error() -> Error {
    Error::system("init sent what it never sends", Errno::PROTO)
}

/// One message: kind, value, and at most one descriptor.
#[derive(Debug)]
struct Message {
    kind: u32,
    value: u32,
    fd: Option<OwnedFd>,
    /// Who has sent it, where the socket has SO_PASSCRED, unix(7).
    sender: Option<u32>,
}

/// The next message; `None` at the end of the connection.
fn receive(socket: &OwnedFd, flags: RecvFlags) -> Result<Option<Message>> {
    let mut bytes = [0u8; MSG_LEN];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = rustix::io::retry_on_intr(|| {
        rustix::net::recvmsg(
            socket,
            &mut [IoSliceMut::new(&mut bytes)],
            &mut control,
            flags | RecvFlags::CMSG_CLOEXEC,
        )
    });
    let length = match received {
        Ok(message) => message.bytes,
        Err(Errno::CONNRESET) => 0,
        Err(errno) => return Err(Error::system("listen to init", errno)),
    };
    let (mut fd, mut sender) = (None, None);
    for message in control.drain() {
        match message {
            RecvAncillaryMessage::ScmRights(fds) => fd = fds.last().or(fd),
            RecvAncillaryMessage::ScmCredentials(credentials) => {
                sender = u32::try_from(credentials.pid.as_raw_nonzero().get()).ok();
            }
            _ => {}
        }
    }
    if length == 0 {
        return Ok(None);
    }
    let (kind, value) = bytes.split_at(4);
    match (<[u8; 4]>::try_from(kind), <[u8; 4]>::try_from(value)) {
        (Ok(kind), Ok(value)) if length == MSG_LEN => {
            let [kind, value] = [kind, value].map(u32::from_le_bytes);
            Ok(Some(Message { kind, value, fd, sender }))
        }
        _ => Err(protocol_error()),
    }
}

/// Sends a message with one descriptor over a unix socket.
pub(crate) fn send_descriptor(
    socket: impl AsFd,
    bytes: &[u8],
    descriptor: BorrowedFd<'_>,
) -> rustix::io::Result<()> {
    send_descriptors(socket, bytes, &[descriptor])
}

/// Sends a message with as many descriptors as init has registers for them.
fn send_descriptors(
    socket: impl AsFd,
    bytes: &[u8],
    descriptors: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    const MOST: usize = Reg::ROOT.0 as usize;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty()
        && !control.push(rustix::net::SendAncillaryMessage::ScmRights(descriptors))
    {
        return Err(Errno::NOBUFS);
    }
    let mut rest = bytes;
    let sent = rustix::io::retry_on_intr(|| {
        rustix::net::sendmsg(&socket, &[IoSlice::new(rest)], &mut control, SendFlags::NOSIGNAL)
    })?;
    rest = rest.get(sent..).unwrap_or_default();
    while !rest.is_empty() {
        let sent =
            rustix::io::retry_on_intr(|| rustix::net::send(&socket, rest, SendFlags::NOSIGNAL))?;
        rest = rest.get(sent..).unwrap_or_default();
    }
    Ok(())
}

#[cfg(test)]
mod tests;
