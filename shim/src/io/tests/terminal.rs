use std::io::{IoSlice, IsTerminal};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{Command, Stdio};

use rustix::io::write;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{OptionalActions, tcgetattr, tcgetwinsize, tcsetattr};

use super::*;
use crate::failure::Code;

/// A terminal in raw mode: the master, the slave.
fn pty() -> (OwnedFd, File) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
    let mut mode = tcgetattr(&slave).unwrap();
    mode.make_raw();
    tcsetattr(&slave, OptionalActions::Now, &mode).unwrap();
    (master, slave.into())
}

/// As the library sends a terminal.
fn send(socket: impl AsFd, descriptor: BorrowedFd<'_>) {
    let descriptors = [descriptor];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    control.push(SendAncillaryMessage::ScmRights(&descriptors));
    let name = [IoSlice::new(b"/dev/pts/0")];
    sendmsg(socket, &name, &mut control, SendFlags::NOSIGNAL).unwrap();
}

/// The streams of a process with a terminal, and its side of that.
fn attached(stdin: &str, stdout: &str) -> (Streams, File) {
    let request = Request { terminal: true, ..request(stdin, stdout, "") };
    let (mut streams, given) = Streams::open(&request).unwrap();
    let (master, slave) = pty();
    send(given.console_socket.unwrap(), master.as_fd());
    drop(master);
    streams.attach().unwrap();
    (streams, slave)
}

#[test]
fn long_output_arrives_whatever_the_reader_does() {
    let directory = Directory::new();
    let stdout = directory.fifo("stdout");
    let (mut streams, slave) = attached("", &stdout);
    let pumps = run(streams.take_pumps());
    let bytes = pattern(5_000_000);

    // Nobody reads: it stops, without a loss.
    ioctl_fionbio(&slave, true).unwrap();
    let mut taken = 0;
    for _ in 0..1000 {
        while let Ok(count) = write(&slave, &bytes[taken..]) {
            taken += count;
        }
        thread::yield_now();
    }
    assert!(taken > 0 && taken < 1_000_000, "{taken}");
    ioctl_fionbio(&slave, false).unwrap();

    let sent = bytes.clone();
    let writer = thread::spawn(move || {
        let mut slave = slave;
        for (round, piece) in sent[taken..].chunks(7001).enumerate() {
            slave.write_all(piece).unwrap();
            if round % 50 == 0 {
                thread::yield_now();
            }
        }
    });
    // Small and slow at first, then at once.
    let mut client = File::open(&stdout).unwrap();
    let mut got = Vec::new();
    for size in 1..500 {
        got.extend(read_exactly(&mut client, size));
        thread::yield_now();
    }
    got.extend(read_all(&mut client));
    writer.join().unwrap();
    assert!(pumps.join().unwrap().is_empty());
    assert_same(&got, &bytes);
}

#[test]
fn the_last_output_arrives() {
    let directory = Directory::new();
    for round in 0..300 {
        let stdout = directory.fifo(&round.to_string());
        let (mut streams, mut slave) = attached("", &stdout);
        let client = reader(&stdout);
        let pumps = run(streams.take_pumps());
        let bytes = pattern(round * 30);
        slave.write_all(&bytes).unwrap();
        drop(slave);
        pumps.join().unwrap();
        assert_same(&client.join().unwrap(), &bytes);
    }
}

#[test]
fn long_input_arrives_whatever_the_process_does() {
    let directory = Directory::new();
    let stdin = directory.fifo("stdin");
    let (mut streams, mut slave) = attached(&stdin, "");
    let mut client = write_only(&stdin);
    let pumps = run(streams.take_pumps());
    let bytes = pattern(1_000_000);
    let sent = bytes.clone();
    let writer = thread::spawn(move || client.write_all(&sent).unwrap());
    let mut got = Vec::new();
    for size in 1..500 {
        got.extend(read_exactly(&mut slave, size));
        thread::yield_now();
    }
    got.extend(read_exactly(&mut slave, bytes.len() - got.len()));
    writer.join().unwrap();
    assert_same(&got, &bytes);
    drop(slave);
    pumps.join().unwrap();
}

#[test]
fn the_end_of_stdin_sends_nothing() {
    let directory = Directory::new();
    let (stdin, stdout) = (directory.fifo("stdin"), directory.fifo("stdout"));
    let (mut streams, mut slave) = attached(&stdin, &stdout);
    let client = reader(&stdout);
    let mut pumps = streams.take_pumps();
    let input = pumps.pop().unwrap();
    assert!(!input.is_output());
    let (input, output) = (run(vec![input]), run(pumps));
    write_only(&stdin).write_all(b"hello").unwrap();
    streams.close_stdin();
    input.join().unwrap();
    assert_eq!(read_exactly(&mut slave, 5), b"hello");
    ioctl_fionbio(&slave, true).unwrap();
    assert_eq!(rustix::io::read(&slave, &mut [0; 1]).unwrap_err(), Errno::AGAIN);
    // And what it writes arrives still.
    slave.write_all(b"still there").unwrap();
    drop(slave);
    output.join().unwrap();
    assert_eq!(client.join().unwrap(), b"still there");
}

