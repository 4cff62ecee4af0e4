//! What a program without a libc has to bring: the memory functions that compiled Rust calls (C's
//! `memcpy` and its kin), and an end for what can't happen. Only `entry.rs` includes this file, and the tests, which have a libc.
//!
//! The functions are loops of volatile accesses or string instructions: the compiler turns plain loops into
//! calls of these very functions.

/// # Safety
/// As memcpy(3): both ranges valid for `n` bytes, not overlapping.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcpy(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the instruction copies exactly `n` bytes, upwards.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        core::arch::asm!(
            "rep movsb",
            inout("rcx") n => _, inout("rdi") to => _, inout("rsi") from => _,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    for i in 0..n {
        // SAFETY: `i` is below `n`; the caller's promise.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) }
    }
    to
}

/// # Safety
/// As memmove(3): both ranges valid for `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memmove(to: *mut u8, from: *const u8, n: usize) -> *mut u8 {
    if (to as usize).wrapping_sub(from as usize) >= n {
        // SAFETY: copying upwards never overwrites what is still to be read.
        return unsafe { memcpy(to, from, n) };
    }
    for i in (0..n).rev() {
        // SAFETY: `i` is below `n`; the caller's promise.
        unsafe { to.add(i).write_volatile(from.add(i).read_volatile()) }
    }
    to
}

/// # Safety
/// As memset(3): the range valid for `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memset(to: *mut u8, byte: i32, n: usize) -> *mut u8 {
    // SAFETY: the caller's promise; the instruction writes exactly `n` bytes, upwards.
    #[cfg(all(target_arch = "x86_64", not(miri)))]
    unsafe {
        core::arch::asm!(
            "rep stosb",
            inout("rcx") n => _, inout("rdi") to => _, in("al") byte as u8,
            options(nostack, preserves_flags),
        );
    }
    #[cfg(not(all(target_arch = "x86_64", not(miri))))]
    for i in 0..n {
        // SAFETY: `i` is below `n`; the caller's promise.
        unsafe { to.add(i).write_volatile(byte as u8) }
    }
    to
}

/// # Safety
/// As memcmp(3): both ranges valid for `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn memcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    for i in 0..n {
        // SAFETY: `i` is below `n`; the caller's promise.
        let (x, y) = unsafe { (a.add(i).read_volatile(), b.add(i).read_volatile()) };
        if x != y {
            return i32::from(x) - i32::from(y);
        }
    }
    0
}

/// # Safety
/// As bcmp(3): both ranges valid for `n` bytes.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn bcmp(a: *const u8, b: *const u8, n: usize) -> i32 {
    // SAFETY: the caller's promise.
    unsafe { memcmp(a, b, n) }
}

/// # Safety
/// As strlen(3): a string that ends with a NUL.
#[cfg_attr(not(test), unsafe(no_mangle))]
unsafe extern "C" fn strlen(text: *const u8) -> usize {
    let mut n = 0;
    // SAFETY: everything up to the NUL is part of the string.
    while unsafe { text.add(n).read_volatile() } != 0 {
        n += 1;
    }
    n
}

/// Ends the process with SIGILL: for what can't happen.
#[cfg(not(test))]
pub(crate) fn abort() -> ! {
    // SAFETY: an undefined instruction touches no memory.
    unsafe {
        #[cfg(target_arch = "x86_64")]
        core::arch::asm!("ud2", options(noreturn));
        #[cfg(target_arch = "aarch64")]
        core::arch::asm!("brk #1", options(noreturn));
    }
}

#[cfg(test)]
#[path = "freestanding_tests.rs"]
mod tests;
