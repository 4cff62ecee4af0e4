//! Paths inside the root: openat2(2) with RESOLVE_IN_ROOT, so that neither a symbolic link nor
//! `..` leads out of it, whatever a neighbour does to the tree meanwhile (CVE-2021-30465,
//! CVE-2024-45310).

use core::ffi::CStr;

use super::{At, Fail, Outcome};
use crate::page::Op;
use crate::sys::{
    self, EAGAIN, EEXIST, EINVAL, ELOOP, ENAMETOOLONG, ENOENT, Errno, Fd, O_CREAT, O_DIRECTORY,
    O_EXCL, O_PATH, RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
};

/// How often a path that keeps changing is tried again before it is an error.
const TRIES: u32 = 256;
/// PATH_MAX, path_resolution(7).
const PATH_MAX: usize = 4096;

/// openat2(2), tried again while the kernel answers EAGAIN: somebody renamed or mounted meanwhile.
fn openat2(dir: i32, path: &CStr, flags: u64, mode: u64, resolve: u64) -> sys::Result<Fd> {
    for _ in 0..TRIES {
        match sys::openat2(dir, path, flags, mode, resolve) {
            Err(EAGAIN) => {}
            other => return other,
        }
    }
    Err(EAGAIN)
}

/// Opens a path below `root`; an absolute path, `..` and symbolic links stay inside.
pub(super) fn try_open(root: i32, path: &CStr, flags: u64) -> sys::Result<Fd> {
    openat2(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS)
}

/// [`try_open`], as a step's outcome.
pub(super) fn open(root: i32, path: &CStr, flags: u64) -> Outcome<Fd> {
    try_open(root, path, flags).at(Op::OpenInRoot)
}

/// Opens a path below `root` on whose way there may be no symbolic link at all: for `/proc` and
/// `/sys`, CVE-2023-27561.
pub(super) fn try_open_plain(root: i32, path: &CStr, flags: u64) -> sys::Result<Fd> {
    openat2(root, path, flags, 0, RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS)
}

/// Opens what was mounted on a directory last. Its path may lead elsewhere by now (GHSA-3q8j-pf29-vwv8),
/// but `..` at the root of a walk stays there, and goes to what is mounted on it.
pub(super) fn mounted_on(directory: &Fd) -> Outcome<Fd> {
    openat2(directory.raw(), c"..", O_PATH | O_DIRECTORY, 0, RESOLVE_IN_ROOT).at(Op::OpenInRoot)
}

/// Opens a file of a procfs: no mount is crossed, so nothing that a container has mounted over a
/// part of its own can stand in for it (CVE-2025-52881); of links only `self` is met.
pub(super) fn try_open_proc(proc: i32, path: &CStr, flags: u64) -> sys::Result<Fd> {
    openat2(proc, path, flags, 0, RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
}

/// A path's text with room for a NUL at any place.
pub(super) struct PathBuffer {
    bytes: [u8; PATH_MAX],
    length: usize,
}

impl PathBuffer {
    pub(super) fn new() -> Self {
        Self { bytes: [0; PATH_MAX], length: 0 }
    }

    /// A path's components.
    fn of(path: &CStr) -> sys::Result<Self> {
        let mut buffer = Self::new();
        components(path).try_for_each(|component| buffer.push(component))?;
        Ok(buffer)
    }

    /// Takes what is behind this length away.
    fn truncate(&mut self, length: usize) {
        self.length = length;
        if let Some(end) = self.bytes.get_mut(length) {
            *end = 0;
        }
    }

    /// Appends `/` and a component.
    pub(super) fn push(&mut self, component: &[u8]) -> sys::Result<()> {
        let start = self.length + 1;
        let end = start + component.len();
        let room = self.bytes.get_mut(start..=end).ok_or(ENAMETOOLONG)?;
        let (last, text) = room.split_last_mut().ok_or(EINVAL)?;
        text.copy_from_slice(component);
        *last = 0;
        if let Some(slash) = self.bytes.get_mut(self.length) {
            *slash = b'/';
        }
        self.length = end;
        Ok(())
    }

    pub(super) fn as_cstr(&self) -> sys::Result<&CStr> {
        CStr::from_bytes_until_nul(&self.bytes).map_err(|_| EINVAL)
    }
}

/// Runs `use_it` with a component as a C string.
fn with_component<T>(name: &[u8], use_it: impl FnOnce(&CStr) -> sys::Result<T>) -> sys::Result<T> {
    let mut buffer = [0u8; 256];
    buffer.get_mut(..name.len()).ok_or(ENAMETOOLONG)?.copy_from_slice(name);
    use_it(CStr::from_bytes_until_nul(&buffer).map_err(|_| ENAMETOOLONG)?)
}

/// Opens a name right in a directory, whatever is there now, without following it.
fn open_child(parent: i32, name: &[u8], flags: u64, mode: u64) -> sys::Result<Fd> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS;
    with_component(name, |name| openat2(parent, name, flags, mode, resolve))
}

