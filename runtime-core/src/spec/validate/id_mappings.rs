//! Lists of id mappings, of the user namespace (config-linux.md "User namespace mappings") and of
//! mounts (config.md "POSIX-platform Mounts").

use oci_spec::runtime::LinuxIdMapping;

use crate::error::{Error, Result};

/// The kernel's limit (user_namespaces(7)).
const MAX_MAPPINGS: usize = 340;

/// The kernel's rules for a `uid_map` or `gid_map`.
pub(super) fn validate(pointer: &str, mappings: &[LinuxIdMapping]) -> Result<()> {
    if mappings.len() > MAX_MAPPINGS {
        let message = format!("{} mappings; the kernel takes {MAX_MAPPINGS}", mappings.len());
        return Err(Error::config(pointer, message));
    }
    for (index, mapping) in mappings.iter().enumerate() {
        let pointer = format!("{pointer}/{index}");
        if mapping.size() == 0 {
            return Err(Error::config(format!("{pointer}/size"), "the size must not be 0"));
        }
        for (name, first) in
            [("containerID", mapping.container_id()), ("hostID", mapping.host_id())]
        {
            if first.checked_add(mapping.size()).is_none() {
                let message = format!("{first} and {} ids on exceed 32 bits", mapping.size());
                return Err(Error::config(format!("{pointer}/{name}"), message));
            }
        }
        let earlier = mappings.iter().take(index).position(|other| overlap(mapping, other));
        if let Some(other) = earlier {
            return Err(Error::config(pointer, format!("overlaps with mapping {other}")));
        }
    }
    Ok(())
}

/// True if `id` in the container is mapped.
pub(super) fn maps(mappings: &[LinuxIdMapping], id: u32) -> bool {
    mappings
        .iter()
        .any(|m| id.checked_sub(m.container_id()).is_some_and(|offset| offset < m.size()))
}

fn overlap(a: &LinuxIdMapping, b: &LinuxIdMapping) -> bool {
    // Additions can't overflow: checked for `a`, and for `b` before `a`.
    let meet = |x: u32, y: u32| {
        u64::from(x) < u64::from(y) + u64::from(b.size())
            && u64::from(y) < u64::from(x) + u64::from(a.size())
    };
    meet(a.container_id(), b.container_id()) || meet(a.host_id(), b.host_id())
}
