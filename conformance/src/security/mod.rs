//! Writes docs/security.md: the advisories and the tests that play them, as the sources have them, and
//! what came out of those, as docs/security/*.json has it.

mod record;
mod source;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;

use crate::cache::repository;
use crate::failure::{Context, Result};
use crate::results::Outcome;
use record::{Fuzzing, Points, Record};
pub(crate) use record::{Run, record};
use source::{Advisory, Attack};

/// What people wrote of it; the rest stands where `{{…}}` is.
const PAGE: &str = include_str!("page.md");
const CHANGELOG: &str = "CHANGELOG.md";
const HOIST: &str = "hoist";

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    let (advisories, attacks) = (source::advisories()?, source::attacks()?);
    for problem in source::problems(&advisories, &attacks) {
        crate::console::complain(problem);
    }
    let changelog = fs::read_to_string(repository().join(CHANGELOG)).context(CHANGELOG)?;
    let (records, fuzzing) = (record::kept()?, record::fuzzing()?);
    let path = repository().join("docs/security.md");
    fs::write(&path, page(&advisories, &attacks, &records, &fuzzing, &changelog))
        .context(path.display())?;
    crate::console::line(format_args!(
        "{}: {} advisories, {} tests, {} records",
        path.display(),
        advisories.len(),
        attacks.len(),
        records.len()
    ));
    Ok(())
}

/// The names of the tests that play attacks.
pub(crate) fn tests() -> Result<Vec<String>> {
    Ok(source::attacks()?.into_iter().map(|attack| attack.test).collect())
}

fn page(
    advisories: &[Advisory],
    attacks: &[Attack],
    records: &[Record],
    fuzzing: &BTreeMap<String, Fuzzing>,
    changelog: &str,
) -> String {
    let sections = [
        ("{{advisories}}", table_of_advisories(advisories, attacks, records)),
        ("{{attacks}}", table_of_others(attacks, records)),
        ("{{seen}}", table_of_failures(attacks)),
        ("{{points}}", table_of_points(records)),
        ("{{fuzzing}}", table_of_fuzzing(fuzzing)),
        ("{{holes}}", holes(changelog)),
        ("{{runs}}", table_of_runs(records)),
    ];
    let page = PAGE.to_owned();
    sections.into_iter().fold(page, |page, (name, section)| page.replace(name, section.trim_end()))
}

/// Writing to a String doesn't fail.
macro_rules! add {
    ($page:expr, $($what:tt)*) => {{ let _ = writeln!($page, $($what)*); }};
}

fn table_of_advisories(advisories: &[Advisory], attacks: &[Attack], records: &[Record]) -> String {
    let mut table = String::new();
    add!(
        table,
        "| advisory | of | the attack | hoist | peers | tried |\n|---|---|---|---|---|---:|"
    );
    for Advisory { id, project, mechanism, without } in advisories {
        let tests: Vec<&Attack> =
            attacks.iter().filter(|attack| attack.advisories.contains(id)).collect();
        let how = tests.iter().find(|attack| !attack.mechanism.is_empty());
        let how = how.map_or(mechanism.as_str(), |attack| &attack.mechanism).trim_end_matches('.');
        let links: Vec<_> = tests.iter().map(|attack| link(attack)).collect();
        let result = match without {
            Some(reason) => format!("not tried: {reason}"),
            None if tests.is_empty() => "**no test**".to_owned(),
            None => {
                let results = tests.iter().map(|attack| of_hoist(&attack.test, records));
                results.collect::<Vec<_>>().join("<br>")
            }
        };
        let peers: Vec<_> =
            tests.iter().flat_map(|attack| of_peers(&attack.test, records)).collect();
        let tried: u64 = tests.iter().filter_map(|attack| iterations(&attack.test, records)).sum();
        let tried = if tried == 0 { String::new() } else { grouped(tried) };
        let how = [vec![cell(how)], links].concat().join("<br>");
        let peers = peers.join("<br>");
        add!(table, "| {id} | {project} | {how} | {} | {peers} | {tried} |", cell(&result));
    }
    table
}

