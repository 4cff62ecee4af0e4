//! What a user configures and what `-info` answers: api/types/runc/options/oci.proto,
//! api/types/runtimeoptions/v1/api.proto, api/types/introspection.proto.

use std::collections::BTreeMap;

use super::Typed;
use super::wire::Any;

/// `containerd.runc.v1.Options` (api/types/runc/options/oci.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct Options {
    #[prost(bool, tag = "1")]
    pub(crate) no_pivot_root: bool,
    #[prost(bool, tag = "2")]
    pub(crate) no_new_keyring: bool,
    #[prost(string, tag = "3")]
    pub(crate) shim_cgroup: String,
    #[prost(uint32, tag = "4")]
    pub(crate) io_uid: u32,
    #[prost(uint32, tag = "5")]
    pub(crate) io_gid: u32,
    #[prost(string, tag = "6")]
    pub(crate) binary_name: String,
    #[prost(string, tag = "7")]
    pub(crate) root: String,
    /// containerd 1.x only; 2.0 took it away and reserved the number.
    #[prost(string, tag = "8")]
    pub(crate) criu_path: String,
    #[prost(bool, tag = "9")]
    pub(crate) systemd_cgroup: bool,
    #[prost(string, tag = "10")]
    pub(crate) criu_image_path: String,
    #[prost(string, tag = "11")]
    pub(crate) criu_work_path: String,
    /// Where the task service is in a sandbox of another runtime; deprecated, and not for a shim.
    #[prost(string, tag = "12")]
    pub(crate) task_api_address: String,
    /// Deprecated.
    #[prost(uint32, tag = "13")]
    pub(crate) task_api_version: u32,
}

impl Typed for Options {
    const TYPE_URL: &'static str = "containerd.runc.v1.Options";
}

/// `containerd.runc.v1.ProcessDetails` (api/types/runc/options/oci.proto): in Pids' answer, says
/// which exec a process is.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct ProcessDetails {
    #[prost(string, tag = "1")]
    pub(crate) exec_id: String,
}

impl Typed for ProcessDetails {
    const TYPE_URL: &'static str = "containerd.runc.v1.ProcessDetails";
}

/// `runtimeoptions.v1.Options` (api/types/runtimeoptions/v1/api.proto): what CRI, Docker and ctr
/// send for a runtime whose own options they don't know.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuntimeOptions {
    #[prost(string, tag = "1")]
    pub(crate) type_url: String,
    #[prost(string, tag = "2")]
    pub(crate) config_path: String,
    /// TOML; counts if there is no `config_path`. Since containerd 1.7.
    #[prost(bytes = "vec", tag = "3")]
    pub(crate) config_body: Vec<u8>,
}

impl Typed for RuntimeOptions {
    const TYPE_URL: &'static str = "runtimeoptions.v1.Options";
}

/// `containerd.linux.runc.CreateOptions` (runtime/linux/runctypes/runc.proto in 1.x): what ctr of
/// containerd 1.x sends for every runtime but `io.containerd.runc.v2`. The fields left out are about
/// checkpoints.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct CreateOptions {
    #[prost(bool, tag = "1")]
    pub(crate) no_pivot_root: bool,
    #[prost(bool, tag = "8")]
    pub(crate) no_new_keyring: bool,
    #[prost(string, tag = "9")]
    pub(crate) shim_cgroup: String,
    #[prost(uint32, tag = "10")]
    pub(crate) io_uid: u32,
    #[prost(uint32, tag = "11")]
    pub(crate) io_gid: u32,
    #[prost(string, tag = "12")]
    pub(crate) criu_work_path: String,
    #[prost(string, tag = "13")]
    pub(crate) criu_image_path: String,
}

impl Typed for CreateOptions {
    const TYPE_URL: &'static str = "containerd.linux.runc.CreateOptions";
}

/// `containerd.types.RuntimeVersion` (api/types/introspection.proto).
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuntimeVersion {
    #[prost(string, tag = "1")]
    pub(crate) version: String,
    #[prost(string, tag = "2")]
    pub(crate) revision: String,
}

/// `containerd.types.RuntimeInfo` (api/types/introspection.proto): what `-info` answers.
#[derive(Clone, PartialEq, Eq, prost::Message)]
pub(crate) struct RuntimeInfo {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(message, optional, tag = "2")]
    pub(crate) version: Option<RuntimeVersion>,
    #[prost(message, optional, tag = "3")]
    pub(crate) options: Option<Any>,
    /// The runtime-spec's `Features`, in JSON.
    #[prost(message, optional, tag = "4")]
    pub(crate) features: Option<Any>,
    #[prost(btree_map = "string, string", tag = "5")]
    pub(crate) annotations: BTreeMap<String, String>,
}
