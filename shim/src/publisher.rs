//! Events, to containerd: in order, each until containerd has said that it has it.
//!
//! containerd handles the requests of one connection at the same time, so the next event is sent only when
//! the one before is acknowledged. While containerd is away, events wait here, and it is called again and
//! again; restarted, it gets them all. A containerd that stands still (SIGSTOP, swapping) is away, too, but
//! nothing is sent twice: a unix socket loses nothing, and it would handle all copies when it goes on.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::Duration;

use prost::Message;
use rustix::event::epoll::EventFlags;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::failure::{During, Result};
use crate::proto::events::{Envelope, Event, ForwardRequest, TaskExit, TaskOOM};
use crate::proto::wire::{Request, Response, Timestamp};
use crate::reactor::{Reactor, Token};
use crate::ttrpc::{Arrival, Frames, Kind};

const SERVICE: &str = "containerd.services.events.ttrpc.v1.Events";
/// How long containerd may take to acknowledge before that is said in the log.
const PATIENCE: Duration = Duration::from_secs(5);
/// Pauses between attempts.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// How many events wait at most, some 200 bytes each. A pod would have to start and end processes for
/// hours without containerd, which alone can ask for that.
const MOST: usize = 16 * 1024;
/// How often an event is sent that containerd finds wrong.
const ATTEMPTS: u32 = 5;
/// What says that this event will never be taken: InvalidArgument, ResourceExhausted (ttrpc's word for
/// too long) and OutOfRange. Anything else may come from a containerd that is starting or ending.
const FINAL: [i32; 3] = [3, 8, 11];

/// An event that waits.
struct Waiting {
    worth: Worth,
    /// A `TaskOOM`, to know it again.
    oom: Option<Vec<u8>>,
    request: Vec<u8>,
}

/// What is lost last when there are too many.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Worth {
    Oom,
    Other,
    /// Without it, containerd takes a process for a running one for ever.
    Exit,
}

impl Worth {
    fn of<E: Event>() -> Self {
        match E::TOPIC {
            TaskOOM::TOPIC => Self::Oom,
            TaskExit::TOPIC => Self::Exit,
            _ => Self::Other,
        }
    }
}

pub(crate) struct Publisher {
    address: PathBuf,
    namespace: String,
    /// The oldest first.
    queue: VecDeque<Waiting>,
    /// The connection, and the stream of the request that isn't acknowledged yet.
    connection: Option<(Token, Frames)>,
    awaited: Option<u32>,
    next_stream: u32,
    /// The time for the next attempt, or to say that the acknowledgement is late.
    timer: Option<Token>,
    pause: Duration,
    refusals: u32,
}

/// What went wrong, for the log.
pub(crate) type Trouble = Option<String>;

impl Publisher {
    /// `address`: the path of containerd's ttrpc socket.
    pub(crate) fn new(address: PathBuf, namespace: String) -> Self {
        Self {
            address,
            namespace,
            queue: VecDeque::new(),
            connection: None,
            awaited: None,
            next_stream: 1,
            timer: None,
            pause: FIRST_PAUSE,
            refusals: 0,
        }
    }

    /// Queues an event.
    pub(crate) fn publish<E: Event>(&mut self, reactor: &mut Reactor, event: &E) -> Trouble {
        let worth = Worth::of::<E>();
        let oom = (worth == Worth::Oom).then(|| event.encode_to_vec());
        // A container can have any number of processes killed; one event says that it happens.
        if oom.is_some() && self.unsent().any(|(_, other)| other.oom == oom) {
            return None;
        }
        let envelope = Envelope::of(event, &self.namespace, Timestamp::now());
        let request = Request {
            service: SERVICE.to_owned(),
            method: "Forward".to_owned(),
            payload: ForwardRequest { envelope: Some(envelope) }.encode_to_vec(),
            ..Request::default()
        };
        let mut trouble = None;
        if self.queue.len() >= MOST {
            let least = self.unsent().min_by_key(|(_, waiting)| waiting.worth);
            if let Some((index, _)) = least {
                self.queue.remove(index);
            }
            trouble = Some(format!("containerd is away: more than {MOST} events, one is dropped"));
        }
        self.queue.push_back(Waiting { worth, oom, request: request.encode_to_vec() });
        trouble.or(self.go_on(reactor))
    }

    /// Those that are not on their way, the oldest first, with their places in the queue.
    fn unsent(&self) -> impl Iterator<Item = (usize, &Waiting)> {
        self.queue.iter().enumerate().skip(usize::from(self.awaited.is_some()))
    }

