//! The page: tables of what the sources, the records and the changelog say.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::iter;

use super::Now;
use super::record::{Fuzzing, Points, Record};
use super::source::{Advisory, Attack};
use crate::results::Outcome;

/// What people wrote of it; the rest stands where `{{…}}` is.
const PAGE: &str = include_str!("page.md");
const HOIST: &str = "hoist";
const BLOCKED: &str = "blocked";
const HOLDS: &str = "holds";
pub(super) const NOT_RUN: &str = "not run";

/// Writing to a String doesn't fail.
macro_rules! add {
    ($page:expr, $($what:tt)*) => {{ let _ = writeln!($page, $($what)*); }};
}

pub(super) fn page(now: &Now) -> String {
    let Now { advisories, attacks, records, fuzzing, .. } = now;
    let sections = [
        ("{{figures}}", figures(now)),
        ("{{advisories}}", table_of_advisories(advisories, attacks, records)),
        ("{{attacks}}", table_of(&beside(attacks), ["the attack", "hoist", BLOCKED], records)),
        ("{{inside}}", table_of(&inside(attacks), ["what is looked at", "result", HOLDS], records)),
        ("{{seen}}", table_of_failures(attacks)),
        ("{{points}}", table_of_points(records)),
        ("{{fuzzing}}", table_of_fuzzing(fuzzing)),
        ("{{runs}}", table_of_runs(records)),
    ];
    let page = PAGE.to_owned();
    sections.into_iter().fold(page, |page, (name, section)| page.replace(name, section.trim_end()))
}

/// All of it in a line for each part.
fn figures(now: &Now) -> String {
    let Now { advisories, attacks, records, fuzzing, changelog } = now;
    let mut list = String::new();
    let blocked = advisories.iter().filter(|advisory| {
        let mut tests = of_advisory(advisory, attacks).peekable();
        tests.peek().is_some() && tests.all(|attack| of_hoist(&attack.test, records) == BLOCKED)
    });
    let races = attacks.iter().filter_map(|attack| iterations(&attack.test, records));
    let (blocked, races) =
        (blocked.count(), races.fold((0, 0), |(n, sum), more| (n + 1, sum + more)));
    let others = beside(attacks).len();
    let inside = inside(attacks);
    let hold = inside.iter().filter(|attack| of_hoist(&attack.test, records) == BLOCKED).count();
    let inside = format!("{hold} of {} tests from inside hold", inside.len());
    add!(
        list,
        "* {blocked} of {} advisories: blocked. {others} attacks beside them; {inside}.",
        advisories.len()
    );
    if races.0 > 0 {
        add!(list, "* {} races, run {} times.", races.0, grouped(races.1));
    }
    let points = of(records, HOIST).flat_map(|record| record.points.values());
    let points = points.flat_map(BTreeMap::values).fold(Points::default(), |mut sum, more| {
        sum += *more;
        sum
    });
    if points.tried > 0 {
        let (tried, of) = (grouped(points.tried), grouped(points.of));
        add!(list, "* {tried} of {of} crash and fault points tried.");
    }
    if !fuzzing.is_empty() {
        let all = sum(fuzzing);
        let (executions, time) = (grouped(all.executions), time(all.seconds));
        add!(list, "* {} fuzzing targets: {executions} executions in {time}.", fuzzing.len());
    }
    let holes = entries(changelog);
    add!(
        list,
        "* {holes} entries under *Security* in the [changelog](../CHANGELOG.md): what was found, and closed."
    );
    list
}

fn of_advisory<'a>(
    advisory: &'a Advisory,
    attacks: &'a [Attack],
) -> impl Iterator<Item = &'a Attack> {
    attacks.iter().filter(|attack| attack.advisories.contains(&advisory.id))
}

