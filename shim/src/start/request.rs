//! What containerd asks of `start`: flags and environment, and what it sends to the standard input.

use std::ffi::OsStr;

use prost::Message;

use crate::args::Args;
use crate::failure::{Code, Failure, Result};
use crate::options::Options;
use crate::proto::bootstrap::{BootstrapParams, LogLevel};
use crate::proto::wire::Any;

/// The form in which a daemon takes the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// containerd since 2.3.
    Protobuf,
    /// 1.7 to 2.2, which set `MAX_SHIM_VERSION`.
    Json,
    /// 1.6.
    Address,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Request {
    pub(super) form: Form,
    pub(super) id: String,
    pub(super) namespace: String,
    /// Of containerd's gRPC socket.
    pub(super) address: String,
    /// Of its ttrpc socket, where events go, if it is not in `TTRPC_ADDRESS`.
    pub(super) ttrpc_address: Option<String>,
    pub(super) socket_directory: Option<String>,
    pub(super) debug: bool,
    pub(super) options: Option<Any>,
}

impl Request {
    /// Since 2.3 `input` is a `BootstrapParams`; before, an `Any` with the runtime's options, or
    /// nothing. An `Any` can be read as a `BootstrapParams` too, since both begin with strings: so
    /// that is what it is if it says whom it is for, as the command line does.
    pub(super) fn new(args: &Args, max_version: Option<&OsStr>, input: &[u8]) -> Result<Self> {
        let bootstrap = BootstrapParams::decode(input).ok();
        if let Some(params) = &bootstrap
            && params.instance_id == args.id
            && params.namespace == args.namespace
        {
            return Self::from_bootstrap(args, params);
        }
        let options = if input.is_empty() { None } else { Any::decode(input).ok() };
        let legacy = Self {
            form: if max_version.is_some() { Form::Json } else { Form::Address },
            id: args.id.clone(),
            namespace: args.namespace.clone(),
            address: args.address.clone(),
            ttrpc_address: None,
            socket_directory: None,
            debug: args.debug,
            options,
        };
        match (&legacy.options, bootstrap) {
            _ if input.is_empty() => Ok(legacy),
            // For somebody else, unless it is of the two fields that an `Any` has.
            (_, Some(params)) if !params.containerd_version.is_empty() => Err(refuse(format!(
                "the bootstrap parameters are for the container {:?} in the namespace {:?}, the \
                 command line is for {:?} in {:?}",
                params.instance_id, params.namespace, args.id, args.namespace
            ))),
            (Some(_), _) => Ok(legacy),
            (None, _) => Err(refuse(
                "the standard input holds neither bootstrap parameters nor the runtime's options"
                    .to_owned(),
            )),
        }
    }

    fn from_bootstrap(args: &Args, params: &BootstrapParams) -> Result<Self> {
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        // The configuration of other parts may come as an extension too.
        let mut known = params
            .extensions
            .iter()
            .filter_map(|extension| extension.value.as_ref())
            .filter(|any| Options::is(any));
        Ok(Self {
            form: Form::Protobuf,
            id: params.instance_id.clone(),
            namespace: params.namespace.clone(),
            address: given(&params.containerd_grpc_address).unwrap_or_else(|| args.address.clone()),
            ttrpc_address: given(&params.containerd_ttrpc_address),
            socket_directory: params.socket_dir.as_ref().and_then(given),
            debug: args.debug || params.log_level <= LogLevel::Debug as i32,
            options: known.next().cloned(),
        })
    }
}

