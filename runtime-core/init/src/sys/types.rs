//! Constants and structures of the kernel's interface, from its uapi headers.

use super::Errno;

macro_rules! constants {
    ($($type:ty { $($name:ident = $value:expr,)* })*) => {
        $($( pub(crate) const $name: $type = $value; )*)*
    };
}

constants! {
    Errno {
        EPERM = Errno(1), ENOENT = Errno(2), EINTR = Errno(4), EAGAIN = Errno(11),
        EACCES = Errno(13), EBUSY = Errno(16), EEXIST = Errno(17), ENODEV = Errno(19), ENOTDIR = Errno(20),
        EISDIR = Errno(21), EINVAL = Errno(22), EROFS = Errno(30), ENAMETOOLONG = Errno(36),
        ENOSYS = Errno(38), ELOOP = Errno(40), EOPNOTSUPP = Errno(95), EBADF = Errno(9),
        ERANGE = Errno(34), ETIMEDOUT = Errno(110), EPROTO = Errno(71),
    }
    i32 { AT_FDCWD = -100, }
    u32 {
        AT_SYMLINK_NOFOLLOW = 0x100, AT_EMPTY_PATH = 0x1000, AT_RECURSIVE = 0x8000,
        AT_EACCESS = 0x200, X_OK = 1,
        STATX_BASIC_STATS = 0x7ff,
        OPEN_TREE_CLONE = 1, OPEN_TREE_CLOEXEC = 0o2_000_000,
        FSOPEN_CLOEXEC = 1, FSMOUNT_CLOEXEC = 1,
        FSCONFIG_SET_FLAG = 0, FSCONFIG_SET_STRING = 1, FSCONFIG_CMD_CREATE = 6,
        MOVE_MOUNT_F_EMPTY_PATH = 4, MOVE_MOUNT_T_EMPTY_PATH = 0x40,
        MNT_DETACH = 2,
        S_IFMT = 0o170_000, S_IFDIR = 0o040_000, S_IFCHR = 0o020_000, S_IFIFO = 0o010_000, S_IFREG = 0o100_000, S_IFLNK = 0o120_000,
        PR_SET_DUMPABLE = 4, PR_SET_KEEPCAPS = 8, PR_CAPBSET_READ = 23, PR_CAPBSET_DROP = 24,
        PR_SET_SECUREBITS = 28, PR_SET_TIMERSLACK = 29, PR_SET_PDEATHSIG = 1,
        PR_SET_NO_NEW_PRIVS = 38, PR_SET_THP_DISABLE = 41, PR_CAP_AMBIENT = 47,
        KEYCTL_JOIN_SESSION_KEYRING = 1, KEYCTL_SETPERM = 5,
        CAPABILITY_VERSION_3 = 0x2008_0522,
        IOPRIO_WHO_PROCESS = 1, SIG_SETMASK = 2,
        AF_INET = 2, SOCK_DGRAM = 2, SOCK_CLOEXEC = 0o2_000_000,
        SIOCSIFFLAGS = 0x8914,
        TIOCSCTTY = 0x540e, TIOCSWINSZ = 0x5414, TIOCGPTN = 0x8004_5430,
        TIOCSPTLCK = 0x4004_5431, TIOCGPTPEER = 0x5441,
        CLOSE_RANGE_CLOEXEC = 4,
        SECCOMP_SET_MODE_FILTER = 1,
        PROT_READ = 1, PROT_WRITE = 2, MAP_SHARED = 1, MAP_PRIVATE = 2, MAP_FIXED = 0x10, MAP_ANONYMOUS = 0x20,
        MSG_NOSIGNAL = 0x4000,
        MSG_CMSG_CLOEXEC = 0x4000_0000,
    }
    u64 {
        O_RDONLY = 0, O_WRONLY = 1, O_RDWR = 2, O_CREAT = 0o100, O_EXCL = 0o200, O_NOCTTY = 0o400,
        O_CLOEXEC = 0o2_000_000, O_PATH = 0o10_000_000, O_NONBLOCK = 0o4000,
        RESOLVE_NO_XDEV = 1, RESOLVE_NO_MAGICLINKS = 2, RESOLVE_NO_SYMLINKS = 4,
        RESOLVE_BENEATH = 8, RESOLVE_IN_ROOT = 0x10,
        CLONE_VM = 0x100, CLONE_PARENT = 0x8000, CLONE_PIDFD = 0x1000, CLONE_PARENT_SETTID = 0x10_0000, CLONE_NEWTIME = 0x80,
        CLONE_NEWCGROUP = 0x0200_0000, CLONE_NEWPID = 0x2000_0000, CLONE_INTO_CGROUP = 0x2_0000_0000,
        MOUNT_ATTR_RDONLY = 1, MOUNT_ATTR_NOSUID = 2, MOUNT_ATTR_NODEV = 4,
        MOUNT_ATTR_NOEXEC = 8, MOUNT_ATTR_IDMAP = 0x0010_0000, MOUNT_ATTR_ATIME = 0x70,
        MS_MOVE = 0x2000, MS_PRIVATE = 0x4_0000, MS_SLAVE = 0x8_0000,
        STATX_ATTR_MOUNT_ROOT = 0x2000,
        PR_CAP_AMBIENT_RAISE = 2, PR_CAP_AMBIENT_CLEAR_ALL = 4,
        PROC_SUPER_MAGIC = 0x9fa0, SYSFS_MAGIC = 0x6265_6572, DEVPTS_SUPER_MAGIC = 0x1cd1,
    }
}

