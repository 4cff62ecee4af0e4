//! A [`Policy`] as a program for cgroup2's device hook: BPF_PROG_TYPE_CGROUP_DEVICE of
//! <linux/bpf.h>. It returns 1 to allow an access and 0 to deny it.
//!
//! The rules are asked in reverse order, the last one first. A register holds the kinds of
//! access that no rule has decided yet: a rule that denies one of them ends the program, and so
//! does the one that allows the last of them. Neighbouring rules that say the same may be asked in
//! any order, so that type and major number are compared once for all of them.

use super::{Access, Kind, Pattern, Policy, Rule};
use crate::error::{Error, ErrorKind, Result};
use crate::sys::bpf::Insn;

// Registers: the context comes in R1, the result goes out in R0.
const RESULT: u8 = 0;
const CONTEXT: u8 = 1;
const KIND: u8 = 2;
/// The kinds of access not decided yet.
const OPEN: u8 = 3;
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

// Codes of <linux/bpf.h> and <linux/bpf_common.h>: class, then operation or size, then source.
pub(super) const LOAD_HALF: u8 = 0x01 | 0x08 | 0x60; // BPF_LDX | BPF_H | BPF_MEM
pub(super) const LOAD_WORD: u8 = 0x01 | 0x60; // BPF_LDX | BPF_W | BPF_MEM
pub(super) const AND: u8 = 0x07 | 0x50; // BPF_ALU64 | BPF_AND | BPF_K
pub(super) const MOV: u8 = 0x07 | 0xb0; // BPF_ALU64 | BPF_MOV | BPF_K
pub(super) const JUMP: u8 = 0x05; // BPF_JMP | BPF_JA
pub(super) const JUMP_IF_EQUAL: u8 = 0x05 | 0x10; // BPF_JMP | BPF_JEQ | BPF_K
pub(super) const JUMP_IF_NOT_EQUAL: u8 = 0x05 | 0x50; // BPF_JMP | BPF_JNE | BPF_K
pub(super) const JUMP_IF_ANY_BIT: u8 = 0x05 | 0x40; // BPF_JMP | BPF_JSET | BPF_K
pub(super) const EXIT: u8 = 0x05 | 0x90; // BPF_JMP | BPF_EXIT

