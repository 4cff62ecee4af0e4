//! The questions, see `entry.rs`.

use core::ffi::CStr;

use crate::output::{Path, number, put, put_error, put_number};
use crate::sys::{self, Result};
use crate::{sweep, watch};

/// Answers one.
pub(crate) fn ask(question: &[u8]) {
    put(b"\x1e");
    put(question);
    put(b"\n");
    let (verb, rest) = split(question);
    let path = Path::new(&[rest]);
    let path = path.as_c_str();
    let answer = match verb {
        b"fds" => descriptors(),
        b"read" => content(path),
        b"list" => list(path, |name| {
            put(name);
            put(b"\n");
        }),
        b"link" => link(path),
        b"stat" => stat(path),
        b"write" => opens(path, sys::O_WRONLY),
        b"make" => opens(path, sys::O_WRONLY | sys::O_CREAT_EXCL).inspect(|()| sys::unlink(path)),
        b"call" => call(rest, false),
        b"text" => call(rest, true),
        b"sweep" => sweep::sweep(rest, sys::raw),
        b"sweep32" => sweep::sweep(rest, sys::raw32),
        b"watch" => watch::watch(rest),
        b"wait" => loop {
            sys::sleep();
        },
        _ => Err(sys::Errno(0)),
    };
    if let Err(errno) = answer {
        put_error(errno);
    }
    put(b"\n");
}

/// The first word and the others.
pub(crate) fn split(words: &[u8]) -> (&[u8], &[u8]) {
    match words.iter().position(|byte| *byte == b' ') {
        Some(at) => (&words[..at], &words[at + 1..]),
        None => (words, b""),
    }
}

fn descriptors() -> Result<()> {
    for fd in (0..65_536).filter(|fd| sys::is_open(*fd)) {
        put_number(fd as isize);
        put(b" ");
        let mut digits = [0; 20];
        let path = Path::new(&[b"/proc/self/fd/", crate::output::decimal(fd, &mut digits)]);
        link(path.as_c_str()).unwrap_or_else(put_error);
        put(b"\n");
    }
    Ok(())
}

fn content(path: &CStr) -> Result<()> {
    let fd = sys::open(path, sys::O_RDONLY | sys::O_NONBLOCK | sys::O_NOCTTY)?;
    let mut buffer = [0; 4096];
    // Of a file without an end the beginning is enough.
    for _ in 0..256 {
        match sys::read(fd, &mut buffer) {
            Ok(bytes) if !bytes.is_empty() => put(bytes),
            other => {
                sys::close(fd);
                return other.map(drop);
            }
        }
    }
    sys::close(fd);
    Ok(())
}

/// Calls `each` with every name in a directory but `.` and `..`.
pub(crate) fn list(path: &CStr, mut each: impl FnMut(&[u8])) -> Result<()> {
    const O_DIRECTORY: u32 = if cfg!(target_arch = "x86_64") { 0o200_000 } else { 0o40_000 };
    let fd = sys::open(path, sys::O_RDONLY | O_DIRECTORY)?;
    let mut buffer = [0; 4096];
    loop {
        let entries = sys::getdents(fd, &mut buffer);
        let mut rest = match entries {
            Ok(entries) if !entries.is_empty() => entries,
            other => {
                sys::close(fd);
                return other.map(drop);
            }
        };
        // `struct linux_dirent64`, getdents(2).
        while rest.len() > 19 {
            let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
            let name = CStr::from_bytes_until_nul(&rest[19..length]).unwrap_or_default();
            if !matches!(name.to_bytes(), b"." | b"..") {
                each(name.to_bytes());
            }
            rest = &rest[length..];
        }
    }
}

fn link(path: &CStr) -> Result<()> {
    sys::readlink(path, &mut [0; 4096]).map(put)
}

fn stat(path: &CStr) -> Result<()> {
    let mut buffer = [0; 256];
    sys::statx(path, &mut buffer)?;
    let word = |at: usize| {
        isize::from_ne_bytes([0, 1, 2, 3, 4, 5, 6, 7].map(|offset: usize| buffer[at + offset]))
    };
    // stx_dev_major and stx_dev_minor in one, stx_ino, stx_mode.
    for number in [word(0x88), word(0x20)] {
        put_number(number);
        put(b" ");
    }
    put_number(word(0x18) >> 32 & 0xffff);
    Ok(())
}

fn opens(path: &CStr, flags: u32) -> Result<()> {
    let fd = sys::open(path, flags | sys::O_NONBLOCK | sys::O_NOCTTY)?;
    sys::close(fd);
    put(b"ok");
    Ok(())
}

fn call(words: &[u8], text: bool) -> Result<()> {
    let scratch = [0usize; 1024];
    let (first, mut rest) = split(words);
    let mut arguments = [0; 6];
    let mut used = false;
    for argument in &mut arguments {
        let (word, others) = split(rest);
        rest = others;
        used |= word == b"@";
        *argument = if word == b"@" { scratch.as_ptr() as usize } else { number(word) };
    }
    let result = sys::raw(number(first), arguments);
    let scratch = core::hint::black_box(&scratch);
    if result < 0 {
        return Err(sys::Errno(-result));
    }
    if text {
        let bytes = scratch.iter().flat_map(|word| word.to_ne_bytes());
        bytes.take_while(|byte| *byte != 0).for_each(|byte| put(&[byte]));
        return Ok(());
    }
    put_number(result);
    if used {
        put(b" ");
        put_number(scratch[0] as i32 as isize);
    }
    Ok(())
}
