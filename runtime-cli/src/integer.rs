//! Whole numbers as Go's flag package takes them: `strconv.ParseInt` with base 0.

/// The number that a text stands for: decimal, or with a prefix `0x`, `0o`, `0` or `0b`, with a
/// sign, and with underscores between digits. The messages are those of Go's strconv.
pub(crate) fn parse(text: &str) -> Result<i64, &'static str> {
    let (sign, number) = match text.strip_prefix('-') {
        Some(number) => ("-", number),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    };
    let number = number.to_ascii_lowercase();
    let prefixed = [("0x", 16), ("0o", 8), ("0b", 2)].into_iter().find_map(|(prefix, radix)| {
        let digits = number.strip_prefix(prefix)?;
        // An underscore may follow a prefix as well.
        Some((digits.strip_prefix('_').unwrap_or(digits), radix))
    });
    let radix = if number.starts_with('0') { 8 } else { 10 };
    let (digits, radix) = prefixed.unwrap_or((&number, radix));
    let is_group = |group: &str| !group.is_empty() && group.chars().all(|c| c.is_digit(radix));
    if !digits.split('_').all(is_group) {
        return Err("invalid syntax");
    }
    let digits = format!("{sign}{}", digits.replace('_', ""));
    // They are digits, so that there can only be too many of them.
    i64::from_str_radix(&digits, radix).map_err(|_| "value out of range")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers() {
        for (text, number) in [
            ("0", 0),
            ("-0", 0),
            ("10", 10),
            ("+10", 10),
            ("-1", -1),
            ("010", 8),
            ("0_10", 8),
            ("0o17", 15),
            ("0O17", 15),
            ("0x10", 16),
            ("-0X_fF", -255),
            ("0b101", 5),
            ("1_000_000", 1_000_000),
            ("9223372036854775807", i64::MAX),
            ("-0x8000000000000000", i64::MIN),
        ] {
            assert_eq!(parse(text), Ok(number), "{text}");
        }
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "", "+", "-", "--1", "+-1", "-+1", " 1", "1.0", "1e3", "ten", "08", "0x", "0x_",
            "0x+1", "0b2", "0o8", "_1", "1_", "1__0", "0x__1", "0_", "0x1_", "ff", "é",
        ] {
            assert_eq!(parse(text), Err("invalid syntax"), "{text}");
        }
        for text in ["9223372036854775808", "-9223372036854775809", "0xffffffffffffffff"] {
            assert_eq!(parse(text), Err("value out of range"), "{text}");
        }
    }
}
