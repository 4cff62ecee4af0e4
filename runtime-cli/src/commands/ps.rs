//! `hoist ps`: the host's ps(1), reduced to the lines of one container.

use std::process::Command;

use crate::failure::{Context, Failure, Result};
use crate::output;
use crate::session::Session;
use crate::table::flags;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let pids = session.container()?.processes()?;
    if session.values.text(&flags::FORMAT) == Some("json") {
        return output::print_json(&pids).map(|()| 0);
    }
    let mut ps = Command::new("ps");
    match session.operands.get(1..) {
        Some(options) if !options.is_empty() => ps.args(options),
        _ => ps.arg("-ef"),
    };
    let ran = ps.output().context("exec ps")?;
    let text = String::from_utf8_lossy(&ran.stdout);
    if !ran.status.success() {
        let complaint = String::from_utf8_lossy(&ran.stderr);
        return Err(Failure::new(format!("ps: {}: {text}{complaint}", ran.status)));
    }
    output::print(&only(&text, &pids)?).map(|()| 0)
}

/// The title of ps's output, and the lines whose PID is one of `pids`.
fn only(text: &str, pids: &[u32]) -> Result<String> {
    let mut lines = text.lines();
    let title = lines.next().unwrap_or_default();
    let column = title
        .split_whitespace()
        .position(|name| name == "PID")
        .ok_or_else(|| Failure::new("couldn't find PID field in ps output"))?;
    let mut out = format!("{title}\n");
    for line in lines.filter(|line| !line.is_empty()) {
        let field = line.split_whitespace().nth(column).unwrap_or_default();
        let pid: u32 = field
            .parse()
            .map_err(|_| Failure::new(format!("unable to parse pid: {field:?} is not a number")))?;
        if pids.contains(&pid) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
UID          PID    PPID  C STIME TTY          TIME CMD
root           1       0  0 09:00 ?        00:00:01 /init
root         123       1  0 09:01 ?        00:00:00 sleep 1
root        1230       1  0 09:01 ?        00:00:00 sleep 123
";

    #[test]
    fn lines_are_chosen_by_the_pid_alone() {
        let chosen = only(OUTPUT, &[123, 99]).unwrap();
        let lines: Vec<_> = chosen.lines().collect();
        assert_eq!(lines.len(), 2);
        assert!(lines[0].starts_with("UID"));
        assert!(lines[1].ends_with("sleep 1"));
        assert_eq!(only(OUTPUT, &[]).unwrap().lines().count(), 1);
    }

    #[test]
    fn output_without_pids_is_refused() {
        let error = only("UID CMD\nroot x\n", &[1]).unwrap_err();
        assert_eq!(error.message(), Some("couldn't find PID field in ps output"));
        assert!(only("PID CMD\nx y\n", &[1]).is_err());
    }
}
