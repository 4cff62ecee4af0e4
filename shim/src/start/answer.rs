//! What `start` prints.

use prost::Message;
use serde::Serialize;

use super::request::Form;
use crate::proto::bootstrap::BootstrapResult;

/// The version of the task service that containerd is to call. Both are served.
///
/// It is 2 wherever containerd asks, for two reasons. Which daemon does, can't be told: 1.7, which
/// refuses a 3, and 2.0 to 2.2, which take it, start a shim in the same way and say
/// `MAX_SHIM_VERSION=2`; so does 2.3. And after a 3 containerd connects a pod's other containers to
/// the shim itself, with nothing to do when the connection is lost (core/runtime/v2/shim_manager.go):
/// it would call no `delete` for them, and they would outlive a shim that was killed.
const VERSION: i32 = 2;

const PROTOCOL: &str = "ttrpc";

#[derive(Serialize)]
struct Json<'a> {
    version: i32,
    address: &'a str,
    protocol: &'a str,
}

pub(super) fn encode(form: Form, address: &str) -> Vec<u8> {
    match form {
        Form::Protobuf => BootstrapResult {
            version: VERSION,
            address: address.to_owned(),
            protocol: PROTOCOL.to_owned(),
            ..BootstrapResult::default()
        }
        .encode_to_vec(),
        Form::Json => {
            let json = Json { version: VERSION, address, protocol: PROTOCOL };
            // What has only strings and numbers can be written; containerd takes the bare address too.
            serde_json::to_vec(&json).unwrap_or_else(|_| address.as_bytes().to_vec())
        }
        Form::Address => address.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_daemon_gets_its_form() {
        assert_eq!(encode(Form::Address, "unix:///s"), b"unix:///s");
        assert_eq!(
            encode(Form::Json, "unix:///s"),
            br#"{"version":2,"address":"unix:///s","protocol":"ttrpc"}"#
        );
        // Field 1 is the number 2; fields 2 and 3 are strings of 9 and 5 bytes.
        assert_eq!(encode(Form::Protobuf, "unix:///s"), b"\x08\x02\x12\x09unix:///s\x1a\x05ttrpc");
    }
}
