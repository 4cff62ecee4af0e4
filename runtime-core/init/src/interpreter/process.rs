//! The user's program: where it is, in which directory it starts, its HOME, and execve(2).

use core::ffi::CStr;
use core::sync::atomic::Ordering::{Acquire, Release};

use super::{At, Fail, Outcome, passwd};
use crate::page::{Op, Page};
use crate::sys::{
    self, EACCES, EINVAL, EISDIR, ELOOP, ENAMETOOLONG, ENOENT, ENOTDIR, EPERM, ERANGE, ETIMEDOUT,
};
use crate::wire::StrList;

/// SECCOMP_FILTER_FLAG_NEW_LISTENER, seccomp(2).
const NEW_LISTENER: u64 = 8;
/// How often init looks whether the library has taken the notify descriptor: some ten seconds.
const NOTIFY_SPINS: u64 = 200_000_000;

/// What is known of the user's process so far.
pub(super) struct Prepared {
    program: [u8; 4096],
    home: [u8; 512],
    has_home: bool,
    directory_set: bool,
    arguments: *const usize,
    environment: *const usize,
}

impl Default for Prepared {
    fn default() -> Self {
        Self {
            program: [0; 4096],
            home: [0; 512],
            has_home: false,
            directory_set: false,
            arguments: core::ptr::null(),
            environment: core::ptr::null(),
        }
    }
}

impl Prepared {
    pub(super) fn working_directory(&mut self, path: &CStr, last: bool) -> Outcome {
        if self.directory_set {
            return Ok(());
        }
        match sys::chdir(path) {
            Ok(()) => {}
            Err(EACCES | EPERM) if !last => return Ok(()),
            Err(errno) => return Err(Fail { op: Op::Chdir, errno }),
        }
        // A directory outside of the root shows as "(unreachable)/…" or not at all.
        let mut buffer = [0u8; 4096];
        match sys::getcwd(&mut buffer) {
            Ok(_) if buffer.first() == Some(&b'/') => {}
            Ok(_) | Err(ENOENT) => return Err(Fail { op: Op::Getcwd, errno: ENOENT }),
            // Longer than PATH_MAX can't be told; it began at a directory of the root.
            Err(ERANGE) => return Err(Fail { op: Op::Getcwd, errno: ERANGE }),
            Err(errno) => return Err(Fail { op: Op::Chdir, errno }),
        }
        self.directory_set = true;
        Ok(())
    }

    /// The home directory of a numeric user, passwd(5). A file that is absent, odd or endless
    /// means `/`.
    pub(super) fn lookup_home(&mut self, rootfd: i32, uid: u32) {
        self.has_home = true;
        let mut entry = [0u8; 512 - 5];
        let length = passwd::home(rootfd, uid, &mut entry).unwrap_or(0);
        let home = match entry.get(..length) {
            Some(home) if !home.is_empty() => home,
            _ => b"/",
        };
        for (to, from) in self.home.iter_mut().zip(b"HOME=".iter().chain(home).chain(b"\0")) {
            *to = *from;
        }
    }

    /// Finds the program as the user would: by path, or in each directory of PATH.
    pub(super) fn find(&mut self, name: &CStr, path: &CStr) -> Outcome {
        let text = name.to_bytes();
        if text.contains(&b'/') {
            self.set_program(b"", text).at(Op::Find)?;
            return self.check().at(Op::Find);
        }
        let mut answer = ENOENT;
        if !text.is_empty() {
            for directory in path.to_bytes().split(|b| *b == b':') {
                let directory = if directory.is_empty() { b"." } else { directory };
                let checked = self.set_program(directory, text).and_then(|()| self.check());
                match checked {
                    Ok(()) => return Ok(()),
                    Err(ENOENT | ENOTDIR | ELOOP | EISDIR | ENAMETOOLONG) => {}
                    // Unless it is found elsewhere: that it is missing would not be true.
                    Err(errno) => answer = errno,
                }
            }
        }
        Err(Fail { op: Op::Find, errno: answer })
    }

    fn set_program(&mut self, directory: &[u8], name: &[u8]) -> sys::Result<()> {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        if directory.len() + slash.len() + name.len() >= self.program.len() {
            return Err(ENAMETOOLONG);
        }
        let text = directory.iter().chain(slash).chain(name).chain(b"\0");
        for (to, from) in self.program.iter_mut().zip(text) {
            *to = *from;
        }
        Ok(())
    }

    fn program(&self) -> sys::Result<&CStr> {
        CStr::from_bytes_until_nul(&self.program).map_err(|_| EINVAL)
    }

    /// A file that this user may execute.
    fn check(&self) -> sys::Result<()> {
        let program = self.program()?;
        match sys::statx(sys::AT_FDCWD, program, 0)?.kind() {
            sys::S_IFDIR => Err(EISDIR),
            _ => sys::executable(program),
        }
    }

    /// Builds the pointer tables for execve(2) and opens the signal mask: the last things that
    /// need memory or system calls of their own.
    pub(super) fn prepare(&mut self, arguments: StrList<'_>, environment: StrList<'_>) -> Outcome {
        let (argc, envc) = (arguments.len(), environment.len());
        let table = sys::allocate(argc + 1 + envc + 2).at(Op::Memory)?;
        let (first, second) = table.split_at_mut_checked(argc + 1).unwrap_or_default();
        let home = if self.has_home {
            Some(CStr::from_bytes_until_nul(&self.home).map_err(|_| EINVAL).at(Op::Execve)?)
        } else {
            None
        };
        self.arguments = sys::pointers(first, arguments.iter(), None);
        self.environment = sys::pointers(second, environment.iter(), home);
        sys::signals_unblock().at(Op::Execve)
    }

    /// execve(2); returns only its failure.
    pub(super) fn execute(&self) -> Fail {
        match self.program() {
            Ok(program) => Fail {
                op: Op::Execve,
                errno: sys::execve(program, self.arguments, self.environment),
            },
            Err(errno) => Fail { op: Op::Execve, errno },
        }
    }
}

/// Loads the filter. From here on only execve(2) may be called, so a notify descriptor is handed
/// over without a system call: its number goes to the page, and init watches the page until the
/// library has taken it (decision 0006). The wait is bounded by a count: there is no clock here.
pub(super) fn load_filter(page: &Page, flags: u64, program: &[u8], notify: bool) -> Outcome {
    let flags = if notify { flags | NEW_LISTENER } else { flags };
    let fd = sys::seccomp_load(flags, program).at(Op::Seccomp)?;
    if !notify {
        return Ok(());
    }
    page.notify.store(fd as u32 + 1, Release);
    for _ in 0..NOTIFY_SPINS {
        if page.notify_taken.load(Acquire) != 0 {
            return Ok(());
        }
        core::hint::spin_loop();
    }
    Err(Fail { op: Op::NotifyTimeout, errno: ETIMEDOUT })
}
