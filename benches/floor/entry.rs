//! The floor: what the kernel alone takes to run one container.
//!
//! A program without a libc that does what must be done for the same container as hoist's, and
//! nothing else, by the fewest and fastest system calls that were found. It is a yardstick and no
//! rival: each runtime is shown against it.
//!
//! ```text
//! floor [--phases] ROOTFS CGROUPS minimal|default [FILTER]
//! ```
//!
//! runs `/bin/true` once in ROOTFS and ends with its status (128 + n for signal n; 125 is the
//! floor's own failure). CGROUPS are the directories to make, with `:` in between: one on cgroup2;
//! on v1 one in each hierarchy, and one on the cgroup2 hierarchy that is called `unified`. FILTER
//! is a file with an array of `struct sock_filter`. `--phases` prints a line `name µs` for each
//! phase in the end.
//!
//! `default` is what `hoist spec` writes on this machine: namespaces pid, network, ipc, uts, mount
//! and on cgroup2 alone also cgroup; proc, dev, pts, shm, mqueue, sysfs, cgroup; devices, masked
//! and read-only paths, a read-only root, one limit, three capabilities, no_new_privs. `minimal` is
//! `minimal.json`: namespaces pid, ipc, uts and mount; proc and dev; devices, capabilities and
//! no_new_privs as in `default`. Both have the default device rules in a cgroup of their own, a
//! session and a session keyring of their own, no inherited groups and descriptors.
//! `tests/floor.rs` compares them with hoist's containers.
//!
//! Left out is what a runtime does for others than the kernel. No configuration is read and no
//! state is kept; there is no stop between create and start; paths of the root are trusted; nothing
//! inherited is reset but umask, groups and descriptors (not signals, priorities, a standard input
//! from the host's /dev/null); and the clone shares memory and stack with its caller, as vfork(2)
//! does, which no library could do.

#![no_std]
#![no_main]
#![allow(dead_code, unreachable_pub)] // of what is shared with init, a part is used

mod cgroup;
mod container;
#[path = "../../runtime-core/init/src/sys/freestanding.rs"]
mod freestanding;
mod phases;
mod sys;
mod text;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym container::main
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x0, sp",
    "bl {main}",
    "brk #1",
    main = sym container::main
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    freestanding::abort()
}
