//! HOME, out of the container's own `/etc/passwd`: passwd(5), from whoever made the root filesystem.

use super::root;
use crate::sys;

/// How much of the file is read.
const MOST: usize = 1 << 20;
/// What holds a line, with its end.
const BUFFER: usize = 4096;

/// Copies the home directory of `uid` to the beginning of `home`; how long it is.
pub(super) fn home(rootfd: i32, uid: u32, home: &mut [u8]) -> Option<usize> {
    let file = root::try_open(rootfd, c"/etc/passwd", sys::O_RDONLY | sys::O_NONBLOCK).ok()?;
    if sys::statx(file.raw(), c"", sys::AT_EMPTY_PATH).ok()?.kind() != sys::S_IFREG {
        return None;
    }
    find(|buffer| sys::read(file.raw(), buffer).ok(), uid, home)
}

/// Line by line, of what `read` brings.
fn find(
    mut read: impl FnMut(&mut [u8]) -> Option<usize>,
    uid: u32,
    home: &mut [u8],
) -> Option<usize> {
    let mut buffer = [0u8; BUFFER];
    let mut held = 0;
    let mut total = 0;
    let mut skipping = false;
    loop {
        let length = read(buffer.get_mut(held..)?)?;
        total += length;
        // The rest may end within an entry.
        if total > MOST {
            return None;
        }
        let end = held + length;
        let mut rest = buffer.get(..end)?;
        while let Some(newline) = rest.iter().position(|b| *b == b'\n') {
            let (line, tail) = rest.split_at_checked(newline)?;
            if !skipping && let Some(found) = home_of(line, uid) {
                home.get_mut(..found.len())?.copy_from_slice(found);
                return Some(found.len());
            }
            skipping = false;
            rest = tail.get(1..)?;
        }
        if length == 0 {
            let found = if skipping { None } else { home_of(rest, uid) }?;
            home.get_mut(..found.len())?.copy_from_slice(found);
            return Some(found.len());
        }
        let start = end - rest.len();
        if start == 0 && end == buffer.len() {
            // A line longer than the buffer is nobody's entry.
            skipping = true;
            held = 0;
        } else {
            buffer.copy_within(start..end, 0);
            held = end - start;
        }
    }
}

/// `name:password:UID:GID:GECOS:directory:shell`, with a UID that is a plain number.
fn home_of(line: &[u8], uid: u32) -> Option<&[u8]> {
    let mut fields = line.split(|b| *b == b':');
    let number = fields.nth(2)?;
    let parsed = number.iter().try_fold(0u32, |value, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        value.checked_mul(10)?.checked_add(u32::from(digit))
    })?;
    if number.is_empty() || parsed != uid {
        return None;
    }
    fields.nth(2).filter(|home| home.starts_with(b"/"))
}

/// What is fuzzed: the file, read in pieces.
#[cfg(any(test, feature = "fuzz"))]
pub(crate) mod fuzz {
    use super::*;

    /// Room for a home directory in these tests, less than a line may have.
    const ROOM: usize = 64;

    /// `/etc/passwd`, behind a byte that says how large the pieces are.
    pub fn passwd(data: &[u8]) {
        let Some((&size, file)) = data.split_first() else { return };
        // Few reads, for they take time by the square of the length.
        let piece = usize::from(size) * 32 + file.len() / 64 + 1;
        for uid in [0, 1000, u32::MAX - 1] {
            let mut rest = file;
            let read = |buffer: &mut [u8]| {
                let length = rest.len().min(buffer.len()).min(piece);
                let (piece, tail) = rest.split_at_checked(length)?;
                buffer.get_mut(..length)?.copy_from_slice(piece);
                rest = tail;
                Some(length)
            };
            let mut room = [0; ROOM];
            let length = find(read, uid, &mut room);
            let found = length.and_then(|length| room.get(..length));
            assert_eq!(found, expected(file, uid), "{uid}");
        }
    }

    /// The same in one piece: the first entry of this user, which may have no place.
    fn expected(file: &[u8], uid: u32) -> Option<&[u8]> {
        let mut lines = file.split(|byte| *byte == b'\n').filter(|line| line.len() < BUFFER);
        lines.find_map(|line| home_of(line, uid)).filter(|home| home.len() <= ROOM)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines() {
        assert_eq!(home_of(b"root:x:0:0:root:/root:/bin/sh", 0), Some(b"/root".as_slice()));
        assert_eq!(home_of(b"1000:x:0:0::/evil:/bin/sh", 1000), None);
        assert_eq!(home_of(b"a:x::0::/evil:", 0), None);
        assert_eq!(home_of(b"a:x:00:0::/a:", 0), Some(b"/a".as_slice()));
        assert_eq!(home_of(b"a:x:0:0::relative:", 0), None);
        assert_eq!(home_of(b"a:x:4294967296:0::/a:", 0), None);
        assert_eq!(home_of(b"garbage", 0), None);
    }

    #[test]
    #[cfg_attr(miri, ignore = "takes minutes there, and has no unsafe code")]
    fn pieces_make_no_difference() {
        let long = "#".repeat(BUFFER - 1);
        for before in
            ["", "\n", "b:x:1:1::/b:\n", &long, &format!("{long}\n"), &format!("{long}#\n")]
        {
            for size in 0..=u8::MAX {
                let mut data = vec![size];
                data.extend_from_slice(before.as_bytes());
                data.extend_from_slice(b"a:x:0:0::/a:\nc:x:1000:0::/c:");
                fuzz::passwd(&data);
            }
        }
    }

    /// A home directory that is cut off is another one.
    #[test]
    #[cfg_attr(miri, ignore = "takes minutes there, and has no unsafe code")]
    fn what_is_too_long_has_no_end() {
        let entry = b"a:x:0:0::/home/a:\n";
        let mut left = MOST;
        let read = |buffer: &mut [u8]| {
            let length = left.min(buffer.len());
            left -= length;
            buffer.get_mut(..length)?.fill(b'\n');
            if left == 0 {
                left = usize::MAX;
                let text = entry.get(..12)?;
                let from = length - text.len();
                buffer.get_mut(from..length)?.copy_from_slice(text);
            }
            Some(length)
        };
        assert_eq!(find(read, 0, &mut [0; 64]), None);
    }
}