/// How many dangling symbolic links a path may lead through, as path_resolution(7).
const LINKS: u32 = 40;

/// Opens a directory below `root`, making what is missing with mode 0755, one component after
/// another: each is resolved from `root` again while it exists, so that symbolic links are
/// followed as the container would see them; what is made is made in the directory just opened.
/// A link that leads nowhere yet is followed too, and what it leads to is made.
pub(super) fn make_directory(root: i32, path: &CStr) -> Outcome<Fd> {
    match try_open(root, path, O_PATH | O_DIRECTORY) {
        Err(ENOENT) => {}
        other => return other.at(Op::OpenInRoot),
    }
    make(root, path, false)
}

/// The missing rest of a path: directories, or with `file` an empty file as the last.
fn make(root: i32, path: &CStr, file: bool) -> Outcome<Fd> {
    let mut path = PathBuffer::of(path).at(Op::OpenInRoot)?;
    for _ in 0..LINKS {
        if let Some(made) = make_plain(root, &mut path, file)? {
            return Ok(made);
        }
    }
    Err(Fail { op: Op::OpenInRoot, errno: ELOOP })
}

/// One walk along a path. `None` if a link to nowhere was on the way: then the path is now the
/// one that it stands for.
fn make_plain(root: i32, path: &mut PathBuffer, file: bool) -> Outcome<Option<Fd>> {
    let directory = O_PATH | O_DIRECTORY;
    let text = path.as_cstr().at(Op::OpenInRoot)?;
    let mut prefix = PathBuffer::new();
    let mut here = open(root, c"/", directory)?;
    let mut components = components(text).peekable();
    while let Some(component) = components.next() {
        let file = file && components.peek().is_none();
        let parent = prefix.length;
        prefix.push(component).at(Op::MakeDir)?;
        let flags = if file { O_PATH } else { directory };
        match try_open(root, prefix.as_cstr().at(Op::MakeDir)?, flags) {
            Err(ENOENT) => {}
            other => {
                here = other.at(Op::OpenInRoot)?;
                continue;
            }
        }
        let mut target = [0u8; PATH_MAX];
        let link = with_component(component, |name| {
            sys::readlinkat(here.raw(), name, &mut target).map(<[u8]>::len)
        });
        if let Ok(length) = link {
            let target = target.get(..length).unwrap_or_default();
            prefix.truncate(if target.first() == Some(&b'/') { 0 } else { parent });
            let rest = target.split(|b| *b == b'/').filter(|c| !c.is_empty());
            for component in rest.chain(components) {
                prefix.push(component).at(Op::OpenInRoot)?;
            }
            *path = prefix;
            return Ok(None);
        }
        here = if file {
            make_empty_file(here.raw(), component)?
        } else {
            make_child(here.raw(), component)?
        };
    }
    Ok(Some(here))
}

