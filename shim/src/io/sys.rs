//! posix_spawn(3): a program with exactly the descriptors that it is to have.
//!
//! `std::process::Command` has no way to pass others than the first three, but code between fork(2)
//! and execve(2), where its own pipe for errors may have one of their numbers.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::Pid;

/// The first descriptor that is passed on.
const FIRST: RawFd = 3;

/// Starts `path` with `passed` as descriptors 3, 4 and 5, and /dev/null as the first three. All of
/// ours are closed in it by their close-on-exec flag.
pub(super) fn spawn(
    path: &CStr,
    arguments: &[CString],
    environment: &[CString],
    passed: [BorrowedFd<'_>; 3],
) -> io::Result<Pid> {
    let mut actions = Actions::new()?;
    actions.open_null()?;
    // Out of the way of each other: none of them is one of the numbers that they get.
    let mut kept: Vec<OwnedFd> = Vec::with_capacity(passed.len());
    for (descriptor, number) in passed.into_iter().zip(FIRST..) {
        let copy = fcntl_dupfd_cloexec(descriptor, FIRST + 3)?;
        actions.duplicate(copy.as_raw_fd(), number)?;
        kept.push(copy);
    }
    let attributes = Attributes::new()?;

    let terminated = |strings: &[&CStr]| -> Vec<*mut c_char> {
        let pointers = strings.iter().map(|string| string.as_ptr().cast_mut());
        pointers.chain([std::ptr::null_mut()]).collect()
    };
    let mut strings = vec![path];
    strings.extend(arguments.iter().map(CString::as_c_str));
    let arguments = terminated(&strings);
    let strings: Vec<&CStr> = environment.iter().map(CString::as_c_str).collect();
    let environment = terminated(&strings);

    let mut pid = 0;
    // SAFETY: all strings are alive and end with NUL, both lists end with a null pointer, and neither
    // actions nor attributes are changed meanwhile. posix_spawn doesn't write to the strings.
    check(unsafe {
        libc::posix_spawn(
            &raw mut pid,
            path.as_ptr(),
            &raw const actions.0,
            &raw const attributes.0,
            arguments.as_ptr(),
            environment.as_ptr(),
        )
    })?;
    Pid::from_raw(pid).ok_or_else(|| io::Error::other("posix_spawn gave no pid"))
}

/// The functions of this family return the error's number.
fn check(number: libc::c_int) -> io::Result<()> {
    if number == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(number)) }
}

/// posix_spawn_file_actions_init(3).
struct Actions(libc::posix_spawn_file_actions_t);

impl Actions {
    fn new() -> io::Result<Self> {
        let mut actions = MaybeUninit::uninit();
        // SAFETY: it initializes what it is given, unless it fails.
        check(unsafe { libc::posix_spawn_file_actions_init(actions.as_mut_ptr()) })?;
        // SAFETY: it was initialized.
        Ok(Self(unsafe { actions.assume_init() }))
    }

    fn open_null(&mut self) -> io::Result<()> {
        let path = c"/dev/null".as_ptr();
        // SAFETY: the actions are initialized, and the path is static.
        check(unsafe {
            libc::posix_spawn_file_actions_addopen(&raw mut self.0, 0, path, libc::O_RDWR, 0)
        })?;
        self.duplicate(0, 1)?;
        self.duplicate(0, 2)
    }

    fn duplicate(&mut self, from: RawFd, to: RawFd) -> io::Result<()> {
        // SAFETY: the actions are initialized; the numbers are checked when they are used.
        check(unsafe { libc::posix_spawn_file_actions_adddup2(&raw mut self.0, from, to) })
    }
}

impl Drop for Actions {
    fn drop(&mut self) {
        // SAFETY: the actions are initialized, and not used again.
        unsafe { libc::posix_spawn_file_actions_destroy(&raw mut self.0) };
    }
}

/// posix_spawnattr_init(3): no signal is blocked or ignored. Rust ignores SIGPIPE.
struct Attributes(libc::posix_spawnattr_t);

impl Attributes {
    fn new() -> io::Result<Self> {
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: it initializes what it is given, unless it fails.
        check(unsafe { libc::posix_spawnattr_init(attributes.as_mut_ptr()) })?;
        // SAFETY: it was initialized.
        let mut attributes = Self(unsafe { attributes.assume_init() });
        let (mut none, mut all) = (MaybeUninit::uninit(), MaybeUninit::uninit());
        // SAFETY: both initialize what they are given, and can't fail with a valid pointer.
        let (none, all) = unsafe {
            libc::sigemptyset(none.as_mut_ptr());
            libc::sigfillset(all.as_mut_ptr());
            (none.assume_init(), all.assume_init())
        };
        let flags = libc::POSIX_SPAWN_SETSIGMASK | libc::POSIX_SPAWN_SETSIGDEF;
        let flags = libc::c_short::try_from(flags).map_err(io::Error::other)?;
        // SAFETY: the attributes and both sets are initialized.
        unsafe {
            check(libc::posix_spawnattr_setsigmask(&raw mut attributes.0, &raw const none))?;
            check(libc::posix_spawnattr_setsigdefault(&raw mut attributes.0, &raw const all))?;
            check(libc::posix_spawnattr_setflags(&raw mut attributes.0, flags))?;
        }
        Ok(attributes)
    }
}

impl Drop for Attributes {
    fn drop(&mut self) {
        // SAFETY: the attributes are initialized, and not used again.
        unsafe { libc::posix_spawnattr_destroy(&raw mut self.0) };
    }
}
