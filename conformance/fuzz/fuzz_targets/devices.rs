//! libFuzzer's program for the target `devices`.

#![no_main]

hoist_fuzz::libfuzzer!(devices);
