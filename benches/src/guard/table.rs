//! What was counted, as people read it.

use std::fmt::Write;

use super::budgets::{Budgets, Verdict};
use super::{Count, Counted};

/// A line for each count, below a line for each section.
pub(super) fn table(budgets: &Budgets, counted: &Counted) -> String {
    let mut text = format!("{:<28}{:>12}{:>12}\n", "", "budget", "counted");
    let mut section = "";
    for count in &counted.counts {
        if count.section != section {
            section = &count.section;
            let _ = writeln!(text, "{}", title(section));
        }
        let budget = budgets.budget(count).map_or_else(|| "none".to_owned(), grouped);
        let _ = writeln!(
            text,
            "  {:<26}{budget:>12}{:>12}   {}",
            count.name,
            grouped(count.value),
            remark(budgets, count)
        );
    }
    text.truncate(text.trim_end().len());
    text
}

fn title(section: &str) -> String {
    match section.split_once('.') {
        Some((what, view)) => format!("{}, {view}", what.replace('-', " ")),
        None => section.replace('-', " "),
    }
}

fn remark(budgets: &Budgets, count: &Count) -> String {
    let varies = match count.up_to {
        Some(most) => format!(" (up to {} in other rounds)", grouped(most)),
        None => String::new(),
    };
    let verdict = match budgets.judge(count) {
        Verdict::Within => "ok".to_owned(),
        Verdict::FarBelow => "ok; the budget can be lowered".to_owned(),
        Verdict::Over(by) => format!("OVER by {}", grouped(by)),
        Verdict::NoBudget => "NO BUDGET".to_owned(),
    };
    verdict + &varies
}

/// A number with its digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.char_indices() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_can_be_read() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345_678, "12,345,678")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn each_count_has_a_line() {
        let budgets =
            Budgets::parse("[system-calls.unified]\nrun = 10\nexec = 9\nkill = 100\n").unwrap();
        let count = |name, value| Count::new("system-calls.unified", name, value, String::new());
        let mut counts = vec![count("run", 10), count("exec", 10), count("kill", 7), count("x", 1)];
        counts[0].up_to = Some(11);
        let table = table(&budgets, &Counted { counts, ..Counted::default() });
        let lines: Vec<_> = table
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "budget counted",
                "system calls, unified",
                "run 10 10 ok (up to 11 in other rounds)",
                "exec 9 10 OVER by 1",
                "kill 100 7 ok; the budget can be lowered",
                "x none 1 NO BUDGET",
            ]
        );
    }
}
