//! What rules mean, said plainly: the last rule that matches decides each kind of access. Programs are
//! interpreted and v1's files are imitated, to be compared with that.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "as in tests")]

use oci_spec::runtime::LinuxDeviceCgroup;

use super::legacy::{changes, check, parse_list};
use super::program::{self, program};
use super::{Access, Kind, Pattern, Policy};
use crate::sys::bpf::Insn;

/// A rule as config.json has it, simplified: no kind means all of them.
#[derive(Debug, Clone)]
pub(super) struct Plain {
    pub(super) allow: bool,
    pub(super) kind: Option<Kind>,
    pub(super) major: Option<u32>,
    pub(super) minor: Option<u32>,
    pub(super) access: u8,
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Request {
    pub(super) kind: Kind,
    pub(super) major: u32,
    pub(super) minor: u32,
    pub(super) access: u8,
}

impl Plain {
    fn matches(&self, request: Request, bit: u8) -> bool {
        self.kind.is_none_or(|kind| kind == request.kind)
            && self.major.is_none_or(|major| major == request.major)
            && self.minor.is_none_or(|minor| minor == request.minor)
            && self.access & bit != 0
    }

    pub(super) fn spec(&self) -> LinuxDeviceCgroup {
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

pub(super) fn policy(rules: &[Plain]) -> Policy {
    let mut policy = Policy::new(false);
    for (index, rule) in rules.iter().enumerate() {
        policy.add_spec(index, &rule.spec()).unwrap();
    }
    policy
}

/// The part of eBPF that programs use, strict: whatever the verifier refuses panics.
pub(super) fn interpret(program: &[Insn], request: Request) -> bool {
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

/// All kinds of access to devices with numbers of the rules, and with others.
fn requests(rules: &[Plain]) -> Vec<Request> {
    let numbers = |of: fn(&Plain) -> Option<u32>| {
        let mut numbers: Vec<u32> = rules.iter().filter_map(of).take(8).collect();
        numbers.extend([0, 1, 2, 3, 5, 7, 8, 9, 10, 136, 200]);
        numbers.sort_unstable();
        numbers.dedup();
        numbers
    };
    let (majors, minors) = (numbers(|rule| rule.major), numbers(|rule| rule.minor));
    let mut requests = Vec::new();
    for kind in [Kind::Block, Kind::Char] {
        for &major in &majors {
            for &minor in &minors {
                requests.extend((1..8).map(|access| Request { kind, major, minor, access }));
            }
        }
    }
    requests
}

/// The program and v1's files do what the rules say.
pub(super) fn compare(rules: &[Plain]) {
    let policy = policy(rules);
    let program = program(&policy).unwrap();
    let requests = requests(rules);
    for &request in &requests {
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
            for &request in &requests {
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
