//! libFuzzer's program for the target `wire`.

#![no_main]

hoist_fuzz::libfuzzer!(wire);
