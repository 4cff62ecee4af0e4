//! 64 threads of one tokio program create containers, start them, exec in them, wait for them and
//! delete them, all at once, while other threads allocate as fast as they can. Afterwards the
//! program is as it was: nothing leaked, nothing changed.
//!
//! ```sh
//! cargo run --release --example many_threads                      # a bundle of busybox
//! cargo run --release --example many_threads -- /path/to/bundle   # its args are replaced
//! ```

pub(crate) mod caller;

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::Write as _;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hoist::{Bundle, Container, CreateOptions, DefaultSpec, ExecOptions, Runtime, Stdio, oci};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use caller::Caller;

type Failure = Box<dyn Error + Send + Sync>;

/// How much of everything.
#[derive(Debug, Clone)]
pub(crate) struct Load {
    /// Containers at once, each on a thread of its own.
    pub(crate) threads: u32,
    /// Containers that each of them makes, one after the other.
    pub(crate) rounds: u32,
    /// Threads that do nothing but allocate.
    pub(crate) allocators: u32,
    /// The bundle; what it runs is replaced.
    pub(crate) bundle: PathBuf,
    /// Where the containers' state is kept.
    pub(crate) root: PathBuf,
    /// How the containers and their cgroups are named.
    pub(crate) prefix: String,
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Summary {
    containers: u64,
    execs: u64,
    allocations: u64,
    took: Duration,
    checks: usize,
    /// What should not be; nothing, if all is well.
    pub(crate) complaints: Vec<String>,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.containers as f64 / self.took.as_secs_f64();
        writeln!(
            f,
            "{} containers and {} execs in {:.2?}: {rate:.0} containers/s, during {} allocations",
            self.containers, self.execs, self.took, self.allocations
        )?;
        writeln!(f, "{} things about the caller compared before and after", self.checks)?;
        if self.complaints.is_empty() {
            return writeln!(
                f,
                "no leaked descriptor, child, cgroup, mount or state; the caller is unchanged"
            );
        }
        self.complaints.iter().try_for_each(|complaint| writeln!(f, "WRONG: {complaint}"))
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(summary) => {
            let _ = write!(std::io::stdout(), "{summary}");
            if summary.complaints.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "many_threads: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<Summary, Failure> {
    let prefix = format!("many-threads-{}", std::process::id());
    let scratch = std::env::temp_dir().join(&prefix);
    let bundle = match std::env::args_os().nth(1) {
        Some(given) => PathBuf::from(given),
        None => busybox_bundle(&scratch.join("bundle"))?,
    };
    let root = scratch.join("state");
    let load = Load { threads: 64, rounds: 4, allocators: 4, bundle, root, prefix };
    let summary = stress(&load);
    std::fs::remove_dir_all(&scratch)?;
    summary
}

/// A bundle with nothing in it but busybox.
fn busybox_bundle(path: &Path) -> Result<PathBuf, Failure> {
    let bin = path.join("rootfs/bin");
    std::fs::create_dir_all(&bin)?;
    std::fs::copy("/bin/busybox", bin.join("busybox"))
        .map_err(|error| format!("/bin/busybox (Debian's busybox-static): {error}"))?;
    std::os::unix::fs::symlink("busybox", bin.join("sh"))?;
    for directory in ["proc", "sys", "dev"] {
        std::fs::create_dir(path.join("rootfs").join(directory))?;
    }
    std::fs::write(path.join("config.json"), DefaultSpec::default().json())?;
    Ok(path.to_owned())
}

/// Does it, and looks at the caller before and after.
///
/// # Errors
/// Of the first container that failed.
pub(crate) fn stress(load: &Load) -> Result<Summary, Failure> {
    // With its first thread a program gets a handler for a signal of the C library's own.
    let _ = std::thread::spawn(|| ()).join();
    let before = Caller::look();
    let began = Instant::now();
    let threads = load.threads as usize;
    let done = {
        let runtime = Runtime::builder().root(&load.root).build()?;
        let tokio = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .max_blocking_threads(threads)
            .enable_io()
            .build()?;
        let memory = Allocators::start(load.allocators);
        let done = tokio.block_on(all(load, runtime));
        let allocations = memory.stop();
        done.map(|execs| (execs, allocations))
    };
    let took = began.elapsed();
    let (execs, allocations) = done?;

    let mut complaints = before.differences(&Caller::look());
    let mut complain = |what: &str, found: Vec<String>| {
        if !found.is_empty() {
            let mut text = String::new();
            let _ = write!(text, "{} {what} left: {}", found.len(), found.join(", "));
            complaints.push(text);
        }
    };
    complain("children", caller::children().iter().map(u32::to_string).collect());
    complain("mounts", caller::mounts(&load.prefix));
    let cgroups = caller::cgroups(&load.prefix);
    complain("cgroups", cgroups.iter().map(|path| path.display().to_string()).collect());
    complain("containers", Runtime::builder().root(&load.root).build()?.list()?);
    Ok(Summary {
        containers: u64::from(load.threads * load.rounds),
        execs,
        allocations,
        took,
        checks: before.len(),
        complaints,
    })
}

/// All threads' containers.
async fn all(load: &Load, runtime: Runtime) -> Result<u64, Failure> {
    let tasks: Vec<_> = (0..load.threads)
        .map(|thread| tokio::spawn(rounds(load.clone(), runtime.clone(), thread)))
        .collect();
    let mut execs = 0;
    let mut failed = None;
    for task in tasks {
        match task.await? {
            Ok(count) => execs += count,
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(execs), Err)
}

/// One thread's containers, one after another.
async fn rounds(load: Load, runtime: Runtime, thread: u32) -> Result<u64, Failure> {
    for round in 0..load.rounds {
        let id = format!("{}-{thread}-{round}", load.prefix);
        // hoist's calls block, so they have a thread each. What they take care of, they take
        // care of for any thread.
        let (bundle, shared) = (load.bundle.clone(), runtime.clone());
        let container = blocking(move || begin(&shared, &bundle, &id)).await?;

        // An end is an event: the pidfd is readable.
        let pidfd = container.pidfd().ok_or("a new container has a pidfd")?;
        drop(readable(pidfd.try_clone_to_owned()?)?.readable().await?);

        blocking(move || {
            let exit = container.wait()?;
            container.delete()?;
            if exit.code() != Some(5) {
                return Err(format!("the container ended with {exit:?}").into());
            }
            Ok(())
        })
        .await?;
    }
    Ok(u64::from(load.rounds))
}

#[allow(deprecated, reason = "the new name is unsafe, for types that may close what they own")]
fn readable(pidfd: OwnedFd) -> std::io::Result<AsyncFd<OwnedFd>> {
    AsyncFd::with_interest(pidfd, Interest::READABLE)
}

/// Runs `work` on a thread for blocking calls, and compares that thread before and after.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    tokio::task::spawn_blocking(move || {
        let before = Caller::of_thread();
        let result = work()?;
        match before.differences(&Caller::of_thread()).as_slice() {
            [] => Ok(result),
            changed => Err(format!("the calling thread has changed: {changed:?}").into()),
        }
    })
    .await?
}

