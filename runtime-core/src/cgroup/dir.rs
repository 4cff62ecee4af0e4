//! One cgroup's directory, by descriptor: its files, its children, its removal.
//!
//! Whether v1 or v2, a cgroup is a directory of kernfs and its files are its interface. A write
//! has to be one write(2) with the whole value; a read starts at the beginning. A directory that
//! was removed stays open and answers ENOENT or ENODEV.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Access, AtFlags, FileType, Mode, OFlags};
use rustix::io::{Errno, retry_on_intr};
use rustix::path::Arg;
use rustix::process::Pid;

use crate::error::{Error, ErrorKind};

/// No file of settings, events or figures is larger; the largest have a line for each CPU or block
/// device.
const FILE_LIMIT: usize = 1 << 20;
/// PID_MAX_LIMIT is 2^22, and a line of `cgroup.procs` has at most eight bytes; v1 may list a
/// number twice.
const PROCS_LIMIT: usize = 64 << 20;
/// What all files of a kind return at most in one read(2).
const CHUNK: usize = 4096;

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A cgroup's directory.
#[derive(Debug)]
pub(crate) struct Dir {
    fd: OwnedFd,
    /// For messages, and the name to remove: nothing above is looked up by it again.
    path: PathBuf,
    /// The parent, where it is held open anyway: as the place where the hierarchy is mounted.
    parent: Option<Arc<Self>>,
    /// Its number in the file system, if it was looked at.
    inode: Option<u64>,
}

