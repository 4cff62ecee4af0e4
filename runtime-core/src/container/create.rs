//! create: from a bundle to a container whose process waits to be started; and `run`, which
//! starts it in the same go.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use hoist_init::page::Sync;
use oci_spec::runtime::{LinuxNamespaceType, Spec};
use rustix::io::Errno;

use super::exec::Target;
use super::notify::Listener;
use super::state::Status;
use super::{Container, facts, failure, idmap_holder, lsm};
use crate::cgroup::{self, Cgroup};
use crate::error::{Error, ErrorKind, Result};
use crate::hooks::{self, Kind};
use crate::intel_rdt::{self, Resctrl};
use crate::netdevice;
use crate::options::CreateOptions;
use crate::plan::{self, Passed, Plan};
use crate::procfs::{self, Proc};
use crate::runtime::Shared;
use crate::seccomp::Filter;
use crate::signal::Signal;
use crate::spawn::idmap;
use crate::spawn::{Conversation, Event, Spawn, protocol_error};
use crate::spec::Bundle;
use crate::spec::namespaces::Namespaces;
use crate::state::{ConfigUse, Draft, Locked, Phase, Record, StateDir, Text};
use crate::stdio::{self, Pipes};
use crate::sys::pidfd::{self, Ending};
use crate::sys::required::{self, EVERY_CONTAINER};
use crate::timings::{Clock, Timings};
use crate::user_namespace;

/// Compiles the bundle. Touches nothing.
pub(crate) fn plan(
    shared: &Shared,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    fused: bool,
) -> Result<Plan> {
    compile(shared, id, bundle, options, fused, facts::caller()?, None).map(|(plan, _)| plan)
}

/// The plan, with the filter that is in it.
fn compile(
    shared: &Shared,
    id: &str,
    bundle: &Bundle,
    options: &CreateOptions,
    fused: bool,
    caller: facts::Facts,
    made: Option<&cgroup::Paths>,
) -> Result<(Plan, Option<Arc<Filter>>)> {
    let filter = match bundle.spec().linux().as_ref().and_then(|linux| linux.seccomp().as_ref()) {
        Some(profile) => Some(shared.filters.get(profile)?),
        None => None,
    };
    let facts = facts::create(caller, shared, id, bundle, made)?;
    let options = plan::Options {
        no_pivot: options.no_pivot,
        no_new_keyring: options.no_new_keyring,
        preserve_fds: u32::try_from(options.preserved.len()).unwrap_or(u32::MAX),
        timings: options.timings,
        listener: !fused,
        extra_env: &options.environment,
    };
    let plan = plan::compile_create(
        bundle,
        &facts.borrow(id),
        &options,
        filter.as_deref().map(facts::filter),
    )?;
    Ok((plan, filter))
}

/// Creates a container; with `fused` also starts it.
pub(crate) fn create(
    shared: &Arc<Shared>,
    id: &str,
    bundle: Bundle,
    options: CreateOptions,
    fused: bool,
) -> Result<Container> {
    let mut clock = Clock::start(options.timings);
    check_terminal(&bundle, &options)?;
    crate::state::validate_id(id)?;
    required::check(EVERY_CONTAINER)?;
    lsm::check(bundle.spec())?;
    let caller = facts::caller()?;
    check_hooks(bundle.spec(), &caller)?;

    // First of all: outer makes namespaces while the rest is done here.
    let stdio = options.stdio.open()?;
    let head = plan::compile_head(bundle.spec(), caller.privileged(), options.timings)?;
    let conversation = spawn(shared, &head, &options, &stdio)?;
    clock.lap("spawn");

    let host = shared.host()?;
    let mut paths = paths(host, bundle.spec(), id)?;
    paths.mark()?;
    let (plan, filter) =
        compile(shared, id, &bundle, &options, fused, caller.clone(), Some(&paths))?;
    Listener::check(filter.as_deref())?;
    clock.lap("compile");
    let spec = bundle.spec();
    let prepared =
        cgroup::Prepared::new(host, &paths, &request(spec)?, id, spec.annotations().as_ref())?;
    clock.lap("cgroup");

    let root = StateDir::open_or_create(&shared.root)?;
    let locked = root.create(id)?;
    let mut work = Work {
        shared,
        bundle: &bundle,
        options: &options,
        caller,
        plan,
        filter,
        record: None,
        paths,
        prepared: Some(prepared),
        cgroup: None,
        conversation,
        hooked: false,
        clock,
    };
    match work.build(&locked, stdio, fused) {
        Ok(done) => Ok(work.finish(locked, done, fused)),
        Err(error) => {
            work.undo(locked);
            Err(error)
        }
    }
}