/// Creates and starts a container, executes something in it, and lets it end.
fn begin(runtime: &Runtime, bundle: &Path, id: &str) -> Result<Container, Failure> {
    let bundle = Bundle::load(bundle)?;
    let mut spec = bundle.spec().clone();
    let mut process = spec.process().clone().ok_or("the bundle has no process")?;
    process.set_terminal(Some(false));
    // Until its standard input ends.
    process.set_args(Some(["sh", "-c", "read line; exit 5"].map(str::to_owned).to_vec()));
    spec.set_process(Some(process.clone()));
    let mut linux = spec.linux().clone().unwrap_or_default();
    linux.set_cgroups_path(Some(PathBuf::from(format!("/{id}"))));
    spec.set_linux(Some(linux));
    let bundle = Bundle::from_spec(bundle.path(), spec)?;

    let options = CreateOptions::new().stdio(Stdio::piped());
    let mut container = runtime.create_with(id, bundle, options)?;
    let outcome = use_it(&mut container, &process);
    if let Err(error) = outcome {
        container.delete_force()?;
        return Err(error);
    }
    Ok(container)
}

fn use_it(container: &mut Container, process: &oci::Process) -> Result<(), Failure> {
    container.start()?;
    let mut process = process.clone();
    process.set_args(Some(["sh", "-c", "exit 7"].map(str::to_owned).to_vec()));
    let exec = container.exec(&process, ExecOptions::new().stdio(Stdio::null()))?;
    let exit = exec.wait()?;
    if exit.code() != Some(7) {
        return Err(format!("the executed process ended with {exit:?}").into());
    }
    drop(container.pipes().stdin.take());
    Ok(())
}

/// Threads that hold the allocator's locks as often as they can.
struct Allocators {
    stop: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

impl Allocators {
    fn start(threads: u32) -> Self {
        let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let allocate = |(stop, count): (Arc<AtomicBool>, Arc<AtomicU64>)| {
            let mut held: Vec<Vec<u8>> = Vec::new();
            for n in 0usize.. {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                held.push(vec![1; 1 << (n % 18)]);
                if held.len() > 64 {
                    held.swap_remove(n % 64);
                    // Two processors have more to do than this.
                    std::thread::yield_now();
                }
                count.fetch_add(1, Ordering::Relaxed);
            }
        };
        let threads = (0..threads)
            .map(|_| {
                let shared = (stop.clone(), count.clone());
                std::thread::spawn(move || allocate(shared))
            })
            .collect();
        Self { stop, count, threads }
    }

    fn stop(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads {
            let _ = thread.join();
        }
        self.count.load(Ordering::Relaxed)
    }
}
