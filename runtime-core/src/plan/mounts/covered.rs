//! Masked and read-only paths in a procfs or sysfs: they are looked for in that very mount.
//!
//! By its name from the root it could be found elsewhere, or not at all, if somebody who shares the root
//! filesystem renames what it is mounted on meanwhile; and what isn't there isn't covered
//! (CVE-2019-19921's race).

use hoist_init::wire::Reg;

use super::super::context::Context;
use super::{Entry, clean};

/// A procfs or sysfs of its own, or bound to where one belongs.
pub(super) fn is_by_kernel(kind: &str, destination: &str) -> bool {
    matches!(kind, "proc" | "sysfs") || matches!(destination, "/proc" | "/sys")
}

/// Whether one of `maskedPaths` and `readonlyPaths` is below a mount.
pub(super) fn any_below(ctx: &Context<'_>, destination: &str) -> bool {
    let lists = ctx.linux().map(|linux| [linux.masked_paths(), linux.readonly_paths()]);
    let mut paths = lists.into_iter().flatten().flatten().flatten();
    paths.any(|path| below(destination, &clean(path)).is_some())
}

/// The mount that a clean path to be covered is in, and the path there.
pub(in super::super) fn holder<'a>(entries: &[Entry], path: &'a str) -> Option<(Reg, &'a str)> {
    let holders = entries.iter().rev().filter(|entry| entry.covered);
    let found = holders.filter_map(|entry| {
        let destination = entry.destination.to_str().ok()?;
        Some((entry.reg, below(destination, path)?))
    });
    // The innermost one, and of those in one place the last.
    found.min_by_key(|(_, rest)| rest.len())
}

/// What is left of a clean path below another one.
fn below<'a>(above: &str, path: &'a str) -> Option<&'a str> {
    path.strip_prefix(above).filter(|rest| rest.starts_with('/'))
}
