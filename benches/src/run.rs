//! `hoist-bench run`: what is compared, and one process for each view of the cgroups.

use std::env;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::args::Options;
use crate::bundles::Bundles;
use crate::failure::{Context, Failure, Result, UNAVAILABLE};
use crate::job::{Effort, Job, Outcome, Part, Peer, View};
use crate::results::Results;
use crate::{command, console, floor, host, sys};

pub(crate) fn run(options: &Options) -> Result<()> {
    if !rustix::process::geteuid().is_root() {
        return Err(Failure::new("run: only root can make containers"));
    }
    // Found out now, not after a quarter of an hour.
    let output = std::path::absolute(&options.output).context(options.output.display())?;
    fs::File::options().append(true).create(true).open(&output).context(output.display())?;
    let directory = Directory::new()?;
    let peers = peers(options, &directory.0)?;
    let mut results = Results {
        command: env::args().collect::<Vec<_>>().join(" "),
        date: host::date(),
        machine: host::machine(),
        runtimes: peers.iter().map(host::describe).collect::<Result<_>>()?,
        groups: Vec::new(),
        curves: Vec::new(),
        phases: Vec::new(),
    };
    sys::remember_signals();
    Bundles::make(&directory.0)?;
    for view in views(options) {
        let outcome = measure(view, options, &peers, &directory.0)?;
        results.groups.extend(outcome.groups);
        results.curves.extend(outcome.curves);
        results.phases.extend(outcome.phases);
    }
    let text = serde_json::to_vec(&results).context("the results")?;
    fs::write(&output, text).context(output.display())?;
    console::line(format_args!("{}: the samples", output.display()));
    Ok(())
}

/// A directory for bundles, results and mount points, which goes away in the end.
#[derive(Debug)]
struct Directory(PathBuf);

impl Directory {
    fn new() -> Result<Self> {
        let path = env::temp_dir().join(format!("hoist-bench-{}", std::process::id()));
        fs::create_dir(&path).context(path.display())?;
        Ok(Self(path))
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // The views' mounts are in their own namespaces: there is none here.
        if let Err(error) = fs::remove_dir_all(&self.0) {
            console::line(format_args!("{}: {error}", self.0.display()));
        }
    }
}

fn views(options: &Options) -> Vec<View> {
    let has_v1 = Path::new("/sys/fs/cgroup/devices/cgroup.procs").exists();
    let wanted = |view: &View| match options.views.as_slice() {
        [] => has_v1 || *view != View::Hybrid,
        named => named.contains(view),
    };
    View::ALL.into_iter().filter(wanted).collect()
}

/// Has a view measured by this program, in a mount namespace of its own: unshare(2) would take along
/// what is still to be done here.
fn measure(view: View, options: &Options, peers: &[Peer], directory: &Path) -> Result<Outcome> {
    let mut effort = if options.quick { Effort::QUICK } else { Effort::FULL };
    effort.rounds = options.rounds.unwrap_or(effort.rounds);
    let parts = if options.parts.is_empty() { Part::ALL.to_vec() } else { options.parts.clone() };
    let directory = directory.to_owned();
    let answer = directory.join("outcome.json");
    let job = Job { view, parts, peers: peers.to_vec(), directory, effort };
    let job = serde_json::to_string(&job).context("the job")?;
    let program = env::current_exe().context("/proc/self/exe")?;
    let mut unshare = Command::new("unshare");
    unshare.args(["--mount", "--propagation", "private"]).arg(program).args(["measure", &job]);
    let status = sys::run_as_heir(&mut unshare).context("unshare")?;
    if sys::interrupted() {
        return Err(command::interrupted());
    }
    if !status.success() {
        return Err(Failure::new(format!("view {}: failed, see above", view.name())));
    }
    let text = fs::read(&answer).context(answer.display())?;
    serde_json::from_slice(&text).context(answer.display())
}

/// The floor, hoist, and what it is compared with. A later name replaces an earlier one.
fn peers(options: &Options, directory: &Path) -> Result<Vec<Peer>> {
    let named = |name: &str| options.runtimes.iter().any(|(other, _)| other == name);
    let wanted = |name: &str| !options.without.iter().any(|other| other == name);
    let mut peers: Vec<Peer> = Vec::new();
    let mut add = |name: &str, path: &Path| -> Result<()> {
        let path = fs::canonicalize(path).context(format_args!("{name}: {}", path.display()))?;
        let peer = Peer { name: name.to_owned(), path };
        match peers.iter_mut().find(|peer| peer.name == name) {
            Some(place) => *place = peer,
            None => peers.push(peer),
        }
        Ok(())
    };
    if wanted("floor") && !named("floor") {
        let path = directory.join("floor");
        fs::write(&path, floor::program()).context(path.display())?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).context(path.display())?;
        add("floor", &path)?;
    }
    if wanted("hoist") && !named("hoist") {
        add("hoist", &hoist()?)?;
    }
    for (name, path) in options.runtimes.iter().filter(|(name, _)| wanted(name)) {
        add(name, path)?;
    }
    for (suite, names) in [("crun-static", &["crun-static"][..]), ("peers", &["crun", "runc"])] {
        let names: Vec<&str> =
            names.iter().copied().filter(|name| wanted(name) && !named(name)).collect();
        if names.is_empty() {
            continue;
        }
        let Some(directory) = built(suite)? else {
            console::line(format_args!("without {}", names.join(" and ")));
            continue;
        };
        for name in names {
            let program = if name == "crun-static" { "crun" } else { name };
            add(name, &directory.join(program))?;
        }
    }
    Ok(peers)
}

fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The newest release binary of this repository.
fn hoist() -> Result<PathBuf> {
    let target = repository().join("target");
    let triples = fs::read_dir(&target).into_iter().flatten().flatten();
    let built = triples.filter_map(|entry| {
        let path = entry.path().join("release/hoist");
        let time = fs::metadata(&path).and_then(|data| data.modified()).ok()?;
        Some((time, path))
    });
    let newest = built.max().map(|(_, path)| path);
    newest.ok_or_else(|| {
        Failure::new("hoist has not been built (make build), and there is no --runtime hoist=PATH")
    })
}

/// Where the product of a script below conformance/suites is; none if it can't be had on this machine.
fn built(suite: &str) -> Result<Option<PathBuf>> {
    let script = repository().join("conformance/suites").join(suite).join("build");
    let status =
        Command::new(&script).stdout(std::io::stderr()).status().context(script.display())?;
    match status.code() {
        Some(0) => {}
        Some(code) if code == i32::from(UNAVAILABLE) => return Ok(None),
        _ => return Err(Failure::new(format!("{} has failed, see above", script.display()))),
    }
    let cache = match (env::var_os("HOIST_CACHE"), env::var_os("XDG_CACHE_HOME")) {
        (Some(directory), _) => PathBuf::from(directory),
        (None, Some(caches)) => Path::new(&caches).join("hoist"),
        (None, None) => {
            Path::new(&env::var_os("HOME").unwrap_or_else(|| "/root".into())).join(".cache/hoist")
        }
    };
    Ok(Some(cache.join(suite)))
}
