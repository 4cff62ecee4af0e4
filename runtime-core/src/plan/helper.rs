//! Plans of processes that are not the container's: hooks, and the keepers of user namespaces.

use std::ffi::CString;
use std::path::Path;

use hoist_init::page::Sync;
use hoist_init::wire::{Reg, Step};
use oci_spec::runtime::LinuxNamespaceType as Kind;

use super::builder::{Builder, List, path};
use super::namespaces::flag;
use super::{Passed, Plan};
use crate::error::Result;

/// A program of the host, with the caller's privileges, in the caller's namespaces but for those
/// to join (CLONE_NEW*): a hook. It must not be used for a program of the container's image.
/// One that joins starts in the directory that is given, as the joined mount namespace has it:
/// its own would be the root there.
///
/// # Errors
/// A string contains a NUL.
pub(crate) fn compile(
    program: &Path,
    arguments: &[String],
    environment: &[String],
    join: Option<(u64, &Path)>,
) -> Result<Plan> {
    let mut plan = Builder::new(false);
    plan.push("", &Step::ResetInherited {});
    plan.push("", &Step::Umask { mask: 0o022 });
    if let Some((flags, _)) = join.filter(|(flags, _)| *flags != 0) {
        let pidfd = plan.pass(Passed::Process, "")?;
        plan.push("", &Step::NotDumpable {});
        plan.push("", &Step::JoinProcess { pidfd, flags });
    }
    plan.push("", &Step::CloneInner { flags: 0, cgroup: Reg::NONE });
    if join.is_some_and(|(flags, _)| flags & flag(Kind::User) != 0) {
        // The namespace may not permit setgroups(2), and a hook asks for no groups.
        plan.push("", &Step::BecomeRoot { setgroups: false });
    }
    if let Some((_, directory)) = join {
        let directory = path(directory, "/root/path")?;
        plan.push("/root/path", &Step::WorkingDirectory { path: &directory, last: true });
    }
    let program = path(program, "/path")?;
    let arguments = List::collect(arguments, "/args")?;
    let environment = List::collect(environment, "/env")?;
    let step = Step::PrepareExecute { arguments: arguments.get(), environment: environment.get() };
    plan.push("/args", &step);
    plan.push("/path", &Step::FindProgram { name: &program, path: &CString::default() });
    plan.push("", &Step::CloseFrom { first: 3 });
    plan.push("/path", &Step::Execute {});
    plan.finish()
}

/// A process in a new user namespace that waits for its maps, and then for its end: the namespace
/// of an id-mapped mount.
///
/// # Errors
/// None that could be met.
pub(crate) fn compile_userns() -> Result<Plan> {
    let mut plan = Builder::new(false);
    plan.push("", &Step::CloneInner { flags: flag(Kind::User), cgroup: Reg::NONE });
    plan.push("", &Step::Sync { point: Sync::Maps as u32 });
    plan.finish()
}
