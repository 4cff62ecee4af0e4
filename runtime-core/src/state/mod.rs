//! The state directory: what outlives the call that made a container.
//!
//! ```text
//! <root>/                 0711 and sticky, made on first use
//! <root>/<id>/            0700; its flock(2) is the container's lock
//!   state.json            the Record: replaced atomically, under the lock
//!   config.json           the bundle's config.json as it was when the container was created
//!   start.sock            init listens on it while the container is created and not started
//! ```
//!
//! Everything is reached by descriptor, through no link. A container exists as soon as its
//! directory does, for mkdir(2) is what decides between two that want the same id. A directory
//! without `state.json` is that of a creation which has done nothing yet, or of a deletion that
//! has done everything else: to delete it is to remove it.

#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod record;
mod remove;
mod socket;

use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::{fs, io::Write};

use rustix::buffer::spare_capacity;
use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, ResolveFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;

use crate::error::{Error, ErrorKind, Result};
use crate::sys::required::OPENAT2;

pub(crate) use record::{ConfigUse, Phase, Record, Text};

/// NAME_MAX: an id is a directory's name.
const ID_MAX: usize = 255;
const STATE: &str = "state.json";
const CONFIG: &str = "config.json";
/// Far more than any real file has; what is larger is damaged and not read into memory.
const FILE_LIMIT: usize = 16 << 20;

/// Checks a container's id by runc's rules: ASCII letters, digits, `_`, `+`, `-` and `.`, and
/// it has to be a file's name.
pub(crate) fn validate_id(id: &str) -> Result<()> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"_+-.".contains(&byte);
    if (1..=ID_MAX).contains(&id.len()) && id.bytes().all(allowed) && id != "." && id != ".." {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidArgument, "invalid container ID format")
        .with_hint("up to 255 letters, digits and _ + - . are allowed"))
}

/// The root directory, in which each container has its own.
#[derive(Debug, Clone)]
pub(crate) struct StateDir {
    fd: Arc<OwnedFd>,
    path: PathBuf,
}

impl StateDir {
    /// Opens the root directory, or says that there is none, in which case no container exists.
    pub(crate) fn open(path: &Path) -> Result<Option<Self>> {
        match rustix::fs::open(path, DIRECTORY, Mode::empty()) {
            Ok(fd) => Ok(Some(Self { fd: Arc::new(fd), path: path.to_owned() })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::system("open the state directory", errno).with_file(path)),
        }
    }

