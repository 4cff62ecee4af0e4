//! A change of the device rules of a container that runs, and the way back.

use std::os::fd::OwnedFd;

use super::{Access, Pattern, Policy, Rule, attach, legacy};
use crate::cgroup::dir::Dir;
use crate::error::Result;

/// How a container's device rules were before they were changed.
#[derive(Debug)]
pub(in crate::cgroup) enum Undo<'a> {
    /// cgroup2: the programs that were attached.
    Programs(&'a Dir, Vec<OwnedFd>),
    /// v1: what the files said, and whether all of that could be seen.
    Files { dir: &'a Dir, policy: Policy, seen: bool },
}

impl<'a> Undo<'a> {
    pub(in crate::cgroup) fn unified(dir: &'a Dir) -> Result<Self> {
        Ok(Self::Programs(dir, attach::programs(dir)?))
    }

    /// `recorded` is what the rules are if the kernel doesn't show them.
    pub(in crate::cgroup) fn legacy(dir: &'a Dir, recorded: Policy) -> Result<Self> {
        Ok(match legacy::current(dir)? {
            Some(list) => Self::Files { dir, policy: allowed(list), seen: true },
            None => Self::Files { dir, policy: recorded, seen: false },
        })
    }

    /// Whether on the way to `policy` there are moments in which other rules hold than before and
    /// after: v1 forgets all exceptions when the default is set.
    pub(in crate::cgroup) fn has_steps(&self, policy: &Policy) -> bool {
        match self {
            Self::Programs(..) => false,
            Self::Files { seen, .. } => (policy.default_allow || !seen) && !policy.rules.is_empty(),
        }
    }

    pub(in crate::cgroup) fn change(&self, policy: &Policy) -> Result<()> {
        match self {
            Self::Programs(dir, _) => attach::replace(dir, policy),
            Self::Files { dir, .. } => legacy::apply(dir, policy, false),
        }
    }

    pub(in crate::cgroup) fn undo(&self) -> Result<()> {
        match self {
            Self::Programs(dir, old) => attach::exchange(dir, &attach::programs(dir)?, old),
            Self::Files { dir, policy, .. } => legacy::apply(dir, policy, false),
        }
    }
}

/// A list of exceptions to a default that denies.
fn allowed(list: Vec<(Pattern, Access)>) -> Policy {
    let rule = |(pattern, access)| Rule { allow: true, pattern, access, index: None };
    Policy { default_allow: false, rules: list.into_iter().map(rule).collect() }
}
