//! libFuzzer's program for the target `signal`.

#![no_main]

hoist_fuzz::libfuzzer!(signal);
