//! The event loop's machinery: what is waited for, and when to wake at the latest.
//!
//! Every descriptor is registered edge-triggered (epoll(7)) under a token that is never used twice: what is
//! reported of one that has just been dropped is recognized as such.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;

use crate::failure::{During, Result};

/// Names a registration or a timer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Token(u64);

pub(crate) struct Reactor {
    epoll: OwnedFd,
    next: u64,
    /// Those that have more to do without anything new.
    again: Vec<Token>,
    /// There are few.
    timers: BTreeMap<Token, Instant>,
    ready: Vec<epoll::Event>,
}

/// How many events are taken at once.
const BATCH: usize = 64;

impl Reactor {
    pub(crate) fn new() -> Result<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).during("make an epoll instance")?;
        Ok(Self {
            epoll,
            next: 0,
            again: Vec::new(),
            timers: BTreeMap::new(),
            ready: Vec::with_capacity(BATCH),
        })
    }

    /// A new token.
    pub(crate) fn token(&mut self) -> Token {
        self.next += 1;
        Token(self.next)
    }

    /// Reports every change of a descriptor under the token, until the descriptor is closed.
    pub(crate) fn add(
        &self,
        token: Token,
        descriptor: impl AsFd,
        events: epoll::EventFlags,
    ) -> Result<()> {
        let events = events | epoll::EventFlags::ET;
        epoll::add(&self.epoll, descriptor, epoll::EventData::new_u64(token.0), events)
            .during("watch a descriptor")
    }

    /// Reports it in the next turn, after what else there is.
    pub(crate) fn again(&mut self, token: Token) {
        self.again.push(token);
    }

    /// Reports a new token once, after the delay.
    pub(crate) fn after(&mut self, delay: Duration) -> Token {
        let token = self.token();
        let now = Instant::now();
        self.timers.insert(token, now.checked_add(delay).unwrap_or(now));
        token
    }

    /// Forgets a timer.
    pub(crate) fn cancel(&mut self, timer: Token) {
        self.timers.remove(&timer);
    }

    /// Waits for what there is to do.
    pub(crate) fn wait(&mut self) -> Result<Vec<Token>> {
        let due = self.timers.values().min();
        let mut timeout = due.map(|at| at.saturating_duration_since(Instant::now()));
        if !self.again.is_empty() {
            timeout = Some(Duration::ZERO);
        }
        let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
        self.ready.clear();
        match epoll::wait(&self.epoll, spare_capacity(&mut self.ready), timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(errno) => return Err(errno).during("wait for events"),
        }
        let mut tokens: Vec<Token> = Vec::new();
        for event in &self.ready {
            let token = Token(event.data.u64());
            if !tokens.contains(&token) {
                tokens.push(token);
            }
        }
        tokens.append(&mut self.again);
        let now = Instant::now();
        self.timers.retain(|token, at| {
            let due = *at <= now;
            if due {
                tokens.push(*token);
            }
            !due
        });
        Ok(tokens)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_and_what_asks_for_another_turn() {
        let mut reactor = Reactor::new().unwrap();
        let late = reactor.after(Duration::from_millis(20));
        let soon = reactor.after(Duration::ZERO);
        assert_eq!(reactor.wait().unwrap(), [soon]);
        let other = reactor.token();
        reactor.again(other);
        assert_eq!(reactor.wait().unwrap(), [other]);
        assert_eq!(reactor.wait().unwrap(), [late]);
    }

    #[test]
    fn a_pipe_is_reported_once_a_change() {
        let mut reactor = Reactor::new().unwrap();
        let (read, write) = rustix::pipe::pipe().unwrap();
        let token = reactor.token();
        reactor.add(token, &read, epoll::EventFlags::IN).unwrap();
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(reactor.wait().unwrap(), [token]);
        let timer = reactor.after(Duration::from_millis(1));
        assert_eq!(reactor.wait().unwrap(), [timer]);
        rustix::io::write(&write, b"x").unwrap();
        assert_eq!(reactor.wait().unwrap(), [token]);
    }
}
