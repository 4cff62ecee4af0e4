//! Where the time of a `run` goes, in parts that hoist and the floor have in common.
//!
//! The floor clocks its own few phases; hoist clocks what the library does and each step of the plan
//! (`--timings`). Both are sorted here into the same parts, so that like stands beside like.

use super::plot::{self, Stacked};
use super::{Plot, label};

use super::tables::add;
use crate::results::{Phases, Results};
use crate::statistics::median;

/// What both do, in the order in which it is done.
struct Part {
    name: &'static str,
    floor: &'static [&'static str],
    /// The library's phases and the plan's steps.
    hoist: &'static [&'static str],
}

/// What is not clocked from inside: the rest of the wall-clock time.
const OUTSIDE: &str = "the command's own start and end";
/// What hoist's caller waits for while none of the plan's steps is being done.
const HANDSHAKES: &str = "processes and namespaces";

const PARTS: [Part; 9] = [
    Part { name: OUTSIDE, floor: &["start"], hoist: &[] },
    Part { name: "configuration to plan", floor: &[], hoist: &["load", "compile"] },
    Part { name: "state on disk", floor: &[], hoist: &["state", "await-start"] },
    Part {
        name: "cgroup, device rules",
        floor: &[
            "cgroup-make",
            "cgroup-prepare",
            "device-rules",
            "cgroup-attach",
            "cgroup-namespace",
        ],
        hoist: &["cgroup", "confine", "attach-cgroup", "unshare-cgroup"],
    },
    Part {
        name: HANDSHAKES,
        floor: &["clone", "session", "hostname", "loopback-up"],
        hoist: &[
            "spawn",
            "unshare",
            "take-rest",
            "announce",
            "clone",
            "clone-last",
            "wait-for-runtime",
            "join-process",
            "open-namespace",
            "join-namespace",
            "unshare-time",
            "become-root",
            "new-session",
            "new-keyring",
            "reset-inherited",
            "not-dumpable",
            "dumpable",
            "loopback-up",
            "hostname",
            "domainname",
        ],
    },
    Part {
        name: "root filesystem: mounts, devices, paths",
        floor: &[
            "root-bind",
            "proc",
            "dev",
            "pts",
            "shm",
            "mqueue",
            "sysfs",
            "sysfs-read-only",
            "cgroup-mount",
            "device-nodes",
            "read-only-paths",
            "masked-paths",
            "pivot-root",
            "unmount-old-root",
            "root-read-only",
        ],
        hoist: &[
            "propagation",
            "bind-root",
            "open-root",
            "open-proc",
            "mount-filesystem",
            "bind-mount",
            "open-tree",
            "create-mount",
            "make-directory",
            "open-directory",
            "make-device",
            "bind-device",
            "make-symlink",
            "open-masks",
            "mask-path",
            "readonly-path",
            "pivot-root",
            "move-root",
            "chroot",
            "set-root",
            "set-mount",
            "map-ids",
            "sysctl",
        ],
    },
    Part {
        name: "credentials, limits, seccomp",
        floor: &["limits-capabilities", "seccomp"],
        hoist: &[
            "limit-capabilities",
            "rlimit",
            "raise-limit",
            "scheduler",
            "io-priority",
            "cpu-affinity",
            "memory-policy",
            "personality",
            "console",
            "chown-stdio",
            "reopen-null",
            "no-new-privileges",
            "exec-label",
            "umask",
            "bounding-set",
            "user",
            "capabilities",
            "working-directory",
            "lookup-home",
            "close-descriptors",
            "close-host-descriptors",
            "seccomp",
        ],
    },
    Part {
        name: "exec, the program, its end",
        floor: &["exec", "payload"],
        hoist: &["find-program", "prepare-execute", "execute", "program"],
    },
    Part { name: "removal", floor: &["cgroup-remove"], hoist: &["delete"] },
];

/// hoist's phase in which the library waits for the rest of the steps.
const AROUND_STEPS: &str = "init";
/// What the command and the library clock, one after another; all others are init's steps.
const OF_LIBRARY: [&str; 9] =
    ["load", "compile", "cgroup", "state", "spawn", "confine", AROUND_STEPS, "program", "delete"];

/// The plots that the page shows; the others are folded away.
pub(super) const FIRST: [&str; 3] =
    ["phases-default-unified", "phases-seccomp-unified", "phases-default-hybrid"];

/// The time of each part, in µs, in the order of [`names`].
#[derive(Debug, PartialEq)]
pub(super) struct Parts {
    pub(super) times: Vec<f64>,
    /// Names that no part has: a new step, to be sorted in here.
    pub(super) unknown: Vec<String>,
}

pub(super) fn names() -> Vec<&'static str> {
    PARTS.iter().map(|part| part.name).collect()
}

