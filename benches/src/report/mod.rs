//! The report: docs/performance.md with its plots, and the README's lines on speed, all made from the
//! results and from nothing else, so that no figure drifts.

mod command;
mod merge;
mod page;
mod phases;
mod plot;
mod readme;
mod reasons;
mod statistics;
mod tables;
mod targets;

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

pub(crate) use command::command;

use crate::failure::{Context, Failure, Result};
use crate::results::{Curve, Group, Results, Series};
use crate::statistics::median;
use plot::Bar;
use statistics::ratio;
use targets::figure;

/// What is said in place of a figure.
const UNMEASURED: &str = "not measured";
/// What benches/shim printed, beside the plots.
const SHIM: &str = "shim.txt";
/// Why targets were missed.
const REASONS: &str = include_str!("words/reasons.md");

/// Writes `performance.md` and `performance/*.svg` into `docs`, and the README's lines beside it.
/// `shim` is what benches/shim printed; it is kept beside the plots, so that a later report has it too.
/// The result names the files written.
fn write(results: &Results, shim: Option<&str>, docs: &Path) -> Result<Vec<PathBuf>> {
    let readme = docs.parent().unwrap_or(Path::new("")).join("README.md");
    let text = fs::read_to_string(&readme).context(readme.display())?;
    let text = readme::rewritten(&text, results)
        .map_err(|missing| Failure::new(format!("{}: {missing}", readme.display())))?;
    let dir = docs.join("performance");
    fs::create_dir_all(&dir).context(dir.display())?;
    let shim = match shim {
        Some(shim) => Some((dir.join(SHIM), shim.to_owned())),
        None => kept(dir.join(SHIM))?,
    };
    let plots = plots(results);
    let page = page::page(results, &plots, shim.as_ref().map(|(_, text)| text.as_str()));
    remove_stale(&dir, &plots)?;

    let mut files: Vec<(PathBuf, String)> =
        plots.into_iter().map(|plot| (dir.join(plot.file()), plot.svg)).collect();
    files.extend(shim);
    files.push((docs.join("performance.md"), page));
    files.push((readme, text));
    for (path, content) in &files {
        fs::write(path, content).context(path.display())?;
    }
    Ok(files.into_iter().map(|(path, _)| path).collect())
}

