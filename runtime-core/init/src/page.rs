//! The report page: what init tells the library through shared memory.
//!
//! It is a memfd, sealed against shrinking and growing, that init maps and the library reads with
//! pread(2). So a failure has an exact place even where init was killed by the OOM killer. The
//! library takes what it reads as hostile input.

use core::sync::atomic::{AtomicI32, AtomicU8, AtomicU32, AtomicU64};

/// Which of the two processes wrote last: none yet.
pub const ROLE_NONE: u32 = 0;
/// Outer: in the caller's cgroup and namespaces.
pub const ROLE_OUTER: u32 = 1;
/// Inner: the container's process.
pub const ROLE_INNER: u32 = 2;

/// Bytes before the table of times.
pub const TIMES_AT: usize = 512;
/// How long a message from the kernel's mount log can be.
pub const MESSAGE_LEN: usize = 400;

/// The bytes that a page for a plan of so many steps has: one time for the start, one a step.
#[must_use]
pub const fn size_for(steps: u32) -> usize {
    (TIMES_AT + 8 * (steps as usize + 1)).next_multiple_of(4096)
}

/// The fixed part of the page. All fields are little-endian atomics at these offsets.
#[repr(C)]
#[derive(Debug)]
pub struct Page {
    /// [`ROLE_NONE`], [`ROLE_OUTER`] or [`ROLE_INNER`].
    pub role: AtomicU32,
    /// The index of the step that is being done.
    pub step: AtomicU32,
    /// That step's opcode, [`crate::wire::Step::code`]; for readers that don't have the plan.
    pub code: AtomicU32,
    /// 1 once the step failed; written after the fields that describe the failure.
    pub failed: AtomicU32,
    /// The errno of the failure.
    pub errno: AtomicI32,
    /// What the step was at: an [`Op`].
    pub op: AtomicU32,
    /// The seccomp notify descriptor's number plus one; 0 means none yet.
    pub notify: AtomicU32,
    /// 1 once the library has taken that descriptor.
    pub notify_taken: AtomicU32,
    /// Inner's pid as outer sees it, written by the kernel before inner runs: it is known even
    /// if outer is killed before it can tell.
    pub inner: AtomicU32,
    /// How many bytes of `message` count.
    pub message_len: AtomicU32,
    /// Capabilities that were asked for and could not be granted, as a mask.
    pub ungranted: AtomicU64,
    /// What the kernel said about a failed mount.
    pub message: [AtomicU8; MESSAGE_LEN],
}

/// Where [`Page::notify_taken`] is.
pub const NOTIFY_TAKEN_AT: u64 = core::mem::offset_of!(Page, notify_taken) as u64;

const _: () = assert!(size_of::<Page>() <= TIMES_AT);

/// A moment at which init waits for the library.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum Sync {
    /// The user namespace exists and has no maps yet.
    Maps = 1,
    /// All namespaces exist: the library moves network devices in.
    Namespaces = 2,
    /// Mounts are done, the root is not yet changed: prestart, createRuntime and createContainer
    /// hooks run now.
    Hooks = 3,
    /// The user asked for the process: startContainer hooks run now.
    Start = 4,
    /// Inner exists and is not yet in its cgroup: the library, or systemd, moves it.
    Cgroup = 5,
}

/// A message on the control socket, init to library: kind and value. [`MSG_CLONED`] carries
/// inner's pidfd.
pub const MSG_LEN: usize = 8;
/// Inner exists; the value is its pid as outer sees it.
pub const MSG_CLONED: u32 = 1;
/// Init waits at a [`Sync`] point, the value.
pub const MSG_SYNC: u32 = 2;
/// The container is created; init waits for [`REPLY_COMMIT`] or [`REPLY_START`].
pub const MSG_CREATED: u32 = 3;
/// Init reports on the page that whoever asked to start has sent with [`REPLY_PAGE`].
pub const MSG_PAGE: u32 = 4;

