//! What a profile means, as the manual pages and runc have it, said independently of the compiler.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "as in tests")]

use std::collections::BTreeSet;

use oci_spec::runtime::{Arch, LinuxSeccompOperator};

use super::machine::Data;
use crate::seccomp::arch::{Abi, X32_BIT};
use crate::seccomp::policy::{Condition, Policy, ret};
use crate::seccomp::{rules, tables};

/// The largest number that the policy names, for each interface.
pub(in crate::seccomp) fn newest(policy: &Policy<'_>) -> Vec<(Abi, u32)> {
    let newest = |abi| policy.named.iter().flat_map(move |row| rules::numbers(abi, row)).max();
    policy.abis.iter().map(|abi| (*abi, newest(*abi).unwrap_or(0))).collect()
}

/// What runc's patch of libseccomp's filter (libcontainer/seccomp/patchbpf) answers with ENOSYS,
/// said independently of the compiler: numbers above the largest one that the profile names.
pub(in crate::seccomp) fn is_newer(
    policy: &Policy<'_>,
    newest: &[(Abi, u32)],
    data: &Data,
) -> bool {
    let is_x32 = data.nr & X32_BIT != 0;
    let abi = newest.iter().find(|(abi, _)| {
        abi.audit() == data.arch
            && (data.arch != Arch::ScmpArchX86_64 as u32
                || (abi.arch == Arch::ScmpArchX32) == is_x32)
    });
    let Some((abi, newest)) = abi else { return false };
    let setup = matches!(abi.arch, Arch::ScmpArchS390 | Arch::ScmpArchS390x) && data.nr == 0;
    policy.enosys && newest & !X32_BIT != 0 && (data.nr > *newest || setup)
}

/// What the profile means, as the manual pages and runc have it: the actions of all rules that match.
pub(in crate::seccomp) fn meaning(
    policy: &Policy<'_>,
    newest: &[(Abi, u32)],
    data: &Data,
) -> Vec<u32> {
    if is_newer(policy, newest, data) {
        return vec![ret::ERRNO | 38];
    }
    let on = |abi: &&Abi| abi.audit() == data.arch;
    let x32 = policy.abis.iter().any(|abi| abi.arch == Arch::ScmpArchX32);
    let is_x32 = data.arch == Arch::ScmpArchX86_64 as u32 && data.nr >= X32_BIT;
    if !policy.abis.iter().any(|abi| on(&abi)) || is_x32 && !x32 && data.nr != u32::MAX {
        return vec![ret::KILL_THREAD];
    }
    let mut actions = Vec::new();
    for abi in policy.abis.iter().filter(on) {
        let width = if abi.is_wide() { u64::MAX } else { 0xffff_ffff };
        let args = data.args.map(|arg| arg & width);
        for rule in &policy.rules {
            let mut conditions = rule.conditions.iter();
            if abi.number(rule.row) == Some(data.nr) && conditions.all(|it| holds(it, args, width))
            {
                actions.push(rule.action);
            }
            let mut others = rule.conditions.iter().filter(|condition| condition.arg != 0);
            if rules::multiplexed(*abi, rule.name) == Some((data.nr, args[0]))
                && others.all(|condition| holds(condition, args, width))
            {
                actions.push(rule.action);
            }
        }
    }
    if actions.is_empty() { vec![policy.default] } else { actions }
}

fn holds(condition: &Condition, args: [u64; 6], width: u64) -> bool {
    let (arg, value) = (args[usize::from(condition.arg)], condition.value & width);
    match condition.op {
        LinuxSeccompOperator::ScmpCmpNe => arg != value,
        LinuxSeccompOperator::ScmpCmpLt => arg < value,
        LinuxSeccompOperator::ScmpCmpLe => arg <= value,
        LinuxSeccompOperator::ScmpCmpEq => arg == value,
        LinuxSeccompOperator::ScmpCmpGe => arg >= value,
        LinuxSeccompOperator::ScmpCmpGt => arg > value,
        LinuxSeccompOperator::ScmpCmpMaskedEq => arg & condition.mask == value,
    }
}

/// The values of arguments at which the outcome of one of these conditions can change.
fn interesting(conditions: &[Condition], arg: u8) -> Vec<u64> {
    let mut values = BTreeSet::from([0]);
    for condition in conditions.iter().filter(|condition| condition.arg == arg) {
        for value in [condition.value, condition.value | !condition.mask, condition.mask] {
            values.extend([value, value.wrapping_add(1), value.wrapping_sub(1)]);
            values.extend([value & 0xffff_ffff, value | 0xffff_ffff_0000_0000]);
            values.extend([value ^ (1 << 32), value.wrapping_add(1 << 32), !value]);
        }
    }
    values.into_iter().collect()
}

/// The conditions by which the outcome for this number is decided.
fn conditions(policy: &Policy<'_>, arch: u32, nr: u32) -> Vec<Condition> {
    let mut all = Vec::new();
    for abi in policy.abis.iter().filter(|abi| abi.audit() == arch) {
        let has = |name| abi.number(tables::find(name).unwrap()) == Some(nr);
        let multiplexer = abi.multiplexed && (has("socketcall") || has("ipc"));
        if multiplexer {
            let op = LinuxSeccompOperator::ScmpCmpEq;
            all.extend((0..26).map(|value| Condition { arg: 0, op, mask: u64::MAX, value }));
        }
        let rules = policy.rules.iter().filter(|rule| !rule.conditions.is_empty());
        let rules = rules.filter(|rule| multiplexer || has(rule.name));
        all.extend(rules.flat_map(|rule| rule.conditions.clone()));
    }
    all
}

/// All interfaces and some that the policy doesn't have, these numbers, all arguments that can make a
/// difference (at most so many combinations for each number).
pub(in crate::seccomp) fn everywhere<I: Iterator<Item = u32>>(
    policy: &Policy<'_>,
    numbers: impl Fn() -> I,
    most: usize,
    check: impl Fn(&Data),
) {
    let mut arches: BTreeSet<u32> = policy.abis.iter().map(|abi| abi.audit()).collect();
    arches.extend([0, 0xc000_00b7, u32::MAX]);
    for arch in arches {
        for nr in numbers() {
            let conditions = conditions(policy, arch, nr);
            let values: Vec<_> = (0..6).map(|arg| interesting(&conditions, arg)).collect();
            let combinations = values.iter().map(Vec::len).fold(1, usize::saturating_mul);
            for mut pick in (0..combinations).step_by((combinations / most) | 1) {
                let mut data = Data { nr, arch, args: [0; 6] };
                for (arg, values) in data.args.iter_mut().zip(&values) {
                    *arg = values[pick % values.len()];
                    pick /= values.len();
                }
                check(&data);
            }
        }
    }
}
