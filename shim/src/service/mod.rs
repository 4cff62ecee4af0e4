//! The task service: containerd's calls, and what becomes of containers meanwhile.
//!
//! One thread owns everything here and never blocks: what may is a job of [`Workers`], which gives back
//! what to do with its result. An answer to a call may come at once or later; a [`Reply`] says where to.

mod calls;
mod create;
mod delete;
mod exec;
mod exit;
mod orphans;
mod task;

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use prost::Message;
use rustix::event::epoll::EventFlags;
use rustix::io::Errno;
use rustix::net::SocketFlags;

use crate::args::Args;
use crate::failure::{Code, During, Failure, Result};
use crate::io::{Progress, Pump};
use crate::log::Log;
use crate::proto::events::Event;
use crate::publisher::Publisher;
use crate::reactor::{Reactor, Token};
use crate::sys;
use crate::ttrpc::{Call, Connection, Received};
use crate::workers::Workers;
use create::Runtimes;
use task::{Container, Key, Process};

/// Both have the same calls and messages.
const SERVICES: [&str; 2] = ["containerd.task.v3.Task", "containerd.task.v2.Task"];
/// How many calls of one client are taken before others have their turn.
const CALLS_AT_ONCE: usize = 32;
/// How many clients there may be, if there are descriptors for twice as many. containerd is one.
const MOST_CLIENTS: usize = 4096;
/// How long to leave new clients waiting when there are no descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);
/// How long containerd may take to get the last events before the shim ends.
const FAREWELL: Duration = Duration::from_secs(5);

/// How long nothing happens before memory is given back.
const QUIET: Duration = Duration::from_millis(500);

/// Where the answer to a call goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply {
    client: Token,
    stream: u32,
}

