//! libFuzzer's program for the target `seccomp`.

#![no_main]

hoist_fuzz::libfuzzer!(seccomp);
