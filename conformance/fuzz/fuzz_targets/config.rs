//! libFuzzer's program for the target `config`.

#![no_main]

hoist_fuzz::libfuzzer!(config);
