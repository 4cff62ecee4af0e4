//! The rules of one system call as a decision graph.

use std::cmp::Reverse;

use oci_spec::runtime::LinuxSeccompOperator as Cmp;

use super::arch::Abi;
use super::graph::{Graph, NodeId, Op, Test, Word};
use super::policy::{Condition, Rule};
use super::tables::{self, Row};
use crate::error::{Error, Result};

/// A rule as it applies to one system call number of one interface.
pub(super) struct Clause {
    pub(super) number: u32,
    conditions: Vec<Condition>,
    action: u32,
    /// The rule's element of `syscalls`.
    index: usize,
}

/// The system calls behind a multiplexer and the number by which it knows them, sorted by name:
/// include/uapi/linux/net.h for socketcall(2), include/uapi/linux/ipc.h for ipc(2).
const MULTIPLEXED: [(&str, &str, u64); 32] = [
    ("accept", "socketcall", 5),
    ("accept4", "socketcall", 18),
    ("bind", "socketcall", 2),
    ("connect", "socketcall", 3),
    ("getpeername", "socketcall", 7),
    ("getsockname", "socketcall", 6),
    ("getsockopt", "socketcall", 15),
    ("listen", "socketcall", 4),
    ("msgctl", "ipc", 14),
    ("msgget", "ipc", 13),
    ("msgrcv", "ipc", 12),
    ("msgsnd", "ipc", 11),
    ("recv", "socketcall", 10),
    ("recvfrom", "socketcall", 12),
    ("recvmmsg", "socketcall", 19),
    ("recvmsg", "socketcall", 17),
    ("semctl", "ipc", 3),
    ("semget", "ipc", 2),
    ("semop", "ipc", 1),
    ("semtimedop", "ipc", 4),
    ("send", "socketcall", 9),
    ("sendmmsg", "socketcall", 20),
    ("sendmsg", "socketcall", 16),
    ("sendto", "socketcall", 11),
    ("setsockopt", "socketcall", 14),
    ("shmat", "ipc", 21),
    ("shmctl", "ipc", 24),
    ("shmdt", "ipc", 22),
    ("shmget", "ipc", 23),
    ("shutdown", "socketcall", 13),
    ("socket", "socketcall", 1),
    ("socketpair", "socketcall", 8),
];

