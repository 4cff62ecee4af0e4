//! The name that we were called by. Installed in place of runc, hoist is called `runc`: then that is
//! what its users can type and what they look for in logs. `--version` tells the truth.

use std::env::args_os;
use std::path::Path;

use crate::table::PROGRAM;

/// The file name in the first argument.
pub(crate) fn called() -> String {
    let first = args_os().next().unwrap_or_default();
    match Path::new(&first).file_name() {
        Some(name) => name.to_string_lossy().into_owned(),
        None => PROGRAM.name.to_owned(),
    }
}
