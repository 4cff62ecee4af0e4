//! The little of TOML that a section of options needs: keys with strings, numbers and truth values.
//!
//! No option is made of what else TOML has: it is skipped, up to where it ends, and known by its key.

use crate::failure::{Code, Failure, Result};

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Value {
    Text(String),
    Boolean(bool),
    Integer(i64),
    /// An array, a table, a time, a string of several lines: for the one who wants none of these.
    Other,
}

impl Value {
    pub(super) fn text(self, key: &str) -> Result<String> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(refuse(format!("{key}: a string on one line is expected"))),
        }
    }

    pub(super) fn boolean(self, key: &str) -> Result<bool> {
        match self {
            Self::Boolean(value) => Ok(value),
            _ => Err(refuse(format!("{key}: true or false is expected"))),
        }
    }

    /// A user's or a group's.
    pub(super) fn id(self, key: &str) -> Result<u32> {
        match self {
            Self::Integer(value) => u32::try_from(value).ok(),
            _ => None,
        }
        .ok_or_else(|| refuse(format!("{key}: a whole number from 0 is expected")))
    }
}

#[derive(Debug, Default)]
pub(super) struct Section {
    /// The keys before the first table, with their values. The parts of a dotted one are joined.
    pub(super) pairs: Vec<(String, Value)>,
    /// The first table, if there is one. Nothing after it is read.
    pub(super) table: Option<String>,
}

pub(super) fn parse(text: &str) -> Result<Section> {
    let mut section = Section::default();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let line = rest.lines().next().unwrap_or_default().trim_end();
        match rest.chars().next() {
            None => return Ok(section),
            Some('#') => rest = skip_line(rest),
            Some('[') => {
                section.table = Some(format!("{line} (and what follows)"));
                return Ok(section);
            }
            Some(_) => {
                let (key, value, after) = pair(rest).ok_or_else(|| {
                    let before = text.strip_suffix(rest).unwrap_or_default();
                    let number = before.matches('\n').count() + 1;
                    refuse(format!("line {number} of TOML: {line}"))
                })?;
                section.pairs.push((key, value));
                rest = after;
            }
        }
    }
}

/// A key, its value, and what follows their line.
fn pair(text: &str) -> Option<(String, Value, &str)> {
    let (key, rest) = key(text)?;
    let text = skip_blanks(rest).strip_prefix('=').map(skip_blanks)?;
    let (value, rest) = match text.chars().next()? {
        '"' | '\'' if is_multiline(text) => (Value::Other, skip_string(text)?),
        '"' | '\'' => string(text).map(|(text, rest)| (Value::Text(text), rest))?,
        '[' | '{' => (Value::Other, skip_brackets(text)?),
        _ => {
            let end = text.find(['#', '\n']).unwrap_or(text.len());
            let (word, rest) = text.split_at_checked(end)?;
            (plain(word.trim_end())?, rest)
        }
    };
    let rest = rest.trim_start_matches([' ', '\t', '\r']);
    let ended = rest.is_empty() || rest.starts_with(['#', '\n']);
    ended.then_some((key, value, skip_line(rest)))
}

fn key(text: &str) -> Option<(String, &str)> {
    let mut key = String::new();
    let mut rest = text;
    loop {
        let part = match rest.chars().next()? {
            '"' | '\'' => string(rest)?,
            _ => {
                let end = rest.find(|letter: char| !is_bare(letter)).filter(|end| *end > 0)?;
                let (part, rest) = rest.split_at_checked(end)?;
                (part.to_owned(), rest)
            }
        };
        key.push_str(&part.0);
        rest = part.1;
        let Some(next) = skip_blanks(rest).strip_prefix('.') else { return Some((key, rest)) };
        key.push('.');
        rest = skip_blanks(next);
    }
}

fn skip_blanks(text: &str) -> &str {
    text.trim_start_matches([' ', '\t'])
}

fn skip_line(text: &str) -> &str {
    text.split_once('\n').map_or("", |(_, rest)| rest)
}

/// What follows an array or a table in one value.
fn skip_brackets(text: &str) -> Option<&str> {
    let mut depth = 0_usize;
    let mut rest = text;
    loop {
        let letter = rest.chars().next()?;
        rest = match letter {
            '"' | '\'' => skip_string(rest)?,
            '#' => skip_line(rest),
            _ => rest.strip_prefix(letter)?,
        };
        match letter {
            '[' | '{' => depth += 1,
            ']' | '}' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(rest);
        }
    }
}

fn is_multiline(text: &str) -> bool {
    text.starts_with("\"\"\"") || text.starts_with("'''")
}

fn skip_string(text: &str) -> Option<&str> {
    if !is_multiline(text) {
        return string(text).map(|(_, rest)| rest);
    }
    let (mark, text) = text.split_at_checked(3)?;
    let mut rest = text;
    let end = loop {
        if let Some(end) = rest.strip_prefix(mark) {
            break end;
        }
        let mut letters = rest.chars();
        if letters.next()? == '\\' && mark.starts_with('"') {
            letters.next()?;
        }
        rest = letters.as_str();
    };
    // Up to two more quotes before the end are the string's own.
    let quote = mark.get(..1)?;
    let end = end.strip_prefix(quote).unwrap_or(end);
    Some(end.strip_prefix(quote).unwrap_or(end))
}

