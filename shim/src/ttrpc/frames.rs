//! Frames: ten bytes of header, then as many as it says.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::buffer::spare_capacity;
use rustix::io::Errno;
use rustix::net::SendFlags;

const HEADER: usize = 10;
/// The most that a frame may hold.
pub(super) const LONGEST: usize = 4 << 20;
/// What is read at once; most frames are shorter.
const CHUNK: usize = 4096;
/// What may wait for a peer that doesn't read. Responses are short, and a client that leaves so much of
/// them unread has gone astray.
const MOST_UNSENT: usize = 2 * LONGEST;
/// The memory that each connection may have, whatever the others have.
const OWN: usize = 64 * 1024;
/// What all connections together may have beyond that.
const SHARED: usize = 64 << 20;

/// What a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Request = 1,
    Response = 2,
}

/// A frame that has arrived.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) stream: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    /// `None` if it was longer than a frame may be; it was skipped.
    pub(crate) data: Option<Vec<u8>>,
}

/// What came of a look at the socket.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    Frame(Frame),
    /// A part of a frame. There may be more: nothing announces it.
    Part,
    /// Nothing yet. What comes is announced.
    Nothing,
}

/// A non-blocking socket with what has partly arrived and what has partly been sent.
#[derive(Debug)]
pub(crate) struct Frames {
    socket: OwnedFd,
    arrived: Vec<u8>,
    /// How many of these bytes have been taken as frames.
    taken: usize,
    /// Bytes of an oversized frame that are still to be thrown away.
    skip: usize,
    unsent: Vec<u8>,
    sent: usize,
    share: Share,
}

/// One connection's part of the memory that all of them may have: thousands of clients with half a
/// message each are not to take the machine's.
#[derive(Debug)]
struct Share {
    all: &'static AtomicUsize,
    mine: usize,
}

impl Share {
    fn new() -> Self {
        static ALL: AtomicUsize = AtomicUsize::new(0);
        Self { all: &ALL, mine: 0 }
    }

    /// Says how much it is now. Who wants more when there is none has to go.
    fn set(&mut self, bytes: usize) -> Result<(), Closed> {
        let bytes = bytes.saturating_sub(OWN);
        let before = std::mem::replace(&mut self.mine, bytes);
        self.all.fetch_sub(before, Ordering::Relaxed);
        let others = self.all.fetch_add(bytes, Ordering::Relaxed);
        if bytes > before && others + bytes > SHARED { Err(Closed) } else { Ok(()) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.all.fetch_sub(self.mine, Ordering::Relaxed);
    }
}

/// The peer is gone, or no peer to talk with.
#[derive(Debug)]
pub(crate) struct Closed;

impl Frames {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self {
            socket,
            arrived: Vec::new(),
            taken: 0,
            skip: 0,
            unsent: Vec::new(),
            sent: 0,
            share: Share::new(),
        }
    }

    /// The next frame, or a step towards it: a peer that sends without end is to get no more turns than
    /// others.
    pub(crate) fn receive(&mut self) -> Result<Arrival, Closed> {
        if let Some(frame) = self.split_off() {
            return Ok(Arrival::Frame(frame));
        }
        self.arrived.drain(..self.taken);
        self.taken = 0;
        // What a long frame needed.
        if self.arrived.capacity() > OWN && self.arrived.len() < CHUNK {
            self.arrived.shrink_to(CHUNK);
        }
        // Memory grows with what arrives, not with what a header promises.
        self.arrived.reserve(CHUNK);
        self.settle()?;
        match rustix::io::read(&self.socket, spare_capacity(&mut self.arrived)) {
            Ok(0) => Err(Closed),
            Ok(_) => Ok(self.split_off().map_or(Arrival::Part, Arrival::Frame)),
            Err(Errno::INTR) => Ok(Arrival::Part),
            Err(Errno::AGAIN) => {
                if self.arrived.is_empty() {
                    self.arrived = Vec::new();
                    self.settle()?;
                }
                Ok(Arrival::Nothing)
            }
            Err(_) => Err(Closed),
        }
    }

