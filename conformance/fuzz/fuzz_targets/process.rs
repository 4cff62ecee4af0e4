//! libFuzzer's program for the target `process`.

#![no_main]

hoist_fuzz::libfuzzer!(process);
