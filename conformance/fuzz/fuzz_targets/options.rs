//! libFuzzer's program for the target `options`.

#![no_main]

hoist_fuzz::libfuzzer!(options);
