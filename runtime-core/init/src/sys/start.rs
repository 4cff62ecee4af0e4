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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_end_where_argc_says() {
        let words = [c"init", c"", c"plan"];
        let mut memory = vec![words.len()];
        memory.extend(words.iter().map(|word| word.as_ptr() as usize));
        // argv's NULL, and what stands in the environment.
        memory.extend([0, c"PATH=/".as_ptr() as usize, 0]);
        let stack = stack(memory.as_ptr());
        let arguments = [0, 1, 2, 3, 4, usize::MAX].map(|index| stack.argument(index));
        assert_eq!(arguments, [Some(c"init"), Some(c""), Some(c"plan"), None, None, None]);
    }

    #[test]
    fn a_table_is_never_written_past_its_end() {
        let strings = [c"a", c"b"];
        let addresses = strings.map(|string| string.as_ptr() as usize);
        let more = c"c".as_ptr() as usize;
        for length in 0..6 {
            let mut table = vec![usize::MAX; length];
            let at = pointers(&mut table, strings.into_iter(), Some(c"c"));
            assert_eq!(at, table.as_ptr());
            let whole = [addresses[0], addresses[1], more, 0, usize::MAX];
            assert_eq!(table, whole[..length.min(5)], "{length}");
        }
    }

    /// An entry as getdents64(2) writes it.
    fn entry(name: &[u8], length: u16) -> Vec<u8> {
        let mut bytes = vec![0; 19];
        bytes[16..18].copy_from_slice(&length.to_le_bytes());
        bytes.extend(name);
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn names(bytes: &[u8], length: usize) -> Vec<String> {
        let words = bytes.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap()));
        let words: Vec<u64> = words.collect();
        directory_names(&words, length).map(|name| name.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn names_end_with_what_was_read() {
        let both = [entry(b"one\0", 24), entry(b"of eight\0", 32)].concat();
        let expected = ["one", "of eight"];
        assert_eq!(names(&both, both.len()), expected);
        assert_eq!(names(&both, 24), expected[..1]);
        // No kernel says these: a length past the end, none at all, a name without its end, and more than
        // the buffer holds.
        assert_eq!(names(&both, 30), expected[..1]);
        assert_eq!(names(&entry(b"one\0", 25), 24), [""; 0]);
        assert_eq!(names(&entry(b"one\0", 0), 24), [""; 0]);
        assert_eq!(names(&entry(b"12345", 24), 24), [""; 0]);
        assert_eq!(names(&both, both.len() + 1), [""; 0]);
        assert_eq!(names(&both, 18), [""; 0]);
    }
}
