//! Loading and validating `config.json`.
//!
//! The types are those of `oci-spec` (docs/decisions/0003). What leaves this room as a [`Bundle`]
//! satisfies every rule of the runtime-spec 1.3 that can be checked before anything is touched;
//! the rooms below rely on that and check only what depends on the host.

mod bundle;
mod default;
mod features;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod given_twice;
pub(crate) mod id_list;
mod json;
mod lenient;
mod letter_case;
mod members;
pub(crate) mod merge;
pub(crate) mod mount_options;
pub(crate) mod namespaces;
mod process;
mod resources;
pub(crate) mod sysctl;
#[cfg(test)]
mod tests;
mod validate;

pub use bundle::Bundle;
pub(crate) use bundle::{recorded, to_json};
pub use default::DefaultSpec;
pub use features::features;
pub use process::parse_process;
pub(crate) use process::validate_process;
pub(crate) use resources::is_idle;
pub use resources::{Limit, Resources};
