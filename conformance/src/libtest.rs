//! What a test program of Rust's has said, rustc's book "Tests".

use std::collections::BTreeMap;

use crate::results;

/// The outcome of a whole program.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Tests that have passed; those that have skipped themselves are among them.
    pub(crate) passed: Vec<String>,
    /// Tests that have failed, with what they have written.
    pub(crate) failed: BTreeMap<String, String>,
}

/// Reads the standard output of a test program.
///
/// # Errors
/// If it doesn't end in a result that fits what went before: the program has died.
pub(crate) fn parse(output: &str) -> Result<Outcome, String> {
    let mut outcome = Outcome::default();
    let mut current = None;
    let mut result = None;
    for line in output.lines() {
        let header = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----"));
        if let Some(name) = header.filter(|name| outcome.failed.contains_key(*name)) {
            current = Some(name);
        } else if line.starts_with("test result: ") {
            // The last one counts: a test that starts test programs may have printed theirs.
            result = Some(line);
        } else if let Some(text) = current.and_then(|name| outcome.failed.get_mut(name)) {
            text.push_str(line);
            text.push('\n');
        } else if let Some((name, word)) =
            line.strip_prefix("test ").and_then(|line| line.rsplit_once(" ... "))
        {
            match word {
                "ok" => outcome.passed.push(name.to_owned()),
                "FAILED" => drop(outcome.failed.insert(name.to_owned(), String::new())),
                _ => {}
            }
        }
    }
    let (passed, failed) = (outcome.passed.len(), outcome.failed.len());
    match result {
        Some(line) if line.contains(&format!(" {passed} passed; {failed} failed;")) => Ok(outcome),
        Some(line) => Err(format!("{passed} passed and {failed} failed, but it says: {line}")),
        None => Err("it has not come to its end".to_owned()),
    }
}

/// The tests of one program. Those that skipped themselves have passed for libtest; `skips` has a
/// line `SKIP name: reason` for each.
pub(crate) fn tests(
    program: &str,
    output: &str,
    skips: &str,
    timed_out: bool,
) -> Vec<results::Test> {
    use results::Outcome::{Failed, Passed};
    let test = |name: &str, outcome| results::Test::new(format!("{program}/{name}"), outcome);
    let mut tests: Vec<results::Test> = match parse(output) {
        Ok(Outcome { passed, failed }) => {
            let passed = passed.iter().map(|name| test(name, Passed));
            let failed = failed.iter().map(|(name, text)| test(name, Failed(panic(text))));
            passed.chain(failed).collect()
        }
        Err(_) if timed_out => vec![test("(program)", Failed("the time was over".to_owned()))],
        Err(why) => vec![test("(program)", Failed(why))],
    };
    for skip in skipped(program, skips) {
        // By its whole name, or by its last part if that can be no other test's.
        let is_short = !skip.name.contains("::");
        let last = |test: &results::Test| test.name.rsplit(['/', ':']).next().map(str::to_owned);
        let unique = tests.iter().filter(|test| last(test) == last(&skip)).count() == 1;
        let whole = tests.iter_mut().find(|test| {
            let same = test.name == skip.name || (is_short && unique && last(test) == last(&skip));
            same && test.outcome == Passed
        });
        match whole {
            Some(test) => test.outcome = skip.outcome,
            // A part of a test.
            None => tests.push(skip),
        }
    }
    tests
}

/// What lines `SKIP name: reason` say.
pub(crate) fn skipped(program: &str, skips: &str) -> Vec<results::Test> {
    let lines = skips.lines().filter_map(|line| line.strip_prefix("SKIP ")?.split_once(": "));
    let test = |(name, reason): (&str, &str)| {
        let outcome = results::Outcome::Skipped(reason.to_owned());
        results::Test::new(format!("{program}/{name}"), outcome)
    };
    lines.map(test).collect()
}

/// Where a test has panicked, and the first line of why.
fn panic(text: &str) -> String {
    let mut lines = text.lines().skip_while(|line| !line.contains("panicked at "));
    let place = lines.next().and_then(|line| line.split("panicked at ").nth(1)).unwrap_or_default();
    format!("{place} {}", lines.next().unwrap_or_default()).trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\nrunning 4 tests\ntest a::good ... ok\ntest a::bad ... FAILED\n\
        test b ... ignored, run by another\ntest worse ... FAILED\n\nfailures:\n\n\
        ---- a::bad stdout ----\n\nthread 'a::bad' (7) panicked at x.rs:1:2:\n\
        ---- nobody stdout ----\ntest inner ... ok\ntest result: ok. 5 passed; 0 failed; 0 ignored\n\n\
        ---- worse stdout ----\nwords\n\n\nfailures:\n    a::bad\n    worse\n\n\
        test result: FAILED. 1 passed; 2 failed; 1 ignored; 0 measured; 0 filtered out\n";

    #[test]
    fn failures_have_their_own_words() {
        let outcome = parse(OUTPUT).unwrap();
        assert_eq!(outcome.passed, ["a::good"]);
        let names: Vec<&str> = outcome.failed.keys().map(String::as_str).collect();
        assert_eq!(names, ["a::bad", "worse"]);
        assert!(outcome.failed["a::bad"].contains("panicked at"));
        assert!(!outcome.failed["a::bad"].contains("words"));
        assert!(outcome.failed["worse"].contains("words"));
    }

    #[test]
    fn a_program_that_has_died_is_no_success() {
        let cut = OUTPUT.find("\nfailures:").unwrap();
        assert_eq!(parse(&OUTPUT[..cut]), Err("it has not come to its end".to_owned()));
        assert!(parse("").is_err());
        assert!(parse("test a ... ok\ntest result: ok. 2 passed; 0 failed; 0 ignored").is_err());
    }

    #[test]
    fn tests_with_reasons() {
        use results::Outcome::{Failed, Passed, Skipped};
        let output = OUTPUT.replace("test worse ...", "test c::odd ... ok\ntest worse ...");
        let output = output.replace(" 1 passed; 2 failed", " 2 passed; 2 failed");
        let tests = tests("p", &output, "SKIP odd: needs a TPM\nSKIP part: needs luck\n", false);
        let outcome = |name: &str| {
            tests.iter().find(|test| test.name == name).map(|test| test.outcome.clone())
        };
        assert_eq!(tests.len(), 5);
        assert_eq!(outcome("p/a::good"), Some(Passed));
        assert_eq!(outcome("p/c::odd"), Some(Skipped("needs a TPM".into())));
        assert_eq!(outcome("p/part"), Some(Skipped("needs luck".into())));
        assert!(matches!(outcome("p/a::bad"), Some(Failed(why)) if why.starts_with("x.rs:1:2: ")));
        let late = super::tests("p", "", "", true);
        assert_eq!(late.first().unwrap().outcome, Failed("the time was over".into()));
    }
}
