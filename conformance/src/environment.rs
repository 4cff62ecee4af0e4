//! The kinds of host that suites run on, and what this one lacks.

use std::ffi::{CStr, OsString};
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::Duration;

use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_move, unmount};
use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};

const CGROUPS: &str = "/sys/fs/cgroup";

/// Where a suite runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Environment {
    /// This machine as it is.
    Host,
    /// This machine, with all its controllers in hierarchies of cgroup v1.
    Hybrid,
    /// This machine, with a fresh cgroup2 that has few controllers or none.
    Unified,
    /// The virtual machine: every controller in cgroup2, AppArmor, every capability.
    Vm,
    /// The same, with cgroups made by systemd.
    VmSystemd,
    /// The same, as a user who is nobody special.
    VmRootless,
}

impl Environment {
    pub(crate) const ALL: [Self; 6] =
        [Self::Host, Self::Hybrid, Self::Unified, Self::Vm, Self::VmSystemd, Self::VmRootless];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Hybrid => "hybrid",
            Self::Unified => "unified",
            Self::Vm => "vm",
            Self::VmSystemd => "vm-systemd",
            Self::VmRootless => "vm-rootless",
        }
    }

    pub(crate) fn about(self) -> &'static str {
        match self {
            Self::Host => "the machine as it is",
            Self::Hybrid => "the machine's kernel, all controllers in cgroup v1 hierarchies",
            Self::Unified => "the machine's kernel, a fresh cgroup2 without its controllers",
            Self::Vm => "virtual machine: all of cgroup v2, AppArmor, every capability; root",
            Self::VmSystemd => "virtual machine, cgroups by systemd; root",
            Self::VmRootless => "virtual machine, cgroups by the user's systemd; not root",
        }
    }

    pub(crate) fn parse(name: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|environment| environment.name() == name).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Failure::new(format!("there is no environment {name:?}; there are {names}"))
        })
    }

    /// Whether it is a virtual machine, where this program runs once more.
    pub(crate) fn is_vm(self) -> bool {
        matches!(self, Self::Vm | Self::VmSystemd | Self::VmRootless)
    }

    /// Whether PID 1 makes the cgroups.
    pub(crate) fn has_systemd_driver(self) -> bool {
        matches!(self, Self::VmSystemd | Self::VmRootless)
    }
}

/// The program that is running, also when the file that it was started from has been built anew.
pub(crate) fn this_program() -> PathBuf {
    format!("/proc/{}/exe", std::process::id()).into()
}

/// This program, to be run with more arguments in a mount namespace with another view of the
/// cgroups. The machine's own mounts are never touched.
///
/// unshare(1) makes the namespace, then `view` calls [`enter`]: unshare(2) would take this process,
/// with whatever it still has to do, along.
pub(crate) fn this_program_in(environment: Environment) -> Command {
    let program = this_program();
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(&program).arg("view");
    command.arg(environment.name()).arg("--").arg(program);
    command
}

/// Makes the view in this process's own mount namespace and executes `arguments`.
pub(crate) fn enter(environment: Environment, arguments: &[OsString]) -> Result<()> {
    match environment {
        Environment::Hybrid => hybrid()?,
        Environment::Unified => {
            mount("none", CGROUPS, "cgroup2", MountFlags::empty(), None)
                .context("mount a fresh cgroup2")?;
            // Every machine has cgroups below the root, and runc's tests look there for what they can do.
            let resident = format!("hoist-test-{}-view", std::process::id());
            let _ = fs::create_dir(Path::new(CGROUPS).join(resident));
        }
        _ => {}
    }
    let Some((program, rest)) = arguments.split_first() else {
        return Err(Failure::new("view: no command"));
    };
    let error = Command::new(program).args(rest).exec();
    Err(error).context(program.to_string_lossy())
}

