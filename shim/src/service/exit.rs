//! The ends of processes, and memory that ran out.
//!
//! containerd relies on the order: an exec's exit comes before that of its container, the OOM event before
//! the exit, the start before the end, however short the process was.

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::task::{Exit, Key, Phase, What};
use super::{Service, Source};
use crate::proto::events::{TaskExit, TaskOOM};
use crate::proto::task::WaitResponse;
use crate::proto::wire::Timestamp;

/// How long the end of a container's other processes is waited for once they have been killed.
const HELD: Duration = Duration::from_secs(10);
/// When to ask again for a status that can't be had now.
const RETRY: Duration = Duration::from_millis(200);
/// What a shell says of a status that is not known.
const UNKNOWN: u32 = 255;

fn exit(status: &hoist::ExitStatus) -> Exit {
    let code = u32::try_from(status.exit_code()).unwrap_or(UNKNOWN);
    Exit { status: code, at: Timestamp::now() }
}

/// Whether a pidfd is readable: pidfd_open(2).
fn has_ended(pidfd: &impl AsFd) -> bool {
    let mut pidfd = [PollFd::new(pidfd, PollFlags::IN)];
    !matches!(poll(&mut pidfd, Some(&Timespec::default())), Ok(0))
}

impl Service {
    /// A process's pidfd has become readable.
    pub(super) fn ended(&mut self, key: &Key) {
        let Ok(container) = self.container(&key.container) else { return };
        let handle = container.handle();
        let Ok(process) = container.process(&key.exec) else { return };
        if process.phase == Phase::Starting {
            process.ended_early = true;
            return;
        }
        match &process.what {
            What::Init => {
                // It looks at the cgroup, which the container may have filled with others.
                let key = key.clone();
                self.work_now(
                    move || handle.wait(),
                    move |service, outcome| service.init_waited(&key, outcome),
                );
            }
            What::Exec { handle: Some(handle), .. } if !has_ended(handle) => self.look_again(key),
            What::Exec { handle: Some(handle), .. } => match handle.wait() {
                Ok(status) => {
                    self.tell(key, exit(&status));
                    self.release(&key.container, false);
                }
                Err(error) => {
                    if self.unknown(key, &error) {
                        self.tell(key, Exit { status: UNKNOWN, at: Timestamp::now() });
                        self.release(&key.container, false);
                    }
                }
            },
            What::Exec { handle: None, .. } => {}
        }
    }

    fn init_waited(&mut self, key: &Key, outcome: hoist::Result<hoist::ExitStatus>) {
        match outcome {
            Ok(status) => {
                if status.oom_killed() {
                    self.report_oom(&key.container);
                }
                self.init_ended(&key.container, exit(&status));
            }
            Err(error) => {
                if self.unknown(key, &error) {
                    let exit = Exit { status: UNKNOWN, at: Timestamp::now() };
                    self.init_ended(&key.container, exit);
                }
            }
        }
    }

    /// How a process ended can't be told: false if it may be known later, when it is asked again.
    fn unknown(&mut self, key: &Key, error: &hoist::Error) -> bool {
        self.log.error(format_args!("{}: how did it end? {error}", key.container));
        // The kernel doesn't have it any more, or what is missing may come back: descriptors, memory.
        let is_final =
            matches!(error.kind(), hoist::ErrorKind::StatusStolen | hoist::ErrorKind::WrongState);
        if !is_final {
            self.look_again(key);
        }
        is_final
    }

    /// Looks for the end of a process that can't be watched, or whose status can't be had now.
    fn look_again(&mut self, key: &Key) {
        let timer = self.reactor.after(RETRY);
        self.sources.insert(timer, Source::Exit(key.clone()));
    }

    /// A container's first process has ended: what else is in it ends first.
    fn init_ended(&mut self, id: &str, exit: Exit) {
        let Ok(container) = self.container(id) else { return };
        container.held = Some(exit);
        if !container.private_pid {
            let handle = container.handle();
            self.work_now(
                // The cgroup may be gone, and with it all that was in it.
                move || drop(handle.kill_all(hoist::Signal::KILL)),
                |_, ()| {},
            );
        }
        if let Ok(container) = self.container(id)
            && container.has_running_execs()
        {
            let timer = self.reactor.after(HELD);
            self.sources.insert(timer, Source::Unheld(id.to_owned()));
        }
        self.release(id, false);
    }

    /// Tells the end of a container's first process once none of its execs runs; `overdue`: all the same.
    pub(super) fn release(&mut self, id: &str, overdue: bool) {
        let Ok(container) = self.container(id) else { return };
        if container.has_running_execs() && !overdue {
            return;
        }
        if let Some(exit) = container.held.take() {
            self.tell(&Key::init(id), exit);
        }
    }

    pub(super) fn tell(&mut self, key: &Key, exit: Exit) {
        let Ok(process) = self.process(key) else { return };
        process.phase = Phase::Stopped(exit);
        let waiting = std::mem::take(&mut process.waiting);
        let pid = process.pid;
        for (token, source) in &mut self.sources {
            if let Source::Pump(owner, pump) = source
                && owner == key
            {
                pump.process_exited();
                self.reactor.again(*token);
            }
        }
        self.publish(&TaskExit {
            container_id: key.container.clone(),
            id: if key.is_init() { key.container.clone() } else { key.exec.clone() },
            pid,
            exit_status: exit.status,
            exited_at: Some(exit.at),
        });
        for reply in waiting {
            let answer = WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) };
            self.answer(reply, Ok(answer));
        }
        self.go_on_deleting(key);
    }

    /// The kernel may have something to say about a container's memory.
    pub(super) fn out_of_memory(&mut self, id: String) -> Option<Source> {
        let container = self.containers.get_mut(&id)?;
        let events = container.oom.as_mut()?;
        let mut kills = 0;
        loop {
            match events.read() {
                Ok(Some(hoist::Event::Oom { .. })) => kills += 1,
                Ok(Some(hoist::Event::Ended)) | Err(_) => {
                    container.oom = None;
                    break;
                }
                Ok(Some(_)) => {}
                Ok(None) => break,
            }
        }
        let goes_on = container.oom.is_some();
        container.oom_reported |= kills > 0;
        if kills > 0 {
            self.publish(&TaskOOM { container_id: id.clone() });
        }
        goes_on.then_some(Source::Oom(id))
    }

    /// The exit tells that the OOM killer was at work: so must an event before it.
    fn report_oom(&mut self, id: &str) {
        let _ = self.out_of_memory(id.to_owned());
        if let Ok(container) = self.container(id)
            && !std::mem::replace(&mut container.oom_reported, true)
        {
            self.publish(&TaskOOM { container_id: id.to_owned() });
        }
    }
}
