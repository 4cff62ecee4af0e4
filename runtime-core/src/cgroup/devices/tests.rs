//! What rules mean, compared with the [`model`](super::model), and what the kernel says.

use oci_spec::runtime::LinuxDeviceCgroup;
use proptest::prelude::*;

use super::legacy::{changes, check};
use super::model::{Plain, Request, compare, interpret, policy};
use super::program::program;
use super::*;

fn plain(text: &str) -> Plain {
    let (sign, text) = text.split_at(1);
    let fields: Vec<&str> = text.split([' ', ':']).collect();
    Plain {
        allow: sign == "+",
        kind: match fields[0] {
            "a" => None,
            "b" => Some(Kind::Block),
            _ => Some(Kind::Char),
        },
        major: fields[1].parse().ok(),
        minor: fields[2].parse().ok(),
        access: Access::parse(fields[3]).unwrap().0,
    }
}

#[test]
fn the_last_match_wins() {
    let cases: &[&[&str]] = &[
        &[],
        &["-a *:* rwm"],
        &["+a *:* rwm"],
        &["+a *:* rwm", "-a *:* rwm"],
        &["-a *:* rwm", "+c 1:3 rwm", "+c 1:5 r", "+b 8:* rw"],
        &["+c 1:* rwm", "-c 1:5 rwm"],
        &["+c 1:* rwm", "-c 1:5 w", "+c 1:5 w"],
        &["+a *:* rwm", "-c 1:5 rwm", "-b *:* w"],
        &["+a *:* rwm", "-c 1:* rwm", "+c 1:5 r"],
        &["+a *:* r"],
        &["+a *:* m", "+a *:5 rw"],
        &["+a *:* rw", "-c 1:* w", "+c *:* m"],
        &["+c *:5 rwm", "+c 5:* rwm", "-c 5:5 w"],
        &["+b *:* rwm", "+c *:* rwm"],
        &["+b *:* rwm", "-c 1:3 m", "+c *:* rwm"],
        &["+c 1:3 r", "+c 1:3 w", "+c 1:3 m", "-c 1:3 r"],
    ];
    for case in cases {
        compare(&case.iter().map(|rule| plain(rule)).collect::<Vec<_>>());
    }
}

#[test]
fn a_container_has_its_default_devices() {
    let denied = [plain("-a *:* rwm").spec()];
    let policy = Policy::of_container(&denied, &[]).unwrap();
    let program = program(&policy).unwrap();
    assert_eq!(program.len(), 23);
    let allowed = |kind, major, minor, access| {
        interpret(
            &program,
            Request { kind, major, minor, access: Access::parse(access).unwrap().0 },
        )
    };
    assert!(allowed(Kind::Char, 1, 3, "rwm"));
    assert!(allowed(Kind::Char, 136, 77, "rw"));
    assert!(allowed(Kind::Char, 10, 200, "rw"));
    assert!(allowed(Kind::Block, 8, 0, "m"));
    assert!(!allowed(Kind::Block, 8, 0, "r"));
    assert!(!allowed(Kind::Char, 1, 1, "r"));
    assert!(!allowed(Kind::Char, 10, 229, "rw"));
    // Without any rule it is the same.
    assert_eq!(Policy::of_container(&[], &[]).unwrap(), policy);
    // A privileged container needs no program.
    let everything = [plain("+a *:* rwm").spec()];
    assert!(Policy::of_container(&everything, &[]).unwrap().allows_everything());
}

#[test]
fn a_node_of_the_container_replaces_the_default_one() {
    let node: LinuxDevice = serde_json::from_value(serde_json::json!(
        {"path": "/dev/zero", "type": "c", "major": 1, "minor": 3}
    ))
    .unwrap();
    let policy = Policy::of_container(&[], &[node]).unwrap();
    assert!(policy.rules.iter().all(|rule| rule.pattern.minor != Some(5)));
    assert_eq!(policy.rules.len(), 10);
}

/// The validation suite of the OCI expects the entries of `devices.list` in this order.
#[test]
fn v1_gets_the_rules_in_the_order_of_the_configuration() {
    let rules =
        ["-a *:* rwm", "+c 10:229 rwm", "+b 8:20 rw", "+c 1:3 rwm"].map(|r| plain(r).spec());
    let policy = Policy::of_container(&rules, &[]).unwrap();
    let written: Vec<String> = changes(None, &policy).into_iter().map(|c| c.value).collect();
    assert_eq!(written[..4], ["a", "c 10:229 rwm", "b 8:20 rw", "c 1:3 rwm"]);
    assert_eq!(written.len(), 1 + 3 + 10);
}

#[test]
fn v1_has_no_holes() {
    let error = check(&policy(&[plain("+c 1:* rwm"), plain("-c 1:5 w")])).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/resources/devices/1"));
}

#[test]
fn errors_name_the_field() {
    let pointer = |json| {
        let rule: LinuxDeviceCgroup = serde_json::from_value(json).unwrap();
        let error = Policy::of_container(&[rule], &[]).unwrap_err();
        error.pointer().unwrap().to_owned()
    };
    let base = "/linux/resources/devices/0";
    assert_eq!(pointer(serde_json::json!({"allow": true})), format!("{base}/access"));
    assert_eq!(pointer(serde_json::json!({"access": "rx"})), format!("{base}/access"));
    assert_eq!(pointer(serde_json::json!({"access": "r", "major": -2})), format!("{base}/major"));
    assert_eq!(
        pointer(serde_json::json!({"access": "r", "minor": 0x8000_0000_u32})),
        format!("{base}/minor")
    );
    assert_eq!(pointer(serde_json::json!({"access": "r", "type": "p"})), format!("{base}/type"));
}

#[test]
fn too_many_rules_are_an_error() {
    let mut policy = Policy::new(false);
    for major in 0..40_000 {
        let pattern = Pattern { kind: Kind::Char, major: Some(major), minor: None };
        policy.rules.push(Rule { allow: true, pattern, access: Access::ALL, index: None });
    }
    assert_eq!(program(&policy).unwrap_err().kind(), crate::ErrorKind::Unsupported);
}

fn any_rule() -> impl Strategy<Value = Plain> {
    let number = prop::option::weighted(0.7, prop::sample::select(vec![1_u32, 5, 7, 136]));
    let kind = prop::option::weighted(0.8, prop::sample::select(vec![Kind::Block, Kind::Char]));
    (any::<bool>(), kind, number.clone(), number, 1_u8..8)
        .prop_map(|(allow, kind, major, minor, access)| Plain { allow, kind, major, minor, access })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]
    #[test]
    fn any_rules_mean_the_same_everywhere(rules in prop::collection::vec(any_rule(), 0..12)) {
        compare(&rules);
    }
}

/// What the interpreter takes, the kernel's verifier has to take as well.
#[test]
fn the_kernel_takes_any_program() {
    use proptest::strategy::ValueTree;
    use proptest::test_runner::TestRunner;
    let mut runner = TestRunner::deterministic();
    for _ in 0..64 {
        let rules =
            prop::collection::vec(any_rule(), 0..12).new_tree(&mut runner).unwrap().current();
        let program = program(&policy(&rules)).unwrap();
        match crate::sys::bpf::load_device_program(&program) {
            Ok(_) => {}
            Err(rustix::io::Errno::PERM) => {
                println!("SKIP the_kernel_takes_any_program: bpf(2) is not permitted");
                return;
            }
            Err(errno) => panic!("{errno}: {rules:?} {program:?}"),
        }
    }
}