/// All clauses of an interface, sorted by number; those of one number in the profile's order.
pub(super) fn clauses(abi: Abi, rules: &[Rule<'_>]) -> Vec<Clause> {
    let mut clauses = Vec::with_capacity(rules.len());
    for rule in rules {
        let mut add = |number, conditions: Vec<Condition>| {
            clauses.push(Clause { number, conditions, action: rule.action, index: rule.index });
        };
        let relevant = rule.conditions.iter().filter(|condition| !is_void(abi, condition));
        if let Some((number, call)) = multiplexed(abi, rule.name) {
            // A multiplexer takes the number of the call and a pointer, behind which no filter
            // sees. As in libseccomp a condition on argument 0 gives way to the number.
            let call = Condition { arg: 0, op: Cmp::ScmpCmpEq, mask: u64::MAX, value: call };
            let others = relevant.clone().copied().filter(|condition| condition.arg != 0);
            add(number, std::iter::once(call).chain(others).collect());
        }
        if let Some(number) = abi.number(rule.row) {
            add(number, relevant.copied().collect());
        }
    }
    clauses.sort_by_key(|clause| clause.number);
    clauses
}

/// The multiplexer's number and the number by which it knows this call.
pub(super) fn multiplexed(abi: Abi, name: &str) -> Option<(u32, u64)> {
    if !abi.multiplexed {
        return None;
    }
    let index = MULTIPLEXED.binary_search_by(|(call, ..)| (*call).cmp(name)).ok()?;
    let (_, multiplexer, call) = MULTIPLEXED.get(index)?;
    Some((abi.number(tables::find(multiplexer)?)?, *call))
}

/// All numbers by which this system call can be made.
pub(super) fn numbers(abi: Abi, row: &Row) -> impl Iterator<Item = u32> {
    abi.number(row).into_iter().chain(multiplexed(abi, row.0).map(|(number, _)| number))
}

/// Whether a condition always holds because its mask has no bit that is compared.
fn is_void(abi: Abi, condition: &Condition) -> bool {
    let [high, low] = halves(condition.mask);
    low == 0 && (high == 0 || !abi.is_wide())
}

/// The decision for one number's clauses.
///
/// A clause without conditions wins, the first of them if there are several. Else the first clause
/// that matches wins, in an order that is libseccomp's, not the profile's; where all actions are
/// equal, as nearly always, the order is of no matter.
pub(super) fn decide(
    graph: &mut Graph,
    abi: Abi,
    clauses: &[Clause],
    default: NodeId,
) -> Result<NodeId> {
    if let Some(clause) = clauses.iter().find(|clause| clause.conditions.is_empty()) {
        return Ok(graph.ret(clause.action));
    }
    let mut ordered: Vec<_> = clauses.iter().map(|clause| (steps(abi, clause), clause)).collect();
    order(&mut ordered, 0);
    let mut decision = default;
    let mut previous: Option<&Clause> = None;
    for (_, clause) in ordered.into_iter().rev() {
        if let Some(other) = previous.filter(|other| other.conditions == clause.conditions) {
            if other.action == clause.action {
                continue;
            }
            let (first, second) = (other.index.min(clause.index), other.index.max(clause.index));
            return Err(Error::config(
                format!("/linux/seccomp/syscalls/{second}"),
                format!(
                    "contradicts /linux/seccomp/syscalls/{first}: same system call, same \
                     conditions, another action"
                ),
            ));
        }
        previous = Some(clause);
        let mut node = graph.ret(clause.action);
        for condition in clause.conditions.iter().rev() {
            node = compare(graph, abi, condition, node, decision);
        }
        decision = node;
    }
    Ok(decision)
}

/// A word that a clause compares, as far as it matters for libseccomp's order: its tree of rules
/// has one node for equal steps, and siblings are sorted by `rank`, else by their age.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Step {
    /// Greater arguments, kinds of comparison and values come first.
    rank: Reverse<(u8, bool, u8, u32)>,
    op: Cmp,
    mask: u32,
}

fn steps(abi: Abi, clause: &Clause) -> Vec<Step> {
    let mut steps = Vec::new();
    for Condition { arg, op, mask, value } in &clause.conditions {
        let (kind, flip, op) = match op {
            Cmp::ScmpCmpEq | Cmp::ScmpCmpNe => (3, 0, Cmp::ScmpCmpEq),
            Cmp::ScmpCmpMaskedEq => (3, 0, *op),
            Cmp::ScmpCmpLt | Cmp::ScmpCmpLe => (2, u32::MAX, *op),
            Cmp::ScmpCmpGt | Cmp::ScmpCmpGe => (1, 0, *op),
        };
        let words = [true, false].into_iter().zip(halves(*mask)).zip(halves(*value));
        for ((is_high, mask), value) in words.filter(|((is_high, _), _)| abi.is_wide() || !is_high)
        {
            steps.push(Step { rank: Reverse((*arg, is_high, kind, value ^ flip)), op, mask });
        }
    }
    steps
}

/// Sorts clauses that are equal before `depth` as a walk through libseccomp's tree meets them; a
/// clause that ends first is met first.
fn order(clauses: &mut [(Vec<Step>, &Clause)], depth: usize) {
    let rank = |steps: &Vec<Step>| steps.get(depth).map(|step| step.rank);
    clauses.sort_by_key(|(steps, _)| rank(steps));
    for equals in clauses.chunk_by_mut(|(a, _), (b, _)| rank(a) == rank(b)) {
        let mut siblings: Vec<Step> = Vec::new();
        for step in equals.iter().filter_map(|(steps, _)| steps.get(depth)) {
            if !siblings.contains(step) {
                siblings.push(*step);
            }
        }
        if siblings.is_empty() {
            continue;
        }
        let age =
            |steps: &Vec<Step>| siblings.iter().position(|step| steps.get(depth) == Some(step));
        equals.sort_by_cached_key(|(steps, _)| age(steps));
        for node in equals.chunk_by_mut(|(a, _), (b, _)| a.get(depth) == b.get(depth)) {
            order(node, depth + 1);
        }
    }
}

