//! What containerd names as a stream: a path, or an URI.

use std::ffi::{CString, OsString};
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::failure::{Code, Failure, Result};

/// Where a stream comes from or goes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Null,
    /// A fifo, or a file that is appended to.
    Path {
        path: PathBuf,
        create: bool,
    },
    Logger(Program),
}

/// A program that reads the process's output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) path: CString,
    pub(super) arguments: Vec<CString>,
    /// It writes a byte when it is ready. An older one closes its descriptor only, which it also does
    /// by dying.
    pub(super) writes_ready: bool,
}

impl Target {
    /// `/path`, `fifo:///path`, `file:///path`, `binary:///path?argument=value` or `binary-v2://…`.
    pub(super) fn parse(text: &str) -> Result<Self> {
        if text.is_empty() {
            return Ok(Self::Null);
        }
        // A path as it is: no character in it has a meaning.
        if text.starts_with('/') {
            return Ok(Self::Path { path: text.into(), create: false });
        }
        let invalid = |what: &str| Failure::new(Code::InvalidArgument, format!("{text:?} {what}"));
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(invalid("is neither an absolute path nor an URI"));
        };
        let scheme = scheme.to_ascii_lowercase();
        if scheme.starts_with("ttrpc+") || scheme.starts_with("grpc+") {
            let message = format!("{text:?}: streaming I/O is not implemented, only fifos are");
            return Err(Failure::new(Code::Unimplemented, message));
        }
        if !matches!(scheme.as_str(), "fifo" | "file" | "binary" | "binary-v2") {
            return Err(invalid("has an unknown scheme"));
        }
        if rest.contains('#') {
            return Err(invalid("has a fragment, which means nothing here"));
        }
        let (path, query) = match rest.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (rest, None),
        };
        // Two slashes too few make a directory a host's name, which must not be skipped silently.
        let path = path.strip_prefix("//").unwrap_or(path);
        if !path.starts_with('/') {
            return Err(invalid("has no absolute path"));
        }
        let path = decode(path, false).ok_or_else(|| invalid("has a path with a wrong escape"))?;
        if scheme.starts_with("binary") {
            let arguments = query.map_or_else(|| Some(Vec::new()), arguments);
            return Ok(Self::Logger(Program {
                path,
                arguments: arguments.ok_or_else(|| invalid("has a query with a wrong escape"))?,
                writes_ready: scheme == "binary-v2",
            }));
        }
        if query.is_some() {
            return Err(invalid("has a query, which means nothing here"));
        }
        let path = PathBuf::from(OsString::from_vec(path.into_bytes()));
        Ok(Self::Path { path, create: scheme == "file" })
    }
}

/// A query as arguments: each name, followed by its first value, as containerd gives them, but in
/// their order there, where Go's map has none.
fn arguments(query: &str) -> Option<Vec<CString>> {
    let mut arguments: Vec<[CString; 2]> = Vec::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        let (name, value) = (decode(name, true)?, decode(value, true)?);
        if arguments.iter().all(|[known, _]| *known != name) {
            arguments.push([name, value]);
        }
    }
    Some(arguments.into_iter().flatten().collect())
}

/// Undoes percent-encoding, RFC 3986; in a query, plus signs are spaces. `None`: a wrong escape, or
/// a NUL.
fn decode(text: &str, query: bool) -> Option<CString> {
    let mut bytes = text.bytes();
    let mut decoded = Vec::with_capacity(text.len());
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => hex(bytes.next()?)? << 4 | hex(bytes.next()?)?,
            b'+' if query => b' ',
            other => other,
        });
    }
    CString::new(decoded).ok()
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str, create: bool) -> Target {
        Target::Path { path: path.into(), create }
    }

    fn logger(path: &str, arguments: &[&str], writes_ready: bool) -> Target {
        let c = |text: &str| CString::new(text).unwrap();
        let arguments = arguments.iter().map(|argument| c(argument)).collect();
        Target::Logger(Program { path: c(path), arguments, writes_ready })
    }

    #[test]
    fn targets() {
        for (text, expected) in [
            ("", Target::Null),
            ("/run/a b%20c?d#e", path("/run/a b%20c?d#e", false)),
            ("fifo:///run/a%20b+c", path("/run/a b+c", false)),
            ("FIFO:/run/x", path("/run/x", false)),
            ("file:///var/log/%E2%82%AC.log", path("/var/log/€.log", true)),
            ("binary:///bin/log", logger("/bin/log", &[], false)),
            ("binary:///bin/log?", logger("/bin/log", &[], false)),
            (
                "binary-v2:///bin/l%6Fg?b=1+2&a&b=3&c=%26&&d=e=f",
                logger("/bin/log", &["b", "1 2", "a", "", "c", "&", "d", "e=f"], true),
            ),
        ] {
            assert_eq!(Target::parse(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn refused() {
        for (text, expected) in [
            ("run/x", "is neither an absolute path nor an URI"),
            ("npipe:////./pipe/x", "has an unknown scheme"),
            ("file://host/x", "has no absolute path"),
            ("file:x", "has no absolute path"),
            ("binary://", "has no absolute path"),
            ("file:///x#y", "has a fragment, which means nothing here"),
            ("file:///x?y", "has a query, which means nothing here"),
            ("file:///%0", "has a path with a wrong escape"),
            ("file:///%+1", "has a path with a wrong escape"),
            ("file:///%00", "has a path with a wrong escape"),
            ("binary:///x?a=%zz", "has a query with a wrong escape"),
        ] {
            let failure = Target::parse(text).unwrap_err();
            assert_eq!(failure.code, Code::InvalidArgument);
            assert_eq!(failure.message, format!("{text:?} {expected}"));
        }
        let failure = Target::parse("ttrpc+unix:///run/s?streaming_id=1").unwrap_err();
        assert_eq!(failure.code, Code::Unimplemented);
    }
}
