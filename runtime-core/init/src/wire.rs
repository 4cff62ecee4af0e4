//! The plan's wire format: a header, then one record a step.
//!
//! The library writes it ([`Encoder`]), init and `hoist plan` read it ([`Plan`]). Everything is
//! little-endian and aligned to 8 bytes, so init uses strings and BPF programs in place, from the
//! sealed file it has mapped. The reader takes nothing for granted: a malformed plan is
//! [`Malformed`], never a panic and never a read outside the buffer.
//!
//! ```text
//! header   magic u32 | version u16 | flags u16 | steps u32 | 0 u32
//! record   opcode u32 | length of the fields u32 | fields
//! field    integer: 8 bytes; bytes: length u64, content, padding to 8
//! ```
//!
//! A plan may come in two parts, each with a header of its own, one right after the other: the first
//! ([`FLAG_HEAD`]) is executed while the library still writes the second.

use core::ffi::CStr;
use core::fmt;

/// The first four bytes of a plan: "hst" and a newline.
pub const MAGIC: u32 = u32::from_le_bytes(*b"hst\n");
/// The version of this format; library and init are always built together.
pub const VERSION: u16 = 1;
/// Header flag: write the time of each step to the report page.
pub const FLAG_TIMINGS: u16 = 1;
/// Header flag: the last step is [`Step::TakeRest`], and after it comes another part.
pub const FLAG_HEAD: u16 = 2;
/// Bytes before the first record.
pub const HEADER_LEN: usize = 16;
/// The most steps that a plan may have.
pub const MAX_STEPS: u32 = 65_536;

/// A plan that can't be read: truncated, wrong magic, an unknown opcode or a bad field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("malformed plan")
    }
}

impl core::error::Error for Malformed {}

/// One of init's descriptor registers.
///
/// The registers below the plan's number of passed descriptors hold what the library passed; the
/// others are filled by steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Reg(pub u32);

impl Reg {
    /// How many registers init has.
    pub const COUNT: u32 = 1024;
    /// "No descriptor".
    pub const NONE: Self = Self(u32::MAX);
    /// The container's root directory; everything inside is reached from it.
    pub const ROOT: Self = Self(64);
    /// A private, detached procfs of the container's pid namespace.
    pub const PROC: Self = Self(65);
    /// The container's `/dev`.
    pub const DEV: Self = Self(66);
    /// A verified `/dev/null` of the host, to cover masked files.
    pub const NULL: Self = Self(67);
    /// An empty, read-only tmpfs, to cover masked directories: it is where the first of them was.
    pub const EMPTY: Self = Self(68);
    /// The first register that the compiler hands out freely.
    pub const FIRST_FREE: Self = Self(80);
}

/// A list of strings: each ends with a NUL, one after the other.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct StrList<'a>(&'a [u8]);

impl<'a> StrList<'a> {
    /// The empty list.
    pub const EMPTY: Self = Self(&[]);

    /// Takes a blob in which every string ends with a NUL.
    ///
    /// # Errors
    /// [`Malformed`] if the last byte is not a NUL.
    pub fn new(bytes: &'a [u8]) -> Result<Self, Malformed> {
        match bytes.last() {
            None | Some(0) => Ok(Self(bytes)),
            Some(_) => Err(Malformed),
        }
    }

    /// The strings in their order.
    #[must_use]
    pub fn iter(&self) -> StrIter<'a> {
        StrIter(self.0)
    }

    /// True if there is no string.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many strings there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }
}

impl fmt::Debug for StrList<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for &StrList<'a> {
    type Item = &'a CStr;
    type IntoIter = StrIter<'a>;

    fn into_iter(self) -> StrIter<'a> {
        self.iter()
    }
}

/// Iterates over a [`StrList`].
#[derive(Debug, Clone)]
pub struct StrIter<'a>(&'a [u8]);

impl<'a> Iterator for StrIter<'a> {
    type Item = &'a CStr;

    fn next(&mut self) -> Option<&'a CStr> {
        let first = CStr::from_bytes_until_nul(self.0).ok()?;
        self.0 = self.0.get(first.count_bytes() + 1..)?;
        Some(first)
    }
}