/// Starts outer with the first part of the plan.
fn spawn(
    shared: &Shared,
    head: &Plan,
    options: &CreateOptions,
    stdio: &stdio::Opened<'_>,
) -> Result<Conversation> {
    let preserved: Vec<BorrowedFd<'_>> = options.preserved.iter().map(AsFd::as_fd).collect();
    Spawn {
        image: shared.image()?,
        plan: head,
        stdio: stdio.descriptors(),
        preserved: &preserved,
        passed: &[],
    }
    .start()
}

/// Where the container's cgroup is to be.
pub(super) fn paths(host: &cgroup::Host, spec: &Spec, id: &str) -> Result<cgroup::Paths> {
    let cgroups_path = spec.linux().as_ref().and_then(|linux| linux.cgroups_path().as_deref());
    host.paths(cgroups_path.and_then(std::path::Path::to_str), id)
}

/// What it has to be like.
fn request(spec: &Spec) -> Result<cgroup::Request<'_>> {
    let linux = spec.linux().as_ref();
    Ok(cgroup::Request {
        resources: linux.and_then(|linux| linux.resources().as_ref()),
        nodes: linux.and_then(|linux| linux.devices().as_deref()).unwrap_or_default(),
        recorded: None,
        rootless: user_namespace::is_rootless()?,
    })
}

fn check_terminal(bundle: &Bundle, options: &CreateOptions) -> Result<()> {
    let terminal = bundle
        .spec()
        .process()
        .as_ref()
        .and_then(oci_spec::runtime::Process::terminal)
        .unwrap_or(false);
    // runc's wording.
    match (terminal, options.console_socket.is_some()) {
        (true, false) => Err(Error::new(
            ErrorKind::InvalidArgument,
            "cannot allocate tty if runc will detach without setting console socket",
        )
        .with_pointer("/process/terminal")),
        (false, true) => Err(Error::new(
            ErrorKind::InvalidArgument,
            "cannot use console socket if runc will not detach or allocate tty",
        )
        .with_pointer("/process/terminal")),
        _ => Ok(()),
    }
}

/// Init hides from a caller without privileges among others whose user namespace it joins
/// (decision 0009).
fn hides(spec: &Spec, caller: &facts::Facts) -> bool {
    !caller.privileged() && !Namespaces::of(spec).is_new(LinuxNamespaceType::User)
}

/// Hooks that join init's namespaces must be able to look at them.
fn check_hooks(spec: &Spec, caller: &facts::Facts) -> Result<()> {
    for kind in [Kind::CreateContainer, Kind::StartContainer] {
        if !kind.of(spec.hooks().as_ref()).is_empty() && hides(spec, caller) {
            let message = "hooks that join the container need privileges or a user namespace of \
                           its own: in one that is joined its first process hides from the caller";
            return Err(Error::unsupported(format!("/hooks/{}", kind.name()), message));
        }
    }
    Ok(())
}

/// How long a process that is in /proc no more takes to have ended.
const GOING: Duration = Duration::from_secs(1);

/// A container that is being made: everything that a failure has to undo.
struct Work<'a> {
    shared: &'a Arc<Shared>,
    bundle: &'a Bundle,
    options: &'a CreateOptions,
    caller: facts::Facts,
    plan: Plan,
    filter: Option<Arc<Filter>>,
    record: Option<Record>,
    paths: cgroup::Paths,
    /// Until the cgroup is made.
    prepared: Option<cgroup::Prepared>,
    cgroup: Option<Cgroup>,
    conversation: Conversation,
    /// Hooks that have something to be undone were begun.
    hooked: bool,
    clock: Clock,
}

