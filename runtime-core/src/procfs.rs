//! Who a process is, read from the host's `/proc`.
//!
//! A number is no identity: the kernel reuses pids. A [`ProcessId`] adds what makes it one, and
//! [`Proc::find`] turns it back into a [`Process`] with a pidfd that can't come to mean somebody
//! else. See proc_pid_stat(5), namespaces(7) and pidfd_open(2).

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;

use std::collections::BTreeMap;
use std::io::Read;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::OnceLock;

use rustix::buffer::spare_capacity;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{AtFlags, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::process::{Pid, PidfdFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Result};
use crate::sys::required::{OPENAT2, PIDFD_OPEN};

/// More than any file has that this room reads: `stat` has 52 numbers and a name of 64 bytes.
const READ_LIMIT: usize = 4096;
/// A network namespace with some ten thousand interfaces.
const LIST_LIMIT: usize = 4 << 20;

/// The kinds of namespaces, as `/proc/PID/ns/` names them.
pub(crate) const NAMESPACE_KINDS: [&str; 8] =
    ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"];

/// The namespaces of a process: their kind, as in [`NAMESPACE_KINDS`], and their inode number.
pub(crate) type Namespaces = BTreeMap<String, u64>;

/// A process that is known again later, by another program too.
///
/// The pid and the start time (in clock ticks since boot) single it out among all processes of
/// one boot; `boot` tells that boot from others, because a root directory that isn't on a tmpfs
/// survives it and early services get the same pid at the same tick each time; `pid_namespace`
/// tells in which namespace the number counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessId {
    pub(crate) pid: i32,
    pub(crate) start_time: u64,
    pub(crate) pid_namespace: u64,
    pub(crate) boot: String,
}

/// The fields of `/proc/PID/stat` that matter here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stat {
    /// `R`, `S`, `D`, `T`, `t`, `Z`, `X` or `I`.
    pub(crate) state: u8,
    /// PF_EXITING: it runs no program any more, though it may be some time until it is a zombie.
    pub(crate) exiting: bool,
    /// Clock ticks between boot and the start of the process.
    pub(crate) start_time: u64,
}

/// The kernel's flag for a process in do_exit(), proc_pid_stat(5) "flags".
const PF_EXITING: u64 = 4;

impl Stat {
    /// Reads one line of `/proc/PID/stat`. The name in it may hold anything, spaces and
    /// parentheses too, but no field after it does: so the last `)` ends it.
    fn parse(line: &[u8]) -> Option<Self> {
        let name_end = line.iter().rposition(|&byte| byte == b')')?;
        let rest = std::str::from_utf8(line.get(name_end + 1..)?).ok()?;
        let mut fields = rest.split_ascii_whitespace();
        let state = *fields.next()?.as_bytes().first()?; // field 3
        let flags: u64 = fields.nth(9 - 4)?.parse().ok()?;
        let start_time = fields.nth(22 - 10)?.parse().ok()?;
        Some(Self { state, exiting: flags & PF_EXITING != 0, start_time })
    }
}

/// The host's `/proc`, opened once.
#[derive(Debug)]
pub(crate) struct Proc {
    fd: OwnedFd,
    /// What identities are made of besides a process's own facts: looked up once.
    pid_namespace: OnceLock<u64>,
    boot: OnceLock<String>,
}

impl Proc {
    /// Opens `/proc` and checks that it is one: another file system mounted there could name any
    /// process as the container's.
    pub(crate) fn open() -> Result<Self> {
        let fail = |errno| Error::system("open the host's procfs", errno).with_file("/proc");
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = rustix::fs::open("/proc", flags, Mode::empty()).map_err(fail)?;
        if rustix::fs::fstatfs(&dir).map_err(fail)?.f_type != PROC_SUPER_MAGIC {
            return Err(Error::new(ErrorKind::Unsupported, "not a procfs")
                .with_file("/proc")
                .with_hint("hoist needs the host's procfs there"));
        }
        Ok(Self { fd: dir, pid_namespace: OnceLock::new(), boot: OnceLock::new() })
    }

