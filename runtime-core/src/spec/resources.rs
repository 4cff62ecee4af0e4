//! Limits, for programs that embed the library and for `hoist update`.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxHugepageLimit, LinuxMemory, LinuxPids, LinuxResources, Spec,
};
use serde_json::json;

use super::{json, lenient, merge, validate};
use crate::error::{Error, Result};

/// Limits of a container: `linux.resources` of a `config.json`, and the schemata of
/// `linux.intelRdt`.
///
/// What isn't set stays as it is when a container is [updated](crate::Container::update). The
/// builder has what is set most; everything else is in [`LinuxResources`], from which this can be
/// made.
///
/// 0 means "not set" where engines written in Go send it for that: sizes of memory, CPU shares,
/// quotas and periods, weights. For [`pids`](Self::pids) it is a limit, since runtime-spec 1.3,
/// and written as 1.
/// [`check_before_update`](Self::check_before_update) counts only for the update that carries it.
///
/// ```
/// use hoist::{Limit, Resources};
///
/// let limits = Resources::new()
///     .memory(Limit::At(512 << 20))
///     .cpu_quota(Limit::At(150_000)) // one and a half CPUs
///     .cpu_period(100_000)
///     .pids(Limit::At(100));
/// assert_eq!(limits.as_ref().cpu().as_ref().unwrap().quota(), Some(150_000));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[must_use]
pub struct Resources {
    linux: LinuxResources,
    l3_cache_schema: Option<String>,
    mem_bw_schema: Option<String>,
}

/// How much there may be of something.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Limit {
    /// At most this much, in the unit that the method says.
    At(u64),
    /// As much as there is.
    Unlimited,
}

impl Limit {
    /// As the runtime-spec has it; no kernel takes more than it can hold.
    fn to_spec(self) -> i64 {
        match self {
            Self::At(value) => i64::try_from(value).unwrap_or(i64::MAX),
            Self::Unlimited => -1,
        }
    }
}

impl Resources {
    /// Nothing is set.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the JSON of `hoist update --resources`: an object like `linux.resources`. As in Go's
    /// reader, whose users write it, the names of members may be in any case.
    ///
    /// Numbers are checked when they are used.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig), with the
    /// [pointer](crate::Error::pointer) as in a `config.json`: `/linux/resources/memory/limit`.
    pub fn from_json(text: impl AsRef<[u8]>) -> Result<Self> {
        let value = lenient::value(text.as_ref(), "the resources are")?;
        if !value.is_object() {
            return Err(Error::config("/linux/resources", "it must be a JSON object"));
        }
        let mut config = json!({ "linux": { "resources": value } });
        lenient::repair(&mut config)?;
        // The same types, errors and pointers as for the whole.
        let spec = json::typed(config, None)?;
        let linux = spec.linux().as_ref().and_then(|linux| linux.resources().clone());
        linux.map(Self::from).ok_or_else(json::no_object)
    }

    /// The most memory, in bytes.
    pub fn memory(mut self, limit: Limit) -> Self {
        self.memory_mut().set_limit(Some(limit.to_spec()));
        self
    }

    /// The most memory and swap together, in bytes; not less than the [memory](Self::memory).
    pub fn memory_swap(mut self, limit: Limit) -> Self {
        self.memory_mut().set_swap(Some(limit.to_spec()));
        self
    }

    /// What the kernel leaves to the container when memory is short, in bytes: `memory.low` on
    /// cgroup2, the soft limit on v1.
    pub fn memory_reservation(mut self, limit: Limit) -> Self {
        self.memory_mut().set_reservation(Some(limit.to_spec()));
        self
    }

    /// Refuses a memory limit that is below what is in use, where the kernel would rather end
    /// processes: on cgroup2. v1 always refuses it.
    pub fn check_before_update(mut self, check: bool) -> Self {
        self.memory_mut().set_check_before_update(Some(check));
        self
    }

    /// The share of CPU time where there isn't enough for all: from 2 to 262,144, by default
    /// 1,024. cgroup2's weight is computed from it.
    pub fn cpu_shares(mut self, shares: u64) -> Self {
        self.cpu_mut().set_shares(Some(shares));
        self
    }

    /// The most CPU time in each [period](Self::cpu_period), of all CPUs together, in
    /// microseconds.
    pub fn cpu_quota(mut self, limit: Limit) -> Self {
        self.cpu_mut().set_quota(Some(limit.to_spec()));
        self
    }