/// What is waited for.
enum Source {
    Listener,
    /// A timer: there may be descriptors again.
    AcceptLater,
    Workers,
    /// The end of some child.
    ChildEnds,
    Client(Connection),
    /// The end of a process.
    Exit(Key),
    /// A container's memory running out.
    Oom(String),
    Pump(Key, Pump),
    /// A timer: the pump may go on.
    PumpAgain(Token),
    /// A timer: what a process has written need not be waited for any longer.
    Overdue(Key),
    /// A timer: the end of a container's other processes need not be waited for any longer.
    Unheld(String),
    /// A timer: nothing has been done for a while.
    Quiet,
    /// A timer: that is all.
    Farewell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Life {
    Serving,
    /// Shutdown was called, and the socket is being removed.
    Retiring,
    /// What is left is to be answered, and containerd to get all events.
    Ending,
    Over,
}

/// What to do with a job's result.
type Then = Box<dyn FnOnce(&mut Service) + Send>;

pub(crate) struct Service {
    reactor: Reactor,
    sources: BTreeMap<Token, Source>,
    workers: Workers<Then>,
    publisher: Publisher,
    listener: OwnedFd,
    child_ends: OwnedFd,
    /// They are to be reaped when no job is running.
    orphans_are_left: bool,
    most_clients: usize,
    /// No connection could be accepted the last time, which was said once.
    accepts_later: bool,
    /// The timer that tells when nothing has been done for a while.
    quiet: Option<Token>,
    namespace: String,
    log: Log,
    containers: BTreeMap<String, Container>,
    /// Ids of containers that are being created, with calls to delete them meanwhile.
    creating: BTreeMap<String, Vec<Reply>>,
    runtimes: Arc<Runtimes>,
    life: Life,
    /// Shutdown was called since the last container was created.
    shutdown_called: bool,
    /// Calls of Shutdown that are still to be answered.
    goodbyes: Vec<Reply>,
}

/// Serves calls until containerd has no more use for this shim.
pub(crate) fn serve(args: &Args, listener: OwnedFd, log: &Log) -> Result<()> {
    // containerd's environment for its shims; containerd 1.6 and later have it.
    let events = std::env::var_os("TTRPC_ADDRESS").filter(|address| !address.is_empty());
    let events = events.map_or_else(|| format!("{}.ttrpc", args.address).into(), PathBuf::from);
    let namespace = args.namespace.clone();
    let child_ends = sys::child_ends().during("watch for children's ends")?;
    let mut reactor = Reactor::new()?;
    let workers = Workers::new()?;
    let mut sources = BTreeMap::new();
    for (source, descriptor) in [
        (Source::Listener, listener.as_fd()),
        (Source::Workers, workers.as_fd()),
        (Source::ChildEnds, child_ends.as_fd()),
    ] {
        let token = reactor.token();
        reactor.add(token, descriptor, EventFlags::IN)?;
        sources.insert(token, source);
    }
    let publisher = Publisher::new(events, namespace.clone());
    let mut service = Service {
        reactor,
        sources,
        workers,
        publisher,
        listener,
        child_ends,
        orphans_are_left: false,
        most_clients: most_clients(),
        accepts_later: false,
        quiet: None,
        namespace,
        log: log.clone(),
        containers: BTreeMap::new(),
        creating: BTreeMap::new(),
        runtimes: Arc::default(),
        life: Life::Serving,
        shutdown_called: false,
        goodbyes: Vec::new(),
    };
    service.await_quiet();
    while !service.has_ended() {
        for token in service.reactor.wait()? {
            service.ready(token);
        }
    }
    Ok(())
}

impl Service {
    fn ready(&mut self, token: Token) {
        if self.publisher.owns(token) {
            let trouble = self.publisher.ready(&mut self.reactor, token);
            return self.complain(trouble);
        }
        // What isn't there any more has ended in the meantime.
        let Some(source) = self.sources.remove(&token) else { return };
        let again = match source {
            Source::Listener => {
                self.accept();
                Some(Source::Listener)
            }
            Source::AcceptLater => {
                self.accept();
                None
            }
            Source::Workers => {
                self.workers.acknowledge();
                while let Some(then) = self.workers.finished() {
                    then(self);
                }
                if self.orphans_are_left {
                    self.reap_orphans();
                }
                self.await_quiet();
                Some(Source::Workers)
            }
            Source::ChildEnds => {
                self.reap_orphans();
                Some(Source::ChildEnds)
            }
            Source::Quiet => {
                self.quiet = None;
                sys::trim_heap();
                sys::release_code();
                None
            }
            Source::Client(connection) => self.client(token, connection),
            Source::Exit(key) => {
                self.ended(&key);
                None
            }
            Source::Oom(id) => self.out_of_memory(id),
            Source::Pump(key, pump) => self.pump(token, key, pump),
            Source::PumpAgain(pump) => {
                self.reactor.again(pump);
                None
            }
            Source::Overdue(key) => {
                self.overdue(&key);
                None
            }
            Source::Unheld(id) => {
                self.release(&id, true);
                None
            }
            Source::Farewell => {
                self.log.warn("containerd has not taken the last events");
                self.life = Life::Over;
                None
            }
        };
        if let Some(source) = again {
            self.sources.insert(token, source);
        }
    }

    /// What work has left in memory is given back once there is none any more.
    fn await_quiet(&mut self) {
        if let Some(timer) = self.quiet.take() {
            self.reactor.cancel(timer);
            self.sources.remove(&timer);
        }
        let timer = self.reactor.after(QUIET);
        self.sources.insert(timer, Source::Quiet);
        self.quiet = Some(timer);
    }

    fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        loop {
            match rustix::net::accept_with(&self.listener, flags) {
                Ok(socket) => self.welcome(socket),
                Err(Errno::AGAIN) => {
                    self.accepts_later = false;
                    return;
                }
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(errno) => {
                    // No descriptors, most likely: those who wait stay in the socket's queue.
                    if !self.accepts_later {
                        self.accepts_later = true;
                        self.log.error(format_args!("accept a connection: {errno}"));
                    }
                    let later = |source: &Source| matches!(source, Source::AcceptLater);
                    if !self.sources.values().any(later) {
                        let timer = self.reactor.after(ACCEPT_PAUSE);
                        self.sources.insert(timer, Source::AcceptLater);
                    }
                    return;
                }
            }
        }
    }

