//! libFuzzer's program for the target `state`.

#![no_main]

hoist_fuzz::libfuzzer!(state);
