//! Where state is kept, and whether hoist runs without root: runc's rules.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::failure::{Context, Failure, Result};

const ROOT: &str = "/run/hoist";

/// The state directory where `--root` names none.
pub(crate) fn default_root() -> Result<PathBuf> {
    let Some(runtime_dir) = std::env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty())
    else {
        return Ok(ROOT.into());
    };
    if !honours_xdg()? {
        return Ok(ROOT.into());
    }
    let root = Path::new(&runtime_dir).join("hoist");
    fs::create_dir_all(&root).context(format_args!(
        "the path in $XDG_RUNTIME_DIR must be writable: {}",
        root.display()
    ))?;
    // By the XDG specification only what has the sticky bit is safe from being cleaned up.
    fs::set_permissions(&root, Permissions::from_mode(0o1700))
        .context(format_args!("set the sticky bit of {}", root.display()))?;
    Ok(root)
}

/// The state directory that `--root` names, made absolute.
pub(crate) fn checked_root(given: Option<&Path>) -> Result<PathBuf> {
    let given = given.unwrap_or(Path::new("."));
    let path = std::path::absolute(given).context("get the current directory")?;
    let mut root = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => drop(root.pop()),
            part => root.push(part),
        }
    }
    if root == Path::new("/") {
        return Err(Failure::new("Option --root argument should not be set to /"));
    }
    Ok(root)
}

/// Whether this program is somebody else than the host's root.
pub(crate) fn is_rootless() -> Result<bool> {
    Ok(!rustix::process::geteuid().is_root() || in_user_namespace()?)
}

/// Root on the host keeps its state in /run whatever its session says; everybody else, root of a
/// user namespace included, has it in the session's own directory.
fn honours_xdg() -> Result<bool> {
    if !rustix::process::geteuid().is_root() {
        return Ok(true);
    }
    Ok(in_user_namespace()? && std::env::var_os("USER").is_none_or(|user| user != "root"))
}

/// In the initial user namespace every id is mapped onto itself.
fn in_user_namespace() -> Result<bool> {
    let path = "/proc/self/uid_map";
    match fs::read_to_string(path) {
        Ok(map) => Ok(map.split_whitespace().ne(["0", "0", "4294967295"])),
        // A kernel without user namespaces.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).context(format_args!("read {path}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_is_absolute_and_not_the_file_system() {
        let root = |path: &str| checked_root(Some(Path::new(path)));
        assert_eq!(root("/run/../run/./x").unwrap(), Path::new("/run/x"));
        assert!(root("x").unwrap().is_absolute());
        for bad in ["/", "/..", "/run/..", "../../../../../../../../../../../.."] {
            assert!(root(bad).is_err(), "{bad}");
        }
    }
}