    /// Takes a client. If there are too many, the oldest one that has never made a call has to go: it
    /// isn't containerd.
    fn welcome(&mut self, socket: OwnedFd) {
        let mut clients = 0;
        let mut silent = None;
        for (token, source) in &self.sources {
            if let Source::Client(connection) = source {
                clients += 1;
                silent = silent.or((!connection.has_called()).then_some(*token));
            }
        }
        if clients >= self.most_clients {
            match silent {
                Some(token) => drop(self.sources.remove(&token)),
                None => return self.log.error("a client is turned away: there are too many"),
            }
        }
        let token = self.reactor.token();
        let events = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP;
        match self.reactor.add(token, &socket, events) {
            Ok(()) => {
                self.sources.insert(token, Source::Client(Connection::new(socket)));
            }
            Err(failure) => self.log.error(failure),
        }
    }

    /// Takes calls. The connection stands among the sources meanwhile, where answers look for it.
    fn client(&mut self, token: Token, connection: Connection) -> Option<Source> {
        self.sources.insert(token, Source::Client(connection));
        for _ in 0..CALLS_AT_ONCE {
            let Some(Source::Client(connection)) = self.sources.get_mut(&token) else {
                return None;
            };
            match connection.flush().and_then(|()| connection.receive()) {
                Ok(Received::Call(call)) => self.call(call, token),
                Ok(Received::Other) => {}
                Ok(Received::Nothing) => return None,
                Err(_) => {
                    self.sources.remove(&token);
                    return None;
                }
            }
        }
        self.reactor.again(token);
        None
    }

    fn call(&mut self, call: Call, client: Token) {
        let reply = Reply { client, stream: call.stream };
        if !SERVICES.contains(&call.service.as_str()) {
            let why = format!("service {:?} is not there", call.service);
            return self.refuse(reply, Failure::new(Code::Unimplemented, why));
        }
        self.log.debug(format_args!("call {}, stream {}", call.method, call.stream));
        let payload = &call.payload[..];
        match call.method.as_str() {
            "State" => self.now(reply, payload, Self::state),
            "Create" => self.later(reply, payload, Self::create),
            "Start" => self.later(reply, payload, Self::start),
            "Delete" => self.later(reply, payload, Self::delete),
            "Pids" => self.later(reply, payload, Self::pids),
            "Pause" => self.later(reply, payload, Self::pause),
            "Resume" => self.later(reply, payload, Self::resume),
            "Checkpoint" => self.now(reply, payload, Self::checkpoint),
            "Kill" => self.later(reply, payload, Self::kill),
            "Exec" => self.now(reply, payload, Self::exec),
            "ResizePty" => self.now(reply, payload, Self::resize_pty),
            "CloseIO" => self.now(reply, payload, Self::close_io),
            "Update" => self.later(reply, payload, Self::update),
            "Wait" => self.later(reply, payload, Self::wait),
            "Stats" => self.later(reply, payload, Self::stats),
            "Connect" => self.now(reply, payload, Self::connect),
            "Shutdown" => self.later(reply, payload, Self::shutdown),
            method => {
                let why = format!("method {method:?} of {} is not there", call.service);
                self.refuse(reply, Failure::new(Code::Unimplemented, why));
            }
        }
    }

    /// A call that is answered at once.
    fn now<Q: Message + Default, A: Message>(
        &mut self,
        reply: Reply,
        payload: &[u8],
        handle: impl FnOnce(&mut Self, Q) -> Result<A>,
    ) {
        let answer = decode(payload).and_then(|request| handle(self, request));
        self.answer(reply, answer);
    }

    /// A call that is answered when it is done.
    fn later<Q: Message + Default>(
        &mut self,
        reply: Reply,
        payload: &[u8],
        handle: impl FnOnce(&mut Self, Q, Reply) -> Result<()>,
    ) {
        if let Err(failure) = decode(payload).and_then(|request| handle(self, request, reply)) {
            self.refuse(reply, failure);
        }
    }

    fn answer<A: Message>(&mut self, reply: Reply, answer: Result<A>) {
        let answer = answer.map(|answer| answer.encode_to_vec());
        if let Err(failure) = &answer {
            self.log.debug(format_args!("stream {}: {failure}", reply.stream));
        }
        let Some(Source::Client(connection)) = self.sources.get_mut(&reply.client) else { return };
        if connection.answer(reply.stream, answer).is_err() {
            self.sources.remove(&reply.client);
        }
    }

