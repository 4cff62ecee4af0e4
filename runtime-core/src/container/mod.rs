//! Containers: everything that can be done with one.

pub(crate) mod create;
mod delete;
pub(crate) mod events;
mod exec;
mod exposure;
mod facts;
pub(crate) mod failure;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod idmap_holder;
pub(crate) mod look;
mod lsm;
mod notify;
mod pause;
mod start;
pub(crate) mod state;
mod stats;
mod update;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use oci_spec::runtime::{Process as ProcessSpec, Spec};
use rustix::io::Errno;
use rustix::process::Pid;

use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::Join;
use crate::process::{self, ExitStatus};
use crate::procfs::{Proc, ProcessDir};
use crate::runtime::Shared;
use crate::signal::Signal;
use crate::spawn::{Conversation, Inner};
use crate::state::{ContainerDir, Record, StateDir};
use crate::stdio::Pipes;
use crate::sys::pidfd::{self, Ending, Waited};
use crate::timings::Timings;
use state::{State, Status};

/// A container: created by this program or by another one.
///
/// It holds descriptors, but it is not the container: dropping it changes nothing, and several
/// values, in several programs, may stand for the same one. Each operation looks at its state anew;
/// what changes the state holds the container's lock.
#[derive(Debug)]
pub struct Container {
    shared: Arc<Shared>,
    dir: ContainerDir,
    pidfd: Option<OwnedFd>,
    ending: Ending,
    /// With what the cgroup said then; it may be gone when somebody asks again.
    exit: OnceLock<ExitStatus>,
    /// Held if this value has made it, with the record's `oom_kills_before`.
    cgroup: Option<(Cgroup, u64)>,
    /// With the init that this value has made, until it is started: init listens there, too.
    creation: Mutex<Option<Conversation>>,
    /// What was read last, with what it means.
    config: Mutex<Option<(Vec<u8>, Arc<Spec>)>>,
    pipes: Pipes,
    timings: Timings,
    warnings: Vec<String>,
}

impl Container {
    /// A container as its state directory has it.
    pub(crate) fn load(shared: &Arc<Shared>, id: &str) -> Result<Self> {
        let load = || {
            let not_found = || Error::new(ErrorKind::NotFound, "container does not exist");
            crate::state::validate_id(id)?;
            let root = StateDir::open(&shared.root)?.ok_or_else(not_found)?;
            Self::open(shared, &root, id)
        };
        load().map_err(|error: Error| error.in_operation("load", id))
    }

    fn open(shared: &Arc<Shared>, root: &StateDir, id: &str) -> Result<Self> {
        let dir = root.open_container(id)?;
        Ok(Self {
            shared: shared.clone(),
            dir,
            pidfd: None,
            ending: Ending::default(),
            exit: OnceLock::new(),
            cgroup: None,
            creation: Mutex::default(),
            config: Mutex::default(),
            pipes: Pipes::default(),
            timings: Timings::default(),
            warnings: Vec::new(),
        })
    }

    /// The container's id.
    #[must_use]
    pub fn id(&self) -> &str {
        self.dir.id()
    }

    /// The directory that holds the container's state.
    #[must_use]
    pub fn state_directory(&self) -> &Path {
        self.dir.path()
    }

    /// The state: asked of the kernel, not remembered.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] if the container was deleted meanwhile.
    pub fn state(&self) -> Result<State> {
        let look = || {
            let record = self.dir.record()?.unwrap_or_else(|| Record::unknown(self.id()));
            look::state(&self.shared, &Proc::open()?, &record)
        };
        look().map_err(|error: Error| error.in_operation("state", self.id()))
    }

    /// The configuration that the container was created with.
    ///
    /// # Errors
    /// [`ErrorKind::State`] if it is damaged.
    pub fn spec(&self) -> Result<Spec> {
        self.config().map(|spec| (*spec).clone())
    }

