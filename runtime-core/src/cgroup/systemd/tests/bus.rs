//! A bus that answers, lies, is slow, or says nothing.

use std::io::{Read, Write};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use super::{any_value, config};
use crate::cgroup::systemd::bus::{Address, Bus, Fault, MANAGER, parse_address};
use crate::cgroup::systemd::manager::{Connection, Started};
use crate::cgroup::systemd::message::Call;
use crate::cgroup::systemd::value::{Value, Writer};
use crate::error::{Error, ErrorKind};

/// Long enough for a loaded machine: no test waits for it but those that say so.
const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(50);

const JOB: &str = "/org/freedesktop/systemd1/job/7";

/// A message as somebody else would send it.
struct Message {
    kind: u8,
    reply_to: Option<u32>,
    member: Option<&'static str>,
    error: Option<&'static str>,
    sender: Option<&'static str>,
    body: Vec<Value>,
}

impl Message {
    fn of_kind(kind: u8) -> Self {
        Self { kind, reply_to: None, member: None, error: None, sender: None, body: vec![] }
    }

    fn reply(serial: u32, body: Vec<Value>) -> Self {
        Self { reply_to: Some(serial), body, ..Self::of_kind(2) }
    }

    fn error(serial: u32, name: &'static str, text: &str) -> Self {
        let body = vec![Value::text(text)];
        Self { reply_to: Some(serial), error: Some(name), body, ..Self::of_kind(3) }
    }

    fn signal(member: &'static str, body: Vec<Value>) -> Self {
        Self { member: Some(member), body, ..Self::of_kind(4) }
    }

    fn removed(job: &str, result: &str) -> Self {
        let path = Value::Path(job.to_owned());
        let body = vec![Value::U32(7), path, Value::text("a.scope"), Value::text(result)];
        Self::signal("JobRemoved", body)
    }

    fn from(self, sender: &'static str) -> Self {
        Self { sender: Some(sender), ..self }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut body = Writer::default();
        self.body.iter().for_each(|value| body.value(value).unwrap());
        let signature: String = self.body.iter().map(Value::signature).collect();
        let mut fields = vec![(8, Value::Signature(signature))];
        if let Some(member) = self.member {
            fields.push((1, Value::Path(MANAGER.path.to_owned())));
            fields.push((2, Value::text(MANAGER.interface)));
            fields.push((3, Value::text(member)));
        }
        fields.extend(self.error.map(|name| (4, Value::text(name))));
        fields.extend(self.reply_to.map(|serial| (5, Value::U32(serial))));
        fields.extend(self.sender.map(|name| (7, Value::text(name))));
        let fields =
            fields.into_iter().map(|(code, v)| Value::Struct(vec![Value::Byte(code), v.variant()]));
        let mut message = Writer(vec![b'l', self.kind, 0, 1]);
        message.u32(body.0.len().try_into().unwrap());
        message.u32(99);
        message.value(&Value::Array("(yv)".to_owned(), fields.collect())).unwrap();
        message.pad(8);
        message.0.extend(body.0);
        message.0
    }
}

/// The other side of one connection.
struct Peer(UnixStream);

impl Peer {
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            let mut byte = [0];
            self.0.read_exact(&mut byte).unwrap();
            line.extend(byte);
        }
        String::from_utf8(line).unwrap()
    }

    fn authenticate(&mut self) {
        assert!(self.line().starts_with("\0AUTH EXTERNAL"));
        assert_eq!(self.line(), "BEGIN\r\n");
        self.0.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
    }

    /// Reads a call; returns its serial and its bytes.
    fn call(&mut self) -> (u32, Vec<u8>) {
        let mut start = [0; 16];
        self.0.read_exact(&mut start).unwrap();
        let number = |at: usize| u32::from_le_bytes(start[at..at + 4].try_into().unwrap());
        let rest = number(12).next_multiple_of(8) + number(4);
        let mut bytes = vec![0; rest as usize];
        self.0.read_exact(&mut bytes).unwrap();
        (number(8), bytes)
    }

    fn expect(&mut self, member: &str) -> u32 {
        let (serial, bytes) = self.call();
        let found = bytes.windows(member.len()).any(|window| window == member.as_bytes());
        assert!(found, "expected {member}, not {}", bytes.escape_ascii());
        serial
    }

    /// Sends; that nobody may listen any more is not this side's business.
    fn send(&mut self, messages: &[Message]) {
        let bytes: Vec<u8> = messages.iter().flat_map(Message::bytes).collect();
        let _ = self.0.write_all(&bytes);
    }
}

