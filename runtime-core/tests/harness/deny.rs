//! A kernel that lacks system calls, for the calling thread and all that it starts: a seccomp filter
//! answers ENOSYS, or the EPERM of older container profiles. The conformance runner has this file, too.
#![allow(dead_code, reason = "each of its users takes a part")]

use std::io;

/// A system call that a host may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) name: &'static str,
    number: i64,
    /// The Linux version that brought it, syscalls(2).
    pub(crate) since: &'static str,
    /// hoist makes no container without it (decision 0007).
    pub(crate) required: bool,
}

const fn required(name: &'static str, number: i64, since: &'static str) -> Call {
    Call { name, number, since, required: true }
}

pub(crate) const CALLS: &[Call] = &[
    required("clone3", libc::SYS_clone3, "5.3"),
    required("openat2", libc::SYS_openat2, "5.6"),
    required("open_tree", libc::SYS_open_tree, "5.2"),
    required("fsopen", libc::SYS_fsopen, "5.2"),
    required("fsconfig", libc::SYS_fsconfig, "5.2"),
    required("fsmount", libc::SYS_fsmount, "5.2"),
    required("move_mount", libc::SYS_move_mount, "5.2"),
    required("mount_setattr", libc::SYS_mount_setattr, "5.12"),
    required("close_range", libc::SYS_close_range, "5.9"),
    required("faccessat2", libc::SYS_faccessat2, "5.8"),
    required("memfd_create", libc::SYS_memfd_create, "3.17"),
    required("pidfd_open", libc::SYS_pidfd_open, "5.3"),
    required("pidfd_send_signal", libc::SYS_pidfd_send_signal, "5.1"),
    // Only for what a few ask for: seccomp's notifications, and descriptors passed to the command.
    Call { name: "pidfd_getfd", number: libc::SYS_pidfd_getfd, since: "5.6", required: false },
];

/// The mount API that came as one with Linux 5.2.
const MOUNT_API: [&str; 5] = ["open_tree", "fsopen", "fsconfig", "fsmount", "move_mount"];

impl Call {
    /// How an error names the call.
    pub(crate) fn text(&self) -> String {
        format!("{} (Linux {})", self.name, self.since)
    }
}

/// The calls of a list such as `clone3,openat2`; `mount-api` and `all` stand for several.
pub(crate) fn named(list: &str) -> Result<Vec<Call>, String> {
    let of = |name: &str| -> Result<Vec<Call>, String> {
        let wanted = |call: &&Call| match name {
            "all" => true,
            "mount-api" => MOUNT_API.contains(&call.name),
            name => call.name == name,
        };
        let found: Vec<Call> = CALLS.iter().filter(wanted).copied().collect();
        match found.is_empty() {
            true => {
                let known: Vec<&str> = CALLS.iter().map(|call| call.name).collect();
                Err(format!("{name:?} is none of {}, mount-api, all", known.join(", ")))
            }
            false => Ok(found),
        }
    };
    Ok(list.split(',').map(of).collect::<Result<Vec<_>, _>>()?.concat())
}

/// Has these calls fail with `errno`. The filter stays until the thread ends, and is inherited by
/// what it starts.
pub(crate) fn deny(calls: &[Call], errno: i32) -> io::Result<()> {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, at offset 0: the number
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let one = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut program = vec![one(LOAD_NUMBER, 0, 0)];
    for call in calls {
        let number = u32::try_from(call.number).map_err(io::Error::other)?;
        program.push(one(JUMP_EQUAL, number, 1));
        program.push(one(RETURN, libc::SECCOMP_RET_ERRNO | errno.cast_unsigned(), 0));
    }
    program.push(one(RETURN, libc::SECCOMP_RET_ALLOW, 0));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).map_err(io::Error::other)?,
        filter: program.as_mut_ptr(),
    };
    // Without no_new_privs, which would change what a container can do: so it takes CAP_SYS_ADMIN.
    // SAFETY: `filter` describes `program`, which lives until the call has returned.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }
    {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
