//! What is fuzzed of this room.

pub use super::devices::fuzz::devices;
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