    fn split_off(&mut self) -> Option<Frame> {
        let rest = self.arrived.get(self.taken..)?;
        let skipped = self.skip.min(rest.len());
        self.skip -= skipped;
        self.taken += skipped;
        let rest = rest.get(skipped..)?;
        let [a, b, c, d, e, f, g, h, kind, flags] = *rest.first_chunk()?;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let stream = u32::from_be_bytes([e, f, g, h]);
        if length > LONGEST {
            self.taken += HEADER;
            self.skip = length;
            return Some(Frame { stream, kind, flags, data: None });
        }
        let data = rest.get(HEADER..HEADER + length)?.to_vec();
        self.taken += HEADER + length;
        Some(Frame { stream, kind, flags, data: Some(data) })
    }

    /// Sends a frame, or keeps what the socket doesn't take yet: [`Self::flush`] goes on with it.
    pub(crate) fn send(&mut self, kind: Kind, stream: u32, data: &[u8]) -> Result<(), Closed> {
        if self.unsent.len() - self.sent + data.len() > MOST_UNSENT {
            return Err(Closed);
        }
        let length = u32::try_from(data.len()).map_err(|_| Closed)?;
        self.unsent.reserve(HEADER + data.len());
        self.unsent.extend_from_slice(&length.to_be_bytes());
        self.unsent.extend_from_slice(&stream.to_be_bytes());
        self.unsent.extend_from_slice(&[kind as u8, 0]);
        self.unsent.extend_from_slice(data);
        self.flush()?;
        self.settle()
    }

    /// Sends what the socket takes.
    pub(crate) fn flush(&mut self) -> Result<(), Closed> {
        while let Some(rest) = self.unsent.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match rustix::net::send(&self.socket, rest, SendFlags::NOSIGNAL) {
                Ok(count) => self.sent += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    // A client that reads a little of each answer would make it grow for ever. Half of
                    // it at a time: each byte is moved once at most, on average.
                    if self.sent > OWN.max(self.unsent.len() / 2) {
                        self.unsent.drain(..self.sent);
                        self.unsent.shrink_to_fit();
                        self.sent = 0;
                        self.settle()?;
                    }
                    return Ok(());
                }
                Err(_) => return Err(Closed),
            }
        }
        if !self.unsent.is_empty() {
            self.unsent = Vec::new();
            self.sent = 0;
            self.settle()?;
        }
        Ok(())
    }

    /// Says how much memory there is now.
    fn settle(&mut self) -> Result<(), Closed> {
        self.share.set(self.arrived.capacity() + self.unsent.capacity())
    }

    pub(crate) fn is_flushed(&self) -> bool {
        self.unsent.is_empty()
    }
}

impl AsFd for Frames {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use super::*;

    fn pair() -> (Frames, UnixStream) {
        let (ours, theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        (Frames::new(ours.into()), theirs)
    }

    /// All steps to the next frame at once.
    fn receive(ours: &mut Frames) -> Option<Frame> {
        loop {
            match ours.receive().unwrap() {
                Arrival::Frame(frame) => return Some(frame),
                Arrival::Part => {}
                Arrival::Nothing => return None,
            }
        }
    }

    fn frame(length: u32, stream: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&stream.to_be_bytes());
        bytes.extend_from_slice(&[1, 0]);
        bytes.extend_from_slice(data);
        bytes
    }

    #[test]
    fn a_frame_arrives_byte_by_byte_and_two_at_once() {
        let (mut ours, mut theirs) = pair();
        for byte in frame(3, 7, b"abc") {
            assert_eq!(receive(&mut ours), None);
            theirs.write_all(&[byte]).unwrap();
        }
        let got = receive(&mut ours).unwrap();
        assert_eq!((got.stream, got.data.as_deref()), (7, Some(&b"abc"[..])));
        theirs.write_all(&[frame(1, 9, b"x"), frame(0, 11, b"")].concat()).unwrap();
        assert_eq!(receive(&mut ours).unwrap().stream, 9);
        assert_eq!(receive(&mut ours).unwrap().data.as_deref(), Some(&[][..]));
        drop(theirs);
        assert!(ours.receive().is_err());
    }

