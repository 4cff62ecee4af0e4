//! Mounts, by descriptor: each is made detached, given its attributes, and only then put in place
//! onto a descriptor that was resolved inside the root.

use core::ffi::CStr;
use core::sync::atomic::Ordering::Relaxed;

use super::target::Target;
use super::{At, Fail, Init, Outcome, copy_up, root};
use crate::page::{MESSAGE_LEN, Op};
use crate::sys::{
    self, AT_EMPTY_PATH, AT_FDCWD, AT_RECURSIVE, EBUSY, EINVAL, ENAMETOOLONG, EPERM, Fd,
    MOUNT_ATTR_ATIME, MOUNT_ATTR_IDMAP, MOUNT_ATTR_RDONLY, MountAttr, O_DIRECTORY, O_PATH,
    O_RDONLY, OPEN_TREE_CLONE,
};
use crate::wire::{Reg, Step, StrList};

/// The longest string that fsconfig(2) takes.
const FSCONFIG_MAX: usize = 255;

/// The attributes that the kernel locks on mounts of another user namespace,
/// mount_namespaces(7); but for the access time, which nobody changes without being asked to.
const LOCKABLE: u64 =
    MOUNT_ATTR_RDONLY | sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC;

/// In statfs(2)'s `f_flags`: the mount is read-only, or its filesystem is.
const ST_RDONLY: u64 = 1;

/// Whether a mount has lost a restriction, or has another access-time mode. Outer has opened it on
/// the host's side, where the kernel doesn't lock anything; but what the host's administrator has
/// restricted isn't for the configuration of a container with a user namespace of its own to lift,
/// neither when root starts it nor when its user does.
fn changes_locked(before: u64, after: u64) -> bool {
    const RESTRICTIONS: u64 = ST_RDONLY | 0xe; // ST_NOSUID, ST_NODEV, ST_NOEXEC
    const ATIME: u64 = 0x1c00; // ST_NOATIME, ST_NODIRATIME, ST_RELATIME
    before & !after & RESTRICTIONS != 0 || (before ^ after) & ATIME != 0
}

fn recursive_flag(recursive: bool) -> u32 {
    if recursive { AT_RECURSIVE } else { 0 }
}

/// Opens a mount as a detached copy.
pub(super) fn clone_tree(dir: i32, path: &CStr, flags: u32, recursive: bool) -> Outcome<Fd> {
    sys::open_tree(dir, path, OPEN_TREE_CLONE | flags | recursive_flag(recursive)).at(Op::OpenTree)
}

/// Changes the attributes of a mount by its descriptor; nothing to do costs nothing.
pub(super) fn set_attributes(mount: i32, recursive: bool, attr: &MountAttr) -> Outcome {
    if *attr == MountAttr::default() {
        return Ok(());
    }
    sys::mount_setattr(mount, c"", AT_EMPTY_PATH | recursive_flag(recursive), attr)
        .at(Op::MountSetattr)
}

/// The access-time modes are one field of the kernel's, not bits: setting one means clearing all.
pub(super) fn attr(set: u64, clear: u64) -> MountAttr {
    let whole = if (set | clear) & MOUNT_ATTR_ATIME != 0 { MOUNT_ATTR_ATIME } else { 0 };
    MountAttr { set, clear: clear | whole, ..MountAttr::default() }
}

/// PROC_ROOT_INO of the kernel's proc_ns.h.
const PROC_ROOT_INO: u64 = 1;

impl Init {
    /// A procfs that nobody else can have mounted over: all of init's own writes to `/proc` go
    /// through it (CVE-2019-16884, CVE-2025-52881).
    pub(super) fn open_proc(&mut self) -> Outcome {
        let proc = match fresh_proc() {
            Err(EPERM | EBUSY) => {
                let fd = sys::openat(AT_FDCWD, c"/proc", O_RDONLY | O_DIRECTORY, 0).at(Op::Open)?;
                // The root of a procfs, and not something below one that was bound here.
                let root =
                    sys::statx(fd.raw(), c"", AT_EMPTY_PATH).at(Op::Stat)?.ino == PROC_ROOT_INO;
                if !root || sys::filesystem_magic(fd.raw()) != Ok(sys::PROC_SUPER_MAGIC) {
                    return Err(Fail { op: Op::NotProcfs, errno: EINVAL });
                }
                fd
            }
            other => other.at(Op::Fsmount)?,
        };
        self.keep(Reg::PROC, proc);
        Ok(())
    }

