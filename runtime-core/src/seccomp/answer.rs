//! What a compiled filter answers to a system call.

use super::NATIVE;
use super::arch::Abi;
use super::assemble::code;
use super::policy::ret;

/// A system call of this machine; its last three arguments are 0.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Call {
    number: libc::c_long,
    arguments: [u64; 3],
}

impl Call {
    pub(crate) const fn new(number: libc::c_long, arguments: [u64; 3]) -> Self {
        Self { number, arguments }
    }

    /// `struct seccomp_data` of include/uapi/linux/seccomp.h, with an instruction pointer of 0.
    fn data(&self) -> Option<[u8; 64]> {
        let number = u32::try_from(self.number).ok()?.to_ne_bytes();
        let arch = Abi::of(NATIVE).audit().to_ne_bytes();
        let arguments = self.arguments.map(u64::to_ne_bytes);
        let bytes = number.iter().chain(&arch).chain(&[0; 8]).chain(arguments.as_flattened());
        let mut data = [0; 64];
        data.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        Some(data)
    }
}

/// Whether the program lets this call pass, without a trace of it in any log. No program that is well
/// formed gives `None`.
pub(super) fn allows(program: &[u8], call: Call) -> Option<bool> {
    let data = call.data()?;
    let (instructions, _) = program.as_chunks::<8>();
    let (mut position, mut accumulator) = (0usize, 0u32);
    loop {
        let [c0, c1, jt, jf, k @ ..] = *instructions.get(position)?;
        let k = u32::from_ne_bytes(k);
        let offset = usize::try_from(k).ok()?;
        position += 1;
        let holds = match u16::from_ne_bytes([c0, c1]) {
            code::LOAD => {
                let word = data.get(offset..)?.first_chunk()?;
                accumulator = u32::from_ne_bytes(*word);
                continue;
            }
            code::AND => {
                accumulator &= k;
                continue;
            }
            code::JUMP => {
                position = position.checked_add(offset)?;
                continue;
            }
            code::RETURN => return Some(k == ret::ALLOW),
            code::JEQ => accumulator == k,
            code::JGT => accumulator > k,
            code::JGE => accumulator >= k,
            code::JSET => accumulator & k != 0,
            _ => return None,
        };
        position += usize::from(if holds { jt } else { jf });
    }
}
