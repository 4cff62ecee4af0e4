//! What is fuzzed of hoist: a function of bytes for each way in which data comes from elsewhere. A
//! function panics where a promise is broken.
//!
//! The functions are with the code that they are about, in modules called `fuzz`, behind a cargo feature
//! of that name. Here they are put together: for libFuzzer (`libfuzzer.rs`, by `cargo fuzz`), and for the
//! tests, which run the corpus without any fuzzer.

mod json;

pub use json::mutate as mutate_json;

/// Says to the program `libfuzzer` which target it is for.
pub const TARGET_VARIABLE: &str = "HOIST_FUZZ_TARGET";

/// What is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its directory in the corpus.
    pub name: &'static str,
    /// What is done with an input.
    pub run: fn(&[u8]),
    /// Inputs are JSON, and are changed as such most of the time.
    pub is_json: bool,
}

const fn bytes(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, is_json: false }
}

const fn json(name: &'static str, run: fn(&[u8])) -> Target {
    Target { name, run, is_json: true }
}

/// All of them, by name.
pub const TARGETS: [Target; 22] = [
    bytes("arguments", hoist_cli_fuzz::fuzz::arguments),
    bytes("bootstrap", hoist_shim_fuzz::fuzz::bootstrap),
    bytes("bus", hoist::fuzz::bus),
    json("compile", hoist::fuzz::compile),
    json("config", hoist::fuzz::config),
    json("devices", hoist::fuzz::devices),
    bytes("gvariant", hoist::fuzz::gvariant),
    bytes("message", hoist::fuzz::message),
    bytes("mount_options", hoist::fuzz::mount_options),
    bytes("numbers", hoist_cli_fuzz::fuzz::numbers),
    bytes("options", hoist_shim_fuzz::fuzz::options),
    bytes("passwd", hoist::fuzz::passwd),
    json("process", hoist::fuzz::process),
    bytes("procfs", hoist::fuzz::procfs),
    bytes("report", hoist::fuzz::report),
    json("resources", hoist::fuzz::resources),
    json("seccomp", hoist::fuzz::seccomp),
    bytes("signal", hoist::fuzz::signal),
    json("state", hoist::fuzz::state),
    bytes("ttrpc", hoist_shim_fuzz::fuzz::ttrpc),
    bytes("user", hoist_cli_fuzz::fuzz::user),
    bytes("wire", hoist::fuzz::wire),
];

/// The target of this name.
#[must_use]
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