    /// Writes a file of the private procfs, crossing no mount and no link but `self`.
    pub(super) fn write_proc(&self, path: &CStr, value: &CStr, op: Op) -> Outcome {
        let file = root::try_open_proc(self.fd(Reg::PROC)?, path, sys::O_WRONLY).at(Op::Open)?;
        if sys::filesystem_magic(file.raw()) != Ok(sys::PROC_SUPER_MAGIC) {
            return Err(Fail { op: Op::NotProcfs, errno: EINVAL });
        }
        sys::write(file.raw(), value.to_bytes()).at(op).map(drop)
    }

    pub(super) fn mount_filesystem(&mut self, step: &Step<'static>) -> Outcome {
        let Step::MountFilesystem {
            fstype,
            source,
            destination,
            options,
            attributes,
            propagation,
            copy_up,
            fallback,
            set_recursive,
            clear_recursive,
            out,
            flags,
            parent,
        } = *step
        else {
            return Ok(());
        };
        let rootfd = self.fd(Reg::ROOT)?;
        let mode = TmpfsMode::inherited(rootfd, destination, fstype, options);
        // mount(2) is for what fsconfig(2) can't say: long strings, and flags without a name.
        let classic = flags != 0
            || options.iter().any(|option| value_of(option).count_bytes() > FSCONFIG_MAX);
        let target = match parent {
            Reg::NONE => Target::of_filesystem(rootfd, destination, fstype)?,
            parent if classic || copy_up => Target::opened_in(self.fd(parent)?, destination)?,
            parent => Target::in_mount(self.fd(parent)?, destination, true)?,
        };
        target.guard_proc(destination, || fstype == c"proc")?;
        let mount = if classic {
            self.mount_classic(fstype, source, target.opened()?, options, flags)?;
            root::mounted_on(target.opened()?)?
        } else {
            let readonly = if copy_up { attributes & MOUNT_ATTR_RDONLY } else { 0 };
            match self.new_mount(fstype, source, options, mode.option(), attributes & !readonly) {
                Ok(mount) => {
                    if copy_up {
                        copy_up::copy(target.opened()?, &mount)?;
                    }
                    set_attributes(mount.raw(), false, &attr(readonly, 0))?;
                    set_attributes(mount.raw(), true, &attr(set_recursive, clear_recursive))?;
                    target.put(mount.raw())?;
                    mount
                }
                // In a nested container the kernel refuses what would show more than the outer
                // one may see: the outer one's own mount is bound instead.
                Err(Fail { errno: EPERM | EBUSY, .. }) if !fallback.is_empty() => {
                    let mount = clone_tree(AT_FDCWD, fallback, 0, true)?;
                    // As a new one it shares nothing.
                    let private = MountAttr { propagation: sys::MS_PRIVATE, ..attr(attributes, 0) };
                    set_attributes(mount.raw(), true, &private)?;
                    target.put(mount.raw())?;
                    mount
                }
                Err(fail) => return Err(fail),
            }
        };
        if classic {
            set_attributes(mount.raw(), false, &attr(attributes, MOUNT_ATTR_ATIME))?;
            set_attributes(mount.raw(), true, &attr(set_recursive, clear_recursive))?;
        }
        set_propagation_fd(mount.raw(), propagation)?;
        if out != Reg::NONE {
            // An O_PATH descriptor of the mount's root can't be read, but everything that is
            // made below it can be named from it.
            self.keep(out, mount);
        }
        Ok(())
    }

    /// fsopen → fsconfig → fsmount. What the kernel says about a failure goes to the page.
    fn new_mount(
        &self,
        fstype: &CStr,
        source: &CStr,
        options: StrList<'_>,
        extra: Option<&CStr>,
        attributes: u64,
    ) -> Outcome<Fd> {
        let context = sys::fsopen(fstype).at(Op::Fsopen)?;
        let configure = || {
            if !source.is_empty() {
                sys::fsconfig_string(context.raw(), c"source", source).at(Op::Fsconfig)?;
            }
            for option in extra.into_iter().chain(&options) {
                set_option(&context, option)?;
            }
            sys::fsconfig_create(context.raw()).at(Op::FsCreate)?;
            sys::fsmount(context.raw(), attributes).at(Op::Fsmount)
        };
        configure().inspect_err(|_| self.kernel_message(&context))
    }

    /// Reads the mount's log, "e tmpfs: Bad value for 'size'", into the page.
    fn kernel_message(&self, context: &Fd) {
        let mut text = [0u8; MESSAGE_LEN];
        if let Ok(length) = sys::read(context.raw(), &mut text) {
            for (to, from) in self.page.message.iter().zip(text.iter().take(length)) {
                to.store(*from, Relaxed);
            }
            self.page.message_len.store(length as u32, Relaxed);
        }
    }

