//! The socket of a shim: its path, who may have it, and how it reaches the process that serves it.

#[cfg(test)]
mod tests;

use std::ffi::OsStr;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Component, Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{
    FileType, FlockOperation, Mode, OFlags, fchmod, flock, fstat, lstat, open, unlink,
};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::sockopt::socket_acceptconn;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, getsockname, listen,
    socket_with,
};

use rustix::process::geteuid;

use crate::failure::{Code, During, Failure, Result};
use crate::sha256;

/// Where shims' sockets are, unless containerd (since 2.3) says otherwise.
const DIRECTORY: &str = "/run/containerd/s";

/// unix(7): `sun_path` has 108 bytes; Go's shims stay two below.
const LONGEST: usize = 106;

/// As many connections may wait as the kernel allows.
const BACKLOG: i32 = 4096;

/// What a start may wait for the others: on a slow host, many.
const START: Duration = Duration::from_secs(10);
/// What a socket's removal may wait for the starts.
const REMOVAL: Duration = Duration::from_secs(1);

/// The path of the socket for a group of containers: the one that Go's shims have and that
/// `ctr shim` looks for.
pub(crate) fn path(
    directory: Option<&str>,
    containerd: &str,
    namespace: &str,
    group: &str,
) -> Result<PathBuf> {
    let name = sha256::hex(joined(&[containerd, namespace, group]).as_bytes());
    let path = Path::new(directory.unwrap_or(DIRECTORY)).join(name);
    let length = path.as_os_str().len();
    if length > LONGEST {
        return Err(Failure::new(
            Code::InvalidArgument,
            format!(
                "the socket path {} has {length} bytes; {LONGEST} are possible",
                path.display()
            ),
        ));
    }
    Ok(path)
}

/// Whether `path` is one that [`path`] gives: absolute, with a digest as the file's name.
pub(crate) fn is_path(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    path.is_absolute() && name.len() == 64 && name.bytes().all(|digit| digit.is_ascii_hexdigit())
}

/// As Go's filepath.Join: empty parts and `.` vanish, `..` takes back what is before it.
fn joined(parts: &[&str]) -> String {
    let parts: Vec<&str> = parts.iter().copied().filter(|part| !part.is_empty()).collect();
    let mut clean = PathBuf::new();
    for component in Path::new(&parts.join("/")).components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => match clean.components().next_back() {
                Some(Component::Normal(_)) => drop(clean.pop()),
                Some(Component::RootDir) => {}
                _ => clean.push(".."),
            },
            other => clean.push(other),
        }
    }
    clean.to_string_lossy().into_owned()
}

/// A socket that listens and belongs to this process. Dropped, it is removed.
///
/// As long as it exists its directory is locked, so that of several `start`s for one pod the first
/// one starts the shim and the others find it.
#[derive(Debug)]
pub(crate) struct Claim {
    pub(crate) listener: OwnedFd,
    path: PathBuf,
    kept: bool,
    _lock: OwnedFd,
}

impl Claim {
    /// Listens at `path`, unless somebody else does: then there is nothing to claim. What a dead
    /// shim left there is replaced.
    pub(crate) fn take(path: &Path) -> Result<Option<Self>> {
        let (directory, opened) = directory(path)?;
        keep_private(directory, &opened)?;
        Self::under(lock(directory, opened, START)?, path)
    }

    fn under(lock: OwnedFd, path: &Path) -> Result<Option<Self>> {
        let during = || format!("listen at {}", path.display());
        let address = SocketAddrUnix::new(path).during(during())?;
        let listener = stream()?;
        // The socket's file gets the mode of the descriptor: there is no moment at which others
        // could connect.
        fchmod(&listener, Mode::RUSR | Mode::WUSR).during(during())?;
        match bind(&listener, &address) {
            Err(Errno::ADDRINUSE) => {
                if is_served(&address).during(during())? {
                    return Ok(None);
                }
                remove(path)?;
                bind(&listener, &address).during(during())?;
            }
            bound => bound.during(during())?,
        }
        let claim = Self { listener, path: path.to_owned(), kept: false, _lock: lock };
        listen(&claim.listener, BACKLOG).during(during())?;
        Ok(Some(claim))
    }

    /// The socket has a server: it stays.
    pub(crate) fn keep(mut self) {
        self.kept = true;
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        if !self.kept {
            let _ = unlink(&self.path);
        }
    }
}

/// Removes the socket of a server that is about to end. To be called before the answer to the last
/// call: whoever starts a shim after that finds no dying one.
pub(crate) fn retire(listener: impl AsFd) -> Result<()> {
    let address =
        SocketAddrUnix::try_from(getsockname(listener).during("ask for a socket's path")?)
            .during("ask for a socket's path")?;
    let Some(path) = address.path_bytes() else { return Ok(()) };
    let path = Path::new(OsStr::from_bytes(path));
    let (directory, opened) = directory(path)?;
    // It can go without the lock too: as long as it is listened at, nobody puts another in its place.
    let _lock = lock(directory, opened, REMOVAL).ok();
    remove(path)
}

