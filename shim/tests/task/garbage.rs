//! Clients that send what no client should: the shim drops them, and serves the others.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::UnixStream;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::shim::{StateRequest, StateResponse};
use containerd_shim_protos::ttrpc::Code;
use containerd_shim_protos::ttrpc::proto::{Request, Response};
use containerd_shim_protos::types::empty::Empty;
use containerd_shim_protos::types::task::Status;

use rustix::process::{Resource, getrlimit};

use crate::harness::{Containerd, LIMIT, Shim, Task, later, ours};

fn frame(length: u32, stream: u32, kind: u8, flags: u8, body: &[u8]) -> Vec<u8> {
    [&length.to_be_bytes()[..], &stream.to_be_bytes(), &[kind, flags], body].concat()
}

/// A whole request for `State`.
fn state(shim: &Shim, stream: u32) -> Vec<u8> {
    let request = StateRequest { id: "a".to_owned(), ..StateRequest::default() };
    let request = Request {
        service: shim.service(),
        method: "State".to_owned(),
        payload: request.write_to_bytes().expect("encode"),
        ..Request::default()
    };
    let body = request.write_to_bytes().expect("encode");
    frame(body.len().try_into().expect("a length"), stream, 1, 0, &body)
}

fn connect(shim: &Shim) -> UnixStream {
    let stream = UnixStream::connect(shim.socket()).expect("connect");
    stream.set_read_timeout(Some(LIMIT)).expect("a limit");
    stream.set_write_timeout(Some(LIMIT)).expect("a limit");
    stream
}

/// The stream and the answer that comes next.
fn answer(stream: &mut UnixStream) -> (u32, Response) {
    let mut header = [0; 10];
    stream.read_exact(&mut header).expect("an answer");
    let number = |range: std::ops::Range<usize>| {
        u32::from_be_bytes(header[range].try_into().expect("four bytes"))
    };
    assert_eq!(header[8], 2, "the type of an answer");
    let mut body = vec![0; number(0..4).try_into().expect("a length")];
    stream.read_exact(&mut body).expect("the answer's body");
    (number(4..8), Response::parse_from_bytes(&body).expect("decode"))
}

