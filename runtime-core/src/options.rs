//! What a caller may choose beyond the bundle.

use std::os::fd::OwnedFd;

use crate::stdio::Stdio;

/// How a container is created; see [`Runtime::create_with`](crate::Runtime::create_with).
#[derive(Debug)]
pub struct CreateOptions {
    pub(crate) stdio: Stdio,
    pub(crate) console_socket: Option<OwnedFd>,
    pub(crate) no_pivot: bool,
    pub(crate) no_new_keyring: bool,
    pub(crate) preserved: Vec<OwnedFd>,
    pub(crate) environment: Vec<String>,
    pub(crate) timings: bool,
}

impl Default for CreateOptions {
    fn default() -> Self {
        Self {
            stdio: Stdio::inherit(),
            console_socket: None,
            no_pivot: false,
            no_new_keyring: false,
            preserved: Vec::new(),
            environment: Vec::new(),
            timings: false,
        }
    }
}

macro_rules! common_options {
    () => {
        /// The defaults: the caller's own stdio, no terminal.
        #[must_use]
        pub fn new() -> Self {
            Self::default()
        }

        /// Descriptors 0 to 2 of the process.
        #[must_use]
        pub fn stdio(mut self, stdio: Stdio) -> Self {
            self.stdio = stdio;
            self
        }

        /// A connected unix stream socket that gets the terminal's master, as containerd and
        /// conmon expect it: SCM_RIGHTS with the terminal's name as the message. Needed if and
        /// only if `process.terminal` is set.
        #[must_use]
        pub fn console_socket(mut self, socket: OwnedFd) -> Self {
            self.console_socket = Some(socket);
            self
        }

        /// More descriptors for the process: they become its numbers 3, 4 and so on.
        #[must_use]
        pub fn preserve(mut self, descriptors: Vec<OwnedFd>) -> Self {
            self.preserved = descriptors;
            self
        }

        /// One more environment variable, besides the configuration's.
        #[must_use]
        pub fn env(mut self, name: &str, value: &str) -> Self {
            self.environment.push(format!("{name}={value}"));
            self
        }

        /// Clock each step; see the result's `timings()`.
        #[must_use]
        pub fn timings(mut self, wanted: bool) -> Self {
            self.timings = wanted;
            self
        }
    };
}

impl CreateOptions {
    common_options!();

    /// Change the root by moving a mount instead of pivot_root(2), for a host whose root is a
    /// ramdisk. Less safe: the old root stays mounted below.
    #[must_use]
    pub fn no_pivot(mut self, wanted: bool) -> Self {
        self.no_pivot = wanted;
        self
    }

    /// Keep the caller's session keyring, keyrings(7).
    #[must_use]
    pub fn no_new_keyring(mut self, wanted: bool) -> Self {
        self.no_new_keyring = wanted;
        self
    }
}

/// How a process is added to a container; see [`Container::exec`](crate::Container::exec).
#[derive(Debug)]
pub struct ExecOptions {
    pub(crate) stdio: Stdio,
    pub(crate) console_socket: Option<OwnedFd>,
    pub(crate) preserved: Vec<OwnedFd>,
    pub(crate) environment: Vec<String>,
    pub(crate) timings: bool,
    pub(crate) cgroups: Vec<String>,
    pub(crate) ignore_paused: bool,
}

impl Default for ExecOptions {
    fn default() -> Self {
        Self {
            stdio: Stdio::inherit(),
            console_socket: None,
            preserved: Vec::new(),
            environment: Vec::new(),
            timings: false,
            cgroups: Vec::new(),
            ignore_paused: false,
        }
    }
}

impl ExecOptions {
    common_options!();

    /// A cgroup below the container's for the process: `path`, or `controller,controller:path`
    /// for some hierarchies of cgroup v1.
    #[must_use]
    pub fn cgroup(mut self, cgroup: &str) -> Self {
        self.cgroups.push(cgroup.to_owned());
        self
    }

    /// Exec into a paused container; the process runs once the container is resumed.
    #[must_use]
    pub fn ignore_paused(mut self, wanted: bool) -> Self {
        self.ignore_paused = wanted;
        self
    }
}
