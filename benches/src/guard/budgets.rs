//! `benches/budgets.toml`: what each count may be.

use std::collections::BTreeSet;

use toml_edit::{DocumentMut, Item, Table, Value, value};

use super::Count;
use crate::failure::{Context, Failure, Result};

/// How far below its budget a count is, in percent, when the budget is worth lowering.
const SLACK: u64 = 5;
/// The members of a section that are not budgets.
const TOLERANCE: &str = "tolerance";
const HOST: &str = "controllers";

/// The file, with its comments.
#[derive(Debug)]
pub(super) struct Budgets(DocumentMut);

/// A count beside its budget.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    Within,
    /// So far below the budget that this can be lowered.
    FarBelow,
    /// By so many.
    Over(u64),
    /// The file has no budget for it.
    NoBudget,
}

impl Budgets {
    /// # Errors
    /// What is wrong with the text.
    pub(super) fn parse(text: &str) -> std::result::Result<Self, String> {
        let budgets = Self(text.parse::<DocumentMut>().map_err(|error| error.to_string())?);
        for (section, name, item) in budgets.entries() {
            let (valid, wanted) = match name.as_str() {
                HOST => (item.is_str(), "a text"),
                TOLERANCE => {
                    (number(item).is_some_and(|percent| percent < 100), "percent, from 0 to 99")
                }
                _ => (number(item).is_some(), "a number"),
            };
            if !valid {
                return Err(format!("[{section}] {name}: not {wanted}"));
            }
        }
        Ok(budgets)
    }

    /// Every member of every section: the section's name, its own, the value.
    fn entries(&self) -> Vec<(String, String, &Item)> {
        fn collect<'a>(
            table: &'a Table,
            section: &str,
            entries: &mut Vec<(String, String, &'a Item)>,
        ) {
            for (name, item) in table {
                match item.as_table() {
                    Some(inner) if section.is_empty() => collect(inner, name, entries),
                    Some(inner) => collect(inner, &format!("{section}.{name}"), entries),
                    None => entries.push((section.to_owned(), name.to_owned(), item)),
                }
            }
        }
        let mut entries = Vec::new();
        collect(self.0.as_table(), "", &mut entries);
        entries
    }

    fn get(&self, section: &str, name: &str) -> Option<&Item> {
        let first = Some(self.0.as_item());
        section.split('.').chain([name]).fold(first, |item, name| item?.get(name))
    }

    /// The budget for a count, and what it may be with the section's tolerance.
    fn limit(&self, count: &Count) -> Option<(u64, u64)> {
        let budget = self.get(&count.section, &count.name).and_then(number)?;
        let tolerance = self.get(&count.section, TOLERANCE).and_then(number).unwrap_or(0);
        Some((budget, budget.saturating_add(budget.saturating_mul(tolerance) / 100)))
    }

    pub(super) fn budget(&self, count: &Count) -> Option<u64> {
        self.limit(count).map(|(budget, _)| budget)
    }

    pub(super) fn judge(&self, count: &Count) -> Verdict {
        match self.limit(count) {
            None => Verdict::NoBudget,
            Some((budget, limit)) if count.value > limit => {
                Verdict::Over(count.value.saturating_sub(budget))
            }
            Some((budget, _))
                if count.value.saturating_mul(100) < budget.saturating_mul(100 - SLACK) =>
            {
                Verdict::FarBelow
            }
            Some(_) => Verdict::Within,
        }
    }

    /// What the host has to be like for a section's budgets to mean anything.
    pub(super) fn host(&self, section: &str) -> Option<&str> {
        self.get(section, HOST).and_then(Item::as_str)
    }

    /// Budgets for what isn't counted, `section.name`. Sections that could not be counted here are
    /// taken for right.
    pub(super) fn unknown(&self, counts: &[Count], skipped: &[String]) -> Vec<String> {
        let counted: BTreeSet<_> =
            counts.iter().map(|count| (count.section.as_str(), count.name.as_str())).collect();
        self.entries()
            .into_iter()
            .filter(|(section, name, _)| {
                ![HOST, TOLERANCE].contains(&name.as_str())
                    && !skipped.contains(section)
                    && !counted.contains(&(section.as_str(), name.as_str()))
            })
            .map(|(section, name, _)| format!("[{section}] {name}"))
            .collect()
    }

    /// Makes the counts the budgets. Comments stay, and whatever was not counted.
    pub(super) fn set(&mut self, counts: &[Count]) -> Result<()> {
        for count in counts {
            let number = i64::try_from(count.value).context(&count.name)?;
            self.put(&count.section, &count.name, number.into())?;
        }
        Ok(())
    }

