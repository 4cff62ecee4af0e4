//! The architectures of the runtime-spec: how the kernel tells them apart in a filter, and where
//! their numbers are in the tables.

use oci_spec::runtime::Arch;

use super::tables::Row;

/// The kernel calls x32 `AUDIT_ARCH_X86_64`; its system calls carry this bit in their number
/// (`__X32_SYSCALL_BIT`, arch/x86/include/uapi/asm/unistd.h).
pub(super) const X32_BIT: u32 = 0x4000_0000;

/// Flags inside the kernel's `AUDIT_ARCH_*` tokens (include/uapi/linux/audit.h).
const AUDIT_64BIT: u32 = 0x8000_0000;
const AUDIT_LITTLE_ENDIAN: u32 = 0x4000_0000;
const AUDIT_MIPS_N32: u32 = 0x2000_0000;

/// The tables' columns. Where two architectures differ in the byte order alone they share one.
pub(super) const COLUMNS: [Arch; 18] = [
    Arch::ScmpArchX86,
    Arch::ScmpArchX86_64,
    Arch::ScmpArchX32,
    Arch::ScmpArchArm,
    Arch::ScmpArchAarch64,
    Arch::ScmpArchLoongarch64,
    Arch::ScmpArchM68k,
    Arch::ScmpArchMips,
    Arch::ScmpArchMips64,
    Arch::ScmpArchMips64n32,
    Arch::ScmpArchParisc,
    Arch::ScmpArchParisc64,
    Arch::ScmpArchPpc,
    Arch::ScmpArchPpc64,
    Arch::ScmpArchRiscv64,
    Arch::ScmpArchS390,
    Arch::ScmpArchS390x,
    Arch::ScmpArchSh,
];

/// The architecture that this library was compiled for.
pub(super) const NATIVE: Arch = native();

/// A system call interface: an architecture with what a filter must know of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Abi {
    pub(super) arch: Arch,
    column: usize,
    /// libseccomp covers socket and System V calls in both forms here: their own number (if they
    /// have one) and the multiplexer's, socketcall(2) or ipc(2).
    pub(super) multiplexed: bool,
}

impl Abi {
    pub(super) const fn of(arch: Arch) -> Self {
        use Arch::*;
        let (column, multiplexed) = match arch {
            ScmpArchNative => return Self::of(NATIVE),
            ScmpArchX86 => (0, true),
            ScmpArchX86_64 => (1, false),
            ScmpArchX32 => (2, false),
            ScmpArchArm => (3, false),
            ScmpArchAarch64 => (4, false),
            ScmpArchLoongarch64 => (5, false),
            ScmpArchM68k => (6, true),
            ScmpArchMips | ScmpArchMipsel => (7, true),
            ScmpArchMips64 | ScmpArchMipsel64 => (8, false),
            ScmpArchMips64n32 | ScmpArchMipsel64n32 => (9, false),
            ScmpArchParisc => (10, false),
            ScmpArchParisc64 => (11, false),
            ScmpArchPpc => (12, true),
            ScmpArchPpc64 | ScmpArchPpc64le => (13, true),
            ScmpArchRiscv64 => (14, false),
            ScmpArchS390 => (15, true),
            ScmpArchS390x => (16, true),
            ScmpArchSh | ScmpArchSheb => (17, true),
        };
        Self { arch, column, multiplexed }
    }

    /// What `seccomp_data.arch` holds: libseccomp's token, x32's excepted.
    pub(super) const fn audit(self) -> u32 {
        match self.arch {
            Arch::ScmpArchX32 => Arch::ScmpArchX86_64 as u32,
            arch => arch as u32,
        }
    }

    /// Whether arguments are compared as 64 bits; otherwise only their low word counts.
    pub(super) const fn is_wide(self) -> bool {
        let token = self.arch as u32;
        token & AUDIT_64BIT != 0 && token & AUDIT_MIPS_N32 == 0
    }

    pub(super) const fn is_little_endian(self) -> bool {
        self.arch as u32 & AUDIT_LITTLE_ENDIAN != 0
    }

    /// What `seccomp_data.nr` holds for this system call, if the architecture has it.
    pub(super) fn number(self, row: &Row) -> Option<u32> {
        let number = row.number(self.column)?;
        Some(if self.arch == Arch::ScmpArchX32 { number | X32_BIT } else { number })
    }
}

#[expect(clippy::panic, reason = "evaluated at compile time: an unknown target does not build")]
const fn native() -> Arch {
    if cfg!(all(target_arch = "x86_64", target_pointer_width = "32")) {
        return Arch::ScmpArchX32;
    }
    let little = cfg!(target_endian = "little");
    if cfg!(target_arch = "x86_64") {
        Arch::ScmpArchX86_64
    } else if cfg!(target_arch = "x86") {
        Arch::ScmpArchX86
    } else if cfg!(target_arch = "aarch64") {
        Arch::ScmpArchAarch64
    } else if cfg!(target_arch = "arm") {
        Arch::ScmpArchArm
    } else if cfg!(target_arch = "riscv64") {
        Arch::ScmpArchRiscv64
    } else if cfg!(target_arch = "loongarch64") {
        Arch::ScmpArchLoongarch64
    } else if cfg!(target_arch = "s390x") {
        Arch::ScmpArchS390x
    } else if cfg!(target_arch = "powerpc64") {
        if little { Arch::ScmpArchPpc64le } else { Arch::ScmpArchPpc64 }
    } else if cfg!(target_arch = "powerpc") {
        Arch::ScmpArchPpc
    } else if cfg!(target_arch = "mips64") {
        if little { Arch::ScmpArchMipsel64 } else { Arch::ScmpArchMips64 }
    } else if cfg!(target_arch = "mips") {
        if little { Arch::ScmpArchMipsel } else { Arch::ScmpArchMips }
    } else {
        panic!("no system call table for this architecture")
    }
}