/// Which phases and steps are in which part.
pub(super) fn table(page: &mut String) {
    let code = |names: &[&str]| -> String {
        names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(" ")
    };
    add!(page, "| part | the floor | hoist |\n|---|---|---|");
    for part in &PARTS {
        add!(page, "| {} | {} | {} |", part.name, code(part.floor), code(part.hoist));
    }
}

/// `whole` is the wall-clock time of the command, in µs, if it was measured.
pub(super) fn sort(phases: &Phases, whole: Option<f64>) -> Parts {
    let mut parts = Parts { times: vec![0.0; PARTS.len()], unknown: Vec::new() };
    if phases.runtime == "floor" {
        for (name, time) in &phases.phases {
            parts.add_phase(name, *time, |part| part.floor);
        }
    } else {
        parts.add_hoist(&phases.phases);
    }
    let clocked: f64 = parts.times.iter().sum();
    parts.add(OUTSIDE, whole.unwrap_or_default() - clocked);
    parts
}

impl Parts {
    /// hoist's library and its init work side by side: once init is started (`spawn`), it goes through
    /// the steps while the library makes the cgroup and writes the state; then the library waits for
    /// it (`init`). What counts is the library's time while it works, and init's while that waits: so
    /// the parts add up to what a clock on the wall shows.
    fn add_hoist(&mut self, phases: &[(String, f64)]) {
        let place = |wanted: &str| phases.iter().position(|(name, _)| name == wanted);
        let time = |wanted: &str| -> f64 {
            phases.iter().filter(|(name, _)| name == wanted).map(|(_, time)| time).sum()
        };
        let between = place("spawn")
            .zip(place(AROUND_STEPS))
            .map_or(&[][..], |(from, to)| phases.get(from + 1..to).unwrap_or_default());
        let mut unseen: f64 = between.iter().map(|(_, time)| time).sum();
        if !between.is_empty() && !between.iter().any(|(name, _)| name == "cgroup") {
            // A short look at the hierarchies, before all that, has the same name.
            unseen += time("cgroup");
        }
        let mut waited = time(AROUND_STEPS);
        for (name, time) in phases.iter().filter(|(name, _)| name != AROUND_STEPS) {
            let mut seen = *time;
            if !OF_LIBRARY.contains(&name.as_str()) {
                seen = (time - unseen).max(0.0).min(waited);
                unseen = (unseen - time).max(0.0);
                waited -= seen;
            }
            self.add_phase(name, seen, |part| part.hoist);
        }
        // Between two steps, and before the first and after the last.
        self.add(HANDSHAKES, waited);
    }

    fn add_phase(&mut self, name: &str, time: f64, of: fn(&Part) -> &'static [&'static str]) {
        match PARTS.iter().find(|part| of(part).contains(&name)) {
            Some(part) => self.add(part.name, time),
            None => self.unknown.push(name.to_owned()),
        }
    }

    /// Medians of parts don't add up to the median of the whole: what is below zero is none.
    fn add(&mut self, name: &str, time: f64) {
        let place = PARTS.iter().position(|part| part.name == name);
        if let Some(part) = place.and_then(|place| self.times.get_mut(place)) {
            *part += time.max(0.0);
        }
    }
}

/// A plot for each bundle and environment that phases were measured of; that which says most first.
pub(super) fn plots(results: &Results) -> Vec<Plot> {
    let mut done: Vec<(&str, &str)> = Vec::new();
    let mut plots = Vec::new();
    for phases in &results.phases {
        let place = (phases.bundle.as_str(), phases.environment.as_str());
        if done.contains(&place) {
            continue;
        }
        done.push(place);
        plots.push(Plot {
            name: format!("phases-{}-{}", phases.bundle, phases.environment),
            about: format!(
                "Stacked bars: the parts of one run, {} configuration, {}",
                phases.bundle, phases.environment
            ),
            svg: plot_of(results, place),
        });
    }
    let rank = |plot: &Plot| FIRST.iter().position(|name| *name == plot.name);
    plots.sort_by_key(|plot| rank(plot).unwrap_or(FIRST.len()));
    plots
}

fn plot_of(results: &Results, (bundle, environment): (&str, &str)) -> String {
    let here = results
        .phases
        .iter()
        .filter(|phases| phases.bundle == bundle && phases.environment == environment);
    let bars: Vec<Stacked> = here
        .map(|phases| Stacked {
            label: label(&phases.runtime),
            parts: sort(phases, whole(results, phases)).times,
        })
        .collect();
    let title = "Where the time of run /bin/true goes";
    let bundle = match bundle {
        "default" => "default `spec` configuration",
        "seccomp" => "with Docker's seccomp profile",
        "minimal" => "the smallest configuration",
        other => other,
    };
    let subtitle = format!("medians in µs; {}; {environment}", bundle.replace('`', ""));
    plot::stack(title, &subtitle, &names(), &bars)
}

