//! What hoist has promised: ratios within one run, and whether they were reached.
//!
//! The ids of groups, environments and runtimes below are what the benchmarks have to call them.

use super::statistics::ratio;
use crate::results::{Group, Results};
use crate::statistics::median;

/// One line of the table of targets.
#[derive(Debug, Clone, Copy)]
pub(super) struct Target {
    /// Unique; a missed target's reason is filed under it in reasons.md.
    pub(super) id: &'static str,
    /// For people.
    pub(super) what: &'static str,
    /// Which view of the cgroups it is measured in.
    pub(super) environment: &'static str,
    pub(super) measure: Measure,
    pub(super) bound: Bound,
}

/// How a target's figure comes about.
#[derive(Debug, Clone, Copy)]
pub(super) enum Measure {
    /// The ratio of two medians in one group.
    Medians { group: &'static str, of: &'static str, to: &'static str },
    /// The largest ratio of hoist's peak memory to another's, over all commands.
    PeakMemory { to: &'static str },
}

/// What the ratio must be.
#[derive(Debug, Clone, Copy)]
pub(super) enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What came out.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Outcome {
    pub(super) ratio: f64,
    pub(super) met: bool,
    /// Both figures, for people.
    pub(super) figures: String,
}

const UNIFIED: &str = "unified";
const HYBRID: &str = "hybrid";

const fn to(
    id: &'static str,
    what: &'static str,
    environment: &'static str,
    group: &'static str,
    to: &'static str,
    bound: Bound,
) -> Target {
    Target { id, what, environment, measure: Measure::Medians { group, of: "hoist", to }, bound }
}

use Bound::{AtLeast, AtMost};

/// All of them, in the order of the report.
pub(super) const TARGETS: &[Target] = &[
    to("run", "`run /bin/true`", UNIFIED, "run-default", "crun", AtMost(0.42)),
    to("run-static", "`run /bin/true`", UNIFIED, "run-default", "crun-static", AtMost(0.65)),
    to("run-floor", "`run /bin/true`", UNIFIED, "run-default", "floor", AtMost(1.35)),
    to("seccomp", "with Docker's seccomp profile", UNIFIED, "run-seccomp", "crun", AtMost(0.38)),
    to("create", "`create`", UNIFIED, "create", "crun", AtMost(0.40)),
    to("start", "`start`", UNIFIED, "start", "crun", AtMost(0.25)),
    to("state", "`state`", UNIFIED, "state", "crun", AtMost(0.25)),
    to("kill", "`kill`", UNIFIED, "kill", "crun", AtMost(0.25)),
    to("delete", "`delete`", UNIFIED, "delete", "crun", AtMost(0.25)),
    to("exec", "`exec /bin/true`", UNIFIED, "exec", "crun", AtMost(0.40)),
    to("exec-static", "`exec /bin/true`", UNIFIED, "exec", "crun-static", AtMost(0.75)),
    to(
        "delete-force",
        "`delete --force` of a running container",
        UNIFIED,
        "delete-force",
        "crun",
        AtMost(0.12),
    ),
    to(
        "at-once",
        "100 containers at once, starts per second",
        UNIFIED,
        "at-once-100",
        "crun",
        AtLeast(2.0),
    ),
    Target {
        id: "library",
        what: "in-process: create, start, wait, delete",
        environment: UNIFIED,
        measure: Measure::Medians { group: "library", of: "library", to: "floor-in-process" },
        bound: AtMost(1.10),
    },
    Target {
        id: "library-1gb",
        what: "the same from a process with 1 GB resident",
        environment: UNIFIED,
        measure: Measure::Medians { group: "library", of: "library-1gb", to: "library" },
        bound: AtMost(1.00),
    },
    Target {
        id: "memory",
        what: "peak memory of any command",
        environment: UNIFIED,
        measure: Measure::PeakMemory { to: "crun" },
        bound: AtMost(0.40),
    },
    to(
        "memory-limit",
        "smallest memory limit that `run` works with",
        HYBRID,
        "memory-limit-run",
        "crun",
        AtMost(1.00),
    ),
    to("hybrid-run", "`run /bin/true`", HYBRID, "run-default", "crun", AtMost(0.45)),
    to("hybrid-start", "`start`", HYBRID, "start", "crun", AtMost(0.30)),
    to("hybrid-state", "`state`", HYBRID, "state", "crun", AtMost(0.30)),
    to("hybrid-kill", "`kill`", HYBRID, "kill", "crun", AtMost(0.30)),
    to("hybrid-delete", "`delete`", HYBRID, "delete", "crun", AtMost(0.30)),
];

impl Bound {
    /// Compared as it is printed, with two decimals.
    fn holds(self, ratio: f64) -> bool {
        let rounded = (ratio * 100.0).round() / 100.0;
        match self {
            AtMost(most) => rounded <= most,
            AtLeast(least) => rounded >= least,
        }
    }
}

impl Target {
    /// The figure in these results; `None` if it was not measured.
    pub(super) fn outcome(&self, results: &Results) -> Option<Outcome> {
        let (ratio, figures) = match self.measure {
            Measure::Medians { group, of, to } => medians(results, self.environment, group, of, to),
            Measure::PeakMemory { to } => peak_memory(results, self.environment, to),
        }?;
        Some(Outcome { ratio, met: self.bound.holds(ratio), figures })
    }

    /// What the ratio is taken to.
    pub(super) fn of(&self) -> &'static str {
        match self.measure {
            Measure::Medians { to, .. } | Measure::PeakMemory { to } => to,
        }
    }
}

/// The target of a group's ratio to crun, if it is one that the less the better.
pub(super) fn beside_crun(id: &str, environment: &str) -> Option<f64> {
    TARGETS.iter().find_map(|target| match (target.measure, target.bound) {
        (Measure::Medians { group, to: "crun", .. }, AtMost(most))
            if group == id && target.environment == environment =>
        {
            Some(most)
        }
        _ => None,
    })
}

fn medians(
    results: &Results,
    environment: &str,
    group: &str,
    of: &str,
    to: &str,
) -> Option<(f64, String)> {
    let group = results.group(group, environment)?;
    let (ours, theirs) = (median_of(group, of)?, median_of(group, to)?);
    let figures = format!("{} : {} {}", figure(ours), figure(theirs), group.unit);
    Some((ratio(ours, theirs)?, figures))
}

fn median_of(group: &Group, runtime: &str) -> Option<f64> {
    median(&group.series(runtime)?.samples)
}

fn peak_memory(results: &Results, environment: &str, to: &str) -> Option<(f64, String)> {
    let of_commands = results.groups.iter().filter(|group| group.environment == environment);
    let worst = of_commands.filter_map(|group| {
        let ours = group.series("hoist")?.peak_rss_kib?;
        let theirs = group.series(to)?.peak_rss_kib?;
        Some((ratio(ours, theirs)?, format!("{ours:.0} : {theirs:.0} KiB, `{}`", group.id)))
    });
    worst.max_by(|a, b| a.0.total_cmp(&b.0))
}

/// A figure with three significant digits, or as a whole number.
pub(super) fn figure(value: f64) -> String {
    let decimals = match value.abs() {
        large if large >= 100.0 => 0,
        middle if middle >= 10.0 => 1,
        _ => 2,
    };
    format!("{value:.decimals$}")
}