    /// The configuration as it is now. The same text is parsed once: exec is asked after
    /// [`spec`](Self::spec) as a rule.
    fn config(&self) -> Result<Arc<Spec>> {
        let text = self.dir.config()?;
        let mut last = self.config.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, spec)) = last.as_ref().filter(|(known, _)| *known == text) {
            return Ok(spec.clone());
        }
        let spec = Arc::<Spec>::from(crate::spec::recorded(&text)?);
        *last = Some((text, spec.clone()));
        Ok(spec)
    }

    /// The first process's pid in the caller's pid namespace, if it is alive.
    ///
    /// # Errors
    /// As [`state`](Self::state).
    pub fn pid(&self) -> Result<Option<u32>> {
        Ok(Some(self.state()?.pid).filter(|pid| *pid != 0))
    }

    /// A pidfd of the first process, pidfd_open(2): readable once that has ended. `None` if it
    /// was gone when this value was made.
    #[must_use]
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// The caller's ends of the pipes, if [`Stdio::piped`](crate::Stdio::piped) was asked for.
    pub fn pipes(&mut self) -> &mut Pipes {
        &mut self.pipes
    }

    /// What each step of the creation cost, if that was asked for.
    #[must_use]
    pub fn timings(&self) -> &Timings {
        &self.timings
    }

    /// What was done otherwise than asked for: unknown capabilities, and such that could not be
    /// granted.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Sends a signal to the first process. Where the container has no pid namespace of its own,
    /// SIGKILL goes to all its processes: nobody else would end them, not even once the first one
    /// has ended.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if the container is stopped.
    pub fn kill(&self, signal: Signal) -> Result<()> {
        // Without the lock: it changes nothing on disk, and must get through to a container whose
        // own startContainer hook keeps `start` waiting.
        let kill = || {
            let record = self.dir.record()?.unwrap_or_else(|| Record::unknown(self.id()));
            let (status, process) = match signal {
                Signal::KILL => self.look(&record)?,
                _ => look::find(&Proc::open()?, &record)?,
            };
            let shared = signal == Signal::KILL && record.init.is_some() && !record.private_pid;
            if shared {
                let cgroup = self.cgroup_to_kill(&record, status)?;
                if status != Status::Stopped || !cgroup.pids()?.is_empty() {
                    return cgroup.kill_all(signal);
                }
            }
            let process = match (status, process) {
                (Status::Stopped | Status::Creating, _) | (_, None) => {
                    return Err(Error::new(ErrorKind::WrongState, "container not running"));
                }
                (_, Some(process)) => process,
            };
            pidfd::send_signal(process.pidfd.as_fd(), signal.number())?;
            // Any other signal is delivered when the container is resumed.
            if status == Status::Paused && signal == Signal::KILL {
                self.cgroup(&record)?.thaw_to_die()?;
            }
            Ok(())
        };
        kill().map_err(|error: Error| error.in_operation("kill", self.id()))
    }

    /// Sends a signal to every process in the container's cgroup, also if the first one has
    /// ended.
    ///
    /// # Errors
    /// [`ErrorKind::Cgroup`].
    pub fn kill_all(&self, signal: Signal) -> Result<()> {
        let kill = || {
            let (record, status, _) = self.current()?;
            self.cgroup_to_kill(&record, status)?.kill_all(signal)
        };
        kill().map_err(|error: Error| error.in_operation("kill", self.id()))
    }

    /// The pids of all processes in the container's cgroup, as the caller's pid namespace has
    /// them.
    ///
    /// # Errors
    /// [`ErrorKind::Cgroup`].
    pub fn processes(&self) -> Result<Vec<u32>> {
        let list = || {
            let record = self.dir.record()?.unwrap_or_else(|| Record::unknown(self.id()));
            let pids = self.cgroup(&record)?.pids()?;
            Ok(pids.into_iter().map(|pid| pid.as_raw_pid().unsigned_abs()).collect())
        };
        list().map_err(|error: Error| error.in_operation("ps", self.id()))
    }

    /// Waits for the end of the first process. Any program may wait, not only its parent; after
    /// [`delete`](Self::delete) the answer is still there as long as this value is.
    ///
    /// # Errors
    /// [`ErrorKind::StatusStolen`] if the status was collected elsewhere and the kernel (before
    /// Linux 6.15) doesn't keep it; [`ErrorKind::WrongState`] if the process was gone before
    /// this value was made.
    pub fn wait(&self) -> Result<ExitStatus> {
        let wait = || {
            if let Some(exit) = self.exit.get() {
                return Ok(*exit);
            }
            let found;
            let pidfd = match &self.pidfd {
                Some(pidfd) => pidfd,
                None => {
                    found = self.current()?.2.ok_or_else(|| {
                        Error::new(ErrorKind::WrongState, "the container's process has ended")
                    })?;
                    &found.pidfd
                }
            };
            // Held from before the end, when somebody may remove it.
            let found;
            let cgroup = match &self.cgroup {
                Some(cgroup) => Some(cgroup),
                None => {
                    let record = self.dir.record().ok().flatten();
                    found = record.and_then(|record| {
                        Some((self.cgroup(&record).ok()?, record.oom_kills_before))
                    });
                    found.as_ref()
                }
            };
            match self.ending.try_wait(pidfd.as_fd()) {
                Ok(Waited::Exit(_)) => self.shared.children.collect(),
                _ => self.shared.children.wait_with(self.id(), pidfd.as_fd())?,
            }
            let exit = process::wait(&self.ending, pidfd.as_fd(), || {
                cgroup.is_some_and(|(cgroup, before)| {
                    matches!(cgroup.oom_kills(), Ok(Some(kills)) if kills > *before)
                })
            })?;
            Ok(*self.exit.get_or_init(|| exit))
        };
        wait().map_err(|error: Error| error.in_operation("wait", self.id()))
    }

    /// The container's cgroup, by what was recorded of it.
    fn cgroup(&self, record: &Record) -> Result<Cgroup> {
        Cgroup::open(self.shared.host()?, &look::cgroup_paths(record)?)
    }

    /// The cgroup to send signals to. Once the first process has ended, the place may be another's.
    fn cgroup_to_kill(&self, record: &Record, status: Status) -> Result<Cgroup> {
        let cgroup = self.cgroup(record)?;
        Ok(if status == Status::Stopped { cgroup.without_others() } else { cgroup })
    }
}

