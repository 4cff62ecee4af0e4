//! What a misspelt name may have meant. Runs on the error path only.

/// The known name nearest to `given`, if it is near enough to be meant.
pub(super) fn closest(
    given: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // A third of the letters may be wrong; more than that is a guess that doesn't help.
    let tolerated = given.chars().count().div_ceil(3);
    known
        .map(|name| (distance(given, name), name))
        .filter(|(distance, _)| *distance <= tolerated)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// The edits (insert, remove, replace, swap neighbours) that make `a` into `b`.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=b.len()).collect();
    let mut last = None;
    for (row, from) in a.chars().enumerate() {
        let mut line = vec![row + 1];
        let mut left = None;
        for (column, to) in b.iter().copied().enumerate() {
            let at = |line: &[usize], index: usize| line.get(index).copied().unwrap_or(usize::MAX);
            let replace = at(&above, column) + usize::from(from != to);
            let mut cost = replace.min(at(&above, column + 1) + 1).min(at(&line, column) + 1);
            if last == Some(to) && left == Some(from) {
                cost = cost.min(at(&before, column - 1) + 1);
            }
            line.push(cost);
            left = Some(to);
        }
        last = Some(from);
        before = std::mem::replace(&mut above, line);
    }
    above.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distances() {
        for (a, b, expected) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("run", "run", 0),
            ("rnu", "run", 1),
            ("kitten", "sitting", 3),
            ("bundel", "bundle", 1),
        ] {
            assert_eq!(distance(a, b), expected, "{a} {b}");
            assert_eq!(distance(b, a), expected, "{b} {a}");
        }
    }

    #[test]
    fn only_what_is_near() {
        let known = ["create", "delete", "state", "start"];
        assert_eq!(closest("craete", known.into_iter()), Some("create"));
        assert_eq!(closest("stat", known.into_iter()), Some("state"));
        assert_eq!(closest("frobnicate", known.into_iter()), None);
        assert_eq!(closest("", known.into_iter()), None);
    }
}