/// A field's value, for printing a plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number.
    Int(i128),
    /// A descriptor register.
    Reg(Reg),
    /// A string.
    Str(&'a CStr),
    /// A list of strings.
    List(StrList<'a>),
    /// Binary data: a BPF program, a bit mask, a kernel structure.
    Bytes(&'a [u8]),
}

/// Where an encoded plan goes: a growing buffer. (This crate doesn't allocate.)
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
    /// How many bytes were appended so far.
    fn len(&self) -> usize;
    /// True if nothing was appended.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Overwrites 4 bytes at `offset`.
    fn patch(&mut self, offset: usize, bytes: [u8; 4]);
}

/// A type that can be a step's field.
trait Field<'a>: Sized {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed>;
    fn write(&self, sink: &mut dyn Sink);
    fn value(&self) -> Value<'a>;
}

/// Reads fields out of a record.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Malformed> {
        let (head, tail) = self.0.split_at_checked(n).ok_or(Malformed)?;
        self.0 = tail;
        Ok(head)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        let bytes = self.take(4)?.try_into().map_err(|_| Malformed)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        let bytes = self.take(8)?.try_into().map_err(|_| Malformed)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.u64()?).map_err(|_| Malformed)?;
        let content = self.take(len)?;
        self.take(len.wrapping_neg() % 8)?;
        Ok(content)
    }
}

fn put_bytes(bytes: &[u8], sink: &mut dyn Sink) {
    sink.put(&(bytes.len() as u64).to_le_bytes());
    sink.put(bytes);
    let padding = bytes.len().wrapping_neg() % 8;
    sink.put([0u8; 8].get(..padding).unwrap_or_default());
}

macro_rules! integer_fields {
    ($($t:ty),*) => {$(
        impl<'a> Field<'a> for $t {
            fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
                <$t>::try_from(reader.u64()?.cast_signed()).map_err(|_| Malformed)
            }
            fn write(&self, sink: &mut dyn Sink) {
                sink.put(&i64::from(*self).to_le_bytes());
            }
            fn value(&self) -> Value<'a> {
                Value::Int(i128::from(*self))
            }
        }
    )*};
}
integer_fields!(i64, i32, u32);

impl<'a> Field<'a> for u64 {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.u64()
    }
    fn write(&self, sink: &mut dyn Sink) {
        sink.put(&self.to_le_bytes());
    }
    fn value(&self) -> Value<'a> {
        Value::Int(i128::from(*self))
    }
}

impl<'a> Field<'a> for bool {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        match reader.u64()? {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Malformed),
        }
    }
    fn write(&self, sink: &mut dyn Sink) {
        sink.put(&u64::from(*self).to_le_bytes());
    }
    fn value(&self) -> Value<'a> {
        Value::Int(i128::from(*self))
    }
}

impl<'a> Field<'a> for Reg {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        let reg = Self(u32::read(reader)?);
        if reg.0 < Self::COUNT || reg == Self::NONE { Ok(reg) } else { Err(Malformed) }
    }
    fn write(&self, sink: &mut dyn Sink) {
        self.0.write(sink);
    }
    fn value(&self) -> Value<'a> {
        Value::Reg(*self)
    }
}

impl<'a> Field<'a> for &'a CStr {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        CStr::from_bytes_with_nul(reader.bytes()?).map_err(|_| Malformed)
    }
    fn write(&self, sink: &mut dyn Sink) {
        put_bytes(self.to_bytes_with_nul(), sink);
    }
    fn value(&self) -> Value<'a> {
        Value::Str(self)
    }
}

impl<'a> Field<'a> for &'a [u8] {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        reader.bytes()
    }
    fn write(&self, sink: &mut dyn Sink) {
        put_bytes(self, sink);
    }
    fn value(&self) -> Value<'a> {
        Value::Bytes(self)
    }
}

impl<'a> Field<'a> for StrList<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, Malformed> {
        Self::new(reader.bytes()?)
    }
    fn write(&self, sink: &mut dyn Sink) {
        put_bytes(self.0, sink);
    }
    fn value(&self) -> Value<'a> {
        Value::List(*self)
    }
}

