//! The wire format: what is written is read again, and what isn't written is refused.

use proptest::prelude::*;

use super::{any_value, config, signature};
use crate::cgroup::systemd::message::{FIXED, Header, Prelude};
use crate::cgroup::systemd::value::{Reader, Value, Writer, first_type};

fn written(value: &Value) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.value(value).unwrap();
    writer.0
}

/// The specification's own example of alignment, and one of each kind.
#[test]
fn bytes_are_those_of_the_specification() {
    let value = Value::Struct(vec![
        Value::Byte(1),
        Value::texts(&["a", "bc"]),
        Value::Array("t".to_owned(), vec![]),
        Value::U16(0x0203).variant(),
    ]);
    let expected: &[u8] = &[
        1, 0, 0, 0, // the byte, and padding
        15, 0, 0, 0, 1, 0, 0, 0, b'a', 0, 0, 0, 2, 0, 0, 0, b'b', b'c', 0, // the strings
        0, 0, 0, 0, 0, // padding, and the length of the empty array …
        0, 0, 0, 0, // … whose elements would be here
        1, b'q', 0, 0, 3, 2, // the variant
    ];
    assert_eq!(written(&value), expected);
    assert_eq!(Reader::new(expected, false).value("(yasatv)").unwrap(), value);
}

#[test]
fn either_byte_order_is_read() {
    let bytes = [0, 0, 0, 2, 0, 0, 0, 3, b'a', b'b', b'c', 0];
    let mut reader = Reader::new(&bytes, true);
    assert_eq!(reader.value("u").unwrap(), Value::U32(2));
    assert_eq!(reader.value("s").unwrap(), Value::text("abc"));
    assert!(Reader::new(&bytes, false).value("as").is_err());
}

#[test]
fn what_is_malformed_is_refused() {
    for (signature, bytes) in [
        ("b", &[2, 0, 0, 0][..]),
        ("s", &[1, 0, 0, 0, b'a']),            // no NUL
        ("s", &[2, 0, 0, 0, b'a', 0, 0]),      // a NUL within
        ("s", &[1, 0, 0, 0, 0xff, 0]),         // not UTF-8
        ("s", &[255, 255, 255, 255, b'a', 0]), // longer than there is
        ("o", &[1, 0, 0, 0, b'a', 0]),         // not absolute
        ("o", &[2, 0, 0, 0, b'/', b'/', 0]),   // an empty element
        ("g", &[1, b'!', 0]),                  // not a type
        ("g", &[1, b'a', 0]),                  // not a complete one
        ("v", &[2, b'y', b'y', 0, 1, 1]),      // two values
        ("v", &[0, 0]),                        // none
        ("ay", &[4, 0, 0, 0, 1]),              // longer than there is
        ("ai", &[3, 0, 0, 0, 1, 0, 0]),        // ends within an element
        ("(yi)", &[1, 1, 0, 0, 1, 0, 0, 0]),   // padding that is not zero
        ("a", &[0, 0, 0, 0]),
        ("()", &[0]),
        ("(y", &[0]),
        ("a{vs}", &[0, 0, 0, 0, 0, 0, 0, 0]),
        ("{sy}", &[0]),
        ("", &[]),
        ("yy", &[1, 1]),
    ] {
        let read = Reader::new(bytes, false).value(signature);
        assert!(read.is_err(), "{signature} {bytes:?}: {read:?}");
    }
    let deep = "a".repeat(80) + "y";
    assert!(first_type(&deep).is_err());
    // Variants in variants: their depth is in the values, not in the signature.
    let mut bytes = b"\x01v\0".repeat(200);
    bytes.extend(b"\x01y\0\x01");
    assert!(Reader::new(&bytes, false).value("v").is_err());
}

#[test]
fn what_can_not_be_said_is_refused() {
    for value in [
        Value::text("a\0b"),
        Value::Path("a".to_owned()),
        Value::Signature("!".to_owned()),
        Value::Array("s".to_owned(), vec![Value::Byte(1)]),
    ] {
        assert!(Writer::default().value(&value).is_err(), "{value:?}");
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn values_survive(value in any_value()) {
        let bytes = written(&value);
        let mut reader = Reader::new(&bytes, false);
        prop_assert_eq!(reader.value(&value.signature()).unwrap(), value);
        prop_assert!(reader.is_empty());
    }

    /// Whatever comes: an error or a value, and none that is larger than its bytes allow.
    #[test]
    fn garbage_does_no_harm(
        signature in signature(),
        bytes in prop::collection::vec(prop_oneof![Just(0u8), 0..9u8, any::<u8>()], 0..96),
        big_endian in any::<bool>(),
    ) {
        if let Ok(value) = Reader::new(&bytes, big_endian).value(&signature) {
            prop_assert_eq!(value.signature(), signature);
            prop_assert!(count(&value) <= 2 * bytes.len() + 8);
        }
    }

    #[test]
    fn truncated_values_are_errors(value in any_value(), cut in any::<prop::sample::Index>()) {
        let bytes = written(&value);
        let cut = cut.index(bytes.len());
        prop_assert!(Reader::new(&bytes[..cut], false).value(&value.signature()).is_err());
    }

    #[test]
    fn headers_of_garbage_do_no_harm(
        start in prop::array::uniform16(prop_oneof![0..5u8, any::<u8>()]),
        order in prop::sample::select(vec![b'l', b'B']),
        fields in prop::collection::vec(prop_oneof![0..9u8, any::<u8>()], 0..128),
    ) {
        let mut start: [u8; FIXED] = start;
        start[0] = order;
        start[3] = 1;
        if let Ok(prelude) = Prelude::parse(&start) {
            prop_assert!(prelude.fields <= 1 << 16 && prelude.body < 1 << 27);
            if let Ok(header) = Header::parse(prelude, &start, &fields) {
                let _ = header.arguments(&fields);
            }
        }
    }
}

fn count(value: &Value) -> usize {
    1 + match value {
        Value::Array(_, values) | Value::Struct(values) => values.iter().map(count).sum(),
        Value::Entry(entry) => count(&entry.0) + count(&entry.1),
        Value::Variant(value) => count(value),
        _ => 0,
    }
}