impl AsFd for Dir {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Dir {
    /// Opens a directory by its path: only for the place where a hierarchy is mounted.
    pub(super) fn open_mount(path: &Path) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::open(path, flags, Mode::empty()))?;
        Ok(Self::new(fd, path.to_owned()))
    }

    /// The same of one that is mounted right below a directory which holds such places: it may be
    /// a link there to another one.
    pub(super) fn mounted(&self, name: &str) -> Result<Self, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, Mode::empty()))?;
        Ok(Self::new(fd, self.path.join(name)))
    }

    fn new(fd: OwnedFd, path: PathBuf) -> Self {
        Self { fd, path, parent: None, inode: None }
    }

    /// What was opened by one name below `parent`, which is kept for the removal.
    pub(super) fn below(self, parent: &Arc<Self>) -> Self {
        Self { parent: Some(parent.clone()), ..self }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Opens a child.
    pub(super) fn child(&self, name: &str) -> Result<Self, Errno> {
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, name, DIRECTORY, Mode::empty()))?;
        Ok(Self::new(fd, self.path.join(name)))
    }

    /// Opens what is below, component by component; cgroup file systems have no links.
    pub(super) fn descend(&self, path: &str) -> Result<Self, Errno> {
        // An empty path is this directory itself.
        let relative = if path.is_empty() { "." } else { path };
        let fd =
            retry_on_intr(|| rustix::fs::openat(&self.fd, relative, DIRECTORY, Mode::empty()))?;
        Ok(Self::new(fd, self.path.join(path)))
    }

    /// The parent. It stays the parent: a cgroup can't be moved to another one.
    pub(super) fn parent(&self) -> Result<Arc<Self>, Errno> {
        if let Some(parent) = &self.parent {
            return Ok(parent.clone());
        }
        let fd = retry_on_intr(|| rustix::fs::openat(&self.fd, "..", DIRECTORY, Mode::empty()))?;
        Ok(Self::new(fd, self.path.parent().unwrap_or(Path::new("/")).to_owned()).into())
    }

    /// Whether there is a file of this name.
    pub(super) fn has(&self, name: &str) -> Result<bool, Errno> {
        match rustix::fs::accessat(&self.fd, name, Access::EXISTS, AtFlags::empty()) {
            Ok(()) => Ok(true),
            Err(Errno::NOENT | Errno::NODEV) => Ok(false),
            Err(errno) => Err(errno),
        }
    }

    /// Makes a child, mode 0755 whatever the caller's umask is; false if it was there.
    ///
    /// The mode is looked at first, for to set it makes the kernel allocate what it would not need.
    pub(super) fn make(&self, name: &str) -> Result<(Self, bool), Errno> {
        let mode = Mode::from_raw_mode(0o755);
        let made = match rustix::fs::mkdirat(&self.fd, name, mode) {
            Ok(()) => true,
            Err(Errno::EXIST) => false,
            Err(errno) => return Err(errno),
        };
        if !made {
            return Ok((self.child(name)?, false));
        }
        let ready = || {
            let child = self.child(name)?;
            let stat = rustix::fs::fstat(&child.fd)?;
            if stat.st_mode & 0o7777 != mode.as_raw_mode() {
                rustix::fs::fchmod(&child.fd, mode)?;
            }
            Ok((Self { inode: Some(stat.st_ino), ..child }, true))
        };
        ready().inspect_err(|_| {
            // Nobody else knows that it was made here.
            let _ = self.rmdir(name);
        })
    }

    /// Removes a child that has no children and no processes.
    pub(super) fn rmdir(&self, name: impl Arg + Copy) -> Result<(), Errno> {
        match retry_on_intr(|| rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)) {
            Err(Errno::NOENT | Errno::NODEV) => Ok(()),
            other => other,
        }
    }

    /// Removes this directory, unless another one has its name by now. Returns the parent.
    pub(super) fn remove_self(&self) -> Result<Arc<Self>, Errno> {
        let Some(name) = self.path.file_name() else { return Err(Errno::BUSY) };
        let parent = self.parent()?;
        let own = match self.inode {
            Some(inode) => inode,
            None => rustix::fs::fstat(&self.fd)?.st_ino,
        };
        match rustix::fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(found) if found.st_ino == own => parent.rmdir(name)?,
            Ok(_) | Err(Errno::NOENT | Errno::NODEV) => {}
            Err(errno) => return Err(errno),
        }
        Ok(parent)
    }

    /// Removes this directory and its parents, as many as `count` says, as far as that is
    /// possible: others may use them by now.
    pub(super) fn remove_upwards(&self, count: usize) {
        let mut above = None::<Arc<Self>>;
        for _ in 0..count {
            match above.as_deref().unwrap_or(self).remove_self() {
                Ok(parent) => above = Some(parent),
                Err(_) => return,
            }
        }
    }

    /// Opens a file of this cgroup.
    pub(super) fn open(&self, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
        let flags = flags | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        retry_on_intr(|| rustix::fs::openat(&self.fd, name, flags, Mode::empty()))
    }

    /// Writes a value to a file: never creates one.
    pub(super) fn write(&self, name: &str, value: &str) -> Result<(), Errno> {
        let file = self.open(name, OFlags::WRONLY)?;
        let written = retry_on_intr(|| rustix::io::write(&file, value.as_bytes()))?;
        if written == value.len() { Ok(()) } else { Err(Errno::IO) }
    }

    /// Reads a file of settings, events or figures.
    pub(super) fn read(&self, name: &str) -> Result<String, Errno> {
        read_from_start(&self.open(name, OFlags::RDONLY)?, FILE_LIMIT)
    }

    /// The value behind a key in a file of `key value` lines, such as `memory.events`.
    pub(super) fn read_key(&self, name: &str, key: &str) -> Result<Option<u64>, Errno> {
        Ok(find_key(&self.read(name)?, key))
    }

    /// The value behind a key, added up over this cgroup and all below.
    pub(super) fn sum_key(&self, file: &str, key: &str) -> Result<Option<u64>, Errno> {
        let Some(mut sum) = self.read_key(file, key)? else { return Ok(None) };
        self.walk(|event| {
            if let Walk::Enter(dir) = event {
                match dir.read_key(file, key) {
                    Ok(value) => sum = sum.saturating_add(value.unwrap_or_default()),
                    Err(Errno::NOENT | Errno::NODEV) => {}
                    Err(errno) => return Err(errno),
                }
            }
            Ok(())
        })?;
        Ok(Some(sum))
    }

    /// The names of all that is in the directory.
    pub(super) fn names(&self) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            if let Ok(name) = entry?.file_name().to_str() {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// The children's names. Most cgroups have none, and the link count says so: kernfs counts
    /// a directory's children in it.
    fn children(&self) -> Result<Vec<String>, Errno> {
        if rustix::fs::fstat(&self.fd)?.st_nlink <= 2 {
            return Ok(Vec::new());
        }
        let mut names = Vec::new();
        for entry in rustix::fs::Dir::read_from(&self.fd)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            if entry.file_type() == FileType::Directory && name != "." && name != ".." {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// Adds the processes of this cgroup alone.
    fn collect_pids(&self, pids: &mut Vec<Pid>) -> Result<(), Errno> {
        let text = match self.open("cgroup.procs", OFlags::RDONLY) {
            Ok(file) => read_from_start(&file, PROCS_LIMIT),
            Err(errno) => Err(errno),
        };
        match text {
            // 0 is a process that this pid namespace has no number for.
            Ok(text) => {
                let numbers = text.lines().filter_map(|line| line.parse().ok());
                pids.extend(numbers.filter_map(Pid::from_raw));
                Ok(())
            }
            // A threaded cgroup has no list of processes: its domain's list has them.
            Err(Errno::OPNOTSUPP | Errno::NOENT | Errno::NODEV) => Ok(()),
            Err(errno) => Err(errno),
        }
    }

    /// The processes of this cgroup and all below.
    pub(super) fn pids(&self) -> Result<Vec<Pid>, Errno> {
        let mut pids = Vec::new();
        self.collect_pids(&mut pids)?;
        self.walk(|event| match event {
            Walk::Enter(dir) => dir.collect_pids(&mut pids),
            Walk::Leave(..) => Ok(()),
        })?;
        pids.sort_unstable_by_key(|pid| pid.as_raw_pid());
        pids.dedup();
        Ok(pids)
    }

    /// Visits every cgroup below. One that is removed meanwhile is no error.
    pub(super) fn each_below(
        &self,
        mut visit: impl FnMut(&Self) -> Result<(), Errno>,
    ) -> Result<(), Errno> {
        self.walk(|event| match event {
            Walk::Enter(dir) => match visit(dir) {
                Err(Errno::NOENT | Errno::NODEV) => Ok(()),
                other => other,
            },
            Walk::Leave(..) => Ok(()),
        })
    }

    /// Removes all cgroups below, the deepest first. Returns whether there was any, and one that is
    /// still in use.
    pub(super) fn remove_children(&self) -> Result<(bool, Option<PathBuf>), Errno> {
        let (mut removed, mut busy) = (false, None);
        self.walk(|event| match event {
            Walk::Enter(_) => Ok(()),
            Walk::Leave(parent, name) => match parent.rmdir(name) {
                Err(Errno::BUSY | Errno::NOTEMPTY) => {
                    busy.get_or_insert_with(|| parent.path.join(name));
                    Ok(())
                }
                other => {
                    removed = true;
                    other
                }
            },
        })?;
        Ok((removed, busy))
    }

    /// Visits everything below. A container may nest cgroups as deep as it likes: so neither the
    /// stack nor the number of open descriptors grows with the depth.
    fn walk(&self, mut visit: impl FnMut(Walk<'_>) -> Result<(), Errno>) -> Result<(), Errno> {
        let children = self.children()?;
        if children.is_empty() {
            return Ok(());
        }
        let mut current = self.child(".")?;
        current.path.clone_from(&self.path);
        let mut current = Arc::new(current);
        let mut pending = vec![(String::new(), children)];
        while let Some((_, children)) = pending.last_mut() {
            if let Some(name) = children.pop() {
                match current.child(&name) {
                    Ok(child) => {
                        visit(Walk::Enter(&child))?;
                        let grandchildren = match child.children() {
                            Err(Errno::NOENT | Errno::NODEV) => Vec::new(),
                            other => other?,
                        };
                        current = child.into();
                        pending.push((name, grandchildren));
                    }
                    Err(Errno::NOENT | Errno::NODEV) => {}
                    Err(errno) => return Err(errno),
                }
            } else if let Some((name, _)) = pending.pop()
                && !pending.is_empty()
            {
                current = current.parent()?;
                visit(Walk::Leave(&current, &name))?;
            }
        }
        Ok(())
    }

    /// What was not possible, with the file it was about.
    pub(super) fn error(&self, what: &'static str, file: &str, errno: Errno) -> Error {
        let path = if file.is_empty() { self.path.clone() } else { self.path.join(file) };
        Error::system(what, errno).with_kind(ErrorKind::Cgroup).with_file(path)
    }
}

/// A step of [`Dir::walk`].
enum Walk<'a> {
    /// A cgroup is reached.
    Enter(&'a Dir),
    /// A cgroup and all below it are done: its parent and its name.
    Leave(&'a Dir, &'a str),
}

/// Reads a file of kernfs as it is now, whatever was read from this descriptor before. That also
/// resets what poll(2) reports about it.
///
/// The kernel gives out whole records: the numbers in a list of processes, or all that there is.
/// So what leaves much of the room is the end, and for another read it would be made once more.
pub(super) fn read_from_start(file: &OwnedFd, limit: usize) -> Result<String, Errno> {
    read(file, limit, |count| count < CHUNK / 2)
}

/// Reads any file.
pub(super) fn read_to_end(file: &OwnedFd, limit: usize) -> Result<String, Errno> {
    read(file, limit, |count| count == 0)
}

fn read(file: &OwnedFd, limit: usize, is_last: fn(usize) -> bool) -> Result<String, Errno> {
    let mut text = Vec::new();
    let mut chunk = [0; CHUNK];
    loop {
        let offset = text.len() as u64;
        let count = retry_on_intr(|| rustix::io::pread(file, &mut chunk, offset))?;
        text.extend_from_slice(chunk.get(..count).unwrap_or_default());
        if text.len() > limit {
            return Err(Errno::FBIG);
        }
        if is_last(count) {
            return String::from_utf8(text).map_err(|_| Errno::ILSEQ);
        }
    }
}

pub(super) fn find_key(text: &str, key: &str) -> Option<u64> {
    text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(' ')?.trim().parse().ok())
}
