//! What is fuzzed of `start`: what containerd sends to the standard input.

use std::ffi::OsStr;

use super::answer;
use super::request::Request;
use crate::args::Args;
use crate::failure::Code;
use crate::options::Options;
use crate::proto::options::RuntimeOptions;
use crate::proto::wire::Any;

/// The standard input: bootstrap parameters, or the runtime's options.
pub fn bootstrap(data: &[u8]) {
    let args = Args {
        id: "web".to_owned(),
        namespace: "default".to_owned(),
        address: "/run/containerd/containerd.sock".to_owned(),
        ..Args::default()
    };
    for version in [None, Some(OsStr::new("2"))] {
        match Request::new(&args, version, data) {
            Ok(request) => {
                // Whatever comes in, it is for the container of the command line.
                assert_eq!(
                    (request.id, request.namespace),
                    (args.id.clone(), args.namespace.clone())
                );
                assert!(!answer::encode(request.form, "unix:///run/s").is_empty());
                decode(request.options.as_ref());
            }
            Err(failure) => assert_eq!(failure.code, Code::InvalidArgument),
        }
    }
}

/// The options of a runtime whose own options containerd doesn't know: TOML.
pub fn options(data: &[u8]) {
    let options = RuntimeOptions { config_body: data.to_vec(), ..RuntimeOptions::default() };
    decode(Some(&Any::pack(&options)));
}

fn decode(any: Option<&Any>) {
    let names_a_file = |any: &Any| {
        any.unpack::<RuntimeOptions>()
            .is_ok_and(|it| it.is_some_and(|it| !it.config_path.is_empty()))
    };
    if any.is_some_and(names_a_file) {
        return;
    }
    match Options::decode(any) {
        Ok(options) => assert!(options.root("default").is_absolute()),
        Err(failure) => assert_eq!(failure.code, Code::InvalidArgument),
    }
}
