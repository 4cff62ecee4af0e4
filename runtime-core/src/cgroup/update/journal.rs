//! What the files of a cgroup hold before they are written, so that they can be put back.

use rustix::io::Errno;

use crate::cgroup::dir::Dir;
use crate::cgroup::limits::Write;

/// The values before an update.
#[derive(Debug, Default)]
pub(super) struct Journal<'a>(Vec<Entry<'a>>);

/// One line that is about to be written.
#[derive(Debug)]
struct Entry<'a> {
    dir: &'a Dir,
    file: String,
    line: String,
    /// What to write to undo it; `None` where the file doesn't tell.
    old: Option<String>,
}

impl<'a> Journal<'a> {
    /// Reads what `writes` are going to overwrite. A file that can't be read may be one that only
    /// acts, such as `memory.reclaim`; if it is not there the write will say so.
    pub(super) fn read(writes: &[Write], dir_of: impl Fn(&'static str) -> Option<&'a Dir>) -> Self {
        let mut journal = Self::default();
        for write in writes {
            let Some(dir) = dir_of(write.controller) else { continue };
            let (file, lines) = write.target(dir);
            if file == "cpu.idle" {
                journal.remember_weight(dir);
            }
            for line in lines {
                journal.remember(dir, file, line);
            }
        }
        journal
    }

    /// Setting cpu.idle sets the weight as well. Of an idle group the kernel neither tells it nor
    /// takes another one.
    fn remember_weight(&mut self, dir: &'a Dir) {
        for file in ["cpu.weight", "cpu.shares"] {
            self.remember(dir, file, "");
        }
    }

    fn remember(&mut self, dir: &'a Dir, file: &str, line: &str) {
        let is_weight = matches!(file, "cpu.weight" | "cpu.weight.nice" | "cpu.shares");
        if is_weight && dir.read("cpu.idle").is_ok_and(|idle| idle.trim_end() == "1") {
            return;
        }
        let old = match dir.read(file) {
            Ok(content) => undo_of(file, line, &content),
            Err(Errno::NOENT) => return,
            Err(_) => None,
        };
        self.0.push(Entry { dir, file: file.to_owned(), line: line.to_owned(), old });
    }

    /// Puts back what has changed, the last first. Says what could not be put back.
    pub(super) fn restore(&self) -> Vec<String> {
        let mut pending: Vec<_> = self.0.iter().rev().filter(|entry| entry.is_changed()).collect();
        // As in `limits::apply`, one value may be in another one's way.
        loop {
            let tried: Vec<_> = pending.iter().map(|entry| (*entry, entry.restore())).collect();
            let left: Vec<_> = tried.into_iter().filter(|(entry, _)| entry.is_changed()).collect();
            if left.is_empty() || left.len() == pending.len() {
                return left.into_iter().map(|(entry, failure)| entry.describe(failure)).collect();
            }
            pending = left.into_iter().map(|(entry, _)| entry).collect();
        }
    }
}

impl Entry<'_> {
    fn is_changed(&self) -> bool {
        let Some(old) = &self.old else { return false };
        match self.dir.read(&self.file) {
            Ok(content) => undo_of(&self.file, &self.line, &content).as_ref() != Some(old),
            // The cgroup is gone, and its values with it.
            Err(_) => false,
        }
    }

    fn restore(&self) -> Result<(), Errno> {
        self.dir.write(&self.file, self.old.as_deref().unwrap_or_default())
    }

    /// Says that the old value is not in force again, although it was written or because it
    /// could not be.
    fn describe(&self, written: Result<(), Errno>) -> String {
        let old = self.old.as_deref().unwrap_or_default().trim_end();
        match written {
            Ok(()) => {
                format!("{} doesn't hold {old:?}", self.dir.path().join(&self.file).display())
            }
            Err(errno) => {
                let error = self.dir.error("write", &self.file, errno);
                format!("{error} ({old:?})")
            }
        }
    }
}

