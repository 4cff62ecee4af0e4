//! What is fuzzed of this room.

pub use super::devices::fuzz::devices;
use super::host;
use super::paths::Paths;
pub use super::systemd::fuzz::{bus, gvariant, message};
use crate::state::Text;

/// The room's part of a record, which may be damaged.
pub(crate) fn recorded(record: &Text) {
    let Ok(paths) = record.read::<Paths>() else { return };
    let _ = (paths.unified_directory(), paths.legacy_mounts());
    let again = Text::of(&paths).ok().and_then(|text| text.read().ok());
    assert_eq!(again, Some(paths));
}

/// Whoever mounts a v1 hierarchy somewhere, its line says where, and of no other.
pub(crate) fn mountinfo(path: &[u8], escaped: &[u8]) {
    let Ok(escaped) = std::str::from_utf8(escaped) else { return };
    let _ = host::mounted(escaped);
    let line = format!("30 24 0:26 /{escaped} /{escaped} rw - cgroup cgroup rw,memory");
    let of_others = format!("31 24 0:27 /{escaped} /{escaped} rw - tmpfs cgroup rw,memory");
    let path = format!("/{}", String::from_utf8_lossy(path));
    assert_eq!(host::mounted(&line), Some((path.clone(), path)));
    assert_eq!(host::mounted(&of_others), None);
}
