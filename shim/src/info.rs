//! `-info`: what containerd asks once about a runtime, before its first container.

use std::io::{Read, Write};

use prost::Message;

use crate::failure::{During, Result};
use crate::proto::options::{RuntimeInfo, RuntimeVersion};
use crate::proto::wire::Any;

/// The runtime's name in containerd's configuration.
pub(crate) const NAME: &str = "io.containerd.hoist.v2";

pub(crate) const VERSION: &str = env!("CARGO_PKG_VERSION");

/// As containerd's module typeurl registers the runtime-spec's features, which are JSON.
const FEATURES: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";

/// More than any options have.
const LONGEST: u64 = 1 << 20;

/// Prints a description of the runtime.
///
/// containerd can go on without it, but not without an answer: options that can't be read are left
/// out of it. There are no annotations, as in Go's shim: `containerd.io/runtime-allow-mounts` would
/// list the types of mounts that are to come here although containerd's mount manager has a handler
/// for them, and there are none (core/mount/manager).
pub(crate) fn run(stdin: impl Read, mut stdout: impl Write) -> Result<()> {
    let mut input = Vec::new();
    let read = stdin.take(LONGEST).read_to_end(&mut input);
    let options = read.ok().filter(|length| *length > 0).and_then(|_| Any::decode(&*input).ok());
    stdout
        .write_all(&describe(options).encode_to_vec())
        .and_then(|()| stdout.flush())
        .during("print the description of the runtime")
}

fn describe(options: Option<Any>) -> RuntimeInfo {
    let features = serde_json::to_vec(&hoist::features()).ok();
    RuntimeInfo {
        name: NAME.to_owned(),
        version: Some(RuntimeVersion { version: VERSION.to_owned(), revision: String::new() }),
        options,
        features: features.map(|value| Any { type_url: FEATURES.to_owned(), value }),
        ..RuntimeInfo::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::options::Options;

    fn info(input: &[u8]) -> RuntimeInfo {
        let mut output = Vec::new();
        run(input, &mut output).unwrap();
        RuntimeInfo::decode(&*output).unwrap()
    }

    #[test]
    fn the_options_come_back_and_features_are_json() {
        let options = Any::pack(&Options { root: "/r".to_owned(), ..Default::default() });
        let info = info(&options.encode_to_vec());
        assert_eq!((info.name.as_str(), info.options), (NAME, Some(options)));
        assert_eq!(info.version.unwrap().version, VERSION);
        assert!(info.annotations.is_empty());
        let features = info.features.unwrap();
        assert_eq!(features.type_url, FEATURES);
        let features: serde_json::Value = serde_json::from_slice(&features.value).unwrap();
        assert_eq!(features["linux"]["mountExtensions"]["idmap"]["enabled"], true);
    }

    proptest! {
        #[test]
        fn it_never_fails(input in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(info(&input).name, NAME);
        }
    }
}