    /// The period of the [quota](Self::cpu_quota) in microseconds: from 1,000 to 1,000,000.
    pub fn cpu_period(mut self, microseconds: u64) -> Self {
        self.cpu_mut().set_period(Some(microseconds));
        self
    }

    /// How much unused quota may be saved for later periods, in microseconds; not more than the
    /// quota.
    pub fn cpu_burst(mut self, microseconds: u64) -> Self {
        self.cpu_mut().set_burst(Some(microseconds));
        self
    }

    /// Runs only when no other program wants the CPU: SCHED_IDLE for the whole cgroup.
    pub fn cpu_idle(mut self, idle: bool) -> Self {
        self.cpu_mut().set_idle(Some(i64::from(idle)));
        self
    }

    /// CPU time of realtime processes in each period, in microseconds. v1 only.
    pub fn cpu_realtime_runtime(mut self, microseconds: i64) -> Self {
        self.cpu_mut().set_realtime_runtime(Some(microseconds));
        self
    }

    /// The period of the [realtime limit](Self::cpu_realtime_runtime), in microseconds. v1 only.
    pub fn cpu_realtime_period(mut self, microseconds: u64) -> Self {
        self.cpu_mut().set_realtime_period(Some(microseconds));
        self
    }

    /// The CPUs to run on, as a list: `0-3,8`.
    pub fn cpus(mut self, list: impl Into<String>) -> Self {
        self.cpu_mut().set_cpus(Some(list.into()));
        self
    }

    /// The memory nodes to use, as a list: `0-1`.
    pub fn memory_nodes(mut self, list: impl Into<String>) -> Self {
        self.cpu_mut().set_mems(Some(list.into()));
        self
    }

    /// The most processes and threads.
    pub fn pids(mut self, limit: Limit) -> Self {
        self.linux.pids_mut().get_or_insert_with(LinuxPids::default).set_limit(limit.to_spec());
        self
    }

    /// The share of disk time: from 10 to 1,000.
    pub fn block_io_weight(mut self, weight: u16) -> Self {
        self.linux
            .block_io_mut()
            .get_or_insert_with(LinuxBlockIo::default)
            .set_weight(Some(weight));
        self
    }

    /// The most huge pages of a size such as `2MB`, in bytes.
    pub fn huge_pages(mut self, size: impl Into<String>, bytes: u64) -> Self {
        let mut limit = LinuxHugepageLimit::default();
        limit.set_page_size(size.into()).set_limit(i64::try_from(bytes).unwrap_or(i64::MAX));
        self.linux.hugepage_limits_mut().get_or_insert_with(Vec::new).push(limit);
        self
    }

    /// A value for any file of a cgroup2: `memory.high`.
    pub fn unified(mut self, file: impl Into<String>, value: impl Into<String>) -> Self {
        let files = self.linux.unified_mut().get_or_insert_with(Default::default);
        files.insert(file.into(), value.into());
        self
    }

    /// The schema of the third-level cache, see `linux.intelRdt.l3CacheSchema`: `L3:0=ff;1=ff`.
    pub fn l3_cache_schema(mut self, schema: impl Into<String>) -> Self {
        self.l3_cache_schema = Some(schema.into());
        self
    }

    /// The schema of the memory bandwidth, see `linux.intelRdt.memBwSchema`: `MB:0=50;1=50`.
    pub fn memory_bandwidth_schema(mut self, schema: impl Into<String>) -> Self {
        self.mem_bw_schema = Some(schema.into());
        self
    }

    /// `l3CacheSchema` and `memBwSchema`; empty ones are not set, as with runc.
    pub(crate) fn schemata(&self) -> [Option<&str>; 2] {
        [&self.l3_cache_schema, &self.mem_bw_schema]
            .map(|schema| schema.as_deref().filter(|schema| !schema.is_empty()))
    }

    /// Checks the rules of the runtime-spec; returns the limits, and warnings about what was left
    /// out of them.
    pub(crate) fn validated(&self) -> Result<(LinuxResources, Vec<String>)> {
        json::reject_nul(&self.linux, "/linux/resources")?;
        let mut linux = self.linux.clone();
        let mut warnings = Vec::new();
        validate::resources(&mut linux, &mut warnings)?;
        Ok((linux, warnings))
    }