/// The same command's wall-clock time, in µs.
fn whole(results: &Results, phases: &Phases) -> Option<f64> {
    let group = results.group(&format!("run-{}", phases.bundle), &phases.environment)?;
    median(&group.series(&phases.runtime)?.samples).map(|ms| ms * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn phases(runtime: &str, phases: &[(&str, f64)]) -> Phases {
        Phases {
            runtime: runtime.to_owned(),
            bundle: "default".to_owned(),
            environment: "unified".to_owned(),
            phases: phases.iter().map(|(name, time)| ((*name).to_owned(), *time)).collect(),
        }
    }

    #[test]
    fn every_step_of_a_plan_has_its_part() {
        let wire = include_str!("../../../runtime-core/init/src/wire.rs");
        let steps: Vec<&str> = wire
            .lines()
            .filter_map(|line| {
                let (number, rest) = line.trim_start().split_once(' ')?;
                number.parse::<u32>().ok()?;
                rest.split('"').nth(1)
            })
            .collect();
        assert!(steps.contains(&"pivot-root") && steps.len() > 50, "{steps:?}");
        let known: Vec<&str> = PARTS.iter().flat_map(|part| part.hoist).copied().collect();
        let missing: Vec<_> = steps.iter().filter(|step| !known.contains(step)).collect();
        assert!(missing.is_empty(), "sort these into PARTS: {missing:?}");
    }

    #[test]
    fn every_phase_of_the_floor_has_its_part() {
        let floor = include_str!("../../floor/container.rs");
        let calls = floor.split("self.phase(\"").chain(floor.split("phases.end(\""));
        let phases: Vec<&str> = calls
            .filter_map(|rest| Some(rest.split_once('"')?.0))
            .filter(|name| name.chars().all(|c| c == '-' || c.is_ascii_lowercase()))
            .collect();
        assert!(phases.contains(&"pivot-root") && phases.contains(&"payload"), "{phases:?}");
        let known: Vec<&str> = PARTS.iter().flat_map(|part| part.floor).copied().collect();
        let missing: Vec<_> = phases.iter().filter(|phase| !known.contains(phase)).collect();
        assert!(missing.is_empty(), "sort these into PARTS: {missing:?}");
    }

    #[test]
    fn no_name_is_in_two_parts() {
        for of in [|part: &Part| part.hoist, |part: &Part| part.floor] {
            let mut all: Vec<&str> = PARTS.iter().flat_map(of).copied().collect();
            let count = all.len();
            all.sort_unstable();
            all.dedup();
            assert_eq!(all.len(), count);
        }
    }

    #[test]
    fn parts_add_up_to_the_whole() {
        let hoist = phases(
            "hoist",
            &[
                ("compile", 100.0),
                ("cgroup", 50.0),
                ("init", 900.0),
                ("clone", 400.0),
                ("mount-filesystem", 30.0),
                ("mount-filesystem", 20.0),
            ],
        );
        let parts = sort(&hoist, Some(2000.0));
        let of = |name| parts.times[names().iter().position(|one| *one == name).unwrap()];
        assert_eq!(parts.times.iter().sum::<f64>(), 2000.0);
        assert_eq!(of(HANDSHAKES), 400.0 + (900.0 - 450.0));
        assert_eq!(of("root filesystem: mounts, devices, paths"), 50.0);
        assert_eq!(of(OUTSIDE), 2000.0 - 100.0 - 50.0 - 900.0);
        assert!(parts.unknown.is_empty());
    }

    #[test]
    fn what_is_done_side_by_side_counts_once() {
        let hoist = phases(
            "hoist",
            &[
                ("cgroup", 110.0),
                ("spawn", 100.0),
                ("state", 150.0),
                ("confine", 40.0),
                ("init", 500.0),
                ("unshare", 350.0),
                ("mount-filesystem", 200.0),
                ("capabilities", 30.0),
            ],
        );
        let parts = sort(&hoist, Some(1000.0));
        let of = |name| parts.times[names().iter().position(|one| *one == name).unwrap()];
        // 300 of the 350 while the library was busy; 500 - 50 - 200 - 30 are no step's.
        assert_eq!(of(HANDSHAKES), 100.0 + 50.0 + 220.0);
        assert_eq!(of("root filesystem: mounts, devices, paths"), 200.0);
        assert_eq!(of("cgroup, device rules"), 150.0);
        assert_eq!(of(OUTSIDE), 100.0);
        assert_eq!(parts.times.iter().sum::<f64>(), 1000.0);
    }

    #[test]
    fn what_is_unknown_is_named() {
        let parts = sort(&phases("floor", &[("clone", 5.0), ("tea", 3.0)]), None);
        assert_eq!(parts.unknown, ["tea"]);
        assert_eq!(parts.times.iter().sum::<f64>(), 5.0);
    }
}