/// Goes to `yes` where the condition holds, else to `no`.
fn compare(graph: &mut Graph, abi: Abi, condition: &Condition, yes: NodeId, no: NodeId) -> NodeId {
    let [high_mask, low_mask] = halves(condition.mask);
    let [high, low] = halves(condition.value);
    let [high_word, low_word] = words(abi, condition.arg);
    match condition.op {
        Cmp::ScmpCmpNe => {
            let equal = Condition { op: Cmp::ScmpCmpEq, ..*condition };
            compare(graph, abi, &equal, no, yes)
        }
        Cmp::ScmpCmpLt => {
            let opposite = Condition { op: Cmp::ScmpCmpGe, ..*condition };
            compare(graph, abi, &opposite, no, yes)
        }
        Cmp::ScmpCmpLe => {
            let opposite = Condition { op: Cmp::ScmpCmpGt, ..*condition };
            compare(graph, abi, &opposite, no, yes)
        }
        Cmp::ScmpCmpEq | Cmp::ScmpCmpMaskedEq if abi.is_wide() => {
            // Several values of one argument mostly have the same high word: where it is known,
            // the next comparison need not look at it again.
            let known = (high_mask == u32::MAX).then_some(high);
            let [low_no, high_no] = match known {
                Some(high) => [Ok(high), Err(high)].map(|value| graph.given(no, high_word, value)),
                None => [no, no],
            };
            let low_node = equal(graph, low_word, low_mask, low, yes, low_no);
            equal(graph, high_word, high_mask, high, low_node, high_no)
        }
        Cmp::ScmpCmpEq | Cmp::ScmpCmpMaskedEq => equal(graph, low_word, low_mask, low, yes, no),
        Cmp::ScmpCmpGt | Cmp::ScmpCmpGe => {
            let op = if condition.op == Cmp::ScmpCmpGt { Op::Greater } else { Op::GreaterOrEqual };
            let low_node = graph.branch(Test::new(low_word, op, low), yes, no);
            if !abi.is_wide() {
                return low_node;
            }
            let same = graph.branch(Test::new(high_word, Op::Equal, high), low_node, no);
            graph.branch(Test::new(high_word, Op::Greater, high), yes, same)
        }
    }
}

/// `word & mask == value`, in as few instructions as there are.
fn equal(graph: &mut Graph, word: Word, mask: u32, value: u32, yes: NodeId, no: NodeId) -> NodeId {
    match mask {
        0 => yes,
        u32::MAX => graph.branch(Test::new(word, Op::Equal, value), yes, no),
        _ if value == 0 => graph.branch(Test::new(word, Op::AnyBit, mask), no, yes),
        _ if value == mask && mask.is_power_of_two() => {
            graph.branch(Test::new(word, Op::AnyBit, mask), yes, no)
        }
        _ => graph.branch(Test::new(Word { mask, ..word }, Op::Equal, value), yes, no),
    }
}

/// The high and the low word of an argument: `seccomp_data.args` begins at 16, in the machine's
/// byte order.
fn words(abi: Abi, arg: u8) -> [Word; 2] {
    let first = 16 + 8 * u32::from(arg);
    let [high, low] = if abi.is_little_endian() { [first + 4, first] } else { [first, first + 4] };
    [Word::at(high), Word::at(low)]
}

/// The high and the low half.
pub(super) fn halves(value: u64) -> [u32; 2] {
    [value >> 32, value & 0xffff_ffff].map(|half| u32::try_from(half).unwrap_or(u32::MAX))
}
