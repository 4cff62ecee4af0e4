//! Programs are interpreted, v1's files are imitated, and both are compared with a model: the
//! last rule that matches decides each kind of access.

use oci_spec::runtime::LinuxDeviceCgroup;
use proptest::prelude::*;

use super::legacy::{changes, check, parse_list};
use super::program::{self, program};
use super::*;
use crate::sys::bpf::Insn;

/// A rule as config.json has it, simplified: no kind means all of them.
#[derive(Debug, Clone)]
struct Plain {
    allow: bool,
    kind: Option<Kind>,
    major: Option<u32>,
    minor: Option<u32>,
    access: u8,
}

#[derive(Debug, Clone, Copy)]
struct Request {
    kind: Kind,
    major: u32,
    minor: u32,
    access: u8,
}

impl Plain {
    fn matches(&self, request: Request, bit: u8) -> bool {
        self.kind.is_none_or(|kind| kind == request.kind)
            && self.major.is_none_or(|major| major == request.major)
            && self.minor.is_none_or(|minor| minor == request.minor)
            && self.access & bit != 0
    }

    fn spec(&self) -> LinuxDeviceCgroup {
        let kind = match self.kind {
            None => "a",
            Some(Kind::Block) => "b",
            Some(Kind::Char) => "c",
        };
        serde_json::from_value(serde_json::json!({
            "allow": self.allow, "type": kind, "major": self.major, "minor": self.minor,
            "access": Access(self.access).letters(),
        }))
        .unwrap()
    }
}

fn model(rules: &[Plain], request: Request) -> bool {
    [1, 2, 4].into_iter().filter(|bit| request.access & bit != 0).all(|bit| {
        rules.iter().rev().find(|rule| rule.matches(request, bit)).is_some_and(|rule| rule.allow)
    })
}

fn policy(rules: &[Plain]) -> Policy {
    let mut policy = Policy::new(false);
    for (index, rule) in rules.iter().enumerate() {
        policy.add_spec(index, &rule.spec()).unwrap();
    }
    policy
}

/// The part of eBPF that programs use, strict: whatever the verifier refuses panics.
fn interpret(program: &[Insn], request: Request) -> bool {
    let mut registers = [0_u64; 11];
    let mut pc = 0;
    for _ in 0..=program.len() {
        let insn = program[pc];
        let (dst, src) = insn.registers();
        let (dst, src) = (usize::from(dst), usize::from(src));
        let immediate = i64::from(insn.immediate).cast_unsigned();
        let mut jump = false;
        match insn.code {
            program::LOAD_HALF => {
                assert_eq!(src, 1);
                registers[dst] = match insn.offset {
                    0 => request.kind as u64,
                    2 => u64::from(request.access),
                    _ => panic!("{insn:?}"),
                }
            }
            program::LOAD_WORD => {
                assert_eq!(src, 1);
                registers[dst] = match insn.offset {
                    4 => u64::from(request.major),
                    8 => u64::from(request.minor),
                    _ => panic!("{insn:?}"),
                }
            }
            program::AND => registers[dst] &= immediate,
            program::MOV => registers[dst] = immediate,
            program::JUMP => jump = true,
            program::JUMP_IF_EQUAL => jump = registers[dst] == immediate,
            program::JUMP_IF_NOT_EQUAL => jump = registers[dst] != immediate,
            program::JUMP_IF_ANY_BIT => jump = registers[dst] & immediate != 0,
            program::EXIT => return registers[0] == 1,
            _ => panic!("{insn:?}"),
        }
        pc += 1;
        if jump {
            assert!(insn.offset >= 0);
            pc += usize::try_from(insn.offset).unwrap();
        }
    }
    panic!("no exit");
}

/// The v1 controller: security/device_cgroup.c, devcgroup_update_access and
/// devcgroup_legacy_check_permission.
#[derive(Debug, Clone)]
struct Legacy {
    default_allow: bool,
    exceptions: Vec<(Pattern, Access)>,
}

impl Legacy {
    fn write(&mut self, file: &str, value: &str) {
        let allow = file == "devices.allow";
        match parse_list(value).unwrap() {
            None => *self = Self { default_allow: allow, exceptions: vec![] },
            Some(entries) => {
                for (pattern, access) in entries {
                    let same = self.exceptions.iter_mut().find(|other| other.0 == pattern);
                    match (same, allow != self.default_allow) {
                        (Some(same), true) => same.1 = same.1.union(access),
                        (Some(same), false) => same.1 = same.1.without(access),
                        (None, true) => self.exceptions.push((pattern, access)),
                        (None, false) => {}
                    }
                }
                self.exceptions.retain(|exception| exception.1 != Access::NONE);
            }
        }
    }

    fn list(&self) -> Option<Vec<(Pattern, Access)>> {
        (!self.default_allow).then(|| self.exceptions.clone())
    }

    fn allows(&self, request: Request) -> bool {
        let pattern =
            Pattern { kind: request.kind, major: Some(request.major), minor: Some(request.minor) };
        let access = Access(request.access);
        let mut matching = self.exceptions.iter().filter(|exception| exception.0.covers(&pattern));
        if self.default_allow {
            !matching.any(|exception| exception.1.meets(access))
        } else {
            matching.any(|exception| exception.1.includes(access))
        }
    }
}

fn requests() -> impl Iterator<Item = Request> {
    let numbers = [0, 1, 2, 3, 5, 7, 8, 9, 10, 136, 200];
    [Kind::Block, Kind::Char].into_iter().flat_map(move |kind| {
        numbers.into_iter().flat_map(move |major| {
            numbers.into_iter().flat_map(move |minor| {
                (1..8).map(move |access| Request { kind, major, minor, access })
            })
        })
    })
}

fn compare(rules: &[Plain]) {
    let policy = policy(rules);
    let program = program(&policy).unwrap();
    for request in requests() {
        let expected = model(rules, request);
        assert_eq!(interpret(&program, request), expected, "{request:?} {policy:?} {program:?}");
    }
    if check(&policy).is_ok() {
        for before in [Legacy { default_allow: true, exceptions: vec![] }, odd_state()] {
            let mut legacy = before.clone();
            for change in changes(legacy.list().as_deref(), &policy) {
                legacy.write(change.file, &change.value);
            }
            assert_eq!(legacy.default_allow, policy.default_allow);
            for request in requests() {
                // One kind at a time: v1 wants a single exception that covers all.
                if request.access.count_ones() == 1 {
                    let expected = model(rules, request);
                    assert_eq!(legacy.allows(request), expected, "{request:?} {policy:?}");
                }
            }
        }
    }
}

/// What a container had before an update.
fn odd_state() -> Legacy {
    let entries = "c *:* m\nb 8:0 rwm\nc 1:3 rw\nc 10:* r";
    Legacy { default_allow: false, exceptions: parse_list(entries).unwrap().unwrap() }
}

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
