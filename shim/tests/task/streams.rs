//! stdin, stdout and stderr through fifos.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use containerd_shim_protos::types::task::Status;
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use crate::harness::{Containerd, Io, Reader, later, open_writer, text};

/// The same bytes each time, that look like nothing.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[test]
fn each_stream_is_its_own() {
    let Some(containerd) = Containerd::new("each_stream_is_its_own") else { return };
    let script = "echo to out; echo to err >&2";
    let (bundle, out, err) = containerd.bundle("a", &["sh", "-c", script]).output();
    let task = bundle.run();
    task.wait().expect("wait");
    task.delete().expect("delete");
    assert_eq!((out.text(), err.text()), ("to out\n".to_owned(), "to err\n".to_owned()));
}

#[test]
fn no_streams() {
    let Some(containerd) = Containerd::new("no_streams") else { return };
    let script = "cat; echo to nobody; echo to nobody >&2; exit 5";
    let task = containerd.bundle("a", &["sh", "-c", script]).run();
    assert_eq!(task.wait().expect("wait"), 5, "nothing to read is an end of file");
    task.delete().expect("delete");
}

#[test]
fn fifty_megabytes_there_and_back() {
    let Some(containerd) = Containerd::new("fifty_megabytes_there_and_back") else { return };
    let (bundle, out, _err) = containerd.bundle("a", &["cat"]).output();
    let (bundle, input) = bundle.input();
    let task = bundle.run();
    let sent = noise(50 << 20);
    let mut writer = open_writer(&input);
    let copy = sent.clone();
    later(move || writer.write_all(&copy).expect("write")).get();
    task.close_stdin().expect("close stdin");
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    let received = out.bytes();
    assert!(received == sent, "{} bytes sent, {} received", sent.len(), received.len());
}

/// What a process has written just before its end is still underway when its exit is known.
#[test]
fn nothing_is_lost_at_the_exit() {
    let Some(containerd) = Containerd::new("nothing_is_lost_at_the_exit") else { return };
    for number in 0..10 {
        let script = "head -c 100000 /dev/zero; head -c 100000 /dev/zero >&2";
        let fifos = ["out", "err"].map(|name| containerd.fifo(&format!("{name}{number}")));
        // There, and not reading.
        let files = [0, 1].map(|index: usize| open_idle(&fifos[index]));
        let io = Io { stdout: text(&fifos[0]), stderr: text(&fifos[1]), ..Io::default() };
        let task = containerd.bundle(&format!("a{number}"), &["sh", "-c", script]).io(io).run();
        assert_eq!(task.wait().expect("wait"), 0);
        for mut file in files {
            let flags = fcntl_getfl(&file).expect("flags");
            fcntl_setfl(&file, flags - OFlags::NONBLOCK).expect("set flags");
            let read = later(move || file.read_to_end(&mut Vec::new()).expect("read"));
            assert_eq!(read.get(), 100_000);
        }
        task.delete().expect("delete");
        task.shim.end();
    }
}

fn open_idle(fifo: &Path) -> std::fs::File {
    let mut options = OpenOptions::new();
    options.read(true).custom_flags(libc::O_NONBLOCK).open(fifo).expect("open the fifo")
}

/// Delete waits for the streams, as Docker's logs depend on it.
#[test]
fn after_delete_everything_was_written() {
    let Some(containerd) = Containerd::new("after_delete_everything_was_written") else { return };
    for number in 0..10 {
        let id = format!("a{number}");
        let (bundle, out, _err) =
            containerd.bundle(&id, &["head", "-c", "50000", "/dev/zero"]).output();
        let task = bundle.run();
        task.wait().expect("wait");
        task.delete().expect("delete");
        assert_eq!(out.bytes().len(), 50_000);
        task.shim.end();
    }
}

