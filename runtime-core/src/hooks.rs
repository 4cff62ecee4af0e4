//! Hooks: the six kinds, with timeout and captured output.
//!
//! A hook is spawned like everything else: outer joins the container's namespaces where the hook
//! belongs into them, inner executes it. So hooks exist once, whatever namespace they run in
//! (runtime-spec config.md, "POSIX-platform Hooks").

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use oci_spec::runtime::{Hook, Hooks};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::MemfdFlags;
use rustix::io::Errno;
use rustix::process::Signal;

use crate::container::failure;
use crate::error::{Error, ErrorKind, Result};
use crate::plan;
use crate::spawn::image::{InitImage, write_all};
use crate::spawn::{Event, Inner, Spawn};
use crate::sys::pidfd::{self, End, RawExit};
use crate::sys::required::MEMFD_CREATE;

/// How much of a hook's output goes into the error.
const OUTPUT_MAX: usize = 4096;
/// Seconds that are no timeout any more: a century.
const FOREVER: u64 = 100 * 365 * 86_400;

/// The six kinds of hooks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Prestart,
    CreateRuntime,
    CreateContainer,
    StartContainer,
    Poststart,
    Poststop,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Prestart => "prestart",
            Self::CreateRuntime => "createRuntime",
            Self::CreateContainer => "createContainer",
            Self::StartContainer => "startContainer",
            Self::Poststart => "poststart",
            Self::Poststop => "poststop",
        }
    }

    /// The hooks of this kind.
    pub(crate) fn of(self, hooks: Option<&Hooks>) -> &[Hook] {
        let Some(hooks) = hooks else { return &[] };
        #[allow(deprecated, reason = "the spec deprecates prestart hooks; engines still use them")]
        let list = match self {
            Self::Prestart => hooks.prestart(),
            Self::CreateRuntime => hooks.create_runtime(),
            Self::CreateContainer => hooks.create_container(),
            Self::StartContainer => hooks.start_container(),
            Self::Poststart => hooks.poststart(),
            Self::Poststop => hooks.poststop(),
        };
        list.as_deref().unwrap_or_default()
    }
}

/// Starts a hook's program, with these descriptors 0 to 2, where it belongs.
pub(crate) type Launch<'a> = dyn Fn(&Hook, [BorrowedFd<'_>; 3]) -> Result<Inner> + 'a;

/// The container whose namespaces a hook joins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Join<'a> {
    pub(crate) pidfd: BorrowedFd<'a>,
    /// CLONE_NEW* of the namespaces that differ from the caller's.
    pub(crate) namespaces: u64,
    /// The hook's working directory: the root filesystem, which is not the root yet.
    pub(crate) rootfs: &'a Path,
}

/// Runs all hooks of a kind in their order; the first that fails ends it.
pub(crate) fn run(
    kind: Kind,
    hooks: Option<&Hooks>,
    state: &[u8],
    launch: &Launch<'_>,
) -> Result<()> {
    for (index, hook) in kind.of(hooks).iter().enumerate() {
        run_one(hook, state, launch).map_err(|failure| failure.into_error(kind, index, hook))?;
    }
    Ok(())
}

/// Runs all hooks of a kind, also after a failure; returns what failed.
pub(crate) fn run_all(
    kind: Kind,
    hooks: Option<&Hooks>,
    state: &[u8],
    launch: &Launch<'_>,
) -> Vec<Error> {
    let run = |(index, hook)| {
        run_one(hook, state, launch).err().map(|failure| failure.into_error(kind, index, hook))
    };
    kind.of(hooks).iter().enumerate().filter_map(run).collect()
}

/// Starts a program of the host with the caller's privileges: a hook of the runtime's namespaces,
/// or one that joins the container's. Never for a program of the container's image.
pub(crate) fn launch_from_host(
    image: &InitImage,
    join: Option<Join<'_>>,
    hook: &Hook,
    stdio: [BorrowedFd<'_>; 3],
) -> Result<Inner> {
    // Without arguments the program's name is one, execve(2).
    let name = [hook.path().to_string_lossy().into_owned()];
    let plan = plan::compile_helper(
        hook.path(),
        hook.args().as_deref().filter(|args| !args.is_empty()).unwrap_or(&name),
        hook.env().as_deref().unwrap_or_default(),
        join.map(|join| (join.namespaces, join.rootfs)),
    )?;
    let passed: Vec<BorrowedFd<'_>> = match join {
        Some(join) if !plan.passed().is_empty() => vec![join.pidfd],
        _ => Vec::new(),
    };
    let mut conversation =
        Spawn { image, plan: &plan, stdio, preserved: &[], passed: &passed }.start()?;
    while !matches!(conversation.next()?, Event::End) {}
    let program = hook.path().to_string_lossy();
    let failure = failure::of(&conversation.report, Some(&plan), || program.to_string())?;
    let inner = conversation.take_inner();
    match (failure, inner) {
        (None, Some(inner)) => Ok(inner),
        (failure, inner) => {
            if let Some(inner) = inner {
                let _ = pidfd::wait_end(inner.pidfd.as_fd());
            }
            Err(failure.unwrap_or_else(|| Error::system("start the hook", Errno::CHILD)))
        }
    }
}

