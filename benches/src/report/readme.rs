//! The README's lines on speed, between two marks.

use super::targets::{TARGETS, figure};
use super::{UNMEASURED, main_group, tables::add};
use crate::results::Results;

const BEGIN: &str = "<!-- hoist-bench report writes what follows -->\n";
const END: &str = "<!-- hoist-bench report wrote this -->\n";

/// The text with what is between the marks made anew.
pub(super) fn rewritten(text: &str, results: &Results) -> Result<String, String> {
    let missing = |mark: &str| format!("the mark `{}` is missing", mark.trim_end());
    let (before, rest) = text.split_once(BEGIN).ok_or_else(|| missing(BEGIN))?;
    let (_, after) = rest.split_once(END).ok_or_else(|| missing(END))?;
    Ok(format!("{before}{BEGIN}\n{}\n{END}{after}", lines(results)))
}

fn lines(results: &Results) -> String {
    let mut lines = String::new();
    if let Some(group) = main_group(results) {
        add!(lines, "[![run /bin/true](docs/performance/run.svg)](docs/performance.md)\n");
        let median =
            group.median("hoist").map(|median| format!("{} {}", figure(median), group.unit));
        lines += &bullet(&format!(
            "`run /bin/true`: {}; {} of crun, {} of a static crun, {} of the floor, which is what the \
             kernel alone takes for the same container.",
            median.as_deref().unwrap_or(UNMEASURED),
            of("run", results),
            of("run-static", results),
            of("run-floor", results)
        ));
    }
    let commands = ["create", "start", "state", "exec", "kill", "delete", "delete-force"];
    let ratio = |id: &&str| format!("`{}` {}", id.replace("-force", " --force"), of(id, results));
    let ratios: Vec<String> = commands.iter().map(ratio).collect();
    lines += &bullet(&format!("Beside crun, which is 1: {}.", ratios.join(", ")));
    let group = results.group("at-once-100", "unified");
    let starts = group.and_then(|group| group.median("hoist"));
    lines += &bullet(&format!(
        "100 containers at once: {}, {} times crun's. Peak memory of a command: at most {} of crun's.",
        starts.map_or(UNMEASURED.to_owned(), |starts| format!("{starts:.0} starts per second")),
        of("at-once", results),
        of("memory", results)
    ));
    lines
}

/// An item of a list in lines of 110 characters, as the rest of the README.
fn bullet(text: &str) -> String {
    let mut lines = vec!["*".to_owned()];
    for word in text.split(' ') {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= 110 => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(format!("  {word}")),
        }
    }
    lines.join("\n") + "\n"
}

fn of(id: &str, results: &Results) -> String {
    let outcome =
        TARGETS.iter().find(|target| target.id == id).and_then(|one| one.outcome(results));
    outcome.map_or(UNMEASURED.to_owned(), |outcome| format!("{:.2}", outcome.ratio))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let results = super::super::tests::fixture();
        let text = format!("# a\n\n{BEGIN}old\n{END}\n## b\n");
        let once = rewritten(&text, &results).unwrap();
        assert!(once.starts_with("# a\n\n<!--") && once.ends_with("-->\n\n## b\n"), "{once}");
        assert!(once.contains("`create` 0.") && !once.contains("old"), "{once}");
        assert_eq!(rewritten(&once, &results).unwrap(), once);
        assert!(rewritten("# a\n", &results).unwrap_err().contains("mark"));
    }

    #[test]
    fn the_readme_has_the_marks() {
        let readme = include_str!("../../../README.md");
        assert!(rewritten(readme, &super::super::tests::fixture()).is_ok());
    }
}
