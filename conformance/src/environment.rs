//! The kinds of host that suites run on, and what this one lacks.

use std::ffi::OsString;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::failure::{Context, Failure, Result};
use crate::view::{self, CGROUPS};

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
        Environment::Hybrid => {
            // One cgroup that a killed test has left keeps a controller in cgroup2.
            crate::leftovers::remove_cgroups();
            view::hybrid().map_err(|failure| failure.with_status(crate::failure::UNAVAILABLE))?;
        }
        Environment::Unified => {
            view::unified()?;
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
