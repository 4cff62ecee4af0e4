//! bpf(2), as far as a cgroup's device filter needs it: loading programs of the type
//! `BPF_PROG_TYPE_CGROUP_DEVICE`, and attaching them to a cgroup.
//!
//! Every descriptor that bpf(2) returns is close-on-exec.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::Errno;

// enum bpf_cmd, bpf_prog_type, bpf_attach_type and flags of <linux/bpf.h>.
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 1 << 1;
const BPF_F_REPLACE: u32 = 1 << 2;

/// How often a load is tried again that a signal to this thread interrupted.
const LOAD_TRIES: u32 = 32;
/// BPF_CGROUP_MAX_PROGS: no cgroup has more programs of one type.
const PROGRAMS_MAX: usize = 64;

/// `struct bpf_insn`: one instruction.
#[repr(C)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Insn {
    /// Class, operation, size and kind of source.
    pub(crate) code: u8,
    registers: u8,
    /// What is added to an address, or to the program counter by a jump.
    pub(crate) offset: i16,
    /// The immediate operand.
    pub(crate) immediate: i32,
}

impl Insn {
    pub(crate) const fn new(code: u8, dst: u8, src: u8, offset: i16, immediate: i32) -> Self {
        // Two bit-fields of four bits, which C lays out by the machine's endianness.
        let registers =
            if cfg!(target_endian = "little") { src << 4 | dst } else { dst << 4 | src };
        Self { code, registers, offset, immediate }
    }

    /// The destination register and the source register.
    #[cfg(any(test, feature = "fuzz"))]
    pub(crate) const fn registers(self) -> (u8, u8) {
        let (low, high) = (self.registers & 0xf, self.registers >> 4);
        if cfg!(target_endian = "little") { (low, high) } else { (high, low) }
    }
}

/// What BPF_PROG_LOAD reads of `union bpf_attr`; the kernel takes what follows as zero.
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
}

/// What BPF_PROG_ATTACH and BPF_PROG_DETACH read.
#[repr(C)]
struct Attach {
    target_fd: RawFd,
    attach_bpf_fd: RawFd,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: RawFd,
}

/// What BPF_PROG_QUERY reads and writes. It is laid out up to `revision`, though nothing after
/// `prog_cnt` is used, because Linux 6.17 and later write that field whatever size was passed.
#[repr(C)]
#[derive(Default)]
struct Query {
    target_fd: RawFd,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

/// Makes the system call; returns what it returns, which may be a descriptor.
///
/// # Safety
/// `attr` has to be of the layout that the command reads and writes, and each address in it has
/// to be valid for what the command does with it.
unsafe fn bpf<T>(command: libc::c_int, attr: &mut T) -> Result<RawFd, Errno> {
    // SAFETY: `attr` is exclusively borrowed and its own size is passed; the rest is the
    // caller's promise.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, &raw mut *attr, size_of::<T>()) };
    match RawFd::try_from(result) {
        Ok(value) if value >= 0 => Ok(value),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// Loads a device filter: BPF_PROG_LOAD.
///
/// Before Linux 5.11 a program counts against RLIMIT_MEMLOCK, and the load can fail with EPERM
/// for that alone.
pub(crate) fn load_device_program(program: &[Insn]) -> Result<OwnedFd, Errno> {
    let mut attr = Load {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: u32::try_from(program.len()).map_err(|_| Errno::TOOBIG)?,
        insns: address(program.as_ptr()),
        // It matters only to programs that call the kernel's GPL-only helpers.
        license: address(c"Apache-2.0".as_ptr()),
    };
    for _ in 0..LOAD_TRIES {
        // SAFETY: `insns` points to `insn_cnt` instructions, `license` to a C string; both are
        // only read, and live until the call is over.
        match unsafe { bpf(BPF_PROG_LOAD, &mut attr) } {
            // SAFETY: a new descriptor that nobody else knows.
            Ok(fd) => return Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
            Err(Errno::AGAIN) => {}
            Err(errno) => return Err(errno),
        }
    }
    Err(Errno::AGAIN)
}

/// Attaches a device filter to a cgroup: BPF_PROG_ATTACH. With `replace`, which has to be
/// attached there, the one takes the other's place in one step (Linux 5.6).
///
/// With BPF_F_ALLOW_MULTI the programs of all ancestors, and others on this cgroup, stay in
/// force: a device is accessible if all of them say so.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
    replace: Option<BorrowedFd<'_>>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: BPF_F_ALLOW_MULTI | replace.map_or(0, |_| BPF_F_REPLACE),
        replace_bpf_fd: replace.map_or(0, |fd| fd.as_raw_fd()),
    };
    // SAFETY: the attribute has no addresses, only descriptors that are open during the call.
    unsafe { bpf(BPF_PROG_ATTACH, &mut attr) }.map(drop)
}

/// Takes a device filter off a cgroup: BPF_PROG_DETACH.
pub(crate) fn detach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mut attr = Attach {
        target_fd: cgroup.as_raw_fd(),
        attach_bpf_fd: program.as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: 0,
        replace_bpf_fd: 0,
    };
    // SAFETY: the attribute has no addresses, only descriptors that are open during the call.
    unsafe { bpf(BPF_PROG_DETACH, &mut attr) }.map(drop)
}

/// The device filters attached to this very cgroup: BPF_PROG_QUERY, then BPF_PROG_GET_FD_BY_ID.
///
/// Programs that a security module keeps from us are left out. They can only restrict further.
pub(crate) fn device_programs(cgroup: BorrowedFd<'_>) -> Result<Vec<OwnedFd>, Errno> {
    let mut ids = [0_u32; PROGRAMS_MAX];
    let mut attr = Query {
        target_fd: cgroup.as_fd().as_raw_fd(),
        attach_type: BPF_CGROUP_DEVICE,
        prog_ids: address(ids.as_mut_ptr()),
        prog_cnt: u32::try_from(ids.len()).unwrap_or(u32::MAX),
        ..Query::default()
    };
    // SAFETY: `prog_ids` points to an array of `prog_cnt` numbers that nothing else borrows.
    unsafe { bpf(BPF_PROG_QUERY, &mut attr) }?;
    let count = usize::try_from(attr.prog_cnt).unwrap_or(0);
    let mut programs = Vec::new();
    for id in ids.iter().take(count) {
        // `union bpf_attr` begins with the id here.
        let mut attr = *id;
        // SAFETY: the attribute has no addresses.
        match unsafe { bpf(BPF_PROG_GET_FD_BY_ID, &mut attr) } {
            // SAFETY: a new descriptor that nobody else knows.
            Ok(fd) => programs.push(unsafe { OwnedFd::from_raw_fd(fd) }),
            // ENOENT: taken off meanwhile.
            Err(Errno::PERM | Errno::ACCESS | Errno::NOENT) => {}
            Err(errno) => return Err(errno),
        }
    }
    Ok(programs)
}

/// An address as the kernel's structures hold it, `__aligned_u64`.
fn address<T>(pointer: *const T) -> u64 {
    pointer.expose_provenance() as u64
}
