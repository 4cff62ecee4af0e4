//! A decision graph as a classic BPF program.
//!
//! BPF jumps forward only, and a conditional jump at most 255 instructions far. So the program is
//! written from its end to its beginning: when a node is written, the distance to its successors
//! is known, and where it is too far a bridge is put right behind the node.

use super::graph::{Graph, Node, NodeId, Op, Word};
use super::hash::{Map, Set};

/// The most instructions that the kernel accepts (include/uapi/linux/bpf_common.h).
pub(super) const MAX_INSTRUCTIONS: usize = 4096;

/// `struct sock_filter` of include/uapi/linux/filter.h.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) jt: u8,
    pub(super) jf: u8,
    pub(super) k: u32,
}

/// The few operation codes that a filter needs; include/uapi/linux/bpf_common.h.
pub(super) mod code {
    /// BPF_LD | BPF_W | BPF_ABS
    pub(in crate::seccomp) const LOAD: u16 = 0x20;
    /// BPF_ALU | BPF_AND | BPF_K
    pub(in crate::seccomp) const AND: u16 = 0x54;
    /// BPF_JMP | BPF_JA
    pub(in crate::seccomp) const JUMP: u16 = 0x05;
    /// BPF_JMP | BPF_JEQ | BPF_K
    pub(in crate::seccomp) const JEQ: u16 = 0x15;
    /// BPF_JMP | BPF_JGT | BPF_K
    pub(in crate::seccomp) const JGT: u16 = 0x25;
    /// BPF_JMP | BPF_JGE | BPF_K
    pub(in crate::seccomp) const JGE: u16 = 0x35;
    /// BPF_JMP | BPF_JSET | BPF_K
    pub(in crate::seccomp) const JSET: u16 = 0x45;
    /// BPF_RET | BPF_K
    pub(in crate::seccomp) const RETURN: u16 = 0x06;
}

impl Instruction {
    const fn new(code: u16, k: u32) -> Self {
        Self { code, jt: 0, jf: 0, k }
    }

    /// As the kernel reads it, in the machine's byte order.
    pub(super) fn to_bytes(self) -> [u8; 8] {
        let ([c0, c1], [k0, k1, k2, k3]) = (self.code.to_ne_bytes(), self.k.to_ne_bytes());
        [c0, c1, self.jt, self.jf, k0, k1, k2, k3]
    }
}

/// Where to enter a node's code: positions count from the program's end.
#[derive(Debug, Clone, Copy)]
struct Entry {
    /// With whatever in the accumulator.
    cold: usize,
    /// With the node's word in the accumulator.
    warm: usize,
}

/// The program of the graph below `root`; `None` if it can't be written because a jump is out of
/// all bounds (which needs more than 2³² instructions).
pub(super) fn assemble(graph: &Graph, root: NodeId) -> Option<Vec<Instruction>> {
    let order = children_first(graph, root);
    let cold = entered_cold(graph, root, &order);
    let mut writer = Writer::default();
    for id in &order {
        writer.write(*id, graph.node(*id)?, graph, cold.contains(id))?;
    }
    writer.backward.reverse();
    Some(writer.backward)
}

/// All nodes below `root`, each after those it leads to.
fn children_first(graph: &Graph, root: NodeId) -> Vec<NodeId> {
    let mut order = Vec::new();
    let mut seen = Set::default();
    let mut stack = vec![(root, false)];
    while let Some((id, children_done)) = stack.pop() {
        if children_done {
            order.push(id);
        } else if seen.insert(id) {
            stack.push((id, true));
            if let Some(Node::Branch(_, yes, no)) = graph.node(id) {
                stack.push((no, false));
                stack.push((yes, false));
            }
        }
    }
    order
}

fn word(graph: &Graph, id: NodeId) -> Option<Word> {
    match graph.node(id)? {
        Node::Branch(test, ..) => Some(test.word),
        Node::Return(_) => None,
    }
}

/// The nodes that something else than their word precedes, so that they must load it.
fn entered_cold(graph: &Graph, root: NodeId, order: &[NodeId]) -> Set<NodeId> {
    let mut cold = Set::default();
    cold.insert(root);
    for id in order {
        if let Some(Node::Branch(test, yes, no)) = graph.node(*id) {
            let others = [yes, no].into_iter().filter(|to| word(graph, *to) != Some(test.word));
            cold.extend(others);
        }
    }
    cold
}

#[derive(Default)]
struct Writer {
    /// The program, last instruction first.
    backward: Vec<Instruction>,
    entries: Map<NodeId, Entry>,
    /// The nearest bridge to a position.
    bridges: Map<usize, usize>,
}

impl Writer {
    fn write(&mut self, id: NodeId, node: Node, graph: &Graph, cold: bool) -> Option<()> {
        let (test, yes, no) = match node {
            Node::Return(value) => {
                let position = self.push(Instruction::new(code::RETURN, value));
                self.entries.insert(id, Entry { cold: position, warm: position });
                return Some(());
            }
            Node::Branch(test, yes, no) => (test, yes, no),
        };
        let [yes, no] = [yes, no].map(|to| {
            let entry = self.entries.get(&to)?;
            Some(if word(graph, to) == Some(test.word) { entry.warm } else { entry.cold })
        });
        let yes = self.reach(yes?)?;
        let no = self.reach(no?)?;
        let op = match test.op {
            Op::Equal => code::JEQ,
            Op::Greater => code::JGT,
            Op::GreaterOrEqual => code::JGE,
            Op::AnyBit => code::JSET,
        };
        let mut jump = Instruction::new(op, test.operand);
        jump.jt = u8::try_from(self.distance(yes)?).ok()?;
        jump.jf = u8::try_from(self.distance(no)?).ok()?;
        let warm = self.push(jump);
        if cold {
            if test.word.mask != u32::MAX {
                self.push(Instruction::new(code::AND, test.word.mask));
            }
            self.push(Instruction::new(code::LOAD, test.word.offset));
        }
        self.entries.insert(id, Entry { cold: self.backward.len().checked_sub(1)?, warm });
        Some(())
    }

    /// A position from which `target` is reached, and which a conditional jump written next, or
    /// after one more bridge, can reach.
    fn reach(&mut self, target: usize) -> Option<usize> {
        let near = self.bridges.get(&target).copied().unwrap_or(target);
        if self.distance(near)? < usize::from(u8::MAX) {
            return Some(near);
        }
        let bridge = match self.backward.get(target)? {
            // A return needs no jump: another one is as short.
            end if end.code == code::RETURN => *end,
            _ => Instruction::new(code::JUMP, u32::try_from(self.distance(target)?).ok()?),
        };
        let position = self.push(bridge);
        self.bridges.insert(target, position);
        Some(position)
    }

    /// How many instructions a jump that is written next skips to get to `target`.
    fn distance(&self, target: usize) -> Option<usize> {
        self.backward.len().checked_sub(target)?.checked_sub(1)
    }

    fn push(&mut self, instruction: Instruction) -> usize {
        self.backward.push(instruction);
        self.backward.len().saturating_sub(1)
    }
}
