//! Filesystems in user space: `fuse.NAME` and `fuse3.NAME` are mounted by mount.fuse(8).

use std::fs::File;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::process::{Command, Stdio};

use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};

use super::descriptor_path;
use crate::failure::{Code, During, Failure, Result};
use crate::proto::types::Mount;

/// The program that mounts, and the filesystem's name for it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Helper<'a> {
    program: &'static str,
    name: &'a str,
}

impl<'a> Helper<'a> {
    pub(super) fn of(mount: &'a Mount) -> Option<Self> {
        [("mount.fuse3", "fuse3."), ("mount.fuse", "fuse.")].into_iter().find_map(
            |(program, prefix)| {
                mount.r#type.strip_prefix(prefix).map(|name| Self { program, name })
            },
        )
    }

    /// Runs the program; the filesystem's process goes on in the background, in this process's
    /// cgroup.
    pub(super) fn mount(&self, mount: &Mount, at: &OwnedFd) -> Result<()> {
        // It needs a path. No container runs that could change it meanwhile.
        let path = rustix::fs::readlink(descriptor_path(at.as_fd()), Vec::new())
            .during("readlink (the target)")?;
        let mut command = Command::new(self.program);
        command.arg(&mount.source).arg(std::ffi::OsStr::from_bytes(path.to_bytes()));
        for option in &mount.options {
            command.args(["-o", option]);
        }
        command.args(["-t", self.name]);
        run(&mut command).during(self.program)
    }
}

/// How much of what a program said is worth an error's message.
const MESSAGE: usize = 4096;

/// Runs a program to its own end.
///
/// The filesystem's process may keep the streams open for as long as it lives: so they are no pipe,
/// whose end would have to be waited for, but memory.
fn run(command: &mut Command) -> Result<()> {
    let memory = memfd_create("mount.fuse", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .during("memfd_create")?;
    let stream = || memory.try_clone().map(Stdio::from).during("memfd_create");
    let status =
        command.stdin(Stdio::null()).stdout(stream()?).stderr(stream()?).status().during("run")?;
    // What the filesystem's process says from now on nobody reads: it must not take memory.
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW).during("memfd_create (seals)")?;
    if status.success() {
        return Ok(());
    }
    let mut said = [0; MESSAGE];
    let length = File::from(memory).read_at(&mut said, 0).during("read the program's message")?;
    let said = String::from_utf8_lossy(said.get(..length).unwrap_or_default());
    Err(Failure::new(Code::Unknown, format!("{status}: {}", said.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_ends_and_its_daemon_stays() {
        use rustix::fs::{CWD, FileType, Mode, mknodat};

        const HANGING: std::time::Duration = std::time::Duration::from_secs(60);
        let scratch = crate::testing::Scratch::new("fuse");
        let fifo = scratch.path().join("fifo");
        mknodat(CWD, &fifo, FileType::Fifo, Mode::RWXU, 0).unwrap();
        let mount = |status: &str| {
            // The daemon has the streams until somebody writes to the fifo.
            let mut command = Command::new("sh");
            command.args(["-c", "read line < $0 & echo no such layer >&2; exit $1"]);
            command.arg(&fifo).arg(status);
            let (sender, result) = std::sync::mpsc::channel();
            let thread = std::thread::spawn(move || sender.send(run(&mut command)));
            let result = result.recv_timeout(HANGING);
            std::fs::write(&fifo, "\n").unwrap();
            thread.join().unwrap().unwrap();
            result.expect("it doesn't wait for the daemon")
        };
        mount("0").unwrap();
        let failure = mount("3").unwrap_err();
        assert_eq!(failure.message, "exit status: 3: no such layer");
    }

    #[test]
    fn two_programs() {
        let helper = |kind: &str| {
            let mount = Mount { r#type: kind.to_owned(), ..Mount::default() };
            Helper::of(&mount).map(|helper| (helper.program, helper.name.to_owned()))
        };
        let expected = |program, name: &str| Some((program, name.to_owned()));
        assert_eq!(helper("fuse3.fuse-overlayfs"), expected("mount.fuse3", "fuse-overlayfs"));
        assert_eq!(helper("fuse.sshfs"), expected("mount.fuse", "sshfs"));
        assert_eq!(helper("fuseblk"), None);
        assert_eq!(helper("fuse"), None);
    }
}