    /// Opens the root directory and makes it if needed: 0711, so that what is in it can't be
    /// listed by others, and sticky, which is what keeps programs that prune
    /// `$XDG_RUNTIME_DIR` away from it (see the XDG Base Directory Specification).
    pub(crate) fn open_or_create(path: &Path) -> Result<Self> {
        if let Some(dir) = Self::open(path)? {
            return Ok(dir);
        }
        let fail = |errno| Error::system("make the state directory", errno).with_file(path);
        if let Some(parent) = path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o711)
                .create(parent)
                .map_err(|e| fail(Errno::from_io_error(&e).unwrap_or(Errno::IO)))?;
        }
        let mode = Mode::from_raw_mode(0o1711);
        let made = match rustix::fs::mkdir(path, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(fail(errno)),
        };
        let dir = Self::open(path)?.ok_or_else(|| fail(Errno::NOENT))?;
        if made {
            // The caller's umask has cut the mode, and is not ours to change.
            rustix::fs::fchmod(&*dir.fd, mode).map_err(fail)?;
        }
        Ok(dir)
    }

    /// Makes the directory of a new container and locks it.
    ///
    /// # Errors
    /// [`ErrorKind::AlreadyExists`], [`ErrorKind::InvalidArgument`] for the id, or
    /// [`ErrorKind::NotFound`] if somebody has deleted the container again at once.
    pub(crate) fn create(&self, id: &str) -> Result<Locked> {
        validate_id(id)?;
        match rustix::fs::mkdirat(&*self.fd, id, Mode::RWXU) {
            Ok(()) => {
                let locked = self.open_container(id).and_then(|dir| dir.lock());
                if locked.is_err() {
                    // It is still empty, or somebody else's by now, and then this fails.
                    let _ = rustix::fs::unlinkat(&*self.fd, id, AtFlags::REMOVEDIR);
                }
                locked
            }
            Err(Errno::EXIST) => {
                Err(Error::new(ErrorKind::AlreadyExists, "container with given ID already exists")
                    .with_hint("choose another ID, or delete that container first"))
            }
            Err(errno) => Err(Error::system("make the container's state directory", errno)
                .with_file(self.path.join(id))),
        }
    }

    /// Opens the directory of a container.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], or [`ErrorKind::InvalidArgument`] for the id.
    pub(crate) fn open_container(&self, id: &str) -> Result<ContainerDir> {
        validate_id(id)?;
        let path = self.path.join(id);
        match open_beneath(&*self.fd, id, DIRECTORY) {
            Ok(fd) => {
                Ok(ContainerDir { root: self.clone(), fd: Arc::new(fd), id: id.into(), path })
            }
            Err(Errno::NOENT) => Err(not_found()),
            Err(errno) => Err(Error::system("open the container's state directory", errno)
                .with_file(path)
                .needs(OPENAT2)),
        }
    }

    /// A container's record, if all is well with it.
    pub(crate) fn record(&self, id: &str) -> Option<Record> {
        let bytes = read(&self.fd, &format!("{id}/{STATE}")).ok()?;
        Record::parse(&bytes, id).ok()
    }

    /// The ids of all containers, in their order. Some may be gone when the caller looks.
    pub(crate) fn ids(&self) -> Result<Vec<String>> {
        let fail = |errno| Error::system("list the state directory", errno).with_file(&self.path);
        let mut ids = Vec::new();
        for entry in rustix::fs::Dir::read_from(&*self.fd).map_err(fail)? {
            let entry = entry.map_err(fail)?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let directory = match entry.file_type() {
                FileType::Directory => true,
                FileType::Unknown => rustix::fs::statat(&*self.fd, name, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir()),
                _ => false,
            };
            if directory && validate_id(name).is_ok() {
                ids.push(name.to_owned());
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }
}

/// The directory of one container, and of no later one with the same id.
#[derive(Debug, Clone)]
pub(crate) struct ContainerDir {
    root: StateDir,
    fd: Arc<OwnedFd>,
    id: String,
    path: PathBuf,
}

impl ContainerDir {
    /// The container's id.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// The directory's path, for messages and for hooks.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Waits for the container's lock and takes it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the container was deleted meanwhile.
    pub(crate) fn lock(&self) -> Result<Locked> {
        let (fd, _) = self.flock(FlockOperation::LockExclusive)?;
        self.locked(fd)
    }

    /// Takes the container's lock, unless somebody holds it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the container was deleted.
    pub(crate) fn try_lock(&self) -> Result<Option<Locked>> {
        match self.flock(FlockOperation::NonBlockingLockExclusive)? {
            (fd, true) => self.locked(fd).map(Some),
            (_, false) => Ok(None),
        }
    }

    /// Whether the lock was taken, with what holds it then.
    fn flock(&self, operation: FlockOperation) -> Result<(OwnedFd, bool)> {
        // A lock of flock(2) belongs to the open file description. With one for each `Locked`,
        // two threads that share a `ContainerDir` exclude each other as two programs do.
        let fd = rustix::fs::openat(&*self.fd, ".", DIRECTORY, Mode::empty())
            .map_err(|errno| self.fail("open", ".", errno))?;
        match retry_on_intr(|| rustix::fs::flock(&fd, operation)) {
            Ok(()) => Ok((fd, true)),
            Err(Errno::WOULDBLOCK) => Ok((fd, false)),
            Err(errno) => Err(self.fail("lock", ".", errno)),
        }
    }

    fn locked(&self, fd: OwnedFd) -> Result<Locked> {
        let locked = Locked { dir: self.clone(), fd };
        if locked.exists()? { Ok(locked) } else { Err(not_found()) }
    }

    /// What is recorded about the container; `None` if nothing is, see the module's head. As the
    /// record is replaced atomically, reading needs no lock.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if the record is damaged or of a newer version,
    /// [`ErrorKind::NotFound`] if the container was deleted.
    pub(crate) fn record(&self) -> Result<Option<Record>> {
        match self.read(STATE)? {
            Some(bytes) => Record::parse(&bytes, &self.id)
                .map(Some)
                .map_err(|error| error.with_file(self.path.join(STATE))),
            None if self.exists()? => Ok(None),
            None => Err(not_found()),
        }
    }

    /// The container's `config.json`.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if there is none.
    pub(crate) fn config(&self) -> Result<Vec<u8>> {
        self.read(CONFIG)?.ok_or_else(|| {
            record::damaged("the container's configuration is missing")
                .with_file(self.path.join(CONFIG))
        })
    }

    /// False once the directory was removed, even if a new container has its name. An inode that
    /// is held open is not reused, so comparing numbers is enough.
    fn exists(&self) -> Result<bool> {
        let fail = |errno| self.fail("look at", ".", errno);
        let ours = rustix::fs::fstat(&*self.fd).map_err(fail)?;
        match rustix::fs::statat(&*self.root.fd, &self.id, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(named) => Ok((named.st_dev, named.st_ino) == (ours.st_dev, ours.st_ino)),
            Err(Errno::NOENT) => Ok(false),
            Err(errno) => Err(fail(errno)),
        }
    }

    fn read(&self, name: &'static str) -> Result<Option<Vec<u8>>> {
        match read(&self.fd, name) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::FBIG) => {
                let error = record::damaged("the file is too large");
                Err(error.with_file(self.path.join(name)))
            }
            Err(errno) => Err(self.fail("read", name, errno)),
        }
    }

    fn fail(&self, what: &str, name: &str, errno: Errno) -> Error {
        let file = if name == "." { self.path.clone() } else { self.path.join(name) };
        Error::system(format!("{what} the container's state"), errno).with_file(file).needs(OPENAT2)
    }

    fn io(&self, name: &str, error: &std::io::Error) -> Error {
        self.fail("read or write", name, Errno::from_io_error(error).unwrap_or(Errno::IO))
    }
}

