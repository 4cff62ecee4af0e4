//! Id-mapped mounts: which maps a mount gets.

use hoist_init::wire::Reg;
use oci_spec::runtime::{LinuxNamespaceType as Kind, Mount};

use super::super::builder::Builder;
use super::super::context::Context;
use super::super::{IdMap, Passed};
use crate::error::{Error, Result};
use crate::spec::mount_options::MountOptions;

/// Where an id mapping comes from.
#[derive(Debug)]
pub(super) enum Mapping {
    /// Maps that a user namespace is made for.
    Maps(IdMap),
    /// The user namespace that the container joins.
    Joined,
}

/// The maps of `mounts[].uidMappings` and `gidMappings`; or, with `idmap` alone, those of the
/// container's user namespace.
pub(super) fn of(
    ctx: &Context<'_>,
    mount: &Mount,
    options: &MountOptions<'_>,
    pointer: &str,
) -> Result<Option<Mapping>> {
    let own = |list: &Option<Vec<_>>| list.clone().unwrap_or_default();
    let (uids, gids) = (own(mount.uid_mappings()), own(mount.gid_mappings()));
    if !uids.is_empty() || !gids.is_empty() {
        if uids.is_empty() || gids.is_empty() {
            let message = "uidMappings and gidMappings have to be given together";
            return Err(Error::config(pointer, message));
        }
        return Ok(Some(Mapping::Maps(IdMap { uids, gids })));
    }
    if options.idmap.is_none() {
        return Ok(None);
    }
    let (uids, gids) = match ctx.linux() {
        Some(linux) => (own(linux.uid_mappings()), own(linux.gid_mappings())),
        None => (Vec::new(), Vec::new()),
    };
    if uids.is_empty() && gids.is_empty() && ctx.namespaces().path(Kind::User).is_some() {
        return Ok(Some(Mapping::Joined));
    }
    if uids.is_empty() || gids.is_empty() {
        let message = "`idmap` needs uidMappings and gidMappings, of the mount or of the container";
        return Err(Error::config(pointer, message));
    }
    Ok(Some(Mapping::Maps(IdMap { uids, gids })))
}

impl Mapping {
    /// The register with the user namespace; `joined` holds the container's, where outer joins it.
    pub(super) fn register(
        &self,
        plan: &mut Builder,
        joined: Option<Reg>,
        pointer: &str,
    ) -> Result<Reg> {
        match self {
            Self::Maps(maps) => plan.pass(Passed::IdMap(maps.clone()), pointer),
            Self::Joined => joined.ok_or_else(|| {
                Error::unsupported(pointer, "an id-mapped mount needs the host's privileges")
            }),
        }
    }
}
