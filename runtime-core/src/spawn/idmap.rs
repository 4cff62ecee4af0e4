//! The uid and gid maps of a new user namespace, written from outside: user_namespaces(7).
//!
//! There are three ways. Who has CAP_SETUID and CAP_SETGID writes any map. Anybody may map his
//! own id alone, the group only after giving up setgroups(2) inside. For everything else there
//! are newuidmap(1) and newgidmap(1), which have the capability and ask /etc/subuid and
//! /etc/subgid what the user may map.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use oci_spec::runtime::LinuxIdMapping;
use rustix::fs::{Access, AtFlags, CWD};
use rustix::io::Errno;
use rustix::thread::CapabilitySet;

use crate::error::{Error, ErrorKind, Result};
use crate::procfs::ProcessDir;

/// What the kernel takes since Linux 4.15.
const LINES_MAX: usize = 340;
/// How much of a tool's complaint is kept.
const STDERR_MAX: u64 = 4096;

/// What differs between the map of users and that of groups.
struct Kind {
    file: &'static str,
    pointer: &'static str,
    capability: CapabilitySet,
    tool: &'static str,
    grants: &'static str,
}

const UID: Kind = Kind {
    file: "uid_map",
    pointer: "/linux/uidMappings",
    capability: CapabilitySet::SETUID,
    tool: "newuidmap",
    grants: "/etc/subuid",
};
const GID: Kind = Kind {
    file: "gid_map",
    pointer: "/linux/gidMappings",
    capability: CapabilitySet::SETGID,
    tool: "newgidmap",
    grants: "/etc/subgid",
};

/// Who writes a map.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The caller, by its capability.
    Privileged,
    /// The caller, because it maps nothing but its own id.
    OwnId,
    /// newuidmap or newgidmap.
    Tool,
}

impl Way {
    fn choose(maps: &[LinuxIdMapping], capable: bool, own: u32) -> Self {
        match maps {
            _ if capable => Self::Privileged,
            [only] if only.size() == 1 && only.host_id() == own => Self::OwnId,
            _ => Self::Tool,
        }
    }
}

fn way_for_gid(gid: &[LinuxIdMapping]) -> Result<Way> {
    Ok(Way::choose(gid, capable(&GID)?, rustix::process::getegid().as_raw()))
}

/// Whether a process in a namespace with this gid map will not be able to call setgroups(2), so
/// that additional groups can't be set.
pub(crate) fn needs_setgroups_deny(gid: &[LinuxIdMapping]) -> Result<bool> {
    Ok(way_for_gid(gid)? == Way::OwnId)
}

/// Writes both maps of a process that has just entered a new user namespace, a child of the
/// caller's own.
///
/// The unprivileged ways need a process that is dumpable, for otherwise its files in `/proc`
/// belong to root (proc_pid(5)).
pub(crate) fn write_maps(
    process: &ProcessDir,
    uid: &[LinuxIdMapping],
    gid: &[LinuxIdMapping],
) -> Result<()> {
    check(uid, &UID)?;
    check(gid, &GID)?;
    let way = Way::choose(uid, capable(&UID)?, rustix::process::geteuid().as_raw());
    write_map(process, uid, &UID, way)?;
    let way = way_for_gid(gid)?;
    if way == Way::OwnId {
        process.write("setgroups", b"deny").map_err(|errno| {
            process.fail("deny setgroups", "setgroups", errno).with_pointer(GID.pointer)
        })?;
    }
    write_map(process, gid, &GID, way)
}

fn check(maps: &[LinuxIdMapping], kind: &Kind) -> Result<()> {
    if maps.is_empty() {
        return Err(Error::config(kind.pointer, "a new user namespace needs a mapping"));
    }
    if maps.len() > LINES_MAX {
        return Err(Error::config(kind.pointer, "the kernel takes at most 340 mappings"));
    }
    Ok(())
}

/// Whether the calling thread has the capability to write any map, see capabilities(7).
fn capable(kind: &Kind) -> Result<bool> {
    rustix::thread::capabilities(None)
        .map(|sets| sets.effective.contains(kind.capability))
        .map_err(|errno| Error::system("read the capabilities", errno))
}

