//! `linux.seccomp`: who gets the notify descriptors, and with what state.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::thread::JoinHandle;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use crate::case;
use crate::common::{Case, end, exec, sh_process};

/// An agent that serves one connection after another, as runc's example does: the messages of the
/// first `count`.
fn agent(path: &Path, count: usize) -> JoinHandle<Vec<Value>> {
    let listener = UnixListener::bind(path).unwrap();
    std::thread::spawn(move || {
        let serve = |_| {
            let (message, descriptors) = receive(&listener.accept().unwrap().0);
            assert_eq!(descriptors.len(), 1);
            let link = std::fs::read_link(format!(
                "/proc/self/fd/{}",
                std::os::fd::AsRawFd::as_raw_fd(&descriptors[0])
            ));
            assert_eq!(link.unwrap().to_str(), Some("anon_inode:seccomp notify"));
            message
        };
        (0..count).map(serve).collect()
    })
}

fn receive(connection: &UnixStream) -> (Value, Vec<OwnedFd>) {
    let mut bytes = vec![0u8; 4096];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(4))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut buffers = [IoSliceMut::new(&mut bytes)];
    let flags = RecvFlags::CMSG_CLOEXEC;
    let received =
        rustix::net::recvmsg(connection.as_fd(), &mut buffers, &mut control, flags).unwrap();
    let descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
        _ => None,
    });
    let descriptors = descriptors.flatten().collect();
    (serde_json::from_slice(&bytes[..received.bytes]).unwrap(), descriptors)
}

/// A profile that asks about a system call which nothing here makes.
fn with_agent(case: &mut Case, count: usize) -> JoinHandle<Vec<Value>> {
    let path = case.dir.join("agent");
    case.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "for the agent",
        "syscalls": [{"names": ["setdomainname"], "action": "SCMP_ACT_NOTIFY"}],
    });
    agent(&path, count)
}

/// runtime-spec config-linux.md, "The Container Process State": each process's own pid, and the
/// container's state.
#[test]
fn the_agent_hears_of_every_process() {
    let mut case = case!();
    let agent = with_agent(&mut case, 3);
    case.config["hooks"]["startContainer"] =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]);
    case.process()["oomScoreAdj"] = json!(500);
    case.script("sleep 1000");
    let container = case.create();
    let pid = container.pid().unwrap().unwrap();
    container.start().unwrap();
    assert_eq!(exec(&container, sh_process("echo ran")).success(), "ran\n");
    end(container);
    let messages = agent.join().unwrap();
    for (message, status) in messages.iter().zip(["created", "created", "running"]) {
        assert_eq!(message["fds"], json!(["seccompFd"]));
        assert_eq!(message["metadata"], "for the agent");
        assert_eq!(message["state"]["id"], case.id.as_str());
        assert_eq!(message["state"]["status"], status);
        assert_eq!(message["state"]["pid"], pid);
    }
    // The hook comes first, then the program, then exec.
    assert_ne!(messages[0]["pid"], pid);
    assert_eq!(messages[1]["pid"], pid);
    assert_ne!(messages[2]["pid"], pid);
}

/// In one go it is the same.
#[test]
fn the_agent_hears_of_every_process_of_a_run() {
    let mut case = case!();
    let agent = with_agent(&mut case, 2);
    case.config["hooks"]["startContainer"] =
        json!([{"path": "/bin/sh", "args": ["sh", "-c", "exit 0"]}]);
    case.script("echo ran");
    assert_eq!(case.run().unwrap().success(), "ran\n");
    let messages = agent.join().unwrap();
    assert_ne!(messages[0]["pid"], messages[0]["state"]["pid"]);
    assert_eq!(messages[1]["pid"], messages[1]["state"]["pid"]);
    assert_eq!(messages[0]["state"]["pid"], messages[1]["state"]["pid"]);
}