    /// mount(2) onto `.`, after changing to the verified target: no path is resolved.
    fn mount_classic(
        &self,
        fstype: &CStr,
        source: &CStr,
        target: &Fd,
        options: StrList<'_>,
        flags: u64,
    ) -> Outcome {
        let mut data = [0u8; 4096];
        let mut length = 0;
        for option in &options {
            let text = option.to_bytes();
            let end = length + text.len();
            let overflow = Fail { op: Op::Mount, errno: ENAMETOOLONG };
            data.get_mut(length..end).ok_or(overflow)?.copy_from_slice(text);
            *data.get_mut(end).ok_or(overflow)? = b',';
            length = end + 1;
        }
        if let Some(last) = data.get_mut(length.saturating_sub(1)) {
            *last = 0;
        }
        let data = CStr::from_bytes_until_nul(&data).map_err(|_| EINVAL).at(Op::Mount)?;
        sys::fchdir(target.raw()).at(Op::Chdir)?;
        let outcome = sys::mount(source, c".", fstype, flags, data).at(Op::Mount);
        sys::chdir(c"/").at(Op::Chdir)?;
        outcome
    }

    pub(super) fn bind_mount(&mut self, step: &Step<'static>) -> Outcome {
        let Step::BindMount {
            source,
            tree,
            destination,
            recursive,
            set,
            clear,
            reset,
            locked,
            set_recursive,
            clear_recursive,
            propagation,
            out,
            parent,
        } = *step
        else {
            return Ok(());
        };
        let mut opened = None;
        let mount = if tree == Reg::NONE {
            opened.insert(clone_tree(AT_FDCWD, source, 0, recursive)?).raw()
        } else {
            self.fd(tree)?
        };
        // Only a procfs may stand in for /proc: a volume there would fake what LSMs and
        // monitoring read (CVE-2019-16884).
        let procfs = || sys::filesystem_magic(mount) == Ok(sys::PROC_SUPER_MAGIC);
        if is_proc(destination) && !procfs() {
            return Err(Fail { op: Op::NotProcfs, errno: EINVAL });
        }
        let before = if locked { sys::mount_flags(mount).at(Op::Stat)? } else { 0 };
        match set_attributes(mount, false, &attr(set, clear | reset)) {
            // Mounts that came from another user namespace keep these, mount_namespaces(7).
            Err(Fail { errno: EPERM, .. }) if reset != 0 => {
                set_attributes(mount, false, &attr(set, clear | reset & !LOCKABLE))?;
            }
            other => other?,
        }
        set_attributes(mount, true, &attr(set_recursive, clear_recursive))?;
        if locked {
            let after = sys::mount_flags(mount).at(Op::Stat)?;
            if changes_locked(before, after) {
                return Err(Fail { op: Op::MountSetattr, errno: EPERM });
            }
            // The filesystem is read-only, and the mount may have been too: `mount -o ro` makes
            // both so. It stays, whatever becomes of the filesystem.
            if before & after & ST_RDONLY != 0 {
                set_attributes(mount, false, &attr(MOUNT_ATTR_RDONLY, 0))?;
            }
        }
        let directory = sys::statx(mount, c"", AT_EMPTY_PATH).at(Op::Stat)?.kind() == sys::S_IFDIR;
        let rootfd = self.fd(Reg::ROOT)?;
        let target = match parent {
            Reg::NONE => Target::in_root(rootfd, destination, directory)?,
            parent => Target::in_mount(self.fd(parent)?, destination, directory)?,
        };
        target.guard_proc(destination, procfs)?;
        target.put(mount)?;
        set_propagation_fd(mount, propagation)?;
        if let Some(opened) = opened {
            self.keep(out, opened);
        }
        Ok(())
    }

    pub(super) fn open_tree(&mut self, step: &Step<'static>) -> Outcome {
        let Step::OpenTree { source, inside, out, recursive, idmap, idmap_recursive, propagation } =
            *step
        else {
            return Ok(());
        };
        let tree = if inside {
            let at = root::open(self.fd(Reg::ROOT)?, source, O_PATH)?;
            clone_tree(at.raw(), c"", AT_EMPTY_PATH, recursive)?
        } else {
            clone_tree(AT_FDCWD, source, 0, recursive)?
        };
        set_propagation_fd(tree.raw(), propagation)?;
        self.map_ids(&tree, idmap, idmap_recursive)?;
        self.keep(out, tree);
        Ok(())
    }