macro_rules! steps {
    ($(
        $(#[$doc:meta])*
        $code:literal $name:ident $text:literal { $( $(#[$fdoc:meta])* $field:ident: $type:ty, )* }
    )*) => {
        /// What init can do. Each step is one record of the plan.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[non_exhaustive]
        #[allow(missing_docs, reason = "a step's text describes its fields")]
        pub enum Step<'a> {
            $( $(#[$doc])* $name { $( $(#[$fdoc])* $field: $type, )* }, )*
        }

        impl<'a> Step<'a> {
            /// The step's name, as errors, timings and `hoist plan` show it.
            #[must_use]
            pub fn name(&self) -> &'static str {
                match self { $( Self::$name { .. } => $text, )* }
            }

            /// The step's number in the wire format.
            #[must_use]
            pub fn code(&self) -> u32 {
                match self { $( Self::$name { .. } => $code, )* }
            }

            /// The name of the step with this number.
            #[must_use]
            pub fn name_of(code: u32) -> Option<&'static str> {
                match code { $( $code => Some($text), )* _ => None }
            }

            fn read(opcode: u32, fields: &'a [u8]) -> Result<Self, Malformed> {
                let mut reader = Reader(fields);
                let step = match opcode {
                    $( $code => Self::$name { $( $field: Field::read(&mut reader)?, )* }, )*
                    _ => return Err(Malformed),
                };
                if reader.0.is_empty() { Ok(step) } else { Err(Malformed) }
            }

            fn write(&self, sink: &mut dyn Sink) {
                match self {
                    $( Self::$name { $( $field, )* } => {
                        $( Field::write($field, sink); )*
                        let _ = sink;
                    } )*
                }
            }

            /// Calls `visit` with the name and the value of each field.
            pub fn fields(&self, visit: &mut dyn FnMut(&'static str, Value<'a>)) {
                match self {
                    $( Self::$name { $( $field, )* } => {
                        $( visit(stringify!($field), Field::value($field)); )*
                        let _ = visit;
                    } )*
                }
            }
        }
    };
}

steps! {
    /// Joins the namespaces in `flags` (CLONE_NEW*) of the process behind a pidfd, setns(2).
    1 JoinProcess "join-process" { pidfd: Reg, flags: u64, }
    /// Opens a namespace file of the host for a later [`Step::JoinNamespace`].
    2 OpenNamespace "open-namespace" { path: &'a CStr, out: Reg, }
    /// Joins one namespace; the kernel checks that it is of the kind `flag`, setns(2).
    3 JoinNamespace "join-namespace" { fd: Reg, flag: u64, }
    /// A new time namespace for the children, with offsets (seconds, nanoseconds) written before
    /// anything is in it, time_namespaces(7).
    4 UnshareTime "unshare-time" {
        monotonic_sec: i64, monotonic_nsec: i64, boottime_sec: i64, boottime_nsec: i64,
        /// "monotonic S NS\nboottime S NS\n", ready to be written.
        offsets: &'a CStr,
    }
    /// Writes `0` to a v1 cgroup's `tasks`: the process attaches itself, which skips the kernel's
    /// global semaphore and its RCU grace period.
    5 AttachCgroup "attach-cgroup" { tasks: Reg, }
    /// Limits the capabilities to what the joining process still needs before it becomes visible
    /// to processes of the container: bounding, permitted and effective sets.
    6 LimitCapabilities "limit-capabilities" { keep: u64, last_cap: u32, }
    /// clone3(2) with CLONE_PARENT: inner goes on with the next step, outer reports its pid and
    /// pidfd and exits. `cgroup` is a v2 cgroup directory for CLONE_INTO_CGROUP.
    7 CloneInner "clone" { flags: u64, cgroup: Reg, }
    /// Tells the library to do its part and waits for its go-ahead; see [`crate::page::Sync`].
    8 Sync "wait-for-runtime" { point: u32, }
    /// Becomes user 0 and group 0 of the new user namespace, whose maps are written.
    9 BecomeRoot "become-root" { setgroups: bool, }
    /// A session of its own, setsid(2).
    10 NewSession "new-session" {}
    /// A session keyring of its own, keyctl_join_session_keyring(3).
    11 NewKeyring "new-keyring" { name: &'a CStr, }
    /// Undoes what the calling thread would hand down: signal dispositions, affinity, nice,
    /// scheduler, I/O priority, memory policy, timer slack, transparent huge pages, personality,
    /// securebits and the parent-death signal.
    12 ResetInherited "reset-inherited" {}
    /// New namespaces that the caller's user namespace owns, unshare(2): outer makes them while the
    /// library still makes the cgroup, and inner is born in them.
    13 Unshare "unshare" { flags: u64, }
    /// The last step of a plan's first part. Waits for what the library makes after it has started
    /// outer: the rest of the plan, and what it passes into the first registers, like the cgroup.
    14 TakeRest "take-rest" {}
    /// Tells the library that inner is in all its namespaces, and goes on: the library records and
    /// starts the container while it is built.
    15 Announce "announce" {}
    /// Sets mount propagation of `/`, recursively; mount_setattr(2).
    20 Propagation "propagation" { flags: u64, recursive: bool, }
    /// Binds the root filesystem onto itself and opens it as [`Reg::ROOT`].
    21 BindRoot "bind-root" {
        path: &'a CStr, recursive: bool,
        /// Propagation of the root's parent mount must not be shared for pivot_root(2).
        private_parent: bool,
    }
    /// Opens the root filesystem as [`Reg::ROOT`] where no mount namespace is wanted.
    22 OpenRoot "open-root" { path: &'a CStr, }
    /// A detached procfs of this pid namespace as [`Reg::PROC`]; or, where the kernel refuses a
    /// fresh one, the checked procfs at `/proc`.
    23 OpenProc "open-proc" {}
    /// Mounts a filesystem at a path inside the root.
    24 MountFilesystem "mount-filesystem" {
        fstype: &'a CStr, source: &'a CStr, destination: &'a CStr,
        /// fsconfig(2) parameters: `key=value` or `key`.
        options: StrList<'a>,
        attributes: u64, propagation: u64,
        /// Copy what the destination holds into the new filesystem (`tmpcopyup`).
        copy_up: bool,
        /// Bind the host's own mount of this kind if the kernel refuses a fresh one: a path.
        fallback: &'a CStr,
        /// Bits that were asked for with the recursive options, set and cleared.
        set_recursive: u64, clear_recursive: u64,
        /// Keep the mount's directory in this register.
        out: Reg,
        /// The parent's notion of mount(2) flags for options that fsconfig(2) doesn't take.
        flags: u64,
        /// A mount that an earlier step kept and the destination is right in, or [`Reg::NONE`].
        parent: Reg,
    }
    /// Binds a host file or directory, or what [`Step::OpenTree`] opened, at a path inside the
    /// root.
    25 BindMount "bind-mount" {
        source: &'a CStr,
        /// The opened tree, or [`Reg::NONE`]: then `source` is opened now.
        tree: Reg,
        destination: &'a CStr, recursive: bool,
        set: u64, clear: u64,
        /// Cleared too, though nobody named them: what the kernel has locked of them stays.
        reset: u64,
        /// Fail where this would change what the kernel locks in a user namespace.
        locked: bool,
        set_recursive: u64, clear_recursive: u64, propagation: u64,
        /// Keep the mount in this register.
        out: Reg,
        /// A mount that an earlier step kept and the destination is right in, or [`Reg::NONE`].
        parent: Reg,
    }
    /// Clones a host mount into a register, before the user namespace is entered:
    /// open_tree(2); and gives it an id mapping, mount_setattr(2). The clone is made among the
    /// host's mounts, so it would be a peer of what it is cloned from: `propagation` ends that.
    26 OpenTree "open-tree" {
        source: &'a CStr,
        /// The source is a path inside the root: what earlier steps have mounted there.
        inside: bool,
        out: Reg, recursive: bool, idmap: Reg, idmap_recursive: bool, propagation: u64,
    }
    /// Makes a filesystem mount for an id mapping before the user namespace is entered; it is put
    /// in place with [`Step::BindMount`].
    27 CreateMount "create-mount" {
        fstype: &'a CStr, source: &'a CStr, options: StrList<'a>, attributes: u64, out: Reg,
        idmap: Reg,
    }
    /// Makes a directory inside the root, with its parents, mode 0755.
    28 MakeDirectory "make-directory" { path: &'a CStr, }
    /// Opens a directory inside the root.
    29 OpenDirectory "open-directory" { path: &'a CStr, out: Reg, }
    /// A device node in an open directory; mknodat(2), then mode and owner.
    30 MakeDevice "make-device" {
        directory: Reg, path: &'a CStr, mode: u32, major: u32, minor: u32, uid: u32, gid: u32,
    }
    /// Binds a device of the host in an open directory, where mknod(2) is not allowed.
    31 BindDevice "bind-device" { directory: Reg, path: &'a CStr, source: &'a CStr, tree: Reg, }
    /// A symbolic link in an open directory, unless the name exists; `replace` removes it first.
    32 MakeSymlink "make-symlink" {
        directory: Reg, name: &'a CStr, target: &'a CStr, replace: bool,
    }
    /// Gets what masked paths are covered with: the host's `/dev/null`, opened and checked, and for
    /// the first directory an empty read-only tmpfs with this label.
    33 OpenMasks "open-masks" { label: &'a CStr, }
    /// Covers a path inside the root, or inside the mount in `within`, if it exists: a file by
    /// `/dev/null`, a directory by an empty one.
    34 MaskPath "mask-path" { path: &'a CStr, within: Reg, }
    /// Makes a path inside the root, or inside the mount in `within`, read-only, if it exists, with
    /// all mounts below.
    35 ReadonlyPath "readonly-path" { path: &'a CStr, within: Reg, }
    /// A cgroup namespace whose root is the container's own cgroup, cgroup_namespaces(7).
    36 UnshareCgroup "unshare-cgroup" {}
    /// Makes [`Reg::ROOT`] the root: pivot_root(2) with the old root detached.
    37 PivotRoot "pivot-root" {}
    /// Makes [`Reg::ROOT`] the root without pivot_root(2): moves it over `/`, then chroot(2).
    38 MoveRoot "move-root" {}
    /// chroot(2) alone, where there is no mount namespace of the container's own.
    39 Chroot "chroot" {}
    /// Sets attributes and propagation of the root mount.
    40 SetRoot "set-root" { attributes: u64, propagation: u64, }
    /// Brings the loopback interface up; netdevice(7).
    41 LoopbackUp "loopback-up" {}
    /// sethostname(2).
    42 Hostname "hostname" { name: &'a CStr, }
    /// setdomainname(2).
    43 Domainname "domainname" { name: &'a CStr, }
    /// Writes a kernel parameter through [`Reg::PROC`].
    44 Sysctl "sysctl" { path: &'a CStr, value: &'a CStr, }
    /// setrlimit(2).
    45 Rlimit "rlimit" { resource: u32, soft: u64, hard: u64, }
    /// sched_setattr(2) with the kernel's structure.
    46 Scheduler "scheduler" { attributes: &'a [u8], }
    /// ioprio_set(2).
    47 IoPriority "io-priority" { value: u32, }
    /// sched_setaffinity(2) with the kernel's mask.
    48 Affinity "cpu-affinity" { mask: &'a [u8], }
    /// set_mempolicy(2).
    49 MemoryPolicy "memory-policy" { mode: u32, nodes: &'a [u8], bits: u64, }
    /// personality(2).
    50 Personality "personality" { value: u64, }
    /// A pseudo-terminal of the container's own devpts: its master goes to the console socket,
    /// its slave becomes descriptors 0 to 2, the controlling terminal, unless that comes `later`,
    /// and, if wanted, `/dev/console`.
    51 Console "console" { socket: Reg, rows: u32, columns: u32, uid: u32, mount: bool, later: bool, }
    /// Gives descriptors 0 to 2 to the user.
    52 ChownStdio "chown-stdio" { uid: u32, }
    /// prctl(PR_SET_NO_NEW_PRIVS).
    53 NoNewPrivileges "no-new-privileges" {}
    /// Writes the label that the next execve gets: `attr` is the file below `/proc/self/attr`.
    54 ExecLabel "exec-label" { attr: &'a CStr, fallback: &'a CStr, label: &'a CStr, }
    /// umask(2).
    55 Umask "umask" { mask: u32, }
    /// Drops every capability outside `keep` from the bounding set, capabilities(7).
    56 BoundingSet "bounding-set" { keep: u64, last_cap: u32, }
    /// setgroups(2), setgid(2), setuid(2), keeping the permitted capabilities until
    /// [`Step::Capabilities`].
    57 User "user" { uid: u32, gid: u32, groups: &'a [u8], set_groups: bool, }
    /// The five capability sets' other four; capset(2) and prctl(PR_CAP_AMBIENT). What can't be
    /// granted is left out and reported. `filter` keeps CAP_SYS_ADMIN permitted and effective
    /// until the seccomp filter is loaded; execve(2) takes it away.
    58 Capabilities "capabilities" {
        effective: u64, permitted: u64, inheritable: u64, ambient: u64, filter: bool,
    }
    /// Changes to the working directory and checks that it is inside the root: getcwd(2),
    /// CVE-2024-21626. It is tried as the container's root; where that is not permitted, again
    /// as the user (`last`).
    59 WorkingDirectory "working-directory" { path: &'a CStr, last: bool, }
    /// Looks HOME up in the container's `/etc/passwd` for a process that has none.
    60 LookupHome "lookup-home" { uid: u32, }
    /// Finds the program as execvp(3) would, as the user.
    61 FindProgram "find-program" { name: &'a CStr, path: &'a CStr, }
    /// The created state: waits for the commit, then for `start`.
    62 AwaitStart "await-start" {
        listener: Reg,
        /// Wait at [`crate::page::Sync::Start`] for the startContainer hooks.
        hooks: bool,
        /// The answer is to [`Step::Announce`] and may be there already.
        announced: bool,
    }
    /// Closes every descriptor from `first` on at execve.
    63 CloseFrom "close-descriptors" { first: u32, }
    /// Loads the filter, seccomp(2). After this step only execve(2) is called.
    64 Seccomp "seccomp" { flags: u64, program: &'a [u8], notify: bool, }
    /// execve(2) of what [`Step::FindProgram`] found.
    65 Execute "execute" {}
    /// Drops the ability to be traced and to dump core until execve(2).
    66 NotDumpable "not-dumpable" {}
    /// Gets everything that execve(2) needs ready, so that nothing but it is left to call.
    67 PrepareExecute "prepare-execute" { arguments: StrList<'a>, environment: StrList<'a>, }
    /// Changes attributes and propagation of a mount that an earlier step kept.
    68 SetMount "set-mount" { mount: Reg, set: u64, propagation: u64, }
    /// Raises a hard limit if it is lower, with the caller's privileges: prlimit(2). In a user
    /// namespace nobody may.
    69 RaiseLimit "raise-limit" { resource: u32, hard: u64, }
    /// Opens the container's `/dev/null` in place of the host's where descriptors 0 to 2 are
    /// that: the process could change the mode of the host's file through them.
    70 ReopenNull "reopen-null" {}
    /// Lets the caller's other processes reach this one's files in `/proc` again: init's own
    /// executable, which nobody may read, has made them root's.
    72 Dumpable "dumpable" {}
    /// The library gives a tree that inner has opened an id mapping, which takes privileges over
    /// the filesystem: mount_setattr(2). `map` is where the library has passed the mapping.
    73 MapIds "map-ids" { tree: Reg, map: Reg, recursive: bool, }
    /// clone(2) with CLONE_PARENT, when nothing is left that isn't the program's: who goes on is the
    /// first that the container's processes see, in a session of its own, and takes the terminal;
    /// inner reports its pid and pidfd and exits. The filter is loaded, and has to permit this. What
    /// that took is dropped.
    74 CloneLast "clone-last" { drop: u64, terminal: bool, }
    /// Closes every descriptor of the host's but `keep`, before any path that the image decides is
    /// followed: `/proc/self/fd/N` would lead out through them (CVE-2024-21626).
    71 CloseHost "close-host-descriptors" { keep: Reg, }
}

/// A plan that is being written.
#[derive(Debug)]
pub struct Encoder<S: Sink> {
    sink: S,
    steps: u32,
}

impl<S: Sink> Encoder<S> {
    /// Starts a plan in an empty sink.
    pub fn new(mut sink: S, flags: u16) -> Self {
        sink.put(&MAGIC.to_le_bytes());
        sink.put(&VERSION.to_le_bytes());
        sink.put(&flags.to_le_bytes());
        sink.put(&[0; 8]);
        Self { sink, steps: 0 }
    }

    /// Appends a step and returns its index.
    pub fn push(&mut self, step: &Step<'_>) -> u32 {
        self.sink.put(&step.code().to_le_bytes());
        let length_at = self.sink.len();
        self.sink.put(&[0; 4]);
        let start = self.sink.len();
        step.write(&mut self.sink);
        let length = u32::try_from(self.sink.len() - start).unwrap_or(u32::MAX);
        self.sink.patch(length_at, length.to_le_bytes());
        self.steps += 1;
        self.steps - 1
    }

    /// How many steps there are.
    #[must_use]
    pub fn steps(&self) -> u32 {
        self.steps
    }

    /// Finishes the plan.
    pub fn finish(mut self) -> S {
        self.sink.patch(8, self.steps.to_le_bytes());
        self.sink
    }
}

/// A plan that is being read.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    flags: u16,
    steps: u32,
    records: &'a [u8],
}

impl<'a> Plan<'a> {
    /// Checks the header.
    ///
    /// # Errors
    /// [`Malformed`] if it is none of ours.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let magic = reader.u32()?;
        let version_and_flags = reader.u32()?;
        let steps = reader.u32()?;
        let zero = reader.u32()?;
        let version = version_and_flags & 0xffff;
        if magic != MAGIC || version != u32::from(VERSION) || zero != 0 || steps > MAX_STEPS {
            return Err(Malformed);
        }
        let flags = u16::try_from(version_and_flags >> 16).map_err(|_| Malformed)?;
        Ok(Self { flags, steps, records: reader.0 })
    }

    /// True if the time of each step is wanted.
    #[must_use]
    pub fn timings(&self) -> bool {
        self.flags & FLAG_TIMINGS != 0
    }

    /// True if this is the first part of a plan.
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.flags & FLAG_HEAD != 0
    }

    /// How many steps the header promises.
    #[must_use]
    pub fn step_count(&self) -> u32 {
        self.steps
    }

    /// The steps in their order; ends after the first that is malformed.
    #[must_use]
    pub fn steps(&self) -> Steps<'a> {
        Steps { left: self.steps, records: self.records }
    }
}

/// Iterates over a plan's steps.
#[derive(Debug, Clone)]
pub struct Steps<'a> {
    left: u32,
    records: &'a [u8],
}

impl<'a> Steps<'a> {
    /// How many bytes come after the steps that were read.
    #[must_use]
    pub fn rest(&self) -> usize {
        self.records.len()
    }

    fn read(&mut self) -> Result<Step<'a>, Malformed> {
        let mut reader = Reader(self.records);
        let opcode = reader.u32()?;
        let length = usize::try_from(reader.u32()?).map_err(|_| Malformed)?;
        if length % 8 != 0 {
            return Err(Malformed);
        }
        let fields = reader.take(length)?;
        self.records = reader.0;
        Step::read(opcode, fields)
    }
}

impl<'a> Iterator for Steps<'a> {
    type Item = Result<Step<'a>, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        self.left = self.left.checked_sub(1)?;
        let step = self.read();
        if step.is_err() {
            self.left = 0;
        }
        Some(step)
    }
}