    /// All events have arrived.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether a token is this one's.
    pub(crate) fn owns(&self, token: Token) -> bool {
        self.timer == Some(token)
            || self.connection.as_ref().is_some_and(|(ours, _)| *ours == token)
    }

    /// Something has happened to one of its tokens.
    pub(crate) fn ready(&mut self, reactor: &mut Reactor, token: Token) -> Trouble {
        if self.timer == Some(token) {
            self.timer = None;
            if self.awaited.is_some() {
                let waiting = self.queue.len();
                return Some(format!("containerd doesn't acknowledge an event; {waiting} wait"));
            }
            return self.go_on(reactor);
        }
        let Some((_, frames)) = &mut self.connection else { return None };
        if frames.flush().is_err() {
            return self.lose(reactor, "containerd closed the connection for events");
        }
        let mut trouble = None;
        while let Some((_, frames)) = &mut self.connection {
            match frames.receive() {
                Ok(Arrival::Frame(frame)) if Some(frame.stream) == self.awaited => {
                    let response = Response::decode(frame.data.as_deref().unwrap_or_default());
                    trouble = self.acknowledged(reactor, response.ok()).or(trouble);
                }
                Ok(Arrival::Frame(_) | Arrival::Part) => {}
                Ok(Arrival::Nothing) => break,
                Err(_) => {
                    return self.lose(reactor, "containerd closed the connection for events");
                }
            }
        }
        trouble
    }

    fn acknowledged(&mut self, reactor: &mut Reactor, response: Option<Response>) -> Trouble {
        self.awaited = None;
        self.stop_timer(reactor);
        let Some(response) = response else {
            return self.lose(reactor, "the answer to an event is no ttrpc.Response");
        };
        let Some(refusal) = response.status.filter(|status| status.code != 0) else {
            self.done();
            return self.go_on(reactor);
        };
        self.refusals += u32::from(FINAL.contains(&refusal.code));
        if self.refusals >= ATTEMPTS {
            self.done();
            let message = refusal.message;
            let trouble = format!("containerd refused an event {ATTEMPTS} times: {message}");
            return self.go_on(reactor).or(Some(trouble));
        }
        self.lose(reactor, &format!("containerd refused an event: {}", refusal.message))
    }

    /// Goes over to the next event.
    fn done(&mut self) {
        self.queue.pop_front();
        self.refusals = 0;
        self.pause = FIRST_PAUSE;
    }

    /// Gives the connection up, and tries again after a pause.
    fn lose(&mut self, reactor: &mut Reactor, why: &str) -> Trouble {
        self.connection = None;
        self.awaited = None;
        self.stop_timer(reactor);
        if self.queue.is_empty() {
            // Nothing to say: when there is, it connects anew.
            return None;
        }
        let first = self.pause == FIRST_PAUSE;
        self.timer = Some(reactor.after(self.pause));
        self.pause = LONGEST_PAUSE.min(self.pause * 2);
        // Once is enough: containerd, whose log this is, is away.
        first.then(|| format!("{why}; {} events wait", self.queue.len()))
    }

    fn stop_timer(&mut self, reactor: &mut Reactor) {
        if let Some(timer) = self.timer.take() {
            reactor.cancel(timer);
        }
    }

    /// Sends the next event if there is one, and none is on its way.
    fn go_on(&mut self, reactor: &mut Reactor) -> Trouble {
        if self.awaited.is_some() || self.timer.is_some() {
            return None;
        }
        let event = &self.queue.front()?.request;
        if self.connection.is_none() {
            match connect(&self.address, reactor) {
                Ok(connection) => {
                    self.connection = Some(connection);
                    self.next_stream = 1;
                }
                Err(failure) => return self.lose(reactor, &failure.message),
            }
        }
        let (_, frames) = self.connection.as_mut()?;
        if frames.send(Kind::Request, self.next_stream, event).is_err() {
            return self.lose(reactor, "containerd closed the connection for events");
        }
        self.awaited = Some(self.next_stream);
        self.next_stream = self.next_stream.wrapping_add(2);
        self.timer = Some(reactor.after(PATIENCE));
        None
    }
}

fn connect(address: &PathBuf, reactor: &mut Reactor) -> Result<(Token, Frames)> {
    let what = format!("connect to containerd at {}", address.display());
    let name = SocketAddrUnix::new(address).during(&what)?;
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket: OwnedFd =
        rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
            .during(&what)?;
    // A unix socket connects at once, or not: unix(7).
    rustix::net::connect(&socket, &name).during(&what)?;
    let token = reactor.token();
    reactor.add(token, &socket, EventFlags::IN | EventFlags::OUT)?;
    Ok((token, Frames::new(socket)))
}

#[cfg(test)]
mod tests;
