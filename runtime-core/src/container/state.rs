//! A container's state, as the runtime-spec and runc show it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;
use serde_json::{Value, json};

use crate::state::Record;

/// Where a container is in its life (runtime-spec runtime.md, "State"); `Paused` is runc's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Status {
    /// It is being made.
    Creating,
    /// Everything is set up; the user's program was not executed yet.
    Created,
    /// The user's program was executed and has not ended.
    Running,
    /// All its processes are frozen, those of a created container too.
    Paused,
    /// Its process has ended.
    Stopped,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Creating => "creating",
            Self::Created => "created",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopped => "stopped",
        })
    }
}

/// A container's state. Serializes to what `runc state` prints: the runtime-spec's members and
/// runc's `rootfs`, `created` and `owner`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct State {
    /// The runtime-spec's version that the bundle was written for.
    #[serde(rename = "ociVersion")]
    pub oci_version: String,
    /// The container's id.
    pub id: String,
    /// The first process's pid in the caller's pid namespace; 0 when it is stopped.
    pub pid: u32,
    /// Where it is in its life.
    pub status: Status,
    /// The bundle's absolute path.
    pub bundle: PathBuf,
    /// The root filesystem's absolute path.
    pub rootfs: PathBuf,
    /// When it was created: RFC 3339, UTC.
    pub created: String,
    /// The configuration's annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// The name of the user who created it; the number where it has none.
    pub owner: String,
}

impl State {
    pub(crate) fn new(record: &Record, status: Status, pid: u32) -> Self {
        Self {
            oci_version: record.oci_version.clone(),
            id: record.id.clone(),
            pid,
            status,
            bundle: record.bundle.clone(),
            rootfs: record.rootfs.clone(),
            created: record.created.clone(),
            annotations: record.annotations.clone(),
            owner: owner_name(record.owner),
        }
    }
}

/// The state that hooks and seccomp agents get: the runtime-spec's members only.
pub(crate) fn oci_state(record: &Record, status: Status, pid: u32) -> Value {
    let mut state = json!({
        "ociVersion": record.oci_version,
        "id": record.id,
        "status": status,
        "bundle": record.bundle,
    });
    if let Some(members) = state.as_object_mut() {
        if pid != 0 {
            members.insert("pid".to_owned(), json!(pid));
        }
        if !record.annotations.is_empty() {
            members.insert("annotations".to_owned(), json!(record.annotations));
        }
    }
    state
}

/// The host's name for a user: from its passwd file, as a static program has no NSS.
fn owner_name(uid: u32) -> String {
    if uid == 0 {
        return "root".to_owned();
    }
    let number = uid.to_string();
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let entry = passwd.lines().find(|line| line.split(':').nth(2) == Some(&number));
    entry.and_then(|line| line.split(':').next()).map_or(number, str::to_owned)
}