    fn refuse(&mut self, reply: Reply, failure: Failure) {
        self.answer::<crate::proto::wire::Empty>(reply, Err(failure));
    }

    fn publish<E: Event>(&mut self, event: &E) {
        let trouble = self.publisher.publish(&mut self.reactor, event);
        self.complain(trouble);
    }

    fn complain(&self, trouble: Option<String>) {
        if let Some(trouble) = trouble {
            self.log.warn(trouble);
        }
    }

    /// Does what may block on a thread of its own, then the rest here.
    fn work<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T) + Send + 'static,
    ) {
        self.workers.run(package(job, then));
    }

    /// The same for what others may be waiting for.
    fn work_now<T: Send + 'static>(
        &mut self,
        job: impl FnOnce() -> T + Send + 'static,
        then: impl FnOnce(&mut Self, T) + Send + 'static,
    ) {
        self.workers.run_now(package(job, then));
    }

    fn container(&mut self, id: &str) -> Result<&mut Container> {
        self.containers
            .get_mut(id)
            .ok_or_else(|| Failure::new(Code::NotFound, format!("container {id:?} is not there")))
    }

    fn process(&mut self, key: &Key) -> Result<&mut Process> {
        self.container(&key.container)?.process(&key.exec)
    }

    /// Watches a new process, and copies its streams.
    fn attach(&mut self, key: &Key, pumps: Vec<Pump>) {
        for pump in pumps {
            let token = self.reactor.token();
            let watched = pump
                .descriptors()
                .try_for_each(|(descriptor, events)| self.reactor.add(token, descriptor, events));
            match watched {
                Ok(()) => {
                    if let Ok(process) = self.process(key) {
                        process.outputs += usize::from(pump.is_output());
                    }
                    self.sources.insert(token, Source::Pump(key.clone(), pump));
                }
                Err(failure) => self.log.error(failure.during("copy a stream")),
            }
        }
    }

    fn pump(&mut self, token: Token, key: Key, mut pump: Pump) -> Option<Source> {
        let progress = pump.run();
        if let Some(failure) = pump.take_failure() {
            self.log.warn(failure.during(&format!("streams of {}", key.container)));
        }
        match progress {
            Progress::Waiting => {}
            Progress::Again => self.reactor.again(token),
            Progress::Unread(pause) => {
                let timer = self.reactor.after(pause);
                self.sources.insert(timer, Source::PumpAgain(token));
            }
            Progress::Ended => {
                let is_output = pump.is_output();
                // The client sees the end of the stream before it hears that all has been written.
                drop(pump);
                if let (true, Ok(process)) = (is_output, self.process(&key)) {
                    process.outputs = process.outputs.saturating_sub(1);
                    self.go_on_deleting(&key);
                }
                return None;
            }
        }
        Some(Source::Pump(key, pump))
    }

    fn has_ended(&self) -> bool {
        match self.life {
            Life::Serving | Life::Retiring => false,
            Life::Ending => self.publisher.is_idle() && self.sources.values().all(is_flushed),
            Life::Over => true,
        }
    }
}

/// Half of the descriptors are for containers.
fn most_clients() -> usize {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let half =
        limit.map_or(MOST_CLIENTS, |limit| usize::try_from(limit / 2).unwrap_or(MOST_CLIENTS));
    half.clamp(1, MOST_CLIENTS)
}

fn not_found(id: &str) -> Failure {
    Failure::new(Code::NotFound, format!("container {id:?} is not there"))
}

fn is_flushed(source: &Source) -> bool {
    match source {
        Source::Client(connection) => connection.is_flushed(),
        _ => true,
    }
}

fn decode<Q: Message + Default>(payload: &[u8]) -> Result<Q> {
    Q::decode(payload).map_err(|error| Failure::new(Code::InvalidArgument, error.to_string()))
}

fn package<T: Send + 'static>(
    job: impl FnOnce() -> T + Send + 'static,
    then: impl FnOnce(&mut Service, T) + Send + 'static,
) -> Box<dyn FnOnce() -> Then + Send> {
    Box::new(move || {
        let result = job();
        Box::new(move |service: &mut Service| then(service, result))
    })
}
