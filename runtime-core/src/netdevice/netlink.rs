//! As much of netlink(7) and rtnetlink(7) as moving a device needs.
//!
//! ```text
//! message    length u32 | type u16 | flags u16 | sequence u32 | port u32 | body | attributes
//! attribute  length u16 | type u16 | value, padded to 4
//! ```
//! Numbers have the machine's byte order. A length counts its own header, but no padding.

use std::fmt;
use std::os::fd::{AsFd, OwnedFd};

use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};

/// Bytes of a message's header.
const HEADER: usize = 16;
/// The kernel fills at most 32 KiB in one go, see "Netlink dumps" in its documentation.
const BUFFER: usize = 32 << 10;
/// How often a dump is begun anew when the addresses changed meanwhile.
const DUMP_TRIES: u32 = 8;

/// Why the kernel refused: the errno, and often a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) errno: Errno,
    pub(super) message: Option<String>,
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self { errno, message: None }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.message {
            Some(message) => f.write_str(message),
            None => write!(f, "{}", self.errno),
        }
    }
}

impl std::error::Error for Refusal {}

/// A request that is being put together.
#[derive(Debug)]
pub(super) struct Request(Vec<u8>);

impl Request {
    /// Begins a request of an `RTM_` type with `NLM_F_` flags and the type's fixed body.
    pub(super) fn new(kind: u16, flags: i32, body: &[u8]) -> Self {
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0; 4]); // the length: see `finish`
        bytes.extend_from_slice(&kind.to_ne_bytes());
        let flags = u16::try_from(flags | libc::NLM_F_REQUEST).unwrap_or_default();
        bytes.extend_from_slice(&flags.to_ne_bytes());
        bytes.extend_from_slice(&[0; 8]); // sequence: see `finish`; port: the socket's own
        bytes.extend_from_slice(body);
        Self(bytes)
    }

    /// Adds an attribute.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// Adds an attribute that is a string.
    pub(super) fn name(self, kind: u16, name: &str) -> Self {
        self.attribute(kind, &[name.as_bytes(), b"\0"].concat())
    }

    fn finish(mut self, sequence: u32) -> Vec<u8> {
        let length = u32::try_from(self.0.len()).unwrap_or(u32::MAX).to_ne_bytes();
        for (at, bytes) in [(0, length), (8, sequence.to_ne_bytes())] {
            if let Some(field) = self.0.get_mut(at..at + 4) {
                field.copy_from_slice(&bytes);
            }
        }
        self.0
    }
}

/// A message of the kernel, without its header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply(Vec<u8>);

impl Reply {
    /// The `length` bytes of the fixed body.
    pub(super) fn body(&self, length: usize) -> &[u8] {
        self.0.get(..length).unwrap_or_default()
    }

    /// The value of an attribute behind a fixed body of `length` bytes.
    pub(super) fn attribute(&self, length: usize, kind: u16) -> Option<&[u8]> {
        attribute(self.0.get(length..)?, kind)
    }
}

/// A socket that speaks to the kernel of the network namespace in which it was made.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
}

