//! exec: one more process in a container that runs.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use hoist_init::page::Sync;
use oci_spec::runtime::{Hook, LinuxNamespaceType, Process as ProcessSpec, Spec};
use rustix::io::Errno;

use super::notify::Listener;
use super::state::{Status, oci_state};
use super::{Container, exposure, failure};
use crate::cgroup::Cgroup;
use crate::error::{Error, ErrorKind, Result};
use crate::intel_rdt::Resctrl;
use crate::options::ExecOptions;
use crate::plan::{self, Passed, Plan};
use crate::process::Process;
use crate::procfs::{self, Proc, ProcessDir};
use crate::runtime::Shared;
use crate::spawn::{Conversation, Event, Inner, Spawn, protocol_error};
use crate::spec::namespaces::Namespaces;
use crate::state::{Phase, Record};
use crate::sys::required::{self, EVERY_CONTAINER};
use crate::timings::Clock;

impl Container {
    /// Starts a process in the container: in all its namespaces and its cgroup, with exactly the
    /// confinement that `process` and the container's configuration give it (seccomp filter and
    /// LSM labels included).
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] unless the container runs,
    /// [`ErrorKind::CommandNotFound`] or [`ErrorKind::CommandNotExecutable`] for the program.
    pub fn exec(&self, process: &ProcessSpec, options: ExecOptions) -> Result<Process> {
        self.exec_inner(process, &options).map_err(|error| error.in_operation("exec in", self.id()))
    }

    fn exec_inner(&self, process: &ProcessSpec, options: &ExecOptions) -> Result<Process> {
        let mut clock = Clock::start(options.timings);
        required::check(EVERY_CONTAINER)?;
        let spec = self.config()?;
        let (process, mut warnings) = crate::spec::validate_process(process)?;
        let process = &process;
        super::lsm::check_process(process)?;
        let (record, status, init) = self.current()?;
        let init = match (status, init) {
            (Status::Paused, _) if !options.ignore_paused => {
                return Err(wrong_state(
                    "cannot exec in a paused container (use --ignore-paused to override)",
                ));
            }
            (Status::Running | Status::Created | Status::Paused, Some(init)) => init,
            // runc's wording.
            (Status::Stopped, _) | (_, None) => {
                return Err(wrong_state("cannot exec in a stopped container"));
            }
            (status, _) => {
                return Err(wrong_state(format!("cannot exec in a container that is {status}")));
            }
        };
        let terminal = process.terminal().unwrap_or(false);
        if terminal != options.console_socket.is_some() {
            return Err(Error::new(
                ErrorKind::InvalidArgument,
                if terminal {
                    "cannot allocate tty if runc will detach without setting console socket"
                } else {
                    "cannot use console socket if runc will not detach or allocate tty"
                },
            ));
        }

        let namespaces = init.dir.namespaces()?;
        check_namespaces(&record.namespaces, &namespaces)?;
        // Where init has to be dumpable, the process could trace it, which has no seccomp filter
        // yet, and take its start socket (decision 0009).
        if init.dir.is_init()? {
            // Its creator is gone, and it may not yet be in its root.
            if record.phase == Phase::Started {
                return Err(wrong_state("cannot exec in a container that is being started"));
            }
            if !super::facts::caller()?.privileged() || !init.dir.is_roots() {
                return Err(wrong_state(
                    "cannot exec in a container that was created without privileges and not started",
                ));
            }
        }
        let cgroup = self.cgroup(&record)?;
        let target = Target {
            shared: &self.shared,
            spec: &spec,
            record: &record,
            status,
            pidfd: init.pidfd.as_fd(),
            dir: &init.dir,
            namespaces: Some(&namespaces),
            cgroup: &cgroup,
        };
        let stdio = options.stdio.open()?;
        let launched = target.launch(process, None, options, stdio.descriptors(), &mut clock);
        let mut joined = match launched {
            // What a cgroup answers once it has given controllers to those below it. In the
            // container's own the process then isn't, but where the first one is.
            Err(error) if is(&error, Errno::BUSY) && options.cgroups.is_empty() => {
                let Some(cgroup) = cgroup.of_process(&init.dir)? else { return Err(error) };
                let target = Target { cgroup: &cgroup, ..target };
                target.launch(process, None, options, stdio.descriptors(), &mut clock)?
            }
            Err(error) if is(&error, Errno::BUSY) => {
                let wanted = cgroup.below(&options.cgroups)?;
                return Err(wanted.refusal(Errno::BUSY).unwrap_or(error));
            }
            other => other?,
        };
        clock.lap("init");
        warnings.extend(super::ungranted_warning(joined.conversation.report.read()?.ungranted));
        let timings = clock.finish(&joined.plan, &joined.conversation.report)?;
        let inner = joined.take_inner()?;
        Ok(Process {
            pid: inner.pid,
            child: self.shared.children.add(self.id(), inner.pidfd),
            pipes: stdio.into_pipes(),
            timings,
            warnings,
        })
    }
}

