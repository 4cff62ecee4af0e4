//! Messages: D-Bus Specification, "Message Format".

use super::value::{Malformed, Reader, Value, Writer};

/// What comes first, up to the length of the header's fields.
pub(super) const FIXED: usize = 16;
/// "The maximum length of a message, including header, header alignment padding, and body is
/// 2 to the 27th power, 128 MiB."
const MESSAGE: usize = 1 << 27;
/// All fields are names; nothing that is sent to us has longer ones.
const FIELDS: usize = 1 << 16;

/// Nobody is to be asked for a password: without ALLOW_INTERACTIVE_AUTHORIZATION (4) a refusal
/// comes at once.
const FLAGS: u8 = 0;

/// A method call that is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Call<'a> {
    /// The bus name; none where there is no bus.
    pub(super) destination: Option<&'a str>,
    pub(super) path: &'a str,
    pub(super) interface: &'a str,
    pub(super) member: &'a str,
    pub(super) arguments: &'a [Value],
}

impl Call<'_> {
    pub(super) fn encode(&self, serial: u32) -> Result<Vec<u8>, Malformed> {
        let mut body = Writer::default();
        let mut signature = String::new();
        for argument in self.arguments {
            body.value(argument)?;
            signature.push_str(&argument.signature());
        }
        let text = |value: &str| Value::text(value);
        let mut fields = vec![
            (1, Value::Path(self.path.to_owned())),
            (2, text(self.interface)),
            (3, text(self.member)),
        ];
        if let Some(destination) = self.destination {
            fields.push((6, text(destination)));
        }
        if !signature.is_empty() {
            fields.push((8, Value::Signature(signature)));
        }
        let fields = fields
            .into_iter()
            .map(|(code, value)| Value::Struct(vec![Value::Byte(code), value.variant()]));
        let fields = Value::Array("(yv)".to_owned(), fields.collect());

        let mut message = Writer(vec![b'l', Kind::Call as u8, FLAGS, 1]);
        let length = u32::try_from(body.0.len()).ok().filter(|length| *length < 1 << 26);
        message.u32(length.ok_or(Malformed("a message is too long"))?);
        message.u32(serial);
        message.value(&fields)?;
        message.pad(8);
        message.0.extend(body.0);
        Ok(message.0)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Call = 1,
    Return = 2,
    Error = 3,
    Signal = 4,
    /// "Unknown types must be ignored."
    Unknown = 0,
}

/// The first [`FIXED`] bytes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Prelude {
    kind: Kind,
    big_endian: bool,
    /// How many bytes the fields take, with what pads them.
    pub(super) fields: usize,
    pub(super) body: usize,
}

impl Prelude {
    pub(super) fn parse(bytes: &[u8; FIXED]) -> Result<Self, Malformed> {
        let big_endian = match bytes {
            [b'l', ..] => false,
            [b'B', ..] => true,
            _ => return Err(Malformed("a message has an unknown byte order")),
        };
        let mut reader = Reader::new(bytes, big_endian);
        reader.byte()?;
        let kind = match reader.byte()? {
            0 => return Err(Malformed("a message has no type")),
            1 => Kind::Call,
            2 => Kind::Return,
            3 => Kind::Error,
            4 => Kind::Signal,
            _ => Kind::Unknown,
        };
        reader.byte()?;
        if reader.byte()? != 1 {
            return Err(Malformed("a message is of an unknown protocol version"));
        }
        let (body, serial, fields) = (reader.u32()?, reader.u32()?, reader.u32()?);
        if serial == 0 {
            return Err(Malformed("a message has the serial number 0"));
        }
        let (body, fields) = (body as usize, (fields as usize).next_multiple_of(8));
        if fields > FIELDS || FIXED.saturating_add(fields).saturating_add(body) > MESSAGE {
            return Err(Malformed("a message is too long"));
        }
        Ok(Self { kind, big_endian, fields, body })
    }
}

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    pub(super) reply_to: Option<u32>,
    pub(super) interface: Option<String>,
    pub(super) member: Option<String>,
    pub(super) error: Option<String>,
    pub(super) sender: Option<String>,
    signature: String,
    big_endian: bool,
}

impl Header {
    /// Reads the fields; `fields` is what follows the prelude.
    pub(super) fn parse(prelude: Prelude, start: &[u8], fields: &[u8]) -> Result<Self, Malformed> {
        let Prelude { kind, big_endian, .. } = prelude;
        // The array is the last member of the prelude: its length was its last four bytes.
        let whole = [start, fields].concat();
        let mut reader = Reader::new(&whole, big_endian);
        reader.u32()?;
        reader.u32()?;
        reader.u32()?;
        let Value::Array(_, entries) = reader.value("a(yv)")? else {
            return Err(Malformed("a header has no fields"));
        };
        reader.pad(8)?;
        let mut header = Self {
            kind,
            reply_to: None,
            interface: None,
            member: None,
            error: None,
            sender: None,
            signature: String::new(),
            big_endian,
        };
        for entry in entries {
            let Value::Struct(entry) = entry else { continue };
            let [Value::Byte(code), Value::Variant(value)] = entry.as_slice() else { continue };
            let text = || match &**value {
                Value::Str(text) => Ok(Some(text.clone())),
                _ => Err(Malformed("a header's field is of the wrong type")),
            };
            match (code, &**value) {
                (2, _) => header.interface = text()?,
                (3, _) => header.member = text()?,
                (4, _) => header.error = text()?,
                (5, Value::U32(serial)) => header.reply_to = Some(*serial),
                (7, _) => header.sender = text()?,
                (8, Value::Signature(signature)) => header.signature.clone_from(signature),
                (5 | 8, _) => return Err(Malformed("a header's field is of the wrong type")),
                _ => {} // "Implementations must ignore fields that they don't understand."
            }
        }
        Ok(header)
    }

    /// The values in the body.
    pub(super) fn arguments(&self, body: &[u8]) -> Result<Vec<Value>, Malformed> {
        let mut reader = Reader::new(body, self.big_endian);
        let mut rest = self.signature.as_str();
        let mut values = Vec::new();
        while !rest.is_empty() {
            let (signature, others) = super::value::first_type(rest)?;
            values.push(reader.value(signature)?);
            rest = others;
        }
        match reader.is_empty() {
            true => Ok(values),
            false => Err(Malformed("a message is longer than its values")),
        }
    }
}
