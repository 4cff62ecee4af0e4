//! The library in-process, in a program of its own: this one, called once more.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Barrier, Mutex};
use std::thread;
use std::time::Instant;

use hoist::{Bundle, Runtime, Stdio};
use serde::{Deserialize, Serialize};

use crate::bundles::Config;
use crate::failure::{Context, Failure, Result};
use crate::job::{Effort, Outcome, Peer};
use crate::{command, console, sys};

use super::arena::Arena;
use super::crowd::together;
use super::field::{Field, Samples, Unit};

/// How many threads call the library.
const THREADS: [u32; 3] = [1, 2, 8];

/// What the program is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Call {
    root: PathBuf,
    bundle: PathBuf,
    /// What the containers' ids begin with.
    prefix: String,
    count: u32,
    threads: u32,
    /// Memory to have resident, in bytes.
    resident: usize,
}

/// What it tells on its standard output.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    /// Milliseconds of each container.
    samples: Vec<f64>,
    per_second: f64,
}

pub(crate) fn run(arena: &Arena) -> Result<Outcome> {
    let mut samples = Samples::default();
    let peer = |name: &str| Peer { name: name.to_owned(), path: PathBuf::new() };
    let settings = ["library", "library-1gb", "floor-in-process"].map(peer);
    let mut field = Field::new(arena, settings.iter());
    let mut lines = Field::new(arena, settings.iter().take(1).chain(arena.all().filter(is_hoist)));
    let Effort { batches, batch: count, large, .. } = *arena.effort();
    for batch in 1..=batches {
        console::status(format_args!("batch {batch} of {batches}"));
        field.round(|setting| {
            match setting.name.as_str() {
                "floor-in-process" => {
                    for peer in arena.all().filter(|peer| peer.is_floor()) {
                        for _ in 0..count {
                            samples.add("library", &setting.name, floor(arena, peer)?);
                        }
                    }
                }
                name => {
                    let resident = if name == "library" { 0 } else { large };
                    for sample in child(arena, count, 1, resident)?.samples {
                        samples.add("library", name, sample);
                    }
                }
            }
            Ok(())
        })?;
        for threads in THREADS {
            lines.round(|setting| {
                let per_second = if setting.name == "library" {
                    child(arena, count, threads, 0)?.per_second
                } else {
                    let once = |_| arena.once(setting, Config::Default);
                    together((0..count).map(once).collect::<Result<_>>()?, threads)?
                };
                samples.add(&format!("threads {threads}"), &setting.name, per_second);
                Ok(())
            })?;
        }
    }
    let subject =
        ("library", "create, start, wait and delete by one program, default configuration");
    let curve = lines.curve(
        ("library-threads", "Containers run in-process, and by the command line"),
        ("threads, or commands at a time", "containers per second"),
        &THREADS,
        |threads| format!("threads {threads}"),
        &samples,
    );
    Ok(Outcome {
        groups: vec![field.group(subject, Unit::Milliseconds, &samples)],
        curves: vec![curve],
        ..Outcome::default()
    })
}

fn is_hoist(peer: &&Peer) -> bool {
    peer.name == "hoist"
}

/// The floor's own clock doesn't run while the floor is started or ends.
fn floor(arena: &Arena, peer: &Peer) -> Result<f64> {
    let path = arena.errors();
    let mut once = arena.floor(peer, Config::Default, true)?;
    command::succeed(once.stdout(fs::File::create(&path).context(path.display())?))?;
    let text = fs::read_to_string(&path).context(path.display())?;
    let phases = crate::floor::phases(&text);
    // Its own start is its first phase.
    Ok(phases.iter().map(|(_, time)| time).sum::<f64>() / 1e3)
}

/// Has a new process do it.
fn child(arena: &Arena, count: u32, threads: u32, resident: usize) -> Result<Answer> {
    let call = Call {
        root: arena.scratch("library")?,
        bundle: arena.bundles().once(Config::Default),
        prefix: format!("{}-", arena.id()),
        count,
        threads,
        resident,
    };
    let call = serde_json::to_string(&call).context("the call")?;
    let mut command = arena.quiet(Path::new("/proc/self/exe"));
    command.args(["library", &call]).stdout(std::process::Stdio::piped());
    command.stderr(std::process::Stdio::inherit());
    let output = command.output().context("the library's caller")?;
    if sys::interrupted() {
        return Err(command::interrupted());
    }
    if !output.status.success() {
        return Err(Failure::new(format!("the library's caller: {}", output.status)));
    }
    serde_json::from_slice(&output.stdout).context("the library's caller")
}

/// The program: runs containers one after the other on each thread.
pub(crate) fn call(call: &str) -> Result<()> {
    let call: Call = serde_json::from_str(call).context("the call")?;
    let memory = vec![1_u8; call.resident];
    let runtime = Runtime::builder().root(&call.root).build().context("the runtime")?;
    let bundle = Bundle::load(&call.bundle).context(call.bundle.display())?;
    // What is made once for all containers.
    once(&runtime, &bundle, &format!("{}warm", call.prefix))?;

    let taken = AtomicU32::new(0);
    let samples = Mutex::new(Vec::new());
    let gate = Barrier::new(usize::try_from(call.threads).unwrap_or(1) + 1);
    let work = || -> Result<()> {
        gate.wait();
        loop {
            let number = taken.fetch_add(1, Ordering::Relaxed);
            if number >= call.count {
                return Ok(());
            }
            let time = once(&runtime, &bundle, &format!("{}{number}", call.prefix))?;
            samples.lock().unwrap_or_else(PoisonError::into_inner).push(time);
        }
    };
    let mut begin = Instant::now();
    thread::scope(|scope| {
        let threads: Vec<_> = (0..call.threads).map(|_| scope.spawn(work)).collect();
        gate.wait();
        begin = Instant::now();
        let panicked = |_| Err(Failure::new("a thread has panicked"));
        threads.into_iter().try_for_each(|thread| thread.join().unwrap_or_else(panicked))
    })?;
    let per_second = f64::from(call.count) / begin.elapsed().as_secs_f64();
    let samples = samples.into_inner().unwrap_or_else(PoisonError::into_inner);
    drop(memory);
    console::print(serde_json::to_string(&Answer { samples, per_second }).context("the answer")?);
    Ok(())
}

/// One container from beginning to end, in milliseconds.
fn once(runtime: &Runtime, bundle: &Bundle, id: &str) -> Result<f64> {
    let bundle = bundle.clone();
    let begin = Instant::now();
    let container = runtime.create(id, bundle, Stdio::null()).context(id)?;
    container.start().context(id)?;
    let exit = container.wait().context(id)?;
    container.delete().context(id)?;
    let time = begin.elapsed();
    match exit.exit_code() {
        0 => Ok(time.as_secs_f64() * 1e3),
        code => Err(Failure::new(format!("{id}: /bin/true has ended with {code}"))),
    }
}
