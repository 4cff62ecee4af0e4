//! User namespaces that exist only for their id mappings: idmapped mounts refer to one
//! (mount_setattr(2), MOUNT_ATTR_IDMAP).

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use hoist_init::page::Sync;

use crate::error::{Error, ErrorKind, Result};
use crate::plan::{self, IdMap, Passed};
use crate::procfs::Proc;
use crate::spawn::image::InitImage;
use crate::spawn::{Event, Spawn, idmap, protocol_error};
use crate::stdio::Stdio;

/// The user namespaces of a plan, by their maps.
#[derive(Debug, Default)]
pub(crate) struct Holders(Vec<(IdMap, OwnedFd)>);

impl Holders {
    pub(crate) fn get(&self, map: &IdMap) -> Option<BorrowedFd<'_>> {
        self.0.iter().find(|(made, _)| made == map).map(|(_, fd)| fd.as_fd())
    }

    /// Maps a mount that inner has opened.
    pub(crate) fn apply(&self, what: &Passed, tree: BorrowedFd<'_>, recursive: bool) -> Result<()> {
        let map = if let Passed::IdMap(map) = what { self.get(map) } else { None };
        let map = map.ok_or_else(protocol_error)?;
        crate::sys::mount::map_ids(tree, map, recursive).map_err(|errno| {
            Error::system("mount_setattr: map the ids of a mount", errno).with_kind(ErrorKind::Step)
        })
    }
}

/// Makes a namespace for each distinct mapping that the plan asks for. A process is needed to
/// make one; it ends as soon as the namespace is held by a descriptor.
pub(crate) fn make(image: &InitImage, passed: &[Passed]) -> Result<Holders> {
    let mut holders = Holders::default();
    for what in passed {
        if let Passed::IdMap(map) = what
            && holders.get(map).is_none()
        {
            holders.0.push((map.clone(), namespace(image, map)?));
        }
    }
    Ok(holders)
}

fn namespace(image: &InitImage, map: &IdMap) -> Result<OwnedFd> {
    let plan = plan::compile_userns()?;
    let null = Stdio::null();
    let stdio = null.open()?;
    let mut conversation =
        Spawn { image, plan: &plan, stdio: stdio.descriptors(), preserved: &[], passed: &[] }
            .start()?;
    let gone = || Error::new(ErrorKind::Step, "the process for an id mapping is gone");
    // With the conversation the process ends.
    loop {
        match conversation.next()? {
            Event::Cloned => {}
            Event::Sync(Sync::Maps) => {
                let pid = conversation.inner().ok_or_else(gone)?.pid()?;
                let dir = Proc::open()?.dir(pid)?.ok_or_else(gone)?;
                idmap::write_maps(&dir, &map.uids, &map.gids)?;
                return dir.namespace("user");
            }
            _ => {
                let error = super::failure::of(&conversation.report, Some(&plan), String::new)?;
                return Err(error.unwrap_or_else(gone));
            }
        }
    }
}
