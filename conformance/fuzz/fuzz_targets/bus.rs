//! libFuzzer's program for the target `bus`.

#![no_main]

hoist_fuzz::libfuzzer!(bus);
