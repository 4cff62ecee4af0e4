//! A hostile neighbour of processes that join: whatever appears in `/proc` is attacked at once.
//!
//! What counts is what was got of a process that wasn't yet the user's program, which is this very
//! program: before and after the attack its `exe` couldn't be read, or was another.

use crate::ask::{list, split};
use crate::output::{Path, number, put, put_number};
use crate::sys::{self, Result};

/// What was got hold of.
#[derive(Default)]
struct Haul {
    /// Processes that were no program of the user's yet.
    seen: isize,
    /// Their executable, as a link and for writing.
    exe: isize,
    exe_written: isize,
    /// Their memory.
    mem: isize,
    /// One of their descriptors, their root or working directory.
    fd: isize,
    root: isize,
    /// Their environment, their map.
    environ: isize,
    maps: isize,
    /// Traced.
    traced: isize,
    /// The host's canary, by a directory of theirs.
    escaped: isize,
    /// Killed.
    killed: isize,
}

/// What is done to each process.
#[derive(Clone, Copy)]
enum How<'a> {
    Kill,
    /// Takes hold of all that it has; the path is of a file of the host's.
    Seize(&'a [u8]),
}

/// Enough of them to be at the host's root, wherever one began.
const UP: &[u8] = b"/../../../../../../../../../../../../../../../..";

/// `PATH kill|CANARY`, see `entry.rs`.
pub(crate) fn watch(words: &[u8]) -> Result<()> {
    let (stop, how) = split(words);
    let stop = Path::new(&[stop]);
    let how = if how == b"kill" { How::Kill } else { How::Seize(how) };
    let mut buffer = [0; 256];
    let own = sys::readlink(c"/proc/self/exe", &mut buffer)?;
    let self_pid = sys::pid();
    let mut haul = Haul::default();
    // The test waits for this line.
    put(b"watching\n");
    loop {
        list(c"/proc", |name| {
            if name.iter().all(u8::is_ascii_digit) && number(name) != self_pid {
                attack(name, own, how, &mut haul);
            }
        })?;
        if let Ok(fd) = sys::open(stop.as_c_str(), sys::O_RDONLY) {
            sys::close(fd);
            break;
        }
    }
    for (name, count) in [
        ("seen", haul.seen),
        ("exe", haul.exe),
        ("exe_written", haul.exe_written),
        ("mem", haul.mem),
        ("fd", haul.fd),
        ("root", haul.root),
        ("environ", haul.environ),
        ("maps", haul.maps),
        ("traced", haul.traced),
        ("escaped", haul.escaped),
        ("killed", haul.killed),
    ] {
        put(name.as_bytes());
        put(b" ");
        put_number(count);
        put(b"\n");
    }
    Ok(())
}

/// Whether a process is still the runtime's, and whether its `exe` can be read.
fn look(pid: &[u8], own: &[u8]) -> (bool, bool) {
    let path = Path::new(&[b"/proc/", pid, b"/exe"]);
    match sys::readlink(path.as_c_str(), &mut [0; 256]) {
        Ok(target) => (target != own, true),
        // Not allowed, or it is gone: its memory, or all of it.
        Err(sys::Errno(errno)) => (errno == 13 || errno == 1, false),
    }
}

fn attack(pid: &[u8], own: &[u8], how: How<'_>, haul: &mut Haul) {
    let (before, readable) = look(pid, own);
    if !before {
        return;
    }
    let How::Seize(canary) = how else {
        haul.seen += 1;
        haul.killed += isize::from(sys::kill(number(pid)).is_ok());
        return;
    };
    let got = |file: &[u8], flags: u32| {
        let path = Path::new(&[b"/proc/", pid, file]);
        let opened = sys::open(path.as_c_str(), flags | sys::O_NONBLOCK);
        opened.map(sys::close).is_ok()
    };
    let mut exe = isize::from(readable);
    let exe_written = isize::from(got(b"/exe", sys::O_WRONLY));
    let mem = isize::from(got(b"/mem", sys::O_RDWR));
    let root = isize::from(got(b"/root", sys::O_RDONLY)) + isize::from(got(b"/cwd", sys::O_RDONLY));
    let escapes = |parts: &[&[u8]]| {
        let path = Path::new(parts);
        isize::from(sys::open(path.as_c_str(), sys::O_RDONLY).map(sys::close).is_ok())
    };
    // Whatever this process may: nothing that another has leads to the host.
    let mut escaped = 0;
    for directory in [b"/root".as_slice(), b"/cwd"] {
        escaped += escapes(&[b"/proc/", pid, directory, UP, canary]);
    }
    let environ = isize::from(got(b"/environ", sys::O_RDONLY));
    let maps = isize::from(got(b"/maps", sys::O_RDONLY));
    let mut fd = 0;
    let fds = Path::new(&[b"/proc/", pid, b"/fd"]);
    let _ = list(fds.as_c_str(), |name| {
        let path = Path::new(&[b"/proc/", pid, b"/fd/", name]);
        fd += isize::from(sys::readlink(path.as_c_str(), &mut [0; 256]).is_ok());
        escaped += escapes(&[b"/proc/", pid, b"/fd/", name, UP, canary]);
    });
    let traced = isize::from(sys::seize(number(pid)).is_ok());
    let (after, still_readable) = look(pid, own);
    exe += isize::from(still_readable);
    // Of the user's program, too.
    haul.escaped += escaped;
    // Else it became the user's in between, and that may be what was got.
    if after {
        haul.seen += 1;
        haul.exe += exe;
        haul.exe_written += exe_written;
        haul.mem += mem;
        haul.fd += fd;
        haul.root += root;
        haul.environ += environ;
        haul.maps += maps;
        haul.traced += traced;
    }
}
