//! The calls that ask, and those that change a container that is there.

use std::sync::Arc;

use super::task::{Container, Freezer, Key, Phase, What};
use super::{FAREWELL, Life, Reply, Service, Source};
use crate::failure::{Code, Failure, Result};
use crate::proto::events::{TaskPaused, TaskResumed};
use crate::proto::options::ProcessDetails;
use crate::proto::task::{
    CheckpointTaskRequest, CloseIORequest, ConnectRequest, ConnectResponse, KillRequest,
    PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest, ShutdownRequest,
    StateRequest, StateResponse, StatsRequest, StatsResponse, UpdateTaskRequest, WaitRequest,
    WaitResponse,
};
use crate::proto::types::{ProcessInfo, ProcessStatus};
use crate::proto::wire::{Any, Empty};
use crate::{metrics, socket};

/// SIGKILL, signal(7).
pub(super) const SIGKILL: u32 = 9;

impl Service {
    pub(super) fn state(&mut self, request: StateRequest) -> Result<StateResponse> {
        let container = self.container(&request.id)?;
        let freezer = container.freezer;
        let bundle = container.bundle.to_string_lossy().into_owned();
        let process = container.process(&request.exec_id)?;
        let status = match (process.status(), freezer) {
            (ProcessStatus::Running, Freezer::Pausing) => ProcessStatus::Pausing,
            (ProcessStatus::Running, Freezer::Paused) => ProcessStatus::Paused,
            (status, _) => status,
        };
        let exit = process.exit();
        // containerd's clients take this for the process's id, the exec's if it is one.
        let id = if request.exec_id.is_empty() { &request.id } else { &request.exec_id };
        Ok(StateResponse {
            id: id.clone(),
            bundle,
            pid: process.pid,
            status: status as i32,
            stdin: process.stdio.stdin.clone(),
            stdout: process.stdio.stdout.clone(),
            stderr: process.stdio.stderr.clone(),
            terminal: process.stdio.terminal,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| exit.at),
            exec_id: request.exec_id,
        })
    }

    pub(super) fn connect(&mut self, request: ConnectRequest) -> Result<ConnectResponse> {
        let pid = self.containers.get(&request.id).map_or(0, |container| container.init.pid);
        Ok(ConnectResponse {
            shim_pid: std::process::id(),
            task_pid: pid,
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    pub(super) fn wait(&mut self, request: WaitRequest, reply: Reply) -> Result<()> {
        let process = self.process(&Key::new(&request.id, &request.exec_id))?;
        match process.exit() {
            Some(exit) => {
                let answer = WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) };
                self.answer(reply, Ok(answer));
            }
            None => process.waiting.push(reply),
        }
        Ok(())
    }

    pub(super) fn pids(&mut self, request: PidsRequest, reply: Reply) -> Result<()> {
        let handle = self.container(&request.id)?.handle();
        self.work(
            move || handle.processes(),
            move |service, pids| {
                let answer = pids.map_err(Failure::from).and_then(|pids| {
                    let container = service.container(&request.id)?;
                    let info = |pid| ProcessInfo { pid, info: container.details(pid) };
                    let mut processes: Vec<_> = pids.into_iter().map(info).collect();
                    // A containerd that starts takes a shim without any for one that was left over, and
                    // deletes the container with its exit status (loadShim, containerd's #6860).
                    if processes.is_empty() {
                        processes.push(ProcessInfo { pid: container.init.pid, info: None });
                    }
                    Ok(PidsResponse { processes })
                });
                service.answer(reply, answer);
            },
        );
        Ok(())
    }

    pub(super) fn stats(&mut self, request: StatsRequest, reply: Reply) -> Result<()> {
        let handle = self.container(&request.id)?.handle();
        self.work(
            move || Ok(metrics::any(&handle.stats()?, metrics::unified()?)),
            move |service, stats: Result<Any>| {
                service.answer(reply, stats.map(|stats| StatsResponse { stats: Some(stats) }));
            },
        );
        Ok(())
    }

    pub(super) fn kill(&mut self, request: KillRequest, reply: Reply) -> Result<()> {
        let signal = i32::try_from(request.signal)
            .map_err(|_| Failure::new(Code::InvalidArgument, "unknown signal"))
            .and_then(|number| Ok(hoist::Signal::from_number(number)?))?;
        let container = self.container(&request.id)?;
        if !request.exec_id.is_empty() {
            let process = container.process(&request.exec_id)?;
            if process.phase == Phase::Starting {
                // Whoever called for the start may have given up: it must not run on for nobody.
                process.kills.push((signal, reply));
                return Ok(());
            }
            let What::Exec { handle: Some(handle), .. } = &process.what else {
                return Err(Failure::new(Code::FailedPrecondition, "process not created"));
            };
            if process.exit().is_some() {
                return Err(finished());
            }
            let killed = handle.kill(signal).map_err(kill_failure);
            self.answer(reply, killed.map(|()| Empty {}));
            return Ok(());
        }
        // Others of its processes may be left, where they have no pid namespace of their own.
        if container.init.exit().is_some() && !request.all {
            return Err(finished());
        }
        let (handle, all) = (container.handle(), request.all);
        self.work_now(
            move || if all { handle.kill_all(signal) } else { handle.kill(signal) },
            move |service, killed| {
                if killed.is_ok() && request.signal == SIGKILL {
                    // The library thaws what is to die.
                    if let Ok(container) = service.container(&request.id) {
                        container.freezer = Freezer::Thawed;
                    }
                }
                let answer = killed.map(|()| Empty {}).map_err(kill_failure);
                service.answer(reply, answer);
            },
        );
        Ok(())
    }

    pub(super) fn pause(&mut self, request: PauseRequest, reply: Reply) -> Result<()> {
        let container = self.container(&request.id)?;
        if container.init.phase != Phase::Running {
            return Err(Failure::new(
                Code::FailedPrecondition,
                format!("cannot pause a container that is {}", name(container.init.phase)),
            ));
        }
        if container.freezer == Freezer::Thawed {
            container.freezer = Freezer::Pausing;
        }
        let handle = container.handle();
        self.work(
            move || (handle.pause(), freezer_of(&handle)),
            move |service, (paused, freezer)| {
                service.frozen(&request.id, freezer);
                if paused.is_ok() {
                    service.publish(&TaskPaused { container_id: request.id });
                }
                service.answer(reply, paused.map(|()| Empty {}).map_err(Failure::from));
            },
        );
        Ok(())
    }

    pub(super) fn resume(&mut self, request: ResumeRequest, reply: Reply) -> Result<()> {
        let handle = self.container(&request.id)?.handle();
        self.work_now(
            move || (handle.resume(), freezer_of(&handle)),
            move |service, (resumed, freezer)| {
                service.frozen(&request.id, freezer);
                if resumed.is_ok() {
                    service.publish(&TaskResumed { container_id: request.id });
                }
                service.answer(reply, resumed.map(|()| Empty {}).map_err(Failure::from));
            },
        );
        Ok(())
    }

    fn frozen(&mut self, id: &str, freezer: Freezer) {
        if let Ok(container) = self.container(id) {
            container.freezer = freezer;
        }
    }

    pub(super) fn update(&mut self, request: UpdateTaskRequest, reply: Reply) -> Result<()> {
        let handle = self.container(&request.id)?.handle();
        let Some(Any { value, .. }) = request.resources else {
            return Err(Failure::new(Code::InvalidArgument, "no resources to update"));
        };
        // A LinuxResources of the runtime-spec, as JSON.
        let resources = hoist::Resources::from_json(value)?;
        self.work(
            move || handle.update(&resources),
            move |service, updated| {
                for warning in updated.iter().flatten() {
                    service.log.warn(format_args!("update {}: {warning}", request.id));
                }
                service.answer(reply, updated.map(|_| Empty {}).map_err(Failure::from));
            },
        );
        Ok(())
    }

    pub(super) fn checkpoint(&mut self, request: CheckpointTaskRequest) -> Result<Empty> {
        self.container(&request.id)?;
        Err(no_checkpoints())
    }

    pub(super) fn resize_pty(&mut self, request: ResizePtyRequest) -> Result<Empty> {
        let process = self.process(&Key::new(&request.id, &request.exec_id))?;
        let size = u16::try_from(request.width).ok().zip(u16::try_from(request.height).ok());
        let Some((width, height)) = size else {
            return Err(Failure::new(Code::InvalidArgument, "no terminal is that large"));
        };
        // Docker asks before an exec is started, and for processes without a terminal.
        if let Some(streams) = process.streams.as_ref().filter(|_| process.stdio.terminal) {
            streams.resize(width, height)?;
        }
        Ok(Empty {})
    }

    pub(super) fn close_io(&mut self, request: CloseIORequest) -> Result<Empty> {
        let process = self.process(&Key::new(&request.id, &request.exec_id))?;
        match process.streams.as_mut() {
            Some(streams) => streams.close_stdin(),
            None => process.stdin_closed = true,
        }
        Ok(Empty {})
    }

    /// containerd asks after each deleted container: only the last one counts.
    pub(super) fn shutdown(&mut self, _request: ShutdownRequest, reply: Reply) -> Result<()> {
        let stopped = self.containers.iter().filter(|(_, one)| one.init.exit().is_some());
        let ids: Vec<String> = stopped.map(|(id, _)| id.clone()).collect();
        let end = move |service: &mut Self| {
            service.shutdown_called = true;
            service.end_if_unused();
            service.goodbyes.push(reply);
            if service.life != Life::Retiring {
                service.say_goodbye();
            }
        };
        if ids.is_empty() {
            end(self);
        } else {
            self.drop_removed(ids, end);
        }
        Ok(())
    }

    /// Ends if that was called for and there is nothing left.
    pub(super) fn end_if_unused(&mut self) {
        let is_empty = self.containers.is_empty() && self.creating.is_empty();
        if !is_empty || !self.shutdown_called || self.life != Life::Serving {
            return;
        }
        self.life = Life::Retiring;
        let timer = self.reactor.after(FAREWELL);
        self.sources.insert(timer, Source::Farewell);
        // The socket goes first: whoever starts a shim from then on finds none, and no dying one.
        let listener = self.listener.try_clone();
        self.work_now(
            move || listener.map_err(Failure::from).and_then(socket::retire),
            |service, retired| {
                if let Err(failure) = retired {
                    service.log.error(failure);
                }
                service.life = Life::Ending;
                service.say_goodbye();
            },
        );
    }

    fn say_goodbye(&mut self) {
        for reply in std::mem::take(&mut self.goodbyes) {
            self.answer(reply, Ok(Empty {}));
        }
    }
}