fn write_map(process: &ProcessDir, maps: &[LinuxIdMapping], kind: &Kind, way: Way) -> Result<()> {
    if way == Way::Tool {
        return match find(kind.tool, std::env::var_os("PATH").as_deref()) {
            Some(tool) => run(&tool, process, maps, kind),
            None => Err(Error::unsupported(
                kind.pointer,
                format!("{} is needed for these mappings, and not installed", kind.tool),
            )
            .with_hint(
                "install it (package uidmap or shadow-utils), or map the caller's own id alone",
            )),
        };
    }
    process.write(kind.file, lines(maps).as_bytes()).map_err(|errno| {
        let error = process.fail("write the id map", kind.file, errno).with_pointer(kind.pointer);
        match errno {
            Errno::INVAL => error.with_hint("each range must be non-empty and overlap no other"),
            Errno::PERM => error.with_hint(
                "the host's ids must be mapped in the caller's user namespace, and to map its \
                 root the caller needs CAP_SETFCAP",
            ),
            Errno::ACCESS => error.with_hint("the process is not dumpable, or another user's"),
            _ => error,
        }
    })
}

/// The map as the kernel reads it: one range a line.
fn lines(maps: &[LinuxIdMapping]) -> String {
    let mut text = String::new();
    for map in maps {
        // Writing to a String can't fail.
        let _ = writeln!(text, "{} {} {}", map.container_id(), map.host_id(), map.size());
    }
    text
}

/// The program that execvp(3) would find with this PATH, or else in /usr/bin.
fn find(tool: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    std::env::split_paths(path.unwrap_or_default())
        .filter(|directory| directory.is_absolute())
        .chain([PathBuf::from("/usr/bin")])
        .map(|directory| directory.join(tool))
        .find(|file| {
            file.is_file()
                && rustix::fs::accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS).is_ok()
        })
}

/// Has newuidmap(1) or newgidmap(1) write the map.
fn run(tool: &Path, process: &ProcessDir, maps: &[LinuxIdMapping], kind: &Kind) -> Result<()> {
    let fail = |message: String| {
        Error::new(ErrorKind::System, message).with_file(tool).with_pointer(kind.pointer)
    };
    let start = |error: std::io::Error| {
        let errno = Errno::from_io_error(&error).unwrap_or(Errno::IO);
        fail(format!("run {}", kind.tool)).with_errno(errno)
    };
    let mut child = Command::new(tool)
        .arg(process.pid().to_string())
        .args(maps.iter().flat_map(|map| {
            [map.container_id(), map.host_id(), map.size()].map(|number| number.to_string())
        }))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(start)?;
    let mut complaint = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        // Its end, which is awaited here, comes with the tool's exit.
        let _ = stderr.take(STDERR_MAX).read_to_end(&mut complaint);
    }
    let done = match child.wait() {
        Ok(status) => status.success(),
        // Somebody else in this program has reaped it, or SIGCHLD is ignored. The map itself
        // tells as well: a namespace that has none reads as empty.
        Err(error) if error.raw_os_error() == Some(libc::ECHILD) => !process
            .read(kind.file)
            .map_err(|e| process.fail("read the id map", kind.file, e))?
            .is_empty(),
        Err(error) => return Err(start(error)),
    };
    if done {
        return Ok(());
    }
    let complaint = String::from_utf8_lossy(complaint.trim_ascii()).replace('\n', "; ");
    Err(fail(format!("{} failed: {complaint}", kind.tool)).with_hint(format!(
        "check that {} grants these ranges to the user, and that {} is setuid root or has the \
         file capability",
        kind.grants, kind.tool
    )))
}

#[cfg(test)]
mod tests {
    use std::io::BufRead;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Child;

    use oci_spec::runtime::LinuxIdMappingBuilder;
    use rustix::process::Pid;

    use super::*;
    use crate::procfs::Proc;

    fn map(container: u32, host: u32, size: u32) -> LinuxIdMapping {
        LinuxIdMappingBuilder::default()
            .container_id(container)
            .host_id(host)
            .size(size)
            .build()
            .unwrap()
    }

