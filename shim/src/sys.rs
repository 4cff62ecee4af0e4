//! The system and library calls that `rustix` doesn't offer.

use std::os::fd::{FromRawFd, OwnedFd};

/// Keeps the heap small, for a process that lives as long as its containers and does little.
///
/// mallopt(3): by default each thread gets an arena of its own, which are never given back, and what
/// was freed once raises the thresholds up to which memory is kept.
#[cfg(target_env = "gnu")]
pub(crate) fn keep_heap_small() {
    const KEEP: libc::c_int = 64 * 1024;
    for (parameter, value) in [
        (libc::M_ARENA_MAX, 1),
        (libc::M_MMAP_THRESHOLD, KEEP),
        (libc::M_TRIM_THRESHOLD, KEEP),
        (libc::M_TOP_PAD, 0),
    ] {
        // SAFETY: takes two integers and knows each of these parameters. What it answers, 0 for a
        // value that is not allowed, changes nothing for the caller.
        unsafe { libc::mallopt(parameter, value) };
    }
}

/// Gives what is free in the heap back to the kernel (malloc_trim(3)). Worth it after a container is
/// created or deleted: the rest of a shim's work allocates little.
#[cfg(target_env = "gnu")]
pub(crate) fn trim_heap() {
    // SAFETY: takes an integer and may be called at any time, from any thread.
    unsafe { libc::malloc_trim(0) };
}

/// Other libraries' allocators are left as they are.
#[cfg(not(target_env = "gnu"))]
pub(crate) fn keep_heap_small() {}

#[cfg(not(target_env = "gnu"))]
pub(crate) fn trim_heap() {}

/// Gives the pages of the program's own code back, until they are needed again.
///
/// Creating a container touches most of the code, and the kernel maps what is around it; waiting for
/// its end takes a few pages. They are read-only pages of a file: nothing is lost (madvise(2)).
pub(crate) fn release_code() {
    // SAFETY: the callback gets what it expects, and nothing for its last argument.
    unsafe { libc::dl_iterate_phdr(Some(release_object), std::ptr::null_mut()) };
}

/// One of the program's objects, for dl_iterate_phdr(3).
///
/// # Safety
/// As called by dl_iterate_phdr(3).
unsafe extern "C" fn release_object(
    info: *mut libc::dl_phdr_info,
    _size: libc::size_t,
    _data: *mut libc::c_void,
) -> libc::c_int {
    // SAFETY: dl_iterate_phdr(3) passes an info whose program headers are in memory.
    let (base, headers) = unsafe {
        let info = &*info;
        (info.dlpi_addr, std::slice::from_raw_parts(info.dlpi_phdr, info.dlpi_phnum.into()))
    };
    let page = rustix::param::page_size() as u64;
    for header in headers {
        // What was written to (relocations) is in segments that are writable, or were at first.
        if header.p_type != libc::PT_LOAD || header.p_flags & libc::PF_W != 0 {
            continue;
        }
        let start = (base + header.p_vaddr).next_multiple_of(page);
        let end = (base + header.p_vaddr + header.p_memsz) / page * page;
        let Ok(length) = usize::try_from(end.saturating_sub(start)) else { continue };
        // SAFETY: these are whole pages of a read-only segment of this program, which are read from
        // its file again when somebody touches them, this very code included.
        unsafe {
            libc::madvise(start as *mut libc::c_void, length, libc::MADV_DONTNEED);
        }
    }
    0
}

/// A descriptor that is readable when a child has ended: signalfd(2) for SIGCHLD, which is blocked.
/// To be called before there are other threads: they inherit what is blocked.
pub(crate) fn child_ends() -> std::io::Result<OwnedFd> {
    let mut set = std::mem::MaybeUninit::uninit();
    // SAFETY: the set is initialized by sigemptyset(3) before anything reads it; pthread_sigmask(3)
    // accepts no old set; signalfd(2) makes a new descriptor, which is checked, and belongs to nobody else.
    unsafe {
        libc::sigemptyset(set.as_mut_ptr());
        libc::sigaddset(set.as_mut_ptr(), libc::SIGCHLD);
        libc::pthread_sigmask(libc::SIG_BLOCK, set.as_ptr(), std::ptr::null_mut());
        match libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) {
            -1 => Err(std::io::Error::last_os_error()),
            descriptor => Ok(OwnedFd::from_raw_fd(descriptor)),
        }
    }
}
