//! The names and numbers of all system calls, as libseccomp knows them.
//!
//! One row a name, one column an architecture, so that a new system call is one new line. To
//! regenerate `data.rs` from a libseccomp (this machine's, or a newer one that was unpacked):
//!
//! ```sh
//! HOIST_LIBSECCOMP=/path/to/libseccomp.so.2 \
//!     cargo test -p hoist --lib seccomp::tests::tables::regenerate -- --ignored
//! ```

#[rustfmt::skip]
mod data;

use super::arch::COLUMNS;

/// A system call: its name, and its encoded number in each column.
pub(super) struct Row(pub(super) &'static str, [u16; COLUMNS.len()]);

/// An architecture lacks the call, or has it only multiplexed (socketcall(2), ipc(2)).
pub(super) const NONE: u16 = u16::MAX;

/// arm has a few private calls (set_tls, cacheflush …) at this base, see
/// arch/arm/include/uapi/asm/unistd.h. All other numbers are small, so that 16 bits do: the
/// private ones are kept as `0xf000 | offset`.
const ARM_PRIVATE: u32 = 0x000f_0000;
const ENCODED_PRIVATE: u16 = 0xf000;

/// The row of the system call with this name.
pub(super) fn find(name: &str) -> Option<&'static Row> {
    let index = data::ROWS.binary_search_by(|row| row.0.cmp(name)).ok()?;
    data::ROWS.get(index)
}

#[cfg(test)]
pub(super) fn rows() -> &'static [Row] {
    data::ROWS
}

impl Row {
    /// The number in this column, without x32's bit.
    pub(super) fn number(&self, column: usize) -> Option<u32> {
        self.1.get(column).copied().and_then(decode)
    }
}

pub(super) fn decode(number: u16) -> Option<u32> {
    match number {
        NONE => None,
        ENCODED_PRIVATE.. => Some(ARM_PRIVATE | u32::from(number & !ENCODED_PRIVATE)),
        _ => Some(u32::from(number)),
    }
}

#[cfg(test)]
pub(super) fn encode(number: u32) -> Option<u16> {
    let private = number.checked_sub(ARM_PRIVATE).and_then(|n| u16::try_from(n).ok());
    match private {
        Some(offset) if offset < 0x0fff => Some(ENCODED_PRIVATE | offset),
        Some(_) => None,
        None => u16::try_from(number).ok().filter(|n| *n < ENCODED_PRIVATE),
    }
}
