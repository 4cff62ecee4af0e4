//! Signals by name and number.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, ErrorKind};

/// A signal, signal(7).
///
/// ```
/// let term: hoist::Signal = "SIGTERM".parse()?;
/// assert_eq!(term, "15".parse()?);
/// assert_eq!(term.number(), 15);
/// # Ok::<(), hoist::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Signal(i32);

/// The standard signals with their numbers on x86_64 and aarch64.
const NAMES: [(&str, i32); 36] = [
    ("HUP", 1),
    ("INT", 2),
    ("QUIT", 3),
    ("ILL", 4),
    ("TRAP", 5),
    ("ABRT", 6),
    ("IOT", 6),
    ("BUS", 7),
    ("FPE", 8),
    ("KILL", 9),
    ("USR1", 10),
    ("SEGV", 11),
    ("USR2", 12),
    ("PIPE", 13),
    ("ALRM", 14),
    ("TERM", 15),
    ("STKFLT", 16),
    ("CHLD", 17),
    ("CLD", 17),
    ("CONT", 18),
    ("STOP", 19),
    ("TSTP", 20),
    ("TTIN", 21),
    ("TTOU", 22),
    ("URG", 23),
    ("XCPU", 24),
    ("XFSZ", 25),
    ("VTALRM", 26),
    ("PROF", 27),
    ("WINCH", 28),
    ("IO", 29),
    ("POLL", 29),
    ("PWR", 30),
    ("SYS", 31),
    ("UNUSED", 31),
    ("RTMIN", 34),
];
/// The kernel's range of real-time signals as glibc numbers them: two are its own.
const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    /// SIGKILL.
    pub const KILL: Self = Self(9);
    /// SIGTERM.
    pub const TERM: Self = Self(15);

    /// A signal by its number, 1 to 64; 0 is the test for existence, kill(2).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for any other number.
    pub fn from_number(number: i32) -> Result<Self, Error> {
        if (0..=RTMAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(unknown(&number.to_string()))
        }
    }

    /// The signal's number.
    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }
}

/// A signal in words, as Go's `syscall.Signal` and so runc's messages have it.
pub(crate) fn describe(number: i32) -> String {
    let words = match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        16 => "stack fault",
        24 => "CPU time limit exceeded",
        25 => "file size limit exceeded",
        26 => "virtual timer expired",
        27 => "profiling timer expired",
        29 => "I/O possible",
        30 => "power failure",
        31 => "bad system call",
        other => return format!("signal {other}"),
    };
    words.to_owned()
}

fn unknown(text: &str) -> Error {
    // runc's wording.
    Error::new(ErrorKind::InvalidArgument, format!("unknown signal {text:?}"))
}

impl FromStr for Signal {
    type Err = Error;

    /// A number, or a name with or without `SIG`, in any case: `9`, `KILL`, `sigkill`,
    /// `RTMIN+3`, `RTMAX-1`.
    fn from_str(text: &str) -> Result<Self, Error> {
        if let Ok(number) = text.parse() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        if let Some((_, number)) = NAMES.iter().find(|(known, _)| *known == name) {
            return Ok(Self(*number));
        }
        let offset =
            |rest: &str| rest.parse::<i32>().ok().filter(|n| (0..=RTMAX - RTMIN).contains(n));
        let number = match name.strip_prefix("RTMIN+").and_then(offset) {
            Some(plus) => Some(RTMIN + plus),
            None if name == "RTMAX" => Some(RTMAX),
            None => name.strip_prefix("RTMAX-").and_then(offset).map(|minus| RTMAX - minus),
        };
        number.map(Self).ok_or_else(|| unknown(text))
    }
}

impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(_, number)| *number == self.0) {
            Some((name, _)) => write!(f, "SIG{name}"),
            None if self.0 > RTMIN => write!(f, "SIGRTMIN+{}", self.0 - RTMIN),
            None => write!(f, "signal {}", self.0),
        }
    }
}

/// What is fuzzed.
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz {
    use super::{RTMAX, Signal};
    use crate::error::ErrorKind;

    /// A signal as a user names it.
    pub fn signal(data: &[u8]) {
        let Ok(text) = std::str::from_utf8(data) else { return };
        match text.parse::<Signal>() {
            Ok(signal) => {
                let number = signal.number();
                assert!((0..=RTMAX).contains(&number), "{text:?} is {number}");
                assert_eq!(Signal::from_number(number).ok(), Some(signal));
                // Two numbers are glibc's own and have no name, nor has 0.
                let named = signal.to_string().parse().ok();
                assert!(named == Some(signal) || [0, 32, 33].contains(&number), "{text:?}");
                // Nothing is read into a text that isn't there.
                let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
                let is_number = digits.bytes().all(|byte| byte.is_ascii_digit());
                assert!(
                    is_number || text.bytes().any(|byte| byte.is_ascii_alphabetic()),
                    "{text:?}"
                );
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::InvalidArgument),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("KILL", 9),
            ("SIGKILL", 9),
            ("sigkill", 9),
            ("9", 9),
            ("0", 0),
            ("RTMIN", 34),
            ("SIGRTMIN+3", 37),
            ("rtmax", 64),
            ("RTMAX-4", 60),
            ("64", 64),
        ] {
            assert_eq!(text.parse::<Signal>().unwrap().number(), number, "{text}");
        }
        for text in ["", "SIG", "65", "-1", "KILLED", "RTMIN+31", "RTMIN+-1", "RTMAX-31", "9x"] {
            assert!(text.parse::<Signal>().is_err(), "{text}");
        }
    }

    #[test]
    fn words() {
        assert_eq!(describe(31), "bad system call");
        assert_eq!(describe(40), "signal 40");
    }

    #[test]
    fn every_name_round_trips() {
        for number in 1..=64 {
            let signal = Signal(number);
            if (32..34).contains(&number) {
                continue;
            }
            assert_eq!(signal.to_string().parse::<Signal>().unwrap(), signal);
        }
    }
}
