use std::os::unix::fs::PermissionsExt;

use rustix::pipe::{PipeFlags, pipe_with};

use super::super::pump::Sink;
use super::*;

#[test]
fn output_is_appended_to_a_file() {
    let directory = Directory::new();
    let log = directory.path("new/directories/a b.log");
    let uri = format!("file://{}", log.replace(' ', "%20"));
    for (round, expected) in [(1, b"o1e1".as_slice()), (2, b"o1e1o2e2")] {
        let (mut streams, [_, stdout, stderr]) = open(&request("", &uri, &uri));
        let mut pumps = streams.take_pumps().into_iter();
        // One after the other: which is first isn't determined otherwise.
        for (name, process, pump) in [("o", stdout, pumps.next()), ("e", stderr, pumps.next())] {
            let pumps = run(pump.into_iter().collect());
            write!(process.unwrap(), "{name}{round}").unwrap();
            assert!(pumps.join().unwrap().is_empty());
        }
        assert_eq!(fs::read(&log).unwrap(), expected);
    }
    let mode = fs::metadata(&log).unwrap().permissions().mode();
    assert_eq!(mode & 0o777 & !0o644, 0, "{mode:o}");
}

#[test]
fn all_of_a_long_output_is_in_the_file() {
    let directory = Directory::new();
    let log = directory.path("log");
    fs::write(&log, b"").unwrap();
    // A path that is no fifo is a file that must be there.
    let (mut streams, [_, process, _]) = open(&request("", &log, ""));
    let pumps = run(streams.take_pumps());
    let bytes = pattern(5_000_000);
    process.unwrap().write_all(&bytes).unwrap();
    assert!(pumps.join().unwrap().is_empty());
    assert_same(&fs::read(&log).unwrap(), &bytes);
}

#[test]
fn a_full_disk_stops_nobody_and_is_said_once() {
    let (mut streams, [_, process, _]) = open(&request("", "/dev/full", ""));
    let pumps = run(streams.take_pumps());
    process.unwrap().write_all(&pattern(1_000_000)).unwrap();
    let expected = "write the process's output: No space left on device (os error 28)";
    assert_eq!(pumps.join().unwrap(), [expected]);
}

#[test]
fn a_fifo_may_be_called_a_file() {
    let directory = Directory::new();
    let fifo = directory.fifo("fifo");
    let (mut streams, [_, process, _]) = open(&request("", &format!("file://{fifo}"), ""));
    let client = reader(&fifo);
    let pumps = run(streams.take_pumps());
    process.unwrap().write_all(b"through").unwrap();
    pumps.join().unwrap();
    assert_eq!(client.join().unwrap(), b"through");
}

/// A file system that hangs, as a pipe that nobody reads: the loop goes on, and the end waits.
#[test]
fn a_file_that_hangs_holds_up_nobody_else() {
    let (slow, file) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    let (source, process) = pipe_with(PipeFlags::CLOEXEC).unwrap();
    ioctl_fionbio(&source, true).unwrap();
    ioctl_fionbio(&process, true).unwrap();
    let mut pump = Pump::output(source, Sink::append(file).unwrap());
    let bytes = pattern(1_000_000);
    let mut taken = 0;
    // Until everything is full, the thread's pipe included.
    for _ in 0..1000 {
        while let Ok(count) = rustix::io::write(&process, &bytes[taken..]) {
            taken += count;
        }
        assert_eq!(pump.run(), Progress::Waiting);
        thread::yield_now();
    }
    assert!(taken > 100_000 && taken < bytes.len(), "{taken}");
    drop(process);
    let pumps = run(vec![pump]);
    let got = read_exactly(&mut File::from(slow.try_clone().unwrap()), taken - 1);
    assert_same(&got, &bytes[..taken - 1]);
    assert_eq!(read_all(&mut File::from(slow)), bytes[taken - 1..taken]);
    assert!(pumps.join().unwrap().is_empty());
}
