//! Exec, which only says what is to be run, and Start, of containers and of execs.

use std::sync::Arc;

use super::calls::{finished, kill_failure, name};
use super::task::{Exit, Freezer, Key, Phase, Process, Stdio, What};
use super::{Reply, Service, not_found};
use crate::failure::{Code, During, Failure, Result};
use crate::io::{self, Pump, Streams};
use crate::proto::events::{TaskExecAdded, TaskExecStarted, TaskStart};
use crate::proto::task::{ExecProcessRequest, StartRequest, StartResponse, WaitResponse};
use crate::proto::wire::{Any, Empty, Timestamp};

/// The status of an exec that could not be started.
const NOT_STARTED: u32 = 255;

/// An exec that runs.
struct Executed {
    process: hoist::Process,
    streams: Streams,
    pumps: Vec<Pump>,
}

impl Service {
    pub(super) fn exec(&mut self, request: ExecProcessRequest) -> Result<Empty> {
        let container = self.container(&request.id)?;
        if request.exec_id.is_empty() {
            return Err(Failure::new(Code::InvalidArgument, "an exec needs an id"));
        }
        if container.execs.contains_key(&request.exec_id) {
            let why = format!("exec {:?} already exists", request.exec_id);
            return Err(Failure::new(Code::AlreadyExists, why));
        }
        if container.freezer != Freezer::Thawed {
            let why = "cannot exec in a paused container";
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        if container.init.exit().is_some() || container.held.is_some() {
            let why = "cannot exec in a stopped container";
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        let Some(Any { value, .. }) = request.spec else {
            return Err(Failure::new(Code::InvalidArgument, "an exec needs a process"));
        };
        let (mut spec, warnings) = hoist::parse_process(value)?;
        spec.set_terminal(Some(request.terminal));
        let stdio = Stdio {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
        };
        let what = What::Exec { spec: Arc::new(spec), handle: None };
        container.execs.insert(request.exec_id.clone(), Process::new(stdio, what));
        for warning in warnings {
            self.log.warn(format_args!("exec {} in {}: {warning}", request.exec_id, request.id));
        }
        self.publish(&TaskExecAdded { container_id: request.id, exec_id: request.exec_id });
        Ok(Empty {})
    }

    pub(super) fn start(&mut self, request: StartRequest, reply: Reply) -> Result<()> {
        let key = Key::new(&request.id, &request.exec_id);
        let namespace = self.namespace.clone();
        let container = self.container(&key.container)?;
        if !key.is_init() && (container.held.is_some() || container.init.exit().is_some()) {
            let why = format!("container {} init process is not running", key.container);
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        let handle = container.handle();
        let ((uid, gid), loggers) = (container.io_owner, container.loggers);
        let process = container.process(&key.exec)?;
        if process.phase != Phase::Created || process.deleting.is_some() {
            let why = format!("cannot start a process that is {}", name(process.phase));
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        process.phase = Phase::Starting;
        match &process.what {
            What::Init => self.work(
                move || handle.start(),
                move |service, started| service.started(&key, reply, started),
            ),
            What::Exec { spec, .. } => {
                let (spec, stdio) = (spec.clone(), process.stdio.clone());
                let id = key.exec.clone();
                let job = move || {
                    let request = io::Request {
                        namespace: &namespace,
                        id: &id,
                        stdin: &stdio.stdin,
                        stdout: &stdio.stdout,
                        stderr: &stdio.stderr,
                        terminal: stdio.terminal,
                        uid,
                        gid,
                        loggers,
                    };
                    execute(&handle, &spec, &request)
                };
                self.work(job, move |service, executed| service.executed(&key, reply, executed));
            }
        }
        Ok(())
    }

    /// A container's program runs, or could not be started.
    fn started(&mut self, key: &Key, reply: Reply, started: hoist::Result<()>) {
        let Ok(process) = self.process(key) else {
            return self.refuse(reply, not_found(&key.container));
        };
        let pid = process.pid;
        let ended_early = process.ended_early;
        // It may have been killed before, and its end become known since: that stays.
        if process.phase == Phase::Starting {
            process.phase = if started.is_ok() { Phase::Running } else { Phase::Created };
        }
        let answer = match started {
            Ok(()) => {
                self.publish(&TaskStart { container_id: key.container.clone(), pid });
                Ok(StartResponse { pid })
            }
            Err(error) => Err(Failure::from(error).during("OCI runtime start failed")),
        };
        self.answer(reply, answer);
        if ended_early {
            self.ended(key);
        }
    }

    /// An exec runs, or could not be started.
    fn executed(&mut self, key: &Key, reply: Reply, executed: Result<Executed>) {
        let Ok(process) = self.process(key) else {
            // The container was deleted meanwhile. A logger takes its time to end: not here.
            self.work(move || drop(executed.inspect(stop)), |_, ()| {});
            return self.refuse(reply, not_found(&key.container));
        };
        let kills = std::mem::take(&mut process.kills);
        let is_wanted = process.deleting.is_none();
        let Executed { process: handle, mut streams, pumps } = match executed {
            Ok(executed) => executed,
            Err(failure) => {
                let exit = Exit { status: NOT_STARTED, at: Timestamp::now() };
                process.phase = Phase::Stopped(exit);
                for waiting in std::mem::take(&mut process.waiting) {
                    let answer =
                        WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) };
                    self.answer(waiting, Ok(answer));
                }
                self.refuse(reply, failure);
                for (_, waiting) in kills {
                    self.refuse(waiting, finished());
                }
                self.go_on_deleting(key);
                // The container's end may have waited for this.
                return self.release(&key.container, false);
            }
        };
        let pid = handle.pid();
        if process.stdin_closed {
            streams.close_stdin();
        }
        process.phase = Phase::Running;
        process.pid = pid;
        process.streams = Some(streams);
        for warning in handle.warnings() {
            self.log.warn(format_args!("exec {} in {}: {warning}", key.exec, key.container));
        }
        let watched = self.watch_exit(key, &handle);
        for (signal, waiting) in kills {
            self.answer(waiting, handle.kill(signal).map(|()| Empty {}).map_err(kill_failure));
        }
        if !is_wanted {
            let _ = handle.kill(hoist::Signal::KILL);
        }
        if let Ok(process) = self.process(key)
            && let What::Exec { handle: slot, .. } = &mut process.what
        {
            *slot = Some(handle);
        }
        self.publish(&TaskExecStarted {
            container_id: key.container.clone(),
            exec_id: key.exec.clone(),
            pid,
        });
        self.answer(reply, Ok(StartResponse { pid }));
        self.attach(key, pumps);
        if let Err(failure) = watched {
            // It is looked at now and then instead.
            self.log.error(failure);
            self.ended(key);
        }
    }
}

/// Ends a process that nobody wants any more.
fn stop(executed: &Executed) {
    let _ = executed.process.kill(hoist::Signal::KILL);
    let _ = executed.process.wait();
}

fn execute(
    handle: &hoist::Container,
    spec: &hoist::oci::Process,
    request: &io::Request<'_>,
) -> Result<Executed> {
    let (mut streams, given) =
        Streams::open(request).during("failed to create exec process I/O")?;
    let mut options = hoist::ExecOptions::new().stdio(given.stdio);
    if let Some(socket) = given.console_socket {
        options = options.console_socket(socket);
    }
    let process = handle.exec(spec, options).during("OCI runtime exec failed")?;
    if let Err(failure) = streams.attach() {
        let _ = process.kill(hoist::Signal::KILL);
        let _ = process.wait();
        return Err(failure.during("the process's terminal"));
    }
    let pumps = streams.take_pumps();
    Ok(Executed { process, streams, pumps })
}
