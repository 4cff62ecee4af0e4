//! Removing a container's cgroup, with what the container made below it.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;

use super::Cgroup;
use super::dir::Dir;
use super::events::Events;
use crate::error::Result;

/// How long killed processes are waited for altogether.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Attempts at a cgroup2 that says it has no processes: somebody may be making new cgroups.
const ATTEMPTS: u32 = 16;
/// Between attempts at a v1 cgroup: doubled each time, up to the limit.
const PAUSE: Duration = Duration::from_millis(1);
const PAUSE_LIMIT: Duration = Duration::from_millis(64);

impl Cgroup {
    /// Removes the cgroup in all hierarchies, nested ones first, and those above that hoist made
    /// for it, unless others use them. The container's processes have to be dead or dying.
    ///
    /// # Errors
    /// Names what can't be removed; everything else is removed all the same.
    pub(crate) fn remove(self) -> Result<()> {
        let deadline = Instant::now() + TIMEOUT;
        let Self { paths, unified, legacy } = self;
        let mut result = Ok(());
        let mut note = |removed: Result<()>| {
            if result.is_ok() {
                result = removed;
            }
        };
        // cgroup2 is first: its event tells when the v1 ones can be removed as well.
        if let (Some(dir), Some(location)) = (unified, paths.unified) {
            let mut attempts = 0;
            note(remove(dir, location.made, |dir| {
                attempts += 1;
                let empty = Events::open(dir)?.wait("populated", 0, deadline)?;
                Ok(empty && attempts < ATTEMPTS)
            }));
        }
        for (dir, location) in legacy.into_iter().zip(paths.legacy) {
            let mut pause = PAUSE;
            note(remove(dir, location.made, |_| {
                // v1 has no event that tells when a cgroup is empty (but for a release agent,
                // which is a program that the kernel starts): so this can only be tried again.
                std::thread::sleep(pause);
                pause = (pause * 2).min(PAUSE_LIMIT);
                Ok(Instant::now() < deadline)
            }));
        }
        result
    }
}

/// Removes one directory; `wait` says whether another attempt makes sense.
fn remove(
    dir: Dir,
    made: usize,
    mut wait: impl FnMut(&Dir) -> std::result::Result<bool, Errno>,
) -> Result<()> {
    let fail = |dir: &Dir, errno| dir.error("remove the cgroup", "", errno);
    for attempt in 0_u32.. {
        let busy: Option<PathBuf> = match dir.remove_self() {
            Ok(parent) => {
                parent.remove_upwards(made.saturating_sub(1));
                return Ok(());
            }
            Err(Errno::NOENT | Errno::NODEV) => return Ok(()),
            Err(Errno::BUSY | Errno::NOTEMPTY) => match dir.remove_children() {
                Ok(busy) => busy,
                Err(Errno::NOENT | Errno::NODEV) => None,
                Err(errno) => return Err(fail(&dir, errno)),
            },
            Err(errno) => return Err(fail(&dir, errno)),
        };
        // The children may have been all that was in the way.
        if attempt == 0 && busy.is_none() {
            continue;
        }
        match wait(&dir) {
            Ok(true) => {}
            Ok(false) | Err(Errno::NOENT | Errno::NODEV) => {
                let count = dir.pids().map_or(0, |pids| pids.len());
                let error = fail(&dir, Errno::BUSY)
                    .with_hint(format!("{count} process(es) are still in it"));
                return Err(match busy {
                    Some(path) => error.with_file(path),
                    None => error,
                });
            }
            Err(errno) => return Err(fail(&dir, errno)),
        }
    }
    Ok(())
}
