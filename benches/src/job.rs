//! What is to be measured, as it is passed on to the process that does it inside a view.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::results::{Curve, Group, Phases};

/// Everything that one view's process needs to know.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) view: View,
    pub(crate) parts: Vec<Part>,
    pub(crate) peers: Vec<Peer>,
    /// Holds the bundles, and on a tmpfs of the view's own all state.
    pub(crate) directory: PathBuf,
    pub(crate) effort: Effort,
}

/// What it has measured.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) groups: Vec<Group>,
    pub(crate) curves: Vec<Curve>,
    pub(crate) phases: Vec<Phases>,
}

/// A program that is measured.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Peer {
    pub(crate) name: String,
    pub(crate) path: PathBuf,
}

impl Peer {
    /// The floor is no runtime: it runs a container from beginning to end and has no other command.
    pub(crate) fn is_floor(&self) -> bool {
        self.name == "floor"
    }
}

/// How much is done.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Effort {
    /// How often a command is timed, and its memory taken.
    pub(crate) rounds: u32,
    pub(crate) weighings: u32,
    pub(crate) warm_up: u32,
    /// How many containers are started at once, and how many there are in the end.
    pub(crate) few: u32,
    pub(crate) many: u32,
    /// How often that is done.
    pub(crate) passes: u32,
    /// Runs with nothing done for a second before each.
    pub(crate) idle: u32,
    /// Runs at each point of a curve.
    pub(crate) points: u32,
    /// Batches of containers that the library runs in each setting, and how many a batch has.
    pub(crate) batches: u32,
    pub(crate) batch: u32,
    /// What a large program has resident, in bytes.
    pub(crate) large: usize,
    /// Mounts on the host.
    pub(crate) mounts: u32,
    /// Runs that are clocked from inside.
    pub(crate) phases: u32,
    /// How often a memory limit has to suffice.
    pub(crate) tries: u32,
}

impl Effort {
    pub(crate) const FULL: Self = Self {
        rounds: 100,
        weighings: 7,
        warm_up: 3,
        few: 100,
        many: 1000,
        passes: 3,
        idle: 25,
        points: 15,
        batches: 4,
        batch: 50,
        large: 1 << 30,
        mounts: 500,
        phases: 50,
        tries: 5,
    };
    pub(crate) const QUICK: Self = Self {
        rounds: 3,
        weighings: 1,
        warm_up: 1,
        few: 8,
        many: 16,
        passes: 1,
        idle: 1,
        points: 2,
        batches: 1,
        batch: 4,
        large: 64 << 20,
        mounts: 20,
        phases: 2,
        tries: 1,
    };
}

/// A view of the cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum View {
    /// A fresh cgroup2.
    Unified,
    /// All controllers in hierarchies of cgroup v1.
    Hybrid,
}

impl View {
    pub(crate) const ALL: [Self; 2] = [Self::Unified, Self::Hybrid];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Unified => "unified",
            Self::Hybrid => "hybrid",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|view| view.name() == name);
        found.ok_or_else(|| format!("there is no view {name:?}"))
    }
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    Run,
    Lifecycle,
    AtOnce,
    Crowd,
    Mounts,
    Memory,
    Idle,
    Library,
    Phases,
}

impl Part {
    pub(crate) const ALL: [Self; 9] = [
        Self::Run,
        Self::Lifecycle,
        Self::Phases,
        Self::Library,
        Self::Memory,
        Self::Idle,
        Self::Mounts,
        // Last: what thousands of containers leave behind (keyrings, which the kernel collects after
        // minutes) makes the next ones slow, the floor's too.
        Self::AtOnce,
        Self::Crowd,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Run => "run",
            Self::Lifecycle => "lifecycle",
            Self::AtOnce => "at-once",
            Self::Crowd => "crowd",
            Self::Mounts => "mounts",
            Self::Memory => "memory",
            Self::Idle => "idle",
            Self::Library => "library",
            Self::Phases => "phases",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Run => {
                "`run` of /bin/true: minimal and default configuration, Docker's seccomp profile"
            }
            Self::Lifecycle => "create, start, state, exec, kill, delete, delete --force",
            Self::AtOnce => "100 containers, 1 to 100 at a time: starts and deletes per second",
            Self::Crowd => "1,000 containers, 8 at a time; `list`; what a start costs among them",
            Self::Mounts => "what a start costs with 500 more mounts on the host",
            Self::Memory => {
                "the smallest memory limit that `run` and `exec` work with (hybrid only)"
            }
            Self::Idle => "`run` after a second with nothing to do (hybrid only)",
            Self::Library => "hoist in-process: 1, 2 and 8 threads, 1 GB of memory",
            Self::Phases => "where the time of a `run` goes",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|part| part.name() == name);
        let names = || Self::ALL.map(Self::name).join(", ");
        found.ok_or_else(|| format!("there is no part {name:?}; there are {}", names()))
    }
}
