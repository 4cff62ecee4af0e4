//! What the tests' own doc comments say: which advisory each plays, how, and how it was seen to fail.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::cache::repository;
use crate::failure::{Context, Result};

const ADVISORIES: &str = "conformance/security/advisories.toml";
/// Where tests are.
const PACKAGES: [&str; 5] = ["runtime-core", "runtime-cli", "shim", "benches", "conformance"];
/// What begins the note about a test's failure.
const SEEN: &str = "Seen to fail:";
/// What may begin the comment of an attack that nobody has published.
const ATTACK: &str = "Attack:";

/// A row of the list of advisories.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Advisory {
    pub(super) id: String,
    pub(super) project: String,
    pub(super) mechanism: String,
    /// Why there is no test.
    pub(super) without: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    advisory: Vec<Advisory>,
}

/// A test that plays an attack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Attack {
    /// The function's name.
    pub(super) test: String,
    /// From the repository's root.
    pub(super) file: PathBuf,
    /// None for one without an advisory.
    pub(super) advisories: Vec<String>,
    pub(super) mechanism: String,
    pub(super) seen: Option<String>,
}

impl Attack {
    /// The end of the test's path: a function of another module may have the same name.
    pub(super) fn path(&self) -> String {
        let Self { test, file, .. } = self;
        let stem = file.file_stem().unwrap_or_default().display();
        if file.iter().any(|part| part == "src") {
            format!("tests::{test}")
        } else if file.parent().is_some_and(|parent| parent.ends_with("tests")) {
            test.clone()
        } else {
            format!("{stem}::{test}")
        }
    }

    /// One of those that look at a container from inside.
    pub(super) fn is_from_inside(&self) -> bool {
        self.advisories.is_empty() && self.file.iter().any(|part| part == "inside")
    }
}

pub(super) fn advisories() -> Result<Vec<Advisory>> {
    let text = fs::read_to_string(repository().join(ADVISORIES)).context(ADVISORIES)?;
    toml::from_str::<List>(&text).map(|list| list.advisory).context(ADVISORIES)
}

/// All attacks in the repository, by file and line.
pub(super) fn attacks() -> Result<Vec<Attack>> {
    let mut attacks = Vec::new();
    for package in PACKAGES {
        collect(Path::new(package), &mut attacks)?;
    }
    Ok(attacks)
}

fn collect(path: &Path, attacks: &mut Vec<Attack>) -> Result<()> {
    let absolute = repository().join(path);
    let mut names: Vec<_> = fs::read_dir(&absolute)
        .context(path.display())?
        .flatten()
        .map(|entry| entry.file_name())
        .collect();
    names.sort();
    for name in names {
        let (path, absolute) = (path.join(&name), absolute.join(&name));
        if absolute.is_dir() {
            // What fuzzers keep is large, and no source.
            if name != "target" && name != "corpus" {
                collect(&path, attacks)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&absolute).context(path.display())?;
            attacks.extend(scan(&text, &path));
        }
    }
    Ok(())
}

/// The attacks in a source file.
fn scan(text: &str, file: &Path) -> Vec<Attack> {
    let mut comment: Vec<&str> = Vec::new();
    let mut attacks = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some(words) = line.strip_prefix("///") {
            comment.push(words.trim());
        } else if let Some(test) = function(line) {
            attacks.extend(attack(test, file, &comment));
            comment.clear();
        } else if !line.starts_with("#[") {
            comment.clear();
        }
    }
    attacks
}

fn function(line: &str) -> Option<&str> {
    line.strip_prefix("fn ")?.split(['(', '<']).next()
}

