//! Containers and execs with a terminal.

use std::io::Write;

use crate::harness::{Containerd, Io, Reader, later, open_writer, text};

#[test]
fn size_and_resize() {
    let Some(containerd) = Containerd::new("size_and_resize") else { return };
    let script = "stty -echo; echo ready; read line; stty size; read line; stty size; tty; exit 4";
    let (bundle, output, input) = containerd.bundle("a", &["sh", "-c", script]).terminal();
    let task = bundle.run();
    let mut writer = open_writer(&input);
    output.until("ready");
    task.resize(100, 30).expect("resize");
    writer.write_all(b"\n").expect("write");
    output.until("30 100");
    task.resize(132, 43).expect("resize");
    writer.write_all(b"\n").expect("write");
    output.until("43 132");
    assert_eq!(task.wait().expect("wait"), 4);
    let state = task.state().expect("state");
    assert!(state.terminal);
    task.delete().expect("delete");
    assert!(output.text().contains("\r\n"), "a terminal ends lines so");
}

/// A new terminal has a size before its program asks for it.
#[test]
fn size_before_start() {
    let Some(containerd) = Containerd::new("size_before_start") else { return };
    let (bundle, output, input) = containerd.bundle("a", &["stty", "size"]).terminal();
    let task = bundle.create();
    let _writer = open_writer(&input);
    task.resize(77, 11).expect("resize");
    task.start().expect("start");
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    assert_eq!(output.text(), "11 77\r\n");
}

#[test]
fn control_c() {
    let Some(containerd) = Containerd::new("control_c") else { return };
    let script = "trap 'echo interrupted; exit 9' INT; echo ready; while :; do sleep 0.01; done";
    let (bundle, output, input) = containerd.bundle("a", &["sh", "-c", script]).terminal();
    let task = bundle.run();
    output.until("ready");
    open_writer(&input).write_all(&[3]).expect("write");
    assert_eq!(task.wait().expect("wait"), 9);
    task.delete().expect("delete");
    output.until("interrupted");
}

#[test]
fn nothing_is_lost_at_the_exit() {
    let Some(containerd) = Containerd::new("nothing_is_lost_at_the_exit") else { return };
    for number in 0..10 {
        let id = format!("a{number}");
        let script = "head -c 60000 /dev/zero; echo; echo last";
        let (bundle, output, _input) = containerd.bundle(&id, &["sh", "-c", script]).terminal();
        let task = bundle.run();
        assert_eq!(task.wait().expect("wait"), 0);
        task.delete().expect("delete");
        let bytes = output.bytes();
        assert_eq!(
            bytes.len(),
            60_000 + 2 + 6,
            "the end: {:?}",
            &bytes[bytes.len().saturating_sub(20)..]
        );
        task.shim.end();
    }
}

#[test]
fn an_exec_with_a_terminal() {
    let Some(containerd) = Containerd::new("an_exec_with_a_terminal") else { return };
    let task = containerd.bundle("a", &["sleep", "1000"]).run();
    let [input, out] = ["in", "out"].map(|name| containerd.fifo(name));
    let output = Reader::new(&out);
    let io = Io { stdin: text(&input), stdout: text(&out), stderr: String::new(), terminal: true };
    let script = "stty -echo; echo ready; while read line; do echo \"<$line>\"; stty size; done";
    let exec = task.exec("x", &["sh", "-c", script], &io).expect("exec");
    exec.start().expect("start");
    let mut writer = open_writer(&input);
    output.until("ready");
    exec.resize(81, 26).expect("resize");
    writer.write_all(b"hello\n").expect("write");
    output.until("<hello>\r\n26 81\r\n");
    // End of file, as a terminal knows it.
    writer.write_all(&[4]).expect("write");
    assert_eq!(exec.wait().expect("wait"), 0);
    exec.delete().expect("delete");
    task.finish();
}

/// More than any buffer on the way holds, in both directions at once.
#[test]
fn much_through_a_terminal() {
    let Some(containerd) = Containerd::new("much_through_a_terminal") else { return };
    let script = "stty raw -echo; echo ready; head -c 1000000 | cat";
    let (bundle, output, input) = containerd.bundle("a", &["sh", "-c", script]).terminal();
    let task = bundle.run();
    output.until("ready");
    let mut writer = open_writer(&input);
    later(move || writer.write_all(&[b'x'; 1_000_000]).expect("write")).get();
    assert_eq!(task.wait().expect("wait"), 0);
    task.delete().expect("delete");
    let count = output.bytes().iter().filter(|byte| **byte == b'x').count();
    assert_eq!(count, 1_000_000);
}