/// Init waits for a mount to be id-mapped, [`crate::wire::Step::MapIds`]. It carries the mount; the
/// value is the register of the mapping, with [`MAP_RECURSIVE`].
pub const MSG_MAP_IDS: u32 = 5;
/// Inner is in all its namespaces and goes on; what it waits for in the end is [`REPLY_START`].
pub const MSG_ANNOUNCED: u32 = 6;
/// What is mounted below gets the mapping too.
pub const MAP_RECURSIVE: u32 = 1 << 31;

/// Go on from a [`Sync`] point, or from [`MSG_MAP_IDS`].
pub const REPLY_GO: u8 = b'g';
/// The state is on disk: wait for `start`, which is a connection to the start socket, or
/// [`REPLY_START`] as long as this one lasts.
pub const REPLY_COMMIT: u8 = b'c';
/// To a created container: a report page, whose descriptor this carries.
pub const REPLY_PAGE: u8 = b'p';
/// The state is on disk, and start right now.
pub const REPLY_START: u8 = b's';

macro_rules! ops {
    ($($(#[$doc:meta])* $code:literal $name:ident $text:literal,)*) => {
        /// What a step was at when it failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum Op { $( #[doc = $text] $name = $code, )* }

        impl Op {
            /// The operation with this number, as read from the page.
            #[must_use]
            pub fn from_u32(code: u32) -> Option<Self> {
                match code { $( $code => Some(Self::$name), )* _ => None }
            }

            /// In words, with the system call's name.
            #[must_use]
            pub fn text(self) -> &'static str {
                match self { $( Self::$name => $text, )* }
            }
        }
    };
}

ops! {
    1 Plan "read the plan",
    2 Setns "setns",
    3 Unshare "unshare",
    4 Clone "clone3",
    5 Open "open",
    6 OpenInRoot "open inside the root (openat2)",
    7 Write "write",
    8 Read "read",
    9 MakeDir "mkdir",
    10 MakeFile "create the mount point",
    11 MakeNode "mknod",
    12 Symlink "symlink",
    13 Stat "stat",
    14 Fsopen "fsopen",
    15 Fsconfig "fsconfig",
    16 FsCreate "create the superblock (fsconfig)",
    17 Fsmount "fsmount",
    18 OpenTree "open_tree",
    19 MountSetattr "mount_setattr",
    20 MoveMount "move_mount",
    21 Mount "mount",
    22 Umount "umount2",
    23 PivotRoot "pivot_root",
    24 Chroot "chroot",
    25 Chdir "chdir",
    26 Getcwd "the working directory is outside of the container's root (getcwd)",
    27 Send "send to the runtime",
    28 Receive "receive from the runtime",
    29 Gone "the runtime is gone",
    30 Accept "accept on the start socket",
    31 Keyctl "keyctl",
    32 Socket "socket",
    33 Ioctl "ioctl",
    34 NotADevice "not the device it should be",
    35 NotProcfs "not a procfs",
    36 Setgroups "setgroups",
    37 Setgid "setgid",
    38 Setuid "setuid",
    39 Capset "capset",
    40 Prctl "prctl",
    41 Label "write the label",
    42 Limit "setrlimit",
    43 Schedule "sched_setattr",
    44 Affinity "sched_setaffinity",
    45 IoPriority "ioprio_set",
    46 MemoryPolicy "set_mempolicy",
    47 Personality "personality",
    48 Hostname "sethostname",
    49 Domainname "setdomainname",
    50 Chown "chown",
    51 Chmod "chmod",
    52 Find "find the program",
    53 Seccomp "seccomp",
    54 Execve "execve",
    55 Memory "mmap",
    56 Register "use a descriptor that was never opened",
    57 Copy "copy into the new filesystem",
    58 Chain "follow a path that keeps changing",
    59 Session "setsid",
    60 Close "close_range",
    61 NotADirectory "must be mounted on ordinary directory",
    62 NotifyTimeout "hand the seccomp notify descriptor over",
    63 Signals "choose the signals",
}
