//! A line of the log, as logrus' text formatter makes it.

use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Level {
    Error,
    Warning,
    Info,
    Debug,
}

impl Level {
    fn name(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Info => "info",
            Self::Debug => "debug",
        }
    }
}

/// `time="…" level=… msg="…"`, with `runtime=` as Go's shims have it, of at most `longest` bytes.
pub(super) fn line(level: Level, message: &str, time: SystemTime, longest: usize) -> String {
    let mut line = format!("time=\"{}\" level={} msg=", rfc3339(time), level.name());
    let room = longest.saturating_sub(line.len() + END.len());
    line.push_str(&quote(message, room));
    line.push_str(END);
    line
}

const END: &str = " runtime=io.containerd.hoist.v2\n";

/// logrus quotes a value, as Go's `%q` does, unless it is made of a few harmless letters. What is
/// too long for `room` ends in `…`.
fn quote(value: &str, room: usize) -> String {
    let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"-._/@^+".contains(&byte);
    if !value.is_empty() && value.len() <= room && value.bytes().all(harmless) {
        return value.to_owned();
    }
    let mut quoted = String::from("\"");
    // An escaped letter has up to six bytes, and the end has four.
    let full = room.saturating_sub(10);
    for letter in value.chars() {
        if quoted.len() > full {
            quoted.push('…');
            break;
        }
        match letter {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", u32::from(control)));
            }
            letter => quoted.push(letter),
        }
    }
    quoted.push('"');
    quoted
}

/// `2026-11-21T09:34:27.123456789Z`, the format of containerd's own lines. Times before 1970 count
/// as 1970.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = since.as_secs();
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let nanos = since.subsec_nanos();
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{nanos:09}Z")
}

/// The Gregorian date `days` after 1970-01-01.
///
/// Years are counted from March, so that a leap day is the last one of its year, and in eras of 400
/// years, which all have 146,097 days.
fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468; // from 0000-03-01
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month = (5 * day_of_year + 2) / 153; // 0 is March
    let day = day_of_year - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_are_those_of_logrus() {
        let time = UNIX_EPOCH + Duration::new(1_795_253_667, 12_345);
        assert_eq!(
            line(Level::Warning, "a\"b\\c\nd\u{1b}[31m", time, 4096),
            "time=\"2026-11-21T09:34:27.000012345Z\" level=warning \
             msg=\"a\\\"b\\\\c\\nd\\u001b[31m\" runtime=io.containerd.hoist.v2\n"
        );
        assert!(
            line(Level::Info, "/run/x", time, 4096).contains(" level=info msg=/run/x runtime=")
        );
        assert!(line(Level::Info, "", time, 4096).contains(" msg=\"\" "));
    }

    #[test]
    fn known_times() {
        for (seconds, expected) in [
            (0, "1970-01-01T00:00:00.000000000Z"),
            (951_782_399, "2000-02-28T23:59:59.000000000Z"),
            (951_782_400, "2000-02-29T00:00:00.000000000Z"),
            (951_868_800, "2000-03-01T00:00:00.000000000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000000000Z"),
        ] {
            assert_eq!(rfc3339(UNIX_EPOCH + Duration::from_secs(seconds)), expected);
        }
        assert_eq!(rfc3339(UNIX_EPOCH - Duration::from_secs(1)), "1970-01-01T00:00:00.000000000Z");
    }

    proptest! {
        #[test]
        fn any_message_is_one_line_that_fits(message in ".{0,300}", longest in 150..400_usize) {
            let line = line(Level::Error, &message, UNIX_EPOCH, longest);
            prop_assert!(line.len() <= longest, "{} bytes", line.len());
            prop_assert_eq!(line.matches('\n').count(), 1);
        }
    }
}
