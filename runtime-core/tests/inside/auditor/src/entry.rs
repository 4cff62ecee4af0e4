//! The auditor: it asks the kernel what its arguments say, and writes down what the kernel answers.
//! It judges nothing: what is right is for the test to know.
//!
//! Each argument is a question, a verb and its words. To each an answer is written on the standard
//! output: a line of its own with the question, that begins with the byte 0x1e, and then what was
//! found. `!N` is the errno N.
//!
//! | question | answer |
//! |---|---|
//! | `fds` | the open descriptors, each with what it leads to |
//! | `read PATH`, `list PATH`, `link PATH` | what the file holds, the directory's names, where the link leads |
//! | `stat PATH` | device, inode and mode |
//! | `write PATH`, `make PATH` | `ok` if it can be opened for writing; if it can be made (it is removed again) |
//! | `call NUMBER ARGUMENT…` | what the system call returns; with `@`, the address of some zeroed memory, also the first number that is in there then |
//! | `text NUMBER ARGUMENT…` | the string that is there then |
//! | `sweep FROM TO ARGUMENT [NUMBER…]` | a line for each system call but those listed, called by a child with six times that argument: its number, and what it returned, or `sN` for a child that signal N has killed, or `x` for one that ended |
//! | `sweep32 …` | the same through the interface for programs of 32 bits |
//! | `watch PATH CANARY` | until PATH exists: what it gets hold of in processes that appear in `/proc`, and whether that leads to the host's CANARY (`watch.rs`) |
//! | `watch PATH kill` | it kills them instead |
//! | `wait` | none: it sleeps until it is killed |

#![no_std]
#![no_main]
#![allow(dead_code, unreachable_pub)] // of what is shared with init, a part is used

mod ask;
#[path = "../../../../init/src/sys/freestanding.rs"]
mod freestanding;
mod output;
mod sweep;
mod sys;
mod watch;

#[cfg(target_arch = "x86_64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "xor ebp, ebp",
    "mov rdi, rsp",
    "and rsp, -16",
    "call {main}",
    "ud2",
    main = sym main
);

#[cfg(target_arch = "aarch64")]
core::arch::global_asm!(
    ".globl _start",
    "_start:",
    "mov x29, #0",
    "mov x0, sp",
    "bl {main}",
    "brk #1",
    main = sym main
);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    freestanding::abort()
}

extern "C" fn main(stack: *const usize) -> ! {
    let mut index = 1;
    while let Some(question) = sys::argument(stack, index) {
        ask::ask(question.to_bytes());
        index += 1;
    }
    sys::exit(0)
}
