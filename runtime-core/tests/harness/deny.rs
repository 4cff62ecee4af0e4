//! A kernel that lacks a system call, for the calling thread and all that it starts: a seccomp
//! filter answers ENOSYS.

use std::io;

/// The filter stays until the thread ends.
pub(crate) fn deny(calls: &[i64]) -> io::Result<()> {
    const LOAD_NUMBER: u16 = 0x20; // BPF_LD | BPF_W | BPF_ABS, at offset 0: the number
    const JUMP_EQUAL: u16 = 0x15; // BPF_JMP | BPF_JEQ | BPF_K
    const RETURN: u16 = 0x06; // BPF_RET | BPF_K
    let one = |code, k, jf| libc::sock_filter { code, jt: 0, jf, k };
    let mut program = vec![one(LOAD_NUMBER, 0, 0)];
    for call in calls {
        program.push(one(JUMP_EQUAL, u32::try_from(*call).expect("a number"), 1));
        program.push(one(RETURN, libc::SECCOMP_RET_ERRNO | libc::ENOSYS.cast_unsigned(), 0));
    }
    program.push(one(RETURN, libc::SECCOMP_RET_ALLOW, 0));
    let filter = libc::sock_fprog {
        len: u16::try_from(program.len()).expect("short"),
        filter: program.as_mut_ptr(),
    };
    // SAFETY: `filter` describes `program`, which lives until the call has returned.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter) }
    {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