struct Server {
    thread: Option<JoinHandle<()>>,
    address: Address,
}

impl Server {
    fn new(serve: impl FnOnce(&mut Peer) + Send + 'static) -> Self {
        let name = format!("hoist-test-{}-{}", std::process::id(), rustix_random());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let listener = UnixListener::bind_addr(&address).unwrap();
        let thread = std::thread::spawn(move || {
            let (stream, _) = listener.accept().unwrap();
            serve(&mut Peer(stream));
        });
        Self { thread: Some(thread), address: Address::Abstract(name.into_bytes()) }
    }

    fn connect(&self, brokered: bool, patience: Duration) -> Result<Bus, Fault> {
        Bus::connect(&self.address, brokered, Some(0), Instant::now() + patience)
    }

    fn connection(&self, patience: Duration) -> Connection {
        Connection::for_test(self.connect(false, patience).unwrap(), self.address.clone())
    }

    fn join(mut self) {
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn rustix_random() -> u64 {
    let mut bytes = [0; 8];
    rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).unwrap();
    u64::from_ne_bytes(bytes)
}

/// Starts a unit with a systemd that behaves as it is told.
fn start(patience: Duration, serve: impl FnOnce(&mut Peer) + Send + 'static) -> Result<(), Error> {
    let server = Server::new(|peer| {
        peer.authenticate();
        serve(peer);
    });
    let result = server.connection(patience).start("a.scope", &[]);
    server.join();
    match result {
        Started::Done => Ok(()),
        Started::Not(error) | Started::Perhaps(error) => Err(error),
    }
}

fn job(serial: u32) -> Message {
    Message::reply(serial, vec![Value::Path(JOB.to_owned())])
}

#[test]
fn a_unit_is_started_once_its_job_is_done() {
    start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[
            Message::signal("UnitNew", vec![Value::text("a.scope")]),
            Message::removed("/org/freedesktop/systemd1/job/6", "failed"),
            Message::reply(serial + 1, vec![Value::Path("/other".to_owned())]),
            job(serial),
            Message::removed("/org/freedesktop/systemd1/job/8", "failed"),
            Message::removed(JOB, "done"),
        ]);
    })
    .unwrap();
}

#[test]
fn a_job_may_be_done_before_it_is_known() {
    start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        let mut messages: Vec<_> = (0..100).map(|_| Message::removed("/other", "done")).collect();
        messages.extend([Message::removed(JOB, "done"), job(serial)]);
        peer.send(&messages);
    })
    .unwrap();
}

#[test]
fn messages_may_come_in_pieces() {
    start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        for byte in [job(serial), Message::removed(JOB, "done")].iter().flat_map(Message::bytes) {
            peer.0.write_all(&[byte]).unwrap();
        }
    })
    .unwrap();
}

#[test]
fn a_job_that_fails_names_unit_and_result() {
    let error = start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[job(serial), Message::removed(JOB, "dependency")]);
        let serial = peer.expect("ResetFailedUnit");
        peer.send(&[Message::reply(serial, vec![])]);
    })
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Cgroup);
    let text = error.to_string();
    assert!(text.contains("a.scope") && text.contains("dependency"), "{text}");
}

