//! Names of members as they stand in a JSON text that is known to be valid: what a pass over a configuration
//! into its types doesn't show.

/// Whether a member's name is written with an escape: [`of_each`] can't tell what name that is.
pub(super) fn any_escaped(text: &[u8]) -> bool {
    let mut rest = text;
    // No backslash is anywhere but in a string. `contains` takes a word at a time.
    while rest.contains(&b'\\') {
        let string = rest.iter().position(|byte| *byte == b'\\').and_then(|at| rest.get(at..));
        let string = string.unwrap_or_default();
        rest = string.get(end_of_string(string) + 1..).unwrap_or_default();
        if after(rest, b':').is_some() {
            return true;
        }
    }
    false
}

/// Each object that is a member with one of these names: which of them, and the names of the members in it,
/// on all levels. There is one pass over the text for all of them.
pub(super) fn of_each<'a>(
    text: &'a [u8],
    wanted: &[&'static str],
) -> impl Iterator<Item = (&'static str, impl Iterator<Item = &'a [u8]>)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let quote = rest.iter().position(|byte| *byte == b'"')?;
            rest = rest.get(quote + 1..)?;
            // What comes next is a string, or what follows one: then none of the names.
            let first = rest.first();
            let found = wanted.iter().copied().find_map(|name| {
                (name.as_bytes().first() == first).then_some(())?;
                let end = rest.strip_prefix(name.as_bytes())?.strip_prefix(b"\"")?;
                Some((name, after(end, b':')?))
            });
            if let Some((name, value)) = found
                && value.trim_ascii_start().first() == Some(&b'{')
            {
                return Some((name, names(value)));
            }
        }
    })
}

/// The names of members in the object that comes next.
fn names(text: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut depth = 0_u32;
    let mut rest = text;
    std::iter::from_fn(move || {
        while let Some((&byte, tail)) = rest.split_first() {
            rest = tail;
            match byte {
                b'{' => depth += 1,
                b'}' if depth == 1 => rest = &[],
                b'}' => depth -= 1,
                b'"' => {
                    let end = end_of_string(tail);
                    let string = tail.get(..end)?;
                    rest = tail.get(end + 1..).unwrap_or_default();
                    if after(rest, b':').is_some() {
                        return Some(string);
                    }
                }
                _ => {}
            }
        }
        None
    })
}

/// What follows a byte, if nothing but white space is before that.
fn after(text: &[u8], byte: u8) -> Option<&[u8]> {
    text.trim_ascii_start().strip_prefix(&[byte])
}

fn end_of_string(text: &[u8]) -> usize {
    let mut escaped = false;
    let is_end = |byte: &u8| {
        let end = *byte == b'"' && !escaped;
        escaped = *byte == b'\\' && !escaped;
        end
    };
    text.iter().position(is_end).unwrap_or(text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_with_escapes() {
        for (text, expected) in [
            (r#"{"resources": {"\u0043PU": {"shares": 1}}}"#, true),
            (r#"{"resour\u0063es" : {"CPU": {"shares": 1}}}"#, true),
            (r#"{"resources": {}, "env": ["a=\"b\":", "\\"], "x": "\u003c"}"#, false),
            (r#"{"a": "\\", "b\\" : 1}"#, true),
            (r#"{"a": "\"#, false),
        ] {
            assert_eq!(any_escaped(text.as_bytes()), expected, "{text}");
        }
    }

    #[test]
    fn members_of_objects_with_a_name() {
        let of = |text: &'static str| -> Vec<Vec<&str>> {
            of_each(text.as_bytes(), &["x", "a"])
                .map(|(which, names)| {
                    assert_eq!(which, "a");
                    names.map(|name| std::str::from_utf8(name).unwrap()).collect()
                })
                .collect()
        };
        assert_eq!(
            of(r#"{"a" : {"b": "}\"", "c":{"d": ["a", {"e": 1}]}}, "f": 1}"#),
            [["b", "c", "d", "e"]]
        );
        assert_eq!(of(r#"{"b": {"a": {"c": 1}}, "a": {}}"#), [vec!["c"], vec![]]);
        assert_eq!(of(r#"{"a": 1, "b": ["a", {"c": 1}], "c": "\"a\": {"}"#), [[""; 0]; 0]);
        assert_eq!(of(r#"{"a": {"b"#), [[""; 0]]);
        assert_eq!(of(r#"{"a""#), [[""; 0]; 0]);
    }
}
