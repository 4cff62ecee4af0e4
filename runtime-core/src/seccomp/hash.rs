//! Hash tables of small numbers. The standard library's hash withstands who chooses the keys, and took
//! a sixth of the time of compiling a profile, which is the operator's and has few hundred of them.

use std::hash::{BuildHasherDefault, Hasher};

pub(super) type Map<K, V> = std::collections::HashMap<K, V, BuildHasherDefault<Multiply>>;
pub(super) type Set<K> = std::collections::HashSet<K, BuildHasherDefault<Multiply>>;

/// Multiplies by 2⁶⁴ divided by the golden ratio, which spreads numbers that are near to each other.
#[derive(Debug, Default)]
pub(super) struct Multiply(u64);

impl Hasher for Multiply {
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u64(u64::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.write_u64(u64::from(number));
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = (self.0.rotate_left(5) ^ number).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, number: usize) {
        self.write_u64(number as u64);
    }

    /// What derived implementations write for a variant.
    fn write_isize(&mut self, number: isize) {
        self.write_u64(number.cast_unsigned() as u64);
    }

    fn finish(&self) -> u64 {
        // Tables take the low bits; the high ones are the better ones.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasher, BuildHasherDefault};

    use super::{Multiply, Set};

    #[test]
    fn near_numbers_are_far_apart() {
        let build = BuildHasherDefault::<Multiply>::default();
        let low: Set<u64> = (0u32..256).map(|number| build.hash_one(number) & 0x3ff).collect();
        assert!(low.len() > 192, "{} of 256", low.len());
    }
}
