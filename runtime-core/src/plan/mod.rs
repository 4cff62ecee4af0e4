//! The compiler: a validated bundle becomes a [`Plan`], the list of steps that init executes.
//!
//! Compiling is pure: it touches no file, needs no privilege and depends on nothing but its
//! arguments. What has to be known about the host is passed in as [`Facts`].
//!
//! One file per part, in the order in which a container comes to be: [`create`], [`exec`] and
//! [`helper`] put the parts together; [`namespaces`], [`rootfs`], [`mounts`], [`devices`] and
//! [`process`] (with [`scheduling`], [`security`]) compile them; [`builder`] and [`print`] write
//! and show what comes out.

mod builder;
#[cfg(any(test, feature = "fuzz"))]
mod check;
mod context;
mod create;
mod devices;
mod exec;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod helper;
mod mounts;
mod namespaces;
mod print;
mod process;
mod rootfs;
mod scheduling;
mod security;
#[cfg(test)]
mod tests;

use hoist_init::wire;
use oci_spec::runtime::LinuxIdMapping;

#[cfg(test)]
use builder::Builder;

pub(crate) use context::{CgroupView, Facts, Filter, Options, Placement, V1Hierarchy};
pub(crate) use create::{compile as compile_create, compile_head};
pub(crate) use exec::{ExecOptions, compile as compile_exec, oom_score};
pub(crate) use helper::{compile as compile_helper, compile_userns};

/// What hoist-init will do to bring a process to life, step by step.
///
/// It is printed with [`Display`](std::fmt::Display), one line a step, or with
/// [`to_json`](Plan::to_json).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    bytes: Vec<u8>,
    /// The second part, if it has two.
    rest: Vec<u8>,
    pointers: Vec<String>,
    passed: Vec<Passed>,
    clones_last: bool,
}

/// A descriptor that init must be given, in the register of the same index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Passed {
    /// The connected console socket that the terminal's master is sent to.
    ConsoleSocket,
    /// The socket on which init waits for `start`.
    StartListener,
    /// The container's cgroup directory in the unified hierarchy, for CLONE_INTO_CGROUP.
    CgroupDir,
    /// `tasks` of the container's cgroup in a v1 hierarchy, open for writing: the n-th that
    /// [`Placement::V1`] announced.
    CgroupTasks(u32),
    /// The pidfd of the process whose namespaces are joined.
    Process,
    /// `/proc/PID/ns/cgroup` of that process. It is joined by inner, once it is in the cgroup.
    CgroupNamespace,
    /// A user namespace that has these maps, for an id-mapped mount.
    IdMap(IdMap),
}

/// The maps of a user namespace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IdMap {
    /// `/proc/PID/uid_map`.
    pub(crate) uids: Vec<LinuxIdMapping>,
    /// `/proc/PID/gid_map`.
    pub(crate) gids: Vec<LinuxIdMapping>,
}

/// A step of a [`Plan`].
#[derive(Debug, Clone, Copy)]
pub struct PlannedStep<'a> {
    index: u32,
    step: wire::Step<'a>,
    pointer: &'a str,
}

impl<'a> PlannedStep<'a> {
    /// Its place in the plan, from 0; what errors and timings name.
    #[must_use]
    pub fn index(&self) -> u32 {
        self.index
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.step.name()
    }

    /// The JSON pointer (RFC 6901) to what in `config.json` asks for it; empty where nothing
    /// does.
    #[must_use]
    pub fn pointer(&self) -> &'a str {
        self.pointer
    }

    /// What init reads.
    pub(crate) fn step(&self) -> wire::Step<'a> {
        self.step
    }
}

impl Plan {
    /// The steps in their order.
    pub fn steps(&self) -> impl Iterator<Item = PlannedStep<'_>> {
        // A plan is only ever made by the builder, so each of its steps can be read.
        let parts = [&self.bytes, &self.rest];
        let parts = parts.into_iter().flat_map(|part| wire::Plan::parse(part));
        let steps = parts.flat_map(|part| part.steps());
        let pointers = self.pointers.iter().map(String::as_str);
        (0..).zip(steps.flatten()).zip(pointers).map(|((index, step), pointer)| PlannedStep {
            index,
            step,
            pointer,
        })
    }

    /// How many steps there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.pointers.len()
    }

    /// True if there is no step.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.pointers.is_empty()
    }

    /// The program that init loads with seccomp(2), an array of `struct sock_filter`.
    #[must_use]
    pub fn filter(&self) -> Option<&[u8]> {
        self.steps().find_map(|step| match step.step() {
            wire::Step::Seccomp { program, .. } => Some(program),
            _ => None,
        })
    }

    /// A plan of these steps; with `head` they are its first part.
    #[cfg(test)]
    pub(crate) fn of_steps(head: &[wire::Step<'_>], steps: &[wire::Step<'_>]) -> Self {
        let mut plan =
            if head.is_empty() { Builder::new(false) } else { Builder::in_two_parts(false) };
        head.iter().for_each(|step| plan.push("", step));
        if !head.is_empty() {
            plan.end_head();
        }
        steps.iter().for_each(|step| plan.push("", step));
        plan.finish().unwrap()
    }

    /// What init reads: all of it, or the first part.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What init reads in the end.
    pub(crate) fn rest(&self) -> &[u8] {
        &self.rest
    }

    /// True if init has to wait for the rest.
    pub(crate) fn is_head(&self) -> bool {
        wire::Plan::parse(&self.bytes).is_ok_and(|part| part.is_head())
    }

    /// How many steps there are, as init counts.
    pub(crate) fn count(&self) -> u32 {
        u32::try_from(self.len()).unwrap_or(u32::MAX)
    }

    /// The step with this index.
    pub(crate) fn step(&self, index: u32) -> Option<PlannedStep<'_>> {
        self.steps().nth(usize::try_from(index).ok()?)
    }

    /// True if inner is followed by another process, which executes the program.
    pub(crate) fn clones_last(&self) -> bool {
        self.clones_last
    }

    /// The descriptors to pass, in this order.
    pub(crate) fn passed(&self) -> &[Passed] {
        &self.passed
    }
}