    /// Writes into a configuration what changes in it: `limits` is what is [valid](Self::validated)
    /// of these.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) for a value that does not go
    /// together with one that the container has: what is recorded has to be valid itself.
    pub(crate) fn record(&self, spec: &mut Spec, limits: &LinuxResources) -> Result<()> {
        let old = spec.linux().as_ref().and_then(|linux| linux.resources().as_ref());
        let mut merged = merge::merged(old, limits)?;
        validate::resources(&mut merged, &mut Vec::new())?;
        let [l3, bandwidth] = self.schemata();
        match spec.linux_mut() {
            Some(linux) => {
                linux.set_resources(Some(merged));
                if let Some(rdt) = linux.intel_rdt_mut() {
                    if let Some(l3) = l3 {
                        rdt.set_l3_cache_schema(Some(l3.to_owned()));
                    }
                    if let Some(bandwidth) = bandwidth {
                        rdt.set_mem_bw_schema(Some(bandwidth.to_owned()));
                    }
                }
            }
            // Not the type's default, which has masked paths and more.
            none => {
                let only = json::typed(json!({"linux": {"resources": merged}}), None)?;
                none.clone_from(only.linux());
            }
        }
        Ok(())
    }

    fn memory_mut(&mut self) -> &mut LinuxMemory {
        self.linux.memory_mut().get_or_insert_with(LinuxMemory::default)
    }

    fn cpu_mut(&mut self) -> &mut LinuxCpu {
        self.linux.cpu_mut().get_or_insert_with(LinuxCpu::default)
    }
}

impl From<LinuxResources> for Resources {
    fn from(linux: LinuxResources) -> Self {
        Self { linux, ..Self::default() }
    }
}

/// Without the schemata, which are elsewhere in a `config.json`.
impl From<Resources> for LinuxResources {
    fn from(resources: Resources) -> Self {
        resources.linux
    }
}

impl AsRef<LinuxResources> for Resources {
    fn as_ref(&self) -> &LinuxResources {
        &self.linux
    }
}

