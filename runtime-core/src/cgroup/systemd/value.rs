//! Values of D-Bus types: D-Bus Specification, "Type System" and "Marshaling".

use std::fmt;

/// How deep containers may be nested: the specification has 32 of arrays and 32 of structs.
const DEPTH: usize = 32;
/// "The maximum length of a signature is 255."
const SIGNATURE: usize = 255;
/// "Arrays have a maximum length of 2 to the 26th power, 64 MiB."
const ARRAY: usize = 1 << 26;

/// A value, which knows its type.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Byte(u8),
    Bool(bool),
    I16(i16),
    U16(u16),
    I32(i32),
    U32(u32),
    I64(i64),
    U64(u64),
    Double(f64),
    Str(String),
    Path(String),
    Signature(String),
    /// The number of a descriptor among those that come with the message.
    Handle(u32),
    /// The elements' signature, and the elements.
    Array(String, Vec<Value>),
    Struct(Vec<Value>),
    /// Only as an array's element.
    Entry(Box<(Value, Value)>),
    Variant(Box<Value>),
}

/// Bytes that are not what the specification says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Malformed(pub(super) &'static str);

impl fmt::Display for Malformed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Malformed {}

impl Value {
    pub(super) fn text(text: impl Into<String>) -> Self {
        Self::Str(text.into())
    }

    /// An array of strings.
    #[cfg(test)]
    pub(super) fn texts(texts: &[&str]) -> Self {
        Self::Array("s".to_owned(), texts.iter().map(|text| Self::text(*text)).collect())
    }

    /// An array of bytes.
    pub(super) fn bytes(bytes: &[u8]) -> Self {
        Self::Array("y".to_owned(), bytes.iter().copied().map(Self::Byte).collect())
    }

    pub(super) fn variant(self) -> Self {
        Self::Variant(Box::new(self))
    }