fn attack(test: &str, file: &Path, comment: &[&str]) -> Option<Attack> {
    let paragraphs: Vec<String> =
        comment.split(|line| line.is_empty()).map(|lines| lines.join(" ")).collect();
    let whole = paragraphs.join("\n");
    let (about, seen) = match whole.split_once(SEEN) {
        Some((about, seen)) => (about, seen.lines().next()),
        None => (whole.as_str(), None),
    };
    // Further paragraphs are for who reads the test.
    let heading = about.trim().lines().next().unwrap_or_default();
    let (advisories, mechanism) = match (heading.strip_prefix(ATTACK), advisories_of(heading)) {
        (Some(mechanism), _) => (Vec::new(), mechanism.to_owned()),
        (None, Some((ids, mechanism))) => (ids, mechanism.to_owned()),
        (None, None) => match advisory_of(test) {
            // One without its comment: the name says which it is.
            Some(id) => (vec![id], String::new()),
            None => match (seen, heading) {
                (None, _) => return None,
                (Some(_), "") => (Vec::new(), test.replace('_', " ")),
                (Some(_), heading) => (Vec::new(), heading.to_owned()),
            },
        },
    };
    Some(Attack {
        test: test.to_owned(),
        file: file.to_owned(),
        advisories,
        mechanism: mechanism.trim().to_owned(),
        // A single word is a note to come.
        seen: seen
            .map(|seen| seen.trim().to_owned())
            .filter(|seen| seen.contains(' ') && !seen.starts_with("not yet")),
    })
}

/// `CVE-2019-16884, CVE-2019-19921 (runc, crun): mechanism`, or `CVE-2019-19921 (runc), the race: mechanism`
fn advisories_of(heading: &str) -> Option<(Vec<String>, &str)> {
    let (ids, rest) = heading.split_once(" (")?;
    let (_projects, mechanism) = rest.split_once(')')?;
    let ids: Vec<String> = ids.split(", ").map(str::to_owned).collect();
    ids.iter().all(|id| is_id(id)).then_some((ids, mechanism.trim_start_matches([':', ',', ' '])))
}

fn is_id(word: &str) -> bool {
    (word.starts_with("CVE-") || word.starts_with("GHSA-")) && !word.contains(' ')
}

/// The advisory that a test is named after.
fn advisory_of(test: &str) -> Option<String> {
    let words: Vec<&str> = test.split('_').collect();
    match words.as_slice() {
        ["cve", year, number, ..] => Some(format!("CVE-{year}-{number}")),
        ["ghsa", a, b, c, ..] => Some(format!("GHSA-{a}-{b}-{c}")),
        _ => None,
    }
}