/// Whether the cgroup is to be idle: of the two members that say so `unified` has the last word.
pub(crate) fn is_idle(resources: &LinuxResources) -> bool {
    match resources.unified().as_ref().and_then(|unified| unified.get("cpu.idle")) {
        Some(idle) => idle.trim() == "1",
        None => resources.cpu().as_ref().and_then(LinuxCpu::idle) == Some(1),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::spec::Bundle;

    #[test]
    fn the_builder_writes_the_specs_json() {
        let resources = Resources::new()
            .memory(Limit::At(10))
            .memory_swap(Limit::Unlimited)
            .memory_reservation(Limit::At(u64::MAX))
            .check_before_update(true)
            .cpu_shares(1)
            .cpu_quota(Limit::Unlimited)
            .cpu_period(2)
            .cpu_burst(3)
            .cpu_idle(true)
            .cpu_realtime_runtime(4)
            .cpu_realtime_period(5)
            .cpus("0-1")
            .memory_nodes("0")
            .pids(Limit::At(0))
            .block_io_weight(6)
            .huge_pages("2MB", 7)
            .huge_pages("1GB", 8)
            .unified("memory.high", "9");
        let expected = json!({
            "memory": {"limit": 10, "swap": -1, "reservation": i64::MAX, "checkBeforeUpdate": true},
            "cpu": {"shares": 1, "quota": -1, "period": 2, "burst": 3, "idle": 1,
                    "realtimeRuntime": 4, "realtimePeriod": 5, "cpus": "0-1", "mems": "0"},
            "pids": {"limit": 0}, "blockIO": {"weight": 6}, "unified": {"memory.high": "9"},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 7}, {"pageSize": "1GB", "limit": 8}],
        });
        assert_eq!(serde_json::to_value(resources.as_ref()).unwrap(), expected);
        assert_eq!(Resources::from_json(expected.to_string()).unwrap(), resources);
        let spec: LinuxResources = resources.clone().into();
        assert_eq!(Resources::from(spec), resources);
    }

    #[test]
    fn json_as_gos_reader_takes_it() {
        let text = r#"{"Memory": {"LIMIT": 5}, "pids": {}, "cpu": null, "hugepageLimits":
            [{"pagesize": "2MB", "limit": 18446744073709551615}]}"#;
        let resources = Resources::from_json(text).unwrap();
        let expected = json!({"memory": {"limit": 5},
            "hugepageLimits": [{"pageSize": "2MB", "limit": i64::MAX}]});
        assert_eq!(serde_json::to_value(resources.as_ref()).unwrap(), expected);
        for (text, pointer) in [
            ("[]", Some("/linux/resources")),
            ("5", Some("/linux/resources")),
            ("{", None),
            (r#"{"cpu": {"shares": "1"}}"#, Some("/linux/resources/cpu/shares")),
            (r#"{"cpu": {"shares": 1, "Shares": 2}}"#, Some("/linux/resources/cpu/shares")),
            (r#"{"cpu": {}, "cpu": {}}"#, Some("/cpu")),
        ] {
            let error = Resources::from_json(text).unwrap_err();
            assert_eq!(error.pointer(), pointer, "{text}: {error}");
        }
        for text in ["{", "{} {}"] {
            let error = Resources::from_json(text).unwrap_err().to_string();
            assert!(error.starts_with("the resources are not valid JSON: "), "{error}");
        }
    }

    #[test]
    fn limits_of_kernel_memory_are_passed_over() {
        let text =
            r#"{"memory": {"kernel": 5, "kernelTCP": 6, "swappiness": 18446744073709551615}}"#;
        let (limits, warnings) = Resources::from_json(text).unwrap().validated().unwrap();
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert_eq!(serde_json::to_value(limits).unwrap(), json!({"memory": {}}));
        let none = r#"{"memory": {"kernel": 0, "kernelTCP": -1}}"#;
        assert!(Resources::from_json(none).unwrap().validated().unwrap().1.is_empty());
    }

    #[test]
    fn an_idle_group_has_no_weight() {
        for (text, ignored) in [
            (r#"{"cpu": {"idle": 1, "shares": 5}}"#, 1),
            (r#"{"cpu": {"idle": 1, "shares": 5}, "unified": {"cpu.idle": "0"}}"#, 0),
            (r#"{"cpu": {"shares": 5}, "unified": {"cpu.idle": "1", "cpu.weight": "8"}}"#, 2),
            (r#"{"cpu": {"idle": 0, "shares": 5}, "unified": {"cpu.weight": "8"}}"#, 0),
            (r#"{"cpu": {"idle": 1, "shares": 0}}"#, 0),
        ] {
            let (limits, warnings) = Resources::from_json(text).unwrap().validated().unwrap();
            assert_eq!(warnings.len(), ignored, "{text}: {warnings:?}");
            let weighed = limits.unified().as_ref().is_some_and(|u| u.contains_key("cpu.weight"));
            assert!(!weighed || ignored == 0, "{text}");
        }
    }

    /// Each half is valid by itself.
    #[test]
    fn what_is_recorded_has_to_be_valid() {
        let config = |resources: Value| {
            let config = json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"},
                "linux": {"resources": resources},
                "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["sh"]}});
            Bundle::from_json("/", config.to_string()).unwrap()
        };
        for (recorded, update, pointer) in [
            (json!({"memory": {"limit": 8}}), json!({"memory": {"swap": 7}}), "memory/swap"),
            (json!({"memory": {"swap": 7}}), json!({"memory": {"limit": 8}}), "memory/swap"),
            (json!({"cpu": {"burst": 5}}), json!({"cpu": {"quota": 4}}), "cpu/burst"),
        ] {
            let update = Resources::from_json(update.to_string()).unwrap();
            let (limits, _) = update.validated().unwrap();
            let mut spec = config(recorded).spec().clone();
            let before = spec.clone();
            let error = update.record(&mut spec, &limits).unwrap_err();
            assert_eq!(error.pointer(), Some(&*format!("/linux/resources/{pointer}")), "{error}");
            assert_eq!(spec, before);
        }
    }

    #[test]
    fn a_bundle_gets_other_limits() {
        let config = |linux: Value| {
            json!({"ociVersion": "1.3.0", "root": {"path": "rootfs"}, "linux": linux,
                "process": {"cwd": "/", "user": {"uid": 0, "gid": 0}, "args": ["sh"]}})
        };
        let linux = json!({"resources": {"memory": {"limit": 5}, "pids": {"limit": 6}}});
        for (linux, expected) in [
            (linux, json!({"memory": {"limit": 5}, "pids": {"limit": 7}})),
            (json!({}), json!({"pids": {"limit": 7}})),
            (Value::Null, json!({"pids": {"limit": 7}})),
        ] {
            let bundle = Bundle::from_json("/", config(linux).to_string()).unwrap();
            let bundle = bundle.with_resources(&Resources::new().pids(Limit::At(7))).unwrap();
            let linux = bundle.spec().linux().as_ref().unwrap();
            assert_eq!(serde_json::to_value(linux.resources()).unwrap(), expected);
            assert!(linux.masked_paths().is_none());
        }
        let bundle = Bundle::from_json("/", config(json!({})).to_string()).unwrap();
        let error = bundle.with_resources(&Resources::new().unified("a/b", "1")).unwrap_err();
        assert_eq!(error.pointer(), Some("/linux/resources/unified/a~1b"));
    }
}
