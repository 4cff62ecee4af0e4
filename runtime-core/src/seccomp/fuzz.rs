//! What is fuzzed of this room: profiles, compiled and interpreted, against what they mean.

use std::collections::BTreeSet;

use oci_spec::runtime::{Arch, LinuxSeccomp};

use super::arch::{Abi, X32_BIT};
use super::model::machine::Machine;
use super::model::meaning::{everywhere, meaning, newest};
use super::policy::Policy;
use super::{compile_for, rules};

/// More rules are the same again, only slowly.
const MOST_RULES: usize = 96;
/// Arguments that are tried for each number.
const COMBINATIONS: usize = 128;

/// `linux.seccomp`, for the machine that its first architecture is of.
pub fn seccomp(data: &[u8]) {
    let Ok(profile) = serde_json::from_slice::<LinuxSeccomp>(data) else { return };
    let first = profile.architectures().iter().flatten().next().copied();
    let is_big = first.is_some_and(|arch| !Abi::of(arch).is_little_endian());
    let native = if is_big { Arch::ScmpArchS390x } else { Arch::ScmpArchX86_64 };
    let filter = match compile_for(&profile, native) {
        Ok(filter) => filter,
        Err(error) => {
            let pointer = error.pointer().unwrap_or_default();
            assert!(pointer.starts_with("/linux/seccomp"), "{error:?}");
            return;
        }
    };
    let machine = Machine::load(filter.program_bytes(), is_big);
    let Ok(policy) = Policy::new(&profile, native) else { unreachable!("it was compiled") };
    if policy.rules.len() > MOST_RULES {
        return;
    }
    let numbers = numbers(&policy);
    let newest = newest(&policy);
    everywhere(
        &policy,
        || numbers.iter().copied(),
        COMBINATIONS,
        |data| {
            let (result, meant) = (machine.run(data).0, meaning(&policy, &newest, data));
            assert!(meant.contains(&result), "{data:x?}: {result:#x}, meant {meant:x?}");
        },
    );
}

/// Numbers at which the outcome can change, and strange ones.
fn numbers(policy: &Policy<'_>) -> BTreeSet<u32> {
    let mut all = BTreeSet::from([0, 1, 600, 0x7fff_ffff, 1 << 31, 0xc000_0000, !1, !0]);
    all.extend([X32_BIT - 1, X32_BIT, X32_BIT + 600]);
    for abi in &policy.abis {
        for number in policy.named.iter().flat_map(|row| rules::numbers(*abi, row)) {
            all.extend([number.wrapping_sub(1), number, number.wrapping_add(1)]);
            all.insert(number ^ X32_BIT);
        }
    }
    all
}