impl Container {
    /// What containerd is told of a process besides its pid: the exec that it is.
    fn details(&self, pid: u32) -> Option<Any> {
        let running = self.execs.iter().filter(|(_, exec)| exec.phase == Phase::Running);
        let (id, _) = running.into_iter().find(|(_, exec)| exec.pid == pid)?;
        Some(Any::pack(&ProcessDetails { exec_id: id.clone() }))
    }

    /// Shared with the jobs that use it.
    pub(super) fn handle(&self) -> Arc<hoist::Container> {
        self.handle.clone()
    }
}

/// Whether a container stands still, as the kernel has it: calls may have overtaken each other.
fn freezer_of(handle: &hoist::Container) -> Freezer {
    match handle.state().map(|state| state.status) {
        Ok(hoist::Status::Paused) => Freezer::Paused,
        _ => Freezer::Thawed,
    }
}

/// What containerd takes for the end of a process is said only of those that have ended.
pub(super) fn kill_failure(error: hoist::Error) -> Failure {
    match error.kind() {
        hoist::ErrorKind::WrongState => finished(),
        _ => error.into(),
    }
}

pub(super) fn finished() -> Failure {
    Failure::new(Code::NotFound, "process already finished")
}

/// For Checkpoint, and for Create from a checkpoint.
pub(super) fn no_checkpoints() -> Failure {
    Failure::new(
        Code::Unimplemented,
        "checkpoint and restore are not implemented: hoist has no CRIU yet",
    )
}

pub(super) fn name(phase: Phase) -> &'static str {
    match phase {
        Phase::Created => "created",
        Phase::Starting => "starting",
        Phase::Running => "running",
        Phase::Stopped(_) => "stopped",
    }
}
