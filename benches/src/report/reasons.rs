//! Why targets were missed: words that a regenerated report keeps.

/// The text below the heading `## ID`, as one paragraph or several.
pub(super) fn of<'a>(text: &'a str, id: &str) -> Option<&'a str> {
    let reason = sections(text).find(|(heading, _)| *heading == id)?.1;
    (!reason.is_empty()).then_some(reason)
}

pub(super) fn sections(text: &str) -> impl Iterator<Item = (&str, &str)> {
    text.split("\n## ").skip(1).map(|section| {
        let (heading, reason) = section.split_once('\n').unwrap_or((section, ""));
        (heading.trim(), reason.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::super::targets::TARGETS;
    use super::*;

    #[test]
    fn a_reason_is_found_by_its_heading() {
        let text = "<!-- about -->\n\n## run\n\nThe clone.\nIt waits.\n\n## exec\n";
        assert_eq!(of(text, "run"), Some("The clone.\nIt waits."));
        assert_eq!(of(text, "exec"), None);
        assert_eq!(of(text, "ru"), None);
    }

    #[test]
    fn every_reason_is_for_a_target() {
        for (heading, _) in sections(super::super::REASONS) {
            assert!(TARGETS.iter().any(|target| target.id == heading), "{heading}");
        }
    }
}