fn make_empty_file(parent: i32, name: &[u8]) -> Outcome<Fd> {
    match open_child(parent, name, O_CREAT | O_EXCL, 0o644) {
        Ok(_) | Err(EEXIST) => {}
        Err(errno) => return Err(Fail { op: Op::MakeFile, errno }),
    }
    open_child(parent, name, O_PATH, 0).at(Op::MakeFile)
}

fn make_child(parent: i32, name: &[u8]) -> Outcome<Fd> {
    match with_component(name, |name| sys::mkdirat(parent, name, 0o755)) {
        Ok(()) | Err(EEXIST) => {}
        Err(errno) => return Err(Fail { op: Op::MakeDir, errno }),
    }
    open_child(parent, name, O_PATH | O_DIRECTORY, 0).at(Op::MakeDir)
}

/// Opens a file below `root` as a mount point, making an empty one and its parents where missing.
pub(super) fn make_file(root: i32, path: &CStr) -> Outcome<Fd> {
    match try_open(root, path, O_PATH) {
        Err(ENOENT) => {}
        other => return other.at(Op::OpenInRoot),
    }
    make(root, path, true)
}

/// The mount point with a path's last name, right in a directory that an earlier step has mounted:
/// nothing of the image's is on the way. It is made where it is missing.
pub(super) fn make_in(directory: i32, path: &CStr, file: bool) -> Outcome<Fd> {
    let name = components(path).last().unwrap_or_default();
    if file { make_empty_file(directory, name) } else { make_child(directory, name) }
}

/// Makes the directory with a path's last name, right in one that an earlier step has mounted.
/// False if there is something of that name.
pub(super) fn make_new_in(directory: i32, path: &CStr) -> Outcome<bool> {
    let name = components(path).last().unwrap_or_default();
    match with_component(name, |name| sys::mkdirat(directory, name, 0o755)) {
        Ok(()) => Ok(true),
        Err(EEXIST) => Ok(false),
        Err(errno) => Err(Fail { op: Op::MakeDir, errno }),
    }
}

/// Puts a mount onto what was made so. Nobody else is there yet, so its name is still its own.
pub(super) fn mount_on_new(mount: i32, directory: i32, path: &CStr) -> Outcome {
    let name = components(path).last().unwrap_or_default();
    with_component(name, |name| sys::move_mount_at(mount, directory, name)).at(Op::MoveMount)
}

fn components(path: &CStr) -> impl Iterator<Item = &[u8]> {
    path.to_bytes().split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".")
}

/// True for the answers that mean "there is no such path".
pub(super) fn is_absent(errno: Errno) -> bool {
    matches!(errno, ENOENT | sys::ENOTDIR)
}

/// A directory that was opened for the last component of a path, with that component.
pub(super) struct Parent<'a> {
    opened: Option<Fd>,
    name: &'a CStr,
}

impl<'a> Parent<'a> {
    /// The directory's descriptor (`start` where the path is a bare name) and the name.
    pub(super) fn get(&self, start: i32) -> (i32, &'a CStr) {
        (self.opened.as_ref().map_or(start, Fd::raw), self.name)
    }
}

/// Opens, and makes where missing, the directory that a path below `directory` ends in.
pub(super) fn parent(directory: i32, path: &CStr) -> Outcome<Parent<'_>> {
    let text = path.to_bytes_with_nul();
    let Some(slash) = path.to_bytes().iter().rposition(|b| *b == b'/') else {
        return Ok(Parent { opened: None, name: path });
    };
    let (head, name) = text.split_at_checked(slash + 1).unwrap_or((b"", text));
    let name = CStr::from_bytes_with_nul(name).map_err(|_| EINVAL).at(Op::OpenInRoot)?;
    let mut prefix = PathBuffer::new();
    for component in head.split(|b| *b == b'/').filter(|c| !c.is_empty()) {
        prefix.push(component).at(Op::OpenInRoot)?;
    }
    let opened = if prefix.length == 0 {
        open(directory, c"/", O_PATH | O_DIRECTORY)?
    } else {
        make_directory(directory, prefix.as_cstr().at(Op::OpenInRoot)?)?
    };
    Ok(Parent { opened: Some(opened), name })
}
