//! Arbitrary and mutated configurations: an answer, never a panic.

use proptest::prelude::*;
use serde_json::Value;

use super::{Bundle, full, valid};
use crate::DefaultSpec;

/// All JSON pointers of a value.
fn pointers(value: &Value, at: String, into: &mut Vec<String>) {
    match value {
        Value::Array(items) => {
            for (index, item) in items.iter().enumerate() {
                pointers(item, format!("{at}/{index}"), into);
            }
        }
        Value::Object(members) => {
            for (key, member) in members {
                let key = key.replace('~', "~0").replace('/', "~1");
                pointers(member, format!("{at}/{key}"), into);
            }
        }
        _ => {}
    }
    into.push(at);
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
        "[./:a-c%0-9-]{0,8}".prop_map(Value::from),
        Just(Value::from("a\0b")),
    ];
    leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::hash_map("[a-z./]{0,6}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

#[test]
fn the_full_example_is_valid() {
    let bundle = Bundle::from_json("/", full().to_string()).unwrap();
    assert_eq!(bundle.warnings(), &[] as &[String]);
}

proptest! {
    #[test]
    fn arbitrary_bytes(text in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = Bundle::from_json("/", text);
    }

    #[test]
    fn arbitrary_json(value in any_json()) {
        let _ = Bundle::from_json("/", value.to_string());
    }

    #[test]
    fn broken_text(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut text = DefaultSpec::default().json().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let _ = Bundle::from_json("/", text);
    }

    #[test]
    fn one_value_replaced(
        at in any::<proptest::sample::Index>(), value in any_json(), small in any::<bool>()
    ) {
        let mut config = if small { valid() } else { full() };
        let mut all = Vec::new();
        pointers(&config, String::new(), &mut all);
        *config.pointer_mut(&all[at.index(all.len())]).unwrap() = value;
        // Whatever was accepted is accepted again: what was dropped leaves nothing behind.
        if let Ok(bundle) = Bundle::from_json("/", config.to_string()) {
            let again = Bundle::from_spec("/", bundle.spec().clone());
            prop_assert!(again.is_ok(), "{again:?}");
            prop_assert_eq!(again.as_ref().ok().map(Bundle::spec), Some(bundle.spec()));
        }
    }
}
