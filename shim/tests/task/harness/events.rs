//! containerd's event service: what shims send is recorded in its order.

use std::fmt;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use containerd_shim_protos::events::task::{
    TaskCreate, TaskDelete, TaskExecAdded, TaskExecStarted, TaskExit, TaskOOM, TaskPaused,
    TaskResumed, TaskStart,
};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::event::Envelope;
use containerd_shim_protos::shim::events::ForwardRequest;
use containerd_shim_protos::ttrpc::proto::{Request, Response};

use super::{LIMIT, lock, ours};

/// One event, in the order of arrival.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) namespace: String,
    /// The topic's last part: `create`, `exit`, `exec-added`.
    pub(crate) kind: String,
    pub(crate) container: String,
    /// Of an exec; empty for the container itself.
    pub(crate) exec: String,
    pub(crate) pid: u32,
    pub(crate) status: u32,
}

/// `create`, `exit 7`, `exec-started x`, `exit x 0`.
impl fmt::Display for Event {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.kind)?;
        if !self.exec.is_empty() {
            write!(formatter, " {}", self.exec)?;
        }
        if self.kind == "exit" { write!(formatter, " {}", self.status) } else { Ok(()) }
    }
}

impl Event {
    fn read(envelope: &Envelope) -> Self {
        fn parse<T: Message>(envelope: &Envelope, name: &str) -> T {
            assert_eq!(envelope.event.type_url, format!("containerd.events.{name}"));
            T::parse_from_bytes(&envelope.event.value).expect("decode the event")
        }
        let kind = envelope.topic.strip_prefix("/tasks/").expect("a topic of tasks").to_owned();
        let event = Self { namespace: envelope.namespace.clone(), ..Self::default() };
        let event = match kind.as_str() {
            "create" => {
                let e: TaskCreate = parse(envelope, "TaskCreate");
                Self { container: e.container_id, pid: e.pid, ..event }
            }
            "start" => {
                let e: TaskStart = parse(envelope, "TaskStart");
                Self { container: e.container_id, pid: e.pid, ..event }
            }
            "exit" => {
                let e: TaskExit = parse(envelope, "TaskExit");
                // containerd's shim sends the year 1 for a container that was deleted before its start.
                assert!(e.exited_at.seconds > 0 || !ours(), "the time of the exit");
                let exec = if e.id == e.container_id { String::new() } else { e.id };
                Self { container: e.container_id, exec, pid: e.pid, status: e.exit_status, ..event }
            }
            "delete" => {
                let e: TaskDelete = parse(envelope, "TaskDelete");
                Self { container: e.container_id, pid: e.pid, status: e.exit_status, ..event }
            }
            "oom" => {
                Self { container: parse::<TaskOOM>(envelope, "TaskOOM").container_id, ..event }
            }
            "paused" => Self {
                container: parse::<TaskPaused>(envelope, "TaskPaused").container_id,
                ..event
            },
            "resumed" => {
                let e: TaskResumed = parse(envelope, "TaskResumed");
                Self { container: e.container_id, ..event }
            }
            "exec-added" => {
                let e: TaskExecAdded = parse(envelope, "TaskExecAdded");
                Self { container: e.container_id, exec: e.exec_id, ..event }
            }
            "exec-started" => {
                let e: TaskExecStarted = parse(envelope, "TaskExecStarted");
                Self { container: e.container_id, exec: e.exec_id, pid: e.pid, ..event }
            }
            other => panic!("an event of kind {other}"),
        };
        Self { kind, ..event }
    }
}

#[derive(Default)]
struct Inner {
    received: Vec<Event>,
    /// Why what was received is no event.
    errors: Vec<String>,
    /// Requests are read, and neither recorded nor answered.
    silent: bool,
    /// How often it has died: a connection belongs to one life.
    deaths: u32,
    connections: Vec<Arc<UnixStream>>,
}

/// The service on its socket.
pub(crate) struct Events {
    path: PathBuf,
    shared: Arc<(Mutex<Inner>, Condvar)>,
}

impl Events {
    pub(crate) fn listen(path: &Path) -> Self {
        let events = Self { path: path.to_owned(), shared: Arc::default() };
        events.come_back();
        events
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        lock(&self.shared.0)
    }

    /// containerd hangs: it reads, and answers nothing.
    pub(crate) fn fall_silent(&self) {
        self.inner().silent = true;
    }

    /// containerd is killed: its socket stays, and nobody is there.
    pub(crate) fn die(&self) {
        let mut inner = self.inner();
        inner.deaths += 1;
        for connection in inner.connections.drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
        drop(inner);
        // The thread that accepts sees it now, and its listener goes.
        let _ = UnixStream::connect(&self.path);
    }