#[test]
fn a_failed_leftover_is_reset_once() {
    const EXISTS: &str = "org.freedesktop.systemd1.UnitExists";
    start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[Message::error(serial, EXISTS, "Unit a.scope already exists.")]);
        let serial = peer.expect("ResetFailedUnit");
        peer.send(&[Message::reply(serial, vec![])]);
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[job(serial), Message::removed(JOB, "done")]);
    })
    .unwrap();
    // Somebody else's unit is not ours to stop.
    let server = Server::new(|peer| {
        peer.authenticate();
        for member in ["StartTransientUnit", "ResetFailedUnit", "StartTransientUnit"] {
            let serial = peer.expect(member);
            peer.send(&[Message::error(serial, EXISTS, "Unit a.scope already exists.")]);
        }
    });
    let started = server.connection(LONG).start("a.scope", &[]);
    assert!(matches!(&started, Started::Not(error) if error.to_string().contains("a.scope")));
    server.join();
}

#[test]
fn refusals_have_a_hint() {
    let error = start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        const NAME: &str = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired";
        peer.send(&[Message::error(serial, NAME, "Interactive authentication required.")]);
    })
    .unwrap_err();
    let text = error.to_string();
    for part in ["a.scope", "Interactive authentication required", "rootless", "hoist-test"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn waits_end() {
    let silent = start(SHORT, |peer| {
        peer.expect("StartTransientUnit");
        peer.0.read_to_end(&mut Vec::new()).unwrap();
    });
    assert_eq!(silent.unwrap_err().errno(), Some(libc::ETIMEDOUT));
    let no_job = start(SHORT, |peer| {
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[job(serial)]);
        peer.0.read_to_end(&mut Vec::new()).unwrap();
    });
    assert_eq!(no_job.unwrap_err().errno(), Some(libc::ETIMEDOUT));
    // It says a lot, and never what is waited for.
    let chatter = start(SHORT, |peer| {
        peer.expect("StartTransientUnit");
        let bytes = Message::removed("/other", "done").bytes();
        while peer.0.write_all(&bytes).is_ok() {}
    });
    assert_eq!(chatter.unwrap_err().errno(), Some(libc::ETIMEDOUT));
    let mute = Server::new(|peer| drop(peer.0.read_to_end(&mut Vec::new())));
    assert!(matches!(mute.connect(false, SHORT), Err(Fault::Late)));
    mute.join();
}

#[test]
fn who_does_not_accept_is_not_waited_for() {
    let name = format!("hoist-test-{}-{}", std::process::id(), rustix_random());
    let address = SocketAddr::from_abstract_name(&name).unwrap();
    let listener = UnixListener::bind_addr(&address).unwrap();
    rustix::net::listen(&listener, 0).unwrap();
    let full = UnixStream::connect_addr(&address).unwrap();
    let address = Address::Abstract(name.into_bytes());
    let result = Bus::connect(&address, false, Some(0), Instant::now() + SHORT);
    assert!(matches!(result, Err(Fault::Late)), "{result:?}");
    drop((full, listener));
}

#[test]
fn an_end_is_an_error() {
    for bytes in [0, 1, 16, 40] {
        let error = start(LONG, move |peer| {
            let serial = peer.expect("StartTransientUnit");
            let _ = peer.0.write_all(&job(serial).bytes()[..bytes]);
        })
        .unwrap_err();
        assert!(error.to_string().contains("closed"), "{error}");
    }
    let server = Server::new(|_| {});
    assert!(matches!(server.connect(false, LONG), Err(Fault::Closed)));
    server.join();
}

#[test]
fn a_stranger_is_turned_away() {
    let server = Server::new(|peer| {
        peer.line();
        peer.0.write_all(b"REJECTED DBUS_COOKIE_SHA1\r\n").unwrap();
    });
    let result = server.connect(false, LONG);
    assert!(matches!(&result, Err(Fault::Refused(line)) if line.contains("COOKIE")), "{result:?}");
    server.join();
    let endless = Server::new(|peer| while peer.0.write_all(&[b'x'; 999]).is_ok() {});
    assert!(matches!(endless.connect(false, LONG), Err(Fault::Malformed(_))));
    endless.join();
}

