//! What is fuzzed of what systemd and buses say, and of what annotations ask of it.

use std::io::Write;
use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::bus::{Bus, Fault, MANAGER};
use super::gvariant::parse;
use super::message::{FIXED, Header, Prelude};
use super::value::{Reader, Value, Writer};

/// What fits into a socket that nobody reads.
const MOST: usize = 64 << 10;

/// All that comes over a connection: first the answers to the authentication, then messages. The first
/// byte says what is asked.
pub fn bus(data: &[u8]) {
    let Some((how, said)) = data.split_first() else { return };
    let Ok((ours, mut theirs)) = UnixStream::pair() else { return };
    let said = said.get(..MOST).unwrap_or(said);
    assert!(theirs.write_all(said).and_then(|()| theirs.shutdown(Shutdown::Write)).is_ok());
    let (brokered, known) = (how & 1 != 0, how & 2 != 0);
    // It is never waited for: everything has been said.
    let deadline = Instant::now() + Duration::from_secs(60);
    let connected = Bus::over(ours.into(), brokered, known.then_some(0), deadline);
    let Err(fault) = connected.and_then(|bus| ask(bus, how & 4 != 0)) else { return };
    let late = matches!(fault, Fault::Late | Fault::System("wait", _));
    assert!(!late, "{fault:?}");
}

/// Two calls, with a wait for a job in between.
fn ask(mut bus: Bus, wait: bool) -> Result<(), Fault> {
    bus.listen()?;
    let unit = [Value::text("web-1.scope")];
    bus.call(&MANAGER.call("GetUnit", &unit))?;
    if wait {
        bus.job_removed(|arguments| match arguments {
            [Value::U32(id), Value::Path(path), ..] => Some((*id, path.len())),
            _ => None,
        })?;
    }
    bus.call(&MANAGER.call("StopUnit", &[Value::text("web-1.scope"), Value::text("fail")]))
        .map(drop)
}

/// One message: what is read of it can be written and read again.
pub fn message(data: &[u8]) {
    let Some((start, rest)) = data.split_first_chunk::<FIXED>() else { return };
    let Ok(prelude) = Prelude::parse(start) else { return };
    let Some((fields, body)) = rest.split_at_checked(prelude.fields) else { return };
    let Ok(header) = Header::parse(prelude, start, fields) else { return };
    let Ok(values) = header.arguments(body) else { return };
    for value in &values {
        rewritten(value);
    }
}

/// A property of an annotation, in GVariant's text form.
pub fn gvariant(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(value) => {
            let mut writer = Writer::default();
            // What is no path, for instance, has a type and can't be sent.
            if writer.value(&value).is_ok() {
                rewritten(&value);
            }
        }
        Err(why) => assert!(!why.is_empty()),
    }
}

/// That a value is read as it was written. A number that is none is not equal to itself: bytes are compared.
fn rewritten(value: &Value) {
    let signature = value.signature();
    let mut writer = Writer::default();
    assert_eq!(writer.value(value), Ok(()), "{value:?}");
    let mut reader = Reader::new(&writer.0, false);
    let again = reader.value(&signature);
    assert!(reader.is_empty(), "{value:?}: {again:?}");
    let mut second = Writer::default();
    assert_eq!(again.and_then(|again| second.value(&again)), Ok(()), "{value:?}");
    assert_eq!(writer.0, second.0, "{value:?}");
}
