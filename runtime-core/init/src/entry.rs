//! The program hoist-init: a few kilobytes, static, without a libc.
//!
//! build.rs compiles this file with rustc on its own. The modules are those of the library
//! crate, which is what tests, clippy and rustfmt see.

#![no_std]
#![no_main]
#![allow(dead_code, unreachable_pub)] // the library half of the modules is not used here

#[path = "sys/freestanding.rs"]
mod freestanding;
mod interpreter;
mod page;
mod sys;
mod wire;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym interpreter::main
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x0, sp",
    "bl {main}",
    "brk #1",
    main = sym interpreter::main
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    freestanding::abort()
}
