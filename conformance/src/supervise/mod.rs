//! Runs one program of a suite so that nothing of it stays: `hoist-conformance supervise`, a process
//! of its own for each of them.
//!
//! It is a subreaper, so that containers whose runtimes are gone become its children. When the
//! program has ended, or its time is over, or the runner is gone (parent-death signal), everything
//! below it is killed and the cgroups that it was in are removed. What had to be cleaned up is
//! told: a runtime that leaks is found out.

mod cgroups;
mod processes;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{WaitOptions, WaitStatus, wait};
use rustix::pty::{OpenptFlags, grantpt, openpt, unlockpt};
use rustix::termios::{OptionalActions, OutputModes, Winsize, tcgetattr, tcsetattr, tcsetwinsize};
use serde::{Deserialize, Serialize};

use crate::environment::{Environment, this_program_in};
use crate::failure::{Context, Failure, Result};

/// The variable that tells a supervisor whose it is.
const RUNNER: &str = "HOIST_CONFORMANCE_PID";

/// A program to run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) arguments: Vec<String>,
    pub(crate) directory: PathBuf,
    pub(crate) variables: BTreeMap<String, String>,
    /// Whether it gets a terminal, as its controlling one, on which nobody types.
    pub(crate) terminal: bool,
    /// In seconds.
    pub(crate) limit: u64,
    /// How cgroups are named that it may leave: `*` for anything at the end, `?` for one character.
    pub(crate) cgroups: Vec<String>,
    /// Where its standard output and error go.
    pub(crate) output: PathBuf,
}

/// How it ended.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// As a shell says it: 128 and the signal's number for one that died of a signal.
    pub(crate) status: i32,
    pub(crate) timed_out: bool,
    /// What it left behind and is gone now.
    pub(crate) leaks: Vec<String>,
}

/// Runs a job in `environment` and waits for it, from the runner's side.
pub(crate) fn run(environment: Environment, job: &Job) -> Result<Ended> {
    let mut command = this_program_in(environment);
    let job = serde_json::to_string(job).context("supervise")?;
    let supervisor = command
        .arg("supervise")
        .arg(job)
        .env(RUNNER, std::process::id().to_string())
        .stdin(Stdio::null())
        .stderr(Stdio::piped())
        .output();
    let supervisor = supervisor.context("supervise")?;
    if !supervisor.status.success() {
        let said = String::from_utf8_lossy(&supervisor.stderr).trim().to_owned();
        let said = said.strip_prefix("hoist-conformance: ").unwrap_or(&said).to_owned();
        let status = supervisor.status.code().and_then(|code| u8::try_from(code).ok());
        return Err(Failure::new(said).with_status(status.unwrap_or(2)));
    }
    serde_json::from_slice(&supervisor.stdout).context("the supervisor's answer")
}