    pub(super) fn set_host(&mut self, section: &str, host: &str) -> Result<()> {
        self.put(section, HOST, host.into())
    }

    fn put(&mut self, section: &str, name: &str, mut new: Value) -> Result<()> {
        let mut table = self.0.as_table_mut();
        for part in section.split('.') {
            table = table
                .entry(part)
                .or_insert_with(|| {
                    let mut table = Table::new();
                    // Without a header of its own unless it has members.
                    table.set_implicit(true);
                    Item::Table(table)
                })
                .as_table_mut()
                .ok_or_else(|| Failure::new(format!("[{section}] is not a section")))?;
        }
        match table.get_mut(name).and_then(Item::as_value_mut) {
            Some(old) => {
                *new.decor_mut() = old.decor().clone();
                *old = new;
            }
            None => {
                table.insert(name, value(new));
            }
        }
        Ok(())
    }
}

impl std::fmt::Display for Budgets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

fn number(item: &Item) -> Option<u64> {
    item.as_integer().and_then(|number| u64::try_from(number).ok())
}

#[cfg(test)]
mod tests {
    use super::{Budgets, Verdict};
    use crate::guard::Count;

    const FILE: &str = "\
# What hoist may cost.

[system-calls.unified]
controllers = \"none\"
run = 100 # up to the user's execve
exec = 50

[instructions]
tolerance = 3
default = 1000
";

    fn count(section: &str, name: &str, value: u64) -> Count {
        Count::new(section, name, value, String::new())
    }

    fn judge(section: &str, name: &str, value: u64) -> Verdict {
        Budgets::parse(FILE).unwrap().judge(&count(section, name, value))
    }

    #[test]
    fn one_more_is_over() {
        assert_eq!(judge("system-calls.unified", "run", 100), Verdict::Within);
        assert_eq!(judge("system-calls.unified", "run", 101), Verdict::Over(1));
    }

    #[test]
    fn a_tolerance_is_for_its_section() {
        assert_eq!(judge("instructions", "default", 1030), Verdict::Within);
        assert_eq!(judge("instructions", "default", 1031), Verdict::Over(31));
    }

    #[test]
    fn far_below_says_so() {
        assert_eq!(judge("system-calls.unified", "run", 95), Verdict::Within);
        assert_eq!(judge("system-calls.unified", "run", 94), Verdict::FarBelow);
        assert_eq!(judge("system-calls.unified", "run", 0), Verdict::FarBelow);
    }

    #[test]
    fn a_count_without_a_budget() {
        assert_eq!(judge("system-calls.unified", "state", 1), Verdict::NoBudget);
        assert_eq!(judge("system-calls.hybrid", "run", 1), Verdict::NoBudget);
        assert_eq!(judge("crates", "hoist-cli", 1), Verdict::NoBudget);
    }

    #[test]
    fn a_budget_without_a_count() {
        let budgets = Budgets::parse(FILE).unwrap();
        let counts = [count("system-calls.unified", "run", 1)];
        assert_eq!(
            budgets.unknown(&counts, &[]),
            ["[system-calls.unified] exec", "[instructions] default"]
        );
        let skipped = ["instructions".to_owned()];
        assert_eq!(budgets.unknown(&counts, &skipped), ["[system-calls.unified] exec"]);
    }

    #[test]
    fn written_with_its_comments() {
        let mut budgets = Budgets::parse(FILE).unwrap();
        budgets
            .set(&[
                count("system-calls.unified", "run", 90),
                count("system-calls.unified", "state", 20),
                count("system-calls.hybrid", "run", 200),
                count("crates", "hoist-cli", 40),
            ])
            .unwrap();
        budgets.set_host("system-calls.unified", "hugetlb").unwrap();
        let text = budgets.to_string();
        assert_eq!(
            text,
            "\
# What hoist may cost.

[system-calls.unified]
controllers = \"hugetlb\"
run = 90 # up to the user's execve
exec = 50
state = 20

[system-calls.hybrid]
run = 200

[instructions]
tolerance = 3
default = 1000

[crates]
hoist-cli = 40
"
        );
        assert_eq!(Budgets::parse(&text).unwrap().to_string(), text);
    }

    #[test]
    fn what_is_no_number() {
        for text in [
            "[a]\nb = -1",
            "[a]\nb = \"1\"",
            "[a]\nb = 1.5",
            "[a]\ntolerance = 100",
            "[a]\ncontrollers = 1",
        ] {
            assert!(Budgets::parse(text).is_err(), "{text}");
        }
        assert!(Budgets::parse("[a").is_err());
    }
}
