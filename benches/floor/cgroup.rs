//! The container's cgroups: one on cgroup2, one for each hierarchy on v1.

use core::ffi::CStr;

use super::sys::{self, ENOENT, O_PATH, O_RDONLY, O_WRONLY, Result};
use super::text::Text;

/// Their directories, with `:` in between.
#[derive(Clone, Copy)]
pub(crate) struct Cgroups(pub(crate) &'static [u8]);

impl Cgroups {
    /// There is one hierarchy for everything.
    pub(crate) fn unified(self) -> bool {
        !self.0.contains(&b':')
    }

    fn all(self) -> impl Iterator<Item = &'static [u8]> {
        self.0.split(|byte| *byte == b':')
    }

    /// Those of v1.
    pub(crate) fn v1(self) -> impl Iterator<Item = &'static [u8]> {
        self.all().filter(move |cgroup| !self.unified() && hierarchy(cgroup) != b"unified")
    }

    fn v1_of(self, controller: &[u8]) -> Option<&'static [u8]> {
        self.v1().find(|cgroup| hierarchy(cgroup).split(|b| *b == b',').any(|c| c == controller))
    }

    pub(crate) fn make(self) -> Result {
        self.all().try_for_each(|cgroup| sys::mkdir(Text::of(&[cgroup]).path()))
    }

    /// Removes them; where there is none, making them had failed.
    pub(crate) fn remove(self) -> Result {
        self.all().try_for_each(|cgroup| match sys::rmdir(Text::of(&[cgroup]).path()) {
            Err(ENOENT) => Ok(()),
            removed => removed,
        })
    }

    /// The cgroup2 one, which clone3(2) begins in.
    pub(crate) fn open(self) -> Result<i32> {
        let cgroup2 = |cgroup: &&[u8]| self.unified() || hierarchy(cgroup) == b"unified";
        sys::open(Text::of(&[self.all().find(cgroup2).unwrap_or_default()]).path(), O_PATH)
    }

    /// v1: a cpuset takes a process only when it has processors and memory.
    pub(crate) fn fill_cpuset(self) -> Result {
        let Some(cgroup) = self.v1_of(b"cpuset") else { return Ok(()) };
        let name = cgroup.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let parent = cgroup.get(..cgroup.len() - name.len()).unwrap_or_default();
        for name in [c"cpuset.cpus", c"cpuset.mems"] {
            let mut buffer = [0; 256];
            let from = sys::open(file(parent, name).path(), O_RDONLY)?;
            write(cgroup, name, &[sys::read(from, &mut buffer)?])?;
            sys::close(from)?;
        }
        Ok(())
    }

    /// Which devices may be used: hoist's default rules, all of them.
    pub(crate) fn limit_devices(self, cgroup2: i32) -> Result {
        let Some(cgroup) = self.v1_of(b"devices") else {
            return sys::device_program(cgroup2, &DEVICE_PROGRAM);
        };
        write(cgroup, c"devices.deny", &[b"a"])?;
        write(cgroup, c"devices.allow", &DEVICE_LIST)
    }

    /// v1: a process that writes 0 to `tasks` attaches itself, without the lock that writing any
    /// other number takes.
    pub(crate) fn attach(self) -> Result {
        self.v1().try_for_each(|cgroup| write(cgroup, c"tasks", &[b"0"]))
    }
}

/// The name of the hierarchy's directory: the last but one of the path.
pub(crate) fn hierarchy(cgroup: &[u8]) -> &[u8] {
    cgroup.rsplit(|byte| *byte == b'/').nth(1).unwrap_or_default()
}

fn file(cgroup: &[u8], name: &CStr) -> Text {
    Text::of(&[cgroup, b"/", name.to_bytes()])
}

fn write(cgroup: &[u8], name: &CStr, lines: &[&[u8]]) -> Result {
    let fd = sys::open(file(cgroup, name).path(), O_WRONLY)?;
    lines.iter().try_for_each(|line| sys::write(fd, line))?;
    sys::close(fd)
}

#[rustfmt::skip]
const DEVICE_LIST: [&[u8]; 11] = [
    b"c *:* m", b"b *:* m", b"c 1:3 rwm", b"c 1:8 rwm", b"c 1:7 rwm", b"c 5:0 rwm", b"c 1:5 rwm",
    b"c 1:9 rwm", b"c 136:* rwm", b"c 5:2 rwm", b"c 10:200 rwm",
];

/// An instruction of BPF as the kernel has it; the offset is a jump's or a load's.
const fn insn(code: u8, registers: u8, offset: u8, operand: u8) -> u64 {
    code as u64 | (registers as u64) << 8 | (offset as u64) << 16 | (operand as u64) << 32
}

// Codes of <linux/bpf_common.h>: class, then operation or size, then source.
const LOAD_HALF: u8 = 0x69;
const LOAD: u8 = 0x61;
const AND: u8 = 0x57;
const SET: u8 = 0xb7;
const EQUAL: u8 = 0x15;
const UNEQUAL: u8 = 0x55;
const EXIT: u8 = 0x95;

/// The same rules, in the program that hoist compiles them into. Register 2 gets the type of the
/// device, 3 the kind of access, 4 the major and 5 the minor number; 0 has the answer.
#[rustfmt::skip]
const DEVICE_PROGRAM: [u64; 23] = [
    insn(LOAD_HALF, 0x12, 0, 0), insn(LOAD_HALF, 0x13, 2, 0),
    insn(LOAD, 0x14, 4, 0), insn(LOAD, 0x15, 8, 0),
    insn(AND, 3, 0, 6), insn(EQUAL, 3, 15, 0), // mknod is allowed
    insn(UNEQUAL, 2, 12, 2), // no block device is
    insn(EQUAL, 4, 13, 136),
    insn(UNEQUAL, 4, 5, 1), insn(EQUAL, 5, 11, 3), insn(EQUAL, 5, 10, 8), insn(EQUAL, 5, 9, 7),
    insn(EQUAL, 5, 8, 5), insn(EQUAL, 5, 7, 9),
    insn(UNEQUAL, 4, 2, 5), insn(EQUAL, 5, 5, 0), insn(EQUAL, 5, 4, 2),
    insn(UNEQUAL, 4, 1, 10), insn(EQUAL, 5, 2, 200),
    insn(SET, 0, 0, 0), insn(EXIT, 0, 0, 0),
    insn(SET, 0, 0, 1), insn(EXIT, 0, 0, 0),
];
