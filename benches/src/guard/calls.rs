//! The system calls of hoist's commands, up to the user's program, counted by strace(1).

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_change};
use rustix::process::{WaitOptions, getpid, set_child_subreaper};

use super::strace::{self, Calls};
use super::{Count, Counted, sys};
use crate::bundles::{Bundles, Config};
use crate::command::{self, Orphan};
use crate::failure::{Context, Failure, Result};
use crate::job::View;
use crate::view::{self, CGROUPS};

/// How often everything is counted. What disturbs can only add to a count, so the smallest is right.
const ROUNDS: usize = 3;

/// In a view of the cgroups. Where it can't be had, the counts are skipped.
pub(super) fn count(view: View, hoist: &Path, logs: &Path, counted: &mut Counted) -> Result<()> {
    let section = format!("system-calls.{}", view.name());
    if view == View::Hybrid && !has_v1() {
        counted.skipped.push((section, "no cgroup v1 hierarchies on this machine".to_owned()));
        return Ok(());
    }
    // A thread's mount namespace is its own, and ends with it.
    let counts = std::thread::scope(|scope| {
        let count = || -> Result<_> {
            let host = enter(view)?;
            Ok((host, Place::new(hoist, logs, view)?.count()?))
        };
        scope.spawn(count).join().map_err(|_| Failure::new("the counting thread panicked"))?
    });
    let (host, counts) = counts?;
    counted
        .counts
        .extend(counts.into_iter().map(|count| Count { section: section.clone(), ..count }));
    counted.hosts.push((section, host));
    Ok(())
}

fn has_v1() -> bool {
    Path::new(CGROUPS).join("devices/cgroup.procs").exists()
}

/// Makes the view, for this thread. Returns what the counts in it depend on: the controllers.
fn enter(view: View) -> Result<String> {
    sys::unshare_mounts().context("unshare")?;
    let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    mount_change("/", private).context("make the mounts private")?;
    if has_v1() {
        // For the other view as well: it takes from cgroup2 whatever controllers it has, and which these
        // are depends on what ran here before.
        view::hybrid()?;
    }
    match view {
        View::Hybrid => {
            let mut names = Vec::new();
            for entry in fs::read_dir(CGROUPS).context(CGROUPS)? {
                let entry = entry.context(CGROUPS)?;
                if entry.path().join("cgroup.procs").exists() {
                    names.push(entry.file_name().to_string_lossy().into_owned());
                }
            }
            names.sort();
            Ok(names.join(" "))
        }
        View::Unified => {
            view::unified()?;
            let path = Path::new(CGROUPS).join("cgroup.controllers");
            let controllers = fs::read_to_string(&path).context(path.display())?;
            Ok(if controllers.trim().is_empty() { "none" } else { controllers.trim() }.to_owned())
        }
    }
}

/// Where containers are made. Dropping it removes them and everything else.
struct Place {
    /// The name is of the same length each time: so are the paths, and what is read of them.
    name: String,
    directory: PathBuf,
    bundles: Bundles,
    logs: PathBuf,
}

impl Place {
    fn new(hoist: &Path, logs: &Path, view: View) -> Result<Self> {
        // Not below TMPDIR: a path is resolved with a call for each of its components.
        let name = format!("hoist-guard-{:07}", std::process::id());
        let directory = Path::new("/tmp").join(&name);
        fs::create_dir(&directory).context(directory.display())?;
        let logs = logs.join(view.name());
        // From here on it is removed.
        let place = Self { bundles: Bundles::at(&directory), name, directory, logs };
        fs::create_dir_all(&place.logs).context(place.logs.display())?;
        Bundles::make(&place.directory)?;
        fs::copy(hoist, place.hoist()).context(hoist.display())?;
        Ok(place)
    }

    fn hoist(&self) -> PathBuf {
        self.directory.join("hoist")
    }

    fn count(&self) -> Result<Vec<Count>> {
        // Containers that outlive the command that made them are this process's children then.
        set_child_subreaper(Some(getpid())).context("PR_SET_CHILD_SUBREAPER")?;
        // The first one makes the directories that the others find.
        let once = text(self.bundles.once(Config::Default))?;
        command::succeed(&mut self.command(&["run", "--bundle", &once, &self.name]))?;
        let mut least: Vec<Count> = Vec::new();
        for _ in 0..ROUNDS {
            for (name, calls) in self.round()? {
                self.list(name, &calls)?;
                let value = strace::total(&calls);
                match least.iter_mut().find(|count| count.name == name) {
                    Some(count) => count.again(value),
                    None => least.push(Count::new("", name, value, self.shown_by(name))),
                }
            }
        }
        Ok(least)
    }

    fn shown_by(&self, name: &str) -> String {
        let log = self.logs.join(name);
        format!("cat {}.calls; less {}.strace", log.display(), log.display())
    }

