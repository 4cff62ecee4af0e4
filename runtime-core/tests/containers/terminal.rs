//! `process.terminal`: the console socket, its size, the controlling terminal.

use std::io::{IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use hoist::{CreateOptions, ErrorKind, ExecOptions};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use crate::case;
use crate::common::{assert_error, end, sh_process, wait_for_exit};

/// What arrives on a console socket: the terminal's name and its master.
fn receive(socket: &UnixStream) -> (String, std::fs::File) {
    let mut bytes = [0u8; 256];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    assert_eq!(fds.len(), 1);
    let name = String::from_utf8_lossy(&bytes[..message.bytes]).into_owned();
    (name, fds.pop().unwrap().into())
}

/// Reads until the terminal's other side is closed: then the master says EIO.
fn read_all(mut master: &std::fs::File) -> String {
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    while let Ok(length) = master.read(&mut buffer) {
        if length == 0 {
            break;
        }
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

#[test]
fn a_terminal() {
    let mut case = case!();
    case.process()["terminal"] = json!(true);
    case.process()["consoleSize"] = json!({"height": 33, "width": 111});
    case.process()["user"] = json!({"uid": 1000, "gid": 1000});
    case.script(
        "tty; stty size; stat -c '%t %u' $(tty); for n in 0 1 2; do readlink /proc/self/fd/$n; done
        ls -l /dev/console | cut -c1; echo hello > /dev/tty; cut -d' ' -f5,7,8 /proc/1/stat
        read line; echo got $line",
    );
    let (ours, theirs) = UnixStream::pair().unwrap();
    let options = CreateOptions::new().console_socket(theirs.into());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let (name, master) = receive(&ours);
    assert_eq!(name, "/dev/pts/0");
    (&master).write_all(b"typed\n").unwrap();
    wait_for_exit(container.pidfd().unwrap());
    assert!(container.wait().unwrap().success());
    let text = read_all(&master);
    container.delete().unwrap();
    // What is typed is echoed whenever that happens, in the midst of a line, too.
    let text = text.replacen("typed\n", "", 1);
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..3], ["/dev/pts/0", "33 111", "88 1000"], "{text}");
    assert_eq!(lines[3..6], ["/dev/pts/0"; 3], "{text}");
    assert_eq!(lines[6..8], ["c", "hello"], "{text}");
    // Process group 1, terminal 136:0 and its foreground group 1.
    assert_eq!(lines[8], "1 34816 1", "{text}");
    assert_eq!(lines[9], "got typed", "{text}");
}

/// Signals of the terminal reach the program.
#[test]
fn the_terminals_signals() {
    let mut case = case!();
    case.process()["terminal"] = json!(true);
    case.script("trap 'echo interrupted; exit 5' INT; echo ready; while :; do sleep 0.05; done");
    let (ours, theirs) = UnixStream::pair().unwrap();
    let options = CreateOptions::new().console_socket(theirs.into());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let (_, mut master) = receive(&ours);
    let mut buffer = [0u8; 64];
    let length = master.read(&mut buffer).unwrap();
    assert!(String::from_utf8_lossy(&buffer[..length]).starts_with("ready"));
    master.write_all(b"\x03").unwrap();
    wait_for_exit(container.pidfd().unwrap());
    assert_eq!(container.wait().unwrap().code(), Some(5));
    container.delete().unwrap();
}

#[test]
fn a_terminal_for_exec() {
    for traced in [false, true] {
        let mut case = case!();
        if traced {
            case.may_trace();
        }
        let container = case.running();
        let mut process: Value = sh_process("tty; stty size; echo out > /dev/tty");
        process["terminal"] = json!(true);
        process["consoleSize"] = json!({"height": 10, "width": 20});
        let (ours, theirs) = UnixStream::pair().unwrap();
        let options = ExecOptions::new().console_socket(theirs.into());
        let process = serde_json::from_value(process).unwrap();
        let process = container.exec(&process, options).unwrap();
        let (_, master) = receive(&ours);
        wait_for_exit(std::os::fd::AsFd::as_fd(&process));
        assert!(process.wait().unwrap().success());
        let text = read_all(&master);
        assert_eq!(text, "/dev/pts/0\n10 20\nout\n");
        end(container);
    }
}

#[test]
fn a_terminal_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    case.process()["terminal"] = json!(true);
    case.script("stty size; tty; echo x > /dev/console");
    case.process()["consoleSize"] = json!({"height": 5, "width": 6});
    let (ours, theirs) = UnixStream::pair().unwrap();
    let options = CreateOptions::new().console_socket(theirs.into());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let (_, master) = receive(&ours);
    wait_for_exit(container.pidfd().unwrap());
    let text = read_all(&master);
    container.delete().unwrap();
    assert_eq!(text, "5 6\n/dev/pts/0\nx\n");
}

/// runc's wording, which callers know.
#[test]
fn terminal_and_socket_belong_together() {
    let mut case = case!();
    case.process()["terminal"] = json!(true);
    let error = case.create_with(CreateOptions::new()).unwrap_err();
    let words = "cannot allocate tty if runc will detach without setting console socket";
    assert_error(&error, ErrorKind::InvalidArgument, "/process/terminal", words);
    case.process()["terminal"] = json!(false);
    let (_ours, theirs) = UnixStream::pair().unwrap();
    let error = case.create_with(CreateOptions::new().console_socket(theirs.into())).unwrap_err();
    assert_error(&error, ErrorKind::InvalidArgument, "/process/terminal", "cannot use console");
    case.assert_nothing_left();
}

/// consoleSize without a terminal MUST be ignored (config.md).
#[test]
fn a_size_without_a_terminal() {
    let mut case = case!();
    case.process()["consoleSize"] = json!({"height": 100_000, "width": 1});
    assert_eq!(case.sh("tty || true"), "not a tty\n");
}

/// A console socket whose other end is closed.
#[test]
fn nobody_takes_the_terminal() {
    let mut case = case!();
    case.process()["terminal"] = json!(true);
    case.script("true");
    let (ours, theirs) = UnixStream::pair().unwrap();
    drop(ours);
    let error = case.create_with(CreateOptions::new().console_socket(theirs.into())).unwrap_err();
    assert_error(&error, ErrorKind::Step, "/process/terminal", "EPIPE");
    case.assert_nothing_left();
}