/// The supervisor itself: runs the job, cleans up, and prints how it ended.
pub(crate) fn supervise(job: &str) -> Result<()> {
    let job: Job = serde_json::from_str(job).context("supervise")?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
        .context("PR_SET_PDEATHSIG")?;
    // It may have gone before that.
    let runner = std::env::var(RUNNER).ok().and_then(|pid| pid.parse::<i32>().ok());
    let parent = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get());
    if runner.is_some() && runner != parent {
        return Err(Failure::new("the runner is gone"));
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .context("PR_SET_CHILD_SUBREAPER")?;
    let signals =
        SigSet::from_iter([Signal::SIGCHLD, Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    signals.thread_block().context("signal mask")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    let signals = SignalFd::with_flags(&signals, flags).context("signalfd")?;

    let before = cgroups::all();
    let enabled = cgroups::Enabled::now();
    let (child, terminal) = start(&job)?;
    let mut output = File::options().append(true).open(&job.output).context("output")?;
    let deadline = Instant::now() + Duration::from_secs(job.limit);
    let end = watch(child, &signals, terminal.as_ref(), &mut output, deadline);

    let mut mine = cgroups::Left::new(before, &job.cgroups);
    let mut leaks = processes::end_all(&mut mine);
    if let Some(terminal) = &terminal {
        copy(terminal, &mut output);
    }
    leaks.extend(mine.remove());
    enabled.restore(mine.before());
    let (status, timed_out) = match end {
        End::Status(status) => (status, false),
        End::TimeIsOver => (124, true),
        End::Stopped => return Err(Failure::new("stopped by a signal").with_status(130)),
    };
    let ended = Ended { status, timed_out, leaks };
    crate::console::line(serde_json::to_string(&ended).context("supervise")?);
    Ok(())
}

/// Starts the program in a session of its own.
fn start(job: &Job) -> Result<(u32, Option<OwnedFd>)> {
    let (program, arguments) =
        job.arguments.split_first().ok_or_else(|| Failure::new("supervise: no program"))?;
    let output = File::create(&job.output).context(job.output.display())?;
    let mut command = Command::new("setsid");
    let terminal = if job.terminal {
        let (ours, theirs) = pseudo_terminal().context("pseudo-terminal")?;
        let copy = || theirs.try_clone().map(Stdio::from).context("pseudo-terminal");
        command.arg("--ctty").stdin(copy()?).stdout(copy()?).stderr(copy()?);
        Some(ours)
    } else {
        let copy = || output.try_clone().map(Stdio::from).context(job.output.display());
        command.stdin(Stdio::null()).stdout(copy()?).stderr(copy()?);
        None
    };
    command.arg(program).args(arguments).current_dir(&job.directory).envs(&job.variables);
    // A program inherits what is blocked, and then nothing that it runs can be ended kindly. Those that
    // come in between end this process, and with it the job: nothing runs yet.
    let ends = SigSet::from_iter([Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]);
    ends.thread_unblock().context("signal mask")?;
    let child = command.spawn();
    ends.thread_block().context("signal mask")?;
    Ok((child.context(program)?.id(), terminal))
}

/// Both ends, the second one for the program. Lines stay as they were written.
fn pseudo_terminal() -> rustix::io::Result<(OwnedFd, OwnedFd)> {
    let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
    let ours = openpt(flags)?;
    grantpt(&ours)?;
    unlockpt(&ours)?;
    let theirs = rustix::pty::ioctl_tiocgptpeer(&ours, flags)?;
    tcsetwinsize(&theirs, Winsize { ws_row: 24, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 })?;
    let mut modes = tcgetattr(&theirs)?;
    modes.output_modes.remove(OutputModes::ONLCR);
    tcsetattr(&theirs, OptionalActions::Now, &modes)?;
    rustix::io::ioctl_fionbio(&ours, true)?;
    Ok((ours, theirs))
}

enum End {
    Status(i32),
    TimeIsOver,
    /// Somebody wants the runner to end.
    Stopped,
}

/// Waits for the program, copies what its terminal shows, and reaps whatever else ends.
fn watch(
    child: u32,
    signals: &SignalFd,
    terminal: Option<&OwnedFd>,
    output: &mut File,
    deadline: Instant,
) -> End {
    let mut terminal_is_open = terminal.is_some();
    loop {
        while let Ok(Some((pid, status))) = wait(WaitOptions::NOHANG) {
            if pid.as_raw_nonzero().get().cast_unsigned() == child {
                return End::Status(shell_status(status));
            }
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let _ = writeln!(output, "\nhoist-conformance: the time is over");
            return End::TimeIsOver;
        }
        let mut places = vec![PollFd::new(signals, PollFlags::IN)];
        if let (Some(terminal), true) = (terminal, terminal_is_open) {
            places.push(PollFd::new(terminal, PollFlags::IN));
        }
        let Ok(left) = Timespec::try_from(left) else { return End::TimeIsOver };
        if poll(&mut places, Some(&left)).is_err() {
            continue; // EINTR
        }
        let of_terminal = places.get(1).map(PollFd::revents);
        while let Ok(Some(signal)) = signals.read_signal() {
            if i32::try_from(signal.ssi_signo) != Ok(Signal::SIGCHLD as i32) {
                return End::Stopped;
            }
        }
        if let (Some(terminal), Some(events)) = (terminal, of_terminal) {
            copy(terminal, output);
            // Nobody has it open at present: then it would be ready all the time. What is written
            // later is read in the end.
            terminal_is_open = !events.contains(PollFlags::HUP);
        }
    }
}

/// What a terminal has shown up to now.
fn copy(terminal: &OwnedFd, output: &mut File) {
    let mut buffer = [0; 1 << 16];
    while let Ok(length @ 1..) = rustix::io::read(terminal.as_fd(), &mut buffer) {
        let _ = output.write_all(buffer.get(..length).unwrap_or_default());
    }
}

fn shell_status(status: WaitStatus) -> i32 {
    status
        .exit_status()
        .or_else(|| status.terminating_signal().map(|signal| 128 + signal))
        .unwrap_or(-1)
}

/// The whole of what a job printed; bytes that are no text are replaced.
pub(crate) fn output(path: &Path) -> Result<String> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut file| file.read_to_end(&mut bytes)).context(path.display())?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}