impl Inner {
    pub(crate) fn pid(&self) -> Result<Pid> {
        i32::try_from(self.pid)
            .ok()
            .and_then(Pid::from_raw)
            .ok_or_else(|| Error::system("init reported an impossible pid", Errno::PROTO))
    }
}

/// `process.args[0]`, for messages.
fn first_argument(process: Option<&ProcessSpec>) -> String {
    process.and_then(|p| p.args().as_ref()?.first().cloned()).unwrap_or_default()
}

/// The namespaces of a new process that differ from the caller's, for a hook that joins them.
fn join_of<'a>(inner: &'a Inner, rootfs: &'a Path) -> Result<Join<'a>> {
    let proc = Proc::open()?;
    let gone = || Error::new(ErrorKind::Step, "the container's process is gone");
    let theirs = proc.dir_of(inner.pidfd.as_fd(), inner.pid()?)?.ok_or_else(gone)?.namespaces()?;
    Ok(Join {
        pidfd: inner.pidfd.as_fd(),
        namespaces: differing(&proc.own_namespaces()?, &theirs).ok_or_else(gone)?,
        rootfs,
    })
}

/// Records the namespaces of a container whose init has hidden them, now that its program runs.
/// Some programs hide as well: those that their user can't read (proc(5), `PR_SET_DUMPABLE`).
fn record_namespaces(record: &mut Record, dir: &ProcessDir) -> bool {
    if record.namespaces.is_empty()
        && let Ok(namespaces) = dir.namespaces()
    {
        record.namespaces = namespaces;
        return true;
    }
    false
}

