//! A connection to a bus or to systemd itself: small, blocking, and with a deadline.
//!
//! D-Bus Specification, "Authentication Protocol" and "Message Bus"; sd-bus(3) of systemd is what
//! answers on its private sockets. Nothing that comes in is trusted.

use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, retry_on_intr};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketAddrUnix, SocketFlags, SocketType};

use super::message::{Call, FIXED, Header, Kind, Prelude};
use super::value::{Malformed, Value};

/// The longest body that is read instead of skipped: replies are some hundred bytes, and the
/// value of a property that was set before is as long as what was set.
const BODY: usize = 256 << 10;
/// The longest signal about a job: a number, a path and two words. Anybody on a bus may send us one.
const SIGNAL: usize = 2 << 10;
/// "OK " and 32 digits, or a refusal with what is offered instead.
const LINE: usize = 1024;
/// How many signals are kept that came before the reply that says which one is meant.
const KEPT: usize = 64;

/// Where a bus listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Address {
    Path(PathBuf),
    Abstract(Vec<u8>),
}

/// What can go wrong; [`super::manager`] says for whom and in what.
#[derive(Debug)]
pub(super) enum Fault {
    /// A system call failed.
    System(&'static str, Errno),
    /// The deadline has passed.
    Late,
    /// The other side has closed the connection.
    Closed,
    /// The other side doesn't take us for who we are.
    Refused(String),
    /// Bytes that are not D-Bus.
    Malformed(Malformed),
    /// An error reply: its name and its text.
    Reply { name: String, text: String },
}

type Result<T> = std::result::Result<T, Fault>;

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

/// A connection. Every wait ends at the deadline.
#[derive(Debug)]
pub(super) struct Bus {
    socket: OwnedFd,
    pub(super) deadline: Instant,
    serial: u32,
    /// There is a bus in between, so that messages need a destination.
    brokered: bool,
    /// The name on the bus of who has answered: anybody may send a signal.
    manager: Option<String>,
    /// What was received and is not yet looked at.
    input: Vec<u8>,
    /// Signals that came before the reply: sender and values.
    signals: Vec<(Option<String>, Vec<Value>)>,
}

impl Bus {
    /// Connects and authenticates. `uid` is who we are to the other side; none in a user
    /// namespace, from where nobody knows: then the socket's credentials say so.
    pub(super) fn connect(
        address: &Address,
        brokered: bool,
        uid: Option<u32>,
        deadline: Instant,
    ) -> Result<Self> {
        let failed = |errno| Fault::System("connect", errno);
        let address = match address {
            Address::Path(path) => SocketAddrUnix::new(path.as_path()),
            Address::Abstract(name) => SocketAddrUnix::new_abstract_name(name),
        }
        .map_err(failed)?;
        let socket = rustix::net::socket_with(
            AddressFamily::UNIX,
            SocketType::STREAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(failed)?;
        // The one wait that has no descriptor to poll: that for a place in the listener's queue.
        rustix::net::sockopt::set_socket_timeout(
            &socket,
            rustix::net::sockopt::Timeout::Send,
            Some(left(deadline)?),
        )
        .map_err(failed)?;
        retry_on_intr(|| rustix::net::connect(&socket, &address)).map_err(|errno| match errno {
            Errno::AGAIN => Fault::Late,
            errno => failed(errno),
        })?;
        Self::over(socket, brokered, uid, deadline)
    }

    /// Authenticates over a connected socket.
    pub(super) fn over(
        socket: OwnedFd,
        brokered: bool,
        uid: Option<u32>,
        deadline: Instant,
    ) -> Result<Self> {
        let mut bus = Self {
            socket,
            deadline,
            serial: 0,
            brokered,
            manager: None,
            input: Vec::new(),
            signals: Vec::new(),
        };
        bus.authenticate(uid)?;
        if brokered {
            bus.call(&DAEMON.call("Hello", &[]))?;
        }
        Ok(bus)
    }

    /// EXTERNAL: the other side asks the kernel who we are.
    ///
    /// BEGIN goes with the rest, and no message before the answer: sd-bus as a server (systemd's
    /// private sockets; seen with version 257) forgets a message that it has read together with
    /// BEGIN until something else arrives.
    fn authenticate(&mut self, uid: Option<u32>) -> Result<()> {
        let request = match uid {
            Some(uid) => {
                let digits = uid.to_string();
                let hex: String = digits.bytes().map(|byte| format!("{byte:02x}")).collect();
                format!("\0AUTH EXTERNAL {hex}\r\nBEGIN\r\n")
            }
            None => "\0AUTH EXTERNAL\r\nDATA\r\nBEGIN\r\n".to_owned(),
        };
        self.send(request.as_bytes())?;
        let mut answer = self.line()?;
        if uid.is_none() && (answer == "DATA" || answer.starts_with("DATA ")) {
            answer = self.line()?;
        }
        if answer.starts_with("OK ") { Ok(()) } else { Err(Fault::Refused(answer)) }
    }

    fn wait(&self, events: PollFlags) -> Result<()> {
        loop {
            let left = left(self.deadline)?;
            let left = Timespec::try_from(left).map_err(|_| Fault::Late)?;
            match poll(&mut [PollFd::new(&self.socket, events)], Some(&left)) {
                Ok(0) | Err(Errno::INTR) => {}
                Ok(_) => return Ok(()),
                Err(errno) => return Err(Fault::System("wait", errno)),
            }
        }
    }

    fn send(&mut self, mut bytes: &[u8]) -> Result<()> {
        while !bytes.is_empty() {
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            match rustix::net::send(&self.socket, bytes, flags) {
                Ok(count) => bytes = bytes.get(count..).unwrap_or_default(),
                Err(Errno::AGAIN) => self.wait(PollFlags::OUT)?,
                Err(Errno::INTR) => {}
                // What was said before it was closed says more.
                Err(Errno::PIPE | Errno::CONNRESET) => return Err(Fault::Closed),
                Err(errno) => return Err(Fault::System("send", errno)),
            }
        }
        Ok(())
    }

    /// Receives something; never nothing.
    fn receive(&mut self, space: &mut [u8]) -> Result<usize> {
        loop {
            // recv(2) has no room for descriptors: the kernel closes those that come, unix(7).
            match rustix::net::recv(&self.socket, &mut *space, RecvFlags::DONTWAIT) {
                Ok((0, _)) => return Err(Fault::Closed),
                Ok((count, _)) => return Ok(count),
                Err(Errno::AGAIN) => self.wait(PollFlags::IN)?,
                Err(Errno::INTR) => {}
                Err(Errno::CONNRESET) => return Err(Fault::Closed),
                Err(errno) => return Err(Fault::System("receive", errno)),
            }
        }
    }

    /// Makes sure that `count` bytes are there.
    fn fill(&mut self, count: usize) -> Result<()> {
        let mut chunk = [0; 4096];
        while self.input.len() < count {
            let received = self.receive(&mut chunk)?;
            self.input.extend(chunk.get(..received).unwrap_or_default());
        }
        Ok(())
    }

    fn take(&mut self, count: usize) -> Result<Vec<u8>> {
        self.fill(count)?;
        Ok(self.input.drain(..count).collect())
    }

    fn skip(&mut self, mut count: usize) -> Result<()> {
        while count > 0 {
            left(self.deadline)?;
            self.fill(1)?;
            let part = count.min(self.input.len());
            self.input.drain(..part);
            count -= part;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        loop {
            if let Some(end) = self.input.windows(2).position(|pair| pair == b"\r\n") {
                let line: Vec<u8> = self.input.drain(..end + 2).take(end).collect();
                return String::from_utf8(line).map_err(|_| Malformed("a line is not text").into());
            }
            let length = self.input.len();
            if length > LINE {
                return Err(Malformed("a line is too long").into());
            }
            self.fill(length + 1)?;
        }
    }

    /// The next message's header, and its body if it is wanted.
    fn next(&mut self, reply_to: Option<u32>) -> Result<(Header, Vec<Value>)> {
        loop {
            // Whoever never stops talking never makes us wait.
            left(self.deadline)?;
            let start: [u8; FIXED] =
                self.take(FIXED)?.try_into().map_err(|_| Malformed("a message has no header"))?;
            let prelude = Prelude::parse(&start)?;
            let fields = self.take(prelude.fields)?;
            let header = Header::parse(prelude, &start, &fields)?;
            let answers = reply_to.is_some() && header.reply_to == reply_to;
            let wanted = match header.kind {
                Kind::Return | Kind::Error => answers,
                Kind::Signal => {
                    header.interface.as_deref() == Some(MANAGER.interface)
                        && header.member.as_deref() == Some("JobRemoved")
                        && prelude.body <= SIGNAL
                }
                Kind::Call | Kind::Unknown => false,
            };
            if !wanted {
                self.skip(prelude.body)?;
                continue;
            }
            if prelude.body > BODY {
                return Err(Malformed("a message is too long").into());
            }
            let body = self.take(prelude.body)?;
            let arguments = header.arguments(&body)?;
            return Ok((header, arguments));
        }
    }

    /// Calls a method and waits for the answer.
    pub(super) fn call(&mut self, call: &Call<'_>) -> Result<Vec<Value>> {
        self.serial += 1;
        let serial = self.serial;
        let call = Call { destination: call.destination.filter(|_| self.brokered), ..call.clone() };
        self.send(&call.encode(serial)?)?;
        loop {
            let (header, arguments) = self.next(Some(serial))?;
            match header.kind {
                Kind::Return => {
                    if call.path != DAEMON.path {
                        self.manager = header.sender;
                    }
                    return Ok(arguments);
                }
                Kind::Error => {
                    let text = arguments.first().and_then(Value::as_str).unwrap_or_default();
                    let name = header.error.unwrap_or_default();
                    return Err(Fault::Reply { name, text: text.to_owned() });
                }
                _ => {
                    // The one that is waited for may be early, and the newest are the likeliest.
                    if self.signals.len() >= KEPT {
                        self.signals.remove(0);
                    }
                    self.signals.push((header.sender, arguments));
                }
            }
        }
    }

    /// Waits for systemd to say that a job is finished: `found` picks it by what the signal says.
    /// Who has answered the last call is systemd.
    pub(super) fn job_removed<T>(&mut self, found: impl Fn(&[Value]) -> Option<T>) -> Result<T> {
        let mut early = std::mem::take(&mut self.signals).into_iter();
        loop {
            let (sender, arguments) = match early.next() {
                Some(signal) => signal,
                None => {
                    let (header, arguments) = self.next(None)?;
                    (header.sender, arguments)
                }
            };
            if sender != self.manager {
                continue;
            }
            if let Some(found) = found(&arguments) {
                return Ok(found);
            }
        }
    }

    /// Has a bus pass on the signals about finished jobs. systemd itself sends them on its own
    /// socket to whoever is connected.
    pub(super) fn listen(&mut self) -> Result<()> {
        if !self.brokered {
            return Ok(());
        }
        let rule = format!(
            "type='signal',sender='{}',path='{}',interface='{}',member='JobRemoved'",
            MANAGER.destination, MANAGER.path, MANAGER.interface
        );
        self.call(&DAEMON.call("AddMatch", &[Value::text(rule)])).map(drop)
    }
}

/// What is left of the time.
fn left(deadline: Instant) -> Result<Duration> {
    match deadline.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(Fault::Late),
        left => Ok(left),
    }
}

/// An object and one of its interfaces.
#[derive(Debug, Clone, Copy)]
pub(super) struct Object<'a> {
    pub(super) destination: &'a str,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
}

impl<'a> Object<'a> {
    pub(super) fn call<'b>(&self, member: &'b str, arguments: &'b [Value]) -> Call<'b>
    where
        'a: 'b,
    {
        let Self { destination, path, interface } = *self;
        Call { destination: Some(destination), path, interface, member, arguments }
    }

