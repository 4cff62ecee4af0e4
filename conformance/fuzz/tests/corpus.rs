//! The corpus, without any fuzzer: seeds, and every input on which something once failed.

#![cfg(test)]

use std::collections::BTreeMap;
use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use hoist_fuzz::TARGETS;

/// What the whole corpus may take.
const MOST_BYTES: usize = 1 << 20;

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus")
}

fn inputs(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let mut paths: Vec<PathBuf> = fs::read_dir(directory().join(target))
        .unwrap_or_else(|error| panic!("{target} has no corpus: {error}"))
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

#[test]
fn every_input_is_survived() {
    let mut failed = Vec::new();
    for target in TARGETS {
        let inputs = inputs(target.name);
        assert!(!inputs.is_empty(), "{}", target.name);
        println!("{}: {} inputs", target.name, inputs.len());
        for (path, input) in inputs {
            if catch_unwind(|| (target.run)(&input)).is_err() {
                failed.push(path);
            }
        }
    }
    assert!(failed.is_empty(), "{failed:#?}");
}

#[test]
fn the_corpus_is_small_and_says_nothing_twice() {
    let mut size = 0;
    for target in TARGETS {
        let mut seen = BTreeMap::new();
        for (path, input) in inputs(target.name) {
            size += input.len();
            let other = seen.insert(input, path.clone());
            assert!(other.is_none(), "{path:?} is {other:?}");
        }
    }
    assert!(size < MOST_BYTES, "{size} bytes");
    let mut names: Vec<_> =
        fs::read_dir(directory()).unwrap().map(|it| it.unwrap().file_name()).collect();
    names.sort();
    assert!(names.iter().eq(TARGETS.iter().map(|target| target.name)), "{names:?}");
}