/// A tmpfs with the host's hierarchies in it, and with those that the host has not mounted: the kernel
/// takes these controllers from cgroup2 while they are mounted, if no cgroup there uses them. cgroup2 is
/// there if it is left with no controller; crun wants it that way.
fn hybrid() -> Result<()> {
    // One cgroup that a killed test has left keeps a controller in cgroup2.
    crate::leftovers::remove_cgroups();
    let controllers = fs::read_to_string("/proc/cgroups").context("/proc/cgroups")?;
    if !Path::new(CGROUPS).join("devices/cgroup.procs").exists() {
        return Err(Failure::new("hybrid: this machine has no cgroup v1 hierarchies")
            .with_status(crate::failure::UNAVAILABLE));
    }
    let top = "/run/hoist-view";
    fs::create_dir_all(top).context(top)?;
    mount("cgroups", top, "tmpfs", MountFlags::empty(), Some(c"mode=755")).context(top)?;
    for entry in fs::read_dir(CGROUPS).context(CGROUPS)?.flatten() {
        let name = entry.file_name();
        let place = Path::new(top).join(&name);
        let is_link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
        if is_link {
            let target = fs::read_link(entry.path()).context(entry.path().display())?;
            std::os::unix::fs::symlink(target, place).context(entry.path().display())?;
        } else if entry.path().join("cgroup.procs").exists() {
            fs::create_dir(&place).context(place.display())?;
            mount_bind(entry.path(), &place).context(place.display())?;
        }
    }
    for controller in ["hugetlb", "net_cls", "net_prio", "perf_event"] {
        let place = Path::new(top).join(controller);
        // #subsys_name hierarchy num_cgroups enabled
        let enabled = controllers.lines().any(|line| {
            let mut fields = line.split_whitespace();
            fields.next() == Some(controller) && fields.last() == Some("1")
        });
        if enabled && !place.exists() {
            fs::create_dir(&place).context(place.display())?;
            let data = std::ffi::CString::new(controller).context(controller)?;
            if !mount_hierarchy(controller, &place, &data) {
                // cgroup2 holds it: then it is missing in this view.
                fs::remove_dir(&place).context(place.display())?;
            }
        }
    }
    mount_move(top, CGROUPS).context(CGROUPS)?;
    let unified = Path::new(CGROUPS).join("unified");
    let held = fs::read_to_string(unified.join("cgroup.controllers")).unwrap_or_default();
    if !held.trim().is_empty() {
        unmount(&unified, UnmountFlags::DETACH).context(unified.display())?;
    }
    Ok(())
}

/// Mounts a controller of cgroup v1. A cgroup that has just been removed from cgroup2 holds the controller
/// for some milliseconds more, and nothing tells when it no longer does.
fn mount_hierarchy(controller: &str, place: &Path, data: &CStr) -> bool {
    for _ in 0..50 {
        match mount(controller, place, "cgroup", MountFlags::empty(), Some(data)) {
            Ok(()) => return true,
            Err(Errno::BUSY) if !cgroup2_is_used() => thread::sleep(Duration::from_millis(20)),
            Err(_) => return false,
        }
    }
    false
}

/// Whether cgroup2 has cgroups besides its root.
fn cgroup2_is_used() -> bool {
    let entries = fs::read_dir(Path::new(CGROUPS).join("unified")).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_type()).any(|kind| kind.is_ok_and(|kind| kind.is_dir()))
}

/// What tests need and this machine may lack, by the names that lists of expected results use.
pub(crate) fn lacking() -> Vec<String> {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let has_capability = |number: u32| {
        let status = read("/proc/self/status");
        let line = status.lines().find_map(|line| line.strip_prefix("CapBnd:"));
        line.and_then(|set| u64::from_str_radix(set.trim(), 16).ok())
            .is_some_and(|set| set & (1 << number) != 0)
    };
    let facts = [
        ("CAP_SYS_RESOURCE", has_capability(24)),
        ("AppArmor", read("/sys/module/apparmor/parameters/enabled").starts_with('Y')),
        ("SELinux", Path::new("/sys/fs/selinux/enforce").exists()),
        ("v1 hugetlb", Path::new(CGROUPS).join("hugetlb/cgroup.procs").exists()),
        ("v1 net_cls", Path::new(CGROUPS).join("net_cls/cgroup.procs").exists()),
    ];
    facts.into_iter().filter(|(_, there)| !there).map(|(name, _)| name.to_owned()).collect()
}

/// The kernel's release and the machine's distribution.
pub(crate) fn describe() -> String {
    let uname = rustix::system::uname();
    let release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = release
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .map_or("unknown", |name| name.trim_matches('"'));
    format!("Linux {}, {name}", uname.release().to_string_lossy())
}
