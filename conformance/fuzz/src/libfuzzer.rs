//! libFuzzer's program, for whichever target the environment names. One program for all is built and linked once.

#![no_main]

use std::io::Write;
use std::sync::OnceLock;

use hoist_fuzz::{TARGET_VARIABLE, Target};

fn target() -> &'static Target {
    static TARGET: OnceLock<&'static Target> = OnceLock::new();
    TARGET.get_or_init(|| {
        let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
        hoist_fuzz::target(&name).unwrap_or_else(|| {
            let _ = writeln!(std::io::stderr(), "no target {name:?} in {TARGET_VARIABLE}");
            std::process::exit(2)
        })
    })
}

libfuzzer_sys::fuzz_target!(|data: &[u8]| (target().run)(data));

libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    let json = target().is_json.then(|| hoist_fuzz::mutate_json(data, size, max_size, seed));
    json.flatten().unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
});