/// A container that a process joins.
pub(super) struct Target<'a> {
    pub(super) shared: &'a Shared,
    pub(super) spec: &'a Spec,
    pub(super) record: &'a Record,
    pub(super) status: Status,
    /// The container's first process.
    pub(super) pidfd: BorrowedFd<'a>,
    pub(super) dir: &'a ProcessDir,
    /// Its namespaces, if they have been looked at just now.
    pub(super) namespaces: Option<&'a procfs::Namespaces>,
    pub(super) cgroup: &'a Cgroup,
}

/// A process that has joined and whose program was executed.
pub(super) struct Joined {
    plan: Plan,
    conversation: Conversation,
}

impl Joined {
    fn take_inner(&mut self) -> Result<Inner> {
        let inner = self.conversation.take_inner();
        inner.ok_or_else(|| Error::new(ErrorKind::Step, "hoist-init reported no process"))
    }
}

impl Target<'_> {
    /// Runs a startContainer hook: a program of the container's own image, so it gets the
    /// container's user, capabilities and filter, and no more.
    pub(super) fn launch_hook(&self, hook: &Hook, stdio: [BorrowedFd<'_>; 3]) -> Result<Inner> {
        let missing = || Error::config("/process", "process property must not be empty");
        let mut process = self.spec.process().clone().ok_or_else(missing)?;
        let name = vec![hook.path().to_string_lossy().into_owned()];
        let arguments = hook.args().clone().filter(|arguments| !arguments.is_empty());
        process.set_args(Some(arguments.unwrap_or(name)));
        // As in runc, which has always done so, a hook without an environment gets the process's.
        if let Some(environment) = hook.env().clone().filter(|environment| !environment.is_empty())
        {
            process.set_env(Some(environment));
        }
        process.set_terminal(None);
        let mut clock = Clock::start(false);
        let options = ExecOptions::new();
        self.launch(&process, Some(hook), &options, stdio, &mut clock)?.take_inner()
    }

    /// Does the library's part; init waits for it at its barriers if there are any.
    fn converse(
        &self,
        conversation: &mut Conversation,
        proc: &Proc,
        score: Option<i32>,
        listener: Option<&Listener>,
        cgroup: &Cgroup,
    ) -> Result<()> {
        loop {
            match conversation.next()? {
                Event::Cloned => {
                    let Some(inner) = conversation.inner() else { continue };
                    // A resctrl group is inherited by children only, which this process isn't.
                    if let Some(group) = &self.record.intel_rdt {
                        Resctrl::open()?.add(group, inner.pid()?)?;
                    }
                    super::set_oom_score(proc, inner, score)?;
                }
                Event::Sync(Sync::Cgroup) => {
                    if let Some(inner) = conversation.inner() {
                        cgroup.attach(inner.pid)?;
                    }
                    conversation.go()?;
                }
                Event::Sync(_) => {
                    conversation.go()?;
                    if let (Some(listener), Some(inner)) = (listener, conversation.inner()) {
                        let pid = self.record.init.as_ref().map_or(0, |i| i.pid.unsigned_abs());
                        let state = oci_state(self.record, self.status, pid);
                        let pidfd = inner.pidfd.as_fd();
                        listener.hand_over(&conversation.report, inner.pid, pidfd, &state)?;
                    }
                }
                Event::Announced | Event::Created | Event::MapIds { .. } => {
                    return Err(protocol_error());
                }
                Event::End => return Ok(()),
            }
        }
    }

    fn launch(
        &self,
        process: &ProcessSpec,
        hook: Option<&Hook>,
        options: &ExecOptions,
        stdio: [BorrowedFd<'_>; 3],
        clock: &mut Clock,
    ) -> Result<Joined> {
        let proc = Proc::open()?;
        let theirs = match self.namespaces {
            Some(namespaces) => Cow::Borrowed(namespaces),
            None => Cow::Owned(self.dir.namespaces()?),
        };
        let join = super::differing(&proc.own_namespaces()?, &theirs)
            .ok_or_else(|| wrong_state("cannot exec in a stopped container"))?;
        let seccomp = self.spec.linux().as_ref().and_then(|linux| linux.seccomp().as_ref());
        let filter = seccomp.map(|profile| self.shared.filters.get(profile)).transpose()?;
        Listener::check(filter.as_deref())?;
        let listener = Listener::of(filter.as_deref())?;
        let cgroup = self.cgroup.below(&options.cgroups)?;
        let placed = cgroup.placement()?;
        let mut facts = super::facts::caller()?;
        if cgroup.wants_attaching()? {
            facts.set_library_placement();
        } else {
            facts.set_placement(cgroup.paths().shape());
        }
        let preserve_fds = u32::try_from(options.preserved.len()).unwrap_or(u32::MAX);
        // Behind those of the process come the plan, the page and the socket.
        let control = u64::from(preserve_fds) + 5;
        let last = hook.is_none()
            && exposure::comes_last(process, self.spec, join, filter.as_deref(), control);
        let chroot = chroot(self.spec, &self.record.rootfs);
        let plan = plan::compile_exec(
            process,
            self.spec,
            plan::ExecOptions { join, chroot, hook, last },
            &facts.borrow(&self.record.id),
            &plan::Options {
                preserve_fds,
                timings: options.timings,
                extra_env: &options.environment,
                ..plan::Options::default()
            },
            filter.as_deref().map(super::facts::filter),
        )?;
        clock.lap("compile");

        let cgroup_namespace = if plan.passed().contains(&Passed::CgroupNamespace) {
            Some(self.dir.namespace("cgroup")?)
        } else {
            None
        };
        // Inner is born with it, and who may trace inner can take it before it is closed: `..` must
        // not lead to the host (CVE-2016-9962).
        let detached = match placed.v2_dir {
            // Without mounts of the caller's own who traces isn't privileged on the host, either.
            Some(directory)
                if !last && facts.own_mounts() && exposure::may_be_traced(self.spec) =>
            {
                Some(detached(directory)?)
            }
            _ => None,
        };
        let given = |what: &Passed| -> Result<BorrowedFd<'_>> {
            match what {
                Passed::ConsoleSocket => options.console_socket.as_ref().map(AsFd::as_fd),
                Passed::Process => Some(self.pidfd),
                Passed::CgroupDir => detached.as_ref().map(AsFd::as_fd).or(placed.v2_dir),
                Passed::CgroupTasks(n) => placed.v1_tasks.get(*n as usize).map(AsFd::as_fd),
                Passed::CgroupNamespace => cgroup_namespace.as_ref().map(AsFd::as_fd),
                Passed::StartListener | Passed::IdMap(_) => None,
            }
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    "the plan asks for a descriptor that isn't there",
                )
            })
        };
        let passed = plan.passed().iter().map(given).collect::<Result<Vec<_>>>()?;
        let preserved: Vec<BorrowedFd<'_>> = options.preserved.iter().map(AsFd::as_fd).collect();
        let mut conversation = Spawn {
            image: self.shared.image()?,
            plan: &plan,
            stdio,
            preserved: &preserved,
            passed: &passed,
        }
        .start()?;
        clock.lap("spawn");
        let argument = || match hook {
            Some(hook) => hook.path().to_string_lossy().into_owned(),
            None => super::first_argument(Some(process)),
        };
        let score = plan::oom_score(process, self.spec);
        let outcome = self.converse(&mut conversation, &proc, score, listener.as_ref(), &cgroup);
        let outcome = outcome.and_then(|()| {
            match failure::of(&conversation.report, Some(&plan), argument)? {
                Some(error) => Err(error),
                None => Ok(()),
            }
        });
        if let Err(error) = outcome {
            if let Some(inner) = conversation.take_inner() {
                super::kill_and_reap(&inner.pidfd);
            }
            return Err(error);
        }
        Ok(Joined { plan, conversation })
    }
}

