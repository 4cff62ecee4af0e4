//! libFuzzer's program for the target `bootstrap`.

#![no_main]

hoist_fuzz::libfuzzer!(bootstrap);
