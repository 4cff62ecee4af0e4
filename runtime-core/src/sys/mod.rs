//! Typed wrappers for the system calls that `rustix` does not offer. The only room of this crate
//! with `unsafe`; each file is one family and names its manual pages.

pub(crate) mod bpf;
pub(crate) mod netlink;
pub(crate) mod pidfd;
pub(crate) mod vfork;
