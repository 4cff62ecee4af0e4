//! TAP (testanything.org), as bats and the OCI validation programs print it.

use crate::results::{Outcome, Test};

/// Every test of a bats file. `titles` are those it holds: of one that has no line in the output,
/// it can be said that it was not run.
pub(crate) fn bats(file: &str, output: &str, titles: &[String], timed_out: bool) -> Vec<Test> {
    let mut tests: Vec<Test> = Vec::new();
    for line in output.lines().map(str::trim_end) {
        if let Some((passed, title, directive)) = result(line) {
            let outcome = match directive.strip_prefix("skip") {
                Some(reason) if passed => Outcome::Skipped(reason.trim().to_owned()),
                _ if passed => Outcome::Passed,
                _ => Outcome::Failed(directive.to_owned()),
            };
            tests.push(Test::new(format!("{file}/{title}"), outcome));
        } else if let (Some(text), Some(Test { outcome: Outcome::Failed(reason), .. })) =
            (line.strip_prefix('#'), tests.last_mut())
        {
            // Where it failed; what the programs printed before that comes later.
            let text = text.trim();
            if text.starts_with('`') || reason.is_empty() {
                *reason = text.to_owned();
            }
        }
    }
    let why = if timed_out { "not run: the time was over" } else { "not run" };
    for title in titles {
        let name = format!("{file}/{title}");
        if !tests.iter().any(|test| test.name == name) {
            tests.push(Test::new(name, Outcome::Failed(why.to_owned())));
        }
    }
    tests
}

/// `ok 1 title # directive`, or `not ok …`.
fn result(line: &str) -> Option<(bool, &str, &str)> {
    let (passed, rest) = match line.strip_prefix("not ok ") {
        Some(rest) => (false, rest),
        None => (true, line.strip_prefix("ok ")?),
    };
    let (number, rest) = rest.split_once(' ').unwrap_or((rest, ""));
    number.parse::<u32>().ok()?;
    let (title, directive) = rest.split_once(" # ").unwrap_or((rest, ""));
    Some((passed, title.trim(), directive.trim()))
}

/// An OCI validation program counts as one test. Some print only an empty plan and a diagnostic
/// with an `"error"`: that is a failure, too.
pub(crate) fn validation(program: &str, output: &str, status: i32, timed_out: bool) -> Test {
    let mut passed = 0;
    let mut failures = Vec::new();
    let mut error = None;
    for line in output.lines().map(str::trim) {
        match result(line) {
            Some((_, _, directive)) if directive.to_ascii_uppercase().starts_with("TODO") => {}
            Some((true, ..)) => passed += 1,
            Some((false, title, _)) => failures.push(title.trim_start_matches("- ").to_owned()),
            None if error.is_none() && line.starts_with("\"error\":") => {
                error = line.strip_prefix("\"error\":");
            }
            None => {}
        }
    }
    let outcome = if timed_out {
        Outcome::Failed("the time was over".to_owned())
    } else if let Some(first) = failures.first() {
        Outcome::Failed(format!("{} of {}: {first}", failures.len(), failures.len() + passed))
    } else if status != 0 {
        let last = output.lines().map(str::trim).rfind(|line| !line.is_empty());
        Outcome::Failed(format!("status {status}: {}", last.unwrap_or_default()))
    } else if let (Some(error), 0) = (error, passed) {
        let error = error.trim().trim_matches(['"', ',']);
        Outcome::Failed(error.split("\\n").next().unwrap_or_default().to_owned())
    } else {
        Outcome::Passed
    };
    Test::new(program, outcome)
}

#[cfg(test)]
mod tests {
    use super::{bats, validation};
    use crate::results::Outcome;

    const OUTPUT: &str = "1..5\nok 1 runc run\nok 2 runc run --keep # skip test requires systemd\n\
        not ok 3 runc run [tmpfs]\n# (in test file run.bats, line 20)\n#   `[ \"$status\" -eq 0 ]' failed\n\
        # runc run (status=1)\nnot ok 4 slow # timeout after 120 s\n";

    #[test]
    fn outcomes_of_bats() {
        let titles = ["runc run", "gone"].map(str::to_owned);
        let tests = bats("run", OUTPUT, &titles, true);
        let outcomes: Vec<_> =
            tests.iter().map(|test| (test.name.as_str(), test.outcome.clone())).collect();
        assert_eq!(
            outcomes,
            [
                ("run/runc run", Outcome::Passed),
                ("run/runc run --keep", Outcome::Skipped("test requires systemd".into())),
                ("run/runc run [tmpfs]", Outcome::Failed("`[ \"$status\" -eq 0 ]' failed".into())),
                ("run/slow", Outcome::Failed("timeout after 120 s".into())),
                ("run/gone", Outcome::Failed("not run: the time was over".into())),
            ]
        );
    }

    #[test]
    fn outcomes_of_validation() {
        let of = |output, status| validation("p", output, status, false).outcome;
        assert_eq!(of("TAP version 13\nok 1 - a\n1..1\n", 0), Outcome::Passed);
        assert_eq!(of("1..0\n", 0), Outcome::Passed);
        assert!(
            matches!(of("ok 1 - a\nnot ok 2 - b\n", 0), Outcome::Failed(why) if why == "1 of 2: b")
        );
        let refused = "1..0\n# {\n    \"error\": \"hooks MUST be called\\nRefer to: x\"\n";
        assert!(matches!(of(refused, 0), Outcome::Failed(why) if why == "hooks MUST be called"));
        assert!(matches!(of("ok 1 - a\n", 1), Outcome::Failed(_)));
        assert!(matches!(validation("p", "ok 1\n", 0, true).outcome, Outcome::Failed(_)));
    }
}
