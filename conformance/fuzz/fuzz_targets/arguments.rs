//! libFuzzer's program for the target `arguments`.

#![no_main]

hoist_fuzz::libfuzzer!(arguments);