/// What has to be written to a file whose content was `content` to undo that `line` was written
/// to it: the formats are those of cgroup-v2.rst, "Interface Files", and of cgroup-v1/.
fn undo_of(file: &str, line: &str, content: &str) -> Option<String> {
    let content = content.trim_end_matches('\n');
    if file == "memory.oom_control" {
        let mut flags = content.lines().filter_map(|line| line.strip_prefix("oom_kill_disable "));
        return flags.next().map(str::to_owned);
    }
    if file == "cgroup.subtree_control" {
        let is_on = |name: &str| content.split(' ').any(|on| on == name);
        let names = line.split_ascii_whitespace().map(|word| word.trim_start_matches(['+', '-']));
        let back = names.map(|name| format!("{}{name}", if is_on(name) { '+' } else { '-' }));
        return Some(back.collect::<Vec<_>>().join(" "));
    }
    if file == "cpuset.cpus.partition" {
        // Of a partition that isn't in force, the reason follows.
        return content.split(" invalid").next().map(str::to_owned);
    }
    if file.starts_with("hugetlb.") && file.ends_with("max") && is_no_limit(content) {
        return Some("max".to_owned());
    }
    let key = line.split_ascii_whitespace().next().unwrap_or_default();
    let with_key = |key: &str| {
        let starts = |line: &&str| line.strip_prefix(key).is_some_and(|rest| rest.starts_with(' '));
        content.lines().find(starts).map(str::to_owned)
    };
    if let Some(old) = with_key(key) {
        return Some(old);
    }
    // A device without a line has no setting of its own.
    if key.contains(':') {
        return unset(file, key);
    }
    match with_key("default") {
        Some(old) => Some(old),
        None if content.is_empty() => Some("\n".to_owned()),
        None if content.contains('\n') => None,
        None => Some(content.to_owned()),
    }
}

/// No limit of huge pages: cgroup2 says `max` only once that was written, and until then the most
/// its counter can hold, which is 2^63 bytes less a page, of 1 GiB at most.
fn is_no_limit(value: &str) -> bool {
    value.parse::<u64>().is_ok_and(|bytes| bytes >= (1 << 63) - (1 << 30))
}

