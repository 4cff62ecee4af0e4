//! Which devices a container may use: `linux.resources.devices`.
//!
//! The rules become a [`Policy`], in which the last rule that matches decides, for each kind of
//! access by itself. [`program`] compiles it for cgroup2, [`legacy`] writes it to the files of
//! the v1 controller.

pub(super) mod attach;
#[cfg(feature = "fuzz")]
pub(super) mod fuzz;
pub(super) mod legacy;
#[cfg(any(test, feature = "fuzz"))]
mod model;
pub(super) mod program;
#[cfg(test)]
mod tests;
mod undo;

use oci_spec::runtime::{LinuxDevice, LinuxDeviceCgroup, LinuxDeviceType};

pub(super) use self::undo::Undo;
use crate::error::{Error, Result};

/// From the rules to the program, for the micro-benchmarks.
#[cfg(feature = "bench")]
pub(crate) fn encode(
    rules: &[LinuxDeviceCgroup],
    nodes: &[LinuxDevice],
) -> Result<Vec<crate::sys::bpf::Insn>> {
    program::program(&Policy::of_container(rules, nodes)?)
}

/// Kinds of access, as `BPF_DEVCG_ACC_*` of <linux/bpf.h> numbers them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Access(u8);

impl Access {
    pub(crate) const NONE: Self = Self(0);
    pub(crate) const MKNOD: Self = Self(1);
    pub(crate) const READ: Self = Self(2);
    pub(crate) const WRITE: Self = Self(4);
    pub(crate) const ALL: Self = Self(7);

    /// Reads `rwm`, in any order.
    pub(super) fn parse(text: &str) -> Option<Self> {
        text.chars().try_fold(Self::NONE, |access, letter| {
            Some(access.union(match letter {
                'r' => Self::READ,
                'w' => Self::WRITE,
                'm' => Self::MKNOD,
                _ => return None,
            }))
        })
    }

    pub(crate) const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    const fn includes(self, other: Self) -> bool {
        other.0 & !self.0 == 0
    }

    pub(super) fn letters(self) -> String {
        let all = [(Self::READ, 'r'), (Self::WRITE, 'w'), (Self::MKNOD, 'm')];
        all.iter().filter(|(access, _)| self.meets(*access)).map(|(_, letter)| letter).collect()
    }
}

/// A type of device, as `BPF_DEVCG_DEV_*` of <linux/bpf.h> numbers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Block = 1,
    Char = 2,
}

/// Devices of a type; `None` stands for every number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    pub(crate) major: Option<u32>,
    pub(crate) minor: Option<u32>,
}

impl Pattern {
    /// Whether everything that `other` matches is matched.
    fn covers(&self, other: &Self) -> bool {
        let covers = |own: Option<u32>, other| own.is_none() || own == other;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    /// Whether something is matched by both.
    fn meets(&self, other: &Self) -> bool {
        let meets =
            |own: Option<u32>, other: Option<u32>| own.is_none() || other.is_none() || own == other;
        self.kind == other.kind && meets(self.major, other.major) && meets(self.minor, other.minor)
    }
}

/// One rule of a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rule {
    pub(crate) allow: bool,
    pub(crate) pattern: Pattern,
    pub(crate) access: Access,
    /// Where in `linux.resources.devices` it is from; none of a default rule.
    pub(crate) index: Option<usize>,
}

/// What is decided about every access to a device: by the last rule that matches, else by the
/// default. Rules that decide nothing are not in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Policy {
    pub(super) default_allow: bool,
    pub(super) rules: Vec<Rule>,
}

/// The device nodes that every container gets, and which are therefore allowed unless
/// `linux.devices` puts something else at their path: the runtime-spec's default devices, and
/// what runc has had on its list for so long that images rely on it: ptmx, pts/*, net/tun.
const DEFAULT_DEVICES: [(&str, u32, Option<u32>); 9] = [
    ("/dev/null", 1, Some(3)),
    ("/dev/random", 1, Some(8)),
    ("/dev/full", 1, Some(7)),
    ("/dev/tty", 5, Some(0)),
    ("/dev/zero", 1, Some(5)),
    ("/dev/urandom", 1, Some(9)),
    ("", 136, None),
    ("", 5, Some(2)),
    ("", 10, Some(200)),
];

impl Policy {
    /// Everything is denied, or allowed.
    pub(crate) const fn new(default_allow: bool) -> Self {
        Self { default_allow, rules: Vec::new() }
    }

