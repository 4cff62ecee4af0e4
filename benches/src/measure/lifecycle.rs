//! A container's life, command by command.

use crate::bundles::Config;
use crate::failure::Result;
use crate::results::Group;

use super::arena::Arena;
use super::field::Subject;
use super::rounds::rounds;

const SUBJECTS: [Subject; 7] = [
    ("create", "`create`"),
    ("start", "`start`"),
    ("state", "`state`"),
    ("exec", "`exec /bin/true`"),
    ("kill", "`kill`"),
    ("delete", "`delete`"),
    ("delete-force", "`delete --force` of a running container"),
];

pub(crate) fn run(arena: &Arena) -> Result<Vec<Group>> {
    let bundle = arena.bundles().sleeping(Config::Default);
    rounds(arena, arena.runtimes(), arena.effort().rounds, &SUBJECTS, |turn| {
        let peer = turn.peer().clone();
        let id = arena.id();
        turn.measure("create", &mut arena.detached(&peer, &["create"], &bundle, &id)?)?;
        let process = arena.process(&id)?;
        turn.measure("start", &mut arena.command(&peer, &["start", &id]))?;
        turn.measure("state", &mut arena.command(&peer, &["state", &id]))?;
        turn.measure("exec", &mut arena.command(&peer, &["exec", &id, "/bin/true"]))?;
        turn.measure("kill", &mut arena.command(&peer, &["kill", &id, "KILL"]))?;
        process.reap()?;
        turn.measure("delete", &mut arena.command(&peer, &["delete", &id]))?;

        let id = arena.id();
        turn.run(&mut arena.detached(&peer, &["run", "--detach"], &bundle, &id)?)?;
        let process = arena.process(&id)?;
        turn.measure("delete-force", &mut arena.command(&peer, &["delete", "--force", &id]))?;
        process.reap()
    })
}
