//! Rounds of commands: first some that don't count, then those that are timed, then those whose memory
//! is taken.

use std::fs;
use std::process::Command;

use crate::command::{self, Cost};
use crate::failure::{Context, Result};
use crate::job::Peer;
use crate::results::Group;
use crate::{console, sys};

use super::arena::Arena;
use super::field::{Field, Samples, Subject, Unit};

/// What a round is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// Everything is warm afterwards; and errors are heard.
    WarmUp,
    Time,
    /// Peak memory; see [`sys::forked`]. It costs time, so that isn't taken.
    Weight,
}

/// One runtime's turn.
#[derive(Debug)]
pub(crate) struct Turn<'a> {
    arena: &'a Arena,
    purpose: Purpose,
    peer: &'a Peer,
    samples: &'a mut Samples,
}

impl<'a> Turn<'a> {
    pub(crate) fn peer(&self) -> &'a Peer {
        self.peer
    }

    /// Runs a command that the turn is about.
    pub(crate) fn measure(&mut self, subject: &'static str, command: &mut Command) -> Result<()> {
        if self.purpose == Purpose::Weight {
            sys::forked(command);
        }
        let cost = self.run(command)?;
        match self.purpose {
            Purpose::WarmUp => {}
            Purpose::Time => self.samples.add_time(subject, &self.peer.name, &cost),
            Purpose::Weight => self.samples.add_memory(subject, &self.peer.name, &cost),
        }
        Ok(())
    }

    /// Runs a command that has to be run in between.
    pub(crate) fn run(&mut self, command: &mut Command) -> Result<Cost> {
        if self.purpose != Purpose::WarmUp {
            return command::succeed(command);
        }
        let path = self.arena.errors();
        command.stderr(fs::File::create(&path).context(path.display())?);
        command::succeed(command).map_err(|mut failure| {
            let said = fs::read_to_string(&path).unwrap_or_default();
            if !said.trim().is_empty() {
                failure.message = format!("{}: {}", failure.message, said.trim());
            }
            failure
        })
    }
}

/// Lets `peers` take turns, each of which is one call of `turn`, and gives a group for each subject.
pub(crate) fn rounds<'a>(
    arena: &'a Arena,
    peers: impl Iterator<Item = &'a Peer>,
    timed: u32,
    subjects: &[Subject],
    mut turn: impl FnMut(&mut Turn<'_>) -> Result<()>,
) -> Result<Vec<Group>> {
    let effort = arena.effort();
    let mut field = Field::new(arena, peers);
    let mut samples = Samples::default();
    for (purpose, count) in [
        (Purpose::WarmUp, effort.warm_up),
        (Purpose::Time, timed),
        (Purpose::Weight, effort.weighings),
    ] {
        for round in 1..=count {
            console::status(format_args!("round {round} of {count}"));
            field.round(|peer| turn(&mut Turn { arena, purpose, peer, samples: &mut samples }))?;
        }
    }
    let group = |subject: &Subject| field.group(*subject, Unit::Milliseconds, &samples);
    Ok(subjects.iter().map(group).collect())
}
