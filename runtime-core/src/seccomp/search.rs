//! The search for a system call's number among ranges of numbers.

use super::graph::{Graph, NodeId, Op, Test, Word};

/// How many lone numbers one leaf compares one after another. Each costs one instruction this way
/// and two as ranges of their own; more than a few would make the search long.
const LONE: usize = 4;

/// The numbers from `start` to the next range's start lead to `node`. A list of ranges begins at 0
/// and covers all numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: u32,
    pub(super) node: NodeId,
}

/// A leaf of the search: `node`, but for a few lone numbers.
struct Leaf {
    start: u32,
    node: NodeId,
    lone: Vec<Range>,
}

/// A graph that finds the range of `seccomp_data.nr`.
pub(super) fn search(graph: &mut Graph, ranges: &[Range]) -> Option<NodeId> {
    let leaves = leaves(ranges);
    tree(graph, &leaves)
}

/// Ranges gathered, from left to right, into as few leaves as this direction allows.
fn leaves(ranges: &[Range]) -> Vec<Leaf> {
    let mut leaves = Vec::new();
    let mut open: Option<Leaf> = None;
    for (position, range) in ranges.iter().enumerate() {
        let end = ranges.get(position + 1).map(|next| next.start);
        let is_lone = range.start.checked_add(1).is_some_and(|after| Some(after) == end);
        open = Some(match open.take() {
            None => Leaf { start: range.start, node: range.node, lone: Vec::new() },
            Some(leaf) if leaf.node == range.node => leaf,
            Some(mut leaf) if is_lone && leaf.lone.len() < LONE => {
                leaf.lone.push(*range);
                leaf
            }
            Some(full) => {
                leaves.push(full);
                Leaf { start: range.start, node: range.node, lone: Vec::new() }
            }
        });
    }
    leaves.extend(open);
    leaves
}

fn tree(graph: &mut Graph, leaves: &[Leaf]) -> Option<NodeId> {
    if let [leaf] = leaves {
        return Some(leaf.lone.iter().rev().fold(leaf.node, |no, lone| {
            graph.branch(Test::new(Word::NR, Op::Equal, lone.start), lone.node, no)
        }));
    }
    let (left, right) = leaves.split_at_checked(leaves.len() / 2)?;
    let middle = right.first()?.start;
    let below = tree(graph, left)?;
    let above = tree(graph, right)?;
    Some(graph.branch(Test::new(Word::NR, Op::GreaterOrEqual, middle), above, below))
}