    pub(super) fn as_str(&self) -> Option<&str> {
        match self {
            Self::Str(text) | Self::Path(text) | Self::Signature(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn signature(&self) -> String {
        let mut signature = String::new();
        self.add_signature(&mut signature);
        signature
    }

    fn add_signature(&self, out: &mut String) {
        match self {
            Self::Byte(_) => out.push('y'),
            Self::Bool(_) => out.push('b'),
            Self::I16(_) => out.push('n'),
            Self::U16(_) => out.push('q'),
            Self::I32(_) => out.push('i'),
            Self::U32(_) => out.push('u'),
            Self::I64(_) => out.push('x'),
            Self::U64(_) => out.push('t'),
            Self::Double(_) => out.push('d'),
            Self::Str(_) => out.push('s'),
            Self::Path(_) => out.push('o'),
            Self::Signature(_) => out.push('g'),
            Self::Handle(_) => out.push('h'),
            Self::Variant(_) => out.push('v'),
            Self::Array(element, _) => {
                out.push('a');
                out.push_str(element);
            }
            Self::Struct(fields) => {
                out.push('(');
                fields.iter().for_each(|field| field.add_signature(out));
                out.push(')');
            }
            Self::Entry(entry) => {
                out.push('{');
                entry.0.add_signature(out);
                entry.1.add_signature(out);
                out.push('}');
            }
        }
    }

    /// How values of a type are aligned.
    fn alignment(signature: &str) -> usize {
        match signature.as_bytes().first() {
            Some(b'n' | b'q') => 2,
            Some(b'b' | b'i' | b'u' | b's' | b'o' | b'a' | b'h') => 4,
            Some(b'x' | b't' | b'd' | b'(' | b'{') => 8,
            _ => 1,
        }
    }
}

/// Splits the first complete type off a signature.
pub(super) fn first_type(signature: &str) -> Result<(&str, &str), Malformed> {
    if signature.len() > SIGNATURE {
        return Err(Malformed("a signature is too long"));
    }
    let length = type_length(signature.as_bytes(), 0)?;
    signature.split_at_checked(length).ok_or(Malformed("a signature ends too early"))
}

/// How many bytes the first complete type has.
fn type_length(signature: &[u8], depth: usize) -> Result<usize, Malformed> {
    if depth > 2 * DEPTH {
        return Err(Malformed("a type is nested too deeply"));
    }
    let rest = |from: usize| signature.get(from..).unwrap_or_default();
    match signature.first() {
        Some(
            b'y' | b'b' | b'n' | b'q' | b'i' | b'u' | b'x' | b't' | b'd' | b's' | b'o' | b'g'
            | b'h' | b'v',
        ) => Ok(1),
        Some(b'a') if signature.get(1) == Some(&b'{') => {
            let key = type_length(rest(2), depth + 1)?;
            if key != 1 || matches!(signature.get(2), Some(b'v')) {
                return Err(Malformed("a dictionary's key has a type that keys can't have"));
            }
            let value = type_length(rest(3), depth + 1)?;
            match signature.get(3 + value) {
                Some(b'}') => Ok(4 + value),
                _ => Err(Malformed("a dictionary's entry has more than a key and a value")),
            }
        }
        Some(b'a') => Ok(1 + type_length(rest(1), depth + 1)?),
        Some(b'(') => {
            let mut length = 1;
            loop {
                match signature.get(length) {
                    Some(b')') if length > 1 => return Ok(length + 1),
                    _ => length += type_length(rest(length), depth + 1)?,
                }
            }
        }
        _ => Err(Malformed("a signature has a type that doesn't exist")),
    }
}

/// "An object path": elements of letters, digits and underscores.
fn is_path(path: &str) -> bool {
    let element = |element: &str| {
        !element.is_empty()
            && element.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
    };
    path == "/" || path.strip_prefix('/').is_some_and(|rest| rest.split('/').all(element))
}

/// Writes values as D-Bus has them, in little-endian order.
#[derive(Debug, Default)]
pub(super) struct Writer(pub(super) Vec<u8>);

impl Writer {
    pub(super) fn pad(&mut self, alignment: usize) {
        self.0.resize(self.0.len().next_multiple_of(alignment), 0);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.pad(4);
        self.0.extend(value.to_le_bytes());
    }

    /// A string's or an array's length.
    fn length(&mut self, length: usize) -> Result<(), Malformed> {
        if length > ARRAY {
            return Err(Malformed("a value is too long"));
        }
        self.u32(u32::try_from(length).map_err(|_| Malformed("a value is too long"))?);
        Ok(())
    }

    fn string(&mut self, text: &str) -> Result<(), Malformed> {
        if text.contains('\0') {
            return Err(Malformed("a string contains a NUL"));
        }
        self.length(text.len())?;
        self.0.extend(text.as_bytes());
        self.0.push(0);
        Ok(())
    }

    fn signature(&mut self, signature: &str) -> Result<(), Malformed> {
        let mut rest = signature;
        while !rest.is_empty() {
            rest = first_type(rest)?.1;
        }
        let length = u8::try_from(signature.len());
        self.0.push(length.map_err(|_| Malformed("a signature is too long"))?);
        self.0.extend(signature.as_bytes());
        self.0.push(0);
        Ok(())
    }

    pub(super) fn value(&mut self, value: &Value) -> Result<(), Malformed> {
        match value {
            Value::Byte(value) => self.0.push(*value),
            Value::Bool(value) => self.u32((*value).into()),
            Value::I16(value) => {
                self.pad(2);
                self.0.extend(value.to_le_bytes());
            }
            Value::U16(value) => {
                self.pad(2);
                self.0.extend(value.to_le_bytes());
            }
            Value::I32(value) => {
                self.pad(4);
                self.0.extend(value.to_le_bytes());
            }
            Value::U32(value) | Value::Handle(value) => self.u32(*value),
            Value::I64(value) => {
                self.pad(8);
                self.0.extend(value.to_le_bytes());
            }
            Value::U64(value) => {
                self.pad(8);
                self.0.extend(value.to_le_bytes());
            }
            Value::Double(value) => {
                self.pad(8);
                self.0.extend(value.to_le_bytes());
            }
            Value::Str(text) => self.string(text)?,
            Value::Path(path) if is_path(path) => self.string(path)?,
            Value::Path(_) => return Err(Malformed("not an object path")),
            Value::Signature(text) => self.signature(text)?,
            Value::Array(element, values) => self.array(element, values)?,
            Value::Struct(fields) => {
                self.pad(8);
                for field in fields {
                    self.value(field)?;
                }
            }
            Value::Entry(entry) => {
                self.pad(8);
                self.value(&entry.0)?;
                self.value(&entry.1)?;
            }
            Value::Variant(value) => {
                self.signature(&value.signature())?;
                self.value(value)?;
            }
        }
        Ok(())
    }

    fn array(&mut self, element: &str, values: &[Value]) -> Result<(), Malformed> {
        self.u32(0);
        let length_at = self.0.len() - 4;
        self.pad(Value::alignment(element));
        let start = self.0.len();
        for value in values {
            if value.signature() != element {
                return Err(Malformed("an array's elements are of different types"));
            }
            self.value(value)?;
        }
        let length = self.0.len() - start;
        if length > ARRAY {
            return Err(Malformed("a value is too long"));
        }
        let length = u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
        if let Some(place) = self.0.get_mut(length_at..length_at + 4) {
            place.copy_from_slice(&length);
        }
        Ok(())
    }
}

/// Reads values from bytes that can't be trusted.
///
/// Every length is compared with what is there, and each value takes at least a byte of it: so
/// the memory for the values is bounded by the length of the bytes.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
    big_endian: bool,
}

const SHORT: Malformed = Malformed("a message ends within a value");

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8], big_endian: bool) -> Self {
        Self { bytes, at: 0, big_endian }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.at >= self.bytes.len()
    }

    fn take(&mut self, count: usize) -> Result<&'a [u8], Malformed> {
        let end = self.at.checked_add(count).ok_or(SHORT)?;
        let taken = self.bytes.get(self.at..end).ok_or(SHORT)?;
        self.at = end;
        Ok(taken)
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        self.pad(N)?;
        let mut bytes: [u8; N] = self.take(N)?.try_into().map_err(|_| SHORT)?;
        if self.big_endian {
            bytes.reverse();
        }
        Ok(bytes)
    }

    pub(super) fn pad(&mut self, alignment: usize) -> Result<(), Malformed> {
        let count = self.at.next_multiple_of(alignment) - self.at;
        match self.take(count)?.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(Malformed("the padding is not of zeros")),
        }
    }

    pub(super) fn byte(&mut self) -> Result<u8, Malformed> {
        self.fixed::<1>().map(|[byte]| byte)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Malformed> {
        Ok(u32::from_le_bytes(self.fixed()?))
    }

    fn string(&mut self) -> Result<&'a str, Malformed> {
        let length = self.u32()? as usize;
        self.text(length)
    }

    fn signature(&mut self) -> Result<&'a str, Malformed> {
        let length = usize::from(self.byte()?);
        self.text(length)
    }

    fn text(&mut self, length: usize) -> Result<&'a str, Malformed> {
        let text = self.take(length)?;
        if self.byte()? != 0 || text.contains(&0) {
            return Err(Malformed("a string doesn't end where it should"));
        }
        std::str::from_utf8(text).map_err(|_| Malformed("a string is not UTF-8"))
    }

    /// Reads a value of the one complete type that `signature` is.
    pub(super) fn value(&mut self, signature: &str) -> Result<Value, Malformed> {
        match first_type(signature)? {
            (_, "") => self.nested(signature, 0),
            _ => Err(Malformed("there is more than one value")),
        }
    }

    fn nested(&mut self, signature: &str, depth: usize) -> Result<Value, Malformed> {
        if depth > 2 * DEPTH {
            return Err(Malformed("a value is nested too deeply"));
        }
        let (kind, inside) = signature.split_at_checked(1).ok_or(SHORT)?;
        Ok(match kind {
            "y" => Value::Byte(self.byte()?),
            "b" => match self.u32()? {
                0 => Value::Bool(false),
                1 => Value::Bool(true),
                _ => return Err(Malformed("a boolean is neither 0 nor 1")),
            },
            "n" => Value::I16(i16::from_le_bytes(self.fixed()?)),
            "q" => Value::U16(u16::from_le_bytes(self.fixed()?)),
            "i" => Value::I32(i32::from_le_bytes(self.fixed()?)),
            "u" => Value::U32(self.u32()?),
            "h" => Value::Handle(self.u32()?),
            "x" => Value::I64(i64::from_le_bytes(self.fixed()?)),
            "t" => Value::U64(u64::from_le_bytes(self.fixed()?)),
            "d" => Value::Double(f64::from_le_bytes(self.fixed()?)),
            "s" => Value::Str(self.string()?.to_owned()),
            "o" => match self.string()? {
                path if is_path(path) => Value::Path(path.to_owned()),
                _ => return Err(Malformed("not an object path")),
            },
            "g" => {
                let signature = self.signature()?;
                let mut rest = signature;
                while !rest.is_empty() {
                    rest = first_type(rest)?.1;
                }
                Value::Signature(signature.to_owned())
            }
            "v" => {
                let signature = self.signature()?;
                match first_type(signature)? {
                    (_, "") => self.nested(signature, depth + 1)?.variant(),
                    _ => return Err(Malformed("a variant has more than one value")),
                }
            }
            "a" => {
                let length = self.u32()? as usize;
                self.pad(Value::alignment(inside))?;
                let end = self.at.checked_add(length).filter(|end| *end <= self.bytes.len());
                let end = end.filter(|_| length <= ARRAY).ok_or(SHORT)?;
                let mut values = Vec::new();
                while self.at < end {
                    values.push(self.nested(inside, depth + 1)?);
                }
                if self.at != end {
                    return Err(Malformed("an array ends within an element"));
                }
                Value::Array(inside.to_owned(), values)
            }
            "(" => {
                self.pad(8)?;
                let mut rest = inside.strip_suffix(')').ok_or(SHORT)?;
                let mut fields = Vec::new();
                while !rest.is_empty() {
                    let (field, others) = first_type(rest)?;
                    fields.push(self.nested(field, depth + 1)?);
                    rest = others;
                }
                Value::Struct(fields)
            }
            "{" => {
                self.pad(8)?;
                let inside = inside.strip_suffix('}').ok_or(SHORT)?;
                let (key, value) = first_type(inside)?;
                let key = self.nested(key, depth + 1)?;
                Value::Entry(Box::new((key, self.nested(value, depth + 1)?)))
            }
            _ => return Err(Malformed("a signature has a type that doesn't exist")),
        })
    }
}
