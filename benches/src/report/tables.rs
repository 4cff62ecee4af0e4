//! The tables, in Markdown.

use super::reasons;
use super::statistics::{Summary, ratio};
use super::targets::{Bound, TARGETS, figure};
use super::{UNMEASURED, label};
use crate::results::{Group, Results, Series};
use crate::statistics::median;

/// A line of the page.
macro_rules! add {
    ($page:expr, $($what:tt)*) => {{
        $page.push_str(&format!($($what)*));
        $page.push('\n');
    }};
}
pub(super) use add;

/// What was promised, and what came out; below it, why some was missed.
pub(super) fn targets(page: &mut String, results: &Results, words: &str) {
    add!(page, "| what | where | target | measured | | hoist : other |");
    add!(page, "|---|---|---:|---:|---|---:|");
    let mut missed = Vec::new();
    for target in TARGETS {
        let (sign, bound) = match target.bound {
            Bound::AtMost(most) => ("≤", most),
            Bound::AtLeast(least) => ("≥", least),
        };
        let wanted = format!("{sign} {bound:.2} of {}", label(target.of()));
        let (ratio, verdict, figures) = match target.outcome(results) {
            Some(outcome) => {
                if !outcome.met {
                    missed.push(target);
                }
                let verdict = if outcome.met { "met" } else { "**missed**" };
                (format!("**{:.2}**", outcome.ratio), verdict, outcome.figures)
            }
            None => (String::new(), UNMEASURED, String::new()),
        };
        let (what, environment) = (target.what, target.environment);
        add!(page, "| {what} | {environment} | {wanted} | {ratio} | {verdict} | {figures} |");
    }
    page.push('\n');
    if !missed.is_empty() {
        add!(page, "What was missed, and why:\n");
    }
    for target in missed {
        let reason = reasons::of(words, target.id).unwrap_or("why is not known yet.");
        let (what, environment, other) = (target.what, target.environment, label(target.of()));
        add!(page, "* {what}, {environment}, beside {other}: {}", reason.replace('\n', "\n  "));
    }
}

/// A column of which a table may have no figures at all.
type Column = (&'static str, fn(&Group, &Series) -> Option<String>);

const COLUMNS: [Column; 5] = [
    ("to crun", |group, series| beside(group, series, "crun")),
    ("to the floor", |group, series| {
        let floor = |name| beside(group, series, name);
        floor("floor").or_else(|| floor("floor-in-process"))
    }),
    ("user, ms", |_, series| series.user_ms.map(figure)),
    ("system, ms", |_, series| series.system_ms.map(figure)),
    ("peak memory, KiB", |_, series| series.peak_rss_kib.map(figure)),
];

/// One table of groups with the same columns, without those that none has figures for.
pub(super) fn groups(page: &mut String, groups: &[&Group]) {
    let columns: Vec<Column> = COLUMNS
        .into_iter()
        .filter(|(_, of)| {
            let any = |group: &&&Group| group.series.iter().any(|one| of(group, one).is_some());
            groups.iter().any(|group| any(&group))
        })
        .collect();
    let names: String = columns.iter().map(|(name, _)| format!(" {name} |")).collect();
    add!(page, "| | | median | p10 | p90 | max |{names}");
    add!(page, "|---|---|---:|---:|---:|---:|{}", "---:|".repeat(columns.len()));
    for group in groups {
        for (place, series) in group.series.iter().enumerate() {
            let what = if place == 0 { title(group) } else { String::new() };
            add!(page, "| {what} | {} |", row(group, series, &columns));
        }
        for (place, absent) in group.absent.iter().enumerate() {
            let what =
                if place == 0 && group.series.is_empty() { title(group) } else { String::new() };
            let empty = " |".repeat(3 + columns.len());
            add!(page, "| {what} | {} | failed |{empty}", label(&absent.runtime));
        }
    }
    page.push('\n');
    let mut said: Vec<String> = Vec::new();
    for absent in groups.iter().flat_map(|group| &group.absent) {
        let reason = format!("{} failed: {}", label(&absent.runtime), brief(&absent.reason));
        if !said.contains(&reason) {
            add!(page, "{reason}\n");
            said.push(reason);
        }
    }
}

/// The ratio to another runtime's median.
fn beside(group: &Group, series: &Series, other: &str) -> Option<String> {
    let ratio = ratio(median(&series.samples)?, group.median(other)?)?;
    Some(format!("{ratio:.2}"))
}

fn title(group: &Group) -> String {
    format!("{}, {}", group.title, group.unit)
}

/// The last line of a program's words; of a log's line the message.
fn brief(reason: &str) -> String {
    let last = reason.trim().lines().last().unwrap_or_default();
    let message = last.split_once("msg=\"").map(|(_, message)| message.trim_end_matches('"'));
    message.unwrap_or(last).replace('|', "\\|").replace('<', "&lt;")
}

fn row(group: &Group, series: &Series, columns: &[Column]) -> String {
    let ours = series.runtime == "hoist";
    let strong = |text: String| if ours { format!("**{text}**") } else { text };
    let mut cells = vec![strong(label(&series.runtime))];
    match Summary::of(&series.samples) {
        Some(Summary { median, p10, p90, max }) => {
            cells.push(strong(figure(median)));
            cells.extend([p10, p90, max].map(figure));
        }
        None => cells.extend([UNMEASURED, "", "", ""].map(str::to_owned)),
    }
    for (name, of) in columns {
        let figure = of(group, series).unwrap_or_default();
        let is_ratio = name.starts_with("to ") && !figure.is_empty();
        cells.push(if is_ratio { strong(figure) } else { figure });
    }
    cells.join(" | ")
}
