//! `hoist spec`.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::Path;

use rustix::fs::statfs;
use rustix::process::{getegid, geteuid};

use crate::failure::{Context, Failure, Result};
use crate::session::Session;
use crate::table::flags;
use hoist::DefaultSpec;

const CONFIG: &str = "config.json";
/// statfs(2)
const CGROUP2_SUPER_MAGIC: rustix::fs::FsWord = 0x6367_7270;

pub(crate) fn run(session: &Session) -> Result<u8> {
    let mut spec = DefaultSpec::default().cgroup_namespace(is_unified());
    if session.values.is_on(&flags::SPEC_ROOTLESS) {
        spec = spec.rootless(geteuid().as_raw(), getegid().as_raw());
    }
    let bundle = session.values.path(&flags::BUNDLE).unwrap_or(Path::new(""));
    write(bundle, spec.json().as_bytes()).map(|()| 0)
}

/// Whether the host has the unified hierarchy only, cgroups(7). On others runc asks for no cgroup
/// namespace, and scripts that edit what `spec` writes rely on it.
fn is_unified() -> bool {
    statfs("/sys/fs/cgroup").is_ok_and(|info| info.f_type == CGROUP2_SUPER_MAGIC)
}

/// Writes `config.json` below `bundle` unless there is one.
fn write(bundle: &Path, text: &[u8]) -> Result<()> {
    let path = bundle.join(CONFIG);
    let mut file = match OpenOptions::new().write(true).create_new(true).open(&path) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(Failure::new(format!("File {CONFIG} exists. Remove it first")));
        }
        opened => opened.context(format_args!("open {}", path.display()))?,
    };
    file.write_all(text).context(format_args!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_never_overwritten() {
        let bundle = std::env::temp_dir().join(format!("hoist-spec-{}", std::process::id()));
        std::fs::create_dir_all(&bundle).unwrap();
        write(&bundle, b"{}").unwrap();
        let error = write(&bundle, b"[]").unwrap_err();
        assert_eq!(error.message(), Some("File config.json exists. Remove it first"));
        assert_eq!(std::fs::read(bundle.join(CONFIG)).unwrap(), b"{}");
        std::fs::remove_dir_all(&bundle).unwrap();
        assert!(write(&bundle, b"{}").is_err());
    }
}
