//! Delete: after the end of a process has been told and all that it wrote has been passed on.

use std::time::Duration;

use super::calls::{SIGKILL, name};
use super::task::{Container, Deleting, Exit, Key, Phase};
use super::{Reply, Service, Source, not_found};
use crate::failure::{Code, During, Failure, Result};
use crate::mount;
use crate::proto::events::TaskDelete;
use crate::proto::task::{DeleteRequest, DeleteResponse};
use crate::proto::wire::Timestamp;

/// How long a client may take to read what a process has written. Somebody else may also hold its end of
/// the stream: a child that it has left to itself.
const PATIENCE: Duration = Duration::from_secs(10);

impl Service {
    pub(super) fn delete(&mut self, request: DeleteRequest, reply: Reply) -> Result<()> {
        let key = Key::new(&request.id, &request.exec_id);
        if let (Some(deletes), true) = (self.creating.get_mut(&request.id), key.is_init()) {
            // It can't be stopped: it is taken back when it is there.
            deletes.push(reply);
            return Ok(());
        }
        let container = self.container(&key.container)?;
        let handle = container.handle();
        let process = container.process(&key.exec)?;
        match process.phase {
            Phase::Created | Phase::Stopped(_) => {}
            // Whoever called for the start may have given up: it ends as soon as it runs.
            Phase::Starting if !key.is_init() => {}
            phase => {
                return Err(Failure::new(
                    Code::FailedPrecondition,
                    format!("cannot delete a process that is {}", name(phase)),
                ));
            }
        }
        if process.deleting.is_some() {
            let why = "it is being deleted already";
            return Err(Failure::new(Code::FailedPrecondition, why));
        }
        let never_started = process.phase == Phase::Created && key.is_init();
        let waits = never_started || process.outputs > 0 || process.phase == Phase::Starting;
        process.deleting = Some(Deleting { reply, overdue: false, under_way: false });
        if waits {
            let timer = self.reactor.after(PATIENCE);
            self.sources.insert(timer, Source::Overdue(key.clone()));
        }
        if never_started {
            // Its end is told like any other, and then this goes on.
            self.work_now(
                move || handle.kill(hoist::Signal::KILL),
                move |service, killed| service.killed_to_delete(&key, killed),
            );
            return Ok(());
        }
        self.go_on_deleting(&key);
        Ok(())
    }

    fn killed_to_delete(&mut self, key: &Key, killed: hoist::Result<()>) {
        let error = match killed {
            Ok(()) => return,
            // It has ended by itself.
            Err(error) if error.kind() == hoist::ErrorKind::WrongState => return,
            Err(error) => error,
        };
        let Ok(process) = self.process(key) else { return };
        if let Some(Deleting { reply, .. }) = process.deleting.take() {
            self.refuse(reply, Failure::from(error).during("failed to delete task"));
        }
    }

    pub(super) fn overdue(&mut self, key: &Key) {
        let Ok(process) = self.process(key) else { return };
        if process.exit().is_none() {
            // Killed, and yet there: the kernel has it. Whoever deletes it may call again.
            if let Some(Deleting { reply, .. }) = process.deleting.take() {
                let why = "the process doesn't end";
                self.refuse(reply, Failure::new(Code::FailedPrecondition, why));
            }
            return;
        }
        let Some(deleting) = &mut process.deleting else { return };
        deleting.overdue = true;
        if process.outputs > 0 {
            self.log.warn(format_args!(
                "delete {}: nobody has read all that process {:?} wrote",
                key.container, key.exec
            ));
        }
        self.go_on_deleting(key);
    }