/// A container, that is still served when `disturb` is done.
fn with_container(test: &str, disturb: impl FnOnce(&Task)) {
    let Some(containerd) = Containerd::new(test) else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    disturb(&task);
    assert!(!task.shim.is_gone(), "the shim is still there");
    assert_eq!(task.status(), Status::RUNNING, "old connections are served");
    let task = Task { shim: task.shim.again(), ..task };
    assert_eq!(task.status(), Status::RUNNING, "and new ones");
    task.finish();
    containerd.events.are("a", &["create", "start", "exit 137", "delete"]);
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// Attack: a client at the shim's socket sends noise.
#[test]
fn noise() {
    with_container("noise", |task| {
        for seed in 1..200_u32 {
            let mut state = seed.wrapping_mul(0x9e37_79b9);
            let bytes: Vec<u8> = (0..seed * 7)
                .map(|_| {
                    state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    state.to_be_bytes()[0]
                })
                .collect();
            // It may hang up before it has read all.
            let _ = connect(&task.shim).write_all(&bytes);
        }
    });
}

/// Attack: clients leave their calls half sent, each at another byte.
#[test]
fn halves() {
    with_container("halves", |task| {
        let whole = state(&task.shim, 1);
        let mut held = Vec::new();
        for length in 0..whole.len() {
            let mut stream = connect(&task.shim);
            stream.write_all(&whole[..length]).expect("write");
            if length % 2 == 0 {
                held.push(stream);
            }
        }
        assert_eq!(task.status(), Status::RUNNING);
        // What was held is completed now, and answered.
        for (stream, length) in held.iter_mut().zip((0..).step_by(2)) {
            stream.write_all(&whole[length..]).expect("write");
            let (number, response) = answer(stream);
            assert_eq!((number, response.status.code.value()), (1, 0));
        }
    });
}

/// Attack: a client sends a call byte by byte, and a hundred at once.
#[test]
fn byte_by_byte_and_at_once() {
    with_container("byte_by_byte_and_at_once", |task| {
        let mut stream = connect(&task.shim);
        for byte in state(&task.shim, 1) {
            stream.write_all(&[byte]).expect("write");
        }
        assert_eq!(answer(&mut stream).0, 1);
        let many: Vec<u8> = (1..100).flat_map(|n| state(&task.shim, 2 * n + 1)).collect();
        stream.write_all(&many).expect("write");
        let mut numbers: Vec<u32> = (1..100).map(|_| answer(&mut stream).0).collect();
        numbers.sort_unstable();
        assert_eq!(numbers, (1..100).map(|n| 2 * n + 1).collect::<Vec<_>>());
    });
}

/// Attack: a client closes its side for writing, and still gets the answer that it waits for, or an end.
#[test]
fn half_closed() {
    with_container("half_closed", |task| {
        let mut stream = connect(&task.shim);
        stream.write_all(&state(&task.shim, 1)).expect("write");
        stream.shutdown(Shutdown::Write).expect("shut down");
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
    });
}

/// Attack: a client announces more than the four megabytes of ttrpc: refused, before memory is taken for it.
#[test]
fn oversized() {
    with_container("oversized", |task| {
        for length in [(4 << 20) + 1, u32::MAX] {
            let mut stream = connect(&task.shim);
            stream.write_all(&frame(length, 1, 1, 0, &[0; 1000])).expect("write");
            let _ = stream.shutdown(Shutdown::Write);
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
        }
        let status = std::fs::read_to_string(format!("/proc/{}/status", task.shim.pid));
        let status = status.expect("the shim's status");
        let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("VmHWM");
        let peak: u64 = peak.trim().trim_end_matches(" kB").parse().expect("a number");
        assert!(peak < 200_000, "{peak} kB");
    });
}

/// Attack: a client calls services and methods that there are not.
#[test]
fn unknown_names() {
    with_container("unknown_names", |task| {
        let shim = &task.shim;
        let request = StateRequest { id: "a".to_owned(), ..StateRequest::default() };
        let of_method = shim.call::<Empty>("Levitate", &request).expect_err("no such method");
        assert_eq!(of_method.code, Some(Code::UNIMPLEMENTED), "{of_method}");
        let service = "containerd.task.v9.Task";
        let of_service = shim.call_service::<Empty>(service, "State", &request);
        let of_service = of_service.expect_err("no such service");
        assert_eq!(of_service.code, Some(Code::UNIMPLEMENTED), "{of_service}");
    });
}

/// Both versions of the service, for containerd 1.6 and 2.
#[test]
fn both_versions() {
    with_container("both_versions", |task| {
        let request = StateRequest { id: "a".to_owned(), ..StateRequest::default() };
        let versions: &[u32] = if ours() { &[2, 3] } else { &[task.shim.version] };
        for version in versions {
            let service = format!("containerd.task.v{version}.Task");
            let state: StateResponse =
                task.shim.call_service(&service, "State", &request).expect("state");
            assert_eq!(state.pid, task.pid);
        }
    });
}

/// Attack: a client's messages are none, in a frame that is one.
#[test]
fn wrong_contents() {
    with_container("wrong_contents", |task| {
        let mut stream = connect(&task.shim);
        // No Request at all: an answer, or an end.
        stream.write_all(&frame(4, 1, 1, 0, &[0xff; 4])).expect("write");
        let mut rest = [0; 10];
        let _ = stream.read(&mut rest);

        for method in ["State", "Create", "Exec", "Update", "Kill"] {
            let request = Request {
                service: task.shim.service(),
                method: method.to_owned(),
                payload: vec![0xff; 40],
                ..Request::default()
            };
            let body = request.write_to_bytes().expect("encode");
            let length = body.len().try_into().expect("a length");
            let mut stream = connect(&task.shim);
            stream.write_all(&frame(length, 1, 1, 0, &body)).expect("write");
            let (number, response) = answer(&mut stream);
            assert!(number == 1 && response.status.code.value() != 0, "{method}: {response}");
        }
    });
}

/// Attack: a client sends frames of streams, answers, even and old numbers: none of them is a call of ours.
#[test]
fn wrong_frames() {
    with_container("wrong_frames", |task| {
        let whole = state(&task.shim, 1);
        let body = &whole[10..];
        let length = body.len().try_into().expect("a length");
        let mut frames = vec![(1, 2, 0), (1, 0, 0), (1, 255, 255), (2, 1, 0), (0, 1, 0)];
        if ours() {
            // containerd's shim dies of a panic when data come for a stream that is none.
            frames.extend([(1, 3, 0), (1, 3, 4), (1, 3, 1)]);
        }
        for (stream, kind, flags) in frames {
            let mut connection = connect(&task.shim);
            connection.write_all(&frame(length, stream, kind, flags, body)).expect("write");
            connection.shutdown(Shutdown::Write).expect("shut down");
            let mut rest = Vec::new();
            let _ = connection.read_to_end(&mut rest);
        }
        let mut connection = connect(&task.shim);
        connection.write_all(&state(&task.shim, 5)).expect("write");
        assert_eq!(answer(&mut connection).0, 5);
        // A number from before.
        let _ = connection.write_all(&state(&task.shim, 3));
    });
}

/// Attack: a client asks and asks, and never reads.
#[test]
fn a_client_that_never_reads() {
    with_container("a_client_that_never_reads", |task| {
        let mut deaf = connect(&task.shim);
        deaf.set_nonblocking(true).expect("non-blocking");
        let many: Vec<u8> = (0..20_000).flat_map(|n| state(&task.shim, 2 * n + 1)).collect();
        // As much as it takes.
        let _ = deaf.write_all(&many);
        for _ in 0..100 {
            assert_eq!(task.status(), Status::RUNNING);
        }
        drop(deaf);
    });
}

/// Attack: ten thousand clients stay connected.
#[test]
fn ten_thousand_connections() {
    with_container("ten_thousand_connections", |task| {
        // Of this process, which also runs the other tests, and of the shim.
        let limit = getrlimit(Resource::Nofile).current;
        let count = limit.map_or(10_000, |limit| 10_000.min(limit / 2));
        let count = usize::try_from(count).expect("a count");
        let shim = task.shim.clone();
        let held = later(move || (0..count).map(|_| connect(&shim)).collect::<Vec<_>>()).get();
        assert_eq!(task.status(), Status::RUNNING, "with {count} connections");
        drop(held);
    });
}