/// In a user namespace the other side finds out itself who we are.
#[test]
fn who_has_no_name_sends_none() {
    let server = Server::new(|peer| {
        for line in ["\0AUTH EXTERNAL\r\n", "DATA\r\n", "BEGIN\r\n"] {
            assert_eq!(peer.line(), line);
        }
        peer.0.write_all(b"DATA\r\nOK 00\r\n").unwrap();
    });
    Bus::connect(&server.address, false, None, Instant::now() + LONG).unwrap();
    server.join();
}

#[test]
fn lies_are_refused_or_skipped() {
    // A reply that is no job.
    for body in [vec![], vec![Value::text(JOB)], vec![Value::U32(7), Value::Path(JOB.to_owned())]] {
        start(LONG, |peer| {
            let serial = peer.expect("StartTransientUnit");
            peer.send(&[Message::reply(serial, body)]);
        })
        .unwrap_err();
    }
    // A body of 128 MiB that is not there, headers of other versions and orders, no serial.
    for (at, value) in [(7, 8), (15, 1), (3, 2), (0, b'x'), (1, 0), (8, 0)] {
        let error = start(LONG, move |peer| {
            let serial = peer.expect("StartTransientUnit");
            let mut bytes = job(serial).bytes();
            bytes[at] = value;
            peer.0.write_all(&bytes).unwrap();
        })
        .unwrap_err();
        assert!(error.to_string().contains("D-Bus"), "{at}: {error}");
    }
    // A reply that is far too long is not taken; a signal is, in small pieces.
    let long = || Value::text("x".repeat(1 << 20));
    start(LONG, move |peer| {
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[Message::reply(serial, vec![long()])]);
    })
    .unwrap_err();
    start(LONG, move |peer| {
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[
            Message::signal("PropertiesChanged", vec![long()]),
            Message::of_kind(9),
            job(serial),
            Message::removed(JOB, "done"),
        ]);
    })
    .unwrap();
}

/// On a bus anybody may send a signal.
#[test]
fn only_systemd_says_that_a_job_is_done() {
    let server = Server::new(|peer| {
        peer.authenticate();
        for member in ["Hello", "AddMatch"] {
            let serial = peer.expect(member);
            peer.send(&[Message::reply(serial, vec![]).from("org.freedesktop.DBus")]);
        }
        let serial = peer.expect("StartTransientUnit");
        peer.send(&[
            Message::removed(JOB, "done").from(":1.66"),
            job(serial).from(":1.0"),
            Message::removed(JOB, "done").from(":1.66"),
            Message::removed(JOB, "canceled").from(":1.0"),
        ]);
    });
    let bus = server.connect(true, LONG).unwrap();
    let mut connection = Connection::for_test(bus, server.address.clone());
    let Started::Perhaps(error) = connection.start("a.scope", &[]) else { panic!("not an error") };
    assert!(error.to_string().contains("canceled"), "{error}");
    drop(connection);
    server.join();
}

#[test]
fn descriptors_are_not_kept() {
    let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
    start(LONG, |peer| {
        let serial = peer.expect("StartTransientUnit");
        let bytes = [job(serial).bytes(), Message::removed(JOB, "done").bytes()].concat();
        crate::spawn::send_descriptor(&peer.0, &bytes, write.as_fd()).unwrap();
        drop(write);
    })
    .unwrap();
    // No writer is left anywhere: the end is read at once.
    assert_eq!(rustix::io::read(&read, &mut [0; 1]).unwrap(), 0);
}

#[test]
fn what_is_gone_is_stopped() {
    let server = Server::new(|peer| {
        peer.authenticate();
        let serial = peer.expect("StopUnit");
        const NAME: &str = "org.freedesktop.systemd1.NoSuchUnit";
        peer.send(&[Message::error(serial, NAME, "Unit a.scope not loaded.")]);
    });
    server.connection(LONG).stop("a.scope").unwrap();
    server.join();
}