/// What takes a device's setting back.
fn unset(file: &str, device: &str) -> Option<String> {
    let value = match file {
        "io.max" => "rbps=max wbps=max riops=max wiops=max",
        "io.latency" => "target=0",
        _ if file.ends_with("weight") || file.ends_with("weight_device") => "default",
        _ if file.starts_with("blkio.throttle.") => "0",
        _ => return None,
    };
    Some(format!("{device} {value}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    use serde_json::json;

    use super::*;
    use crate::cgroup::host::Mode;
    use crate::cgroup::limits;

    #[test]
    fn what_undoes_a_line() {
        for (file, line, content, expected) in [
            ("pids.max", "5", "max\n", Some("max")),
            ("cpu.max", "50000 100000", "max 100000\n", Some("max 100000")),
            ("cpu.max", "max 100000", "2000 9000\n", Some("2000 9000")),
            ("cpuset.cpus", "0", "\n", Some("\n")),
            ("cpuset.cpus", "0", "0-1,4\n", Some("0-1,4")),
            ("memory.oom_control", "1", "oom_kill_disable 0\nunder_oom 0\noom_kill 9\n", Some("0")),
            (
                "io.max",
                "8:0 rbps=1",
                "8:16 rbps=5 wbps=max\n8:0 rbps=7 wbps=max\n",
                Some("8:0 rbps=7 wbps=max"),
            ),
            (
                "io.max",
                "8:0 rbps=1",
                "8:16 rbps=5 wbps=max riops=max wiops=max\n",
                Some("8:0 rbps=max wbps=max riops=max wiops=max"),
            ),
            ("io.max", "8:0 rbps=1", "", Some("8:0 rbps=max wbps=max riops=max wiops=max")),
            ("io.weight", "200", "default 100\n8:0 5\n", Some("default 100")),
            ("io.weight", "default 200", "default 100\n", Some("default 100")),
            ("io.weight", "8:0 7", "default 100\n8:0 5\n", Some("8:0 5")),
            ("io.bfq.weight", "8:0 7", "default 100\n", Some("8:0 default")),
            ("blkio.bfq.weight", "7", "100\n", Some("100")),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:0 9\n", Some("8:0 9")),
            ("blkio.throttle.read_bps_device", "8:0 7", "8:16 9\n", Some("8:0 0")),
            (
                "rdma.max",
                "mlx5 hca_handle=2",
                "mlx5 hca_handle=max hca_object=5\n",
                Some("mlx5 hca_handle=max hca_object=5"),
            ),
            ("net_prio.ifpriomap", "eth0 7", "lo 0\neth0 3\n", Some("eth0 3")),
            ("misc.max", "sev 1", "sev max\nsev_es 4\n", Some("sev max")),
            ("cgroup.subtree_control", "+pids -io", "cpu io memory\n", Some("-pids +io")),
            ("hugetlb.2MB.max", "0", "9223372036854771712\n", Some("max")),
            ("hugetlb.1GB.rsvd.max", "0", "9223372035781033984\n", Some("max")),
            ("hugetlb.2MB.max", "0", "max\n", Some("max")),
            ("hugetlb.2MB.max", "0", "2097152\n", Some("2097152")),
            (
                "hugetlb.2MB.limit_in_bytes",
                "0",
                "9223372036854771712\n",
                Some("9223372036854771712"),
            ),
            ("cpuset.cpus.partition", "member", "isolated\n", Some("isolated")),
            (
                "cpuset.cpus.partition",
                "root",
                "root invalid (Parent is not a partition root)\n",
                Some("root"),
            ),
            ("some.table", "a 1", "b 2\nc 3\n", None),
            ("some.limit", "8:0 1", "8:16 2\n", None),
        ] {
            let undo = undo_of(file, line, content);
            assert_eq!(undo.as_deref(), expected, "{file}: {line:?} over {content:?}");
        }
    }

    /// A directory that looks like a cgroup's.
    struct Fake(PathBuf);

    impl Fake {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let name = format!("hoist-journal-{name}-{}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir(&path).unwrap();
            for (file, content) in files {
                fs::write(path.join(file), content).unwrap();
            }
            Self(path)
        }

        fn dir(&self) -> Dir {
            Dir::open_mount(&self.0).unwrap()
        }

        fn read(&self, file: impl AsRef<Path>) -> String {
            fs::read_to_string(self.0.join(file)).unwrap()
        }
    }

    impl Drop for Fake {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn writes(json: serde_json::Value) -> Vec<Write> {
        limits::translate(&serde_json::from_value(json).unwrap(), Mode::Unified).unwrap()
    }

    const FILES: [(&str, &str); 4] =
        [("pids.max", "10"), ("cpu.weight", "50"), ("cpu.idle", "0"), ("memory.max", "1000")];

    #[test]
    fn one_refused_write_and_all_is_as_before() {
        let fake = Fake::new("refused", &FILES);
        // Not a file that can be written.
        fs::create_dir(fake.0.join("memory.low")).unwrap();
        let dir = fake.dir();
        let writes = writes(json!({
            "pids": {"limit": 99}, "cpu": {"idle": 1},
            "memory": {"limit": 2000, "reservation": 5}
        }));
        let journal = Journal::read(&writes, |_| Some(&dir));
        let error = limits::apply(&writes, |_| Some(&dir)).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/resources/memory/reservation"));
        assert_eq!(fake.read("pids.max"), "99");
        assert_eq!(fake.read("memory.max"), "2000");
        // As the kernel does when a cgroup gets idle.
        fs::write(fake.0.join("cpu.weight"), "00").unwrap();
        assert_eq!(journal.restore(), [] as [String; 0]);
        for (file, content) in FILES {
            assert_eq!(fake.read(file), content, "{file}");
        }
    }

    #[test]
    fn what_can_not_be_put_back_is_named() {
        let fake = Fake::new("stuck", &[("pids.max", "5"), ("memory.max", "1000")]);
        let dir = fake.dir();
        let writes = writes(json!({"pids": {"limit": 10}, "memory": {"limit": 2000}}));
        let journal = Journal::read(&writes, |_| Some(&dir));
        limits::apply(&writes, |_| Some(&dir)).unwrap();
        // "5" over "10" makes "50" of an ordinary file.
        let left = journal.restore();
        assert_eq!(left.len(), 1, "{left:?}");
        assert!(left[0].ends_with("/pids.max doesn't hold \"5\""), "{left:?}");
        assert_eq!(fake.read("memory.max"), "1000");
    }
}
