//! docs/performance.md.

use super::tables::{self, add};
use super::{Plot, REASONS, phases, view};
use crate::results::{Group, Results};

const HEAD: &str = include_str!("words/head.md");
const READING: &str = include_str!("words/reading.md");
const TIMINGS: &str = include_str!("words/timings.md");
const ENVIRONMENTS: [&str; 3] = ["unified", "hybrid", "host"];

/// What a group is about: its section of the page.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Topic {
    Run,
    Lifecycle,
    Many,
    Library,
    Memory,
}

const TOPICS: [(Topic, &str); 5] = [
    (Topic::Run, "`run /bin/true`"),
    (Topic::Lifecycle, "Each command"),
    (Topic::Many, "Many containers, many mounts"),
    (Topic::Library, "The library, in-process"),
    (Topic::Memory, "The smallest memory limit"),
];

impl Topic {
    fn of(id: &str) -> Self {
        match id {
            "create" | "start" | "state" | "exec" | "kill" | "delete" | "delete-force" => {
                Self::Lifecycle
            }
            _ if id.starts_with("run-") => Self::Run,
            _ if id.starts_with("library") => Self::Library,
            _ if id.starts_with("memory") => Self::Memory,
            _ => Self::Many,
        }
    }
}

pub(super) fn page(results: &Results, plots: &[Plot], shim: Option<&str>) -> String {
    let mut page = HEAD.to_owned();
    page.push('\n');
    show(&mut page, plots, |name| name == "run");
    add!(page, "```sh");
    add!(page, "make bench           # everything, and then this page");
    add!(page, "make bench-shim      # what containerd and Docker take with the shim");
    add!(page, "```\n");
    add!(page, "## Targets\n");
    tables::targets(&mut page, results, REASONS);
    page.push('\n');
    page.push_str(READING);
    page.push('\n');
    for environment in ENVIRONMENTS {
        figures(&mut page, results, environment, plots);
    }
    parts(&mut page, results, plots);
    page.push_str(TIMINGS);
    if let Some(shim) = shim {
        add!(page, "## Under containerd and Docker\n");
        add!(
            page,
            "hoist's shim, beside runc with the shim that comes with containerd. As `make bench-shim` \
             printed it:\n"
        );
        add!(page, "```text\n{}\n```\n", shim.trim_end());
    }
    provenance(&mut page, results);
    page.trim_end().to_owned() + "\n"
}

fn show(page: &mut String, plots: &[Plot], wanted: impl Fn(&str) -> bool) {
    for plot in plots.iter().filter(|plot| wanted(&plot.name)) {
        add!(page, "![{}](performance/{})\n", plot.about, plot.file());
    }
}

fn figures(page: &mut String, results: &Results, environment: &str, plots: &[Plot]) {
    let here: Vec<&Group> =
        results.groups.iter().filter(|group| group.environment == environment).collect();
    let curves: Vec<_> =
        results.curves.iter().filter(|curve| curve.environment == environment).collect();
    if here.is_empty() && curves.is_empty() {
        return;
    }
    let heading = match environment {
        "host" => "Either".to_owned(),
        other => view(other),
    };
    add!(page, "## {heading}\n");
    show(page, plots, |name| name == format!("ratios-{environment}"));
    for (topic, title) in TOPICS {
        let groups: Vec<&Group> =
            here.iter().copied().filter(|group| Topic::of(&group.id) == topic).collect();
        let curves: Vec<String> = curves
            .iter()
            .filter(|curve| Topic::of(&curve.id) == topic)
            .map(|curve| format!("{}-{environment}", curve.id))
            .collect();
        if groups.is_empty() && curves.is_empty() {
            continue;
        }
        add!(page, "### {title}: {environment}\n");
        show(page, plots, |name| curves.iter().any(|curve| curve == name));
        if !groups.is_empty() {
            tables::groups(page, &groups);
        }
    }
}

fn parts(page: &mut String, results: &Results, plots: &[Plot]) {
    add!(page, "## Where the time goes\n");
    if results.phases.is_empty() {
        add!(page, "The phases were {}.\n", super::UNMEASURED);
        return;
    }
    add!(
        page,
        "The floor clocks its few phases, hoist its own and each step of the plan. Both are sorted into \
         the same\nparts here. While hoist's init is at work, its library is too; what both do at a \
         time counts once, as the\nlibrary's. What neither can clock, before its first instruction and \
         after its last, is the rest of the\nwall-clock time.\n"
    );
    let is_first = |name: &str| phases::FIRST.contains(&name);
    let is_other = |name: &str| name.starts_with("phases-") && !is_first(name);
    show(page, plots, is_first);
    let mut unknown: Vec<String> =
        results.phases.iter().flat_map(|phases| phases::sort(phases, None).unknown).collect();
    unknown.sort();
    unknown.dedup();
    if !unknown.is_empty() {
        add!(page, "In no part, and missing above: {}.\n", unknown.join(", "));
    }
    if plots.iter().any(|plot| is_other(&plot.name)) {
        add!(page, "<details><summary>Other configurations and views</summary>\n");
        show(page, plots, is_other);
        add!(page, "</details>\n");
    }
    add!(page, "<details><summary>What is in which part</summary>\n");
    phases::table(page);
    add!(page, "\n</details>\n");
}

fn provenance(page: &mut String, results: &Results) {
    let machine = &results.machine;
    add!(page, "## What was measured\n");
    add!(page, "On {}, with\n", results.date);
    add!(page, "```sh\n{}\n```\n", without_directories(&results.command));
    let hypervisor = machine.hypervisor.as_deref().map_or_else(
        || "no virtual machine".to_owned(),
        |name| format!("a virtual machine ({name})"),
    );
    add!(page, "on {}; {}, {} cores, {hypervisor}.\n", machine.system, machine.cpu, machine.cores);
    add!(page, "| | version | linked | KiB |");
    add!(page, "|---|---|---|---:|");
    for runtime in &results.runtimes {
        let linked = if runtime.linked_statically { "statically" } else { "dynamically" };
        let (name, version, size) =
            (super::label(&runtime.name), &runtime.version, runtime.size.div_ceil(1024));
        add!(page, "| {name} | {version} | {linked} | {size} |");
    }
    add!(
        page,
        "\nhoist is what `make build` makes: static, with the profile `release` of Cargo.toml. crun and \
         runc are what\nDebian packages, but for builds that were named with `--runtime NAME=PATH`."
    );
}

/// Where somebody keeps the programs says nothing to others.
fn without_directories(command: &str) -> String {
    let last = |word: &str| word.rsplit('/').next().unwrap_or_default().to_owned();
    let line = |line: &str| -> String {
        let words = line.split(' ').map(|word| match word.split_once('=') {
            Some((name, path)) => format!("{name}={}", last(path)),
            None => last(word),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    command.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_shown_without_directories() {
        let command =
            "/a/b/hoist-bench run --runtime crun=/c/crun -o /tmp/x.json\n./hoist-bench run";
        let shown = "hoist-bench run --runtime crun=crun -o x.json\nhoist-bench run";
        assert_eq!(without_directories(command), shown);
    }
}
