//! Create: from containerd's request to a container whose program waits to be started.

use std::collections::BTreeMap;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use hoist::oci::LinuxNamespaceType;
use rustix::event::epoll::EventFlags;
use rustix::fs::Mode;
use rustix::io::Errno;

use super::calls::{SIGKILL, no_checkpoints};
use super::not_found;
use super::task::{Container, Freezer, Key, Process, Stdio, What};
use super::{Life, Reply, Service, Source};
use crate::failure::{Code, During, Failure, Result};
use crate::io::{self, Pump, Streams};
use crate::log::Log;
use crate::mount;
use crate::options::Options;
use crate::proto::events::{TaskCreate, TaskIO};
use crate::proto::task::{CreateTaskRequest, CreateTaskResponse, DeleteResponse};
use crate::proto::wire::Timestamp;

/// What a job needs to create a container.
struct Plan {
    runtimes: Arc<Runtimes>,
    namespace: String,
    log: Log,
    request: CreateTaskRequest,
}

/// A container that has been created.
struct Made {
    options: Options,
    runtime: hoist::Runtime,
    handle: hoist::Container,
    pid: u32,
    private_pid: bool,
    streams: Streams,
    pumps: Vec<Pump>,
    oom: Option<hoist::Events>,
    warnings: Vec<String>,
}

/// Runtimes, by root directory and by whether systemd makes the cgroups: containers of one share what
/// it has found out and made.
#[derive(Default)]
pub(super) struct Runtimes(Mutex<BTreeMap<(PathBuf, bool), hoist::Runtime>>);

impl Runtimes {
    fn get(
        &self,
        options: &Options,
        namespace: &str,
        spec: &hoist::oci::Spec,
    ) -> Result<hoist::Runtime> {
        let linux = spec.linux().as_ref();
        let cgroup = linux.and_then(|linux| linux.cgroups_path().as_ref()?.to_str());
        let key = (options.root(namespace), options.systemd_cgroup(cgroup));
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(runtime) = known.get(&key) {
            return Ok(runtime.clone());
        }
        let manager =
            if key.1 { hoist::CgroupManager::Systemd } else { hoist::CgroupManager::Cgroupfs };
        let runtime = hoist::Runtime::builder().root(&key.0).cgroup_manager(manager).build()?;
        known.insert(key, runtime.clone());
        Ok(runtime)
    }
}

impl Service {
    pub(super) fn create(&mut self, request: CreateTaskRequest, reply: Reply) -> Result<()> {
        if self.life != Life::Serving {
            return Err(Failure::new(Code::Unavailable, "this shim is about to end"));
        }
        if let Some(container) = self.containers.get(&request.id) {
            if container.init.exit().is_none() {
                return Err(exists(&request.id));
            }
            // containerd may have had it removed while this shim didn't answer.
            self.drop_removed(vec![request.id.clone()], move |service| {
                if service.containers.contains_key(&request.id) {
                    service.refuse(reply, exists(&request.id));
                } else {
                    let again = service.create(request, reply);
                    again.unwrap_or_else(|failure| service.refuse(reply, failure));
                }
            });
            return Ok(());
        }
        if self.creating.contains_key(&request.id) {
            return Err(exists(&request.id));
        }
        if !request.checkpoint.is_empty() {
            return Err(no_checkpoints());
        }
        if !Path::new(&request.bundle).is_absolute() {
            let why = format!("bundle {:?}: no absolute path", request.bundle);
            return Err(Failure::new(Code::InvalidArgument, why));
        }
        self.creating.insert(request.id.clone(), Vec::new());
        let (runtimes, namespace) = (self.runtimes.clone(), self.namespace.clone());
        let plan = Plan { runtimes, namespace, log: self.log.clone(), request };
        self.work(
            move || {
                let made = make(&plan);
                (plan.request, made)
            },
            move |service, (request, made)| service.was_made(request, reply, made),
        );
        Ok(())
    }

