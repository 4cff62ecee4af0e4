//! config-linux.md "Seccomp": the shape of a profile. Which system calls exist is the business of
//! the compiler in the seccomp room.

use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction as Action, LinuxSyscall};

use super::{entries, member};
use crate::error::{Error, Result};

pub(super) fn validate(seccomp: Option<&LinuxSeccomp>) -> Result<()> {
    let Some(seccomp) = seccomp else { return Ok(()) };
    let pointer = "/linux/seccomp";
    let default = seccomp.default_action();
    errno(&member(pointer, "defaultErrnoRet"), default, seccomp.default_errno_ret())?;
    // Not even the supervisor could be reached then.
    if default == Action::ScmpActNotify {
        let message = "SCMP_ACT_NOTIFY cannot be used as default action";
        return Err(Error::config(member(pointer, "defaultAction"), message));
    }
    let mut notifies = false;
    for (index, rule) in entries(seccomp.syscalls().as_ref()) {
        syscall(&format!("{pointer}/syscalls/{index}"), rule)?;
        notifies |= rule.action() == Action::ScmpActNotify;
    }
    let has_listener = seccomp.listener_path().as_ref().is_some_and(|p| !p.as_os_str().is_empty());
    if notifies && !has_listener {
        let message = "SCMP_ACT_NOTIFY needs a listenerPath";
        return Err(Error::config(member(pointer, "listenerPath"), message));
    }
    if !has_listener && seccomp.listener_metadata().as_ref().is_some_and(|m| !m.is_empty()) {
        let message = "listenerMetadata must not be set without listenerPath";
        return Err(Error::config(member(pointer, "listenerMetadata"), message));
    }
    Ok(())
}

fn syscall(pointer: &str, rule: &LinuxSyscall) -> Result<()> {
    if rule.names().is_empty() {
        return Err(Error::config(member(pointer, "names"), "at least one name is required"));
    }
    // As in runc, whose init would otherwise wait for a supervisor that can't exist yet.
    let write = rule.names().iter().position(|name| name == "write");
    if let (Action::ScmpActNotify, Some(index)) = (rule.action(), write) {
        let message = "SCMP_ACT_NOTIFY cannot be used for the write syscall";
        return Err(Error::config(format!("{pointer}/names/{index}"), message));
    }
    errno(&member(pointer, "errnoRet"), rule.action(), rule.errno_ret())?;
    for (index, arg) in entries(rule.args().as_ref()) {
        if arg.index() > 5 {
            let message = format!("system calls have arguments 0 to 5, not {}", arg.index());
            return Err(Error::config(format!("{pointer}/args/{index}/index"), message));
        }
    }
    Ok(())
}

/// "When the action doesn't support an errno, the runtime MUST print and error and fail."
fn errno(pointer: &str, action: Action, errno: Option<u32>) -> Result<()> {
    let Some(errno) = errno else { return Ok(()) };
    let max = match action {
        // The kernel's MAX_ERRNO.
        Action::ScmpActErrno => 4095,
        // SECCOMP_RET_DATA has 16 bits.
        Action::ScmpActTrace => 0xffff,
        _ => return Err(Error::config(pointer, format!("{action} takes no errno"))),
    };
    if errno > max {
        return Err(Error::config(pointer, format!("{errno} is out of range: 0 to {max}")));
    }
    Ok(())
}
