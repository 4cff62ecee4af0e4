//! Seccomp profiles compiled to BPF, with no root and no system call.
//!
//! [`compile`] turns `linux.seccomp` into the program that init hands to seccomp(2), and a [`Cache`]
//! keeps the last ones. It means what runc with libseccomp means by the same profile (which the
//! tests compare, system call by system call), and is built otherwise:
//!
//! * [`policy`] checks the profile and looks the names up in [`tables`];
//! * [`rules`] turns the rules of one system call into a decision graph ([`graph`]);
//! * [`search`] finds the system call among ranges of numbers with equal decisions;
//! * [`assemble`] writes the graph as a program.
//!
//! What runc adds to libseccomp's filter is here too: a system call that is newer than all that the
//! profile names gives ENOSYS and not the default action, so that a C library's fallback for old
//! kernels works (EPERM would be taken for an answer).

mod answer;
mod arch;
mod assemble;
mod cache;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod graph;
mod hash;
#[cfg(any(test, feature = "fuzz"))]
mod model;
mod policy;
mod rules;
mod search;
mod tables;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use oci_spec::runtime::{Arch, LinuxSeccomp};

pub(crate) use self::answer::Call;
pub(crate) use self::cache::Cache;

use self::arch::{Abi, NATIVE, X32_BIT};
use self::assemble::MAX_INSTRUCTIONS;
use self::graph::{Graph, NodeId, Op, Test, Word};
use self::policy::{Policy, ret};
use self::search::Range;
use crate::error::{Error, Result};

/// The flags of seccomp(2), see include/uapi/linux/seccomp.h.
pub(crate) mod flags {
    pub(crate) const LOG: u32 = 1 << 1;
    pub(crate) const SPEC_ALLOW: u32 = 1 << 2;
    pub(crate) const NEW_LISTENER: u32 = 1 << 3;
    pub(crate) const WAIT_KILLABLE_RECV: u32 = 1 << 5;
}

/// A compiled profile: what SECCOMP_SET_MODE_FILTER of seccomp(2) takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Filter {
    program: Box<[u8]>,
    flags: u32,
    notify: Option<Notify>,
}

/// Whom the listener's descriptor is sent to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Notify {
    /// The agent's socket.
    pub(crate) listener_path: PathBuf,
    /// Passed on to the agent as it is.
    pub(crate) metadata: Option<String>,
}

impl Filter {
    /// The program: an array of `struct sock_filter`, eight bytes each.
    pub(crate) fn program_bytes(&self) -> &[u8] {
        &self.program
    }

    /// `SECCOMP_FILTER_FLAG_*`; NEW_LISTENER is among them if and only if there is a [`Notify`].
    pub(crate) fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether each of these calls passes, without a trace of it in any log.
    pub(crate) fn allows(&self, calls: &[Call]) -> bool {
        calls.iter().all(|call| answer::allows(&self.program, *call) == Some(true))
    }

    /// Set if seccomp(2) will return a listener.
    pub(crate) fn notify(&self) -> Option<&Notify> {
        self.notify.as_ref()
    }
}

/// Compiles `linux.seccomp` for this machine.
pub(crate) fn compile(profile: &LinuxSeccomp) -> Result<Filter> {
    compile_for(profile, NATIVE)
}

fn compile_for(profile: &LinuxSeccomp, native: Arch) -> Result<Filter> {
    let policy = Policy::new(profile, native)?;
    let program = program(&policy)?;
    Ok(Filter { program, flags: policy.flags, notify: policy.notify })
}

fn program(policy: &Policy<'_>) -> Result<Box<[u8]>> {
    let mut graph = Graph::default();
    // What the profile has no architecture for: libseccomp's default for it is to kill the thread.
    let bad_arch = graph.ret(ret::KILL_THREAD);
    let mut root = bad_arch;
    for abi in policy.abis.iter().rev() {
        if abi.arch == Arch::ScmpArchX32 {
            continue; // the kernel takes it for x86_64, and that is always there with it
        }
        let ranges = ranges(&mut graph, policy, *abi, bad_arch)?;
        let calls = search::search(&mut graph, &ranges).unwrap_or(bad_arch);
        root = graph.branch(Test::new(Word::ARCH, Op::Equal, abi.audit()), calls, root);
    }
    let program = assemble::assemble(&graph, root).unwrap_or_default();
    if program.is_empty() || program.len() > MAX_INSTRUCTIONS {
        return Err(Error::unsupported(
            "/linux/seccomp",
            format!(
                "the profile needs {} instructions; the kernel takes {MAX_INSTRUCTIONS}",
                program.len()
            ),
        ));
    }
    Ok(program.into_iter().flat_map(assemble::Instruction::to_bytes).collect())
}