    /// The directory of a process, or `None` if there is no such process.
    ///
    /// The descriptor stays with this process: once it is gone, all reads fail with ESRCH, even
    /// if its number is in use again.
    pub(crate) fn dir(&self, pid: Pid) -> Result<Option<ProcessDir>> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        match beneath(&self.fd, &pid.to_string(), flags) {
            Ok(fd) => Ok(Some(ProcessDir { fd, pid })),
            Err(Errno::NOENT | Errno::SRCH) => Ok(None),
            Err(errno) => Err(Error::system("open a process's directory", errno)
                .with_file(format!("/proc/{pid}"))
                .needs(OPENAT2)),
        }
    }

    /// The directory of the process that a pidfd means and whose number is known. It was not
    /// gone after the directory was opened, so the number was still its own.
    pub(crate) fn dir_of(&self, pidfd: BorrowedFd<'_>, pid: Pid) -> Result<Option<ProcessDir>> {
        let Some(dir) = self.dir(pid)? else { return Ok(None) };
        let mut fds = [PollFd::from_borrowed_fd(pidfd, PollFlags::IN)];
        match retry_on_intr(|| poll(&mut fds, Some(&Timespec::default()))) {
            Ok(0) => Ok(Some(dir)),
            Ok(_) => Ok(None),
            Err(errno) => Err(Error::system("poll a pidfd", errno)),
        }
    }

    /// The namespaces of the calling thread.
    pub(crate) fn own_namespaces(&self) -> Result<Namespaces> {
        let mut found = Namespaces::new();
        for kind in NAMESPACE_KINDS {
            let file = format!("thread-self/ns/{kind}");
            match inode(&self.fd, &file) {
                Ok(inode) => {
                    found.insert(kind.to_owned(), inode);
                }
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(Error::system("look at a namespace", errno)
                        .with_file(format!("/proc/{file}")));
                }
            }
        }
        Ok(found)
    }

    /// The identity of a process that can't vanish meanwhile, such as a child that was not
    /// reaped; `None` if it did.
    pub(crate) fn identify(&self, pid: Pid) -> Result<Option<ProcessId>> {
        self.dir(pid)?.map_or(Ok(None), |dir| self.identity(&dir))
    }

    /// The identity of the process that has this directory; `None` if it is gone.
    pub(crate) fn identity(&self, dir: &ProcessDir) -> Result<Option<ProcessId>> {
        let Some(stat) = dir.stat()? else { return Ok(None) };
        Ok(Some(ProcessId {
            pid: dir.pid.as_raw_pid(),
            start_time: stat.start_time,
            pid_namespace: self.own_pid_namespace()?,
            boot: self.boot()?.to_owned(),
        }))
    }

    /// The process that an identity means, or `None` if it is gone.
    ///
    /// The pidfd is opened first and the start time read afterwards: if this is the recorded one,
    /// the recorded process has held the number all along, so that the pidfd is its own.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if the identity was recorded in another pid namespace.
    pub(crate) fn find(&self, id: &ProcessId) -> Result<Option<Process>> {
        if id.pid_namespace != self.own_pid_namespace()? {
            // Of an earlier boot there is none, whatever its namespace was.
            if id.boot != self.boot()? {
                return Ok(None);
            }
            return Err(Error::new(
                ErrorKind::State,
                format!("process {} was recorded in another pid namespace", id.pid),
            )
            .with_hint("call hoist from the pid namespace in which the container was created"));
        }
        let Some(pid) = Pid::from_raw(id.pid) else { return Ok(None) };
        let pidfd = match rustix::process::pidfd_open(pid, PidfdFlags::empty()) {
            Ok(pidfd) => pidfd,
            // EINVAL (ENOENT from Linux 6.15 on): a thread has this number, so no process has.
            Err(Errno::SRCH | Errno::INVAL | Errno::NOENT) => return Ok(None),
            Err(errno) => {
                return Err(Error::system(format!("open a pidfd of process {pid}"), errno)
                    .needs(PIDFD_OPEN));
            }
        };
        let Some(dir) = self.dir(pid)? else { return Ok(None) };
        match dir.stat()? {
            Some(stat) if stat.start_time == id.start_time && id.boot == self.boot()? => {
                Ok(Some(Process { pidfd, dir, stat }))
            }
            _ => Ok(None),
        }
    }

    /// Pidfds of the caller's own children, those of all its threads and zombies included, that
    /// are in the pid namespace with this inode number.
    pub(crate) fn own_children_in(&self, namespace: u64) -> Result<Vec<OwnedFd>> {
        let fail = |errno| Error::system("list the own children", errno).with_file("/proc/self");
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let tasks =
            rustix::fs::openat(&self.fd, "self/task", flags, Mode::empty()).map_err(fail)?;
        let mut found = Vec::new();
        for entry in rustix::fs::Dir::read_from(&tasks).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if name.starts_with('.') {
                continue;
            }
            // Threads come and go; and a kernel may be built without this file.
            let Ok(file) = beneath(&tasks, &format!("{name}/children"), OFlags::RDONLY) else {
                continue;
            };
            let mut list = String::new();
            let _ = std::fs::File::from(file).read_to_string(&mut list);
            for pid in list.split_ascii_whitespace() {
                let Some(pid) = pid.parse().ok().and_then(Pid::from_raw) else { continue };
                let Ok(pidfd) = rustix::process::pidfd_open(pid, PidfdFlags::empty()) else {
                    continue;
                };
                if inode(&self.fd, &format!("{pid}/ns/pid")) == Ok(namespace) {
                    found.push(pidfd);
                }
            }
        }
        Ok(found)
    }

    /// The caller's own pid namespace: the one in which its pids count.
    fn own_pid_namespace(&self) -> Result<u64> {
        if let Some(inode) = self.pid_namespace.get() {
            return Ok(*inode);
        }
        let inode = inode(&self.fd, "self/ns/pid").map_err(|errno| {
            Error::system("look at a namespace", errno).with_file("/proc/self/ns/pid")
        })?;
        Ok(*self.pid_namespace.get_or_init(|| inode))
    }

    /// A random number, as text, that the kernel makes at each boot, see random(4).
    fn boot(&self) -> Result<&str> {
        const FILE: &str = "sys/kernel/random/boot_id";
        if let Some(boot) = self.boot.get() {
            return Ok(boot);
        }
        // In a container /proc/sys may be covered by a read-only bind of itself: that is crossed, and
        // the file is still one of a procfs, whose content is the same in all of them.
        let read = || {
            let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
            let flags = OFlags::RDONLY | OFlags::CLOEXEC;
            let file = retry_on_intr(|| {
                rustix::fs::openat2(&self.fd, FILE, flags, Mode::empty(), resolve)
            })?;
            match rustix::fs::fstatfs(&file)?.f_type {
                PROC_SUPER_MAGIC => read_once(&file),
                _ => Err(Errno::XDEV),
            }
        };
        let text = read().map_err(|errno| {
            Error::system("read the boot's id", errno)
                .with_file(format!("/proc/{FILE}"))
                .needs(OPENAT2)
        })?;
        Ok(self.boot.get_or_init(|| String::from_utf8_lossy(text.trim_ascii()).into_owned()))
    }
}

