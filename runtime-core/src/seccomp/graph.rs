//! A filter as a decision graph: each node tests one 32-bit word of `seccomp_data` and goes on to
//! one of two nodes, or returns. Equal nodes are one node, so that what two system calls have in
//! common, or two architectures, is in the program once.

use super::hash::Map;

/// A node; children have smaller ids than their parents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct NodeId(u32);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Node {
    /// Ends with this return value.
    Return(u32),
    /// Goes on to the first node if the test holds, else to the second.
    Branch(Test, NodeId, NodeId),
}

/// `word OP operand`, unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Test {
    pub(super) word: Word,
    pub(super) op: Op,
    pub(super) operand: u32,
}

/// The word at an offset of `struct seccomp_data`, seen through a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Word {
    pub(super) offset: u32,
    pub(super) mask: u32,
}

/// The comparisons that classic BPF has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Op {
    Equal,
    Greater,
    GreaterOrEqual,
    /// `word & operand != 0`
    AnyBit,
}

impl Word {
    /// `seccomp_data.nr`
    pub(super) const NR: Self = Self::at(0);
    /// `seccomp_data.arch`
    pub(super) const ARCH: Self = Self::at(4);

    pub(super) const fn at(offset: u32) -> Self {
        Self { offset, mask: u32::MAX }
    }
}

impl Test {
    pub(super) const fn new(word: Word, op: Op, operand: u32) -> Self {
        Self { word, op, operand }
    }

    /// The outcome if the word is known.
    fn holds(self, word: u32) -> bool {
        match self.op {
            Op::Equal => word == self.operand,
            Op::Greater => word > self.operand,
            Op::GreaterOrEqual => word >= self.operand,
            Op::AnyBit => word & self.operand != 0,
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    ids: Map<Node, NodeId>,
}

impl Graph {
    pub(super) fn ret(&mut self, value: u32) -> NodeId {
        self.intern(Node::Return(value))
    }

    pub(super) fn branch(&mut self, test: Test, yes: NodeId, no: NodeId) -> NodeId {
        if yes == no { yes } else { self.intern(Node::Branch(test, yes, no)) }
    }

    /// Where `node` leads to if `word` is known to be `value` (`Ok`) or not to be it (`Err`): the
    /// tests that this decides are left out.
    pub(super) fn given(&self, node: NodeId, word: Word, value: Result<u32, u32>) -> NodeId {
        let mut current = node;
        while let Some(Node::Branch(test, yes, no)) = self.node(current) {
            let holds = match value {
                _ if test.word != word => return current,
                Ok(value) => test.holds(value),
                Err(other) if test.op == Op::Equal && test.operand == other => false,
                Err(_) => return current,
            };
            current = if holds { yes } else { no };
        }
        current
    }

    pub(super) fn node(&self, id: NodeId) -> Option<Node> {
        self.nodes.get(usize::try_from(id.0).ok()?).copied()
    }

    fn intern(&mut self, node: Node) -> NodeId {
        *self.ids.entry(node).or_insert_with(|| {
            // Node numbers fit: a graph of four thousand million nodes does not fit into memory.
            let id = NodeId(u32::try_from(self.nodes.len()).unwrap_or(u32::MAX));
            self.nodes.push(node);
            id
        })
    }
}