#[cfg(target_arch = "x86_64")]
constants! { u64 { O_DIRECTORY = 0o200_000, O_NOFOLLOW = 0o400_000, } }
#[cfg(target_arch = "aarch64")]
constants! { u64 { O_DIRECTORY = 0o40_000, O_NOFOLLOW = 0o100_000, } }

/// `struct clone_args` of clone3(2).
#[repr(C)]
#[derive(Debug, Default)]
pub(crate) struct CloneArgs {
    pub(crate) flags: u64,
    pub(crate) pidfd: u64,
    pub(crate) child_tid: u64,
    pub(crate) parent_tid: u64,
    pub(crate) exit_signal: u64,
    pub(crate) stack: u64,
    pub(crate) stack_size: u64,
    pub(crate) tls: u64,
    pub(crate) set_tid: u64,
    pub(crate) set_tid_size: u64,
    pub(crate) cgroup: u64,
}

/// `struct mount_attr` of mount_setattr(2).
#[repr(C)]
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct MountAttr {
    pub(crate) set: u64,
    pub(crate) clear: u64,
    pub(crate) propagation: u64,
    pub(crate) userns: u64,
}

/// The leading part of `struct statx`, see statx(2); 256 bytes in all.
#[repr(C)]
#[derive(Debug)]
pub(crate) struct Statx {
    pub(crate) mask: u32,
    pub(crate) blksize: u32,
    pub(crate) attributes: u64,
    pub(crate) nlink: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mode: u16,
    spare0: u16,
    pub(crate) ino: u64,
    pub(crate) size: u64,
    pub(crate) blocks: u64,
    pub(crate) attributes_mask: u64,
    times: [u64; 8],
    pub(crate) rdev_major: u32,
    pub(crate) rdev_minor: u32,
    pub(crate) dev_major: u32,
    pub(crate) dev_minor: u32,
    spare: [u64; 14],
}

const _: () = assert!(size_of::<Statx>() == 256);

impl Statx {
    /// The file's type, one of S_IF*.
    pub(crate) fn kind(&self) -> u32 {
        u32::from(self.mode) & S_IFMT
    }
}

/// Three of a process's capability sets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct CapSets {
    pub(crate) effective: u64,
    pub(crate) permitted: u64,
    pub(crate) inheritable: u64,
}

/// `struct sock_fprog`.
#[repr(C)]
pub(crate) struct SockFprog {
    pub(crate) len: u16,
    pub(crate) filter: *const u8,
}

