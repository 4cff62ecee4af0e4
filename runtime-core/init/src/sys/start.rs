//! Memory that the kernel laid out: the initial stack, pointer tables, directory entries.

use core::ffi::{CStr, c_char};

/// The initial stack, as the kernel laid it out: argc, argv, NULL, envp …
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stack(*const usize);

/// Takes the stack pointer that the program was entered with; `_start` passes it on.
pub(crate) fn stack(pointer: *const usize) -> Stack {
    Stack(pointer)
}

impl Stack {
    /// The argument with this number, 0 being the program's name.
    pub(crate) fn argument(self, index: usize) -> Option<&'static CStr> {
        // SAFETY: the kernel put argc there, and argc pointers to strings that live as long as
        // the process; init never changes them.
        unsafe {
            if index >= *self.0 {
                return None;
            }
            Some(CStr::from_ptr(*self.0.add(1 + index) as *const c_char))
        }
    }
}

/// Fills `table` with the addresses of `strings`, then `more`, then NULL, as execve(2) wants it.
pub(crate) fn pointers<'a>(
    table: &mut [usize],
    strings: impl Iterator<Item = &'a CStr>,
    more: Option<&'a CStr>,
) -> *const usize {
    let mut slots = table.iter_mut();
    for string in strings.chain(more) {
        if let Some(slot) = slots.next() {
            *slot = string.as_ptr() as usize;
        }
    }
    if let Some(slot) = slots.next() {
        *slot = 0;
    }
    table.as_ptr()
}

/// The names in the first `length` bytes that getdents64(2) has filled.
pub(crate) fn directory_names(entries: &[u64], length: usize) -> impl Iterator<Item = &CStr> {
    // SAFETY: the bytes of initialized words, for as long as those live.
    let bytes =
        unsafe { core::slice::from_raw_parts(entries.as_ptr().cast::<u8>(), size_of_val(entries)) };
    let mut rest = bytes.get(..length).unwrap_or_default();
    core::iter::from_fn(move || {
        // struct linux_dirent64: d_ino, d_off, d_reclen (u16 at 16), d_type, d_name (at 19).
        let record = u16::from_le_bytes([*rest.get(16)?, *rest.get(17)?]);
        let (entry, tail) = rest.split_at_checked(usize::from(record))?;
        rest = tail;
        CStr::from_bytes_until_nul(entry.get(19..)?).ok()
    })
}
