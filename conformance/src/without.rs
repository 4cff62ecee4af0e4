//! A program on a kernel that lacks system calls: `without clone3,openat2 -- COMMAND…`.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use crate::deny;
use crate::failure::{Context, Failure, Result};

/// Becomes `command`, for which, and for all that it starts, the system calls of the list fail with
/// ENOSYS. The list has names with commas in between; `mount-api` and `all` stand for several.
pub(crate) fn run(calls: &str, command: &[OsString]) -> Result<()> {
    let (program, arguments) =
        command.split_first().ok_or_else(|| Failure::new("without: no command"))?;
    let calls = deny::named(calls).map_err(Failure::new)?;
    // It takes CAP_SYS_ADMIN.
    deny::deny(&calls, libc::ENOSYS).context("without: load the seccomp filter")?;
    let error = Command::new(program).args(arguments).exec();
    Err(error).context(format_args!("without: execute {}", program.display()))
}
