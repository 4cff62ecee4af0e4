//! System calls that hoist can't do without and that a host may lack all the same, because its
//! kernel is too old or a seccomp filter around hoist doesn't know them.
//!
//! They are asked for before anything is touched: each is called with arguments that no kernel
//! takes, all bits set, which it refuses (EINVAL, E2BIG, EBADF) where it is there.

use rustix::io::Errno;

use super::last_errno;
use crate::error::{Error, ErrorKind, Result};

/// A system call of syscalls(2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    name: &'static str,
    number: libc::c_long,
    /// The Linux version that brought it.
    since: &'static str,
    /// The kernel itself answers EPERM before it looks at the arguments (may_mount()).
    privileged: bool,
}

const fn call(name: &'static str, number: libc::c_long, since: &'static str) -> Call {
    Call { name, number, since, privileged: false }
}

const fn mount_call(name: &'static str, number: libc::c_long) -> Call {
    Call { name, number, since: "5.2", privileged: true }
}

pub(crate) const MEMFD_CREATE: Call = call("memfd_create", libc::SYS_memfd_create, "3.17");
pub(crate) const OPENAT2: Call = call("openat2", libc::SYS_openat2, "5.6");
pub(crate) const PIDFD_GETFD: Call = call("pidfd_getfd", libc::SYS_pidfd_getfd, "5.6");
pub(crate) const PIDFD_OPEN: Call = call("pidfd_open", libc::SYS_pidfd_open, "5.3");
pub(crate) const PIDFD_SEND_SIGNAL: Call =
    call("pidfd_send_signal", libc::SYS_pidfd_send_signal, "5.1");

/// What every container takes; see decision 0007.
pub(crate) const EVERY_CONTAINER: &[Call] = &[
    call("clone3", libc::SYS_clone3, "5.3"),
    OPENAT2,
    call("open_tree", libc::SYS_open_tree, "5.2"),
    mount_call("fsopen", libc::SYS_fsopen),
    call("fsconfig", libc::SYS_fsconfig, "5.2"),
    mount_call("fsmount", libc::SYS_fsmount),
    mount_call("move_mount", libc::SYS_move_mount),
    call("mount_setattr", libc::SYS_mount_setattr, "5.12"),
    call("close_range", libc::SYS_close_range, "5.9"),
    call("faccessat2", libc::SYS_faccessat2, "5.8"),
    MEMFD_CREATE,
    PIDFD_OPEN,
    PIDFD_SEND_SIGNAL,
];

/// What to do where one is missing.
pub(crate) const HINT: &str =
    "hoist needs Linux 5.12 or later, and no seccomp filter around it that refuses these calls";

impl Call {
    /// The errno that says that it isn't there: ENOSYS, or the EPERM of older seccomp profiles.
    pub(crate) fn missing(self) -> Option<Errno> {
        // SAFETY: none of the calls takes these arguments. There is no such descriptor or size,
        // all have bits in their flags that don't exist, and no pointer can be followed.
        let result = unsafe { libc::syscall(self.number, -1_i64, -1_i64, -1_i64, -1_i64, -1_i64) };
        match last_errno() {
            errno @ Errno::NOSYS if result < 0 => Some(errno),
            errno @ Errno::PERM if result < 0 && !self.privileged => Some(errno),
            _ => None,
        }
    }

    /// `openat2 (Linux 5.6)`
    pub(crate) fn text(self) -> String {
        format!("{} (Linux {})", self.name, self.since)
    }
}

/// That these calls are there.
///
/// # Errors
/// [`ErrorKind::Unsupported`], which names all that are missing.
pub(crate) fn check(calls: &[Call]) -> Result<()> {
    let missing = |call: &Call| call.missing().map(|errno| (*call, errno));
    let Some((_, errno)) = calls.iter().find_map(missing) else { return Ok(()) };
    let names: Vec<String> = calls
        .iter()
        .filter_map(missing)
        .filter(|(_, its)| *its == errno)
        .map(|(call, _)| call.text())
        .collect();
    Err(Error::new(ErrorKind::Unsupported, format!("this host lacks {}", names.join(", ")))
        .with_errno(errno)
        .with_hint(HINT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_host_has_them_all() {
        check(EVERY_CONTAINER).unwrap();
        check(&[PIDFD_GETFD]).unwrap();
    }

    #[test]
    fn a_number_without_a_call() {
        // Far behind the last one, and not x32's.
        let [one, other] = ["one", "other"].map(|name| call(name, 100_000, "99.1"));
        let error = check(&[OPENAT2, one, other]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(
            error.to_string(),
            format!(
                "this host lacks one (Linux 99.1), other (Linux 99.1): function not implemented \
                 (ENOSYS); {HINT}"
            )
        );
    }
}
