//! A classic BPF machine, as strict as the kernel's seccomp_check_filter and bpf_check_classic.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "as in tests"
)]

use crate::seccomp::assemble::{Instruction, code};
use crate::seccomp::rules::halves;

/// `struct seccomp_data`.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::seccomp) struct Data {
    pub(in crate::seccomp) nr: u32,
    pub(in crate::seccomp) arch: u32,
    pub(in crate::seccomp) args: [u64; 6],
}

pub(in crate::seccomp) struct Machine {
    program: Vec<Instruction>,
    big_endian: bool,
}

impl Machine {
    /// Loads a program; panics where the kernel would refuse it, its length excepted.
    pub(in crate::seccomp) fn load(bytes: &[u8], big_endian: bool) -> Self {
        let program: Vec<_> = bytes
            .as_chunks()
            .0
            .iter()
            .map(|[c0, c1, jt, jf, k @ ..]: &[u8; 8]| Instruction {
                code: u16::from_ne_bytes([*c0, *c1]),
                jt: *jt,
                jf: *jf,
                k: u32::from_ne_bytes(*k),
            })
            .collect();
        assert_eq!(bytes.len() % 8, 0);
        assert_eq!(program.last().unwrap().code, code::RETURN);
        for (position, instruction) in program.iter().enumerate() {
            let skips = match instruction.code {
                code::LOAD => {
                    assert!(instruction.k < 64 && instruction.k % 4 == 0);
                    0
                }
                code::JUMP => instruction.k as usize,
                code::JEQ | code::JGT | code::JGE | code::JSET => {
                    usize::from(instruction.jt.max(instruction.jf))
                }
                code::AND | code::RETURN => 0,
                other => panic!("operation {other:#x}"),
            };
            assert!(position + skips + 1 < program.len() || instruction.code == code::RETURN);
        }
        Self { program, big_endian }
    }

    #[cfg(test)]
    pub(in crate::seccomp) fn len(&self) -> usize {
        self.program.len()
    }

    /// The return value, and how many instructions it took.
    pub(in crate::seccomp) fn run(&self, data: &Data) -> (u32, usize) {
        let mut accumulator = None;
        let mut position = 0;
        for steps in 1.. {
            let Instruction { code, jt, jf, k } = self.program[position];
            position += 1;
            let loaded = || accumulator.expect("the accumulator is used before it is loaded");
            let holds = match code {
                code::LOAD => {
                    accumulator = Some(self.word(data, k as usize));
                    continue;
                }
                code::AND => {
                    accumulator = Some(loaded() & k);
                    continue;
                }
                code::JUMP => {
                    position += k as usize;
                    continue;
                }
                code::RETURN => return (k, steps),
                code::JEQ => loaded() == k,
                code::JGT => loaded() > k,
                code::JGE => loaded() >= k,
                code::JSET => loaded() & k != 0,
                _ => unreachable!(),
            };
            position += usize::from(if holds { jt } else { jf });
        }
        unreachable!()
    }

    fn word(&self, data: &Data, offset: usize) -> u32 {
        let mut words = [data.nr, data.arch, 0, 0].to_vec();
        for arg in data.args {
            let [high, low] = halves(arg);
            words.extend(if self.big_endian { [high, low] } else { [low, high] });
        }
        words[offset / 4]
    }
}
