//! Staying with a process: signals go to it, its terminal is ours, and its end is ours too.
//!
//! One loop waits for everything; there is no thread and no handler.

mod pump;
mod signals;
mod terminal;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use self::pump::Pump;
use crate::failure::{Context, Result};
use crate::notify::Relay;
use crate::session::Session;
use hoist::Signal;

pub(crate) use signals::Signals;

/// What this program does while the process runs.
#[derive(Debug)]
pub(crate) struct Foreground {
    signals: Signals,
    pump: Option<Pump>,
}

/// What the loop waits for.
#[derive(Debug, Clone, Copy)]
enum Source {
    Process,
    Signals,
    Notify,
    Input,
    Master,
    Output,
}

impl Foreground {
    /// Takes signals from now on: none may be lost between the start of a process and the loop.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self { signals: Signals::block()?, pump: None })
    }

    /// Connects our terminal with the process's.
    pub(crate) fn attach(&mut self, master: OwnedFd) -> Result<()> {
        self.pump = Some(Pump::new(master)?);
        Ok(())
    }

    /// Returns once the process has ended and all that it wrote has been passed on. Our terminal
    /// is then as it was.
    pub(crate) fn stay(
        mut self,
        session: &Session,
        process: BorrowedFd<'_>,
        mut notify: Option<Relay>,
        forward: impl Fn(Signal) -> hoist::Result<()>,
    ) -> Result<()> {
        loop {
            let mut watched = vec![
                (Source::Process, process, PollFlags::IN),
                (Source::Signals, self.signals.as_fd(), PollFlags::IN),
            ];
            if let Some(relay) = &notify {
                watched.push((Source::Notify, relay.as_fd(), PollFlags::IN));
            }
            if let Some(pump) = &self.pump {
                watched.extend(pump.watched());
            }
            for source in wait(&watched)? {
                match source {
                    Source::Process => {
                        if let Some(pump) = &mut self.pump {
                            pump.drain();
                        }
                        return Ok(());
                    }
                    Source::Signals => self.take_signals(session, &forward),
                    Source::Notify => {
                        if notify
                            .as_ref()
                            .is_some_and(|relay| relay.pass_on(std::process::id(), &session.log))
                        {
                            notify = None;
                        }
                    }
                    Source::Input | Source::Master | Source::Output => {
                        if let Some(pump) = &mut self.pump {
                            pump.step(source);
                        }
                    }
                }
            }
        }
    }

    fn take_signals(&mut self, session: &Session, forward: &impl Fn(Signal) -> hoist::Result<()>) {
        while let Some(number) = self.signals.next() {
            match (&mut self.pump, number) {
                (Some(pump), signals::WINDOW_CHANGE) => pump.resize(),
                (None, signals::WINDOW_CHANGE) => {}
                (_, number) => {
                    session.log.debug(|| format!("forwarding signal {number}"));
                    // It may have ended just now.
                    let _ = Signal::from_number(number).and_then(forward);
                }
            }
        }
    }
}

/// Waits until one of `watched` is ready, and says which ones are.
fn wait(watched: &[(Source, BorrowedFd<'_>, PollFlags)]) -> Result<Vec<Source>> {
    let mut polled: Vec<_> =
        watched.iter().map(|(_, fd, events)| PollFd::from_borrowed_fd(*fd, *events)).collect();
    match poll(&mut polled, None) {
        Err(Errno::INTR) => return Ok(Vec::new()),
        polled => polled.context("poll")?,
    };
    let ready = polled.iter().zip(watched).filter(|(polled, _)| !polled.revents().is_empty());
    // The process's end comes last: what it wrote and what it was sent before count.
    let mut sources: Vec<_> = ready.map(|(_, (source, _, _))| *source).collect();
    sources.sort_by_key(|source| matches!(source, Source::Process));
    Ok(sources)
}