/// A directory as the root of a mount that is nowhere.
fn detached(directory: BorrowedFd<'_>) -> Result<OwnedFd> {
    use rustix::mount::OpenTreeFlags as Flags;
    let flags = Flags::OPEN_TREE_CLONE | Flags::OPEN_TREE_CLOEXEC | Flags::AT_EMPTY_PATH;
    rustix::mount::open_tree(directory, c"", flags)
        .map_err(|errno| Error::system("clone the mount of the container's cgroup", errno))
}

fn is(error: &Error, errno: Errno) -> bool {
    error.errno() == Some(errno.raw_os_error())
}

fn wrong_state(message: impl Into<std::borrow::Cow<'static, str>>) -> Error {
    Error::new(ErrorKind::WrongState, message)
}

/// Without a mount namespace of its own a container is its root directory.
fn chroot<'a>(spec: &Spec, rootfs: &'a Path) -> Option<&'a Path> {
    let namespaces = Namespaces::of(spec);
    (!namespaces.has(LinuxNamespaceType::Mount)).then_some(rootfs)
}

/// A first process that has moved to other namespaces would have exec join what the container
/// was not created with.
fn check_namespaces(recorded: &procfs::Namespaces, found: &procfs::Namespaces) -> Result<()> {
    for (kind, ino) in found {
        if recorded.get(kind).is_some_and(|recorded| recorded != ino) {
            return Err(wrong_state(format!(
                "the container's first process has moved to another {kind} namespace than the \
                 container was created with"
            )));
        }
    }
    Ok(())
}