/// What a container has once it is made.
struct Done {
    pidfd: OwnedFd,
    pipes: Pipes,
    timings: Timings,
    warnings: Vec<String>,
}

impl Work<'_> {
    fn build(&mut self, locked: &Locked, stdio: stdio::Opened<'_>, fused: bool) -> Result<Done> {
        let proc = Proc::open()?;
        self.write_down(locked, &proc)?;
        self.clock.lap("state");
        if let Some(made) = self.make_cgroup()? {
            // A hierarchy in which hoist may make nothing was left out.
            let (shared, caller) = (self.shared, self.caller.clone());
            let (bundle, options) = (self.bundle, self.options);
            (self.plan, _) =
                compile(shared, locked.id(), bundle, options, fused, caller, Some(&made))?;
        }
        self.clock.lap("cgroup");

        let listener = if fused { None } else { Some(locked.listen()?) };
        let holders = idmap_holder::make(self.shared.image()?, self.plan.passed())?;
        self.pass(listener, &holders)?;
        let pipes = stdio.into_pipes();

        // While init makes the mounts; it waits before anything of the user's runs.
        if let (false, Some(cgroup)) = (self.paths.by_systemd(), &self.cgroup) {
            self.prepared.take().ok_or_else(gone)?.confine(cgroup)?;
        }
        locked.write_config(&self.bundle.text()?)?;
        self.clock.lap("confine");
        self.converse(locked, &proc, &holders, fused)?;
        self.clock.lap("init");

        let snapshot = self.conversation.report.read()?;
        let mut warnings = super::ungranted_warning(snapshot.ungranted);
        let record = self.record.as_ref().ok_or_else(gone)?;
        if !record.private_pid && self.cgroup.as_ref().is_none_or(Cgroup::is_nowhere) {
            warnings.push(
                "the container has neither a cgroup nor a pid namespace of its own, so not all of \
                 its processes can be found and killed. Such configuration is strongly discouraged"
                    .to_owned(),
            );
        }
        let timings = self.clock.finish(&self.plan, &self.conversation.report)?;
        let inner = self.conversation.take_inner().ok_or_else(gone)?;
        Ok(Done { pidfd: inner.pidfd, pipes, timings, warnings })
    }

    /// What is about to be made is written down first: whoever finds only this can remove it.
    fn write_down(&mut self, locked: &Locked, proc: &Proc) -> Result<()> {
        let spec = self.bundle.spec();
        let host = self.shared.host()?;
        let linux = spec.linux().as_ref();
        let own = rustix::process::getpid();
        let creator = proc
            .identify(own)?
            .ok_or_else(|| Error::new(ErrorKind::State, "this process isn't in /proc"))?;
        let mut record = Record::new(locked.id(), creator);
        record.oci_version.clone_from(spec.version());
        record.bundle = self.bundle.path().to_owned();
        record.rootfs = self.bundle.rootfs().to_owned();
        record.annotations =
            spec.annotations().iter().flatten().map(|(k, v)| (k.clone(), v.clone())).collect();
        record.cgroup = Some(Text::of(&self.paths)?);
        let rdt = match linux.and_then(|linux| linux.intel_rdt().as_ref()) {
            Some(config) => Some((Resctrl::open()?, config)),
            None => None,
        };
        if let Some((resctrl, config)) = &rdt {
            record.intel_rdt = Some(resctrl.plan(config, locked.id())?);
        }
        // A cgroup that somebody uses must not be in the record: to delete is to kill what is there.
        let found = Cgroup::open(host, &self.paths)?;
        if let Some(pid) = found.pids()?.first() {
            return Err(Error::new(
                ErrorKind::Cgroup,
                format!("container's cgroup is not empty: process {pid} found"),
            )
            .with_pointer("/linux/cgroupsPath"));
        }
        found.refuse_frozen()?;
        record.config_use = ConfigUse::of(spec);
        record.private_pid = Namespaces::of(spec).is_new(LinuxNamespaceType::Pid);
        locked.write_record(&record)?;
        let record = self.record.insert(record);
        if let (Some((resctrl, config)), Some(group)) = (&rdt, &mut record.intel_rdt) {
            resctrl.make(group, config)?;
            locked.write_record(record)?;
        }
        Ok(())
    }

    /// Makes the cgroup, or leaves that to systemd. Returns where it is if that isn't all that
    /// the plan counts on.
    fn make_cgroup(&mut self) -> Result<Option<cgroup::Paths>> {
        if self.paths.by_systemd() {
            self.cgroup = Some(Cgroup::expected(&self.paths));
            return Ok(None);
        }
        let prepared = self.prepared.as_ref().ok_or_else(gone)?;
        let cgroup = self.cgroup.insert(prepared.make(self.shared.host()?, &self.paths)?);
        let record = self.record.as_mut().ok_or_else(gone)?;
        record.cgroup = Some(Text::of(cgroup.paths())?);
        record.oom_kills_before = cgroup.oom_kills_before()?;
        let as_planned = cgroup.paths().shape() == self.paths.shape();
        Ok((!as_planned).then(|| cgroup.paths().clone()))
    }

    /// Gives outer the descriptors that the plan asks for, in its order.
    fn pass(&mut self, listener: Option<OwnedFd>, holders: &idmap_holder::Holders) -> Result<()> {
        let placement = self.cgroup.as_ref().ok_or_else(gone)?.placement()?;
        let missing = || {
            Error::new(ErrorKind::Unsupported, "the plan asks for a descriptor that isn't there")
        };
        let descriptor = |what: &Passed| match what {
            Passed::ConsoleSocket => self.options.console_socket.as_ref().map(AsFd::as_fd),
            Passed::StartListener => listener.as_ref().map(AsFd::as_fd),
            Passed::CgroupDir => placement.v2_dir,
            Passed::CgroupTasks(n) => placement.v1_tasks.get(*n as usize).map(AsFd::as_fd),
            Passed::IdMap(map) => holders.get(map),
            Passed::Process | Passed::CgroupNamespace => None,
        };
        let passed = self.plan.passed().iter();
        let passed: Vec<BorrowedFd<'_>> =
            passed.map(|what| descriptor(what).ok_or_else(missing)).collect::<Result<_>>()?;
        self.conversation.pass(&self.plan, &passed)
    }

    /// Does the library's part at each point at which init waits for it.
    fn converse(
        &mut self,
        locked: &Locked,
        proc: &Proc,
        holders: &idmap_holder::Holders,
        fused: bool,
    ) -> Result<()> {
        let phase = if fused { Phase::Started } else { Phase::Created };
        let mut drafted = None;
        loop {
            match self.conversation.next()? {
                Event::Cloned => self.cloned(proc)?,
                Event::Sync(point) => {
                    self.synchronize(point, proc)?;
                    if point == Sync::Start {
                        let listener = Listener::of(self.filter.as_deref())?;
                        self.conversation.go()?;
                        self.hand_over(listener)?;
                    } else {
                        self.conversation.go()?;
                    }
                }
                Event::MapIds { tree, map, recursive } => {
                    let map = self.plan.passed().get(map).ok_or_else(protocol_error)?;
                    if let Err(error) = holders.apply(map, tree.as_fd(), recursive) {
                        let report = &self.conversation.report;
                        return Err(failure::in_step(report, &self.plan, error)?);
                    }
                    self.conversation.go()?;
                }
                Event::Announced => {
                    drafted = self.draft(locked, proc, phase)?;
                    // Whoever comes meanwhile finds the container locked; and if we are gone, exec
                    // finds init at work. What fails from here on is undone as ever.
                    if let Some(draft) = drafted.take_if(|_| fused) {
                        draft.commit()?;
                        self.conversation.start()?;
                    }
                }
                // The point of no return: from here on the container exists for everybody.
                Event::Created => {
                    let draft = match drafted.take() {
                        None => self.draft(locked, proc, phase)?,
                        early => early,
                    };
                    let Some(draft) = draft else { continue };
                    draft.commit()?;
                    if !fused {
                        self.conversation.commit()?;
                        // It exists, whatever becomes of outer.
                        let _ = self.conversation.reap_outer();
                        return Ok(());
                    }
                    let hooks = self.bundle.spec().hooks().as_ref();
                    if Kind::StartContainer.of(hooks).is_empty() {
                        let listener = Listener::of(self.filter.as_deref())?;
                        self.conversation.start()?;
                        self.hand_over(listener)?;
                    } else {
                        self.conversation.start()?;
                    }
                }
                Event::End => {
                    if let Some(error) =
                        failure::of_container(&self.conversation.report, Some(&self.plan), || {
                            super::first_argument(self.bundle.spec().process().as_ref())
                        })?
                    {
                        return Err(error);
                    }
                    if fused {
                        let inner = self.conversation.inner().ok_or_else(gone)?;
                        let dir = proc.dir_of(inner.pidfd.as_fd(), inner.pid()?)?;
                        let record = self.record.as_mut().ok_or_else(gone)?;
                        if dir.is_some_and(|dir| super::record_namespaces(record, &dir)) {
                            locked.write_record(record)?;
                        }
                        return self.run_hooks(Kind::Poststart, Status::Running);
                    }
                    return Err(gone());
                }
            }
        }
    }

    /// Inner exists: what is set from outside.
    fn cloned(&mut self, proc: &Proc) -> Result<()> {
        let inner = self.conversation.inner().ok_or_else(gone)?;
        if let Some(group) = self.record.as_ref().and_then(|record| record.intel_rdt.as_ref()) {
            // If it is gone already the next event says why.
            if proc.dir_of(inner.pidfd.as_fd(), inner.pid()?)?.is_some() {
                Resctrl::open()?.add(group, inner.pid()?)?;
            }
        }
        // Not before: the owner of a cgroup of another user namespace can't be born in it.
        if let (Some(cgroup), Some(owner)) = (&self.cgroup, cgroup_owner(self.bundle.spec())) {
            cgroup.chown(owner)?;
        }
        let process = self.bundle.spec().process().as_ref();
        super::set_oom_score(proc, inner, process.and_then(|process| process.oom_score_adj()))
    }

    fn synchronize(&mut self, point: Sync, proc: &Proc) -> Result<()> {
        let spec = self.bundle.spec();
        let linux = spec.linux().as_ref();
        let inner = self.conversation.inner().ok_or_else(gone)?;
        match point {
            Sync::Maps => {
                let empty = Vec::new();
                let uids = linux.and_then(|l| l.uid_mappings().as_ref()).unwrap_or(&empty);
                let gids = linux.and_then(|l| l.gid_mappings().as_ref()).unwrap_or(&empty);
                let dir = proc.dir_of(inner.pidfd.as_fd(), inner.pid()?)?.ok_or_else(gone)?;
                idmap::write_maps(&dir, uids, gids)
            }
            Sync::Namespaces => {
                let Some(devices) = linux.and_then(|l| l.net_devices().as_ref()) else {
                    return Ok(());
                };
                let netns = proc
                    .dir_of(inner.pidfd.as_fd(), inner.pid()?)?
                    .ok_or_else(gone)?
                    .namespace("net")?;
                netdevice::move_devices(netns.as_fd(), devices)
            }
            Sync::Hooks => {
                self.hooked = true;
                // prestart is from before the spec knew of a creating state, and its users
                // expect what it was then.
                self.run_hooks(Kind::Prestart, Status::Created)?;
                self.run_hooks(Kind::CreateRuntime, Status::Creating)?;
                self.run_hooks(Kind::CreateContainer, Status::Creating)
            }
            Sync::Start => self.run_hooks(Kind::StartContainer, Status::Created),
            Sync::Cgroup => {
                self.clock.lap("clone");
                let prepared = self.prepared.take().ok_or_else(gone)?;
                let cgroup = self.cgroup.as_mut().ok_or_else(gone)?;
                prepared.start(self.shared.host()?, cgroup, inner.pid)?;
                cgroup_owner(spec).map_or(Ok(()), |owner| cgroup.chown(owner))?;
                self.clock.lap("cgroup");
                Ok(())
            }
        }
    }

    /// Once nothing but the filter and execve(2) are left for init.
    fn hand_over(&self, listener: Option<Listener>) -> Result<()> {
        let Some(listener) = listener else { return Ok(()) };
        let inner = self.conversation.inner().ok_or_else(gone)?;
        let state = self.state(Status::Created)?;
        listener.hand_over(&self.conversation.report, inner.pid, inner.pidfd.as_fd(), &state)
    }

    fn run_hooks(&self, kind: Kind, status: Status) -> Result<()> {
        let hooks = self.bundle.spec().hooks().as_ref();
        if kind.of(hooks).is_empty() {
            return Ok(());
        }
        let state = self.state(status)?.to_string();
        let inner = self.conversation.inner().ok_or_else(gone)?;
        let image = self.shared.image()?;
        let state = state.as_bytes();
        match kind {
            Kind::StartContainer => {
                let target = Target {
                    shared: self.shared,
                    record: self.record.as_ref().ok_or_else(gone)?,
                    status,
                    spec: self.bundle.spec(),
                    pidfd: inner.pidfd.as_fd(),
                    dir: &Proc::open()?
                        .dir_of(inner.pidfd.as_fd(), inner.pid()?)?
                        .ok_or_else(gone)?,
                    namespaces: None,
                    cgroup: self.cgroup.as_ref().ok_or_else(gone)?,
                };
                hooks::run(kind, hooks, state, &|hook, stdio| target.launch_hook(hook, stdio))
            }
            Kind::CreateContainer => {
                let join = super::join_of(inner, self.bundle.rootfs())?;
                hooks::run(kind, hooks, state, &|hook, stdio| {
                    hooks::launch_from_host(image, Some(join), hook, stdio)
                })
            }
            _ => hooks::run(kind, hooks, state, &|hook, stdio| {
                hooks::launch_from_host(image, None, hook, stdio)
            }),
        }
    }

    fn state(&self, status: Status) -> Result<serde_json::Value> {
        let record = self.record.as_ref().ok_or_else(gone)?;
        let pid = self.conversation.inner().map_or(0, |inner| inner.pid);
        Ok(super::state::oci_state(record, status, pid))
    }

    /// The record of the container once it is made, for which init has to be in all its namespaces.
    /// None if init is gone: the next event says so, and the page says why.
    fn draft<'a>(
        &mut self,
        locked: &'a Locked,
        proc: &Proc,
        phase: Phase,
    ) -> Result<Option<Draft<'a>>> {
        let inner = self.conversation.inner().ok_or_else(gone)?;
        let found = match proc.dir_of(inner.pidfd.as_fd(), inner.pid()?)? {
            Some(dir) => proc.identity(&dir)?.map(|identity| (dir, identity)),
            None => None,
        };
        let Some((dir, identity)) = found else {
            // What hides from us (proc(5), `hidepid`) waits for an answer that we can't give.
            let ended = pidfd::wait_end_within(inner.pidfd.as_fd(), GOING)?;
            return if ended { Ok(None) } else { Err(gone()) };
        };
        let mut namespaces = match dir.namespaces() {
            // Until its program runs: `record_namespaces`.
            Err(error)
                if error.errno() == Some(Errno::ACCESS.raw_os_error())
                    && hides(self.bundle.spec(), &self.caller) =>
            {
                procfs::Namespaces::new()
            }
            // In a user namespace the caller may not look at what is just ending.
            Err(error) if error.errno() == Some(Errno::ACCESS.raw_os_error()) => {
                let ended = pidfd::wait_end_within(inner.pidfd.as_fd(), GOING)?;
                return if ended { Ok(None) } else { Err(error) };
            }
            other => other?,
        };
        // An unprivileged caller's init enters its time namespace only at execve(2).
        let timed = Namespaces::of(self.bundle.spec()).has(LinuxNamespaceType::Time);
        if let Some(time) = timed.then(|| dir.time_for_children()).flatten() {
            namespaces.insert("time".to_owned(), time);
        }
        let record = self.record.as_mut().ok_or_else(gone)?;
        record.creator = None;
        record.init = Some(identity);
        record.namespaces = namespaces;
        record.phase = phase;
        locked.draft_record(record).map(Some)
    }

    /// Nothing of it can fail any more.
    fn finish(mut self, locked: Locked, done: Done, fused: bool) -> Container {
        let before = self.record.as_ref().map_or(0, |record| record.oom_kills_before);
        let cgroup = self.cgroup.take().map(|cgroup| (cgroup, before));
        let mut warnings = self.bundle.warnings().to_vec();
        warnings.extend(done.warnings);
        let creation = (!fused).then_some(self.conversation);
        let dir = (*locked).clone();
        drop(locked);
        Container {
            shared: self.shared.clone(),
            dir,
            pidfd: Some(done.pidfd),
            ending: Ending::default(),
            exit: OnceLock::new(),
            cgroup,
            creation: Mutex::new(creation),
            config: Mutex::default(),
            pipes: done.pipes,
            timings: done.timings,
            warnings,
        }
    }

    /// After a failure nothing is left: process, cgroup, state.
    fn undo(mut self, locked: Locked) {
        let inner = self.conversation.take_inner();
        if let Some(inner) = &inner {
            super::kill(&inner.pidfd);
        }
        let mut clean = true;
        if let Some(cgroup) = self.cgroup.take() {
            clean &= cgroup.kill_all(Signal::KILL).is_ok();
            clean &= cgroup.remove().is_ok();
        }
        if let Some(inner) = &inner {
            // Not before: systemd may still be about to move the process of this pid.
            super::reap(&inner.pidfd);
        }
        if let Some(group) = self.record.as_ref().and_then(|record| record.intel_rdt.as_ref()) {
            clean &= intel_rdt::remove(group).is_ok();
        }
        if clean {
            let _ = locked.remove();
        } // else the record stays, so that what is left can be deleted
        if let (true, Some(record), Ok(image)) = (self.hooked, &self.record, self.shared.image()) {
            // What createRuntime hooks have set up, poststop hooks take down.
            let hooks = self.bundle.spec().hooks().as_ref();
            let state = super::state::oci_state(record, Status::Stopped, 0).to_string();
            drop(hooks::run_all(Kind::Poststop, hooks, state.as_bytes(), &|hook, stdio| {
                hooks::launch_from_host(image, None, hook, stdio)
            }));
        }
    }
}

/// Who gets the container's cgroup: the container's user, where it has a user and a cgroup
/// namespace of its own and sees its cgroup writable (runtime-spec config-linux.md, "Cgroup
/// ownership").
fn cgroup_owner(spec: &Spec) -> Option<u32> {
    let namespaces = Namespaces::of(spec);
    let new = |kind| namespaces.is_new(kind);
    let writable = spec.mounts().iter().flatten().any(|mount| {
        let readonly = |options: &Vec<String>| options.iter().any(|option| option == "ro");
        matches!(mount.typ().as_deref(), Some("cgroup" | "cgroup2"))
            && !mount.options().as_ref().is_some_and(readonly)
    });
    if !new(LinuxNamespaceType::User) || !new(LinuxNamespaceType::Cgroup) || !writable {
        return None;
    }
    let uid = spec.process().as_ref()?.user().uid();
    spec.linux().as_ref()?.uid_mappings().as_ref()?.iter().find_map(|map| {
        let offset = uid.checked_sub(map.container_id()).filter(|offset| *offset < map.size())?;
        map.host_id().checked_add(offset)
    })
}

fn gone() -> Error {
    Error::new(ErrorKind::Step, "the container's process is gone")
}