impl Socket {
    /// Makes a socket for the network namespace of the calling thread.
    pub(super) fn new() -> Result<Self, Errno> {
        // Protocol 0, which is also the default, is NETLINK_ROUTE.
        let flags = SocketFlags::CLOEXEC;
        let fd = rustix::net::socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, None)?;
        // A connected socket receives from nobody but the kernel.
        rustix::net::connect(&fd, &SocketAddrNetlink::new(0, 0))?;
        crate::sys::netlink::set_extended_ack(fd.as_fd())?;
        Ok(Self { fd, sequence: 0 })
    }

    /// Sends a request, awaits that the kernel has done it, and returns what it answered.
    pub(super) fn ask(&mut self, request: impl Fn(i32) -> Request) -> Result<Vec<Reply>, Refusal> {
        self.exchange(request(libc::NLM_F_ACK))?.ok_or_else(|| Errno::INTR.into())
    }

    /// Sends a request for a list and returns it.
    pub(super) fn dump(&mut self, request: impl Fn(i32) -> Request) -> Result<Vec<Reply>, Refusal> {
        for _ in 0..DUMP_TRIES {
            if let Some(replies) = self.exchange(request(libc::NLM_F_DUMP))? {
                return Ok(replies);
            }
        }
        Err(Errno::AGAIN.into())
    }

    /// One request with its answers; `None` if what was listed changed meanwhile.
    fn exchange(&mut self, request: Request) -> Result<Option<Vec<Reply>>, Refusal> {
        self.sequence = self.sequence.wrapping_add(1);
        let bytes = request.finish(self.sequence);
        retry_on_intr(|| rustix::net::send(&self.fd, &bytes, SendFlags::empty()))?;
        let mut answers = Answers::new(self.sequence);
        let mut buffer = vec![0; BUFFER];
        loop {
            let (_, length) =
                retry_on_intr(|| rustix::net::recv(&self.fd, &mut buffer[..], RecvFlags::TRUNC))?;
            let datagram = buffer.get(..length).ok_or(Errno::MSGSIZE)?;
            if answers.take(datagram)? {
                return Ok((!answers.interrupted).then_some(answers.replies));
            }
        }
    }
}

/// Collects the answers to one request.
struct Answers {
    sequence: u32,
    replies: Vec<Reply>,
    interrupted: bool,
}

impl Answers {
    fn new(sequence: u32) -> Self {
        Self { sequence, replies: Vec::new(), interrupted: false }
    }

    /// Takes the messages of one datagram; true if the last one was the end.
    fn take(&mut self, mut datagram: &[u8]) -> Result<bool, Refusal> {
        while !datagram.is_empty() {
            let length = usize::try_from(u32_at(datagram, 0)?).map_err(|_| Errno::BADMSG)?;
            let message = datagram.get(..length).ok_or(Errno::BADMSG)?;
            datagram = datagram.get(length.next_multiple_of(4)..).unwrap_or_default();
            let (kind, flags) = (u16_at(message, 4)?, i32::from(u16_at(message, 6)?));
            let body = message.get(HEADER..).ok_or(Errno::BADMSG)?;
            if u32_at(message, 8)? != self.sequence {
                continue;
            }
            self.interrupted |= flags & libc::NLM_F_DUMP_INTR != 0;
            match i32::from(kind) {
                libc::NLMSG_NOOP => {}
                // A dump's end has an error as well, if it failed on the way.
                libc::NLMSG_ERROR | libc::NLMSG_DONE => return finished(body, kind, flags),
                _ => self.replies.push(Reply(body.to_vec())),
            }
        }
        Ok(false)
    }
}

/// The end of an exchange, as an NLMSG_ERROR or NLMSG_DONE has it: a negative errno, or 0.
fn finished(body: &[u8], kind: u16, flags: i32) -> Result<bool, Refusal> {
    match u32_at(body, 0)?.cast_signed() {
        0 => Ok(true),
        code @ -4095..0 => Err(Refusal {
            errno: Errno::from_raw_os_error(-code),
            message: sentence(body, kind, flags),
        }),
        _ => Err(Errno::BADMSG.into()),
    }
}

/// What the kernel says of an error. In an NLMSG_ERROR the request comes before it, or only its
/// header.
fn sentence(body: &[u8], kind: u16, flags: i32) -> Option<String> {
    if flags & libc::NLM_F_ACK_TLVS == 0 {
        return None;
    }
    let request = match i32::from(kind) {
        libc::NLMSG_DONE => 0,
        _ if flags & libc::NLM_F_CAPPED != 0 => HEADER,
        _ => usize::try_from(u32_at(body, 4).ok()?).ok()?,
    };
    let attributes = body.get(4_usize.checked_add(request)?.next_multiple_of(4)..)?;
    attribute(attributes, NLMSGERR_ATTR_MSG).and_then(string)
}

/// The sentence, in linux/netlink.h.
const NLMSGERR_ATTR_MSG: u16 = 1;
/// NLA_TYPE_MASK: the two highest bits of an attribute's type are flags.
const TYPE_MASK: u16 = 0x3fff;