fn is_bare(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == '_' || letter == '-'
}

fn plain(word: &str) -> Option<Value> {
    match word {
        "true" => return Some(Value::Boolean(true)),
        "false" => return Some(Value::Boolean(false)),
        _ => {}
    }
    let digits = word.replace('_', "");
    match digits.parse() {
        Ok(number) => Some(Value::Integer(number)),
        // A fraction, another base, a time.
        Err(_) => {
            let word = word.strip_prefix(['+', '-']).unwrap_or(word);
            let number = word.starts_with(|first: char| first.is_ascii_digit());
            (number || matches!(word, "inf" | "nan")).then_some(Value::Other)
        }
    }
}

/// A string on one line, and what follows it: `'…'` as it is, or `"…"` with escapes.
fn string(text: &str) -> Option<(String, &str)> {
    if let Some(literal) = text.strip_prefix('\'') {
        let (value, rest) = literal.split_once('\'')?;
        return (!value.contains('\n')).then(|| (value.to_owned(), rest));
    }
    let mut value = String::new();
    let mut letters = text.strip_prefix('"')?.chars();
    loop {
        match letters.next()? {
            '"' => return Some((value, letters.as_str())),
            '\n' => return None,
            '\\' => value.push(match letters.next()? {
                'b' => '\u{8}',
                't' => '\t',
                'n' => '\n',
                'f' => '\u{c}',
                'r' => '\r',
                'e' => '\u{1b}',
                'x' => code(&mut letters, 2)?,
                'u' => code(&mut letters, 4)?,
                'U' => code(&mut letters, 8)?,
                same @ ('"' | '\\') => same,
                _ => return None,
            }),
            letter => value.push(letter),
        }
    }
}

fn code(letters: &mut std::str::Chars<'_>, digits: usize) -> Option<char> {
    let (hex, rest) = letters.as_str().split_at_checked(digits)?;
    *letters = rest.chars();
    char::from_u32(u32::from_str_radix(hex, 16).ok()?)
}

fn refuse(message: String) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn text(text: &str) -> Value {
        Value::Text(text.to_owned())
    }

    #[test]
    fn what_go_writes() {
        let section = parse(
            "# a comment\n\nBinaryName = \"/usr/bin/x\"\n  IoUid = 1_000 # a user\nSystemdCgroup=true\n\
             'quoted key' = 'a # \\n'\n\"k\\u0041\" = \"\\\"\\t\\\\\" #\nList = [1, 2]\nHalf = 0.5\n\
             [Nested]\nInside = true\n",
        )
        .unwrap();
        let expected = [
            ("BinaryName", text("/usr/bin/x")),
            ("IoUid", Value::Integer(1000)),
            ("SystemdCgroup", Value::Boolean(true)),
            ("quoted key", text("a # \\n")),
            ("kA", text("\"\t\\")),
            ("List", Value::Other),
            ("Half", Value::Other),
        ];
        assert_eq!(section.pairs, expected.map(|(key, value)| (key.to_owned(), value)));
        assert_eq!(section.table.unwrap(), "[Nested] (and what follows)");
    }

    /// Values of all kinds that no option has.
    const OTHERS: [&str; 16] = [
        "[1, 2]",
        "[\n  [\"]\", 'x ]'], # ]\n  { a = [1] },\n]",
        "{ IoUid = 1, b = \"}\" }",
        "\"\"\"\nIoUid = 1 \\\"\"\" \\\\\"\"\"\"\"",
        "'''\nIoUid = 1 \\'''",
        "['''\n]\n''']",
        "0.5",
        "-0.5e+3",
        "-inf",
        "+nan",
        "0x1f",
        "1979-05-27",
        "1979-05-27 07:32:00Z",
        "07:32:00",
        "[]",
        "[\r\n]",
    ];

    #[test]
    fn other_values_are_skipped() {
        for value in OTHERS {
            for end in ["\n", " # x = 1\r\n"] {
                let section = parse(&format!("a = {value}{end}b . \"c d\".e={value}{end}f = 1"));
                let expected =
                    [("a", Value::Other), ("b.c d.e", Value::Other), ("f", Value::Integer(1))];
                let expected = expected.map(|(key, value)| (key.to_owned(), value));
                assert_eq!(section.unwrap().pairs, expected, "{value}");
            }
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "(\\PC|\n){0,60}", toml in "[\\[\\]{}\"'=#.\\\\ux0-9ab \r\n-]{0,60}") {
            let _ = parse(&text);
            let _ = parse(&toml);
            let _ = parse(&format!("a = {toml}"));
        }
    }

    #[test]
    fn a_bad_line_is_named() {
        for line in [
            "Key",
            "= 1",
            "Key = ",
            "Key = maybe",
            "K = \"open",
            "K = 'x' y",
            "K = \"\\q\"",
            "K = \"\\u12\"",
            "K = 'over\nlines'",
            "K = \"over\nlines\"",
            "K. = 1",
            ".K = 1",
            "K = [1",
            "K = [1] 2",
            "K = ]",
            "K = [\"x]",
            "K = \"\"\"x\"\"",
            "K = '''x\\''",
        ] {
            let failure = parse(&format!("Good = 1\n{line}\n")).unwrap_err();
            assert_eq!(
                failure.message,
                format!("line 2 of TOML: {}", line.lines().next().unwrap().trim())
            );
        }
    }
}