fn refuse(message: String) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::proto::bootstrap::Extension;
    use crate::proto::options;

    fn args() -> Args {
        Args {
            id: "web".to_owned(),
            namespace: "default".to_owned(),
            address: "/run/old.sock".to_owned(),
            ..Args::default()
        }
    }

    fn params() -> BootstrapParams {
        BootstrapParams {
            instance_id: "web".to_owned(),
            namespace: "default".to_owned(),
            containerd_version: "2.3.4".to_owned(),
            containerd_ttrpc_address: "/run/c.sock.ttrpc".to_owned(),
            containerd_grpc_address: "/run/c.sock".to_owned(),
            containerd_binary: "/usr/bin/containerd".to_owned(),
            ..BootstrapParams::default()
        }
    }

    fn options() -> Any {
        Any::pack(&options::Options { root: "/r".to_owned(), ..Default::default() })
    }

    fn extension(any: Any) -> Extension {
        Extension { value: Some(any) }
    }

    const MAX: Option<&str> = Some("2");

    fn request(max_version: Option<&str>, input: &[u8]) -> Result<Request> {
        Request::new(&args(), max_version.map(OsStr::new), input)
    }

    #[test]
    fn bootstrap_parameters_count_more_than_the_command_line() {
        let other = Any { type_url: "containerd.io/cri.v1.Config".to_owned(), value: vec![1] };
        let params = BootstrapParams {
            log_level: LogLevel::Debug as i32,
            extensions: vec![extension(other), Extension::default(), extension(options())],
            socket_dir: Some("/run/k3s/s".to_owned()),
            ..params()
        };
        let expected = Request {
            form: Form::Protobuf,
            id: "web".to_owned(),
            namespace: "default".to_owned(),
            address: "/run/c.sock".to_owned(),
            ttrpc_address: Some("/run/c.sock.ttrpc".to_owned()),
            socket_directory: Some("/run/k3s/s".to_owned()),
            debug: true,
            options: Some(options()),
        };
        // 2.3 sets the variable too.
        assert_eq!(request(MAX, &params.encode_to_vec()).unwrap(), expected);
    }

    #[test]
    fn the_smallest_bootstrap_parameters() {
        let params = BootstrapParams {
            instance_id: "web".to_owned(),
            namespace: "default".to_owned(),
            log_level: LogLevel::Warn as i32,
            ..BootstrapParams::default()
        };
        let request = request(None, &params.encode_to_vec()).unwrap();
        assert_eq!((request.form, request.address.as_str()), (Form::Protobuf, "/run/old.sock"));
        assert!(!request.debug && request.options.is_none() && request.ttrpc_address.is_none());
    }

    #[test]
    fn older_daemons_send_options_or_nothing() {
        for (max_version, form) in [(MAX, Form::Json), (None, Form::Address)] {
            let bare = request(max_version, b"").unwrap();
            assert_eq!((bare.form, &bare.options), (form, &None));
            assert_eq!(bare.address, "/run/old.sock");
            let any = request(max_version, &options().encode_to_vec()).unwrap();
            assert_eq!((any.form, any.options), (form, Some(options())));
            // All options unset: the value is empty.
            let unset = Any::pack(&options::Options::default());
            assert_eq!(request(max_version, &unset.encode_to_vec()).unwrap().options, Some(unset));
        }
    }

    #[test]
    fn a_container_with_the_name_of_the_type_is_no_confusion() {
        let args = Args { id: "containerd.runc.v1.Options".to_owned(), ..args() };
        let request = Request::new(&args, None, &options().encode_to_vec()).unwrap();
        assert_eq!((request.form, request.options), (Form::Address, Some(options())));
    }

    #[test]
    fn what_fits_nothing_is_refused() {
        let foreign = BootstrapParams { instance_id: "other".to_owned(), ..params() };
        assert_eq!(
            request(MAX, &foreign.encode_to_vec()).unwrap_err().message,
            "the bootstrap parameters are for the container \"other\" in the namespace \
             \"default\", the command line is for \"web\" in \"default\""
        );
        assert_eq!(
            request(MAX, b"{\"json\":1}").unwrap_err().message,
            "the standard input holds neither bootstrap parameters nor the runtime's options"
        );
    }

    proptest! {
        #[test]
        fn no_input_panics(input in prop::collection::vec(any::<u8>(), 0..256)) {
            let _ = request(MAX, &input);
        }

        #[test]
        fn no_damage_panics(at in 0..100_usize, byte in any::<u8>()) {
            let mut input = BootstrapParams { extensions: vec![extension(options())], ..params() }
                .encode_to_vec();
            let at = at % input.len();
            input[at] = byte;
            let _ = request(None, &input);
            input.truncate(at);
            let _ = request(None, &input);
        }
    }
}
