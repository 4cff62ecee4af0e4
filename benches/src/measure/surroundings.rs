//! What `run` costs when its surroundings are not as they were: mounts on the host, a memory limit, a
//! machine that was idle.

use std::fs;
use std::thread;
use std::time::Duration;

use rustix::mount::{UnmountFlags, mount_bind, unmount};

use crate::bundles::Config;
use crate::command;
use crate::failure::{Context, Result};
use crate::job::{Outcome, Peer};
use crate::results::Group;
use crate::statistics::least;
use crate::{console, sys};

use super::arena::{Arena, text};
use super::field::{Field, Samples, Unit};
use super::rounds::rounds;

/// More mounts on the host, which every new mount namespace begins with a copy of.
pub(crate) fn mounts(arena: &Arena) -> Result<Outcome> {
    let most = arena.effort().mounts;
    let places = [0, most / 2, most];
    let directory = arena.scratch("mounts")?;
    let mut samples = Samples::default();
    let mut field = Field::new(arena, arena.all());
    let mut there = 0;
    for place in places {
        console::status(format_args!("{place} mounts"));
        for number in there..place {
            let point = directory.join(number.to_string());
            fs::create_dir(&point).context(point.display())?;
            mount_bind(&point, &point).context(point.display())?;
        }
        there = place;
        for round in 0..=arena.effort().points {
            field.round(|peer| {
                let cost = command::succeed(&mut arena.once(peer, Config::Default)?)?;
                // The first one doesn't count.
                if round > 0 {
                    samples.add_time(&format!("mounts {place}"), &peer.name, &cost);
                }
                Ok(())
            })?;
        }
    }
    for number in 0..there {
        let point = directory.join(number.to_string());
        unmount(&point, UnmountFlags::DETACH).context(point.display())?;
    }
    let subject = ("start-mounts", "`run /bin/true` with more mounts on the host");
    let name = |place| format!("mounts {place}");
    let curve = field.curve(subject, ("mounts more", "ms"), &places, name, &samples);
    Ok(Outcome { curves: vec![curve], ..Outcome::default() })
}

/// `run` after a second in which nothing was done: as containers are started in practice.
pub(crate) fn idle(arena: &Arena) -> Result<Vec<Group>> {
    let subject = ("run-idle", "`run /bin/true` after a second with nothing to do");
    rounds(arena, arena.all(), arena.effort().idle, &[subject], |turn| {
        let mut once = arena.once(turn.peer(), Config::Default)?;
        thread::sleep(Duration::from_secs(1));
        turn.measure("run-idle", &mut once)
    })
}

/// The smallest memory limits, in KiB. Those of cgroup v1 are for all that happens in the container's
/// cgroup, also before its program is executed.
pub(crate) fn memory(arena: &Arena) -> Result<Vec<Group>> {
    let mut samples = Samples::default();
    let mut field = Field::new(arena, arena.runtimes());
    field.round(|peer| {
        for (subject, works) in [
            ("memory-limit-run", run_works as fn(&Arena, &Peer, u64) -> Result<bool>),
            ("memory-limit-exec", exec_works),
        ] {
            console::status(format_args!("{subject}: {}", peer.name));
            // In pages of 4 KiB, up to 64 MiB.
            let pages = least(1, 16 << 10, |pages| works(arena, peer, pages << 12))?;
            #[expect(clippy::cast_precision_loss, reason = "at most 64 MiB")]
            if let Some(pages) = pages {
                samples.add(subject, &peer.name, (pages << 2) as f64);
            }
        }
        Ok(())
    })?;
    let group = |subject| field.group(subject, Unit::Kibibytes, &samples);
    Ok(vec![
        group(("memory-limit-run", "the smallest memory limit that `run /bin/true` works with")),
        group(("memory-limit-exec", "the smallest memory limit that `exec /bin/true` works with")),
    ])
}

/// Whether `run` works every time.
fn run_works(arena: &Arena, peer: &Peer, limit: u64) -> Result<bool> {
    let bundle = arena.bundles().limited(&["/bin/true"], limit)?;
    for _ in 0..arena.effort().tries {
        let id = arena.id();
        if !works(arena, peer, &["run", "--bundle", text(&bundle)?, &id])? {
            arena.sweep(peer);
            return Ok(false);
        }
    }
    Ok(true)
}

/// Whether a container can be started and `exec` works in it every time.
fn exec_works(arena: &Arena, peer: &Peer, limit: u64) -> Result<bool> {
    let bundle = arena.bundles().limited(&["/bin/sleep", "1000"], limit)?;
    let id = arena.id();
    let mut all = works(arena, peer, &["run", "--detach", "--bundle", text(&bundle)?, &id])?;
    for _ in 0..arena.effort().tries {
        all = all && works(arena, peer, &["exec", &id, "/bin/true"])?;
    }
    arena.sweep(peer);
    Ok(all)
}

/// A command that may fail. One that hangs has failed.
fn works(arena: &Arena, peer: &Peer, arguments: &[&str]) -> Result<bool> {
    let cost = command::run(&mut arena.command(peer, arguments));
    if sys::interrupted() {
        return Err(command::interrupted());
    }
    Ok(cost.is_ok_and(|cost| cost.status.success()))
}