fn table_of_advisories(advisories: &[Advisory], attacks: &[Attack], records: &[Record]) -> String {
    let mut table = String::new();
    add!(
        table,
        "| advisory | of | the attack | hoist | peers | tried |\n|---|---|---|---|---|---:|"
    );
    for advisory in advisories {
        let Advisory { id, project, mechanism, without } = advisory;
        let tests: Vec<&Attack> = of_advisory(advisory, attacks).collect();
        let result = match without {
            Some(reason) => format!("not tried: {}", cell(reason)),
            None if tests.is_empty() => "**no test**".to_owned(),
            None => {
                let mut results: Vec<_> =
                    tests.iter().map(|attack| of_hoist(&attack.test, records)).collect();
                results.dedup();
                results.join("<br>")
            }
        };
        let peers = of_peers(&tests, records).join("<br>");
        let tried: u64 = tests.iter().filter_map(|attack| iterations(&attack.test, records)).sum();
        let tried = if tried == 0 { String::new() } else { grouped(tried) };
        let how = iter::once(cell(mechanism)).chain(tests.iter().map(|attack| link(attack)));
        let how = how.collect::<Vec<_>>().join("<br>");
        add!(table, "| {id} | {project} | {how} | {result} | {peers} | {tried} |");
    }
    table
}

/// Attacks that no advisory is about.
fn beside(attacks: &[Attack]) -> Vec<&Attack> {
    let is_inside = |attack: &&Attack| !attack.is_from_inside();
    attacks.iter().filter(|attack| attack.advisories.is_empty()).filter(is_inside).collect()
}

/// Those that only look.
fn inside(attacks: &[Attack]) -> Vec<&Attack> {
    attacks.iter().filter(|attack| attack.is_from_inside()).collect()
}

fn table_of(attacks: &[&Attack], [what, result, word]: [&str; 3], records: &[Record]) -> String {
    let mut table = String::new();
    add!(table, "| {what} | {result} | tried |\n|---|---|---:|");
    for attack in attacks {
        let tried = iterations(&attack.test, records).map_or_else(String::new, grouped);
        let how = cell(&begun(attack.mechanism.trim_end_matches('.')));
        let result = of_hoist(&attack.test, records).replace(BLOCKED, word);
        add!(table, "| {how}<br>{} | {result} | {tried} |", link(attack));
    }
    table
}

fn table_of_failures(attacks: &[Attack]) -> String {
    let mut table = String::new();
    add!(table, "| test | seen to fail |\n|---|---|");
    for attack in attacks {
        if let Some(seen) = &attack.seen {
            add!(table, "| {} | {} |", link(attack), cell(seen.trim_end_matches('.')));
        }
    }
    table
}

fn table_of_points(records: &[Record]) -> String {
    let mut sums: BTreeMap<&str, BTreeMap<&str, Points>> = BTreeMap::new();
    for record in of(records, HOIST) {
        for (operation, kinds) in &record.points {
            for (kind, points) in kinds {
                *sums.entry(operation).or_default().entry(kind).or_default() += *points;
            }
        }
    }
    if sums.is_empty() {
        return "Nothing is recorded yet.".to_owned();
    }
    let mut table = String::new();
    add!(table, "| operation | points tried | of these |\n|---|---:|---|");
    let mut all = 0;
    for (operation, kinds) in sums {
        let sum: u64 = kinds.values().map(|points| points.tried).sum();
        all += sum;
        let parts: Vec<_> = kinds.iter().map(|(kind, points)| of_kind(kind, *points)).collect();
        add!(table, "| {} | {} | {} |", cell(operation), grouped(sum), cell(&parts.join(", ")));
    }
    add!(table, "| **all** | **{}** | |", grouped(all));
    table
}

fn of_kind(kind: &str, Points { tried, of }: Points) -> String {
    let tried_of = if tried == of { String::new() } else { format!(" of {}", grouped(of)) };
    format!("{kind} {}{tried_of}", grouped(tried))
}

fn table_of_fuzzing(fuzzing: &BTreeMap<String, Fuzzing>) -> String {
    if fuzzing.is_empty() {
        return "Nothing is recorded yet.".to_owned();
    }
    let mut table = String::new();
    add!(
        table,
        "| target | executions | time | edges reached | inputs that failed |\n|---|---:|---:|---:|---:|"
    );
    let row = |table: &mut String, name: &str, Fuzzing { executions, seconds, edges, failures }| {
        let (executions, edges) = (grouped(executions), grouped(edges));
        add!(table, "| {name} | {executions} | {} | {edges} | {failures} |", time(seconds));
    };
    for (target, fuzzing) in fuzzing {
        row(&mut table, target, *fuzzing);
    }
    // Targets share code, so that edges have no sum.
    let all = sum(fuzzing);
    let (executions, failures) = (grouped(all.executions), all.failures);
    add!(table, "| **all** | {executions} | {} | | {failures} |", time(all.seconds));
    table
}

