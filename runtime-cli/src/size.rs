//! Sizes of memory as Docker and runc take them: `64M`, `1.5 GiB`, `4096b`.

/// The bytes that a text stands for. Units are powers of 1024, in any case, with or without `b` or
/// `ib`. The messages are those of github.com/docker/go-units.
pub(crate) fn parse(text: &str) -> Result<u64, String> {
    let invalid = || format!("invalid size: '{text}'");
    let is_number = |c: char| c.is_ascii_digit() || c == '.' || c == ' ';
    let end = text.rfind(is_number).map(|at| at + 1).ok_or_else(invalid)?;
    let (number, unit) = text.split_at_checked(end).ok_or_else(invalid)?;
    let number = number.strip_suffix(' ').unwrap_or(number);
    // f64::from_str takes more than a decimal number: names, signs, exponents.
    if !number.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        || number.contains(|c: char| !c.is_ascii_digit() && c != '.')
    {
        return Err(invalid());
    }
    let number: f64 = number.parse().map_err(|_| invalid())?;
    let factor = factor(&unit.to_ascii_lowercase())?;
    let bytes = number * factor;
    // The runtime-spec's int64 ends here, and what is more must not become no limit at all.
    if bytes >= 2_f64.powi(63) {
        return Err(invalid());
    }
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    Ok(bytes as u64)
}

fn factor(unit: &str) -> Result<f64, String> {
    let bad = || format!("invalid suffix: '{unit}'");
    let prefix = match unit.strip_suffix("ib").filter(|prefix| !prefix.is_empty()) {
        Some(prefix) => prefix,
        None => unit.strip_suffix('b').unwrap_or(unit),
    };
    let exponent = match prefix {
        "" => 0,
        "k" => 1,
        "m" => 2,
        "g" => 3,
        "t" => 4,
        "p" => 5,
        _ => return Err(bad()),
    };
    Ok(1024_f64.powi(exponent))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("32", 32),
            ("32b", 32),
            ("32B", 32),
            ("32k", 32 << 10),
            ("32K", 32 << 10),
            ("32kb", 32 << 10),
            ("32Kb", 32 << 10),
            ("32KiB", 32 << 10),
            ("100M", 100 << 20),
            ("32 Mb", 32 << 20),
            ("1.5g", 3 << 29),
            (".5T", 1 << 39),
            ("32Pb", 32 << 50),
            ("8191P", 8191 << 50),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size() {
        for text in [
            "",
            "hello",
            "-32",
            "+1",
            "1e3",
            "inf",
            ".",
            "32 32",
            "1..2",
            "-1",
            "8192P",
            "99999999999999999999",
        ] {
            assert_eq!(parse(text), Err(format!("invalid size: '{text}'")), "{text}");
        }
        for (text, unit) in [
            ("32bb", "bb"),
            ("32bm", "bm"),
            ("32mbb", "mbb"),
            ("32ib", "ib"),
            ("32mi", "mi"),
            ("32e", "e"),
            ("1é", "é"),
        ] {
            assert_eq!(parse(text), Err(format!("invalid suffix: '{unit}'")), "{text}");
        }
    }
}
