//! The server's side of a connection.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use prost::Message;

use super::frames::{Closed, Frames, LONGEST};
use super::{Arrival, Frame, Kind};
use crate::failure::{Code, Failure, Result};
use crate::proto::wire::{Request, Response, Status};

/// `remote open`: a request of a stream, of which there are none here.
const REMOTE_OPEN: u8 = 2;

/// A call to answer.
#[derive(Debug)]
pub(crate) struct Call {
    /// What the answer has to name.
    pub(crate) stream: u32,
    pub(crate) service: String,
    pub(crate) method: String,
    pub(crate) payload: Vec<u8>,
}

/// What a client has sent.
#[derive(Debug)]
pub(crate) enum Received {
    Call(Call),
    /// A part of a call, or what is none. There may be more: nothing announces it.
    Other,
    /// Nothing yet.
    Nothing,
}

/// A client.
#[derive(Debug)]
pub(crate) struct Connection {
    frames: Frames,
    has_called: bool,
}

impl Connection {
    pub(crate) fn new(socket: OwnedFd) -> Self {
        Self { frames: Frames::new(socket), has_called: false }
    }

    /// The next call, or a step towards it. What is no call is answered here, if it can be.
    pub(crate) fn receive(&mut self) -> std::result::Result<Received, Closed> {
        let frame = match self.frames.receive()? {
            Arrival::Frame(frame) => frame,
            Arrival::Part => return Ok(Received::Other),
            Arrival::Nothing => return Ok(Received::Nothing),
        };
        let stream = frame.stream;
        match call(frame)? {
            Ok(call) => {
                self.has_called = true;
                Ok(Received::Call(call))
            }
            Err(failure) => self.answer(stream, Err(failure)).map(|()| Received::Other),
        }
    }

    /// Whether the client has made a call so far.
    pub(crate) fn has_called(&self) -> bool {
        self.has_called
    }

    pub(crate) fn answer(
        &mut self,
        stream: u32,
        outcome: Result<Vec<u8>>,
    ) -> std::result::Result<(), Closed> {
        let response = match outcome {
            Ok(payload) if payload.len() <= LONGEST - 64 => Response { status: None, payload },
            Ok(_) => refusal(Failure::new(Code::ResourceExhausted, "the answer is too long")),
            Err(failure) => refusal(failure),
        };
        self.frames.send(Kind::Response, stream, &response.encode_to_vec())
    }

    pub(crate) fn flush(&mut self) -> std::result::Result<(), Closed> {
        self.frames.flush()
    }

    /// Whether the client has got all answers.
    pub(crate) fn is_flushed(&self) -> bool {
        self.frames.is_flushed()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.frames.as_fd()
    }
}

/// A frame as a call. What isn't even ttrpc ends the connection; what is, but can't be answered
/// otherwise, is refused.
fn call(frame: Frame) -> std::result::Result<Result<Call>, Closed> {
    // Clients' streams have odd numbers.
    if frame.kind != Kind::Request as u8 || frame.stream.is_multiple_of(2) {
        return Err(Closed);
    }
    let refuse = |code, why: &str| Ok(Err(Failure::new(code, why)));
    let Some(data) = frame.data else {
        return refuse(Code::ResourceExhausted, "the request is longer than 4 MiB");
    };
    if frame.flags & REMOTE_OPEN != 0 {
        return refuse(Code::Unimplemented, "streams are not supported");
    }
    let Ok(request) = Request::decode(&data[..]) else {
        return refuse(Code::InvalidArgument, "the request is no ttrpc.Request");
    };
    Ok(Ok(Call {
        stream: frame.stream,
        service: request.service,
        method: request.method,
        payload: request.payload,
    }))
}

fn refusal(failure: Failure) -> Response {
    let status =
        Status { code: failure.code as i32, message: failure.message, ..Status::default() };
    Response { status: Some(status), payload: Vec::new() }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn each_refusal_is_a_step() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        let mut connection = Connection::new(ours.into());
        // A stream is asked for, three times.
        theirs.write_all(&[0, 0, 0, 0, 0, 0, 0, 1, 1, REMOTE_OPEN].repeat(3)).unwrap();
        for _ in 0..3 {
            assert!(matches!(connection.receive(), Ok(Received::Other)));
        }
        assert!(matches!(connection.receive(), Ok(Received::Nothing)));
        assert!(!connection.has_called());
    }
}
