//! Fuzzing with libFuzzer: builds the targets with cargo-fuzz, runs them, says how it goes and
//! keeps what was found.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use hoist_fuzz::{TARGET_VARIABLE, Target};
use serde_json::{Map, Value, json};

/// How often a running target is heard of.
const PROGRESS: Duration = Duration::from_secs(10);
/// The program of all targets.
const PROGRAM: &str = "libfuzzer";
/// No input is longer: all that is fuzzed is small.
const LONGEST: u32 = 16 << 10;
/// What an input may take: seconds, and MiB of memory.
const LIMITS: [&str; 2] = ["-timeout=10", "-rss_limit_mb=2048"];
/// What is built of the release's profile, which is for a small program.
const PROFILE: [(&str, &str); 2] =
    [("CARGO_PROFILE_RELEASE_LTO", "off"), ("CARGO_PROFILE_RELEASE_STRIP", "none")];
/// From so many seconds for each target on, a program that runs half as fast again is worth twice the time
/// to build it.
const LONG: u64 = 60;

/// A campaign: where its files are, and how long each target runs.
pub(crate) struct Campaign {
    /// This package's directory.
    package: PathBuf,
    /// Programs, inputs that were found and crashes; nothing of it is for the repository.
    work: PathBuf,
    seconds: u64,
}

/// What one target has done.
struct Outcome {
    executions: u64,
    /// Inputs that reached something new, and how many edges all inputs reach.
    new: u64,
    edges: u64,
    took: Duration,
    /// What was printed, if it was ended by an input.
    crash: Option<String>,
}

impl Campaign {
    pub(crate) fn new(seconds: u64) -> io::Result<Self> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.ancestors().nth(2).unwrap_or(package);
        let target = std::env::var_os("CARGO_TARGET_DIR");
        let work = target.map_or_else(|| workspace.join("target"), PathBuf::from).join("fuzz");
        fs::create_dir_all(&work)?;
        Ok(Self { package: package.to_owned(), work: work.canonicalize()?, seconds })
    }

    /// Runs the targets, as many at once as there are processors. True if no input was found on which one of
    /// them fails.
    pub(crate) fn run(&self, targets: &[&Target], record: Option<&Path>) -> io::Result<bool> {
        self.build()?;
        let next = AtomicUsize::new(0);
        let record = Mutex::new(record);
        let worker = || {
            let mut sound = true;
            while let Some(target) = targets.get(next.fetch_add(1, Ordering::Relaxed)) {
                let outcome = self.fuzz(target)?;
                self.tell(target, &outcome)?;
                sound &= outcome.crash.is_none();
                // One writes to the file at a time.
                if let Some(path) = *record.lock().unwrap_or_else(PoisonError::into_inner) {
                    add(path, target.name, &outcome)?;
                }
            }
            Ok(sound)
        };
        let workers = thread::available_parallelism().map_or(1, usize::from);
        thread::scope(|scope| {
            let workers: Vec<_> = (0..workers).map(|_| scope.spawn(worker)).collect();
            workers.into_iter().try_fold(true, |sound, worker| {
                let done = worker.join().unwrap_or_else(|_| Err(io::Error::other("a panic")))?;
                Ok(sound && done)
            })
        })
    }

    fn tell(&self, target: &Target, outcome: &Outcome) -> io::Result<()> {
        let Outcome { executions, new, edges, took, crash } = outcome;
        let verdict = if crash.is_none() { "sound" } else { "FAILS" };
        say(&format!(
            "{:<14} {verdict}  {executions} executions in {} s, {edges} edges, {new} new inputs",
            target.name,
            took.as_secs()
        ))?;
        let Some(crash) = crash else { return Ok(()) };
        let kept = self.work.join("crashes").join(target.name);
        say(&format!(
            "{crash}\n    once more: cargo run -p hoist-fuzz -- try {} {}/*\n    then keep it as \
             conformance/fuzz/corpus/{}/regression-WHAT",
            target.name,
            kept.display(),
            target.name
        ))
    }

    /// No sanitizer: but for a few system calls there is no unsafe code to be watched, and so the stable
    /// compiler does.
    fn build(&self) -> io::Result<()> {
        say("==> building the targets for libFuzzer")?;
        let (level, units) = if self.seconds < LONG { ("1", "16") } else { ("3", "1") };
        let done = Command::new("cargo")
            .args(["fuzz", "build", "--sanitizer", "none", "--codegen-units", units])
            .args(["--no-default-features", "--features", "libfuzzer", "--fuzz-dir"])
            .arg(&self.package)
            .arg("--target-dir")
            .arg(&self.work)
            .arg(PROGRAM)
            .envs(PROFILE)
            .env("CARGO_PROFILE_RELEASE_OPT_LEVEL", level)
            .status()?;
        if done.success() { Ok(()) } else { Err(io::Error::other("cargo fuzz build has failed")) }
    }

    fn fuzz(&self, target: &Target) -> io::Result<Outcome> {
        let directory = |kind: &str| {
            let path = self.work.join(kind).join(target.name);
            fs::create_dir_all(&path).map(|()| path)
        };
        let (found, crashes) = (directory("found")?, directory("crashes")?);
        let triple = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
        let began = Instant::now();
        let mut child = Command::new(self.work.join(triple).join("release").join(PROGRAM))
            .env(TARGET_VARIABLE, target.name)
            .arg(format!("-max_total_time={}", self.seconds))
            .arg(format!("-max_len={LONGEST}"))
            .arg(format!("-artifact_prefix={}/", crashes.display()))
            .args(LIMITS)
            .args(["-print_final_stats=1", "-detect_leaks=0"])
            // What is found goes to the first one.
            .args([found, self.package.join("corpus").join(target.name)])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = Log::default();
        if let Some(output) = child.stderr.take() {
            for line in BufReader::new(output).split(b'\n') {
                log.take(target, &String::from_utf8_lossy(&line?))?;
            }
        }
        let status = child.wait()?;
        let crash = (!status.success()).then(|| format!("    {status}\n{}", log.last.join("\n")));
        Ok(Outcome {
            executions: log.executions,
            new: log.new,
            edges: log.edges,
            took: began.elapsed(),
            crash,
        })
    }
}

