//! Writes docs/security.md: the advisories and the tests that play them, as the sources have them, and
//! what came out of those, as docs/security/*.json has it.

mod page;
mod record;
mod source;

use std::collections::BTreeMap;
use std::fs;

use crate::cache::repository;
use crate::failure::{Context, Result};
use record::{Fuzzing, Record};
pub(crate) use record::{Run, record};
use source::{Advisory, Attack};

const CHANGELOG: &str = "CHANGELOG.md";

const WRITTEN: &str = "docs/security.md";

/// Writes the page.
pub(crate) fn write() -> Result<()> {
    let now = Now::read()?;
    for problem in source::problems(&now.advisories, &now.attacks) {
        crate::console::complain(problem);
    }
    let path = repository().join(WRITTEN);
    fs::write(&path, page::page(&now)).context(path.display())?;
    crate::console::line(format_args!(
        "{}: {} advisories, {} tests, {} records",
        path.display(),
        now.advisories.len(),
        now.attacks.len(),
        now.records.len()
    ));
    Ok(())
}

/// What the repository has at this moment.
struct Now {
    advisories: Vec<Advisory>,
    attacks: Vec<Attack>,
    records: Vec<Record>,
    fuzzing: BTreeMap<String, Fuzzing>,
    changelog: String,
}

impl Now {
    fn read() -> Result<Self> {
        Ok(Self {
            advisories: source::advisories()?,
            attacks: source::attacks()?,
            records: record::kept()?,
            fuzzing: record::fuzzing()?,
            changelog: fs::read_to_string(repository().join(CHANGELOG)).context(CHANGELOG)?,
        })
    }
}

/// What libtest has to be told for the tests that play attacks, and for nothing else.
pub(crate) fn tests() -> Result<Vec<String>> {
    Ok(source::attacks()?.iter().map(Attack::path).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Who changes an attack's comment, the list, a record or the changelog writes the page again.
    #[test]
    fn the_page_is_what_the_repository_says() {
        let now = Now::read().unwrap();
        let written = fs::read_to_string(repository().join(WRITTEN)).unwrap();
        let page = page::page(&now);
        let first = page.lines().zip(written.lines()).find(|(now, written)| now != written);
        assert!(
            page == written,
            "{WRITTEN} is of another state: cargo run -p hoist-conformance -- security\n{first:#?}"
        );
        for Attack { test, .. } in &now.attacks {
            assert_ne!(
                page::of_hoist(test, &now.records),
                page::NOT_RUN,
                "{test}: make security-report"
            );
        }
    }
}
