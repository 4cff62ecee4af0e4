//! A hostile neighbour, who shares a volume with the container that is being made; and the rounds
//! of a race.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags, RenameFlags, openat, renameat_with};

use crate::common::test_name;

/// Swaps two names for each other, over and over, until it is dropped.
#[derive(Debug)]
pub(crate) struct Neighbour {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<u64>>,
}

impl Neighbour {
    /// renameat2(2) with RENAME_EXCHANGE: there is no moment at which one of them isn't there.
    pub(crate) fn swapping(dir: &Path, one: &'static str, other: &'static str) -> Self {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, dir, flags, Mode::empty()).unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = stop.clone();
        let thread = std::thread::spawn(move || {
            let mut count = 0;
            while !stopped.load(Ordering::Relaxed) {
                let swapped = renameat_with(&dir, one, &dir, other, RenameFlags::EXCHANGE);
                count += u64::from(swapped.is_ok());
            }
            count
        });
        Self { stop, thread: Some(thread) }
    }

    /// Ends it. A neighbour that never swapped anything was no attack.
    #[track_caller]
    pub(crate) fn end(mut self) {
        let count = self.halt();
        assert!(count > 0, "the neighbour has swapped nothing");
        say(&format!("{}: {count} swaps", test_name()));
    }

    fn halt(&mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.take().map_or(0, |thread| thread.join().unwrap_or(0))
    }
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.halt();
    }
}

/// How one round ended, for the tally.
pub(crate) type Verdict = &'static str;

/// Of these hoist has some in every race: where nothing was made and nobody came in, nothing was attacked.
const ATTACKED: [Verdict; 2] = ["made", "joined"];

fn wanted(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Plays a race `usual` times; or as often, or for as long, as the environment says.
pub(crate) fn rounds(usual: u64, mut round: impl FnMut() -> Verdict) {
    let name = test_name();
    let (seconds, iterations) = (wanted("HOIST_ATTACK_SECONDS"), wanted("HOIST_ATTACK_ITERATIONS"));
    let begin = Instant::now();
    let mut told = begin;
    let mut count = 0;
    let mut tally: BTreeMap<Verdict, u64> = BTreeMap::new();
    loop {
        let done = match (iterations, seconds) {
            (Some(iterations), _) => count >= iterations,
            (None, Some(seconds)) => begin.elapsed() >= Duration::from_secs(seconds),
            (None, None) => count >= usual,
        };
        if done {
            break;
        }
        *tally.entry(round()).or_default() += 1;
        count += 1;
        if told.elapsed() >= Duration::from_secs(2) {
            told = Instant::now();
            let end = match (iterations, seconds) {
                (None, Some(seconds)) => format!("{seconds} s"),
                (iterations, _) => format!("{} rounds", iterations.unwrap_or(usual)),
            };
            let passed = begin.elapsed().as_secs();
            say(&format!("{name}: {count} rounds, {passed} s of {end}: {}", words(&tally)));
        }
    }
    say(&format!("ITERATIONS {name}: {count}"));
    say(&format!("{name}: {}", words(&tally)));
    let attacked = tally.keys().any(|verdict| ATTACKED.contains(verdict));
    assert!(
        attacked || std::env::var_os("HOIST_ATTACK_RUNTIME").is_some_and(|path| !path.is_empty()),
        "{name}: {}",
        words(&tally)
    );
}

fn words(tally: &BTreeMap<Verdict, u64>) -> String {
    tally.iter().map(|(verdict, count)| format!("{count} {verdict}")).collect::<Vec<_>>().join(", ")
}

/// Past libtest's capture.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
