//! What is fuzzed of the command line: text that users and engines write. A function panics where a promise
//! is broken. There with the feature `fuzz` only, for conformance/fuzz.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use crate::args::{self, Parsed};
use crate::launch::User;
use crate::table::PROGRAM;
use crate::{integer, size};

/// `--user UID[:GID]`.
pub fn user(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let Ok(User { uid, gid }) = User::parse(text) else { return };
    // What is accepted says exactly what was written, and no user that the kernel takes for "as it is".
    let plain = |text: &str| match text.trim_start_matches('0') {
        "" if text.is_empty() => None,
        "" => Some("0".to_owned()),
        digits => Some(digits.to_owned()),
    };
    let mut parts = text.split(':');
    assert_eq!(parts.next().and_then(plain), Some(uid.to_string()), "{text:?}");
    assert_eq!(parts.next().map(plain), gid.map(|gid| Some(gid.to_string())), "{text:?}");
    assert_eq!(parts.next(), None, "{text:?}");
    assert!(uid != u32::MAX && gid != Some(u32::MAX), "{text:?}");
}

/// Numbers and sizes as options of `update` have them.
pub fn numbers(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    if let Ok(number) = integer::parse(text) {
        assert_eq!(integer::parse(&number.to_string()), Ok(number), "{text:?}");
        assert!(text.starts_with('-') || number >= 0, "{text:?} is {number}");
    }
    if let Ok(bytes) = size::parse(text) {
        // It must not turn into "no limit" as the kernel's or the runtime-spec's -1.
        assert!(i64::try_from(bytes).is_ok(), "{text:?} is {bytes}");
    }
}

/// A command line, one argument a line.
pub fn arguments(data: &[u8]) {
    let args = data.split(|byte| *byte == b'\n').map(|arg| OsString::from_vec(arg.to_vec()));
    match args::parse(&PROGRAM, args) {
        Ok(Parsed::Run { command, operands, .. }) => {
            let (least, most) = command.arity;
            let fits = (least..=most).contains(&operands.len());
            assert!(fits || command.order == args::Order::Raw, "{}: {operands:?}", command.name);
        }
        Ok(Parsed::Help(_) | Parsed::Version) => {}
        Err(error) => assert!(!error.message.is_empty() && error.exit_code != 0),
    }
}