#[test]
fn a_reader_that_stops_blocks_nobody_else() {
    let name = "a_reader_that_stops_blocks_nobody_else";
    let Some(containerd) = Containerd::new(name) else { return };
    let group = "io.containerd.runc.v2.group";
    let fifos = ["full-out", "full-err"].map(|name| containerd.fifo(name));
    let _idle = [0, 1].map(|index: usize| open_idle(&fifos[index]));
    let io = Io { stdout: text(&fifos[0]), stderr: text(&fifos[1]), ..Io::default() };
    let full = containerd.bundle("full", &["sh", "-c", "while :; do echo full; done"]).io(io);
    let full = full.annotation(group, "g").run();
    let count = 20 << 20;
    let (bundle, out, _err) =
        containerd.bundle("b", &["head", "-c", &count.to_string(), "/dev/zero"]).output();
    let task = bundle.annotation(group, "g").run();
    assert_eq!(task.shim.pid, full.shim.pid, "both in one shim");
    assert_eq!(task.wait().expect("wait"), 0);
    assert_eq!(out.bytes().len(), count);
    task.delete().expect("delete");
    // The shim still does everything for the blocked one, as well.
    assert_eq!(full.status(), Status::RUNNING);
    let exec = full.run_exec("x", &["true"]);
    assert_eq!(exec.wait().expect("wait"), 0);
    full.kill(libc::SIGKILL).expect("kill");
    assert_eq!(full.wait().expect("wait"), 137);
}

/// As `docker attach` and `ctr task attach` do: clients come and go, the container runs on.
#[test]
fn detach_and_attach() {
    let Some(containerd) = Containerd::new("detach_and_attach") else { return };
    let script = "while read line; do echo \"got $line\"; done; echo end";
    let [out, err] = ["out", "err"].map(|name| containerd.fifo(name));
    let io = Io { stdout: text(&out), stderr: text(&err), ..Io::default() };
    let (mut bundle, input) = containerd.bundle("a", &["sh", "-c", script]).io(io).input();
    bundle.io.stderr = text(&err);
    let open = |path: std::path::PathBuf| {
        later(move || BufReader::new(std::fs::File::open(path).expect("open")))
    };
    let (first, _errors) = (open(out.clone()), Reader::new(&err));
    let task = bundle.run();
    let next = |mut reader: BufReader<std::fs::File>| {
        later(move || {
            let mut line = String::new();
            reader.read_line(&mut line).expect("read");
            (reader, line)
        })
    };
    let mut writer = open_writer(&input);
    writer.write_all(b"one\n").expect("write");
    let (first, line) = next(first.get()).get();
    assert_eq!(line, "got one\n");
    // Both ends of this client go away: neither an end of file nor a broken pipe for the container.
    drop((writer, first));
    let mut writer = open_writer(&input);
    writer.write_all(b"two\n").expect("write");
    let second = open(out).get();
    let (second, line) = next(second).get();
    assert_eq!(line, "got two\n");
    assert_eq!(task.status(), Status::RUNNING);
    task.close_stdin().expect("close stdin");
    drop(writer);
    let (second, line) = next(second).get();
    assert_eq!(line, "end\n");
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    drop(second);
}

#[test]
fn streams_of_an_exec() {
    let Some(containerd) = Containerd::new("streams_of_an_exec") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let [input, out, err] = ["in", "out", "err"].map(|name| containerd.fifo(name));
    let (output, errors) = (Reader::new(&out), Reader::new(&err));
    let io = Io { stdin: text(&input), stdout: text(&out), stderr: text(&err), terminal: false };
    let exec = task.exec("x", &["sh", "-c", "cat; echo done >&2"], &io).expect("exec");
    exec.start().expect("start");
    let sent = noise(1 << 20);
    let mut writer = open_writer(&input);
    let copy = sent.clone();
    later(move || writer.write_all(&copy).expect("write")).get();
    exec.close_stdin().expect("close stdin");
    assert_eq!(exec.wait().expect("wait"), 0);
    exec.delete().expect("delete");
    assert!(output.bytes() == sent);
    assert_eq!(errors.text(), "done\n");
    task.finish();
}

/// A background process keeps the streams: neither exit nor delete may wait for it for ever
/// (containerd's shim gives up after some seconds).
#[test]
fn a_child_that_keeps_the_streams() {
    let Some(containerd) = Containerd::new("a_child_that_keeps_the_streams") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let [out, err] = ["out", "err"].map(|name| containerd.fifo(name));
    let (output, _errors) = (Reader::new(&out), Reader::new(&err));
    let io = Io { stdout: text(&out), stderr: text(&err), ..Io::default() };
    let exec = task.exec("x", &["sh", "-c", "sleep 1000 & echo done"], &io).expect("exec");
    exec.start().expect("start");
    output.until("done");
    assert_eq!(exec.wait().expect("wait"), 0);
    exec.delete().expect("delete");
    task.finish();
}