/// What is wrong with the tests, or with the list: an advisory without a test, a test without a comment.
pub(super) fn problems(advisories: &[Advisory], attacks: &[Attack]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut known = BTreeSet::new();
    for Advisory { id, without, .. } in advisories {
        if !is_id(id) || !known.insert(id.as_str()) {
            problems.push(format!("{ADVISORIES}: {id} is no advisory, or there twice"));
        }
        let is_played = attacks.iter().any(|attack| attack.advisories.contains(id));
        match (is_played, without) {
            (false, None) => problems.push(format!("{id} has no test")),
            (true, Some(_)) => problems.push(format!("{id} has a test, and a reason why not")),
            _ => {}
        }
    }
    for Attack { test, file, advisories, mechanism, seen } in attacks {
        let mut wrong = |what: &str| problems.push(format!("{}: {test} {what}", file.display()));
        for id in advisories.iter().filter(|id| !known.contains(id.as_str())) {
            wrong(&format!("plays {id}, which is not in {ADVISORIES}"));
        }
        if mechanism.is_empty() {
            wrong("has no comment \"CVE-… (project): mechanism.\" directly above it");
        }
        if !advisories.is_empty() && advisory_of(test).is_none_or(|id| !advisories.contains(&id)) {
            wrong("is not named after an advisory of its comment");
        }
        if !advisories.is_empty() && seen.is_none() {
            wrong(&format!("doesn't say how it was {}", SEEN.to_lowercase().trim_end_matches(':')));
        }
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The bars keep these lines from being taken for this file's own.
    const SOURCE: &str = "
        | /// CVE-2019-5736, CVE-2016-9962 (runc, others): the binary was
        | /// overwritten.
        | ///
        | /// More words.
        | /// Seen to fail: against a peer
        | /// of 2018.
        | #[test]
        | fn cve_2019_5736_the_binary() {
        | }
        | /// A helper.
        | fn helper() {}
        | /// Attack: noise.
        | fn noise() {}
        | /// `..` (crun's hardening): leads out.
        | /// Seen to fail: with dots.
        | fn dots() {}
        | /// CVE-2019-5736 (runc), the race: again.
        | /// Seen to fail: not yet.
        | fn cve_2019_5736_race() {}
        | /// Seen to fail: with nothing else.
        | fn two_words() {}
        | fn ghsa_7ww5_4wqc_m92c_x(text in \"a\") {}
        | /// Not directly above.
        | let x;
        | fn plain<T>() {}
    ";

    fn scanned() -> Vec<Attack> {
        scan(&SOURCE.replace('|', ""), Path::new("a.rs"))
    }

    fn row(id: &str, without: Option<&str>) -> Advisory {
        let (project, mechanism) = ("runc".to_owned(), "m".to_owned());
        Advisory { id: id.to_owned(), project, mechanism, without: without.map(str::to_owned) }
    }

    #[test]
    fn comments_are_read() {
        let [binary, noise, dots, race, words, powercap] =
            <[Attack; 6]>::try_from(scanned()).unwrap();
        assert_eq!(binary.advisories, ["CVE-2019-5736", "CVE-2016-9962"]);
        assert_eq!(binary.mechanism, "the binary was overwritten.");
        assert_eq!(binary.seen.as_deref(), Some("against a peer of 2018."));
        assert_eq!((noise.test.as_str(), noise.mechanism.as_str()), ("noise", "noise."));
        assert!(noise.advisories.is_empty() && noise.seen.is_none());
        assert_eq!(dots.mechanism, "`..` (crun's hardening): leads out.");
        assert!(dots.advisories.is_empty() && dots.seen.as_deref() == Some("with dots."));
        assert_eq!(race.advisories, ["CVE-2019-5736"]);
        assert_eq!(race.mechanism, "the race: again.");
        assert_eq!(words.mechanism, "two words");
        assert_eq!(powercap.advisories, ["GHSA-7ww5-4wqc-m92c"]);
        assert!(powercap.mechanism.is_empty());
    }

    #[test]
    fn paths_of_tests() {
        for (file, path) in [
            ("shim/tests/task/attacks/access.rs", "access::noise"),
            ("runtime-cli/tests/users.rs", "noise"),
            ("runtime-core/src/spec/default.rs", "tests::noise"),
        ] {
            let mut noise = scanned().remove(1);
            noise.file = PathBuf::from(file);
            assert_eq!(noise.path(), path);
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let list =
            [row("CVE-2019-5736", None), row("CVE-2020-1", None), row("CVE-2020-2", Some("x"))];
        let problems = problems(&list, &scanned());
        assert_eq!(
            problems,
            [
                "CVE-2020-1 has no test",
                "a.rs: cve_2019_5736_the_binary plays CVE-2016-9962, which is not in \
                 conformance/security/advisories.toml",
                "a.rs: cve_2019_5736_race doesn't say how it was seen to fail",
                "a.rs: ghsa_7ww5_4wqc_m92c_x plays GHSA-7ww5-4wqc-m92c, which is not in \
                 conformance/security/advisories.toml",
                "a.rs: ghsa_7ww5_4wqc_m92c_x has no comment \"CVE-… (project): mechanism.\" directly \
                 above it",
                "a.rs: ghsa_7ww5_4wqc_m92c_x doesn't say how it was seen to fail",
            ]
        );
        let excused = [row("CVE-2019-5736", Some("no reason")), row("CVE-2019-5736", None)];
        let problems = super::problems(&excused, &scanned());
        assert!(problems.contains(&"CVE-2019-5736 has a test, and a reason why not".to_owned()));
        assert!(problems.iter().any(|problem| problem.contains("there twice")));
    }

    /// None is forgotten, and none is misspelt.
    #[test]
    fn every_advisory_has_its_test() {
        let problems = problems(&advisories().unwrap(), &attacks().unwrap());
        assert!(problems.is_empty(), "\n{}", problems.join("\n"));
    }
}