fn sum(fuzzing: &BTreeMap<String, Fuzzing>) -> Fuzzing {
    let mut all = Fuzzing::default();
    for fuzzing in fuzzing.values() {
        all.executions += fuzzing.executions;
        all.seconds += fuzzing.seconds;
        all.failures += fuzzing.failures;
    }
    all
}

/// How many entries the changelog has under `### Security`.
fn entries(changelog: &str) -> usize {
    let security = changelog.split("\n### Security\n").nth(1).unwrap_or_default();
    let security = security.split("\n#").next().unwrap_or_default();
    security.lines().filter(|line| line.starts_with("* ")).count()
}

fn table_of_runs(records: &[Record]) -> String {
    let mut table = String::new();
    add!(
        table,
        "| of | date | host | tests | failed | runs of races | points |\n|---|---|---|---:|---:|---:|---:|"
    );
    for Record { of, date, host, tests, iterations, points } in records {
        let failed = tests.values().filter(|outcome| matches!(outcome, Outcome::Failed(_))).count();
        let races = iterations.values().sum();
        let points = points.values().flat_map(BTreeMap::values).map(|points| points.tried).sum();
        let (of, host) = (cell(of), cell(host));
        let numbers = [tests.len() as u64, failed as u64, races, points]
            .map(|number| if number == 0 { String::new() } else { grouped(number) });
        add!(table, "| {of} | {date} | {host} | {} |", numbers.join(" | "));
    }
    table
}

fn of<'a>(records: &'a [Record], what: &'a str) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |record| record.of == what)
}

pub(super) fn of_hoist(test: &str, records: &[Record]) -> String {
    let mut word = NOT_RUN.to_owned();
    for outcome in of(records, HOIST).filter_map(|record| record.tests.get(test)) {
        match outcome {
            Outcome::Failed(_) => return "**failed**".to_owned(),
            Outcome::Passed => word = BLOCKED.to_owned(),
            // Somewhere else it could be tried.
            Outcome::Skipped(_) if word == BLOCKED => {}
            Outcome::Skipped(reason) => word = format!("not tried: {}", cell(reason)),
        }
    }
    word
}

/// What the peers' records say of the tests of an advisory.
fn of_peers(tests: &[&Attack], records: &[Record]) -> Vec<String> {
    let mut peers = Vec::new();
    for Record { of, tests: outcomes, .. } in records.iter().filter(|record| record.of != HOIST) {
        let outcomes = tests.iter().filter_map(|attack| outcomes.get(&attack.test));
        let told: Vec<_> =
            outcomes.filter(|outcome| !matches!(outcome, Outcome::Skipped(_))).collect();
        if !told.is_empty() {
            let has_failed = told.iter().any(|outcome| matches!(outcome, Outcome::Failed(_)));
            let word = if has_failed { "not passed" } else { BLOCKED };
            peers.push(format!("{}: {word}", cell(of)));
        }
    }
    peers
}

fn iterations(test: &str, records: &[Record]) -> Option<u64> {
    of(records, HOIST)
        .filter_map(|record| record.iterations.get(test).copied())
        .reduce(|a, b| a + b)
}

fn link(attack: &Attack) -> String {
    format!("[`{}`](../{})", attack.test, attack.file.display())
}

