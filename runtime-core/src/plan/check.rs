//! What holds for every plan of a process.

use hoist_init::wire::{self, Reg, Step, Value};

use super::Plan;

/// That a plan can be read as it was meant, and keeps the order that it is for.
pub(super) fn check(plan: &Plan) {
    let parts: Vec<wire::Plan<'_>> = [plan.bytes(), plan.rest()]
        .into_iter()
        .filter(|part| !part.is_empty())
        .filter_map(|part| wire::Plan::parse(part).ok())
        .collect();
    let count: u32 = parts.iter().map(wire::Plan::step_count).sum();
    assert_eq!(count, plan.count());
    let steps: Vec<Step<'_>> = parts.iter().flat_map(wire::Plan::steps).flatten().collect();
    assert_eq!(steps.len(), plan.len());
    assert!(plan.steps().map(|planned| planned.step()).eq(steps.iter().copied()));
    assert_eq!(plan.to_string().lines().count(), plan.len() + plan.passed().len());
    assert_eq!(
        plan.to_json().get("steps").and_then(serde_json::Value::as_array).map(Vec::len),
        Some(plan.len())
    );
    // One inner; nothing after the filter but the program, and who executes it.
    let names: Vec<&str> = steps.iter().map(Step::name).collect();
    assert_eq!(names.iter().filter(|name| **name == "clone").count(), 1);
    assert_eq!(names.last(), Some(&"execute"));
    let filter = names.iter().position(|name| *name == "seccomp");
    let rest = filter.and_then(|at| names.get(at + 1..)).unwrap_or(&["execute"]);
    let (last, limits) = (rest.first() == Some(&"clone-last"), rest.contains(&"rlimit"));
    assert!(rest.len() == 1 + usize::from(last) || (last && limits), "{names:?}");
    // A register is filled before it is used.
    let mut filled: Vec<u32> = (0..).zip(plan.passed()).map(|(reg, _)| reg).collect();
    for step in &steps {
        check_registers(step, &mut filled);
    }
}

fn check_registers(step: &Step<'_>, filled: &mut Vec<u32>) {
    let mut out = None;
    let mut used = Vec::new();
    step.fields(&mut |name, value| match value {
        Value::Reg(Reg::NONE) => {}
        Value::Reg(reg) if name == "out" => out = Some(reg.0),
        Value::Reg(reg) => used.push(reg.0),
        _ => {}
    });
    match step.name() {
        "bind-root" | "open-root" => filled.push(Reg::ROOT.0),
        "open-proc" => filled.push(Reg::PROC.0),
        _ => {}
    }
    for reg in used {
        assert!(filled.contains(&reg), "{step:?} uses register {reg}");
    }
    filled.extend(out);
}
