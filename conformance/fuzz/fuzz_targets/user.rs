//! libFuzzer's program for the target `user`.

#![no_main]

hoist_fuzz::libfuzzer!(user);