/// Removes a socket that nobody serves any more.
pub(crate) fn sweep(path: &Path) -> Result<()> {
    // Most shims have removed theirs.
    if path.symlink_metadata().is_err() {
        return Ok(());
    }
    // Without the lock it stays, which the next start can do with: between the look at it and its
    // removal somebody may put a live one in its place.
    let (directory, opened) = directory(path)?;
    let _lock = lock(directory, opened, REMOVAL)?;
    let address = SocketAddrUnix::new(path).during(format_args!("look at {}", path.display()))?;
    if is_served(&address).during(format_args!("connect to {}", path.display()))? {
        return Ok(());
    }
    remove(path)
}

/// The socket that this process was started with, as its standard input, which is empty then.
pub(crate) fn inherited() -> Result<OwnedFd> {
    let stdin = rustix::stdio::stdin();
    if socket_acceptconn(stdin) != Ok(true) {
        return Err(Failure::new(
            Code::InvalidArgument,
            "standard input is no listening socket: containerd starts this program",
        ));
    }
    let listener = fcntl_dupfd_cloexec(stdin, 3).during("keep the listening socket")?;
    let null = open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .during("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).during("empty the standard input")?;
    Ok(listener)
}

/// Listens at `path`, for who starts a server by hand, in a directory of any kind.
pub(crate) fn serve_at(path: &Path) -> Result<OwnedFd> {
    let (directory, opened) = directory(path)?;
    let Some(claim) = Claim::under(lock(directory, opened, START)?, path)? else {
        let message = format!("{} is served already", path.display());
        return Err(Failure::new(Code::AlreadyExists, message));
    };
    let listener = claim.listener.try_clone().during("keep the listening socket")?;
    claim.keep();
    Ok(listener)
}

/// The directory of a socket, which is made if it isn't there.
fn directory(path: &Path) -> Result<(&Path, OwnedFd)> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    // CVE-2020-15257: nobody but root is to reach a shim.
    match DirBuilder::new().recursive(true).mode(0o700).create(directory) {
        // If that is no directory, open(2) says so.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        made => made.during(format_args!("make the directory {}", directory.display()))?,
    }
    let opened = open(directory, OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
        .during(format_args!("open {}", directory.display()))?;
    Ok((directory, opened))
}

/// Who can write there can put a socket of his own in place of a shim's: he would be told what the
/// containers are. So it has to be ours, and nobody else can enter it.
fn keep_private(directory: &Path, opened: &OwnedFd) -> Result<()> {
    let during = || format!("the sockets' directory {}", directory.display());
    let stat = fstat(opened).during(during())?;
    let (owner, user) = (stat.st_uid, geteuid().as_raw());
    if owner != user {
        let message = format!("it belongs to the user {owner}, not to {user}");
        return Err(Failure::new(Code::FailedPrecondition, message).during(&during()));
    }
    let mode = Mode::from_raw_mode(stat.st_mode);
    if mode.intersects(Mode::RWXG | Mode::RWXO) {
        // A sticky one is everybody's, as /tmp is: it isn't there for sockets alone.
        if mode.contains(Mode::SVTX) {
            let message = "others can write to it, as its sticky bit says";
            return Err(Failure::new(Code::FailedPrecondition, message).during(&during()));
        }
        fchmod(opened, Mode::RWXU).during(during())?;
    }
    Ok(())
}

/// The directory's lock, which is held while one of its sockets comes or goes.
///
/// A process that hangs may hold it: nobody waits for that one without a limit. The kernel tells of
/// a lock's end only to who is blocked in flock(2), and that wait has no limit but a signal: so it
/// is asked again and again.
fn lock(directory: &Path, opened: OwnedFd, limit: Duration) -> Result<OwnedFd> {
    const PAUSE: Duration = Duration::from_millis(2);
    let during = || format!("lock {}", directory.display());
    let end = Instant::now() + limit;
    loop {
        match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(PAUSE),
            Err(Errno::WOULDBLOCK) => {
                let message = format!("others have held it for {limit:?} (see /proc/locks)");
                return Err(Failure::new(Code::Unavailable, message).during(&during()));
            }
            locked => return locked.map(|()| opened).during(during()),
        }
    }
}

fn stream() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).during("make a socket")
}

/// Whether somebody listens there. Nothing is waited for: a server whose backlog is full is one.
fn is_served(address: &SocketAddrUnix) -> Result<bool> {
    match connect(stream()?, address) {
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED | Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Removes a socket, if it is there; nothing else.
fn remove(path: &Path) -> Result<()> {
    let during = || format!("remove {}", path.display());
    let kind = lstat(path).map(|stat| FileType::from_raw_mode(stat.st_mode));
    let removed = match kind {
        Ok(FileType::Socket) => unlink(path),
        Ok(_) => {
            return Err(Failure::new(Code::FailedPrecondition, "it is no socket").during(&during()));
        }
        Err(errno) => Err(errno),
    };
    match removed {
        Err(Errno::NOENT) => Ok(()),
        other => other.during(during()),
    }
}