#[test]
fn versions_are_numbers() {
    for (text, version) in
        [("257.13-1~deb13u1", 257), ("v245.4-1.fc32", 245), ("239", 239), ("x", 0)]
    {
        let server = Server::new(move |peer| {
            peer.authenticate();
            let serial = peer.expect("Version");
            peer.send(&[Message::reply(serial, vec![Value::text(text).variant()])]);
        });
        assert_eq!(server.connection(LONG).version().unwrap(), version);
        server.join();
    }
}

/// Whatever is sent, the answer is an error, and soon.
#[test]
fn garbage_does_no_harm() {
    let bytes = prop::collection::vec(prop_oneof![0..9u8, Just(b'l'), any::<u8>()], 0..200);
    let case = (bytes, any::<bool>(), any::<prop::sample::Index>());
    TestRunner::new(config(200))
        .run(&case, |(garbage, valid_start, at)| {
            let result = start(LONG, move |peer| {
                let serial = peer.expect("StartTransientUnit");
                let mut bytes = job(serial).bytes();
                if valid_start {
                    let at = at.index(bytes.len());
                    bytes.truncate(at);
                } else {
                    bytes.clear();
                }
                bytes.extend(garbage);
                let _ = peer.0.write_all(&bytes);
            });
            prop_assert!(result.is_err());
            Ok(())
        })
        .unwrap();
}

#[test]
fn addresses_are_read() {
    let path = |path: &str| Some(Address::Path(path.into()));
    for (text, address) in [
        ("unix:path=/run/user/1000/bus", path("/run/user/1000/bus")),
        ("unix:path=/a%20b%2c,guid=00", path("/a b,")),
        ("tcp:host=x;unix:guid=00,path=/b", path("/b")),
        ("unix:abstract=/tmp/x", Some(Address::Abstract(b"/tmp/x".to_vec()))),
        ("unix:tmpdir=/tmp", None),
        ("unix:path=/a%2", None),
        ("unixexec:path=/bin/x", None),
        ("", None),
    ] {
        assert_eq!(parse_address(text.as_bytes()), address, "{text}");
    }
}

/// The reference implementation checks every byte of what it is sent, and hangs up on what is
/// malformed.
#[test]
fn a_real_bus_takes_what_is_written() {
    let dir = std::env::temp_dir().join(format!("hoist-bus-{}", rustix_random()));
    std::fs::create_dir(&dir).unwrap();
    let socket = dir.join("bus");
    let daemon = Command::new("dbus-daemon")
        .args(["--session", "--nofork", "--print-address=1"])
        .arg(format!("--address=unix:path={}", socket.display()))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let Ok(mut daemon) = daemon else {
        std::fs::remove_dir_all(&dir).unwrap();
        println!("SKIP a_real_bus_takes_what_is_written: there is no dbus-daemon");
        return;
    };
    // It says where it listens once it does.
    let mut line = [0; 64];
    let said = daemon.stdout.as_mut().unwrap().read(&mut line);
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        assert!(said.unwrap() > 0);
        let uid = rustix::process::geteuid().as_raw();
        let deadline = Instant::now() + LONG;
        for uid in [Some(uid), None] {
            Bus::connect(&Address::Path(socket.clone()), true, uid, deadline).unwrap();
        }
        let bus = Bus::connect(&Address::Path(socket.clone()), true, Some(uid), deadline);
        let bus = std::cell::RefCell::new(bus.unwrap());
        TestRunner::new(config(300))
            .run(&prop::collection::vec(any_value(), 0..4), |arguments| {
                let call = Call {
                    destination: Some("org.freedesktop.DBus"),
                    path: "/",
                    interface: "org.freedesktop.DBus.Nothing",
                    member: "Nothing",
                    arguments: &arguments,
                };
                let answer = bus.borrow_mut().call(&call);
                prop_assert!(matches!(answer, Err(Fault::Reply { .. })), "{:?}", answer);
                Ok(())
            })
            .unwrap();
    }));
    daemon.kill().unwrap();
    daemon.wait().unwrap();
    std::fs::remove_dir_all(&dir).unwrap();
    outcome.unwrap();
}
