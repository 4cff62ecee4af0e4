//! `--pid-file`.

use std::ffi::OsString;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::Path;

use crate::failure::{Context, Failure, Result};

/// Writes `pid` so that a reader sees the whole number or no file.
pub(super) fn write(path: &Path, pid: u32) -> Result<()> {
    let name = path.file_name().ok_or_else(|| {
        Failure::new(format!("write the pid file {}: not a file's name", path.display()))
    })?;
    let mut hidden = OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}", std::process::id()));
    let temporary = path.with_file_name(hidden);
    fs::write(&temporary, pid.to_string())
        .and_then(|()| fs::rename(&temporary, path))
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .context(format_args!("write the pid file {}", path.display()))
}

/// The pid of the process that a pidfd stands for. The pidfd's owner knows it also if the process
/// has ended meanwhile and was not waited for.
pub(crate) fn pid_of(pidfd: BorrowedFd<'_>) -> Result<u32> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", pidfd.as_raw_fd()))
        .context("look up the process id")?;
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid:"));
    pid.and_then(|pid| pid.trim().parse().ok())
        .ok_or_else(|| Failure::new("look up the process id: the process is gone"))
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use rustix::process::{PidfdFlags, getpid, pidfd_open};

    use super::*;

    #[test]
    fn the_file_is_replaced_as_a_whole() {
        let directory = std::env::temp_dir().join(format!("hoist-pid-{}", std::process::id()));
        fs::create_dir_all(&directory).unwrap();
        let path = directory.join("pid");
        fs::write(&path, "a longer text than any number").unwrap();
        write(&path, 4711).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "4711");
        assert_eq!(fs::read_dir(&directory).unwrap().count(), 1);
        assert!(write(&directory.join("missing/pid"), 1).is_err());
        assert!(write(Path::new("/"), 1).is_err());
        fs::remove_dir_all(&directory).unwrap();
    }

    #[test]
    fn a_pidfd_knows_its_pid() {
        let own = pidfd_open(getpid(), PidfdFlags::empty()).unwrap();
        assert_eq!(pid_of(own.as_fd()).unwrap(), std::process::id());
        let file = fs::File::open("/dev/null").unwrap();
        assert!(pid_of(file.as_fd()).is_err());
    }
}