/// The value of the first attribute of a type.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16_at(bytes, 0).ok()?);
        let kind = u16_at(bytes, 2).ok()? & TYPE_MASK;
        let value = bytes.get(4..length)?;
        if kind == wanted {
            return Some(value);
        }
        bytes = bytes.get(length.next_multiple_of(4)..)?;
    }
}

/// An attribute's value that is a string, with or without its NUL.
pub(super) fn string(value: &[u8]) -> Option<String> {
    let end = value.iter().position(|&byte| byte == 0).unwrap_or(value.len());
    std::str::from_utf8(value.get(..end)?).ok().map(str::to_owned)
}

fn u16_at(bytes: &[u8], at: usize) -> Result<u16, Errno> {
    let field = bytes.get(at..at + 2).and_then(|field| field.try_into().ok());
    field.map(u16::from_ne_bytes).ok_or(Errno::BADMSG)
}

/// A number at an offset.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Result<u32, Errno> {
    let field = bytes.get(at..at + 4).and_then(|field| field.try_into().ok());
    field.map(u32::from_ne_bytes).ok_or(Errno::BADMSG)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A message as the kernel would send it.
    fn message(kind: i32, flags: i32, sequence: u32, body: &[u8]) -> Vec<u8> {
        let mut bytes = Request::new(u16::try_from(kind).unwrap(), flags, body).finish(sequence);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    #[test]
    fn requests_are_laid_out() {
        let bytes = Request::new(16, 0, &[9; 4]).name(3, "ab").attribute(4, &[]).finish(7);
        #[rustfmt::skip]
        let expected = [
            32, 0, 0, 0, 16, 0, 1, 0, 7, 0, 0, 0, 0, 0, 0, 0, 9, 9, 9, 9,
            7, 0, 3, 0, b'a', b'b', 0, 0, 4, 0, 4, 0,
        ];
        if cfg!(target_endian = "little") {
            assert_eq!(bytes, expected);
        }
        let reply = Reply(bytes[HEADER..].to_vec());
        assert_eq!(reply.attribute(4, 3).and_then(string).as_deref(), Some("ab"));
        assert_eq!(reply.attribute(4, 4), Some(&[][..]));
        assert_eq!(reply.attribute(4, 5), None);
    }

    #[test]
    fn answers_end_with_the_acknowledgement() {
        let mut answers = Answers::new(7);
        let stale = message(libc::NLMSG_ERROR, 0, 6, &[1; 4]);
        assert_eq!(answers.take(&[stale, message(20, 0, 7, b"body")].concat()), Ok(false));
        assert_eq!(answers.take(&message(libc::NLMSG_ERROR, 0, 7, &[0; 4])), Ok(true));
        assert_eq!(answers.replies, [Reply(b"body".to_vec())]);
    }

    #[test]
    fn the_kernels_words_are_kept() {
        let request = Request::new(20, 0, &[1; 8]).finish(7);
        let words = &Request::new(0, 0, &[]).name(NLMSGERR_ATTR_MSG, "no way").0[HEADER..];
        let code = (-libc::EACCES).to_ne_bytes();
        let full = [&code[..], &request, words].concat();
        let capped = [&code[..], &request[..HEADER], words].concat();
        let flags = libc::NLM_F_ACK_TLVS;
        for (flags, body) in [(flags, full), (flags | libc::NLM_F_CAPPED, capped)] {
            let answer = message(libc::NLMSG_ERROR, flags, 7, &body);
            let refusal = Answers::new(7).take(&answer).unwrap_err();
            assert_eq!(refusal.errno, Errno::ACCESS);
            assert_eq!(refusal.to_string(), "no way");
        }
        let answer = message(libc::NLMSG_ERROR, 0, 7, &code);
        let refusal = Answers::new(7).take(&answer).unwrap_err();
        assert_eq!(refusal, Refusal::from(Errno::ACCESS));
    }

    proptest! {
        #[test]
        fn nothing_that_is_received_panics(datagram: Vec<u8>, kind in 0..5_i32, flags: u8) {
            let _ = Answers::new(0).take(&datagram);
            let _ = Answers::new(7).take(&message(kind, i32::from(flags), 7, &datagram));
            let _ = Reply(datagram).attribute(8, 3);
        }
    }
}