/// What libFuzzer prints: `#1234 NEW    cov: 56 ft: 78 …`, and `stat::…` at the end.
#[derive(Default)]
struct Log {
    executions: u64,
    new: u64,
    edges: u64,
    last: Vec<String>,
    said: Option<Instant>,
}

impl Log {
    fn take(&mut self, target: &Target, line: &str) -> io::Result<()> {
        let mut words = line.split_whitespace();
        let number = |word: Option<&str>| word.and_then(|word| word.parse::<u64>().ok());
        match words.next() {
            Some("stat::number_of_executed_units:") => {
                self.executions = number(words.next()).unwrap_or(0)
            }
            Some("stat::new_units_added:") => self.new = number(words.next()).unwrap_or(0),
            Some(word) if number(word.strip_prefix('#')).is_some() => {
                self.executions = number(word.strip_prefix('#')).unwrap_or(0);
                let mut words = words.skip_while(|word| *word != "cov:").skip(1);
                self.edges = number(words.next()).unwrap_or(self.edges);
                if self.said.get_or_insert_with(Instant::now).elapsed() >= PROGRESS {
                    self.said = Some(Instant::now());
                    let Self { executions, edges, .. } = self;
                    say(&format!(
                        "{:<14} …      {executions} executions, {edges} edges",
                        target.name
                    ))?;
                }
                return Ok(());
            }
            _ => {}
        }
        // A panic's message stands above the stack and the statistics.
        if self.last.len() < 40 && !line.starts_with("INFO:") && !line.starts_with("stat::") {
            self.last.push(format!("    {line}"));
        }
        Ok(())
    }
}

/// Adds to what was done before, which docs/security.md shows.
fn add(record: &Path, name: &str, outcome: &Outcome) -> io::Result<()> {
    let mut all: Map<String, Value> = match fs::read(record) {
        Ok(text) => serde_json::from_slice(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Map::new(),
        Err(error) => return Err(error),
    };
    let before = |key: &str| all.get(name).and_then(|it| it.get(key)?.as_u64()).unwrap_or(0);
    let sums = json!({
        "executions": before("executions") + outcome.executions,
        "seconds": before("seconds") + outcome.took.as_secs(),
        "edges": outcome.edges.max(before("edges")),
        "failures": before("failures") + u64::from(outcome.crash.is_some()),
    });
    all.insert(name.to_owned(), sums);
    let mut text = serde_json::to_vec_pretty(&all)?;
    text.push(b'\n');
    if let Some(parent) = record.parent() {
        fs::create_dir_all(parent)?;
    }
    fs::write(record, text)
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout(), "{line}")
}