    /// The same object, or another one of the same service.
    pub(super) const fn at(self, path: &'a str, interface: &'a str) -> Self {
        Self { path, interface, ..self }
    }
}

/// The bus itself.
const DAEMON: Object<'static> = Object {
    destination: "org.freedesktop.DBus",
    path: "/org/freedesktop/DBus",
    interface: "org.freedesktop.DBus",
};

/// systemd's manager: org.freedesktop.systemd1(5).
pub(super) const MANAGER: Object<'static> = Object {
    destination: "org.freedesktop.systemd1",
    path: "/org/freedesktop/systemd1",
    interface: "org.freedesktop.systemd1.Manager",
};

/// Reads a list of server addresses, such as DBUS_SESSION_BUS_ADDRESS has it: the first one that
/// is a unix socket.
pub(super) fn parse_address(text: &[u8]) -> Option<Address> {
    text.split(|byte| *byte == b';').find_map(|address| {
        let options = address.strip_prefix(b"unix:")?;
        options.split(|byte| *byte == b',').find_map(|option| {
            let at = option.iter().position(|byte| *byte == b'=')?;
            let (key, value) = option.split_at_checked(at)?;
            let value = unescape(value.strip_prefix(b"=")?)?;
            match key {
                b"path" => Some(Address::Path(std::ffi::OsStr::from_bytes(&value).into())),
                b"abstract" => Some(Address::Abstract(value)),
                _ => None,
            }
        })
    })
}

/// "Each value is escaped": %XX.
fn unescape(value: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.len());
    let mut rest = value.iter();
    while let Some(byte) = rest.next() {
        if *byte != b'%' {
            out.push(*byte);
            continue;
        }
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let number = digit(rest.next()?)? * 16 + digit(rest.next()?)?;
        out.push(u8::try_from(number).ok()?);
    }
    Some(out)
}