/// CLONE_NEW* of the namespaces that differ: setns(2) into one's own user namespace is an error,
/// and into one's own others a waste.
///
/// `None` if they lack any: a process that ends leaves its namespaces before it is a zombie. Who
/// joined the ones that are left would run in the caller's others.
fn differing(own: &crate::procfs::Namespaces, theirs: &crate::procfs::Namespaces) -> Option<u64> {
    if own.keys().any(|kind| !theirs.contains_key(kind)) {
        return None;
    }
    let flags = theirs
        .iter()
        .filter(|(kind, ino)| own.get(*kind) != Some(*ino))
        .map(|(kind, _)| match kind.as_str() {
            "cgroup" => libc::CLONE_NEWCGROUP,
            "ipc" => libc::CLONE_NEWIPC,
            "mnt" => libc::CLONE_NEWNS,
            "net" => libc::CLONE_NEWNET,
            "pid" => libc::CLONE_NEWPID,
            "time" => 0x80, // CLONE_NEWTIME, which libc's type can't hold beside CSIGNAL
            "user" => libc::CLONE_NEWUSER,
            "uts" => libc::CLONE_NEWUTS,
            _ => 0,
        })
        .fold(0, |flags, flag| flags | u64::from(flag.cast_unsigned()));
    Some(flags)
}

/// `process.oomScoreAdj`, from outside: init can't see the host's /proc.
fn set_oom_score(proc: &Proc, inner: &Inner, score: Option<i32>) -> Result<()> {
    let Some(score) = score else { return Ok(()) };
    let Some(dir) = proc.dir_of(inner.pidfd.as_fd(), inner.pid()?)? else { return Ok(()) };
    match dir.write("oom_score_adj", score.to_string().as_bytes()) {
        Ok(()) | Err(Errno::SRCH) => Ok(()),
        // A value below the caller's own takes CAP_SYS_RESOURCE. Without root nobody expects it.
        Err(Errno::ACCESS | Errno::PERM) if !rustix::process::geteuid().is_root() => Ok(()),
        Err(errno) => Err(Error::system(format!("set oom_score_adj to {score}"), errno)
            .with_pointer("/process/oomScoreAdj")),
    }
}

/// How long a killed process is waited for: its end needs nobody's help but the kernel's.
const PATIENCE: Duration = Duration::from_secs(2);

/// Ends a process that this program has made and nobody knows of yet.
fn kill_and_reap(pidfd: &OwnedFd) {
    kill(pidfd);
    reap(pidfd);
}

fn kill(pidfd: &OwnedFd) {
    let _ = pidfd::send_signal(pidfd.as_fd(), libc::SIGKILL);
}

/// Waits for the end of what was killed.
fn reap(pidfd: &OwnedFd) {
    let _ = pidfd::wait_end_within(pidfd.as_fd(), PATIENCE);
}

/// Capabilities that could not be granted are a warning, says the runtime-spec (config.md,
/// "capabilities").
fn ungranted_warning(mask: u64) -> Vec<String> {
    (0..64u8)
        .filter(|bit| mask & 1 << bit != 0)
        .map(|bit| {
            let name = caps::all().into_iter().find(|cap| cap.index() == bit);
            let name = name.map_or_else(|| format!("capability {bit}"), |cap| cap.to_string());
            format!("{name} can't be granted: the caller doesn't have it")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_that_has_left_a_namespace_is_not_joined() {
        let own = Proc::open().unwrap().own_namespaces().unwrap();
        assert_eq!(differing(&own, &own), Some(0));
        let mut theirs = own.clone();
        theirs.insert("net".to_owned(), 1);
        let net = u64::from(libc::CLONE_NEWNET.cast_unsigned());
        assert_eq!(differing(&own, &theirs), Some(net));
        // As of a process that ends: its user namespace is the last one to go.
        theirs.retain(|kind, _| kind == "user");
        assert_eq!(differing(&own, &theirs), None);
    }
}
