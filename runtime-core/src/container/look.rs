//! Where a container is in its life: asked of the kernel each time.

use std::sync::Arc;

use super::Container;
use super::state::{State, Status};
use crate::cgroup::{self, Cgroup};
use crate::error::{Error, ErrorKind, Result};
use crate::procfs::{Proc, Process as HostProcess};
use crate::runtime::Shared;
use crate::state::{Phase, Record, StateDir};

/// A container's status, and its first process if that exists.
pub(super) type Found = (Status, Option<HostProcess>);

impl Container {
    /// The record, the status and the first process as they are now.
    pub(super) fn current(&self) -> Result<(Record, Status, Option<HostProcess>)> {
        let record = self.dir.record()?.unwrap_or_else(|| Record::unknown(self.id()));
        let (status, process) = self.look(&record)?;
        Ok((record, status, process))
    }

    /// Where the container is in its life.
    pub(super) fn look(&self, record: &Record) -> Result<Found> {
        look(&self.shared, &Proc::open()?, record)
    }
}

/// The states of all containers of a root directory.
pub(crate) fn states(shared: &Arc<Shared>) -> Result<Vec<(String, Result<State>)>> {
    let Some(root) = StateDir::open(&shared.root)? else { return Ok(Vec::new()) };
    let proc = Proc::open()?;
    let look = |id: String| {
        let state = match root.record(&id) {
            Some(record) => state(shared, &proc, &record),
            // To say what is wrong with it, if it isn't gone.
            None => Container::open(shared, &root, &id)
                .map_err(|error| error.in_operation("load", &id))
                .and_then(|container| container.state()),
        };
        (id, state)
    };
    Ok(root.ids()?.into_iter().map(look).collect())
}

/// The state of the container that has this record.
pub(super) fn state(shared: &Shared, proc: &Proc, record: &Record) -> Result<State> {
    let (status, process) =
        look(shared, proc, record).map_err(|error| error.in_operation("state", &record.id))?;
    let pid = match (&process, &record.init) {
        (Some(_), Some(init)) if status != Status::Stopped => init.pid.unsigned_abs(),
        _ => 0,
    };
    Ok(State::new(record, status, pid))
}

/// Where a container is in its life. The record says how far `create` and `start` came; whether
/// the process lives, and whether it is still init, is asked of the kernel.
fn look(shared: &Shared, proc: &Proc, record: &Record) -> Result<Found> {
    let process = match find(proc, record)? {
        (Status::Running, Some(process)) => process,
        other => return Ok(other),
    };
    // Also before it is started, as in runc: nothing that it is asked to do would get done.
    let frozen = cgroup_paths(record).and_then(|paths| Cgroup::frozen_at(shared.host()?, &paths));
    if frozen.unwrap_or(false) {
        return Ok((Status::Paused, Some(process)));
    }
    if record.phase != Phase::Created {
        return Ok((Status::Running, Some(process)));
    }
    if process.dir.is_init()? {
        return Ok((Status::Created, Some(process)));
    }
    // Somebody who started it may have died before writing that down; or it has ended meanwhile, and
    // what ends has no executable any more.
    find(proc, record)
}

/// The first process, if it exists; whether it is created, paused or running is all one, and
/// called running.
pub(super) fn find(proc: &Proc, record: &Record) -> Result<Found> {
    let alive = |id| proc.find(id).map(|found| found.filter(|process| !process.had_ended()));
    let Some(init) = &record.init else {
        let creating = match &record.creator {
            Some(creator) => alive(creator)?.is_some(),
            None => false,
        };
        return Ok((if creating { Status::Creating } else { Status::Stopped }, None));
    };
    let Some(process) = alive(init)? else { return Ok((Status::Stopped, None)) };
    // A pid namespace's first process waits in its exit for the others to be collected.
    if process.is_exiting() {
        return Ok((Status::Stopped, Some(process)));
    }
    Ok((Status::Running, Some(process)))
}

/// Where the record says that the cgroup is.
pub(super) fn cgroup_paths(record: &Record) -> Result<cgroup::Paths> {
    let damaged = || Error::new(ErrorKind::State, "the recorded cgroup is damaged");
    let text = record.cgroup.as_ref().ok_or_else(damaged)?;
    text.read().map_err(|source| damaged().with_source(source))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use crate::{ErrorKind, Runtime, Status};

    #[test]
    fn one_that_is_damaged_hides_no_other() {
        let root = std::env::temp_dir().join(format!("hoist-look-{}", std::process::id()));
        for id in ["begun", "damaged"] {
            fs::create_dir_all(root.join(id)).unwrap();
        }
        fs::write(root.join("damaged/state.json"), "{").unwrap();
        fs::write(root.join("no-container"), "").unwrap();
        let states = Runtime::builder().root(&root).build().unwrap().states().unwrap();
        let [(begun, state), (damaged, error)] = &states[..] else { panic!("{states:?}") };
        assert_eq!((begun.as_str(), damaged.as_str()), ("begun", "damaged"));
        assert_eq!(state.as_ref().unwrap().status, Status::Stopped);
        assert_eq!(error.as_ref().unwrap_err().kind(), ErrorKind::State);
        fs::remove_dir_all(&root).unwrap();
        let none = Runtime::builder().root(&root).build().unwrap();
        assert!(none.states().unwrap().is_empty());
    }
}
