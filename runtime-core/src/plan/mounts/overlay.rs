//! overlay's `lowerdir` when it is too long for fsconfig(2).

/// Splits `lowerdir=a:b::c` into `lowerdir+=a`, `lowerdir+=b`, `datadir+=c`, which Linux 6.8 and
/// later takes one by one; None where that can't be done. In the joined form a backslash takes
/// the meaning from a colon; in the single form there is nothing to escape.
pub(super) fn split(value: &str) -> Option<Vec<(&'static str, String)>> {
    let parts = colons(value)?;
    let empty = |part: Option<&String>| part.is_none_or(String::is_empty);
    let odd = parts.windows(2).any(|pair| pair.iter().all(String::is_empty));
    if empty(parts.first()) || empty(parts.last()) || odd {
        return None;
    }
    let mut key = "lowerdir+";
    let mut layers = Vec::new();
    for part in parts {
        if part.is_empty() {
            // "::" comes before a layer that holds data only; others can't follow it.
            key = "datadir+";
        } else {
            layers.push((key, part));
        }
    }
    Some(layers)
}

/// The parts between colons, without escapes.
fn colons(value: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let mut chars = value.chars();
    while let Some(c) = chars.next() {
        match c {
            ':' => parts.push(String::new()),
            '\\' => parts.last_mut()?.push(chars.next()?),
            c => parts.last_mut()?.push(c),
        }
    }
    Some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(value: &str) -> Option<String> {
        let layers = split(value)?;
        Some(layers.iter().map(|(key, dir)| format!("{key}={dir}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn layers_one_by_one() {
        assert_eq!(layers("/a:/b").as_deref(), Some("lowerdir+=/a lowerdir+=/b"));
        assert_eq!(layers(r"/a\:b:/c\\d").as_deref(), Some(r"lowerdir+=/a:b lowerdir+=/c\d"));
        assert_eq!(layers("/a::/b::/c").as_deref(), Some("lowerdir+=/a datadir+=/b datadir+=/c"));
        for odd in ["", ":/a", "/a:", "/a:::/b", r"/a\"] {
            assert_eq!(layers(odd), None, "{odd}");
        }
    }
}
