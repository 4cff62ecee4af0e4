//! config-linux.md "Sysctl": only what belongs to a namespace of the container, as in runc;
//! everything else would change the host.

use std::collections::HashMap;

use oci_spec::runtime::LinuxNamespaceType as Kind;

use super::member;
use crate::error::{Error, Result};
use crate::spec::namespaces::{self, Namespaces};
use crate::spec::sysctl;

pub(super) fn validate(
    sysctls: Option<&HashMap<String, String>>,
    namespaces: Namespaces<'_>,
) -> Result<()> {
    for key in sysctls.into_iter().flatten().map(|(key, _)| key) {
        let pointer = || member("/linux/sysctl", key);
        let path = sysctl::path(key);
        if path.split('/').any(|part| ["", ".", ".."].contains(&part)) {
            return Err(Error::config(pointer(), format!("`{key}` is not a sysctl's name")));
        }
        if path == "kernel/hostname" {
            return Err(Error::config(pointer(), "this conflicts with the field `hostname`")
                .with_hint("set `hostname` instead"));
        }
        let Some(kind) = namespace_of(&path) else {
            let message = format!("`{key}` is not in a namespace: it would change the host");
            return Err(Error::config(pointer(), message));
        };
        if !namespaces.has(kind) {
            let kind = namespaces::name(kind);
            let message = format!("`{key}` needs a {kind} namespace: it would change the host");
            return Err(Error::config(pointer(), message)
                .with_hint(format!("add {{\"type\": \"{kind}\"}} to linux.namespaces")));
        }
    }
    Ok(())
}

/// The kind of namespace that a sysctl belongs to.
fn namespace_of(path: &str) -> Option<Kind> {
    const IPC: [&str; 8] = [
        "kernel/msgmax",
        "kernel/msgmnb",
        "kernel/msgmni",
        "kernel/sem",
        "kernel/shmall",
        "kernel/shmmax",
        "kernel/shmmni",
        "kernel/shm_rmid_forced",
    ];
    if IPC.contains(&path) || path.starts_with("fs/mqueue/") {
        Some(Kind::Ipc)
    } else if path.starts_with("net/") {
        Some(Kind::Network)
    } else if path == "kernel/domainname" {
        Some(Kind::Uts)
    } else if path.starts_with("user/") {
        Some(Kind::User)
    } else {
        None
    }
}