impl AsFd for Proc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// `/proc/PID` of one process, and of no later one with its number.
#[derive(Debug)]
pub(crate) struct ProcessDir {
    fd: OwnedFd,
    pid: Pid,
}

impl ProcessDir {
    /// State and start time, or `None` if the process is gone.
    pub(crate) fn stat(&self) -> Result<Option<Stat>> {
        let line = match self.read("stat") {
            Ok(line) => line,
            Err(Errno::SRCH | Errno::NOENT) => return Ok(None),
            Err(errno) => return Err(self.fail("read a process's state", "stat", errno)),
        };
        match Stat::parse(&line) {
            Some(stat) => Ok(Some(stat)),
            None => Err(self.fail("read a process's state", "stat", Errno::BADMSG)),
        }
    }

    /// The namespaces that the process is in. Kinds that the kernel doesn't have are left out,
    /// and so are those that a zombie is in no more.
    pub(crate) fn namespaces(&self) -> Result<Namespaces> {
        let mut found = Namespaces::new();
        for kind in NAMESPACE_KINDS {
            let file = format!("ns/{kind}");
            match inode(&self.fd, &file) {
                Ok(inode) => {
                    found.insert(kind.to_owned(), inode);
                }
                Err(Errno::NOENT | Errno::SRCH) => {}
                // Decision 0009.
                Err(errno @ (Errno::ACCESS | Errno::PERM)) => {
                    return Err(self
                        .fail("look at a namespace", &file, errno)
                        .with_kind(ErrorKind::Unsupported)
                        .with_hint(
                            "the process hides from the caller, as a container's does that was \
                             created without privileges in a user namespace that it joins and was \
                             not started",
                        ));
                }
                Err(errno) => return Err(self.fail("look at a namespace", &file, errno)),
            }
        }
        Ok(found)
    }

