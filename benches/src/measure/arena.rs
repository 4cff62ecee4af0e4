//! The place where a view's measurements are made: its mounts, its containers, and their removal.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, Signal, WaitOptions};

use crate::bundles::{Bundles, Config};
use crate::command::{self, Orphan};
use crate::failure::{Context, Failure, Result};
use crate::job::{Effort, Job, Part, Peer, View};
use crate::{console, floor, view};

#[derive(Debug)]
pub(crate) struct Arena {
    job: Job,
    bundles: Bundles,
    /// On a tmpfs, as a host's /run is.
    state: PathBuf,
    containers: AtomicU32,
}

impl Arena {
    /// Makes the view in this process's mount namespace, which has to be its own.
    pub(crate) fn enter(job: Job) -> Result<Self> {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))
            .context("PR_SET_PDEATHSIG")?;
        match job.view {
            View::Unified => view::unified()?,
            View::Hybrid => view::hybrid()?,
        }
        let state = job.directory.join("state");
        fs::create_dir_all(&state).context(state.display())?;
        mount("hoist-bench", &state, "tmpfs", MountFlags::empty(), Some(c"mode=755"))
            .context(state.display())?;
        // The containers' processes become our children, whatever becomes of their runtimes.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
            .context("PR_SET_CHILD_SUBREAPER")?;
        let bundles = Bundles::at(&job.directory);
        Ok(Self { job, bundles, state, containers: AtomicU32::new(0) })
    }

    pub(crate) fn view(&self) -> View {
        self.job.view
    }

    pub(crate) fn parts(&self) -> &[Part] {
        &self.job.parts
    }

    pub(crate) fn effort(&self) -> &Effort {
        &self.job.effort
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.job.directory
    }

    pub(crate) fn bundles(&self) -> &Bundles {
        &self.bundles
    }

    /// Everything that can run a container once.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Peer> {
        self.job.peers.iter()
    }

    /// Those with the commands of a runtime.
    pub(crate) fn runtimes(&self) -> impl Iterator<Item = &Peer> {
        self.all().filter(|peer| !peer.is_floor())
    }

    /// An id that was never used. Cgroups are named after it.
    pub(crate) fn id(&self) -> String {
        let number = self.containers.fetch_add(1, Ordering::Relaxed);
        format!("{}{number}", prefix())
    }

    /// A runtime's command.
    pub(crate) fn command(&self, peer: &Peer, arguments: &[&str]) -> Command {
        let mut command = self.quiet(&peer.path);
        command.arg("--root").arg(self.root(peer)).args(arguments);
        command
    }

    /// `run` of /bin/true from beginning to end: what every peer can do.
    pub(crate) fn once(&self, peer: &Peer, config: Config) -> Result<Command> {
        if peer.is_floor() {
            return self.floor(peer, config, false);
        }
        let bundle = self.bundles.once(config);
        Ok(self.command(peer, &["run", "--bundle", text(&bundle)?, &self.id()]))
    }

    /// The floor makes a container that is the same as others make of this configuration; if `clocked`,
    /// it prints its phases.
    pub(crate) fn floor(&self, peer: &Peer, config: Config, clocked: bool) -> Result<Command> {
        let mut command = self.quiet(&peer.path);
        command.args(clocked.then_some("--phases")).arg(self.bundles.root());
        command.arg(floor::cgroups(&self.id()).context(view::CGROUPS)?);
        match config {
            Config::Minimal => command.arg("minimal"),
            Config::Default => command.arg("default"),
            Config::Seccomp => command.arg("default").arg(self.bundles.filter()),
        };
        Ok(command)
    }

    /// `create` or `run --detach` of a bundle, with the process id in a file.
    pub(crate) fn detached(
        &self,
        peer: &Peer,
        command: &[&str],
        bundle: &Path,
        id: &str,
    ) -> Result<Command> {
        let pid_file = self.pid_file(id);
        let options = ["--bundle", text(bundle)?, "--pid-file", text(&pid_file)?, id];
        Ok(self.command(peer, &[command, &options].concat()))
    }

    /// The process of a container that was made by [`Self::detached`].
    pub(crate) fn process(&self, id: &str) -> Result<Orphan> {
        let path = self.pid_file(id);
        let text = fs::read_to_string(&path).context(path.display())?;
        fs::remove_file(&path).context(path.display())?;
        Orphan::new(text.trim().parse().context(path.display())?)
    }

    /// Where errors of commands go that are not timed.
    pub(crate) fn errors(&self) -> PathBuf {
        self.state.join("errors")
    }

    /// Where a runtime keeps its containers.
    pub(crate) fn root(&self, peer: &Peer) -> PathBuf {
        self.state.join(&peer.name)
    }

    /// A directory for a measurement's own purposes, on the tmpfs.
    pub(crate) fn scratch(&self, name: &str) -> Result<PathBuf> {
        let path = self.state.join(name);
        fs::create_dir_all(&path).context(path.display())?;
        Ok(path)
    }

    /// A command that says nothing and is told nothing.
    pub(crate) fn quiet(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .env_clear()
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        command
    }

    /// Removes the containers that a runtime has left, after a failure for instance.
    pub(crate) fn sweep(&self, peer: &Peer) {
        for entry in fs::read_dir(self.root(peer)).into_iter().flatten().flatten() {
            if let Some(id) = entry.file_name().to_str().filter(|id| id.starts_with(&prefix())) {
                // What it can't remove is dealt with in the end.
                let _ = command::run(&mut self.command(peer, &["delete", "--force", id]));
            }
        }
    }

    /// Leaves nothing: no containers, no processes, no cgroups. The mounts end with the namespace.
    pub(crate) fn clean(&self) -> Result<()> {
        self.runtimes().for_each(|peer| self.sweep(peer));
        end_children()?;
        remove_cgroups(Path::new(view::CGROUPS));
        Ok(())
    }

    fn pid_file(&self, id: &str) -> PathBuf {
        self.state.join(format!("{id}.pid"))
    }
}

/// What every id begins with.
fn prefix() -> String {
    format!("hb-{}-", std::process::id())
}

pub(crate) fn text(path: &Path) -> Result<&str> {
    path.to_str().ok_or_else(|| Failure::new(format!("{}: not UTF-8", path.display())))
}

/// Kills whatever has become our child, and waits for it.
fn end_children() -> Result<()> {
    loop {
        for child in children()? {
            let _ = rustix::process::kill_process(child, Signal::KILL);
        }
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) => {}
            Err(rustix::io::Errno::CHILD) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error).context("wait"),
        }
    }
}

fn children() -> Result<Vec<Pid>> {
    let id = std::process::id();
    let path = format!("/proc/{id}/task/{id}/children");
    let text = fs::read_to_string(&path).context(path)?;
    let numbers = text.split_whitespace().filter_map(|pid| pid.parse().ok());
    Ok(numbers.filter_map(Pid::from_raw).collect())
}

/// Removes those below `directory` that belong to our containers.
fn remove_cgroups(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            continue;
        }
        remove_cgroups(&path);
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.contains(&prefix())
            && let Err(error) = fs::remove_dir(&path)
        {
            console::line(format_args!("{}: {error}", path.display()));
        }
    }
}
