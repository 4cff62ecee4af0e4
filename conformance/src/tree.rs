//! Removing trees of files, in which a runtime that leaks may have left the host's own mounts.

use std::fs;
use std::path::Path;

use crate::failure::{Context, Failure, Result};

/// Removes a tree, unless something is mounted below it.
pub(crate) fn remove(tree: &Path) -> Result<()> {
    let Ok(metadata) = fs::symlink_metadata(tree) else { return Ok(()) };
    if !metadata.is_dir() {
        return fs::remove_file(tree).context(tree.display());
    }
    let tree = fs::canonicalize(tree).context(tree.display())?;
    let mounts = fs::read_to_string("/proc/self/mountinfo").context("/proc/self/mountinfo")?;
    // The fifth field (proc_pid_mountinfo(5)).
    let places = mounts.lines().filter_map(|line| line.split(' ').nth(4)).map(unescaped);
    let below = places.into_iter().find(|place| Path::new(place).starts_with(&tree));
    if let Some(place) = below {
        let tree = tree.display();
        return Err(Failure::new(format!("{tree} is not removed: {place} is mounted below it")));
    }
    fs::remove_dir_all(&tree).context(tree.display())
}

/// Space, tab, newline and backslash are written as \040, \011, \012 and \134 there.
fn unescaped(place: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(place.to_owned(), |place, (code, character)| place.replace(code, character))
}

/// Leaves an empty directory.
pub(crate) fn empty(directory: &Path) -> Result<()> {
    remove(directory)?;
    fs::create_dir_all(directory).context(directory.display())
}

/// A directory that is removed with this value.
#[derive(Debug)]
pub(crate) struct Temporary(pub(crate) std::path::PathBuf);

impl Temporary {
    pub(crate) fn new(path: std::path::PathBuf) -> Result<Self> {
        empty(&path)?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if let Err(failure) = remove(&self.0) {
            crate::console::complain(failure.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn a_tree_with_mounts_stays() {
        let refused = super::remove(Path::new("/proc")).unwrap_err();
        assert!(refused.message.contains("is mounted below it"), "{}", refused.message);
    }

    #[test]
    fn a_tree_goes() {
        let tree = std::env::temp_dir().join(format!("hoist-tree-{}", std::process::id()));
        std::fs::create_dir_all(tree.join("a/b")).unwrap();
        super::remove(&tree).unwrap();
        assert!(!tree.exists());
        super::remove(&tree).unwrap();
    }
}