/// Attacks that no advisory is about.
fn table_of_others(attacks: &[Attack], records: &[Record]) -> String {
    let mut table = String::new();
    add!(table, "| the attack | hoist | tried |\n|---|---|---:|");
    for attack in attacks.iter().filter(|attack| attack.advisories.is_empty()) {
        let tried = iterations(&attack.test, records).map_or_else(String::new, grouped);
        let how = cell(attack.mechanism.trim_end_matches('.'));
        let result = of_hoist(&attack.test, records);
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
    add!(table, "| operation | points tried and survived | of these |\n|---|---:|---|");
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
    let mut all = Fuzzing::default();
    for (target, fuzzing) in fuzzing {
        all.executions += fuzzing.executions;
        all.seconds += fuzzing.seconds;
        all.edges += fuzzing.edges;
        all.failures += fuzzing.failures;
        row(&mut table, target, *fuzzing);
    }
    row(&mut table, "**all**", all);
    table
}

/// What the changelog has under `### Security`: a line for each.
fn holes(changelog: &str) -> String {
    let mut holes = String::new();
    let mut is_security = false;
    let mut is_entry = false;
    for line in changelog.lines() {
        if line.starts_with('#') {
            is_security = line == "### Security";
            is_entry = false;
        } else if is_security {
            // What introduces the list is for who reads the changelog.
            is_entry |= line.starts_with("* ");
            if is_entry && !line.is_empty() {
                add!(holes, "{line}");
            }
        }
    }
    if holes.is_empty() { "None is in the changelog.".to_owned() } else { holes }
}

fn table_of_runs(records: &[Record]) -> String {
    let mut table = String::new();
    add!(table, "| of | date | host | tests |\n|---|---|---|---:|");
    for Record { of, date, host, tests, .. } in records {
        add!(table, "| {} | {date} | {} | {} |", cell(of), cell(host), tests.len());
    }
    table
}

fn of<'a>(records: &'a [Record], what: &'a str) -> impl Iterator<Item = &'a Record> {
    records.iter().filter(move |record| record.of == what)
}

fn of_hoist(test: &str, records: &[Record]) -> String {
    let mut word = "not run".to_owned();
    for outcome in of(records, HOIST).filter_map(|record| record.tests.get(test)) {
        match outcome {
            Outcome::Failed(_) => return "**failed**".to_owned(),
            Outcome::Passed => word = "blocked".to_owned(),
            // Somewhere else it could be tried.
            Outcome::Skipped(_) if word == "blocked" => {}
            Outcome::Skipped(reason) => word = format!("not tried: {}", cell(reason)),
        }
    }
    word
}

fn of_peers(test: &str, records: &[Record]) -> Vec<String> {
    let mut peers = Vec::new();
    for Record { of, tests, .. } in records.iter().filter(|record| record.of != HOIST) {
        let word = match tests.get(test) {
            Some(Outcome::Passed) => "blocked",
            Some(Outcome::Failed(_)) => "not passed",
            Some(Outcome::Skipped(_)) | None => continue,
        };
        peers.push(format!("{}: {word}", cell(of)));
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
        ];
        let records = [
            record("hoist", Outcome::Passed),
            record("hoist", Outcome::Skipped("no x".to_owned())),
            record("crun 1.28", Outcome::Failed(String::new())),
        ];
        let changelog = "# Changelog\n\n### Security\n\nWords.\n\n* A hole\n  of two lines.\n\n\
                         ### Changes\n\n* Another\n";
        let config = Fuzzing { executions: 20, seconds: 7400, edges: 1000, failures: 1 };
        let fuzzing = [("config".to_owned(), config)].into();
        let page = page(&rows, &attacks, &records, &fuzzing, changelog);
        for line in [
            "| CVE-2019-5736 | runc | a \\| b<br>[`cve_2019_5736`](../shim/x.rs) | blocked \
             | crun 1.28: not passed | 3,000 |",
            "| CVE-2020-1 | runc | m | **no test** |  |  |",
            "| CVE-2020-2 | runc | m | not tried: why |  |  |",
            "| a \\| b<br>[`noise`](../shim/x.rs) | not run |  |",
            "| [`cve_2019_5736`](../shim/x.rs) | so |",
            "| create | 5,000 | failed 4,000 of 18,000, killed 1,000 |",
            "| config | 20 | 2 h 3 min | 1,000 | 1 |",
            "* A hole\n  of two lines.\n",
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
        assert_eq!(of_hoist("other", &records), "not run");
    }
}
