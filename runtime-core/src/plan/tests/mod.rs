//! Compiled plans, step by step.

mod golden;
mod isolation;
mod mounts;
mod process;
mod property;

use std::path::{Path, PathBuf};

use oci_spec::runtime::{Process, Spec};
use serde_json::{Value, json};

use super::context::{CgroupView, Context, Facts, Filter, Options, Placement};
use super::exec::ExecOptions;
use super::{Plan, create};
use crate::error::Result;

/// The facts of a privileged caller on a host with cgroup v2.
pub(super) fn facts() -> Facts<'static> {
    Facts {
        id: "web-1",
        privileged: true,
        own_mounts: true,
        bind_devices: false,
        setgroups: true,
        last_cap: 40,
        kcore: true,
        overlay_layers: true,
        cgroup: CgroupView::V2(PathBuf::from("/sys/fs/cgroup/web-1")),
        placement: Placement::V2,
    }
}

/// The configuration that `hoist spec` writes.
pub(super) fn default_config() -> Value {
    serde_json::from_str(include_str!("default.json")).unwrap()
}

/// The default configuration without mounts, devices' bind or masks: what a test adds is what it
/// sees.
pub(super) fn small_config() -> Value {
    json!({
        "ociVersion": "1.3.0",
        "process": {"user": {"uid": 0, "gid": 0}, "args": ["sh"], "cwd": "/"},
        "root": {"path": "rootfs"},
        "linux": {"namespaces": [{"type": "mount"}, {"type": "pid"}]},
    })
}

pub(super) fn spec(config: &Value) -> Spec {
    serde_json::from_value(config.clone()).unwrap()
}

pub(super) fn compile_with(
    config: &Value,
    facts: &Facts<'_>,
    options: &Options<'_>,
    filter: Option<Filter<'_>>,
) -> Result<Plan> {
    create::compile_parts(&Context {
        bundle: Path::new("/bundle"),
        rootfs: Path::new("/bundle/rootfs"),
        spec: &spec(config),
        facts,
        options,
        filter,
    })
}

pub(super) fn compile(config: &Value) -> Plan {
    compile_with(config, &facts(), &Options::default(), None).unwrap()
}

pub(super) fn exec(process: &Value, config: &Value, join: u64, facts: &Facts<'_>) -> Plan {
    let process: Process = serde_json::from_value(process.clone()).unwrap();
    let to = ExecOptions { join, chroot: None, hook: None, last: false };
    super::exec::compile(&process, &spec(config), to, facts, &Options::default(), None).unwrap()
}

/// The lines of the steps with this name, without their index.
pub(super) fn lines(plan: &Plan, name: &str) -> Vec<String> {
    let all = plan.steps().filter(|step| step.name() == name);
    all.map(|step| step.to_string().trim_start().split_once(' ').unwrap().1.to_owned()).collect()
}

/// The plan's steps by name, in order.
pub(super) fn names(plan: &Plan) -> Vec<&'static str> {
    plan.steps().map(|step| step.name()).collect()
}

/// The place of the first step that reads like this.
pub(super) fn place(plan: &Plan, text: &str) -> usize {
    let place = plan.steps().position(|step| step.to_string().contains(text));
    place.unwrap_or_else(|| panic!("no step `{text}` in\n{plan}"))
}
