//! `file://` and the programs behind `binary://` and `binary-v2://`.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use crate::harness::{Containerd, Io, ours, skip, until};

#[test]
fn a_file() {
    let Some(containerd) = Containerd::new("a_file") else { return };
    // Its directory is made, and what is in the file stays there.
    let log = containerd.dir().join("logs/of/a.log");
    let uri = format!("file://{}", log.display());
    let io = Io { stdout: uri.clone(), stderr: uri, ..Io::default() };
    for (id, expected) in [("a", "out\nerr\n"), ("b", "out\nerr\nout\nerr\n")] {
        let script = "echo out; sleep 0.1; echo err >&2";
        let task = containerd.bundle(id, &["sh", "-c", script]).io(io.clone()).run();
        assert_eq!(task.wait().expect("wait"), 0);
        task.delete().expect("delete");
        let said = fs::read_to_string(&log).expect("the log");
        // containerd's shim closes the file for both streams when the first one ends.
        assert!(said == expected || !ours(), "{said:?}");
        task.shim.end();
    }
}

/// A logger that writes down what it was given, then both streams until their ends.
fn logger(containerd: &Containerd, ready: &str) -> PathBuf {
    let path = containerd.dir().join("logger");
    let dir = containerd.dir().display();
    let script = format!(
        "#!/bin/sh\ntrap '' TERM\necho \"$CONTAINER_ID $CONTAINER_NAMESPACE $*\" >{dir}/called\n\
         {ready}\ncat <&3 >{dir}/out &\ncat <&4 >{dir}/err\nwait\necho end >>{dir}/called\n"
    );
    fs::write(&path, script).expect("write the logger");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("make it executable");
    path
}

fn run_with(containerd: &Containerd, scheme: &str, ready: &str) {
    let logger = logger(containerd, ready);
    let uri = format!("{scheme}://{}?colour=blue", logger.display());
    let io = Io { stdout: uri.clone(), stderr: uri, ..Io::default() };
    let script = "echo to out; head -c 100000 /dev/zero >&2";
    let task = containerd.bundle("a", &["sh", "-c", script]).io(io).run();
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    let read = |name| fs::read(containerd.dir().join(name)).unwrap_or_default();
    let called = format!("a {} colour blue\nend\n", containerd.name());
    until("the logger ends", || (read("called") == called.as_bytes()).then_some(()));
    assert_eq!(read("out"), b"to out\n");
    assert_eq!(read("err").len(), 100_000);
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// It is ready when it closes its third descriptor.
#[test]
fn a_program() {
    let Some(containerd) = Containerd::new("a_program") else { return };
    run_with(&containerd, "binary", "exec 5>&-");
}

/// It is ready when it writes a byte there (containerd 2.2).
#[test]
fn a_program_of_the_second_version() {
    let name = "a_program_of_the_second_version";
    let Some(containerd) = Containerd::new(name) else { return };
    if !ours() {
        return skip(name, "containerd's shim has it since 2.2");
    }
    run_with(&containerd, "binary-v2", "echo >&5; exec 5>&-");
}

#[test]
fn a_program_that_fails() {
    let Some(containerd) = Containerd::new("a_program_that_fails") else { return };
    let logger = logger(&containerd, "exit 1");
    let mut uris = vec![format!("binary://{}/nowhere", containerd.dir().display())];
    if ours() {
        uris.push(format!("binary-v2://{}", logger.display()));
        uris.push("no-scheme://somewhere".to_owned());
    }
    for (number, uri) in uris.into_iter().enumerate() {
        let io = Io { stdout: uri.clone(), stderr: uri.clone(), ..Io::default() };
        let bundle = containerd.bundle(&format!("a{number}"), &["true"]).io(io);
        let shim = bundle.start_shim();
        assert!(bundle.create_in(&shim).is_err(), "{uri}");
        shim.end();
        assert_eq!(containerd.left(), [""; 0], "{uri}");
    }
}
