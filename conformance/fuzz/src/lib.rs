//! What is fuzzed of hoist: a function of bytes for each way in which data comes from elsewhere. A
//! function panics where a promise is broken.
//!
//! The functions are with the code that they are about, in modules called `fuzz`, behind a cargo feature
//! of that name. Here they are put together: for libFuzzer (`fuzz_targets/`, by `cargo fuzz`), and for
//! the tests, which run the corpus without any fuzzer.

mod json;

pub use json::mutate as mutate_json;

/// What is fuzzed.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its binary and of its directory in the corpus.
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
pub const TARGETS: [Target; 18] = [
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
    json("process", hoist::fuzz::process),
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

/// The program that libFuzzer makes of a target.
#[macro_export]
macro_rules! libfuzzer {
    ($name:ident) => {
        fn target() -> &'static $crate::Target {
            $crate::target(stringify!($name)).unwrap_or_else(|| std::process::abort())
        }

        libfuzzer_sys::fuzz_target!(|data: &[u8]| (target().run)(data));

        libfuzzer_sys::fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
            let json = target().is_json.then(|| $crate::mutate_json(data, size, max_size, seed));
            json.flatten().unwrap_or_else(|| libfuzzer_sys::fuzzer_mutate(data, size, max_size))
        });
    };
}