    /// A process in a new user namespace without maps, which is killed at the end.
    struct InUserns(Child, ProcessDir);

    impl InUserns {
        fn new() -> Self {
            let mut child = Command::new("unshare")
                .args(["--user", "sh", "-c", "echo; exec sleep 60"])
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let mut ready = String::new();
            std::io::BufReader::new(child.stdout.take().unwrap()).read_line(&mut ready).unwrap();
            let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
            Self(child, Proc::open().unwrap().dir(pid).unwrap().unwrap())
        }

        fn content(&self, file: &str) -> String {
            let text = String::from_utf8(self.1.read(file).unwrap()).unwrap();
            text.split_whitespace().collect::<Vec<_>>().join(" ")
        }
    }

    impl Drop for InUserns {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn the_way_is_the_least_that_does() {
        let own = [map(0, 1000, 1)];
        let range = [map(0, 1000, 1), map(1, 100_000, 65_536)];
        assert_eq!(Way::choose(&own, true, 1000), Way::Privileged);
        assert_eq!(Way::choose(&range, true, 1000), Way::Privileged);
        assert_eq!(Way::choose(&own, false, 1000), Way::OwnId);
        assert_eq!(Way::choose(&own, false, 1001), Way::Tool);
        assert_eq!(Way::choose(&range, false, 1000), Way::Tool);
        assert_eq!(Way::choose(&[map(0, 1000, 2)], false, 1000), Way::Tool);
    }

    #[test]
    fn maps_are_lines() {
        assert_eq!(
            lines(&[map(0, 1000, 1), map(1, 100_000, 65_536)]),
            "0 1000 1\n1 100000 65536\n"
        );
    }

    #[test]
    fn too_few_and_too_many_are_named() {
        let process = Proc::open().unwrap().dir(rustix::process::getpid()).unwrap().unwrap();
        let one = [map(0, 0, 1)];
        let error = write_maps(&process, &[], &one).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/uidMappings"));
        let error = write_maps(&process, &one, &vec![map(0, 0, 1); 341]).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/gidMappings"));
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }

