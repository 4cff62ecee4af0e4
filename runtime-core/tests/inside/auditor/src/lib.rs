//! The auditor: a static program without a libc that looks at the process that it is, and at what
//! it can reach. Tests put it into a container; `entry.rs` says what it can be asked.

/// The program, an ELF file.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/auditor"));
