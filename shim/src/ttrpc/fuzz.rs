//! What is fuzzed of ttrpc: all that a client sends.

use std::io::Write;
use std::os::unix::net::UnixStream;

use prost::Message;

use super::frames::LONGEST;
use super::{Arrival, Connection, Frame, Frames, Kind, Received};
use crate::proto::wire::Response;

/// What fits into a socket that nobody reads.
const MOST: usize = 64 << 10;

/// A client's bytes. The first one says in how large pieces they come.
pub fn ttrpc(data: &[u8]) {
    let Some((piece, stream)) = data.split_first() else { return };
    let stream = stream.get(..MOST).unwrap_or(stream);
    frames(stream, 1 + usize::from(*piece) * 8);
    calls(stream);
}

/// Frames arrive as they were sent, in whatever pieces.
fn frames(stream: &[u8], piece: usize) {
    let (mut ours, mut theirs) = pair();
    let mut expected = sent(stream).into_iter();
    for piece in stream.chunks(piece) {
        assert!(theirs.write_all(piece).is_ok());
        loop {
            match ours.receive() {
                Ok(Arrival::Frame(frame)) => assert_eq!(Some(frame), expected.next()),
                Ok(Arrival::Part) => {}
                Ok(Arrival::Nothing) => break,
                Err(closed) => unreachable!("{closed:?}: the client is there"),
            }
        }
    }
    assert_eq!(expected.next(), None);
    drop(theirs);
    assert!(ours.receive().is_err());
}

fn pair() -> (Frames, UnixStream) {
    let pair = UnixStream::pair().and_then(|(ours, theirs)| {
        ours.set_nonblocking(true)?;
        Ok((ours, theirs))
    });
    let Ok((ours, theirs)) = pair else { unreachable!("no socket: {pair:?}") };
    (Frames::new(ours.into()), theirs)
}

/// What ttrpc's PROTOCOL.md makes of a stream.
fn sent(mut stream: &[u8]) -> Vec<Frame> {
    let mut frames = Vec::new();
    while let Some(([a, b, c, d, e, f, g, h, kind, flags], rest)) = stream.split_first_chunk() {
        let length = u32::from_be_bytes([*a, *b, *c, *d]) as usize;
        let data = rest.get(..length);
        if data.is_none() && length <= LONGEST {
            break;
        }
        frames.push(Frame {
            stream: u32::from_be_bytes([*e, *f, *g, *h]),
            kind: *kind,
            flags: *flags,
            data: data.filter(|_| length <= LONGEST).map(<[u8]>::to_vec),
        });
        stream = rest.get(length..).unwrap_or_default();
    }
    frames
}

/// Each call is answered once, and so is what is refused; nothing else is said.
fn calls(stream: &[u8]) {
    let Ok((ours, mut theirs)) = UnixStream::pair() else { return };
    assert!(ours.set_nonblocking(true).is_ok() && theirs.write_all(stream).is_ok());
    let mut connection = Connection::new(ours.into());
    let mut open = true;
    while open {
        open = match connection.receive() {
            Ok(Received::Call(call)) => {
                assert!(connection.has_called() && !call.stream.is_multiple_of(2));
                connection.answer(call.stream, Ok(call.method.into_bytes())).is_ok()
            }
            Ok(Received::Other) => true,
            Ok(Received::Nothing) | Err(_) => false,
        };
    }
    let asked: Vec<u32> = sent(stream).iter().map(|frame| frame.stream).collect();
    assert!(theirs.set_nonblocking(true).is_ok());
    let mut answers = Frames::new(theirs.into());
    let mut answered = Vec::new();
    while let Ok(Arrival::Frame(frame)) = answers.receive() {
        assert_eq!((frame.kind, frame.flags), (Kind::Response as u8, 0));
        let data = frame.data.unwrap_or_default();
        assert!(Response::decode(&data[..]).is_ok());
        answered.push(frame.stream);
    }
    assert!(asked.starts_with(&answered), "{answered:?} of {asked:?}");
}
