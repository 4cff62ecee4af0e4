//! The filters that were compiled last.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use oci_spec::runtime::LinuxSeccomp;

use super::{Filter, compile};
use crate::error::Result;

/// How many filters are kept. An engine has one profile for nearly all its containers.
const ENTRIES: usize = 8;

/// A small cache of compiled profiles, owned by a `Runtime`.
///
/// In memory only: compiling takes so little (docs/decisions/0004) that a file would cost more, and
/// would have to be trusted. Entries are found by comparing whole profiles: that costs no more than
/// hashing one, and can't collide.
#[derive(Default)]
pub(crate) struct Cache {
    /// Most recently used first.
    entries: Mutex<Vec<(LinuxSeccomp, Arc<Filter>)>>,
}

impl Cache {
    /// The profile's filter, compiled now unless it is here.
    pub(crate) fn get(&self, profile: &LinuxSeccomp) -> Result<Arc<Filter>> {
        if let Some(filter) = self.find(profile) {
            return Ok(filter);
        }
        // Not under the lock: two threads may compile the same profile, and none waits for another.
        let filter = Arc::new(compile(profile)?);
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        entries.retain(|(other, _)| other != profile);
        entries.truncate(ENTRIES - 1);
        entries.insert(0, (profile.clone(), Arc::clone(&filter)));
        Ok(filter)
    }

    fn find(&self, profile: &LinuxSeccomp) -> Option<Arc<Filter>> {
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let position = entries.iter().position(|(other, _)| other == profile)?;
        let recent = entries.get_mut(..=position)?;
        recent.rotate_right(1);
        entries.first().map(|(_, filter)| Arc::clone(filter))
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}