    /// The policy of a container: what `linux.resources.devices` says, from nothing allowed, and
    /// then, as in runc, what every container may do: mknod(2) of anything, and the use of its
    /// default devices. `nodes` is `linux.devices`.
    pub(crate) fn of_container(rules: &[LinuxDeviceCgroup], nodes: &[LinuxDevice]) -> Result<Self> {
        let mut policy = Self::new(false);
        for (index, rule) in rules.iter().enumerate() {
            policy.add_spec(index, rule)?;
        }
        let mut allow = |kind, major, minor, access| {
            let pattern = Pattern { kind, major, minor };
            policy.add(Rule { allow: true, pattern, access, index: None });
        };
        allow(Kind::Char, None, None, Access::MKNOD);
        allow(Kind::Block, None, None, Access::MKNOD);
        for (path, major, minor) in DEFAULT_DEVICES {
            if !nodes.iter().any(|node| node.path().as_os_str() == path) {
                allow(Kind::Char, Some(major), minor, Access::ALL);
            }
        }
        Ok(policy)
    }

    /// Whether there is nothing to enforce.
    pub(crate) fn allows_everything(&self) -> bool {
        self.default_allow && self.rules.is_empty()
    }

    fn add_spec(&mut self, index: usize, rule: &LinuxDeviceCgroup) -> Result<()> {
        let fail = |field, message: &'static str| {
            Err(Error::config(format!("/linux/resources/devices/{index}/{field}"), message))
        };
        // Linux has 12 bits of major and 20 of minor; `program` relies on the highest being 0.
        let number = |value: Option<i64>| match value {
            None | Some(-1) => Some(None),
            Some(value) => i32::try_from(value).ok()?.try_into().ok().map(Some),
        };
        let Some(major) = number(rule.major()) else { return fail("major", "not a device number") };
        let Some(minor) = number(rule.minor()) else { return fail("minor", "not a device number") };
        let access = rule.access().as_deref().unwrap_or_default();
        let Some(access) = Access::parse(access).filter(|access| *access != Access::NONE) else {
            return fail("access", "device access has to be of the letters r, w and m");
        };
        let kinds: &[Kind] = match rule.typ().unwrap_or_default() {
            LinuxDeviceType::A => &[Kind::Block, Kind::Char],
            LinuxDeviceType::B => &[Kind::Block],
            LinuxDeviceType::C => &[Kind::Char],
            LinuxDeviceType::U | LinuxDeviceType::P => {
                return fail("type", "a rule's device type has to be a, b or c");
            }
        };
        // The v1 controller takes any rule of type a for "everything", whatever else it says. Only
        // one that says so is taken for that here.
        if kinds.len() == 2 && major.is_none() && minor.is_none() && access == Access::ALL {
            *self = Self::new(rule.allow());
            return Ok(());
        }
        for &kind in kinds {
            let pattern = Pattern { kind, major, minor };
            self.add(Rule { allow: rule.allow(), pattern, access, index: Some(index) });
        }
        Ok(())
    }

    /// Adds a rule that overrules the earlier ones, and keeps the list short: a rule leaves it
    /// once others decide everything that it did.
    pub(crate) fn add(&mut self, rule: Rule) {
        for earlier in &mut self.rules {
            if earlier.allow != rule.allow && rule.pattern.covers(&earlier.pattern) {
                earlier.access = earlier.access.without(rule.access);
            }
        }
        self.rules.retain(|earlier| earlier.access != Access::NONE);
        // After the last rule that contradicts, all that matter say the same as this one.
        let contradicts = |earlier: &Rule| {
            earlier.allow != rule.allow
                && earlier.pattern.meets(&rule.pattern)
                && earlier.access.meets(rule.access)
        };
        let agreed = self.rules.iter().rposition(contradicts).map_or(0, |position| position + 1);
        if agreed == 0 && self.default_allow == rule.allow {
            return;
        }
        let mut agreeing =
            self.rules.iter_mut().skip(agreed).filter(|earlier| earlier.allow == rule.allow);
        if agreeing.any(|earlier| {
            earlier.pattern.covers(&rule.pattern) && earlier.access.includes(rule.access)
        }) {
            return;
        }
        let mut agreeing =
            self.rules.iter_mut().skip(agreed).filter(|earlier| earlier.allow == rule.allow);
        if let Some(same) = agreeing.find(|earlier| earlier.pattern == rule.pattern) {
            same.access = same.access.union(rule.access);
            return;
        }
        self.rules.retain(|earlier| {
            !(rule.pattern.covers(&earlier.pattern) && rule.access.includes(earlier.access))
        });
        self.rules.push(rule);
    }
}
