//! libFuzzer's program for the target `numbers`.

#![no_main]

hoist_fuzz::libfuzzer!(numbers);
