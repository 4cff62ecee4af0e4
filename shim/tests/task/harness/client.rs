//! A connection to a shim, and the calls of its task service.

use std::fmt;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::shim::{ConnectRequest, ConnectResponse, ShutdownRequest};
use containerd_shim_protos::ttrpc::proto::{KeyValue, Request, Response};
use containerd_shim_protos::ttrpc::{self, Client, Code};
use containerd_shim_protos::types::empty::Empty;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::{LIMIT, ended, until};

/// Why a call failed: the shim's answer, or (with no code) the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refused {
    pub(crate) code: Option<Code>,
    pub(crate) message: String,
}

pub(crate) type Result<T> = std::result::Result<T, Refused>;

impl fmt::Display for Refused {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:?}: {}", self.code, self.message)
    }
}

impl From<ttrpc::Error> for Refused {
    fn from(error: ttrpc::Error) -> Self {
        match error {
            ttrpc::Error::RpcStatus(status) => {
                Self { code: status.code.enum_value().ok(), message: status.message }
            }
            other => Self { code: None, message: other.to_string() },
        }
    }
}

/// A running shim.
#[derive(Clone)]
pub(crate) struct Shim {
    client: Client,
    /// What `start` printed, as `unix:///…`.
    pub(crate) address: String,
    /// Of the task service.
    pub(crate) version: u32,
    namespace: String,
    pub(crate) pid: Pid,
    pidfd: Arc<OwnedFd>,
}

impl Shim {
    /// Connects, and asks for its process's id.
    pub(crate) fn connect(address: &str, version: u32, namespace: &str) -> Result<Self> {
        let client = Client::connect(address)?;
        // Replaced as soon as it has said it.
        let us = rustix::process::getpid();
        let pidfd = Arc::new(pidfd_open(us, PidfdFlags::empty()).expect("a pidfd"));
        let (address, namespace) = (address.to_owned(), namespace.to_owned());
        let shim = Self { client, address, version, namespace, pid: us, pidfd };
        let answer: ConnectResponse = shim.call("Connect", &ConnectRequest::default())?;
        let pid =
            Pid::from_raw(answer.shim_pid.try_into().expect("a pid")).expect("the shim's pid");
        let pidfd = pidfd_open(pid, PidfdFlags::empty()).expect("a pidfd of the shim");
        Ok(Self { pid, pidfd: Arc::new(pidfd), ..shim })
    }

    /// A second connection to the same shim.
    pub(crate) fn again(&self) -> Self {
        Self::connect(&self.address, self.version, &self.namespace).expect("connect again")
    }

    /// The path of its socket.
    pub(crate) fn socket(&self) -> &str {
        self.address.strip_prefix("unix://").unwrap_or(&self.address)
    }

    /// The name of the service that it speaks.
    pub(crate) fn service(&self) -> String {
        format!("containerd.task.v{}.Task", self.version)
    }

    pub(crate) fn call<T: Message>(&self, method: &str, request: &impl Message) -> Result<T> {
        self.call_service(&self.service(), method, request)
    }

    pub(crate) fn call_service<T: Message>(
        &self,
        service: &str,
        method: &str,
        request: &impl Message,
    ) -> Result<T> {
        let answer = self.client.request(self.request(service, method, request))?;
        Ok(T::parse_from_bytes(&answer.payload).expect("decode the answer"))
    }

    fn request(&self, service: &str, method: &str, request: &impl Message) -> Request {
        let namespace = KeyValue {
            key: "containerd-namespace-ttrpc".to_owned(),
            value: self.namespace.clone(),
            ..KeyValue::default()
        };
        Request {
            service: service.to_owned(),
            method: method.to_owned(),
            payload: request.write_to_bytes().expect("encode"),
            timeout_nano: LIMIT.as_nanos().try_into().expect("nanoseconds"),
            metadata: vec![namespace],
            ..Request::default()
        }
    }

    /// A call on a connection of its own, which is closed when the returned stream is dropped.
    pub(crate) fn ask(&self, method: &str, request: &impl Message) -> UnixStream {
        let body = self.request(&self.service(), method, request).write_to_bytes().expect("encode");
        let mut frame = u32::try_from(body.len()).expect("a length").to_be_bytes().to_vec();
        frame.extend([0, 0, 0, 1, 1, 0]);
        frame.extend(body);
        let mut stream = UnixStream::connect(self.socket()).expect("connect");
        stream.write_all(&frame).expect("write");
        stream
    }

    /// What a call of [`ask`](Self::ask) was answered; `None` if it was refused.
    pub(crate) fn answer<T: Message>(mut stream: UnixStream) -> Option<T> {
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        let mut header = [0; 10];
        stream.read_exact(&mut header).expect("read the header");
        let length = u32::from_be_bytes([header[0], header[1], header[2], header[3]]);
        let mut body = vec![0; usize::try_from(length).expect("a length")];
        stream.read_exact(&mut body).expect("read the answer");
        let response = Response::parse_from_bytes(&body).expect("decode the response");
        let refused = response.status.as_ref().is_some_and(|status| status.code() != Code::OK);
        (!refused).then(|| T::parse_from_bytes(&response.payload).expect("decode the answer"))
    }

    pub(crate) fn shutdown(&self) -> Result<Empty> {
        self.call("Shutdown", &ShutdownRequest::default())
    }

    pub(crate) fn is_gone(&self) -> bool {
        ended(&self.pidfd)
    }

    /// Asks it to end, which it does when it has no container, and waits for that.
    pub(crate) fn end(&self) {
        // It may be gone before the answer is.
        let _ = self.shutdown();
        until("the shim ends", || self.is_gone().then_some(()));
    }

    /// As the OOM killer would.
    pub(crate) fn kill(&self) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, rustix::process::Signal::KILL);
        until("the killed shim ends", || self.is_gone().then_some(()));
    }
}