/// As a sentence begins.
fn begun(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Text that ends no cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

/// `1,234,567`
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn time(seconds: u64) -> String {
    let (hours, minutes) = (seconds / 3600, seconds % 3600 / 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds} s"),
        (0, _) => format!("{minutes} min"),
        _ => format!("{hours} h {minutes} min"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn attack(test: &str, id: Option<&str>, seen: Option<&str>) -> Attack {
        Attack {
            test: test.to_owned(),
            file: PathBuf::from("shim/x.rs"),
            advisories: id.into_iter().map(str::to_owned).collect(),
            mechanism: "a | b.".to_owned(),
            seen: seen.map(str::to_owned),
        }
    }

    fn record(of: &str, outcome: Outcome) -> Record {
        let mut record = Record { of: of.to_owned(), ..Record::default() };
        record.tests.insert("cve_2019_5736".to_owned(), outcome);
        record.iterations.insert("cve_2019_5736".to_owned(), 1500);
        let points = [("killed", (500, 500)), ("failed", (2000, 9000))];
        let points = points.map(|(kind, (tried, of))| (kind.to_owned(), Points { tried, of }));
        record.points.insert("create".to_owned(), points.into());
        record
    }

    #[test]
    fn the_page_has_it_all() {
        let row = |id: &str, without: Option<&str>| Advisory {
            id: id.to_owned(),
            project: "runc".to_owned(),
            mechanism: "m".to_owned(),
            without: without.map(str::to_owned),
        };
        let rows =
            [row("CVE-2019-5736", None), row("CVE-2020-1", None), row("CVE-2020-2", Some("why"))];
        let attacks = [
            attack("cve_2019_5736", Some("CVE-2019-5736"), Some("so.")),
            attack("noise", None, None),
            Attack { file: PathBuf::from("a/tests/inside/b.rs"), ..attack("looks", None, None) },
        ];
        let records = [
            record("hoist", Outcome::Passed),
            record("hoist", Outcome::Skipped("no x".to_owned())),
            record("crun 1.28", Outcome::Failed(String::new())),
        ];
        let changelog = "# Changelog\n\n### Security\n\nWords.\n\n* A hole\n  of two lines.\n\n\
                         ### Changes\n\n* Another\n";
        let config = Fuzzing { executions: 20, seconds: 7400, edges: 1000, failures: 1 };
        let now = Now {
            advisories: rows.into(),
            attacks: attacks.into(),
            records: records.into(),
            fuzzing: [("config".to_owned(), config)].into(),
            changelog: changelog.to_owned(),
        };
        let page = page(&now);
        for line in [
            "| CVE-2019-5736 | runc | m<br>[`cve_2019_5736`](../shim/x.rs) | blocked \
             | crun 1.28: not passed | 3,000 |",
            "* 1 of 3 advisories: blocked. 1 attacks beside them; 0 of 1 tests from inside hold.",
            "* 1 races, run 3,000 times.",
            "* 5,000 of 19,000 crash and fault points tried.",
            "* 1 fuzzing targets: 20 executions in 2 h 3 min.",
            "* 1 entries under *Security*",
            "| CVE-2020-1 | runc | m | **no test** |  |  |",
            "| CVE-2020-2 | runc | m | not tried: why |  |  |",
            "| A \\| b<br>[`noise`](../shim/x.rs) | not run |  |",
            "| A \\| b<br>[`looks`](../a/tests/inside/b.rs) | not run |  |",
            "| [`cve_2019_5736`](../shim/x.rs) | so |",
            "| create | 5,000 | failed 4,000 of 18,000, killed 1,000 |",
            "| config | 20 | 2 h 3 min | 1,000 | 1 |",
            "| **all** | 20 | 2 h 3 min | | 1 |",
            "| hoist |  |  | 1 |  | 1,500 | 2,500 |",
        ] {
            assert!(page.contains(line), "{line}\n\n{page}");
        }
        assert!(!page.contains("{{") && !page.contains("Another"), "{page}");
    }

    #[test]
    fn one_failure_is_a_failure() {
        let records =
            [record("hoist", Outcome::Passed), record("hoist", Outcome::Failed(String::new()))];
        assert_eq!(of_hoist("cve_2019_5736", &records), "**failed**");
        let skipped = [record("hoist", Outcome::Skipped("no x".to_owned()))];
        assert_eq!(of_hoist("cve_2019_5736", &skipped), "not tried: no x");
        assert_eq!(of_hoist("other", &records), NOT_RUN);
    }
}