/// `struct msghdr` with one buffer.
#[repr(C)]
pub(crate) struct MsgHdr {
    name: usize,
    name_len: usize,
    iov: usize,
    iov_len: usize,
    pub(crate) control: usize,
    pub(crate) control_len: usize,
    flags: usize,
}

impl MsgHdr {
    pub(crate) fn new(iov: &[usize; 2]) -> Self {
        Self {
            name: 0,
            name_len: 0,
            iov: iov.as_ptr() as usize,
            iov_len: 1,
            control: 0,
            control_len: 0,
            flags: 0,
        }
    }
}

/// `struct cmsghdr` with up to `N` descriptors; 2 are one and its padding.
#[repr(C)]
pub(crate) struct Control<const N: usize> {
    len: usize,
    level: i32,
    kind: i32,
    fds: [i32; N],
}

impl<const N: usize> Control<N> {
    /// The bytes before the descriptors.
    const HEADER: usize = 16;

    /// Room for what is received.
    pub(crate) fn empty() -> Self {
        Self { len: 0, level: 0, kind: 0, fds: [-1; N] }
    }

    pub(crate) fn with_descriptor(fd: i32) -> Self {
        // SOL_SOCKET, SCM_RIGHTS
        Self { len: Self::HEADER + 4, level: 1, kind: 1, fds: [fd; N] }
    }

    /// The descriptors that came with a message.
    pub(crate) fn descriptors(&self) -> &[i32] {
        let rights = self.level == 1 && self.kind == 1;
        let count = if rights { self.len.saturating_sub(Self::HEADER) / 4 } else { 0 };
        self.fds.get(..count).unwrap_or_default()
    }
}

/// The last message of a process, with a descriptor: it is sent by [`super::clone_with_farewell`].
#[repr(C)]
pub(crate) struct Farewell {
    words: [u32; 2],
    iov: [usize; 2],
    header: MsgHdr,
    control: Control<2>,
}

impl Farewell {
    /// A message of this kind; the value will be the child's pid.
    pub(crate) fn new(kind: u32) -> Self {
        let header = MsgHdr::new(&[0; 2]);
        Self { words: [kind, 0], iov: [0; 2], header, control: Control::with_descriptor(-1) }
    }

    /// Connects the parts, at the place where they stay. Where the pidfd, the pid and the header are.
    pub(super) fn prepare(&mut self) -> (usize, usize, usize) {
        self.iov = [(&raw const self.words) as usize, size_of_val(&self.words)];
        self.header = MsgHdr::new(&self.iov);
        self.header.control = (&raw const self.control) as usize;
        self.header.control_len = size_of_val(&self.control);
        let [pidfd, _] = &mut self.control.fds;
        let [_, pid] = &mut self.words;
        ((&raw mut *pidfd) as usize, (&raw mut *pid) as usize, (&raw const self.header) as usize)
    }
}

/// `struct ifreq` with flags, netdevice(7).
#[repr(C)]
#[derive(Debug)]
pub(crate) struct IfReq {
    pub(crate) name: [u8; 16],
    pub(crate) flags: u16,
    pub(crate) rest: [u8; 22],
}

/// `struct pollfd`, poll(2).
#[repr(C)]
#[derive(Debug)]
pub(crate) struct PollFd {
    pub(crate) fd: i32,
    pub(crate) events: i16,
    pub(crate) revents: i16,
}

/// There is something to read, poll(2).
pub(crate) const POLLIN: i16 = 1;

/// `struct winsize`, ioctl_tty(2).
#[repr(C)]
#[derive(Debug)]
pub(crate) struct WinSize {
    pub(crate) rows: u16,
    pub(crate) columns: u16,
    pub(crate) pixels: [u16; 2],
}

/// Plain data that the kernel may read and write.
pub(crate) trait Pod {}
impl Pod for IfReq {}
impl Pod for WinSize {}
impl Pod for u32 {}
