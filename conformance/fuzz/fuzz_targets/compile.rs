//! libFuzzer's program for the target `compile`.

#![no_main]

hoist_fuzz::libfuzzer!(compile);
