//! Who reaches the shim, its files, and the programs that it may execute.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use containerd_shim_protos::shim::shim::CreateTaskResponse;
use containerd_shim_protos::ttrpc::Code;
use serde_json::json;

use super::as_nobody;
use crate::harness::{Containerd, Io, Result, Task, ours, skip};

/// CVE-2020-15257 (containerd): the shim's socket had an abstract name, to which every process in the
/// host's network namespace could connect, also root of a container that shares that.
/// Seen to fail: with a socket of mode 0666 in a directory of mode 0755. An abstract one is a thing of
/// containerd before 1.4.3, which isn't at hand.
#[test]
fn cve_2020_15257_only_root_can_name_the_socket() {
    let name = "cve_2020_15257_only_root_can_name_the_socket";
    let Some(containerd) = Containerd::new(name) else { return };
    // unix(7): abstract names are the network namespace's.
    let script = "cat /proc/net/unix; echo that was all; sleep 1000";
    let (bundle, out, _err) = containerd.bundle("a", &["sh", "-c", script]).output();
    let task = bundle.edit(|config| leave_out(config, "network")).run();
    out.until("that was all");
    let table = String::from_utf8_lossy(&out.so_far()).into_owned();
    let inodes = sockets(task.shim.pid.as_raw_nonzero().get());
    let mut names = Vec::new();
    for line in table.lines().skip(1) {
        let mut words = line.split_whitespace().skip(6);
        if let (Some(inode), Some(name)) = (words.next(), words.next())
            && inodes.iter().any(|ours| ours == inode)
        {
            names.push(name.to_owned());
        }
    }
    let path = PathBuf::from(task.shim.socket());
    assert!(names.iter().any(|name| Path::new(name) == path), "{names:?}\n{table}");
    assert!(names.iter().all(|name| name.starts_with('/')), "abstract names: {names:?}");

    let mode = |path: &Path| {
        let metadata = path.symlink_metadata().expect("metadata");
        (metadata.mode() & 0o077, metadata.uid())
    };
    assert_eq!(mode(&path), (0, 0), "the socket");
    assert_eq!(mode(path.parent().expect("a directory")), (0, 0), "its directory");
    let connected = as_nobody(move || UnixStream::connect(path).map(drop));
    let refused = connected.expect_err("another user has connected to the shim");
    assert_eq!(refused.kind(), ErrorKind::PermissionDenied);
    task.finish();
}

fn leave_out(config: &mut serde_json::Value, namespace: &str) {
    let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
    namespaces.retain(|one| one["type"] != namespace);
}

/// The inodes of a process's sockets.
fn sockets(pid: i32) -> Vec<String> {
    let mut inodes = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd")).expect("descriptors").flatten() {
        let link = fs::read_link(entry.path()).unwrap_or_default().display().to_string();
        let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
        inodes.extend(inode.map(str::to_owned));
    }
    inodes
}

/// CVE-2021-41103, CVE-2024-25621 (containerd): directories of bundles, of state and of the daemon's
/// services could be entered by every user, who so reached containers' files and their set-user-id
/// programs.
/// Seen to fail: with the state's directory of mode 0755 and options of mode 0666.
#[test]
fn cve_2021_41103_what_the_shim_makes_is_closed_to_others() {
    let name = "cve_2021_41103_what_the_shim_makes_is_closed_to_others";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, "the state is runc's");
    }
    // It is not the umask that closes them.
    let containerd = containerd.with_open_umask();
    let bundle = containerd.bundle("a", &["sleep", "1000"]);
    let task = bundle.create();
    let root = containerd.dir().join("runc").join(containerd.name());
    let (state, options) = (root.join("a"), bundle.dir().join("options.json"));
    let mut made = vec![state.clone(), options.clone()];
    made.extend(fs::read_dir(&state).expect("the state").flatten().map(|entry| entry.path()));
    for name in ["state.json", "config.json", "start.sock"] {
        assert!(made.contains(&state.join(name)), "{name} is not among {made:?}");
    }
    let mode = |path: &Path| path.symlink_metadata().expect("metadata").mode() & 0o7777;
    // A socket's own mode is the umask's: it is the directory that closes it.
    for path in made.iter().filter(|path| !path.ends_with("start.sock")) {
        assert_eq!(mode(path) & 0o077, 0, "{}: {:o}", path.display(), mode(path));
    }
    // Containers' users pass through it, and learn nothing of others.
    assert_eq!(mode(&root) & 0o066, 0, "{}: {:o}", root.display(), mode(&root));

    let refused: Vec<_> = as_nobody(move || {
        let start = UnixStream::connect(state.join("start.sock")).map(drop);
        let files = [state.join("state.json"), state.join("config.json"), options];
        let opened = files.into_iter().map(|path| File::open(path).map(drop));
        let listed = [state, root].map(|path| fs::read_dir(path).map(drop));
        opened.chain(listed).chain([start]).map(|one| one.map_err(|error| error.kind())).collect()
    });
    let expected = vec![Err::<(), _>(ErrorKind::PermissionDenied); 6];
    assert_eq!(refused, expected);
    task.start().expect("start");
    task.finish();
}

