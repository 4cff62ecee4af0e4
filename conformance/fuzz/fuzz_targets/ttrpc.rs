//! libFuzzer's program for the target `ttrpc`.

#![no_main]

hoist_fuzz::libfuzzer!(ttrpc);
