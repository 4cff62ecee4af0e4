//! `run` of /bin/true.

use crate::bundles::Config;
use crate::failure::Result;
use crate::results::Group;

use super::arena::Arena;
use super::field::Subject;
use super::rounds::rounds;

const SUBJECTS: [(Config, Subject); 3] = [
    (Config::Minimal, ("run-minimal", "`run /bin/true`, minimal configuration")),
    (Config::Default, ("run-default", "`run /bin/true`, default configuration")),
    (Config::Seccomp, ("run-seccomp", "`run /bin/true`, with Docker's seccomp profile")),
];

pub(crate) fn run(arena: &Arena) -> Result<Vec<Group>> {
    let subjects = SUBJECTS.map(|(_, subject)| subject);
    rounds(arena, arena.all(), arena.effort().rounds, &subjects, |turn| {
        for (config, (subject, _)) in SUBJECTS {
            let mut command = arena.once(turn.peer(), config)?;
            turn.measure(subject, &mut command)?;
        }
        Ok(())
    })
}