    /// The time namespace that its program will be in after execve(2), time_namespaces(7).
    pub(crate) fn time_for_children(&self) -> Option<u64> {
        inode(&self.fd, "ns/time_for_children").ok()
    }

    /// Opens one of the process's namespaces, for setns(2).
    pub(crate) fn namespace(&self, kind: &str) -> Result<OwnedFd> {
        let file = format!("ns/{kind}");
        // A magic link: the one kind that has to be followed.
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        rustix::fs::openat(&self.fd, file.as_str(), flags, Mode::empty())
            .map_err(|errno| self.fail("open a namespace", &file, errno))
    }

    /// True while the process is hoist-init: its executable is the anonymous file that init is
    /// kept in, and not yet the user's program.
    ///
    /// Where the caller may not look it is init too: that hides from those without privileges
    /// (decision 0009), and execve(2) is what ends it.
    pub(crate) fn is_init(&self) -> Result<bool> {
        match rustix::fs::readlinkat(&self.fd, "exe", Vec::new()) {
            Ok(target) => Ok(matches!(
                target.to_bytes(),
                b"/memfd:hoist-init (deleted)" | b"/hoist-init" | b"hoist-init"
            )),
            Err(Errno::NOENT | Errno::SRCH) => Ok(false),
            Err(Errno::ACCESS | Errno::PERM) => Ok(true),
            Err(errno) => Err(self.fail("look at a process's executable", "exe", errno)),
        }
    }

    /// Its files here are root's, as they are while it isn't dumpable (proc(5)).
    pub(crate) fn is_roots(&self) -> bool {
        rustix::fs::statat(&self.fd, "status", AtFlags::empty()).is_ok_and(|stat| stat.st_uid == 0)
    }

    /// How many threads there are, proc_pid_task(5).
    fn threads(&self) -> usize {
        let task = beneath(&self.fd, "task", OFlags::RDONLY | OFlags::DIRECTORY);
        let entries = task.and_then(|task| rustix::fs::Dir::read_from(&task));
        entries.map_or(0, |entries| entries.flatten().count().saturating_sub(2))
    }

    /// The process's number, for programs and messages that want one.
    pub(crate) fn pid(&self) -> Pid {
        self.pid
    }

    /// The beginning of one of the process's files, up to [`READ_LIMIT`].
    pub(crate) fn read(&self, file: &str) -> rustix::io::Result<Vec<u8>> {
        read_beneath(&self.fd, file)
    }

    /// One of the process's files up to its end: a list, such as `net/dev`, can be of any length.
    pub(crate) fn read_list(&self, file: &str) -> rustix::io::Result<Vec<u8>> {
        let file = beneath(&self.fd, file, OFlags::RDONLY)?;
        let mut content = Vec::new();
        let mut chunk = [0; READ_LIMIT];
        loop {
            let length = retry_on_intr(|| rustix::io::read(&file, &mut chunk[..]))?;
            match chunk.get(..length) {
                Some(part) if !part.is_empty() => content.extend_from_slice(part),
                _ => return Ok(content),
            }
            if content.len() > LIST_LIMIT {
                return Err(Errno::FBIG);
            }
        }
    }