    /// A create has ended. Who called for it may have given up: then containerd has called Delete, or
    /// has removed the bundle, and nobody will ever know of the container.
    fn was_made(&mut self, request: CreateTaskRequest, reply: Reply, made: Result<Made>) {
        let cancelled = self.creating.remove(&request.id).unwrap_or_default();
        let made = match made {
            Ok(made) if !cancelled.is_empty() || !Path::new(&request.bundle).exists() => {
                let rootfs = Path::new(&request.bundle).join("rootfs");
                let pid = made.pid;
                let job = move || unmake(made, &rootfs);
                return self.work_now(job, move |service, outcome| {
                    let why = "deleted while it was created";
                    service.refuse(reply, Failure::new(Code::FailedPrecondition, why));
                    for waiting in cancelled {
                        let killed = DeleteResponse {
                            pid,
                            exit_status: 128 + SIGKILL,
                            exited_at: Some(Timestamp::now()),
                        };
                        service.answer(waiting, outcome.clone().map(|()| killed));
                    }
                    service.end_if_unused();
                });
            }
            made => made,
        };
        // There was nothing to delete.
        for waiting in cancelled {
            self.refuse(waiting, not_found(&request.id));
        }
        match made.and_then(|made| self.created(request, made)) {
            Ok(created) => {
                self.shutdown_called = false;
                self.answer(reply, Ok(created));
            }
            Err(failure) => {
                self.refuse(reply, failure);
                self.end_if_unused();
            }
        }
    }

    fn created(&mut self, request: CreateTaskRequest, made: Made) -> Result<CreateTaskResponse> {
        let options = made.options;
        let key = Key::init(&request.id);
        for warning in made.handle.warnings().iter().chain(&made.warnings) {
            self.log.warn(format_args!("create {}: {warning}", request.id));
        }
        let stdio = Stdio {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let mut init = Process::new(stdio, What::Init);
        init.pid = made.pid;
        init.streams = Some(made.streams);
        let container = Container {
            bundle: PathBuf::from(&request.bundle),
            runtime: made.runtime,
            handle: Arc::new(made.handle),
            io_owner: (options.io_uid, options.io_gid),
            loggers: !options.no_binary_loggers(),
            private_pid: made.private_pid,
            init,
            execs: BTreeMap::new(),
            oom: made.oom,
            oom_reported: false,
            freezer: Freezer::Thawed,
            held: None,
        };
        if let Some(pidfd) = container.handle().pidfd()
            && let Err(failure) = self.watch_exit(&key, pidfd)
        {
            let (runtime, rootfs) = (container.runtime.clone(), container.bundle.join("rootfs"));
            let job = move || {
                drop(container);
                let _ = runtime.container(&key.container).map(hoist::Container::delete_force);
                let _ = mount::unmount_all(&rootfs);
            };
            self.work_now(job, |_, ()| {});
            return Err(failure);
        }
        self.publish(&TaskCreate {
            container_id: request.id.clone(),
            bundle: request.bundle,
            rootfs: request.rootfs,
            io: Some(TaskIO {
                stdin: request.stdin,
                stdout: request.stdout,
                stderr: request.stderr,
                terminal: request.terminal,
            }),
            checkpoint: request.checkpoint,
            pid: made.pid,
        });
        let handle = container.handle();
        if let Some(oom) = &container.oom {
            let token = self.reactor.token();
            match self.reactor.add(token, oom, EventFlags::IN | EventFlags::PRI) {
                Ok(()) => drop(self.sources.insert(token, Source::Oom(request.id.clone()))),
                Err(failure) => self.log.error(failure.during("OOM events")),
            }
        }
        self.containers.insert(request.id, container);
        self.attach(&key, made.pumps);
        if handle.pidfd().is_none() {
            self.ended(&key);
        }
        Ok(CreateTaskResponse { pid: made.pid })
    }

    pub(super) fn watch_exit(&mut self, key: &Key, pidfd: impl AsFd) -> Result<()> {
        let token = self.reactor.token();
        self.reactor.add(token, pidfd, EventFlags::IN)?;
        self.sources.insert(token, Source::Exit(key.clone()));
        Ok(())
    }
}

/// Creates the container. If that fails, nothing of it is left.
fn make(plan: &Plan) -> Result<Made> {
    let Plan { request, log, .. } = plan;
    let options = Options::decode(request.options.as_ref())?;
    options.explain(log);
    let bundle = Path::new(&request.bundle);
    options.save(bundle)?;
    let rootfs = bundle.join("rootfs");
    if !request.rootfs.is_empty() {
        match rustix::fs::mkdir(&rootfs, Mode::from_raw_mode(0o711)) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno).during(format!("make {}", rootfs.display())),
        }
        mount::mount_all(&request.rootfs, &rootfs).during("failed to mount rootfs component")?;
    }
    make_mounted(plan, options, bundle).inspect_err(|_| {
        if !request.rootfs.is_empty() {
            // What is wrong is said already.
            let _ = mount::unmount_all(&rootfs);
        }
    })
}

