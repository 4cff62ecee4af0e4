//! The standard output, and text without an allocator.

use core::ffi::CStr;

use crate::sys::{self, Errno};

/// Writes all of it; nobody is left to be told of an error.
pub(crate) fn put(mut bytes: &[u8]) {
    while !bytes.is_empty() {
        match sys::write(1, bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(_) => sys::exit(120),
        }
    }
}

/// A number in decimal.
pub(crate) fn put_number(number: isize) {
    if number < 0 {
        put(b"-");
    }
    let mut digits = [0u8; 20];
    put(decimal(number.unsigned_abs(), &mut digits));
}

pub(crate) fn decimal(mut number: usize, digits: &mut [u8; 20]) -> &[u8] {
    let mut at = digits.len();
    loop {
        at -= 1;
        digits[at] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            return &digits[at..];
        }
    }
}

pub(crate) fn put_error(Errno(errno): Errno) {
    put(b"!");
    put_number(errno);
}

/// A path put together from parts, ended by a NUL.
pub(crate) struct Path {
    bytes: [u8; 4096],
    length: usize,
}

impl Path {
    pub(crate) fn new(parts: &[&[u8]]) -> Self {
        let mut path = Self { bytes: [0; 4096], length: 0 };
        for part in parts {
            let end = path.length + part.len();
            // A path that is too long is no path; none is.
            if end < path.bytes.len() {
                path.bytes[path.length..end].copy_from_slice(part);
                path.length = end;
            }
        }
        path
    }

    pub(crate) fn as_c_str(&self) -> &CStr {
        CStr::from_bytes_until_nul(&self.bytes).unwrap_or_default()
    }
}

/// A number: decimal, with or without a sign, or hexadecimal after `0x`.
pub(crate) fn number(word: &[u8]) -> usize {
    let (negative, word) = match word {
        [b'-', rest @ ..] => (true, rest),
        word => (false, word),
    };
    let (radix, digits) = match word {
        [b'0', b'x', rest @ ..] => (16, rest),
        word => (10, word),
    };
    let digit = |byte: &u8| (*byte as char).to_digit(radix).unwrap_or(0) as usize;
    let value = digits
        .iter()
        .fold(0usize, |value, byte| value.wrapping_mul(radix as usize).wrapping_add(digit(byte)));
    if negative { value.wrapping_neg() } else { value }
}
