//! The text form of values: GLib's "GVariant Text Format", as far as D-Bus has the types.

use super::value::{Value, first_type};

/// More nesting than any property has, and no danger to the stack.
const DEPTH: usize = 16;

type Result<T> = std::result::Result<T, String>;

/// Reads a value: `true`, `uint64 5`, `'text'`, `['a', 'b']`, `@as []`, `('a', 1)`.
pub(super) fn parse(text: &str) -> Result<Value> {
    let mut parser = Parser { rest: text, depth: 0 };
    let term = parser.term()?;
    parser.space();
    if !parser.rest.is_empty() {
        return Err(format!("unexpected {:?} behind the value", shorten(parser.rest)));
    }
    let signature = term.signature().map(|(signature, _)| signature);
    term.build(&signature.ok_or("the type of an empty array has to be given: `@as []`")?)
}

fn shorten(text: &str) -> &str {
    text.get(..text.char_indices().nth(16).map_or(text.len(), |(at, _)| at)).unwrap_or(text)
}

/// What was read, before all types are known.
#[derive(Debug)]
enum Term {
    Bool(bool),
    Number(String),
    Text(String),
    Bytes(Vec<u8>),
    Array(Vec<Term>),
    Tuple(Vec<Term>),
    Dictionary(Vec<(Term, Term)>),
    Variant(Box<Term>),
    Typed(String, Box<Term>),
}

impl Term {
    /// The type, if it can be told, and whether it was given and not guessed.
    fn signature(&self) -> Option<(String, bool)> {
        let guessed = |signature: &str| Some((signature.to_owned(), false));
        match self {
            Self::Bool(_) => guessed("b"),
            Self::Number(text) if is_decimal(text) => guessed("d"),
            Self::Number(_) => guessed("i"),
            Self::Text(_) => guessed("s"),
            Self::Bytes(_) => guessed("ay"),
            Self::Variant(_) => guessed("v"),
            Self::Typed(signature, _) => Some((signature.clone(), true)),
            Self::Array(terms) => {
                let (signature, given) = common(terms.iter())?;
                Some((format!("a{signature}"), given))
            }
            Self::Tuple(terms) => {
                let mut signature = "(".to_owned();
                for term in terms {
                    signature.push_str(&term.signature()?.0);
                }
                Some((signature + ")", false))
            }
            Self::Dictionary(entries) => {
                let (key, _) = common(entries.iter().map(|(key, _)| key))?;
                let (value, _) = common(entries.iter().map(|(_, value)| value))?;
                Some((format!("a{{{key}{value}}}"), false))
            }
        }
    }

    /// The value, of a type that is known.
    fn build(&self, signature: &str) -> Result<Value> {
        let mismatch = || format!("a value is not of the type {signature:?}");
        let (first, rest) = first_type(signature).map_err(|error| error.to_string())?;
        if !rest.is_empty() {
            return Err(format!("{signature:?} is more than one type"));
        }
        if let Self::Typed(own, term) = self {
            return if own == signature { term.build(own) } else { Err(mismatch()) };
        }
        Ok(match (self, first.as_bytes()) {
            (Self::Bool(value), b"b") => Value::Bool(*value),
            (Self::Number(text), [kind]) => number(text, *kind)?,
            (Self::Text(text), b"s") => Value::Str(text.clone()),
            (Self::Text(text), b"o") => Value::Path(text.clone()),
            (Self::Text(text), b"g") => Value::Signature(text.clone()),
            (Self::Bytes(bytes), b"ay") => Value::bytes(bytes),
            (Self::Variant(term), b"v") => {
                let signature = term.signature().ok_or_else(mismatch)?.0;
                term.build(&signature)?.variant()
            }
            (Self::Array(terms), [b'a', ..]) => {
                let element = first.get(1..).unwrap_or_default();
                let values = terms.iter().map(|term| term.build(element));
                Value::Array(element.to_owned(), values.collect::<Result<_>>()?)
            }
            (Self::Tuple(terms), [b'(', .., b')']) => {
                let mut types = first.get(1..first.len() - 1).unwrap_or_default();
                let mut values = Vec::new();
                for term in terms {
                    let (field, others) = first_type(types).map_err(|_| mismatch())?;
                    values.push(term.build(field)?);
                    types = others;
                }
                if !types.is_empty() {
                    return Err(mismatch());
                }
                Value::Struct(values)
            }
            (Self::Dictionary(entries), [b'a', b'{', .., b'}']) => {
                let types = first.get(2..first.len() - 1).unwrap_or_default();
                let (key, value) = first_type(types).map_err(|_| mismatch())?;
                let entry = |entry: &(Term, Term)| {
                    Ok(Value::Entry(Box::new((entry.0.build(key)?, entry.1.build(value)?))))
                };
                let entries = entries.iter().map(entry).collect::<Result<_>>()?;
                Value::Array(first.get(1..).unwrap_or_default().to_owned(), entries)
            }
            _ => return Err(mismatch()),
        })
    }
}