fn kept(path: PathBuf) -> Result<Option<(PathBuf, String)>> {
    match fs::read_to_string(&path) {
        Ok(text) => Ok(Some((path, text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).context(path.display()),
    }
}

/// A plot that is made no more would show figures of another day.
fn remove_stale(dir: &Path, plots: &[Plot]) -> Result<()> {
    for entry in fs::read_dir(dir).context(dir.display())? {
        let path = entry.context(dir.display())?.path();
        let made = plots.iter().any(|plot| path.file_name() == Some(plot.file().as_ref()));
        if path.extension().is_some_and(|ending| ending == "svg") && !made {
            fs::remove_file(&path).context(path.display())?;
        }
    }
    Ok(())
}

/// One file of docs/performance.
struct Plot {
    name: String,
    /// For those who don't see it.
    about: String,
    svg: String,
}

impl Plot {
    fn file(&self) -> String {
        format!("{}.svg", self.name)
    }
}

const LIFECYCLE: [&str; 10] = [
    "run-minimal",
    "run-default",
    "run-seccomp",
    "create",
    "start",
    "state",
    "exec",
    "kill",
    "delete",
    "delete-force",
];

/// All plots that there are figures for.
fn plots(results: &Results) -> Vec<Plot> {
    let mut plots: Vec<Plot> = run(results).into_iter().collect();
    plots.extend(["unified", "hybrid"].iter().filter_map(|view| lifecycle(results, view)));
    plots.extend(phases::plots(results));
    plots.extend(results.curves.iter().map(curve));
    plots
}

/// The main plot: how long a container takes from its start to its removal.
fn run(results: &Results) -> Option<Plot> {
    let group = main_group(results)?;
    let crun = group.median("crun");
    let mut bars: Vec<Bar> = group
        .series
        .iter()
        .filter_map(|series| {
            let value = median(&series.samples)?;
            let beside = crun.and_then(|crun| ratio(value, crun));
            let remark = match beside {
                Some(beside) if series.runtime != "crun" => format!("{beside:.2} × crun"),
                _ => String::new(),
            };
            Some(Bar {
                runtime: series.runtime.clone(),
                label: results.label_with_version(&series.runtime),
                value,
                figure: format!("{} {}", figure(value), group.unit),
                remark,
            })
        })
        .collect();
    bars.sort_by(|a, b| a.value.total_cmp(&b.value));
    let count = group.series.iter().map(|series| series.samples.len()).max()?;
    let subtitle = format!(
        "medians of {count} interleaved rounds, default `spec` configuration, {}",
        view(&group.environment)
    );
    let title = "Create, start and remove a container: run /bin/true";
    Some(Plot {
        name: "run".to_owned(),
        about: format!("Bars: {}", said(&bars)),
        svg: plot::bars(title, &subtitle.replace('`', ""), &bars),
    })
}

fn said(bars: &[Bar]) -> String {
    let said: Vec<String> =
        bars.iter().map(|bar| format!("{} {}", bar.label, bar.figure)).collect();
    said.join(", ")
}

/// `run` of the default configuration, best on cgroup v2.
fn main_group(results: &Results) -> Option<&Group> {
    results.group("run-default", "unified").or_else(|| results.group("run-default", "hybrid"))
}

fn lifecycle(results: &Results, environment: &str) -> Option<Plot> {
    let rows: Vec<plot::Row> = LIFECYCLE
        .iter()
        .filter_map(|id| {
            let group = results.group(id, environment)?;
            let crun = group.median("crun")?;
            let beside = |name| group.median(name).and_then(|value| ratio(value, crun));
            Some(plot::Row {
                label: short(id).to_owned(),
                hoist: beside("hoist"),
                rival: beside("crun-static"),
                far: beside("runc"),
                target: targets::beside_crun(id, environment),
            })
        })
        .collect();
    let any = !rows.is_empty();
    let title = "Time of each command, as a ratio to crun's";
    let subtitle = format!("medians of one run; crun is 1; {}", view(environment));
    any.then(|| Plot {
        name: format!("ratios-{environment}"),
        about: format!("Bars: each command's time as a ratio to crun's, {environment}"),
        svg: plot::ratios(title, &subtitle, &rows),
    })
}

fn short(id: &str) -> &str {
    match id {
        "run-minimal" => "run, minimal",
        "run-default" => "run",
        "run-seccomp" => "run, seccomp profile",
        "delete-force" => "delete --force, running",
        other => other,
    }
}

fn curve(curve: &Curve) -> Plot {
    let title = curve.title.replace('`', "");
    Plot {
        name: format!("{}-{}", curve.id, curve.environment),
        about: format!("Lines: {title}"),
        svg: plot::lines(curve, &title, &view(&curve.environment), label),
    }
}

/// An environment, for people.
fn view(environment: &str) -> String {
    match environment {
        "unified" => "cgroup v2 (unified)".to_owned(),
        "hybrid" => "cgroup v1 (hybrid)".to_owned(),
        other => other.to_owned(),
    }
}

/// A runtime's name, for people.
fn label(runtime: &str) -> String {
    match runtime {
        "floor" => "the floor",
        "floor-in-process" => "the floor, less its own start",
        "crun-static" => "crun, static",
        "library" => "hoist, in-process",
        "library-1gb" => "hoist, in-process, 1 GB resident",
        other => other,
    }
    .to_owned()
}

impl Results {
    fn group(&self, id: &str, environment: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.id == id && group.environment == environment)
    }

    /// `crun 1.28, static`: the number is the word after `version`, or the last, without what a
    /// distribution has added to it.
    fn label_with_version(&self, runtime: &str) -> String {
        let known = self.runtimes.iter().find(|known| known.name == runtime);
        let words: Vec<&str> =
            known.map_or("", |known| &known.version).split_whitespace().collect();
        let after = words.iter().skip_while(|word| **word != "version").nth(1);
        let number = after.or(words.last()).and_then(|word| word.split('+').next());
        match (runtime, number) {
            ("floor", _) | (_, None) => label(runtime),
            ("crun-static", Some(version)) => format!("crun {version}, static"),
            (name, Some(version)) => format!("{name} {version}"),
        }
    }
}

impl Group {
    fn series(&self, runtime: &str) -> Option<&Series> {
        self.series.iter().find(|series| series.runtime == runtime)
    }

    fn median(&self, runtime: &str) -> Option<f64> {
        median(&self.series(runtime)?.samples)
    }
}

#[cfg(test)]
mod tests;
