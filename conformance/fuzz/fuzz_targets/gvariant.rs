//! libFuzzer's program for the target `gvariant`.

#![no_main]

hoist_fuzz::libfuzzer!(gvariant);