/// The type of an array's elements: one that is given, else a decimal one, else the first.
fn common<'a>(terms: impl Iterator<Item = &'a Term>) -> Option<(String, bool)> {
    let mut found: Vec<_> = terms.filter_map(Term::signature).collect();
    let best = found
        .iter()
        .position(|(_, given)| *given)
        .or_else(|| found.iter().position(|(signature, _)| signature == "d"))
        .unwrap_or(0);
    (best < found.len()).then(|| found.swap_remove(best))
}

fn is_decimal(text: &str) -> bool {
    !text.contains(['x', 'X']) && text.contains(['.', 'e', 'E'])
        || text.ends_with("inf")
        || text.ends_with("nan")
}

fn number(text: &str, kind: u8) -> Result<Value> {
    let wrong = || format!("{text} is not a number of this type");
    if kind == b'd' {
        return text.parse().map(Value::Double).map_err(|_| wrong());
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (digits, base) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (digits.get(2..).unwrap_or_default(), 16),
        [b'0', _, ..] => (digits.get(1..).unwrap_or_default(), 8),
        _ => (digits, 10),
    };
    if !digits.starts_with(|first: char| first.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    let value = i128::from_str_radix(digits, base).map_err(|_| wrong())?;
    let value = if negative { -value } else { value };
    let result = match kind {
        b'y' => value.try_into().map(Value::Byte),
        b'n' => value.try_into().map(Value::I16),
        b'q' => value.try_into().map(Value::U16),
        b'i' => value.try_into().map(Value::I32),
        b'u' => value.try_into().map(Value::U32),
        b'x' => value.try_into().map(Value::I64),
        b't' => value.try_into().map(Value::U64),
        _ => return Err(wrong()),
    };
    result.map_err(|_| format!("{text} is out of range"))
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl<'a> Parser<'a> {
    fn space(&mut self) {
        self.rest = self.rest.trim_start();
    }

    /// Takes a character, if it is the next one.
    fn eat(&mut self, wanted: char) -> bool {
        self.space();
        match self.rest.strip_prefix(wanted) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn expect(&mut self, wanted: char) -> Result<()> {
        if self.eat(wanted) { Ok(()) } else { Err(format!("{wanted:?} is missing")) }
    }

    /// Takes what the condition holds for.
    fn word(&mut self, condition: impl Fn(char) -> bool) -> &'a str {
        let end = self.rest.find(|c: char| !condition(c)).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest;
        word
    }

    fn term(&mut self) -> Result<Term> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err("it is nested too deeply".to_owned());
        }
        self.space();
        let term = match self.rest.chars().next() {
            None => return Err("a value is missing".to_owned()),
            Some('[') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                Term::Array(self.list(']')?)
            }
            Some('(') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                match self.list(')')? {
                    terms if terms.is_empty() => return Err("a tuple is empty".to_owned()),
                    terms => Term::Tuple(terms),
                }
            }
            Some('{') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                Term::Dictionary(self.entries()?)
            }
            Some('<') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let term = self.term()?;
                self.expect('>')?;
                Term::Variant(Box::new(term))
            }
            Some('\'' | '"') => Term::Text(self.quoted()?),
            Some('b') if self.rest.starts_with("b'") || self.rest.starts_with("b\"") => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                // A byte string ends with a NUL.
                let mut bytes = self.quoted()?.into_bytes();
                bytes.push(0);
                Term::Bytes(bytes)
            }
            Some('@') => {
                self.rest = self.rest.get(1..).unwrap_or_default();
                let signature = self.word(|c| !c.is_whitespace()).to_owned();
                match first_type(&signature) {
                    Ok((_, "")) => Term::Typed(signature, Box::new(self.term()?)),
                    _ => return Err(format!("{signature:?} is not a type")),
                }
            }
            Some(_) => self.bare()?,
        };
        self.depth -= 1;
        Ok(term)
    }

    /// A number, or a word: a boolean or a type.
    fn bare(&mut self) -> Result<Term> {
        let word = self.word(|c| c.is_ascii_alphanumeric() || "+-._".contains(c));
        let signature = match word {
            "true" => return Ok(Term::Bool(true)),
            "false" => return Ok(Term::Bool(false)),
            "boolean" => "b",
            "byte" => "y",
            "int16" => "n",
            "uint16" => "q",
            "int32" => "i",
            "uint32" => "u",
            "int64" => "x",
            "uint64" => "t",
            "double" => "d",
            "string" => "s",
            "objectpath" => "o",
            "signature" => "g",
            _ => {
                let digits = word.trim_start_matches(['+', '-']);
                let number = digits.starts_with(|c: char| c.is_ascii_digit() || c == '.');
                return if number || ["inf", "nan"].contains(&digits) {
                    Ok(Term::Number(word.to_owned()))
                } else {
                    Err(format!(
                        "unexpected {:?}",
                        shorten(if word.is_empty() { self.rest } else { word })
                    ))
                };
            }
        };
        Ok(Term::Typed(signature.to_owned(), Box::new(self.term()?)))
    }

    fn list(&mut self, end: char) -> Result<Vec<Term>> {
        let mut terms = Vec::new();
        while !self.eat(end) {
            terms.push(self.term()?);
            if !self.eat(',') {
                self.expect(end)?;
                break;
            }
        }
        Ok(terms)
    }

    fn entries(&mut self) -> Result<Vec<(Term, Term)>> {
        let mut entries = Vec::new();
        while !self.eat('}') {
            let key = self.term()?;
            self.expect(':')?;
            entries.push((key, self.term()?));
            if !self.eat(',') {
                self.expect('}')?;
                break;
            }
        }
        Ok(entries)
    }

    /// A string, with the escapes of C and of Unicode.
    fn quoted(&mut self) -> Result<String> {
        let unfinished = || "a string has no end".to_owned();
        let mut chars = self.rest.char_indices();
        let (_, quote) = chars.next().ok_or_else(unfinished)?;
        let mut text = String::new();
        while let Some((at, character)) = chars.next() {
            if character == quote {
                self.rest = self.rest.get(at + 1..).unwrap_or_default();
                return if text.contains('\0') {
                    Err("a string contains a NUL".to_owned())
                } else {
                    Ok(text)
                };
            }
            if character != '\\' {
                text.push(character);
                continue;
            }
            let (_, escaped) = chars.next().ok_or_else(unfinished)?;
            match escaped {
                'a' => text.push('\u{7}'),
                'b' => text.push('\u{8}'),
                'f' => text.push('\u{c}'),
                'n' => text.push('\n'),
                'r' => text.push('\r'),
                't' => text.push('\t'),
                'v' => text.push('\u{b}'),
                '\n' => {}
                'u' | 'U' => {
                    let count = if escaped == 'u' { 4 } else { 8 };
                    let digits: String = chars.by_ref().take(count).map(|(_, c)| c).collect();
                    let number = u32::from_str_radix(&digits, 16).ok();
                    let number =
                        number.filter(|_| digits.len() == count && !digits.starts_with('+'));
                    text.push(number.and_then(char::from_u32).ok_or("a character doesn't exist")?);
                }
                other => text.push(other),
            }
        }
        Err(unfinished())
    }
}
