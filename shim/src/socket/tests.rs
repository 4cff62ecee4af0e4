//! Sockets in directories of the tests' own. Only the last refusal needs root.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Barrier;

use super::*;
use crate::testing::Scratch;

#[test]
fn the_path_is_that_of_go() {
    // sha256sum of "/run/containerd/containerd.sock/default/web".
    let expected =
        "/run/containerd/s/2cde4450fa38c74f53603e01d2afd903b315a27a596f12a151414cd59897d883";
    let containerd = "/run/containerd/containerd.sock";
    let path_of = |directory, group| path(directory, containerd, "default", group).unwrap();
    assert_eq!(path_of(None, "web"), Path::new(expected));
    assert_eq!(path_of(None, "./web//"), Path::new(expected));
    assert_ne!(path_of(None, "web2"), Path::new(expected));
    assert!(path_of(Some("/run/k3s/s"), "web").starts_with("/run/k3s/s"));
    assert!(is_path(Path::new(expected)));
    let (digest, short) =
        (&expected["/run/containerd/s/".len()..], &expected[..expected.len() - 1]);
    for other in ["", "/", "/run/containerd/containerd.sock", digest, short] {
        assert!(!is_path(Path::new(other)), "{other}");
    }
    let long = path(Some(&format!("/{}", "x".repeat(40))), containerd, "default", "web");
    assert_eq!(long.unwrap().as_os_str().len(), 106);
    let too_long = path(Some(&format!("/{}", "x".repeat(41))), containerd, "default", "web");
    assert!(too_long.unwrap_err().message.contains("has 107 bytes; 106 are possible"));
}

#[test]
fn joined_as_go_does() {
    for (parts, expected) in [
        (["/a", "b", "c"], "/a/b/c"),
        (["a", "", "c"], "a/c"),
        (["/a/", "./b", "../c"], "/a/c"),
        (["/a", "b", "../../../c"], "/c"),
        (["", "b", "../../c"], "../c"),
        (["unix:///run/x", "n", "i"], "unix:/run/x/n/i"),
    ] {
        assert_eq!(joined(&parts), expected, "{parts:?}");
    }
}

#[test]
fn a_claim_is_served_replaced_and_removed() {
    let scratch = Scratch::new("claim");
    let path = scratch.path().join("deep/s/socket");
    let claim = Claim::take(&path).unwrap().unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(path.parent().unwrap().metadata().unwrap().mode() & 0o777, 0o700);
    UnixStream::connect(&path).unwrap();
    let listener = claim.listener.try_clone().unwrap();
    claim.keep();
    // Served: nothing to claim, and nothing to sweep.
    assert!(Claim::take(&path).unwrap().is_none());
    sweep(&path).unwrap();
    assert!(path.exists());
    // Its server is dead.
    drop(listener);
    assert!(path.exists());
    let again = Claim::take(&path).unwrap().unwrap();
    UnixStream::connect(&path).unwrap();
    drop(again);
    assert!(!path.exists());
}

#[test]
fn what_is_dead_is_swept_and_what_ends_retires() {
    let scratch = Scratch::new("sweep");
    let path = scratch.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    sweep(&path).unwrap();
    assert!(!path.exists());
    sweep(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    retire(&listener).unwrap();
    assert!(!path.exists());
    retire(&listener).unwrap();
}

#[test]
fn only_a_socket_is_removed() {
    let scratch = Scratch::new("no-socket");
    let path = scratch.path().join("file");
    std::fs::write(&path, "precious").unwrap();
    let link = scratch.path().join("link");
    std::os::unix::fs::symlink(&path, &link).unwrap();
    for path in [&path, &link] {
        let expected = format!("remove {}: it is no socket", path.display());
        assert_eq!(Claim::take(path).unwrap_err().message, expected);
        assert_eq!(sweep(path).unwrap_err().message, expected);
        assert_eq!(std::fs::read(path).unwrap(), b"precious");
    }
}

#[test]
fn the_lock_of_one_that_hangs() {
    let scratch = Scratch::new("lock");
    let path = scratch.path().join("socket");
    let hanging = || {
        let (directory, opened) = directory(&path).unwrap();
        lock(directory, opened, Duration::ZERO)
    };
    let held = hanging().unwrap();
    let failure = hanging().unwrap_err();
    assert_eq!(failure.code, Code::Unavailable);
    let expected = format!("lock {}: others have held it for 0ns", scratch.path().display());
    assert!(failure.message.starts_with(&expected), "{failure}");
    // A dead one's stays, an own one goes.
    drop(UnixListener::bind(&path).unwrap());
    assert_eq!(sweep(&path).unwrap_err().code, Code::Unavailable);
    std::fs::remove_file(&path).unwrap();
    let listener = UnixListener::bind(&path).unwrap();
    retire(&listener).unwrap();
    assert!(!path.exists());
    drop(held);
    hanging().unwrap();
}

#[test]
fn the_directory_is_ours_alone() {
    let scratch = Scratch::new("private");
    let directory = scratch.path().join("s");
    let path = directory.join("socket");
    let mode = |mode| {
        std::fs::set_permissions(&directory, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    std::fs::create_dir(&directory).unwrap();
    for open in [0o711, 0o755, 0o770, 0o777] {
        mode(open);
        Claim::take(&path).unwrap().unwrap();
        assert_eq!(directory.metadata().unwrap().mode() & 0o7777, 0o700);
    }
    let refused = |message: &str| {
        let failure = Claim::take(&path).unwrap_err();
        let expected = format!("the sockets' directory {}: {message}", directory.display());
        assert_eq!((failure.code, failure.message), (Code::FailedPrecondition, expected));
        assert!(!path.exists());
    };
    mode(0o1777);
    refused("others can write to it, as its sticky bit says");
    assert_eq!(directory.metadata().unwrap().mode() & 0o7777, 0o1777);
    if geteuid().is_root() {
        std::os::unix::fs::chown(&directory, Some(1234), None).unwrap();
        refused("it belongs to the user 1234, not to 0");
    }
}

#[test]
fn of_many_starts_one_gets_the_socket() {
    let scratch = Scratch::new("race");
    let path = scratch.path().join("socket");
    drop(UnixListener::bind(&path).unwrap());
    for _ in 0..50 {
        let barrier = Barrier::new(8);
        let listeners: Vec<_> = std::thread::scope(|scope| {
            let claim = || {
                barrier.wait();
                Claim::take(&path).unwrap().map(|claim| {
                    let listener = claim.listener.try_clone().unwrap();
                    claim.keep();
                    listener
                })
            };
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(claim)).collect();
            threads.into_iter().filter_map(|thread| thread.join().unwrap()).collect()
        });
        assert_eq!(listeners.len(), 1);
        UnixStream::connect(&path).unwrap();
        // The next round finds a stale one.
    }
}

#[test]
fn a_full_backlog_is_served() {
    let scratch = Scratch::new("backlog");
    let path = scratch.path().join("socket");
    let listener = stream().unwrap();
    let address = SocketAddrUnix::new(&path).unwrap();
    bind(&listener, &address).unwrap();
    listen(&listener, 0).unwrap();
    let mut waiting = Vec::new();
    loop {
        let client = stream().unwrap();
        match connect(&client, &address) {
            Ok(()) => waiting.push(client),
            Err(errno) => break assert_eq!(errno, Errno::AGAIN),
        }
    }
    assert!(is_served(&address).unwrap());
}
