//! libFuzzer's program for the target `mount_options`.

#![no_main]

hoist_fuzz::libfuzzer!(mount_options);
