//! What of the host must not change: a tree of canaries, `/dev`, settings of the kernel, the
//! runtime's own program, and the table of mounts.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use crate::common::{MountLine, mountinfo};

/// Names that runtimes make or write to where a hostile image leads them astray.
const CANARIES: [&str; 9] = [
    "secret",
    "dev/null",
    "dev/ptmx",
    "dev/console",
    "dev/pts/0",
    "proc/self/attr/exec",
    "proc/sys/kernel/domainname",
    "sys/fs/cgroup/file",
    "etc/passwd",
];

/// Settings that an attacker of the host would like to change.
const SETTINGS: [&str; 4] = [
    "/proc/sys/kernel/core_pattern",
    "/proc/sys/kernel/domainname",
    "/proc/sys/kernel/hostname",
    "/proc/sys/kernel/modprobe",
];

/// Makes the canaries.
pub(crate) fn make_canaries(dir: &Path) {
    for name in CANARIES {
        let file = dir.join(name);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, format!("canary {name}\n")).unwrap();
    }
    fs::set_permissions(dir.join("secret"), fs::Permissions::from_mode(0o600)).unwrap();
    fs::create_dir(dir.join("empty")).unwrap();
    symlink("secret", dir.join("link")).unwrap();
}

/// The host at one moment.
#[derive(Debug)]
pub(crate) struct Host {
    entries: BTreeMap<PathBuf, String>,
    mounts: BTreeMap<String, usize>,
}

impl Host {
    /// Looks at the host: at the canaries in `dir`, and at a program. Mounts below the `/tmp` of
    /// other tests are theirs.
    pub(crate) fn look(dir: &Path, program: &Path, own: &Path) -> Self {
        let mut entries = BTreeMap::new();
        describe_tree(dir, &mut entries);
        entries.insert(program.to_owned(), describe(program, false));
        for entry in fs::read_dir("/dev").unwrap().flatten() {
            let kind = entry.file_type().unwrap();
            // Directories of /dev have a life of their own.
            let what = if kind.is_dir() { String::new() } else { describe_node(&entry.path()) };
            entries.insert(entry.path(), what);
        }
        for setting in SETTINGS {
            let value = fs::read_to_string(setting).unwrap_or_default();
            entries.insert(setting.into(), value);
        }
        Self { entries, mounts: mounts(own) }
    }

    /// What is different now, in words.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let paths: BTreeSet<_> = self.entries.keys().chain(now.entries.keys()).collect();
        let changed = paths.into_iter().filter_map(|path| {
            let (before, after) = (self.entries.get(path), now.entries.get(path));
            let word = |state: Option<&String>| state.map_or("not there".to_owned(), String::clone);
            (before != after)
                .then(|| format!("{}: {} -> {}", path.display(), word(before), word(after)))
        });
        let mounted = now.mounts.iter().filter_map(|(mount, count)| {
            let before = self.mounts.get(mount).copied().unwrap_or(0);
            (*count > before).then(|| format!("mounted: {mount}"))
        });
        changed.chain(mounted).collect()
    }
}

/// The mounts of this namespace that may be an attack's doing.
fn mounts(own: &Path) -> BTreeMap<String, usize> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    let others = |mount: &MountLine| mount.point.starts_with("/tmp/") && !below(&mount.point, own);
    let mut count = BTreeMap::new();
    for mount in mountinfo(&table).into_iter().filter(|mount| !others(mount)) {
        let MountLine { root, point, kind, source, .. } = mount;
        *count.entry(format!("{kind} {source} {root} at {point}")).or_insert(0) += 1;
    }
    count
}

fn below(path: &str, dir: &Path) -> bool {
    Path::new(path).starts_with(dir)
}

fn describe_tree(path: &Path, entries: &mut BTreeMap<PathBuf, String>) {
    entries.insert(path.to_owned(), describe(path, true));
    if path.symlink_metadata().unwrap().is_dir() {
        for entry in fs::read_dir(path).unwrap().flatten() {
            describe_tree(&entry.path(), entries);
        }
    }
}

/// Inode, mode, owner, times and contents. Of times not the last access, which looking changes.
fn describe(path: &Path, contents: bool) -> String {
    let Ok(meta) = path.symlink_metadata() else { return "not there".to_owned() };
    let text = match meta.file_type() {
        kind if kind.is_symlink() => format!("{:?}", fs::read_link(path).unwrap()),
        kind if kind.is_file() && contents => {
            String::from_utf8_lossy(&fs::read(path).unwrap()).into_owned()
        }
        _ => String::new(),
    };
    format!(
        "inode {} mode {:o} owner {}:{} links {} size {} mtime {}.{} ctime {}.{} {text:?}",
        meta.ino(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.nlink(),
        meta.size(),
        meta.mtime(),
        meta.mtime_nsec(),
        meta.ctime(),
        meta.ctime_nsec()
    )
}

/// A device node of the host's: everybody writes to `/dev/null`, so its times say nothing.
fn describe_node(path: &Path) -> String {
    let Ok(meta) = path.symlink_metadata() else { return "not there".to_owned() };
    format!(
        "inode {} mode {:o} owner {}:{} device {:x}",
        meta.ino(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.rdev()
    )
}