    pub(super) fn create_mount(
        &mut self,
        fstype: &CStr,
        source: &CStr,
        options: StrList<'_>,
        attributes: u64,
        out: Reg,
        idmap: Reg,
    ) -> Outcome {
        let mount = self.new_mount(fstype, source, options, None, attributes)?;
        self.map_ids(&mount, idmap, false)?;
        self.keep(out, mount);
        Ok(())
    }

    fn map_ids(&self, mount: &Fd, idmap: Reg, recursive: bool) -> Outcome {
        if idmap == Reg::NONE {
            return Ok(());
        }
        let userns = self.fd(idmap)? as u64;
        let attr = MountAttr { set: MOUNT_ATTR_IDMAP, userns, ..MountAttr::default() };
        set_attributes(mount.raw(), recursive, &attr)
    }
}

fn fresh_proc() -> sys::Result<Fd> {
    let context = sys::fsopen(c"proc")?;
    sys::fsconfig_create(context.raw())?;
    sys::fsmount(
        context.raw(),
        sys::MOUNT_ATTR_NOSUID | sys::MOUNT_ATTR_NODEV | sys::MOUNT_ATTR_NOEXEC,
    )
}

/// Changes a mount that an earlier step made.
pub(super) fn set_mount(mount: i32, set: u64, propagation: u64) -> Outcome {
    set_attributes(mount, false, &attr(set, 0))?;
    set_propagation_fd(mount, propagation)
}

/// `propagation` is one of MS_SHARED, MS_SLAVE, MS_PRIVATE and MS_UNBINDABLE, with MS_REC for all
/// mounts below as well; or 0, which changes nothing.
pub(super) fn set_propagation_fd(mount: i32, propagation: u64) -> Outcome {
    const MS_REC: u64 = 0x4000;
    let attr = MountAttr { propagation: propagation & !MS_REC, ..MountAttr::default() };
    set_attributes(mount, propagation & MS_REC != 0, &attr)
}

/// `key=value` as a string parameter, `key` as a flag.
pub(super) fn set_option(context: &Fd, option: &CStr) -> Outcome {
    let text = option.to_bytes();
    let Some(at) = text.iter().position(|b| *b == b'=') else {
        return sys::fsconfig_flag(context.raw(), option).at(Op::Fsconfig);
    };
    let mut key = [0u8; 128];
    let name = text.get(..at).unwrap_or_default();
    let overflow = Fail { op: Op::Fsconfig, errno: ENAMETOOLONG };
    key.get_mut(..name.len()).ok_or(overflow)?.copy_from_slice(name);
    let key = CStr::from_bytes_until_nul(&key).map_err(|_| overflow)?;
    sys::fsconfig_string(context.raw(), key, value_of(option)).at(Op::Fsconfig)
}

/// What stands behind the first `=`; all of it where there is none.
fn value_of(option: &CStr) -> &CStr {
    let bytes = option.to_bytes_with_nul();
    let value = bytes.iter().position(|b| *b == b'=').and_then(|at| bytes.get(at + 1..));
    value.and_then(|value| CStr::from_bytes_with_nul(value).ok()).unwrap_or(option)
}

/// A tmpfs gets the mode of the directory that it covers, unless it is given one.
struct TmpfsMode(Option<[u8; 10]>);

impl TmpfsMode {
    fn inherited(rootfd: i32, destination: &CStr, fstype: &CStr, options: StrList<'_>) -> Self {
        let given = || options.iter().any(|option| option.to_bytes().starts_with(b"mode="));
        if fstype != c"tmpfs" || given() {
            return Self(None);
        }
        // What isn't there yet gets the kernel's default.
        let stat = root::try_open(rootfd, destination, O_PATH)
            .and_then(|covered| sys::statx(covered.raw(), c"", AT_EMPTY_PATH));
        Self(stat.ok().map(|stat| {
            let digit = |place: u32| b'0' + (stat.mode >> (3 * place) & 7) as u8;
            let [a, b, c, d] = [digit(3), digit(2), digit(1), digit(0)];
            [b'm', b'o', b'd', b'e', b'=', a, b, c, d, 0]
        }))
    }

    fn option(&self) -> Option<&CStr> {
        CStr::from_bytes_with_nul(self.0.as_ref()?).ok()
    }
}

fn is_proc(path: &CStr) -> bool {
    let mut parts = path.to_bytes().split(|b| *b == b'/').filter(|c| !c.is_empty() && *c != b".");
    parts.next() == Some(b"proc") && parts.next().is_none()
}
