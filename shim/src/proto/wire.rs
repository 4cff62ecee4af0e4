//! What the protocols are made of: protobuf's well-known types, and ttrpc's two messages.

use std::time::{Duration, SystemTime};

use super::Typed;

/// `google.protobuf.Any` (google/protobuf/any.proto): a message and its type's name.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Any {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) value: Vec<u8>,
}

impl Any {
    /// The message, packed.
    pub(crate) fn pack<M: Typed>(message: &M) -> Self {
        Self { type_url: M::TYPE_URL.to_owned(), value: message.encode_to_vec() }
    }

    /// Whether it holds an `M`. What stands before the last slash is only where a type could be
    /// looked up (`type.googleapis.com/`).
    pub(crate) fn is<M: Typed>(&self) -> bool {
        self.type_url.rsplit('/').next() == Some(M::TYPE_URL)
    }

    /// The `M` in it, or `None` if it holds something else.
    pub(crate) fn unpack<M: Typed>(&self) -> Result<Option<M>, prost::DecodeError> {
        if self.is::<M>() { M::decode(self.value.as_slice()).map(Some) } else { Ok(None) }
    }
}

/// `google.protobuf.Timestamp` (google/protobuf/timestamp.proto).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Timestamp {
    /// Since 1970-01-01T00:00:00Z; negative before.
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    /// On top of `seconds`, never negative.
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

impl Timestamp {
    pub(crate) fn now() -> Self {
        SystemTime::now().into()
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => Self { seconds: seconds(since), nanos: nanos(since) },
            // A clock that was never set: the fraction counts upwards from a second further back.
            Err(error) => {
                let before = error.duration();
                match nanos(before) {
                    0 => Self { seconds: -seconds(before), nanos: 0 },
                    part => Self { seconds: -seconds(before) - 1, nanos: 1_000_000_000 - part },
                }
            }
        }
    }
}

fn seconds(duration: Duration) -> i64 {
    // What `SystemTime` can hold on Linux is an i64 of seconds; one less leaves room for the sign.
    i64::try_from(duration.as_secs()).unwrap_or(i64::MAX)
}

fn nanos(duration: Duration) -> i32 {
    // Below 10^9, which an i32 holds.
    i32::try_from(duration.subsec_nanos()).unwrap_or_default()
}

/// `google.protobuf.Empty` (google/protobuf/empty.proto).
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub(crate) struct Empty {}

/// `ttrpc.Request` (containerd/ttrpc, request.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Request {
    #[prost(string, tag = "1")]
    pub(crate) service: String,
    #[prost(string, tag = "2")]
    pub(crate) method: String,
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) payload: Vec<u8>,
    /// How long the caller waits; 0: for ever.
    #[prost(int64, tag = "4")]
    pub(crate) timeout_nano: i64,
    #[prost(message, repeated, tag = "5")]
    pub(crate) metadata: Vec<KeyValue>,
}

/// `ttrpc.Response` (containerd/ttrpc, request.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Response {
    /// Absent or with code 0: the call succeeded.
    #[prost(message, optional, tag = "1")]
    pub(crate) status: Option<Status>,
    #[prost(bytes = "vec", tag = "2")]
    pub(crate) payload: Vec<u8>,
}

/// `ttrpc.KeyValue` (containerd/ttrpc, request.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct KeyValue {
    #[prost(string, tag = "1")]
    pub(crate) key: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

/// `google.rpc.Status` (googleapis, google/rpc/status.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Status {
    /// One of google/rpc/code.proto.
    #[prost(int32, tag = "1")]
    pub(crate) code: i32,
    #[prost(string, tag = "2")]
    pub(crate) message: String,
    #[prost(message, repeated, tag = "3")]
    pub(crate) details: Vec<Any>,
}
