//! The instructions from a configuration to a plan, counted by valgrind's callgrind.

use std::ffi::OsString;
use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use hoist::{Bundle, CreateOptions, Runtime};

use super::{Count, configs};
use crate::command;
use crate::failure::{Context, Failure, Result};

/// How often a plan is compiled; and then twice as often, so that the difference is without the
/// program's start and what is done only once.
const TIMES: u32 = 10;

pub(super) fn count(logs: &Path) -> Result<Vec<Count>> {
    ["default", "docker"]
        .into_iter()
        .map(|name| {
            let (once, _) = instructions(name, TIMES, logs)?;
            let (twice, log) = instructions(name, TIMES * 2, logs)?;
            let each = twice.saturating_sub(once) / u64::from(TIMES);
            let shown_by = format!("callgrind_annotate --inclusive=yes {}", log.display());
            Ok(Count::new("instructions", name, each, shown_by))
        })
        .collect()
}

fn instructions(name: &str, times: u32, logs: &Path) -> Result<(u64, PathBuf)> {
    let log = logs.join(format!("{name}-{times}.callgrind"));
    let program = std::env::current_exe().context("this program")?;
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--quiet"]);
    command.arg(format!("--callgrind-out-file={}", log.display()));
    command.arg(program).args(["guard", "compile", name]).arg(times.to_string());
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command::succeed(&mut command)?;
    let text = fs::read_to_string(&log).context(log.display())?;
    let number = summary(&text)
        .ok_or_else(|| Failure::new(format!("{}: no summary of instructions", log.display())))?;
    Ok((number, log))
}

/// The first cost of the file's `summary:` (Callgrind Format Specification).
fn summary(text: &str) -> Option<u64> {
    let events = text.lines().find_map(|line| line.strip_prefix("events:"))?;
    let costs = text.lines().find_map(|line| line.strip_prefix("summary:"))?;
    // The names of the events are in the order of the costs.
    let position = events.split_whitespace().position(|event| event == "Ir")?;
    costs.split_whitespace().nth(position)?.parse().ok()
}

/// `guard compile CONFIG TIMES`, which is what callgrind looks at.
pub(super) fn compile(words: &[OsString]) -> Result<()> {
    let words: Vec<_> = words.iter().filter_map(|word| word.to_str()).collect();
    let (text, times) = match words.as_slice() {
        ["default", times] => (configs::default()?, times),
        ["docker", times] => (configs::docker()?, times),
        _ => return Err(Failure::new("guard compile: which configuration, how often?")),
    };
    let times: u32 = times.parse().context(times)?;
    let runtime = Runtime::builder().build().context("runtime")?;
    for number in 0..times {
        let text = configs::distinct(&text, number);
        let bundle = Bundle::from_json("/", text).context("load")?;
        let plan = runtime.plan("guard", &bundle, &CreateOptions::new()).context("compile")?;
        black_box(plan);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::configs::{default, distinct, docker};
    use super::summary;

    #[test]
    fn the_summary_of_a_file() {
        let text = "# callgrind format\nversion: 1\npid: 7\n\nevents: Ir\nsummary: 1234567\n\n\
                    ob=(1) /t/hoist-bench\nfl=(1) ???\nfn=(1) main\n0 12\n\ntotals: 1234567\n";
        assert_eq!(summary(text), Some(1_234_567));
        assert_eq!(summary("events: Dr Ir\nsummary: 5 7\n"), Some(7));
    }

    #[test]
    fn a_file_without_one() {
        for text in [
            "",
            "events: Ir\n",
            "summary: 7\n",
            "events: Dr\nsummary: 7\n",
            "events: Ir\nsummary: x\n",
        ] {
            assert_eq!(summary(text), None, "{text}");
        }
    }

    #[test]
    fn configurations_are_valid() {
        for text in [default().unwrap(), docker().unwrap()] {
            let bundle = hoist::Bundle::from_json("/", text).unwrap();
            assert_eq!(bundle.warnings(), &[] as &[String]);
        }
    }

    #[test]
    fn dockers_configuration_is_large_and_has_everything() {
        let text = docker().unwrap();
        assert!((25_000..35_000).contains(&text.len()), "{} bytes", text.len());
        let bundle = hoist::Bundle::from_json("/", text).unwrap();
        let linux = bundle.spec().linux().as_ref().unwrap();
        assert!(linux.seccomp().is_some());
        assert!(linux.resources().as_ref().unwrap().devices().as_ref().unwrap().len() > 7);
        assert!(bundle.spec().mounts().as_ref().unwrap().len() > 9);
    }

    #[test]
    fn distinct_configurations_differ_in_the_profile() {
        let text = docker().unwrap();
        let (one, two) = (distinct(&text, 1), distinct(&text, 2));
        assert_ne!(one, two);
        assert_eq!(one.len(), two.len());
        let errno = |text: &str| {
            let bundle = hoist::Bundle::from_json("/", text).unwrap();
            let seccomp = bundle.spec().linux().as_ref().unwrap().seccomp().clone();
            seccomp.unwrap().default_errno_ret()
        };
        assert_eq!((errno(&one), errno(&two)), (Some(1001), Some(1002)));
    }
}
