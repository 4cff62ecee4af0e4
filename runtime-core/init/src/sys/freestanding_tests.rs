//! Without a libc's names they can be compared with what Rust says of slices.

use super::*;

const LENGTH: usize = 12;

/// Each range of a short buffer, onto each place in it: what overlaps too, and what is empty.
fn ranges() -> impl Iterator<Item = (usize, usize, usize)> {
    (0..=LENGTH).flat_map(|n| {
        (0..=LENGTH - n).flat_map(move |from| (0..=LENGTH - n).map(move |to| (from, to, n)))
    })
}

fn numbered() -> Vec<u8> {
    (1..).take(LENGTH).collect()
}

#[test]
fn bytes_are_moved() {
    for (from, to, n) in ranges() {
        let (mut bytes, mut expected) = (numbered(), numbered());
        expected.copy_within(from..from + n, to);
        let start = bytes.as_mut_ptr();
        // SAFETY: both ranges are in the buffer.
        let result = unsafe { memmove(start.add(to), start.add(from), n) };
        assert_eq!((&bytes, result as usize - start as usize), (&expected, to), "{from} {n}");
    }
}

#[test]
fn bytes_are_copied_and_compared() {
    for (from, to, n) in ranges() {
        let source = numbered();
        let mut target = vec![0xff; LENGTH];
        // SAFETY: both ranges are in their buffers.
        unsafe { memcpy(target.as_mut_ptr().add(to), source.as_ptr().add(from), n) };
        let mut expected = vec![0xff; LENGTH];
        expected[to..to + n].copy_from_slice(&source[from..from + n]);
        assert_eq!(target, expected);
        // SAFETY: as above.
        let order = unsafe { memcmp(source.as_ptr().add(from), source.as_ptr().add(to), n) };
        let (a, b) = (&source[from..from + n], &source[to..to + n]);
        assert_eq!(order.cmp(&0), a.cmp(b), "{a:?} {b:?}");
        // SAFETY: as above.
        let order = unsafe { bcmp(source.as_ptr().add(from), target.as_ptr().add(to), n) };
        assert_eq!(order, 0);
    }
}

#[test]
fn bytes_are_set() {
    for (from, byte, n) in ranges() {
        let mut bytes = numbered();
        let mut expected = numbered();
        expected[from..from + n].fill(byte as u8);
        // SAFETY: the range is in the buffer. What C says is that the value is cut to a byte.
        unsafe { memset(bytes.as_mut_ptr().add(from), byte as i32 | 0x100, n) };
        assert_eq!(bytes, expected);
    }
}

#[test]
fn strings_have_their_length() {
    for text in [c"", c"a", c"\xff\x01", c"a longer one"] {
        // SAFETY: it has its NUL.
        assert_eq!(unsafe { strlen(text.as_ptr().cast()) }, text.count_bytes());
    }
}