    #[test]
    fn tools_are_found_as_execvp_does() {
        let directory = std::env::temp_dir().join(format!("hoist-idmap-{}", std::process::id()));
        std::fs::create_dir(&directory).unwrap();
        let path = std::env::join_paths([Path::new("relative"), &directory]).unwrap();
        let tool = directory.join("hoist-no-such-tool");
        assert_eq!(find("hoist-no-such-tool", Some(&path)), None);
        std::fs::write(&tool, "").unwrap();
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o644)).unwrap();
        assert_eq!(find("hoist-no-such-tool", Some(&path)), None);
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).unwrap();
        assert_eq!(find("hoist-no-such-tool", Some(&path)), Some(tool));
        assert_eq!(find("env", None), Some(PathBuf::from("/usr/bin/env")));
        std::fs::remove_dir_all(directory).unwrap();
    }

    #[test]
    fn root_writes_any_map() {
        if !capable(&UID).unwrap() || !capable(&GID).unwrap() {
            eprintln!("skipped: needs CAP_SETUID and CAP_SETGID");
            return;
        }
        let process = InUserns::new();
        let uid = [map(0, 100_000, 1000), map(1000, 0, 1)];
        let gid = [map(0, 200_000, 65_536)];
        assert!(!needs_setgroups_deny(&gid).unwrap());
        write_maps(&process.1, &uid, &gid).unwrap();
        assert_eq!(process.content("uid_map"), "0 100000 1000 1000 0 1");
        assert_eq!(process.content("gid_map"), "0 200000 65536");
        assert_eq!(process.content("setgroups"), "allow");

        // A map is written once.
        let error = write_maps(&process.1, &uid, &gid).unwrap_err();
        assert_eq!((error.errno(), error.pointer()), (Some(libc::EPERM), Some(UID.pointer)));

        let process = InUserns::new();
        let overlap = [map(0, 1000, 10), map(5, 2000, 10)];
        let error = write_maps(&process.1, &overlap, &gid).unwrap_err();
        assert_eq!(error.errno(), Some(libc::EINVAL));
    }

    #[test]
    fn a_tools_complaint_is_in_the_error() {
        let process = Proc::open().unwrap().dir(rustix::process::getpid()).unwrap().unwrap();
        // env(1) takes the pid for a program that it should run.
        let tool = find("env", None).unwrap();
        let error = run(&tool, &process, &[map(0, 1, 2)], &UID).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/uidMappings"));
        let text = error.to_string();
        assert!(text.contains("newuidmap failed: ") && text.contains("No such file"), "{text}");
        assert!(text.contains("/etc/subuid"), "{text}");
        run(&find("true", None).unwrap(), &process, &[map(0, 1, 2)], &UID).unwrap();
    }

    /// Runs the test `inner` as an ordinary user with the number 54321, whom private copies of
    /// /etc/subuid and /etc/subgid grant 100000 to 165535. It is run through `wrapper`.
    fn as_user(inner: &str, wrapper: &str) {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: needs root");
            return;
        }
        let script = "set -e
            exec 3< \"$0\"; mount -t tmpfs none /mnt; cat <&3 > /mnt/test; exec 3<&-
            chmod 755 /mnt /mnt/test
            echo 54321:100000:65536 > /mnt/sub
            cp /etc/passwd /mnt/passwd; echo hoist-test:x:54321:54321::/:/bin/sh >> /mnt/passwd
            mount --bind /mnt/passwd /etc/passwd
            for f in /etc/subuid /etc/subgid; do
                if [ -e $f ]; then mount --bind /mnt/sub $f; fi
            done
            exec $2 setpriv --reuid 54321 --regid 54321 --clear-groups \
                /mnt/test --exact \"$1\" --nocapture --include-ignored";
        let output = Command::new("unshare")
            .args(["--mount", "sh", "-c", script])
            .arg(std::env::current_exe().unwrap())
            .arg(format!("{}::{inner}", module_path!().split_once("::").unwrap().1))
            .arg(wrapper)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(output.status.success() && text.contains("1 passed"), "{text}");
    }

    #[test]
    fn a_user_maps_himself() {
        as_user("inner_a_user_maps_himself", "");
    }

    fn is_that_user() -> bool {
        rustix::process::geteuid().as_raw() == 54_321
    }

    #[test]
    #[ignore = "run by a_user_maps_himself"]
    fn inner_a_user_maps_himself() {
        if !is_that_user() {
            return;
        }
        let process = InUserns::new();
        let own = [map(0, 54_321, 1)];
        assert!(needs_setgroups_deny(&own).unwrap());
        write_maps(&process.1, &own, &own).unwrap();
        assert_eq!(process.content("uid_map"), "0 54321 1");
        assert_eq!(process.content("gid_map"), "0 54321 1");
        assert_eq!(process.content("setgroups"), "deny");
    }

    #[test]
    fn a_user_maps_what_was_granted() {
        if find(UID.tool, None).is_none() || !Path::new(UID.grants).exists() {
            eprintln!("skipped: newuidmap is not installed");
            return;
        }
        as_user("inner_a_user_maps_what_was_granted", "");
        // A program that ignores SIGCHLD is not told how the tools ended.
        as_user("inner_a_user_maps_what_was_granted", "env --ignore-signal=CHLD");
    }

    #[test]
    #[ignore = "run by a_user_maps_what_was_granted"]
    fn inner_a_user_maps_what_was_granted() {
        if !is_that_user() {
            return;
        }
        let process = InUserns::new();
        let granted = [map(0, 54_321, 1), map(1, 100_000, 65_536)];
        assert!(!needs_setgroups_deny(&granted).unwrap());
        write_maps(&process.1, &granted, &granted).unwrap();
        assert_eq!(process.content("uid_map"), "0 54321 1 1 100000 65536");
        assert_eq!(process.content("gid_map"), "0 54321 1 1 100000 65536");
        assert_eq!(process.content("setgroups"), "allow");

        let process = InUserns::new();
        let more = [map(0, 54_321, 1), map(1, 100_000, 65_537)];
        let error = write_maps(&process.1, &more, &granted).unwrap_err().to_string();
        assert!(error.contains("newuidmap failed: newuidmap: uid range"), "{error}");
    }
}
