//! What systemd and its bus may say, and what hoist says to them.

mod bus;
mod text;
mod wire;

use proptest::prelude::*;

use super::value::{Value, first_type};

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

/// A complete type.
fn signature() -> impl Strategy<Value = String> {
    let basic =
        prop::sample::select(vec!["y", "b", "n", "q", "i", "u", "x", "t", "d", "s", "o", "g"]);
    let leaf = prop_oneof![basic.clone().prop_map(str::to_owned), Just("v".to_owned())];
    leaf.prop_recursive(4, 12, 3, move |inner| {
        prop_oneof![
            inner.clone().prop_map(|element| format!("a{element}")),
            (basic.clone(), inner.clone()).prop_map(|(key, value)| format!("a{{{key}{value}}}")),
            prop::collection::vec(inner, 1..4).prop_map(|fields| format!("({})", fields.concat())),
        ]
    })
}

/// A value of a type.
fn of_type(signature: &str) -> BoxedStrategy<Value> {
    let inside = |from: usize| signature[from..signature.len() - 1].to_owned();
    match &signature[..1] {
        "y" => any::<u8>().prop_map(Value::Byte).boxed(),
        "b" => any::<bool>().prop_map(Value::Bool).boxed(),
        "n" => any::<i16>().prop_map(Value::I16).boxed(),
        "q" => any::<u16>().prop_map(Value::U16).boxed(),
        "i" => any::<i32>().prop_map(Value::I32).boxed(),
        "u" => any::<u32>().prop_map(Value::U32).boxed(),
        "x" => any::<i64>().prop_map(Value::I64).boxed(),
        "t" => any::<u64>().prop_map(Value::U64).boxed(),
        "d" => any::<i32>().prop_map(|number| Value::Double(f64::from(number) / 8.0)).boxed(),
        "s" => "[a-zäß€'\"\\\\ \n]{0,9}".prop_map(Value::Str).boxed(),
        "o" => "/|(/[a-z_0-9]{1,5}){1,3}".prop_map(Value::Path).boxed(),
        "g" => self::signature().prop_map(Value::Signature).boxed(),
        "v" => basic_value().prop_map(Value::variant).boxed(),
        "a" => {
            let element = signature[1..].to_owned();
            prop::collection::vec(of_type(&element), 0..4)
                .prop_map(move |values| Value::Array(element.clone(), values))
                .boxed()
        }
        "(" => {
            let (mut fields, mut rest) = (Vec::new(), inside(1));
            while !rest.is_empty() {
                let (field, others) = first_type(&rest).unwrap();
                fields.push(of_type(field));
                rest = others.to_owned();
            }
            fields.prop_map(Value::Struct).boxed()
        }
        _ => {
            let inside = inside(1);
            let (key, value) = first_type(&inside).unwrap();
            (of_type(key), of_type(value)).prop_map(|entry| Value::Entry(Box::new(entry))).boxed()
        }
    }
}

fn basic_value() -> impl Strategy<Value = Value> {
    prop::sample::select(vec!["y", "b", "q", "u", "t", "s", "as", "(su)"]).prop_flat_map(of_type)
}

fn any_value() -> impl Strategy<Value = Value> {
    signature().prop_flat_map(|signature| of_type(&signature))
}
