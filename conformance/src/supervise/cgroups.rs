//! The cgroups that a job leaves.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const ROOT: &str = "/sys/fs/cgroup";
/// An emptied cgroup can be busy for a moment, and nothing tells when it no longer is.
const PAUSE: Duration = Duration::from_millis(50);
const TRIES: usize = 20;

/// The controllers that cgroup2's root gives to its children, by file. A runtime enables them and leaves
/// them so; then they can't be mounted as v1 hierarchies any more.
pub(super) struct Enabled(Vec<(PathBuf, BTreeSet<String>)>);

impl Enabled {
    pub(super) fn now() -> Self {
        let files = [ROOT, "/sys/fs/cgroup/unified"]
            .map(|root| Path::new(root).join("cgroup.subtree_control"));
        let there = files.into_iter().filter(|file| file.exists());
        Self(there.map(|file| (file.clone(), controllers(&file))).collect())
    }

    /// Disables those that have been enabled since, unless there is a new cgroup whose limits would go
    /// with them. systemd looks after its own.
    pub(super) fn restore(&self, before: &BTreeSet<PathBuf>) {
        if Path::new("/run/systemd/system").exists() {
            return;
        }
        for (file, enabled) in &self.0 {
            let root = file.parent().unwrap_or(file);
            let children = fs::read_dir(root).into_iter().flatten().flatten();
            let is_new = |path: PathBuf| path.is_dir() && !before.contains(&path);
            if children.map(|entry| entry.path()).any(is_new) {
                continue;
            }
            for controller in controllers(file).difference(enabled) {
                let _ = fs::write(file, format!("-{controller}"));
            }
        }
    }
}

fn controllers(file: &Path) -> BTreeSet<String> {
    let text = fs::read_to_string(file).unwrap_or_default();
    text.split_whitespace().map(str::to_owned).collect()
}

/// All directories of cgroups.
pub(super) fn all() -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    let mut next = vec![PathBuf::from(ROOT)];
    while let Some(directory) = next.pop() {
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                next.push(entry.path());
            }
        }
        found.insert(directory);
    }
    found
}

/// Those that may be removed: new ones in which there was a process of the job's, and new ones of
/// known names. Others make cgroups on this machine, too.
pub(super) struct Left {
    before: BTreeSet<PathBuf>,
    names: Vec<String>,
    noted: BTreeSet<PathBuf>,
}

impl Left {
    pub(super) fn new(before: BTreeSet<PathBuf>, names: &[String]) -> Self {
        Self { before, names: names.to_vec(), noted: BTreeSet::new() }
    }

    /// Notes the cgroups of a process.
    pub(super) fn note(&mut self, pid: u32) {
        let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
        for line in text.lines() {
            // hierarchy:controllers:path (cgroups(7))
            let mut fields = line.splitn(3, ':').skip(1);
            let (Some(controllers), Some(path)) = (fields.next(), fields.next()) else { continue };
            let path = path.trim_start_matches('/');
            if path.is_empty() || path.starts_with("..") {
                continue;
            }
            for hierarchy in [controllers.trim_start_matches("name="), "unified", ""] {
                let directory = Path::new(ROOT).join(hierarchy).join(path);
                if !self.before.contains(&directory) && directory.join("cgroup.procs").exists() {
                    self.noted.insert(directory);
                }
            }
        }
    }

    /// Lets the processes in the noted ones run, so that they can die.
    pub(super) fn thaw(&self) {
        for directory in &self.noted {
            for (file, value) in [("freezer.state", "THAWED"), ("cgroup.freeze", "0")] {
                let path = directory.join(file);
                if path.exists() {
                    let _ = fs::write(path, value);
                }
            }
        }
    }

    /// What there was before.
    pub(super) fn before(&self) -> &BTreeSet<PathBuf> {
        &self.before
    }

    /// Removes them, and returns their names.
    pub(super) fn remove(&self) -> Vec<String> {
        let mut gone = Vec::new();
        for _ in 0..TRIES {
            let mut busy = false;
            // The deepest first.
            for directory in all().iter().rev().filter(|one| !self.before.contains(*one)) {
                let is_empty = fs::read_to_string(directory.join("cgroup.procs"))
                    .is_ok_and(|processes| processes.is_empty());
                if !self.is_of_job(directory) || !is_empty {
                    continue;
                }
                match fs::remove_dir(directory) {
                    Ok(()) => gone.push(format!("cgroup {}", directory.display())),
                    Err(error) => {
                        busy |= error.raw_os_error() == Some(rustix::io::Errno::BUSY.raw_os_error())
                    }
                }
            }
            if !busy {
                break;
            }
            std::thread::sleep(PAUSE);
        }
        gone
    }

    fn is_of_job(&self, directory: &Path) -> bool {
        directory.ancestors().take_while(|ancestor| !self.before.contains(*ancestor)).any(
            |ancestor| {
                let name = ancestor.file_name().unwrap_or_default().to_string_lossy();
                self.noted.contains(ancestor)
                    || self.names.iter().any(|pattern| matches(pattern, &name))
            },
        )
    }
}

/// `?` is one character, `*` at the end whatever follows.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, open) = pattern.strip_suffix('*').map_or((pattern, false), |start| (start, true));
    let mut name = name.chars();
    pattern.chars().all(|wanted| name.next().is_some_and(|got| wanted == '?' || wanted == got))
        && (open || name.next().is_none())
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn names() {
        assert!(matches("ct*", "ct1-2"));
        assert!(!matches("ct*", "machine"));
        assert!(matches("????-??", "1234-ab"));
        assert!(!matches("????-??", "1234-abc"));
        assert!(!matches("container", "container2"));
    }
}