    /// Each command once. What `create` starts goes on after it, up to the user's program, and counts
    /// for it.
    fn round(&self) -> Result<Vec<(&'static str, Calls)>> {
        let id = self.name.as_str();
        let mut all = Vec::new();
        let once = text(self.bundles.once(Config::Default))?;
        all.push(self.traced("run", &["run", "--bundle", &once, id])?);
        let (create, start) = self.create_and_start()?;
        all.extend([("create", create), ("start", start)]);

        let sleeping = text(self.bundles.sleeping(Config::Default))?;
        let pid_file = self.directory.join("pid");
        let create = ["create", "--bundle", &sleeping, "--pid-file", &text(pid_file.clone())?, id];
        command::succeed(&mut self.command(&create))?;
        let pid = fs::read_to_string(&pid_file).context(pid_file.display())?;
        let orphan = Orphan::new(pid.trim().parse().context(pid_file.display())?)?;
        command::succeed(&mut self.command(&["start", id]))?;
        all.push(self.traced("state", &["state", id])?);
        all.push(self.traced("exec", &["exec", id, "/bin/true"])?);
        all.push(self.traced("kill", &["kill", id, "KILL"])?);
        // Whether the process is a zombie or gone is not the same to `delete`.
        orphan.reap()?;
        all.push(self.traced("delete", &["delete", id])?);
        Ok(all)
    }

    /// strace doesn't end before all that it traces has. So one shell makes a container and starts it, and
    /// /bin/true ends it.
    fn create_and_start(&self) -> Result<(Calls, Calls)> {
        let script = "\"$0\" --root \"$1\" create --bundle \"$2\" \"$3\" && exec \"$0\" --root \"$1\" start \"$3\"";
        let mut strace = self.strace("create");
        strace.args(["sh", "-c", script]).arg(self.hoist()).arg(self.state());
        strace.arg(self.bundles.once(Config::Default)).arg(&self.name);
        command::succeed(&mut strace)?;
        reap_all()?;
        let executions = self.executions("create")?;
        let log = |name: &str| self.logs.join(name).with_extension("strace");
        fs::copy(log("create"), log("start")).context(log("start").display())?;
        command::succeed(&mut self.command(&["delete", &self.name]))?;
        match <[Calls; 2]>::try_from(executions) {
            Ok([create, start]) => Ok((create, start)),
            Err(other) => Err(self.unexpected("create", &other)),
        }
    }

    /// Runs a command below strace.
    fn traced<'a>(&self, name: &'a str, arguments: &[&str]) -> Result<(&'a str, Calls)> {
        let mut strace = self.strace(name);
        strace.arg(self.hoist()).arg("--root").arg(self.state()).args(arguments);
        command::succeed(&mut strace)?;
        match <[Calls; 1]>::try_from(self.executions(name)?) {
            Ok([calls]) => Ok((name, calls)),
            Err(other) => Err(self.unexpected(name, &other)),
        }
    }

    fn executions(&self, name: &str) -> Result<Vec<Calls>> {
        let path = self.logs.join(name).with_extension("strace");
        let log = fs::read(&path).context(path.display())?;
        let hoist = self.hoist();
        Ok(strace::executions(&String::from_utf8_lossy(&log), &hoist.to_string_lossy()))
    }

    fn unexpected(&self, name: &str, executions: &[Calls]) -> Failure {
        let path = self.logs.join(name).with_extension("strace");
        Failure::new(format!("{}: hoist was executed {} times", path.display(), executions.len()))
    }

    /// Writes how often each call was made, beside strace's log.
    fn list(&self, name: &str, calls: &Calls) -> Result<()> {
        let mut text = String::new();
        for (call, number) in calls.iter().filter(|(_, number)| **number > 0) {
            let _ = writeln!(text, "{number:>6} {call}");
        }
        let path = self.logs.join(name).with_extension("calls");
        fs::write(&path, text).context(path.display())
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.hoist());
        quiet(&mut command).arg("--root").arg(self.state()).args(arguments);
        command
    }

    fn strace(&self, name: &str) -> Command {
        let mut command = Command::new("strace");
        quiet(&mut command).args(["--follow-forks", "--output"]);
        command.arg(self.logs.join(name).with_extension("strace")).arg("--");
        command
    }

    fn state(&self) -> PathBuf {
        self.directory.join("state")
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // After a failure only: else there is no such container.
        if self.state().join(&self.name).exists() {
            let _ = command::run(&mut self.command(&["delete", "--force", &self.name]));
            let _ = reap_all();
        }
        let _ = fs::remove_dir_all(&self.directory);
    }
}

fn text(path: PathBuf) -> Result<String> {
    path.into_os_string().into_string().map_err(|path| Failure::new(format!("{path:?}: not UTF-8")))
}

/// The environment is nobody's; errors go where ours go.
fn quiet(command: &mut Command) -> &mut Command {
    command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .env_clear()
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
}

/// Waits for the children that others have left to us. All of them have ended.
fn reap_all() -> Result<()> {
    loop {
        match rustix::process::wait(WaitOptions::empty()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(Errno::CHILD) => return Ok(()),
            Err(error) => return Err(error).context("wait"),
        }
    }
}