impl AsFd for ContainerDir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A container's directory whose lock is held: only so can it be changed.
#[derive(Debug)]
pub(crate) struct Locked {
    dir: ContainerDir,
    fd: OwnedFd,
}

impl Locked {
    /// Replaces the record.
    pub(crate) fn write_record(&self, record: &Record) -> Result<()> {
        self.draft_record(record)?.commit()
    }

    /// Writes a record that is not the container's before its [`commit`](Draft::commit).
    pub(crate) fn draft_record(&self, record: &Record) -> Result<Draft<'_>> {
        self.draft(STATE, &record.to_json()?)
    }

    /// Replaces the container's `config.json`.
    pub(crate) fn write_config(&self, json: &[u8]) -> Result<()> {
        self.draft(CONFIG, json)?.commit()
    }

    /// Removes the directory with all that is in it; the id is free afterwards.
    pub(crate) fn remove(self) -> Result<()> {
        // The record goes last: a removal that is interrupted leaves a container that can be
        // deleted, and whose resources are still known.
        remove::contents(self.fd.as_fd(), STATE)
            .and_then(|()| match rustix::fs::unlinkat(&self.fd, STATE, AtFlags::empty()) {
                Ok(()) | Err(Errno::NOENT) => Ok(()),
                Err(errno) => Err(errno),
            })
            .and_then(|()| rustix::fs::unlinkat(&*self.root.fd, &self.dir.id, AtFlags::REMOVEDIR))
            .map_err(|errno| {
                let error = self.fail("remove", ".", errno);
                match errno {
                    Errno::BUSY | Errno::XDEV => error.with_hint("something is mounted in it"),
                    _ => error,
                }
            })
    }

    /// Writes a file so that readers see the old content or, from its commit on, the new one, also
    /// when the program dies. There is no fsync(2): what is recorded are processes and cgroups, and
    /// a machine that crashes takes these along.
    fn draft(&self, name: &'static str, bytes: &[u8]) -> Result<Draft<'_>> {
        let temporary = format!("{name}.new"); // one name is enough under the lock
        if bytes.len() > FILE_LIMIT {
            return Err(self.fail("write", name, Errno::FBIG));
        }
        let flags = OFlags::WRONLY
            | OFlags::CREATE
            | OFlags::TRUNC
            | OFlags::NOFOLLOW
            | OFlags::NONBLOCK
            | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&self.fd, &temporary, flags, Mode::RUSR | Mode::WUSR)
            .map_err(|errno| self.fail("write", name, errno))?;
        fs::File::from(fd).write_all(bytes).map_err(|e| self.io(name, &e))?;
        Ok(Draft { locked: self, temporary, name })
    }
}

/// A file that is written and has not taken its place yet. Dropped, it stays where nobody looks, and
/// the next one of its name overwrites it.
#[must_use]
#[derive(Debug)]
pub(crate) struct Draft<'a> {
    locked: &'a Locked,
    temporary: String,
    name: &'static str,
}

impl Draft<'_> {
    /// Puts it in its place.
    pub(crate) fn commit(self) -> Result<()> {
        let Self { locked, temporary, name } = self;
        rustix::fs::renameat(&locked.fd, &temporary, &locked.fd, name)
            .map_err(|errno| locked.fail("write", name, errno))
    }
}

impl Deref for Locked {
    type Target = ContainerDir;

    fn deref(&self) -> &ContainerDir {
        &self.dir
    }
}

impl Drop for Locked {
    fn drop(&mut self) {
        // Closing is not enough: where another thread of the program forks at the wrong moment,
        // its child has a copy of the descriptor, which would keep the lock.
        let _ = rustix::fs::flock(&self.fd, FlockOperation::Unlock);
    }
}

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// Opens what is directly or further below `dir`, through no link and no mount point.
fn open_beneath(
    dir: impl AsFd,
    path: impl Arg + Copy,
    flags: OFlags,
) -> rustix::io::Result<OwnedFd> {
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
    let flags = flags | OFlags::CLOEXEC;
    retry_on_intr(|| rustix::fs::openat2(&dir, path, flags, Mode::empty(), resolve))
}

/// Reads a file below `dir`.
fn read(dir: &OwnedFd, path: &str) -> rustix::io::Result<Vec<u8>> {
    // O_NONBLOCK: a FIFO in the file's place must not block.
    let file = open_beneath(dir, path, OFlags::RDONLY | OFlags::NONBLOCK)?;
    let size = usize::try_from(rustix::fs::fstat(&file)?.st_size).unwrap_or(usize::MAX);
    if size > FILE_LIMIT {
        return Err(Errno::FBIG);
    }
    // Files here are replaced and not written to, so one has the size that it has.
    let mut bytes = Vec::with_capacity(size);
    while bytes.len() < size {
        if retry_on_intr(|| rustix::io::read(&file, spare_capacity(&mut bytes)))? == 0 {
            break;
        }
    }
    Ok(bytes)
}

fn not_found() -> Error {
    Error::new(ErrorKind::NotFound, "container does not exist")
}

#[cfg(test)]
mod tests;