#[test]
fn a_background_process_does_not_hold_the_end_back() {
    let directory = Directory::new();
    let stdout = directory.fifo("stdout");
    let (mut streams, slave) = attached("", &stdout);
    let end = || Stdio::from(slave.try_clone().unwrap());
    let mut leader = Command::new("setsid")
        .args(["-c", "sh", "-c", "trap '' HUP; sleep 600 & echo $!; head -c 9990 /dev/zero"])
        .stdin(end())
        .stdout(end())
        .stderr(end())
        .spawn()
        .unwrap();
    drop(slave);
    let mut client = File::open(&stdout).unwrap();
    let mut pumps = streams.take_pumps();
    while leader.try_wait().unwrap().is_none() {
        assert_ne!(pumps[0].run(), Progress::Ended);
        thread::yield_now();
    }
    assert_ne!(pumps[0].run(), Progress::Ended);
    pumps[0].process_exited();
    assert!(run(pumps).join().unwrap().is_empty());
    let output = read_all(&mut client);
    let end = output.iter().position(|byte| *byte == b'\n').unwrap();
    let sleeper = std::str::from_utf8(&output[..end]).unwrap().parse().unwrap();
    assert_eq!(output[end + 1..], [0; 9990]);
    // It was there all the time.
    kill_process(Pid::from_raw(sleeper).unwrap(), Signal::KILL).unwrap();
}

/// What is in it when the process exits arrives, and a client that is slow isn't given up.
#[test]
fn a_terminal_that_ended_is_drained() {
    let directory = Directory::new();
    let stdout = directory.fifo("stdout");
    let (mut streams, slave) = attached("", &stdout);
    let mut pump = streams.take_pumps().pop().unwrap();
    let bytes = pattern(1_000_000);
    ioctl_fionbio(&slave, true).unwrap();
    let mut taken = 0;
    // Full everywhere.
    while let Ok(count) = write(&slave, &bytes[taken..]) {
        taken += count;
        assert_eq!(pump.run(), Progress::Waiting);
    }
    pump.process_exited();
    assert_eq!(pump.run(), Progress::Waiting);
    let client = reader(&stdout);
    assert!(run(vec![pump]).join().unwrap().is_empty());
    assert_same(&client.join().unwrap(), &bytes[..taken]);
    drop(slave);
}

#[test]
fn a_terminal_has_a_size() {
    let directory = Directory::new();
    let stdout = directory.fifo("stdout");
    let (streams, slave) = attached("", &stdout);
    assert!(slave.is_terminal());
    streams.resize(132, 43).unwrap();
    let size = tcgetwinsize(&slave).unwrap();
    assert_eq!((size.ws_col, size.ws_row), (132, 43));
    let request = Request { terminal: true, ..request("", &stdout, "") };
    let (streams, _given) = Streams::open(&request).unwrap();
    assert_eq!(streams.resize(1, 1).unwrap_err().code, Code::FailedPrecondition);
}

#[test]
fn something_else_is_no_terminal() {
    let directory = Directory::new();
    let stdout = directory.fifo("stdout");
    let request = Request { terminal: true, ..request("", &stdout, "") };
    let (mut streams, given) = Streams::open(&request).unwrap();
    send(given.console_socket.unwrap(), File::open("/dev/null").unwrap().as_fd());
    let expected = "receive the terminal: what was sent is no terminal";
    assert_eq!(streams.attach().unwrap_err().message, expected);
    let (mut streams, given) = Streams::open(&request).unwrap();
    drop(given);
    assert_eq!(streams.attach().unwrap_err().message, expected);
    assert!(streams.attach().is_err());
    assert!(streams.take_pumps().is_empty());
}

#[test]
fn a_terminal_without_a_client_does_not_stop_its_process() {
    let (mut streams, mut slave) = attached("", "");
    let pumps = run(streams.take_pumps());
    slave.write_all(&pattern(1_000_000)).unwrap();
    drop(slave);
    assert!(pumps.join().unwrap().is_empty());
}

#[test]
fn a_terminal_may_have_a_logger() {
    let directory = Directory::new();
    let out = directory.path("out");
    let logger = |script: &str| format!("binary:///bin/sh?-c={}", script.replace(' ', "+"));
    let stdout = logger(&format!("exec 5>%26-; cat <%263 >{out}"));
    let (mut streams, mut slave) = attached("", &stdout);
    let pumps = run(streams.take_pumps());
    let bytes = pattern(300_000);
    slave.write_all(&bytes).unwrap();
    drop(slave);
    assert!(pumps.join().unwrap().is_empty());
    drop(streams);
    assert_same(&fs::read(&out).unwrap(), &bytes);

    // One that has enough doesn't stop the process.
    let stdout = logger("exec 5>%26-; head -c 10 <%263 >/dev/null");
    let (mut streams, mut slave) = attached("", &stdout);
    let pumps = run(streams.take_pumps());
    slave.write_all(&bytes).unwrap();
    drop(slave);
    assert_eq!(pumps.join().unwrap(), ["the logger is gone: Broken pipe (os error 32)"]);
}
