//! The kernel's own verdict. A filter can't be taken off again, so a child process loads it: this
//! test program started anew, for the one test that is ignored otherwise.

use std::process::Command;

use rustix::io::Errno;

use crate::seccomp::compile;

const CHILD: &str = "seccomp::tests::kernel::child";

/// The errno of a system call, 0 for success.
fn call(number: i64, args: [u64; 2]) -> i32 {
    // SAFETY: only calls that take numbers, or fail.
    match unsafe { libc::syscall(number, args[0], args[1]) } {
        -1 => std::io::Error::last_os_error().raw_os_error().unwrap(),
        _ => 0,
    }
}

fn load(program: &[u8], flags: u32) {
    let program = libc::sock_fprog {
        len: u16::try_from(program.len() / 8).unwrap(),
        // The kernel copies the instructions and wants no alignment of them.
        filter: program.as_ptr().cast_mut().cast(),
    };
    rustix::thread::set_no_new_privs(true).unwrap();
    // SAFETY: `program` points to `len` instructions, which the kernel only reads.
    let result = unsafe {
        libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, flags, &raw const program)
    };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}

#[test]
#[cfg(target_arch = "x86_64")]
fn the_kernel_takes_dockers_filter() {
    let test = std::env::current_exe().unwrap();
    let output =
        Command::new(test).args(["--exact", CHILD, "--ignored", "--nocapture"]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(text.contains("1 passed"), "{output:?}");
    println!("{text}");
}

#[test]
#[cfg(target_arch = "x86_64")]
#[ignore = "loads a filter: started by the test above"]
fn child() {
    let filter = compile(&super::docker()).unwrap();
    let start = std::time::Instant::now();
    load(filter.program_bytes(), filter.flags());
    println!("loaded in {:?}", start.elapsed());
    assert_eq!(call(libc::SYS_getpid, [0, 0]), 0);
    assert_eq!(call(libc::SYS_personality, [0xffff_ffff, 0]), 0);
    assert_eq!(call(libc::SYS_personality, [0x1234, 0]), Errno::PERM.raw_os_error());
    assert_eq!(call(libc::SYS_personality, [1 << 32, 0]), Errno::PERM.raw_os_error());
    assert_eq!(call(libc::SYS_unshare, [0x2000_0000, 0]), Errno::PERM.raw_os_error());
    assert_eq!(call(libc::SYS_clone3, [0, 0]), Errno::NOSYS.raw_os_error());
    assert_eq!(call(libc::SYS_socket, [40, 1]), Errno::PERM.raw_os_error());
    assert_eq!(call(4000, [0, 0]), Errno::NOSYS.raw_os_error());
}
