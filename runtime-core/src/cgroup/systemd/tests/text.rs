//! Values as text, annotations, and limits as properties.

use std::collections::HashMap;

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxResources};
use proptest::prelude::*;

use super::{any_value, config};
use crate::cgroup::devices::Policy;
use crate::cgroup::host::Mode;
use crate::cgroup::limits::{self, Write};
use crate::cgroup::systemd::properties::{Property, of_devices, of_limits, oom_policy, round};
use crate::cgroup::systemd::value::Value;
use crate::cgroup::systemd::{annotations, gvariant};
use crate::error::ErrorKind;

#[test]
fn texts_are_values() {
    let entry = |key, value| Value::Entry(Box::new((key, value)));
    for (text, value) in [
        ("true", Value::Bool(true)),
        (" false ", Value::Bool(false)),
        ("7", Value::I32(7)),
        ("-0x10", Value::I32(-16)),
        ("017", Value::I32(15)),
        ("0", Value::I32(0)),
        ("1.5", Value::Double(1.5)),
        ("1e3", Value::Double(1000.0)),
        ("double 2", Value::Double(2.0)),
        ("byte 255", Value::Byte(255)),
        ("int16 -1", Value::I16(-1)),
        ("uint16 1", Value::U16(1)),
        ("uint32 1", Value::U32(1)),
        ("int64 -1", Value::I64(-1)),
        ("uint64 18446744073709551615", Value::U64(u64::MAX)),
        ("@t 5", Value::U64(5)),
        ("'it'", Value::text("it")),
        (r#""it's""#, Value::text("it's")),
        (r"'\u00e4\n\'\\'", Value::text("ä\n'\\")),
        ("objectpath '/a/b'", Value::Path("/a/b".to_owned())),
        ("signature 'as'", Value::Signature("as".to_owned())),
        ("b'ab'", Value::bytes(b"ab\0")),
        ("['a', 'b',]", Value::texts(&["a", "b"])),
        ("@as []", Value::texts(&[])),
        ("[byte 1, 2]", Value::bytes(&[1, 2])),
        ("@ay [0x01, 2]", Value::bytes(&[1, 2])),
        ("[1, 2.5]", Value::Array("d".to_owned(), vec![Value::Double(1.0), Value::Double(2.5)])),
        ("('a', uint32 1)", Value::Struct(vec![Value::text("a"), Value::U32(1)])),
        ("@(st) ('a', 1)", Value::Struct(vec![Value::text("a"), Value::U64(1)])),
        (
            "@a(st) [('/dev/sda', 1000)]",
            Value::Array(
                "(st)".to_owned(),
                vec![Value::Struct(vec![Value::text("/dev/sda"), Value::U64(1000)])],
            ),
        ),
        ("<'a'>", Value::text("a").variant()),
        (
            "{'a': uint32 1}",
            Value::Array("{su}".to_owned(), vec![entry(Value::text("a"), Value::U32(1))]),
        ),
        (
            "@a{sv} {'a': <1>}",
            Value::Array("{sv}".to_owned(), vec![entry(Value::text("a"), Value::I32(1).variant())]),
        ),
    ] {
        assert_eq!(gvariant::parse(text).as_ref(), Ok(&value), "{text}");
    }
}

#[test]
fn what_is_no_value_is_refused() {
    for text in [
        "",
        " ",
        "yes",
        "byte 256",
        "uint32 -1",
        "int16 40000",
        "1 2",
        "'a",
        "'\\",
        "'\\u12'",
        "[1, 'a']",
        "[",
        "]",
        "[]",
        "[[]]",
        "(",
        "()",
        "{",
        "{'a'}",
        "{'a': 1",
        "<",
        "<1",
        "@",
        "@as",
        "@as 5",
        "@zz 1",
        "@yy 1",
        "@(st) ('a')",
        "@s []",
        "uint64",
        "uint64 'a'",
        "0x",
        "--1",
        "0x-1",
        "'a' 'b'",
        "a",
        "nothing",
        "just 1",
        "'\\u0000'",
        "string 1",
        "08",
    ] {
        let value = gvariant::parse(text);
        assert!(value.is_err(), "{text}: {value:?}");
    }
    assert!(gvariant::parse(&"[".repeat(100_000)).is_err());
    assert!(gvariant::parse(&"uint64 ".repeat(100_000)).is_err());
}

/// As GLib prints it, with all types given.
fn text(value: &Value) -> String {
    let list = |values: &[Value]| values.iter().map(text).collect::<Vec<_>>().join(", ");
    let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"));
    match value {
        Value::Byte(n) => format!("byte {n:#x}"),
        Value::Bool(b) => b.to_string(),
        Value::I16(n) => format!("int16 {n}"),
        Value::U16(n) => format!("uint16 {n}"),
        Value::I32(n) => n.to_string(),
        Value::U32(n) | Value::Handle(n) => format!("uint32 {n}"),
        Value::I64(n) => format!("int64 {n}"),
        Value::U64(n) => format!("uint64 {n}"),
        Value::Double(n) => format!("{n:?}"),
        Value::Str(s) => quote(s),
        Value::Path(s) => format!("objectpath {}", quote(s)),
        Value::Signature(s) => format!("signature {}", quote(s)),
        Value::Array(element, values) if element.starts_with('{') => {
            format!("@a{element} {{{}}}", list(values))
        }
        Value::Array(element, values) => format!("@a{element} [{}]", list(values)),
        Value::Struct(fields) => format!("({},)", list(fields)),
        Value::Entry(entry) => format!("{}: {}", text(&entry.0), text(&entry.1)),
        Value::Variant(value) => format!("<{}>", text(value)),
    }
}

proptest! {
    #![proptest_config(config(512))]

    #[test]
    fn values_survive_as_text(value in any_value()) {
        prop_assert_eq!(gvariant::parse(&text(&value)), Ok(value));
    }

    #[test]
    fn garbage_does_no_harm(text in "[-@a-z0-9'\"\\\\\\[\\](){}<>:,. \u{e4}]{0,40}") {
        let _ = gvariant::parse(&text);
    }

    /// Limits that systemd is told are those that are written.
    #[test]
    fn quotas_are_rounded_up(quota in 1000..10_000_000_i64, period in 1000..1_000_000_u64) {
        let json = format!(r#"{{"cpu":{{"quota":{quota},"period":{period}}}}}"#);
        let told = limits_of(&json, 257);
        let Some(Value::U64(told)) = find(&told, "CPUQuotaPerSecUSec") else {
            panic!("{told:?}");
        };
        let exact = quota as f64 * 1e6 / period as f64;
        prop_assert!(*told as f64 >= exact - 1.0 && (*told as f64) < exact + 10_001.0);
        prop_assert_eq!(told % 10_000, 0);
        // What is written is then what systemd computes from that.
        let mut writes = writes_of(&json);
        round(&mut writes);
        let kept = u128::from(*told) * u128::from(period) / 1_000_000;
        prop_assert_eq!(&writes[0].value, &format!("{kept} {period}"));
        let again = of_limits(&writes, 257);
        prop_assert_eq!(find(&again, "CPUQuotaPerSecUSec"), Some(&Value::U64(*told)));
    }

    #[test]
    fn any_text_is_a_limit_or_none(file in "[a-z.]{0,12}|cpu.max|cpuset.cpus|io.weight", value in ".{0,20}|[0-9 ,-]{0,12}") {
        let json = serde_json::json!({"unified": {file: value}});
        if let Ok(resources) = serde_json::from_value::<LinuxResources>(json)
            && let Ok(writes) = limits::translate(&resources, Mode::Unified)
        {
            let _ = (of_limits(&writes, 257), oom_policy(&writes));
        }
    }
}

fn parse(annotations: &[(&str, &str)]) -> crate::error::Result<Vec<Property>> {
    let annotations =
        annotations.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    annotations::parse(&annotations.collect::<HashMap<_, _>>())
}

#[test]
fn annotations_are_properties() {
    let properties = parse(&[
        ("org.systemd.property.TimeoutStopUSec", "uint64 5"),
        ("org.systemd.property.RuntimeMaxSec", "1.5"),
        ("org.systemd.property.TimeoutStartSec", "uint64 2"),
        ("org.systemd.property.CollectMode", "'inactive-or-failed'"),
        ("org.systemd.propertyX", "'"),
        ("other", "'"),
    ]);
    let expected = [
        ("CollectMode", Value::text("inactive-or-failed")),
        ("RuntimeMaxUSec", Value::U64(1_500_000)),
        ("TimeoutStartUSec", Value::U64(2_000_000)),
        ("TimeoutStopUSec", Value::U64(5)),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value));
    assert_eq!(properties.unwrap(), expected);
}

#[test]
fn wrong_annotations_are_named() {
    for (name, value) in [
        ("X", "1"),
        ("", "1"),
        ("Sec", "'a'garbage"),
        ("Ab1", "1"),
        ("A-b", "1"),
        ("Äbc", "1"),
        ("MemoryMax", "lots"),
        ("TimeoutStopSec", "true"),
        ("TimeoutStopSec", "-1"),
        ("TimeoutStopSec", "1e300"),
        ("TimeoutStopSec", "uint64 18446744073709551615"),
        ("PIDs", "[uint32 1]"),
        ("Slice", "'other.slice'"),
    ] {
        let annotation = format!("org.systemd.property.{name}");
        let error = parse(&[(&annotation, value)]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name}={value}");
        assert_eq!(error.pointer(), Some(&*format!("/annotations/{annotation}")), "{error}");
    }
}

fn limits_of(json: &str, version: u32) -> Vec<Property> {
    of_limits(&writes_of(json), version)
}

fn writes_of(json: &str) -> Vec<Write> {
    let resources: LinuxResources = serde_json::from_str(json).unwrap();
    limits::translate(&resources, Mode::Unified).unwrap()
}

#[test]
fn files_get_the_quota_that_systemd_keeps() {
    for (json, value) in [
        (r#"{"cpu":{"quota":50001,"period":100000}}"#, "51000 100000"),
        (r#"{"cpu":{"quota":500000,"period":900000}}"#, "504000 900000"),
        (r#"{"cpu":{"quota":50001}}"#, "51000"),
        (r#"{"cpu":{"quota":50000,"period":100000}}"#, "50000 100000"),
        (r#"{"cpu":{"quota":-1,"period":100000}}"#, "max 100000"),
        (r#"{"unified":{"cpu.max":"50001 100000"}}"#, "50001 100000"),
    ] {
        let mut writes = writes_of(json);
        round(&mut writes);
        assert_eq!(writes[0].value, value, "{json}");
    }
}

fn find<'a>(properties: &'a [Property], name: &str) -> Option<&'a Value> {
    let mut found = properties.iter().filter(|(other, _)| other == name);
    let value = found.next().map(|(_, value)| value);
    assert!(found.next().is_none(), "{name} is there twice");
    value
}

#[test]
fn limits_are_properties() {
    let number = |value| Some(Value::U64(value));
    for (json, name, value) in [
        (r#"{"memory":{"limit":1048576}}"#, "MemoryMax", number(1_048_576)),
        (r#"{"memory":{"limit":-1}}"#, "MemoryMax", number(u64::MAX)),
        (r#"{"memory":{"limit":-1}}"#, "MemorySwapMax", number(u64::MAX)),
        (r#"{"memory":{"limit":100,"swap":150}}"#, "MemorySwapMax", number(50)),
        (r#"{"memory":{"reservation":4096}}"#, "MemoryLow", number(4096)),
        (r#"{"pids":{"limit":7}}"#, "TasksMax", number(7)),
        (r#"{"pids":{"limit":0}}"#, "TasksMax", number(1)),
        (r#"{"pids":{"limit":-1}}"#, "TasksMax", number(u64::MAX)),
        (r#"{"cpu":{"shares":1024}}"#, "CPUWeight", number(100)),
        (r#"{"cpu":{"shares":1024,"idle":1}}"#, "CPUWeight", number(0)),
        (r#"{"cpu":{"shares":1024,"idle":0}}"#, "CPUWeight", number(100)),
        (r#"{"cpu":{"quota":5000}}"#, "CPUQuotaPerSecUSec", number(50_000)),
        (r#"{"cpu":{"quota":5001}}"#, "CPUQuotaPerSecUSec", number(60_000)),
        (r#"{"cpu":{"quota":-1}}"#, "CPUQuotaPerSecUSec", number(u64::MAX)),
        (r#"{"cpu":{"period":50000}}"#, "CPUQuotaPeriodUSec", number(50_000)),
        (r#"{"cpu":{"cpus":"0-1, 9"}}"#, "AllowedCPUs", Some(Value::bytes(&[3, 2]))),
        (r#"{"cpu":{"mems":"3"}}"#, "AllowedMemoryNodes", Some(Value::bytes(&[8]))),
        (r#"{"blockIO":{"weight":1000}}"#, "IOWeight", number(10_000)),
        (r#"{"unified":{"memory.high":" 4096\n"}}"#, "MemoryHigh", number(4096)),
        (r#"{"unified":{"memory.min":"max"}}"#, "MemoryMin", number(u64::MAX)),
        (r#"{"unified":{"cpu.max":"max 20000"}}"#, "CPUQuotaPeriodUSec", number(20_000)),
        (r#"{"unified":{"cpu.idle":"1","cpu.weight":"5"}}"#, "CPUWeight", number(0)),
        (r#"{"unified":{"io.weight":"default 50"}}"#, "IOWeight", number(50)),
        // What counts is what is written last.
        (r#"{"memory":{"limit":9},"unified":{"memory.max":"8"}}"#, "MemoryMax", number(8)),
        // What can't be read is not said.
        (r#"{"unified":{"memory.max":"1M"}}"#, "MemoryMax", None),
        (r#"{"unified":{"cpu.max":"1 2 3"}}"#, "CPUQuotaPerSecUSec", None),
        (r#"{"unified":{"cpu.max":"1 0"}}"#, "CPUQuotaPerSecUSec", None),
        (r#"{"unified":{"cpuset.cpus":"1-0"}}"#, "AllowedCPUs", None),
        (r#"{"unified":{"cpuset.cpus":"4294967295"}}"#, "AllowedCPUs", None),
        (r#"{"unified":{"io.weight":"8:0 50"}}"#, "IOWeight", None),
    ] {
        assert_eq!(find(&limits_of(json, 257), name), value.as_ref(), "{json}");
    }
}

#[test]
fn an_old_systemd_is_told_less() {
    let json = r#"{"cpu":{"period":50000,"quota":50000,"cpus":"0","idle":1}}"#;
    let names = |version| {
        let properties = limits_of(json, version);
        properties.into_iter().map(|(name, _)| name).collect::<Vec<_>>()
    };
    assert_eq!(names(241), ["CPUQuotaPerSecUSec"]);
    assert_eq!(names(243), ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec"]);
    assert_eq!(names(251), ["CPUQuotaPeriodUSec", "CPUQuotaPerSecUSec", "AllowedCPUs"]);
    assert_eq!(names(252).len(), 4);
}

#[test]
fn oom_groups_are_policies() {
    for (value, policy) in [("0", Some("continue")), ("1", Some("kill")), ("2", None)] {
        let json = format!(r#"{{"unified":{{"memory.oom.group":"{value}"}}}}"#);
        let resources: LinuxResources = serde_json::from_str(&json).unwrap();
        let writes = limits::translate(&resources, Mode::Unified).unwrap();
        let expected = policy.map(|policy| ("OOMPolicy".to_owned(), Value::text(policy)));
        assert_eq!(oom_policy(&writes), expected);
    }
}

fn devices(json: &str) -> Vec<Property> {
    let rules: Vec<LinuxDeviceCgroup> = serde_json::from_str(json).unwrap();
    of_devices(&Policy::of_container(&rules, &[]).unwrap())
}

#[test]
fn device_rules_are_a_list_or_left_to_hoist() {
    let strict = devices(
        r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"rwm"},
        {"allow":true,"type":"b","major":8,"access":"r"}]"#,
    );
    assert_eq!(strict[0].1, Value::text("strict"));
    assert_eq!(strict[1].1, Value::Array("(ss)".to_owned(), vec![]));
    let Value::Array(_, entries) = &strict[2].1 else { panic!("{strict:?}") };
    let entry =
        |device: &str, access: &str| Value::Struct(vec![Value::text(device), Value::text(access)]);
    for wanted in [
        entry("/dev/char/10:229", "rwm"),
        entry("block-8", "r"),
        entry("char-136", "rwm"),
        entry("char-*", "m"),
        entry("/dev/char/1:3", "rwm"),
    ] {
        assert!(entries.contains(&wanted), "{wanted:?} {entries:?}");
    }
    for (rules, why) in [
        (r#"[{"allow":true,"access":"rwm"}]"#, "everything is allowed"),
        (
            r#"[{"allow":true,"access":"rwm"},{"allow":false,"type":"b","major":8,"access":"w"}]"#,
            "something is denied",
        ),
        (
            r#"[{"allow":true,"type":"c","minor":3,"access":"rw"}]"#,
            "a minor number of every major one",
        ),
    ] {
        let properties = devices(rules);
        assert_eq!(properties[0].1, Value::text("auto"), "{why}");
        assert_eq!(properties.len(), 2, "{why}");
    }
}