    /// Writes one of the process's files with a single write(2), which is what the kernel takes
    /// as one value.
    pub(crate) fn write(&self, file: &str, content: &[u8]) -> rustix::io::Result<()> {
        let fd = beneath(&self.fd, file, OFlags::WRONLY)?;
        match retry_on_intr(|| rustix::io::write(&fd, content))? {
            length if length == content.len() => Ok(()),
            _ => Err(Errno::IO),
        }
    }

    /// An error about one of the process's files.
    pub(crate) fn fail(&self, what: &'static str, file: &str, errno: Errno) -> Error {
        Error::system(what, errno).with_file(format!("/proc/{}/{file}", self.pid))
    }
}

impl AsFd for ProcessDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A process that exists, perhaps as a zombie: pidfd and directory belong to each other.
#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) pidfd: OwnedFd,
    pub(crate) dir: ProcessDir,
    /// As it was when the process was found.
    pub(crate) stat: Stat,
}

impl Process {
    /// All its threads have ended. (A first thread that has ended before others is shown as a
    /// zombie, though the program runs on; the pidfd isn't readable then.)
    pub(crate) fn has_ended(&self) -> bool {
        let mut fds = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }

    /// [`has_ended`](Self::has_ended), when the process was found.
    pub(crate) fn had_ended(&self) -> bool {
        matches!(self.stat.state, b'Z' | b'X') && self.has_ended()
    }

    /// It runs no program any more, though it may be some time until it has ended.
    pub(crate) fn is_exiting(&self) -> bool {
        self.stat.exiting && self.dir.threads() <= 1
    }
}

/// Opens a file below a directory of procfs: through no link, and not into anything mounted over
/// it (CVE-2025-52881's way to redirect reads and writes).
fn beneath(dir: impl AsFd, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat2(&dir, path, flags, Mode::empty(), resolve))
}

/// The inode number of the namespace that a link of `/proc/PID/ns` leads to: `net:[4026531840]`.
///
/// The link is read and not followed: for stat(2) the kernel would make the inode, with a directory
/// entry, and throw both away again.
fn inode(dir: &OwnedFd, link: &str) -> rustix::io::Result<u64> {
    let mut buffer = [MaybeUninit::uninit(); 64];
    let (target, _) = rustix::fs::readlinkat_raw(dir, link, &mut buffer)?;
    let target = std::str::from_utf8(target).ok();
    let number = target.and_then(|target| target.split_once('[')?.1.strip_suffix(']'));
    number.and_then(|number| number.parse().ok()).ok_or(Errno::BADMSG)
}

/// Undoes the escapes of a path in mountinfo, where blanks and backslashes are `\` and three octal
/// digits, proc_pid_mountinfo(5).
pub(crate) fn unescape(path: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(path.len());
    let mut rest = path;
    while let Some((&first, tail)) = rest.split_first() {
        let escaped = tail
            .get(..3)
            .filter(|_| first == b'\\')
            .and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        bytes.push(escaped.unwrap_or(first));
        rest = if escaped.is_some() { tail.get(3..).unwrap_or_default() } else { tail };
    }
    bytes
}

/// Reads a small file of procfs in one go, which is what keeps its content consistent.
fn read_beneath(dir: impl AsFd, path: &str) -> rustix::io::Result<Vec<u8>> {
    read_once(&beneath(dir, path, OFlags::RDONLY)?)
}