/// Why a hook failed.
enum Failure {
    Error(Error),
    Exit { end: End, output: String },
    Timeout(i64),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failure {
    fn into_error(self, kind: Kind, index: usize, hook: &Hook) -> Error {
        let name = kind.name();
        let what = match self {
            Self::Error(error) => {
                let message = format!("error running {name} hook #{index}: can't be executed");
                return Error::new(ErrorKind::Hook, message)
                    .with_pointer(format!("/hooks/{name}/{index}"))
                    .with_file(hook.path())
                    .with_source(error);
            }
            Self::Exit { end: End::Exited(code), output } => format!("exit status {code}{output}"),
            Self::Exit { end: End::Signaled { signal, core_dumped }, output } => {
                let dumped = if core_dumped { " (core dumped)" } else { "" };
                format!("signal: {}{dumped}{output}", crate::signal::describe(signal))
            }
            Self::Timeout(seconds) => {
                format!("timed out after {seconds} seconds and was killed")
            }
        };
        // The first words are runc's: "error running prestart hook #0: exit status 1, stdout: …".
        let message = format!("error running {name} hook #{index}: {what}");
        Error::new(ErrorKind::Hook, message)
            .with_pointer(format!("/hooks/{name}/{index}"))
            .with_file(hook.path())
    }
}

fn run_one(hook: &Hook, state: &[u8], launch: &Launch<'_>) -> std::result::Result<(), Failure> {
    let stdin = memory_file(state)?;
    let stdout = memory_file(b"")?;
    let stderr = memory_file(b"")?;
    let deadline = hook.timeout().map(|seconds| {
        Instant::now() + Duration::from_secs(u64::try_from(seconds).unwrap_or(0).min(FOREVER))
    });
    let inner = launch(hook, [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
    let ended = wait_until(&inner.pidfd, deadline);
    if !matches!(ended, Ok(true)) {
        let _ = rustix::process::pidfd_send_signal(&inner.pidfd, Signal::KILL);
        let _ = pidfd::wait_end(inner.pidfd.as_fd());
        ended?;
        return Err(Failure::Timeout(hook.timeout().unwrap_or_default()));
    }
    match pidfd::wait(inner.pidfd.as_fd())? {
        RawExit { end: End::Exited(0), .. } => Ok(()),
        RawExit { end, .. } => Err(Failure::Exit { end, output: outputs(&stdout, &stderr) }),
    }
}

/// Waits for the end of a process; false if the deadline came first.
fn wait_until(pidfd: &OwnedFd, deadline: Option<Instant>) -> Result<bool> {
    loop {
        let left = match deadline {
            Some(deadline) => {
                let left = deadline.saturating_duration_since(Instant::now());
                Some(
                    left.try_into()
                        .unwrap_or(rustix::event::Timespec { tv_sec: i64::MAX, tv_nsec: 0 }),
                )
            }
            None => None,
        };
        let mut fds = [PollFd::new(pidfd, PollFlags::IN)];
        match rustix::event::poll(&mut fds, left.as_ref()) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(true),
            Err(Errno::INTR) => {}
            Err(errno) => return Err(Error::system("wait for the hook", errno)),
        }
    }
}

/// A file in memory: neither a hook that doesn't read nor one that leaves a daemon behind can
/// block anybody, as it could with pipes.
fn memory_file(content: &[u8]) -> Result<OwnedFd> {
    let make = || {
        let file = rustix::fs::memfd_create(c"hoist-hook", MemfdFlags::CLOEXEC)?;
        write_all(&file, content)?;
        rustix::fs::seek(&file, rustix::fs::SeekFrom::Start(0))?;
        Ok(file)
    };
    make()
        .map_err(|errno: Errno| Error::system("make a memfd for a hook", errno).needs(MEMFD_CREATE))
}

/// What the hook wrote, bounded, for the error message.
fn outputs(stdout: &OwnedFd, stderr: &OwnedFd) -> String {
    let read = |file: &OwnedFd| {
        let mut bytes = vec![0u8; OUTPUT_MAX];
        let length = rustix::io::pread(file, &mut bytes[..], 0).unwrap_or(0);
        bytes.truncate(length);
        String::from_utf8_lossy(&bytes).trim_end().to_owned()
    };
    format!(", stdout: {}, stderr: {}", read(stdout), read(stderr))
}