fn make_mounted(plan: &Plan, options: Options, bundle: &Path) -> Result<Made> {
    let Plan { runtimes, namespace, request, .. } = plan;
    let failed = "OCI runtime create failed";
    let bundle = hoist::Bundle::load(bundle).during(failed)?;
    let runtime = runtimes.get(&options, namespace, bundle.spec())?;
    let private_pid = has_private_pid(bundle.spec());
    let (mut streams, given) = Streams::open(&io::Request {
        namespace,
        id: &request.id,
        stdin: &request.stdin,
        stdout: &request.stdout,
        stderr: &request.stderr,
        terminal: request.terminal,
        uid: options.io_uid,
        gid: options.io_gid,
        loggers: !options.no_binary_loggers(),
    })
    .during("failed to create init process I/O")?;
    let mut create = hoist::CreateOptions::new()
        .stdio(given.stdio)
        .no_pivot(options.no_pivot_root())
        .no_new_keyring(options.no_new_keyring());
    if let Some(socket) = given.console_socket {
        create = create.console_socket(socket);
    }
    let handle = runtime.create_with(&request.id, bundle, create).during(failed)?;
    let rest = || {
        streams.attach().during("the container's terminal")?;
        // Armed before the program runs: it may need no time to use up its memory.
        let (oom, warnings) = match handle.events() {
            Ok(events) => (Some(events), Vec::new()),
            Err(error) => (None, vec![format!("no OOM events: {error}")]),
        };
        let pid = handle.pid().during(failed)?.unwrap_or_default();
        Ok((oom, warnings, pid))
    };
    match { rest }() {
        Ok((oom, warnings, pid)) => {
            let pumps = streams.take_pumps();
            Ok(Made { options, runtime, handle, pid, private_pid, streams, pumps, oom, warnings })
        }
        Err(failure) => {
            let _ = handle.delete_force();
            Err(failure)
        }
    }
}

/// Takes a container back that nobody knows of.
fn unmake(made: Made, rootfs: &Path) -> Result<()> {
    let deleted = made.handle.delete_force();
    let unmounted = mount::unmount_all(rootfs);
    drop(made.pumps);
    drop(made.streams);
    deleted.during("failed to delete task")?;
    unmounted.during("failed rootfs umount")
}

fn exists(id: &str) -> Failure {
    Failure::new(Code::AlreadyExists, format!("container {id:?} already exists"))
}

/// Whether the end of the container's first process is the end of all: pid_namespaces(7).
fn has_private_pid(spec: &hoist::oci::Spec) -> bool {
    let namespaces = spec.linux().as_ref().and_then(|linux| linux.namespaces().as_ref());
    namespaces
        .into_iter()
        .flatten()
        .any(|namespace| namespace.typ() == LinuxNamespaceType::Pid && namespace.path().is_none())
}