pub(crate) fn read_once(file: &OwnedFd) -> rustix::io::Result<Vec<u8>> {
    let mut buffer = Vec::with_capacity(READ_LIMIT);
    retry_on_intr(|| rustix::io::read(file, spare_capacity(&mut buffer)))?;
    Ok(buffer)
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn sleeper() -> (std::process::Child, Pid) {
        let child = Command::new("sleep").arg("60").stdin(Stdio::null()).spawn().unwrap();
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        (child, pid)
    }

    #[test]
    fn stat_survives_hostile_names() {
        let fields = "S 1 2 3 4 5 0 7 8 9 10 11 12 13 14 15 16 17 18 777 20 21";
        for name in ["sh", "a b", ") Z 0 (", "", "))))", "Z) R 1"] {
            let line = format!("42 ({name}) {fields}\n");
            let stat = Stat::parse(line.as_bytes()).unwrap();
            assert_eq!(stat, Stat { state: b'S', exiting: false, start_time: 777 }, "{name}");
        }
        for broken in ["", "42", "42 (sh", "42 (sh)", "42 (sh) S 1 2", "42 (\u{1F980}) S"] {
            assert_eq!(Stat::parse(broken.as_bytes()), None, "{broken}");
        }
        assert_eq!(Stat::parse(b"1 (\xff\xfe) Z 1 1 1"), None);
    }

    #[test]
    fn a_living_process_is_found_and_a_dead_one_is_not() {
        let proc = Proc::open().unwrap();
        let (mut child, pid) = sleeper();
        let id = proc.identify(pid).unwrap().unwrap();
        let found = proc.find(&id).unwrap().unwrap();
        assert!(!found.has_ended());

        assert!(proc.dir_of(found.pidfd.as_fd(), pid).unwrap().is_some());
        child.kill().unwrap();
        // The pidfd is readable once the process is a zombie.
        poll(&mut [PollFd::new(&found.pidfd, PollFlags::IN)], None).unwrap();
        assert!(proc.dir_of(found.pidfd.as_fd(), pid).unwrap().is_none());
        assert!(found.has_ended());
        assert!(proc.find(&id).unwrap().unwrap().has_ended());

        child.wait().unwrap();
        assert_eq!(found.dir.stat().unwrap(), None);
        assert!(proc.find(&id).unwrap().is_none());
        assert!(proc.identify(pid).unwrap().is_none());
    }

    #[test]
    fn another_process_with_the_number_is_not_taken_for_it() {
        let proc = Proc::open().unwrap();
        let id = proc.identify(rustix::process::getpid()).unwrap().unwrap();
        assert!(proc.find(&id).unwrap().is_some());

        let later = ProcessId { start_time: id.start_time + 1, ..id.clone() };
        assert!(proc.find(&later).unwrap().is_none());
        let other_boot = ProcessId { boot: "other".to_owned(), ..id.clone() };
        assert!(proc.find(&other_boot).unwrap().is_none());
        for pid in [0, i32::MAX] {
            assert!(proc.find(&ProcessId { pid, ..id.clone() }).unwrap().is_none());
        }
        let before = ProcessId { pid_namespace: 1, boot: "other".to_owned(), ..id.clone() };
        assert!(proc.find(&before).unwrap().is_none());
        let elsewhere = ProcessId { pid_namespace: 1, ..id };
        assert_eq!(proc.find(&elsewhere).unwrap_err().kind(), ErrorKind::State);
    }

    #[test]
    fn a_thread_is_no_process() {
        let proc = Proc::open().unwrap();
        let id = proc.identify(rustix::process::getpid()).unwrap().unwrap();
        let body = move || {
            let tid = rustix::thread::gettid().as_raw_pid();
            proc.find(&ProcessId { pid: tid, ..id }).unwrap().is_none()
        };
        assert!(std::thread::spawn(body).join().unwrap());
    }

    #[test]
    fn namespaces_are_the_kernels() {
        let proc = Proc::open().unwrap();
        let dir = proc.dir(rustix::process::getpid()).unwrap().unwrap();
        let found = dir.namespaces().unwrap();
        for (kind, inode) in found {
            let link = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
            assert_eq!(link.to_str().unwrap(), format!("{kind}:[{inode}]"));
        }
    }

    #[test]
    fn identity_survives_json() {
        let proc = Proc::open().unwrap();
        let id = proc.identify(rustix::process::getpid()).unwrap().unwrap();
        let text = serde_json::to_string(&id).unwrap();
        assert_eq!(serde_json::from_str::<ProcessId>(&text).unwrap(), id);
    }
}