/// What is decided for each number of `seccomp_data.nr`, where `seccomp_data.arch` is `abi`'s.
fn ranges(
    graph: &mut Graph,
    policy: &Policy<'_>,
    abi: Abi,
    bad_arch: NodeId,
) -> Result<Vec<Range>> {
    let x32 = policy
        .abis
        .iter()
        .copied()
        .find(|other| abi.arch == Arch::ScmpArchX86_64 && other.arch == Arch::ScmpArchX32);
    let default = graph.ret(policy.default);
    let mut lone = Vec::new();
    for abi in std::iter::once(abi).chain(x32) {
        let clauses = rules::clauses(abi, &policy.rules);
        for clauses in clauses.chunk_by(|a, b| a.number == b.number) {
            let number = clauses.first().map_or(0, |clause| clause.number);
            lone.push((number, rules::decide(graph, abi, clauses, default)?));
        }
    }
    let others = unnamed(graph, policy, abi, x32, default, bad_arch);
    Ok(overlay(&others, &lone))
}

/// What is decided for numbers that no rule is about.
fn unnamed(
    graph: &mut Graph,
    policy: &Policy<'_>,
    abi: Abi,
    x32: Option<Abi>,
    default: NodeId,
    bad_arch: NodeId,
) -> Vec<Range> {
    let enosys = graph.ret(ret::ERRNO | 38);
    // Beyond the largest number that the profile names, be it through a multiplexer. (Number 0
    // alone doesn't count: so it is in runc.)
    let newest = |abi: Abi| {
        let numbers = policy.named.iter().flat_map(|row| rules::numbers(abi, row));
        numbers.max().filter(|number| policy.enosys && number & !X32_BIT != 0)
    };
    let newer = |abi: Abi| newest(abi).map(|number| Range { start: number + 1, node: enosys });
    let newer_native = newer(abi);
    let mut ranges = vec![Range { start: 0, node: default }];
    ranges.extend(newer_native);
    match abi.arch {
        Arch::ScmpArchX86_64 => {
            // Bit 30 marks a number of x32; without x32 such a call is of an unknown architecture,
            // as is any number beyond, but for -1, by which a tracer skips a call (seccomp(2)).
            // With bit 31 no number is valid: what runc's stub does with one goes by bit 30 still.
            let newer_x32 = x32.and_then(newer);
            let x32_default = if x32.is_some() { default } else { bad_arch };
            let beyond = |newer: Option<Range>| newer.map_or(x32_default, |range| range.node);
            ranges.push(Range { start: X32_BIT, node: x32_default });
            ranges.extend(newer_x32);
            ranges.push(Range { start: 1 << 31, node: beyond(newer_native) });
            ranges.push(Range { start: 1 << 31 | X32_BIT, node: beyond(newer_x32) });
            if x32.is_none() {
                ranges.push(Range { start: u32::MAX, node: default });
            }
        }
        // The kernel shows numbers that it doesn't know and that don't fit into the instruction as
        // 0, the long-gone setup(2), through which they are passed (arch/s390/kernel/syscall.c).
        Arch::ScmpArchS390 | Arch::ScmpArchS390x if newer_native.is_some() => {
            let setup = Range { start: 0, node: enosys };
            ranges.splice(0..1, [setup, Range { start: 1, node: default }]);
        }
        _ => {}
    }
    ranges
}

/// Lone numbers laid over ranges; neighbours with equal decisions become one range.
fn overlay(ranges: &[Range], lone: &[(u32, NodeId)]) -> Vec<Range> {
    let mut result: Vec<Range> = Vec::new();
    let mut push = |range: Range| {
        // A later range of the same start replaces the earlier one.
        while result.last().is_some_and(|last| last.start == range.start) {
            result.pop();
        }
        if result.last().is_none_or(|last| last.node != range.node) {
            result.push(range);
        }
    };
    let mut lone = lone.iter().copied().peekable();
    for (position, range) in ranges.iter().enumerate() {
        let end = ranges.get(position + 1).map(|next| next.start);
        push(*range);
        while let Some((number, node)) = lone.next_if(|(n, _)| end.is_none_or(|end| *n < end)) {
            push(Range { start: number, node });
            if let Some(start) = number.checked_add(1) {
                push(Range { start, node: range.node });
            }
        }
    }
    result
}