    #[test]
    fn what_is_too_long_is_skipped_and_takes_no_memory() {
        let (mut ours, mut theirs) = pair();
        let length = u32::try_from(LONGEST).unwrap() + 1;
        let writer = std::thread::spawn(move || {
            theirs.write_all(&frame(length, 1, &vec![0; length as usize])).unwrap();
            theirs.write_all(&frame(2, 3, b"ok")).unwrap();
            theirs
        });
        let mut got = Vec::new();
        while got.len() < 2 {
            match receive(&mut ours) {
                Some(frame) => got.push(frame),
                None => std::thread::yield_now(),
            }
            assert!(ours.arrived.capacity() < 1 << 20);
        }
        assert_eq!(got[0].data, None);
        assert_eq!(got[1].data.as_deref(), Some(&b"ok"[..]));
        drop(writer.join());
    }

    #[test]
    fn each_step_is_a_short_one() {
        let (mut ours, mut theirs) = pair();
        let length = u32::try_from(LONGEST).unwrap() + 1;
        theirs.write_all(&frame(length, 1, &[0; 20 * CHUNK])).unwrap();
        assert!(matches!(ours.receive().unwrap(), Arrival::Frame(Frame { data: None, .. })));
        let parts = (0..).take_while(|_| ours.receive().unwrap() == Arrival::Part).count();
        assert!(parts >= 20, "{parts}");
    }

    #[test]
    fn a_peer_that_does_not_read_is_dropped_in_the_end() {
        let (mut ours, theirs) = pair();
        let data = vec![0; 1 << 20];
        let sent = (0..64).take_while(|_| ours.send(Kind::Response, 1, &data).is_ok()).count();
        assert!(sent > 2 && sent < 16, "{sent}");
        drop(theirs);
    }

    #[test]
    fn what_did_not_fit_follows() {
        let (mut ours, mut theirs) = pair();
        let data: Vec<u8> = (0..1 << 20).map(|n: u32| n.to_le_bytes()[0]).collect();
        ours.send(Kind::Response, 5, &data).unwrap();
        assert!(!ours.is_flushed());
        let reader = std::thread::spawn(move || {
            let mut got = vec![0; HEADER + (1 << 20)];
            theirs.read_exact(&mut got).unwrap();
            got
        });
        while !ours.is_flushed() {
            ours.flush().unwrap();
        }
        assert_eq!(reader.join().unwrap()[HEADER..], data);
    }

    #[test]
    fn what_was_sent_takes_no_memory() {
        let (mut ours, mut theirs) = pair();
        let data = vec![0; 1 << 20];
        ours.send(Kind::Response, 1, &data).unwrap();
        let mut got = vec![0; HEADER + data.len()];
        for _ in 0..40 {
            // It is never empty.
            ours.send(Kind::Response, 1, &data).unwrap();
            let (first, last) = got.split_at_mut(data.len() / 2);
            for part in [first, last] {
                let mut at = 0;
                while at < part.len() {
                    let end = part.len().min(at + CHUNK);
                    theirs.read_exact(&mut part[at..end]).unwrap();
                    at = end;
                    ours.flush().unwrap();
                }
            }
            assert!(!ours.is_flushed());
        }
        assert!(ours.unsent.capacity() < 8 << 20, "{}", ours.unsent.capacity());
    }

    /// Half messages: those for which there is no memory have to go, short ones are always taken.
    #[test]
    fn all_share_what_there_is() {
        let all: &'static AtomicUsize = Box::leak(Box::default());
        let half = [frame(u32::try_from(LONGEST).unwrap(), 1, &[]), vec![0; LONGEST - 1]].concat();
        let mut held = Vec::new();
        let mut closed = 0;
        for _ in 0..40 {
            let (mut ours, mut theirs) = pair();
            ours.share = Share { all, mine: 0 };
            let outcome = half.chunks(CHUNK).try_for_each(|chunk| {
                theirs.write_all(chunk).unwrap();
                ours.receive().map(drop)
            });
            match outcome {
                Ok(()) => held.push((ours, theirs)),
                Err(Closed) => closed += 1,
            }
        }
        assert!((8..=16).contains(&held.len()), "{}", held.len());
        assert_eq!(held.len() + closed, 40);
        assert!(all.load(Ordering::Relaxed) <= SHARED);
        let (mut ours, mut theirs) = pair();
        ours.share = Share { all, mine: 0 };
        theirs.write_all(&frame(1000, 1, &[0; 1000])).unwrap();
        assert_eq!(receive(&mut ours).unwrap().data.unwrap().len(), 1000);
        drop(held);
        assert_eq!(all.load(Ordering::Relaxed), 0);
    }
}