/// Compiles a policy.
///
/// # Errors
/// If it has so many rules that a jump can't be encoded: some ten thousand.
pub(crate) fn program(policy: &Policy) -> Result<Vec<Insn>> {
    let mut code = Code::default();
    let rules = &policy.rules;
    let mut default_allow = policy.default_allow;
    if !rules.is_empty() {
        code.prologue();
    }
    for run in rules.chunk_by(|a, b| a.allow == b.allow).rev() {
        if code.run(run) {
            // What this run says about everything else makes earlier rules meaningless.
            default_allow = run.first().is_some_and(|rule| rule.allow);
            break;
        }
    }
    for allow in [default_allow, !default_allow] {
        let label = if allow { Label::ALLOW } else { Label::DENY };
        // Code that nothing leads to is refused by the kernel's verifier.
        if allow == default_allow || code.is_used(label) {
            code.place(label);
            code.push(MOV, RESULT, i32::from(allow));
            code.push(EXIT, 0, 0);
        }
    }
    code.link()
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Label(usize);

impl Label {
    const ALLOW: Self = Self(0);
    const DENY: Self = Self(1);

    const fn of(allow: bool) -> Self {
        if allow { Self::ALLOW } else { Self::DENY }
    }
}

/// The instructions so far. All jumps go forward, to labels that are placed later.
#[derive(Debug)]
struct Code {
    insns: Vec<Insn>,
    /// Which instruction jumps to which label.
    jumps: Vec<(usize, Label)>,
    /// Where each label is.
    labels: Vec<Option<usize>>,
}

impl Default for Code {
    fn default() -> Self {
        Self { insns: Vec::new(), jumps: Vec::new(), labels: vec![None; 2] }
    }
}

impl Code {
    fn push(&mut self, code: u8, register: u8, immediate: i32) {
        self.insns.push(Insn::new(code, register, 0, 0, immediate));
    }

    fn jump(&mut self, code: u8, register: u8, immediate: i32, label: Label) {
        self.jumps.push((self.insns.len(), label));
        self.push(code, register, immediate);
    }

    fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    fn place(&mut self, label: Label) {
        let here = self.insns.len();
        if let Some(place) = self.labels.get_mut(label.0) {
            *place = Some(here);
        }
    }

    fn is_used(&self, label: Label) -> bool {
        self.jumps.iter().any(|&(_, target)| target == label)
    }

    /// Loads `struct bpf_cgroup_dev_ctx`: `access_type` (the type in its lower half, the access
    /// in its upper one), `major`, `minor`.
    fn prologue(&mut self) {
        let (kind, access) = if cfg!(target_endian = "little") { (0, 2) } else { (2, 0) };
        self.insns.push(Insn::new(LOAD_HALF, KIND, CONTEXT, kind, 0));
        self.insns.push(Insn::new(LOAD_HALF, OPEN, CONTEXT, access, 0));
        self.insns.push(Insn::new(LOAD_WORD, MAJOR, CONTEXT, 4, 0));
        self.insns.push(Insn::new(LOAD_WORD, MINOR, CONTEXT, 8, 0));
    }

    /// Rules that all say the same. True if they decide everything, so that nothing may follow.
    fn run(&mut self, rules: &[Rule]) -> bool {
        let Some(allow) = rules.first().map(|rule| rule.allow) else { return false };
        // What is said about all devices of both types comes first: then the other rules need
        // not look at these kinds of access.
        let about_all = |kind| {
            let rules = rules.iter().filter(move |rule| rule.pattern == everything(kind));
            rules.fold(Access::NONE, |access, rule| access.union(rule.access))
        };
        let common = Access(about_all(Kind::Block).0 & about_all(Kind::Char).0);
        if common == Access::ALL {
            return true;
        }
        self.decide(common, allow);
        for kind in [Kind::Block, Kind::Char] {
            let open = rules.iter().filter(|rule| rule.pattern.kind == kind).filter_map(|rule| {
                let whole = rule.access.union(common) == Access::ALL;
                let access = if whole { Access::ALL } else { rule.access.without(common) };
                (access != Access::NONE).then_some((rule.pattern, access))
            });
            let open: Vec<(Pattern, Access)> = open.collect();
            if !open.is_empty() {
                let after = self.label();
                self.jump(JUMP_IF_NOT_EQUAL, KIND, kind as i32, after);
                self.same_kind(&open, allow);
                self.place(after);
            }
        }
        false
    }

    /// Rules about one type, one access after another.
    fn same_kind(&mut self, rules: &[(Pattern, Access)], allow: bool) {
        for access in (1..=Access::ALL.0).map(Access) {
            let same: Vec<Pattern> =
                rules.iter().filter(|rule| rule.1 == access).map(|rule| rule.0).collect();
            if same.is_empty() {
                continue;
            }
            if same.iter().any(|pattern| pattern.major.is_none() && pattern.minor.is_none()) {
                self.decide(access, allow);
            } else if access == Access::ALL {
                self.match_numbers(&same, Label::of(allow));
            } else {
                let (hit, after) = (self.label(), self.label());
                self.match_numbers(&same, hit);
                self.jump(JUMP, 0, 0, after);
                self.place(hit);
                self.decide(access, allow);
                self.place(after);
            }
        }
    }

    /// Jumps to `hit` if one of the patterns matches, else goes on.
    fn match_numbers(&mut self, patterns: &[Pattern], hit: Label) {
        let mut majors: Vec<u32> = Vec::new();
        for pattern in patterns {
            match (pattern.major, pattern.minor) {
                (None, Some(minor)) => self.jump(JUMP_IF_EQUAL, MINOR, word(minor), hit),
                (Some(major), None) => self.jump(JUMP_IF_EQUAL, MAJOR, word(major), hit),
                (Some(major), Some(_)) if !majors.contains(&major) => majors.push(major),
                _ => {}
            }
        }
        for major in majors {
            let other = self.label();
            self.jump(JUMP_IF_NOT_EQUAL, MAJOR, word(major), other);
            for minor in patterns.iter().filter(|p| p.major == Some(major)).filter_map(|p| p.minor)
            {
                self.jump(JUMP_IF_EQUAL, MINOR, word(minor), hit);
            }
            self.place(other);
        }
    }

    /// These kinds of access are decided now.
    fn decide(&mut self, access: Access, allow: bool) {
        match (access, allow) {
            (Access::NONE, _) => {}
            (Access::ALL, _) => self.jump(JUMP, 0, 0, Label::of(allow)),
            (_, true) => {
                self.push(AND, OPEN, i32::from(Access::ALL.without(access).0));
                self.jump(JUMP_IF_EQUAL, OPEN, 0, Label::ALLOW);
            }
            (_, false) => self.jump(JUMP_IF_ANY_BIT, OPEN, i32::from(access.0), Label::DENY),
        }
    }

    /// Fills in the jumps' distances.
    fn link(mut self) -> Result<Vec<Insn>> {
        let too_long = || {
            Error::new(ErrorKind::Unsupported, "too many device rules")
                .with_pointer("/linux/resources/devices")
        };
        for &(index, label) in &self.jumps {
            let target = self.labels.get(label.0).copied().flatten().ok_or_else(too_long)?;
            let offset = i16::try_from(target - index - 1).map_err(|_| too_long())?;
            let insn = self.insns.get_mut(index).ok_or_else(too_long)?;
            insn.offset = offset;
        }
        Ok(self.insns)
    }
}

const fn everything(kind: Kind) -> Pattern {
    Pattern { kind, major: None, minor: None }
}

/// A number as an immediate operand. The kernel extends it by its sign, and what a number is
/// compared with was loaded without: so the highest bit must not be set, and no device number of
/// Linux has it (12 bits of major, 20 of minor).
fn word(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