    /// containerd is started (again).
    pub(crate) fn come_back(&self) {
        let _ = std::fs::remove_file(&self.path);
        let listener = UnixListener::bind(&self.path).expect("the socket for events");
        let mut inner = self.inner();
        inner.silent = false;
        let life = inner.deaths;
        drop(inner);
        let shared = Arc::clone(&self.shared);
        std::thread::spawn(move || {
            while let Ok((stream, _)) = listener.accept() {
                let mut inner = lock(&shared.0);
                if inner.deaths != life {
                    return;
                }
                let stream = Arc::new(stream);
                inner.connections.push(Arc::clone(&stream));
                drop(inner);
                let shared = Arc::clone(&shared);
                std::thread::spawn(move || {
                    serve(&stream, &shared, life);
                    lock(&shared.0).connections.retain(|other| !Arc::ptr_eq(other, &stream));
                });
            }
        });
    }

    /// Waits until `look` finds something in what has arrived.
    pub(crate) fn wait<T>(&self, what: &str, look: impl Fn(&[Event]) -> Option<T>) -> T {
        let end = Instant::now() + 2 * LIMIT;
        let mut inner = self.inner();
        loop {
            assert!(inner.errors.is_empty(), "sent to the event service: {:?}", inner.errors);
            if let Some(found) = look(&inner.received) {
                return found;
            }
            let left = end.saturating_duration_since(Instant::now());
            let received = || inner.received.iter().map(|e| format!("{}: {e}", e.container));
            assert!(!left.is_zero(), "no {what}, but {:?}", received().collect::<Vec<_>>());
            inner =
                self.shared.1.wait_timeout(inner, left).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Everything about a container until now, in its order.
    pub(crate) fn of(&self, container: &str) -> Vec<String> {
        let inner = self.inner();
        assert!(inner.errors.is_empty(), "sent to the event service: {:?}", inner.errors);
        let of = inner.received.iter().filter(|event| event.container == container);
        of.map(ToString::to_string).collect()
    }

    /// Waits for the last event of a container, then compares all of them.
    #[track_caller]
    pub(crate) fn are(&self, container: &str, expected: &[&str]) {
        let last = expected.last().expect("an event");
        self.wait(&format!("\"{last}\" of {container}"), |events| {
            let of: Vec<_> = events.iter().filter(|e| e.container == container).collect();
            let ended = of.last().is_some_and(|event| event.kind == "delete");
            let done = of.len() >= expected.len() && of.iter().any(|e| e.to_string() == **last);
            (ended || done).then_some(())
        });
        assert_eq!(self.of(container), expected, "events of {container}");
    }

    /// The same when much was going on. containerd's shim may then tell a container's deletion
    /// before its end, and it tries each event again on its own: there only their number counts.
    #[track_caller]
    pub(crate) fn came(&self, container: &str, expected: &[&str]) {
        if ours() {
            return self.are(container, expected);
        }
        self.wait(&format!("all events of {container}"), |events| {
            let of = events.iter().filter(|event| event.container == container);
            (of.count() >= expected.len()).then_some(())
        });
        let mut events = self.of(container);
        let mut expected = expected.to_vec();
        events.sort_unstable();
        expected.sort_unstable();
        assert_eq!(events, expected, "events of {container}");
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.die();
    }
}

fn serve(mut stream: &UnixStream, shared: &(Mutex<Inner>, Condvar), life: u32) {
    let mut header = [0; 10];
    while stream.read_exact(&mut header).is_ok() {
        let length = u32::from_be_bytes(header[..4].try_into().expect("four bytes"));
        let mut body = vec![0; length.try_into().expect("a length")];
        if stream.read_exact(&mut body).is_err() {
            return;
        }
        let mut inner = lock(&shared.0);
        if inner.deaths != life {
            return;
        }
        if inner.silent {
            continue;
        }
        match std::panic::catch_unwind(|| read_request(&header, &body)) {
            Ok(event) => inner.received.push(event),
            Err(panic) => {
                let text = panic.downcast_ref::<String>().cloned().unwrap_or_default();
                inner.errors.push(format!("{text}: {header:?} {body:?}"));
            }
        }
        // Answered while it is locked: who dies has either recorded and answered, or neither.
        let answer = Response::default().write_to_bytes().expect("encode");
        let mut frame = u32::try_from(answer.len()).expect("a length").to_be_bytes().to_vec();
        frame.extend(&header[4..8]);
        frame.extend([2, 0]);
        frame.extend(answer);
        let _ = stream.write_all(&frame);
        shared.1.notify_all();
    }
}

fn read_request(header: &[u8], body: &[u8]) -> Event {
    assert_eq!(header[8], 1, "the type of a request");
    assert_eq!(header[7] % 2, 1, "streams of clients are odd");
    let request = Request::parse_from_bytes(body).expect("decode the request");
    assert_eq!(request.service, "containerd.services.events.ttrpc.v1.Events");
    assert_eq!(request.method, "Forward");
    let forward = ForwardRequest::parse_from_bytes(&request.payload).expect("decode Forward");
    let event = Event::read(&forward.envelope);
    assert!(!event.namespace.is_empty() && forward.envelope.timestamp.seconds > 0);
    event
}