    /// Deletes a process if that was called for and nothing is left to wait for.
    pub(super) fn go_on_deleting(&mut self, key: &Key) {
        let Ok(process) = self.process(key) else { return };
        let never_started = process.phase == Phase::Created && !key.is_init();
        let (pid, outputs, exit) = (process.pid, process.outputs, process.exit());
        let Some(deleting) = process.deleting.as_mut().filter(|deleting| !deleting.under_way)
        else {
            return;
        };
        if (exit.is_none() && !never_started) || (outputs > 0 && !deleting.overdue) {
            return;
        }
        deleting.under_way = true;
        let reply = deleting.reply;
        // A logger takes its time to end: not here.
        let streams = process.streams.take();
        process.outputs = 0;
        self.forget(|other| other == key);
        let answer = DeleteResponse {
            pid,
            exit_status: exit.map_or(0, |exit| exit.status),
            exited_at: exit.map(|exit| exit.at),
        };
        if !key.is_init() {
            self.work(move || drop(streams), |_, ()| {});
            if let Ok(container) = self.container(&key.container)
                && let Some(exec) = container.execs.remove(&key.exec)
            {
                for waiting in exec.waiting {
                    self.refuse(waiting, not_found(&key.exec));
                }
            }
            return self.answer(reply, Ok(answer));
        }
        let Ok(container) = self.container(&key.container) else { return };
        let (runtime, bundle) = (container.runtime.clone(), container.bundle.clone());
        let id = key.container.clone();
        let job = move || {
            let deleted = match runtime.container(&id).and_then(hoist::Container::delete) {
                Ok(warnings) => Ok(warnings),
                // Somebody else was faster.
                Err(error) if error.kind() == hoist::ErrorKind::NotFound => Ok(Vec::new()),
                Err(error) => Err(error),
            };
            let unmounted = mount::unmount_all(&bundle.join("rootfs"));
            let deleted = deleted.during("failed to delete task")?;
            unmounted.during("failed rootfs umount")?;
            drop(streams);
            Ok(deleted)
        };
        let id = key.container.clone();
        self.work_now(job, move |service, outcome| service.deleted(&id, reply, answer, outcome));
    }

    fn deleted(
        &mut self,
        id: &str,
        reply: Reply,
        answer: DeleteResponse,
        outcome: Result<Vec<hoist::Error>>,
    ) {
        match outcome {
            Ok(warnings) => {
                for warning in warnings {
                    self.log.warn(format_args!("delete {id}: {warning}"));
                }
            }
            Err(failure) => {
                if let Ok(container) = self.container(id) {
                    container.init.deleting = None;
                }
                return self.refuse(reply, failure);
            }
        }
        self.remove(id);
        self.publish(&TaskDelete {
            container_id: id.to_owned(),
            pid: answer.pid,
            exit_status: answer.exit_status,
            exited_at: answer.exited_at,
            id: String::new(),
        });
        self.answer(reply, Ok(answer));
    }

    /// Drops those of these containers that are not there any more: `delete` was executed while this
    /// shim didn't answer.
    pub(super) fn drop_removed(
        &mut self,
        ids: Vec<String>,
        then: impl FnOnce(&mut Self) + Send + 'static,
    ) {
        let known = |id: String| {
            let runtime = self.containers.get(&id)?.runtime.clone();
            Some((id, runtime))
        };
        let looked_at: Vec<_> = ids.into_iter().filter_map(known).collect();
        let is_gone = |(id, runtime): &(String, hoist::Runtime)| {
            let found = runtime.container(id);
            found.is_err_and(|error| error.kind() == hoist::ErrorKind::NotFound)
        };
        self.work_now(
            move || looked_at.into_iter().filter(is_gone).collect::<Vec<_>>(),
            move |service, gone| {
                for (id, _) in gone {
                    let stopped = |one: &Container| one.init.exit().is_some();
                    if service.containers.get(&id).is_some_and(stopped) {
                        service.remove(&id);
                    }
                }
                then(service);
            },
        );
    }

    /// Forgets a container. Nobody is left waiting for its execs: they have been killed with it.
    fn remove(&mut self, id: &str) {
        let Some(container) = self.containers.get(id) else { return };
        let execs: Vec<Key> = container.execs.keys().map(|exec| Key::new(id, exec)).collect();
        for key in execs {
            let Ok(exec) = self.process(&key) else { continue };
            if exec.phase == Phase::Running {
                self.tell(&key, Exit { status: 128 + SIGKILL, at: Timestamp::now() });
            }
            let Ok(exec) = self.process(&key) else { continue };
            let waiting = std::mem::take(&mut exec.waiting);
            let deleting = exec.deleting.take().map(|deleting| deleting.reply);
            for reply in waiting.into_iter().chain(deleting) {
                self.refuse(reply, not_found(&key.exec));
            }
        }
        self.forget(|key| key.container == id);
        let container = self.containers.remove(id);
        // Its execs' loggers, if there are any, take their time to end.
        self.work(move || drop(container), |_, ()| {});
    }

    /// Drops what is waited for on behalf of processes, their streams included.
    fn forget(&mut self, is_gone: impl Fn(&Key) -> bool) {
        self.sources.retain(|_, source| match source {
            Source::Exit(key) | Source::Pump(key, _) | Source::Overdue(key) => !is_gone(key),
            Source::Oom(id) | Source::Unheld(id) => !is_gone(&Key::init(id)),
            _ => true,
        });
    }
}
