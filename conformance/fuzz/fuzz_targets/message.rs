//! libFuzzer's program for the target `message`.

#![no_main]

hoist_fuzz::libfuzzer!(message);
