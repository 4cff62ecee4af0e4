//! Lists of CPUs and memory nodes: `0-3,7`.

use std::ops::RangeInclusive;

/// The largest number taken: beyond what the kernel can be built for (8192 CPUs, 1024 nodes), and
/// small enough that a mask of that many bits costs nothing.
const MAX: u32 = 65_535;

/// Parses "a comma-separated list, with dashes to represent ranges" (config.md, config-linux.md).
/// Like runc it takes spaces around the parts and empty parts. The message says what is wrong.
pub(crate) fn parse(list: &str) -> Result<Vec<RangeInclusive<u32>>, String> {
    let mut ranges = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let range = number(first)?..=number(last)?;
        if range.is_empty() {
            return Err(format!("the range `{part}` ends before it starts"));
        }
        ranges.push(range);
    }
    Ok(ranges)
}

fn number(text: &str) -> Result<u32, String> {
    // `parse` alone would take a plus sign.
    let digits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    if !digits {
        return Err(format!("`{text}` is not a number; a list looks like `0-3,7`"));
    }
    text.parse().ok().filter(|n| *n <= MAX).ok_or_else(|| format!("`{text}` is larger than {MAX}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        assert_eq!(parse("0-3,7"), Ok(vec![0..=3, 7..=7]));
        assert_eq!(parse(" 1 ,, 2-2,"), Ok(vec![1..=1, 2..=2]));
        assert_eq!(parse(""), Ok(vec![]));
        for bad in ["a", "1-", "-1", "+1", "3-1", "1-2-3", "65536", "99999999999", "1;2", "0x1"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }
}
