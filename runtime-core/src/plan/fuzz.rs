//! What is fuzzed of this room: plans that init reads, and that everything which compiles can be read.

use std::path::PathBuf;

use hoist_init::wire::{self, Reg, Step, Value};

use super::builder::Builder;
use super::check::check;
use super::context::{CgroupView, Facts, Filter, Options, Placement, V1Hierarchy};
use super::exec::ExecOptions;
use super::{Plan, compile_create, compile_exec, compile_head};
use crate::spec::Bundle;

/// What init maps: a plan, or what somebody else made of it. Whatever is read can be written, printed and
/// read again.
pub fn wire(data: &[u8]) {
    let Ok(plan) = wire::Plan::parse(data) else { return };
    let mut steps = plan.steps();
    let read: Vec<Step<'_>> = steps.by_ref().map_while(Result::ok).collect();
    assert!(read.len() <= plan.step_count() as usize && steps.rest() <= data.len());
    // After the first that is malformed there is none.
    assert!(steps.next().is_none());
    let mut builder = Builder::new(plan.timings());
    for step in &read {
        assert_eq!(Step::name_of(step.code()), Some(step.name()));
        step.fields(&mut |_, value| {
            assert!(!matches!(value, Value::Reg(reg) if reg.0 >= Reg::COUNT && reg != Reg::NONE));
        });
        builder.push("", step);
    }
    let Ok(written) = builder.finish() else { unreachable!("there are no more steps than before") };
    let again = wire::Plan::parse(written.bytes());
    assert!(again.is_ok_and(|again| again.timings() == plan.timings()));
    assert!(written.steps().map(|planned| planned.step()).eq(read.iter().copied()));
    assert_eq!(written.to_string().lines().count(), read.len());
    assert_eq!(
        written.to_json().get("steps").and_then(serde_json::Value::as_array).map(Vec::len),
        Some(read.len())
    );
}

/// `config.json` as a plan, on every kind of host.
pub fn compile(data: &[u8]) {
    each_plan(data, &mut check);
}

/// The plans that [`compile`] looks at, part by part: seeds for [`wire`].
#[must_use]
pub fn plans(data: &[u8]) -> Vec<Vec<u8>> {
    let mut parts = Vec::new();
    each_plan(data, &mut |plan| parts.extend([plan.bytes(), plan.rest()].map(<[u8]>::to_vec)));
    parts.retain(|part| !part.is_empty());
    parts.sort();
    parts.dedup();
    parts
}

/// A plan of some length.
pub(crate) fn example() -> Option<Plan> {
    let text = crate::DefaultSpec::default().json();
    let mut longest = None;
    each_plan(text.as_bytes(), &mut |plan| {
        if longest.as_ref().is_none_or(|longest: &Plan| longest.len() < plan.len()) {
            longest = Some(plan.clone());
        }
    });
    longest
}

fn each_plan(data: &[u8], visit: &mut dyn FnMut(&Plan)) {
    let Ok(bundle) = Bundle::from_json("/", data) else { return };
    for (facts, options) in hosts() {
        let filter = Filter { program: &[0; 24], flags: 6, notify: options.listener };
        for filter in [None, Some(filter)] {
            let Ok(plan) = compile_create(&bundle, &facts, &options, filter) else { continue };
            // Outer has begun with what is known without the facts.
            let head = compile_head(bundle.spec(), facts.privileged, options.timings);
            assert!(head.is_ok_and(|head| head.bytes() == plan.bytes()) && plan.is_head());
            visit(&plan);
            let Some(process) = bundle.spec().process() else { continue };
            for last in [false, true] {
                let to = ExecOptions { join: 0x2c02_0000, chroot: None, hook: None, last };
                let exec = compile_exec(process, bundle.spec(), to, &facts, &options, filter);
                exec.iter().for_each(&mut *visit);
            }
        }
    }
}

/// Privileged and not, with each version of cgroups and each way into one.
fn hosts() -> [(Facts<'static>, Options<'static>); 4] {
    let v1 = ["memory", "cpu,cpuacct", "systemd"].map(|name| V1Hierarchy {
        name: name.to_owned(),
        directory: PathBuf::from(format!("/sys/fs/cgroup/{name}/web-1")),
    });
    let facts = |privileged, cgroup, placement| Facts {
        id: "web-1",
        privileged,
        bind_devices: !privileged,
        own_mounts: true,
        setgroups: privileged,
        last_cap: 40,
        kcore: privileged,
        overlay_layers: privileged,
        cgroup,
        placement,
    };
    let options = |listener: bool, preserve_fds| Options {
        no_pivot: !listener,
        no_new_keyring: !listener,
        preserve_fds,
        timings: listener,
        listener,
        extra_env: &[],
    };
    let v2 = CgroupView::V2(PathBuf::from("/sys/fs/cgroup/web-1"));
    let hierarchies = Placement::V1 { hierarchies: 3, inner: [Some(2), None], unified: true };
    [
        (facts(true, v2.clone(), Placement::V2), options(true, 0)),
        (facts(true, CgroupView::V1(v1.into()), hierarchies), options(false, 3)),
        (facts(false, CgroupView::None, Placement::Stay), options(true, u32::MAX)),
        (facts(false, v2, Placement::Library), options(false, 0)),
    ]
}
