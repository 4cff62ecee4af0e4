//! The floor: a program that does only what the kernel has to do for a container (`benches/floor/`).

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The program's modules for clippy and rustfmt; it is build.rs that compiles them.
#[cfg(clippy)]
#[path = "../floor"]
#[allow(
    dead_code,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_sign_loss,
    reason = "without its entry nothing is used; the kernel's interface is machine words"
)]
mod freestanding {
    mod cgroup;
    mod container;
    mod phases;
    #[allow(unsafe_code, reason = "system calls without a libc")]
    mod sys;
    mod text;
}

/// A small configuration that leaves nothing to choose: every runtime makes the same container of it.
pub(crate) const MINIMAL: &str = include_str!("../floor/minimal.json");

/// The program: static, without a libc.
pub(crate) fn program() -> &'static [u8] {
    include_bytes!(env!("HOIST_FLOOR"))
}

/// The floor's second argument: a cgroup of this name in each hierarchy.
pub(crate) fn cgroups(name: &str) -> io::Result<OsString> {
    let paths: Vec<OsString> =
        hierarchies()?.into_iter().map(|path| path.join(name).into_os_string()).collect();
    Ok(paths.join(":".as_ref()))
}

/// The hierarchies that are mounted in the usual place, in an order that doesn't change.
fn hierarchies() -> io::Result<Vec<PathBuf>> {
    let top = Path::new("/sys/fs/cgroup");
    if top.join("cgroup.procs").exists() {
        return Ok(vec![top.to_owned()]);
    }
    let mut hierarchies = Vec::new();
    for entry in fs::read_dir(top)? {
        let entry = entry?;
        // Links are further names of a hierarchy with several controllers.
        if entry.file_type()?.is_dir() && entry.path().join("cgroup.procs").exists() {
            hierarchies.push(entry.path());
        }
    }
    hierarchies.sort();
    Ok(hierarchies)
}

/// What the floor says with `--phases`: names and µs, in their order.
pub(crate) fn phases(text: &str) -> Vec<(String, f64)> {
    let lines = text.lines().filter_map(|line| line.split_once(' '));
    lines.filter_map(|(name, time)| Some((name.to_owned(), time.parse().ok()?))).collect()
}
