//! What a run of the benchmarks has measured: the raw samples, in one JSON file. Everything that the
//! report says is made from such files and from nothing else.

use serde::{Deserialize, Serialize};

/// One run of `hoist-bench run`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Results {
    /// The command that made it.
    pub command: String,
    /// The day, `2026-11-21`.
    pub date: String,
    /// Where it ran.
    pub machine: Machine,
    /// What was compared, in the order of the report; `floor` is one of them.
    pub runtimes: Vec<Runtime>,
    /// What was measured.
    pub groups: Vec<Group>,
    /// How something grows.
    pub curves: Vec<Curve>,
    /// Where the time of a `run` goes.
    pub phases: Vec<Phases>,
}

/// Where it ran.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Machine {
    /// `Linux 6.18.44, Debian GNU/Linux 12 (bookworm)`.
    pub system: String,
    /// The processor's name.
    pub cpu: String,
    pub cores: usize,
    /// The hypervisor, if it is a virtual machine.
    pub hypervisor: Option<String>,
}

/// One of the programs that are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Runtime {
    /// `floor`, `hoist`, `crun`, `crun-static`, `runc`, or what `--runtime NAME=PATH` named.
    pub name: String,
    /// The first line of `--version`.
    pub version: String,
    /// Linked without an interpreter.
    pub linked_statically: bool,
    /// The file's length in bytes.
    pub size: u64,
}

/// One thing measured of several runtimes, interleaved.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Group {
    /// `run-default`, `create`, `delete-force` …: unique together with the environment.
    pub id: String,
    /// For people: "`run /bin/true`, default configuration".
    pub title: String,
    /// The view of the cgroups: `unified` or `hybrid`; `host` where it doesn't matter.
    pub environment: String,
    /// `ms`, `KiB`, `per second` …
    pub unit: String,
    /// Whether less is better.
    pub less_is_better: bool,
    pub series: Vec<Series>,
    /// Who could not do it, and why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub absent: Vec<Absent>,
}

/// A runtime that a group has no samples of.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Absent {
    pub runtime: String,
    pub reason: String,
}

/// The samples of one runtime, in the order in which they were taken.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Series {
    pub runtime: String,
    pub samples: Vec<f64>,
    /// User and system time of the command and what it waited for, ms: means. The kernel tells the two
    /// apart by what ticks of its clock meet, and most commands end before the second one.
    pub user_ms: Option<f64>,
    pub system_ms: Option<f64>,
    /// Peak resident memory of the command, KiB: the median.
    pub peak_rss_kib: Option<f64>,
}

/// How something grows: a start's cost with the number of containers, throughput with concurrency.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Curve {
    pub id: String,
    pub title: String,
    pub environment: String,
    pub x: String,
    pub y: String,
    pub lines: Vec<Line>,
}

/// One runtime's points.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    pub runtime: String,
    pub points: Vec<(f64, f64)>,
}

/// The parts of one `run`, medians in µs, in their order.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Phases {
    /// `floor` or `hoist`.
    pub runtime: String,
    /// `minimal`, `default` or `seccomp`.
    pub bundle: String,
    pub environment: String,
    pub phases: Vec<(String, f64)>,
}
