//! Runs a bundle's process once, with its output captured: exit status, resource usage and what
//! each step cost.
//!
//! ```sh
//! cargo run --release --example run_once -- /path/to/bundle
//! ```

use std::error::Error;
use std::io::{Read, Write};
use std::process::ExitCode;

use hoist::{Bundle, CreateOptions, Runtime, Stdio};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            let _ = writeln!(std::io::stderr(), "run_once: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<ExitCode, Box<dyn Error>> {
    let path = std::env::args().nth(1).ok_or("usage: run_once BUNDLE")?;
    let id = format!("run-once-{}", std::process::id());
    let runtime = Runtime::builder().root("/run/hoist-examples").build()?;
    let options = CreateOptions::new().stdio(Stdio::piped()).timings(true);

    let mut container = runtime.run_with(&id, Bundle::load(path)?, options)?;
    // The pipes end with the process; one thread for each keeps a chatty one from blocking.
    drop(container.pipes().stdin.take());
    let reader = |pipe: Option<std::fs::File>| {
        std::thread::spawn(move || {
            let mut text = Vec::new();
            pipe.map(|mut pipe| pipe.read_to_end(&mut text)).transpose().map(|_| text)
        })
    };
    let stdout = reader(container.pipes().stdout.take());
    let stderr = reader(container.pipes().stderr.take());
    let exit = container.wait()?;
    let captured = |thread: std::thread::JoinHandle<std::io::Result<Vec<u8>>>| {
        thread.join().map_err(|_| "a reader panicked").map(|text| text.unwrap_or_default())
    };
    let (stdout, stderr) = (captured(stdout)?, captured(stderr)?);
    let timings = container.timings().clone();
    for error in container.delete()? {
        writeln!(std::io::stderr(), "run_once: {error}")?;
    }

    let mut out = std::io::stdout().lock();
    writeln!(out, "stdout: {:?}", String::from_utf8_lossy(&stdout))?;
    writeln!(out, "stderr: {:?}", String::from_utf8_lossy(&stderr))?;
    writeln!(out, "exit:   code {:?}, signal {:?}", exit.code(), exit.signal())?;
    if let Some(usage) = exit.usage() {
        let kib = usage.max_rss / 1024;
        writeln!(out, "usage:  user {:?}, system {:?}, {kib} KiB", usage.user, usage.system)?;
    }
    writeln!(out, "run:    {:?}", timings.total())?;
    for timing in timings.iter() {
        let micros = timing.duration.as_nanos() / 1000;
        writeln!(out, "{micros:>8} µs  {} {}", timing.name, timing.pointer)?;
    }
    Ok(ExitCode::from(u8::try_from(exit.exit_code()).unwrap_or(1)))
}
