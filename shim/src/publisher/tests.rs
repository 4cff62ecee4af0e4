use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use super::*;
use crate::proto::events::TaskPaused;
use crate::proto::wire::Status;
use crate::testing::Scratch;

/// containerd's side, and what is to talk with it.
struct Pair {
    _directory: Scratch,
    listener: UnixListener,
    reactor: Reactor,
    publisher: Publisher,
}

impl Pair {
    fn new(name: &str) -> Self {
        let directory = Scratch::new(&format!("publisher-{name}"));
        let path = directory.path().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let publisher = Publisher::new(path, "space".to_owned());
        let reactor = Reactor::new().unwrap();
        Self { _directory: directory, listener, reactor, publisher }
    }

    fn publish<E: Event>(&mut self, event: &E) -> Trouble {
        self.publisher.publish(&mut self.reactor, event)
    }

    fn paused(&mut self, id: &str) -> Trouble {
        self.publish(&TaskPaused { container_id: id.to_owned() })
    }

    fn worths(&self) -> Vec<Worth> {
        self.publisher.queue.iter().map(|waiting| waiting.worth).collect()
    }

    /// Lets one turn of the loop happen.
    fn turn(&mut self) -> Trouble {
        let mut trouble = None;
        for token in self.reactor.wait().unwrap() {
            if self.publisher.owns(token) {
                trouble = self.publisher.ready(&mut self.reactor, token).or(trouble);
            }
        }
        trouble
    }

    /// As if the time had come.
    fn ring(&mut self) -> Trouble {
        let timer = self.publisher.timer.unwrap();
        self.reactor.cancel(timer);
        self.publisher.ready(&mut self.reactor, timer)
    }

    fn accept(&self) -> UnixStream {
        self.listener.accept().unwrap().0
    }
}

/// The stream and the container of the next event.
fn event(client: &mut UnixStream) -> (u32, String) {
    let mut header = [0; 10];
    client.read_exact(&mut header).unwrap();
    let [a, b, c, d, e, f, g, h, ..] = header;
    let mut body = vec![0; u32::from_be_bytes([a, b, c, d]).try_into().unwrap()];
    client.read_exact(&mut body).unwrap();
    let request = Request::decode(&body[..]).unwrap();
    assert_eq!(request.timeout_nano, 0);
    let envelope = ForwardRequest::decode(&request.payload[..]).unwrap().envelope.unwrap();
    // All have the container's id as their first field.
    let event = TaskPaused::decode(&envelope.event.unwrap().value[..]).unwrap();
    (u32::from_be_bytes([e, f, g, h]), event.container_id)
}

fn answer(client: &mut UnixStream, stream: u32, code: i32) {
    let status = Status { code, message: "no".to_owned(), ..Status::default() };
    let body = Response { status: Some(status), payload: Vec::new() }.encode_to_vec();
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let frame = [&length[..], &stream.to_be_bytes(), &[2, 0], &body].concat();
    client.write_all(&frame).unwrap();
}

#[test]
fn a_containerd_that_stands_still_gets_nothing_twice() {
    let mut pair = Pair::new("still");
    assert_eq!(pair.paused("a"), None);
    assert_eq!(pair.paused("b"), None);
    let mut client = pair.accept();
    let expected = "containerd doesn't acknowledge an event; 2 wait";
    assert_eq!(pair.ring().as_deref(), Some(expected));
    // That was all: no timer, no other connection, nothing more on this one.
    assert_eq!(pair.publisher.timer, None);
    pair.listener.set_nonblocking(true).unwrap();
    assert!(pair.listener.accept().is_err());
    for expected in ["a", "b"] {
        let (stream, id) = event(&mut client);
        assert_eq!(id, expected);
        client.set_nonblocking(true).unwrap();
        assert!(client.read(&mut [0]).is_err());
        client.set_nonblocking(false).unwrap();
        answer(&mut client, stream, 0);
        let left = pair.publisher.queue.len();
        while pair.publisher.queue.len() == left {
            assert_eq!(pair.turn(), None);
        }
    }
    assert!(pair.publisher.is_idle());
}

#[test]
fn a_containerd_that_ended_is_sent_it_again() {
    let mut pair = Pair::new("ended");
    assert_eq!(pair.paused("a"), None);
    drop(pair.accept());
    while pair.turn().is_none() {}
    assert_eq!(pair.ring(), None);
    assert_eq!(event(&mut pair.accept()), (1, "a".to_owned()));
}

#[test]
fn kills_without_end_are_one_event() {
    let mut pair = Pair::new("kills");
    let oom = |id: &str| TaskOOM { container_id: id.to_owned() };
    // The first is on its way when the second comes.
    for id in ["a", "a", "a", "b", "a", "b"] {
        assert_eq!(pair.publish(&oom(id)), None);
    }
    assert_eq!(pair.worths(), [Worth::Oom; 3]);
}

#[test]
fn what_is_on_its_way_stays_and_exits_go_last() {
    let mut pair = Pair::new("full");
    assert_eq!(pair.paused("first"), None);
    let exit = |id: &str| TaskExit { container_id: id.to_owned(), ..TaskExit::default() };
    assert_eq!(pair.publish(&exit("second")), None);
    assert_eq!(pair.paused("third"), None);
    assert_eq!(pair.publish(&TaskOOM { container_id: "a".to_owned() }), None);
    while pair.publisher.queue.len() < MOST {
        assert_eq!(pair.publish(&exit("more")), None);
    }
    for expected in [
        &[Worth::Other, Worth::Exit, Worth::Other, Worth::Exit][..],
        &[Worth::Other, Worth::Exit, Worth::Exit, Worth::Exit],
    ] {
        assert!(pair.publish(&exit("last")).is_some());
        assert_eq!(pair.worths()[..4], *expected);
    }
    assert!(pair.publish(&exit("last")).is_some());
    assert_eq!(pair.publisher.queue.len(), MOST);
    // The acknowledgement is for the first one; the second had to go.
    let mut client = pair.accept();
    for expected in ["first", "more"] {
        let (stream, id) = event(&mut client);
        assert_eq!(id, expected);
        answer(&mut client, stream, 0);
        let left = pair.publisher.queue.len();
        while pair.publisher.queue.len() == left {
            assert_eq!(pair.turn(), None);
        }
    }
}

#[test]
fn only_what_is_wrong_for_good_is_given_up() {
    let mut pair = Pair::new("refused");
    assert_eq!(pair.paused("a"), None);
    assert_eq!(pair.paused("b"), None);
    // Canceled, Unknown, DeadlineExceeded, Unimplemented, Unavailable: as often as it likes.
    let mut said = Vec::new();
    for code in [1, 2, 4, 12, 14, 1, 2, 4, 12, 14, 3, 3, 3, 3, 3] {
        let mut client = pair.accept();
        let (stream, id) = event(&mut client);
        assert_eq!(id, "a");
        answer(&mut client, stream, code);
        while pair.publisher.awaited == Some(stream) {
            said.extend(pair.turn());
        }
        if pair.publisher.connection.is_none() {
            said.extend(pair.ring());
        }
    }
    let expected = [
        "containerd refused an event: no; 2 events wait",
        "containerd refused an event 5 times: no",
    ];
    assert_eq!(said, expected);
    assert_eq!(pair.worths(), [Worth::Other]);
}