/// CVE-2026-53488 (containerd): a label of the image named a `binary://` logger, a program that root
/// executed on the host.
/// Seen to fail: with the option passed over, and the logger ran.
#[test]
fn cve_2026_53488_no_label_and_no_forbidden_uri_executes_a_program() {
    let name = "cve_2026_53488_no_label_and_no_forbidden_uri_executes_a_program";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, "containerd's shim can't forbid loggers");
    }
    let (program, witness) = (containerd.dir().join("logger"), containerd.dir().join("executed"));
    let script = format!("#!/bin/sh\necho $$ >>{}\nexec 5>&-\ncat <&3\n", witness.display());
    fs::write(&program, script).expect("write the logger");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("make it executable");

    // What an image says reaches a shim as annotations, if at all.
    let uri = format!("binary://{}", program.display());
    let mut bundle = containerd.bundle("a", &["echo", "hello"]);
    for key in ["containerd.io/restart.loguri", "log_uri", "stdout", "io.containerd.runc.v2.log"] {
        bundle = bundle.annotation(key, &uri);
    }
    let task = bundle.run();
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    task.shim.end();
    assert!(!witness.exists(), "an annotation has executed a program");

    // What the daemon itself asks for is executed, unless the operator forbids it.
    let forbidden = "NoBinaryLoggers = true";
    let words = "binary loggers are forbidden";
    let uris = ["binary", "binary-v2"].map(|scheme| format!("{scheme}://{}", program.display()));
    for (number, uri) in uris.iter().enumerate() {
        for (stream, terminal) in [("stdout", false), ("stderr", false), ("stdout", true)] {
            let mut io = Io { terminal, ..Io::default() };
            if stream == "stdout" {
                io.stdout.clone_from(uri)
            } else {
                io.stderr.clone_from(uri)
            }
            let id = format!("b{number}-{stream}-{terminal}");
            let bundle = containerd.bundle(&id, &["true"]).toml(forbidden).io(io.clone());
            let bundle = bundle.edit(|config| config["process"]["terminal"] = json!(terminal));
            let shim = bundle.start_shim();
            let refused = bundle.create_in(&shim).err().expect("a logger was started");
            assert_eq!(refused.code, Some(Code::FAILED_PRECONDITION), "{refused}");
            assert!(refused.message.contains(words), "{refused}");
            shim.end();
        }
    }
    let task = containerd.bundle("c", &["sleep", "1000"]).toml(forbidden).run();
    for (number, uri) in uris.iter().enumerate() {
        let io = Io { stdout: uri.clone(), ..Io::default() };
        let exec = task.exec(&format!("x{number}"), &["true"], &io).expect("exec");
        let refused = exec.start().expect_err("a logger was started");
        assert!(refused.message.contains(words), "{refused}");
        exec.delete().expect("delete");
    }
    assert!(!witness.exists(), "a forbidden logger was executed");
    task.finish();
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// Attack: a client names containers after paths, so that their state would be somewhere else.
/// Seen to fail: with the rule for ids taken out, a container was made whose name has a line's end in it.
#[test]
fn ids_that_are_paths() {
    let Some(containerd) = Containerd::new("ids_that_are_paths") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let root = containerd.dir().join("runc");
    let listed = || {
        let mut names = Vec::new();
        for dir in [root.clone(), root.join(containerd.name())] {
            names.extend(fs::read_dir(dir).expect("list").flatten().map(|entry| entry.path()));
        }
        names.sort();
        names
    };
    let before = listed();
    let long = "x".repeat(5000);
    for id in ["", ".", "..", "../b", "../../b", "/b", "b/c", "b/../c", "b\0c", "b\nc", &long] {
        let mut request = containerd.bundle("b", &["true"]).request();
        request.id = id.to_owned();
        let answer: Result<CreateTaskResponse> = task.shim.call("Create", &request);
        assert!(answer.is_err(), "a container of the name {id:?}");
        let other = Task::new(&task.shim, id, "", 0);
        for refused in [other.state().err(), other.start().err(), other.delete().err()] {
            assert_eq!(refused.and_then(|refused| refused.code), Some(Code::NOT_FOUND), "{id:?}");
        }
        assert_eq!(listed(), before, "after {id:?}");
    }
    task.finish();
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}
