//! config.md "POSIX-platform Hooks".

use oci_spec::runtime::{Hook, Hooks};

use super::entries;
use crate::error::{Error, Result};

pub(super) fn validate(hooks: Option<&Hooks>) -> Result<()> {
    let Some(hooks) = hooks else { return Ok(()) };
    #[allow(deprecated)] // The spec still requires prestart hooks to run.
    let prestart = hooks.prestart();
    for (kind, list) in [
        ("prestart", prestart),
        ("createRuntime", hooks.create_runtime()),
        ("createContainer", hooks.create_container()),
        ("startContainer", hooks.start_container()),
        ("poststart", hooks.poststart()),
        ("poststop", hooks.poststop()),
    ] {
        for (index, hook) in entries(list.as_ref()) {
            validate_one(&format!("/hooks/{kind}/{index}"), hook)?;
        }
    }
    Ok(())
}

fn validate_one(pointer: &str, hook: &Hook) -> Result<()> {
    if !hook.path().is_absolute() {
        let message = format!("the hook's path `{}` must be absolute", hook.path().display());
        return Err(Error::config(format!("{pointer}/path"), message));
    }
    match hook.timeout() {
        Some(timeout) if timeout <= 0 => Err(Error::config(
            format!("{pointer}/timeout"),
            format!("the hook's timeout must be greater than zero, not {timeout}"),
        )
        .with_hint("leave it out for a hook without a limit")),
        _ => Ok(()),
    }
}
