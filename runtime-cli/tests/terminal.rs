//! Terminals, ours and those of containers. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // clippy.toml allows these in tests, but does not take helpers of integration tests for such

mod common;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Bench, assert_fails, bench, text};
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};
use serde_json::json;

/// A terminal as a user has it.
struct User {
    master: File,
    slave: OwnedFd,
}

impl User {
    fn new(rows: u16, columns: u16) -> Self {
        let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
        let master = openpt(flags).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let slave = ioctl_tiocgptpeer(&master, flags).unwrap();
        let user = Self { master: File::from(master), slave };
        user.resize(rows, columns);
        user
    }

    fn resize(&self, rows: u16, columns: u16) {
        let size = Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&self.master, size).unwrap();
    }

    fn mode(&self) -> Termios {
        tcgetattr(&self.slave).unwrap()
    }

    fn sits_at(&self, command: &mut Command) {
        let stdio = || Stdio::from(self.slave.try_clone().unwrap());
        command.stdin(stdio()).stdout(stdio()).stderr(stdio());
    }

    /// Reads until `end` was written, and returns all.
    fn read_until(&mut self, end: &str) -> String {
        let mut seen = Vec::new();
        while !text(&seen).contains(end) {
            let mut bytes = [0; 256];
            let count = self.master.read(&mut bytes).unwrap();
            seen.extend_from_slice(&bytes[..count]);
        }
        text(&seen)
    }
}

fn with_terminal(bench: &Bench, script: &str) {
    bench.arguments(&["sh", "-c", script]);
    bench.configure(|config| config["process"]["terminal"] = json!(true));
}

#[test]
fn a_user_s_terminal_is_connected_and_restored() {
    let Some(bench) = bench() else { return };
    with_terminal(
        &bench,
        "trap 'stty size; echo size; exit 5' WINCH; stty size; read x; echo got $x; \
         while :; do sleep 0.1; done",
    );
    let mut user = User::new(40, 100);
    let before = user.mode();
    let mut command = bench.command(&["run", &bench.a]);
    user.sits_at(&mut command);
    let mut child = command.spawn().unwrap();
    assert!(user.read_until("40 100").contains("40 100"));
    assert_ne!(user.mode().local_modes, before.local_modes, "raw mode");
    user.master.write_all(b"hello\r").unwrap();
    user.read_until("got hello");
    user.resize(30, 90);
    // The user's kernel tells the foreground process group; nobody is there in this test.
    rustix::process::kill_process(
        rustix::process::Pid::from_child(&child),
        rustix::process::Signal::WINCH,
    )
    .unwrap();
    assert!(user.read_until("size\r\n").contains("30 90"));
    assert_eq!(child.wait().unwrap().code(), Some(5));
    assert_eq!(user.mode().local_modes, before.local_modes);
    assert_eq!(user.mode().output_modes, before.output_modes);
}

#[test]
fn the_terminal_is_restored_after_an_error() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["nosuch"]);
    bench.configure(|config| config["process"]["terminal"] = json!(true));
    let user = User::new(24, 80);
    let before = user.mode();
    let mut command = bench.command(&["run", &bench.a]);
    user.sits_at(&mut command);
    assert_eq!(command.spawn().unwrap().wait().unwrap().code(), Some(1));
    assert_eq!(user.mode().local_modes, before.local_modes);
    assert_eq!(text(&bench.hoist(&["list", "-q"]).stdout), "");
}

#[test]
fn without_a_terminal_of_ours_output_has_plain_newlines() {
    let Some(bench) = bench() else { return };
    with_terminal(&bench, "readlink /proc/self/fd/0; echo two");
    let output = bench.hoist(&["run", &bench.a]);
    assert_eq!(text(&output.stdout), "/dev/pts/0\ntwo\n", "{output:?}");
    bench.arguments(&["sleep", "1000"]);
    bench.configure(|config| config["process"]["terminal"] = json!(false));
    assert!(bench.command(&["run", "-d", &bench.a]).status().unwrap().success());
    let output =
        bench.hoist(&["exec", "--tty", &bench.a, "sh", "-c", "readlink /proc/self/fd/1; exit 9"]);
    assert_eq!(output.status.code(), Some(9));
    assert_eq!(text(&output.stdout).trim_end(), "/dev/pts/0");
}

#[test]
fn nothing_that_a_process_writes_last_is_lost() {
    let Some(bench) = bench() else { return };
    with_terminal(&bench, "i=0; while [ $i -lt 20000 ]; do echo line $i; i=$((i+1)); done");
    let output = bench.hoist(&["run", &bench.a]);
    let lines = text(&output.stdout);
    assert_eq!(lines.lines().count(), 20000);
    assert_eq!(lines.lines().last(), Some("line 19999"));
}

#[test]
fn a_console_socket_gets_the_terminal() {
    let Some(bench) = bench() else { return };
    with_terminal(&bench, "echo from inside; sleep 1000");
    assert_fails(
        &bench.hoist(&["create", &bench.a]),
        1,
        "cannot allocate tty if runc will detach without setting console socket",
    );
    assert_fails(
        &bench.hoist(&["run", "--console-socket", "/nonexistent", &bench.a]),
        1,
        "cannot use console socket if runc will not detach or allocate tty",
    );
    let path = bench.path("console");
    let listener = UnixListener::bind(&path).unwrap();
    let status = bench.command(&["create", "--console-socket", &path, &bench.a]).status().unwrap();
    assert!(status.success());
    let (socket, _) = listener.accept().unwrap();
    let mut terminal = File::from(receive(socket.as_fd()));
    assert!(bench.hoist(&["start", &bench.a]).status.success());
    let mut seen = [0; 11];
    terminal.read_exact(&mut seen).unwrap();
    assert_eq!(&seen, b"from inside");
}

#[test]
fn a_pidfd_socket_gets_a_pidfd() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    let path = bench.path("pidfd");
    let listener = UnixListener::bind(&path).unwrap();
    let status = bench.command(&["run", "-d", "--pidfd-socket", &path, &bench.a]).status().unwrap();
    assert!(status.success());
    let pidfd = receive(listener.accept().unwrap().0.as_fd());
    rustix::process::pidfd_send_signal(&pidfd, rustix::process::Signal::KILL).unwrap();
    common::eventually("it is stopped", || bench.status(&bench.a) == "stopped");
}

fn receive(socket: impl AsFd) -> OwnedFd {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg, sockopt};
    sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(Duration::from_secs(10)))
        .unwrap();
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut name = [0; 256];
    let mut buffers = [std::io::IoSliceMut::new(&mut name)];
    recvmsg(&socket, &mut buffers, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let received = control.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    received.expect("a descriptor")
}
