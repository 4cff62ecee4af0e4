//! What an update means for the resources that are recorded.

use oci_spec::runtime::{LinuxCpu, LinuxMemory, LinuxResources};
use serde_json::{Map, Value};

use crate::error::{Error, ErrorKind, Result};

/// Members that mean nothing when they are 0 or empty, for engines that are written in Go send
/// what they don't set.
const UNSET_IF_ZERO: [(&str, &[&str]); 4] = [
    ("memory", &["limit", "reservation", "swap"]),
    ("cpu", &["shares", "quota", "period", "realtimeRuntime", "realtimePeriod", "cpus", "mems"]),
    ("blockIO", &["weight", "leafWeight"]),
    ("network", &["classID"]),
];

/// Lists, and by which members an entry takes another one's place. Other lists are replaced.
const KEYED: [(&str, &[&str]); 7] = [
    ("weightDevice", &["major", "minor"]),
    ("throttleReadBpsDevice", &["major", "minor"]),
    ("throttleWriteBpsDevice", &["major", "minor"]),
    ("throttleReadIOPSDevice", &["major", "minor"]),
    ("throttleWriteIOPSDevice", &["major", "minor"]),
    ("hugepageLimits", &["pageSize"]),
    ("priorities", &["name"]),
];

/// The recorded resources with what the update changes.
pub(crate) fn merged(
    recorded: Option<&LinuxResources>,
    update: &LinuxResources,
) -> Result<LinuxResources> {
    let Value::Object(mut changes) = to_json(update)? else { return Err(unreadable()) };
    for (object, members) in UNSET_IF_ZERO {
        if let Some(Value::Object(object)) = changes.get_mut(object) {
            object.retain(|name, value| !(members.contains(&name.as_str()) && is_zero(value)));
        }
    }
    if let Some(Value::Object(memory)) = changes.get_mut("memory") {
        // A wish about the update itself.
        memory.remove("checkBeforeUpdate");
    }
    let mut result = match recorded {
        Some(recorded) => to_json(recorded)?,
        None => Value::Object(Map::new()),
    };
    if frees_swap(update)
        && let Some(Value::Object(memory)) = result.get_mut("memory")
    {
        memory.remove("swap");
    }
    merge("", &mut result, Value::Object(changes));
    serde_json::from_value(result).map_err(|source| unreadable().with_source(source))
}

/// The update with those recorded values that the kernel needs beside the new ones: quota and
/// period, of which cgroup2 has one file; memory, and memory with swap, which have to fit together
/// and from which cgroup2's limit of swap alone is computed; and the shares that the kernel forgets
/// while a cgroup is idle.
pub(crate) fn completed(
    recorded: Option<&LinuxResources>,
    update: &LinuxResources,
) -> LinuxResources {
    let mut complete = update.clone();
    let Some(recorded) = recorded else { return complete };
    if let (Some(cpu), Some(old)) = (complete.cpu_mut(), recorded.cpu()) {
        complete_cpu(cpu, old);
    }
    let frees_swap = frees_swap(update);
    if let (Some(memory), Some(old)) = (complete.memory_mut(), recorded.memory()) {
        complete_memory(memory, old, frees_swap);
    }
    complete
}

fn complete_cpu(cpu: &mut LinuxCpu, old: &LinuxCpu) {
    match (given(cpu.quota()), given(cpu.period())) {
        (Some(_), None) => drop(cpu.set_period(old.period())),
        (None, Some(_)) => drop(cpu.set_quota(old.quota())),
        _ => {}
    }
    if cpu.idle() == Some(0) && given(cpu.shares()).is_none() {
        cpu.set_shares(old.shares());
    }
}

fn complete_memory(memory: &mut LinuxMemory, old: &LinuxMemory, frees_swap: bool) {
    match (given(memory.limit()), given(memory.swap())) {
        (Some(_), None) if !frees_swap => drop(memory.set_swap(old.swap())),
        (None, Some(_)) => drop(memory.set_limit(old.limit())),
        _ => {}
    }
}

/// To take the limit of memory away takes that of swap away as well: as on v1, where the one can't
/// be below the other.
fn frees_swap(update: &LinuxResources) -> bool {
    let memory = update.memory().as_ref();
    memory.is_some_and(|memory| memory.limit() == Some(-1) && given(memory.swap()).is_none())
}

fn given<T: Default + PartialEq>(value: Option<T>) -> Option<T> {
    value.filter(|value| *value != T::default())
}

fn is_zero(value: &Value) -> bool {
    value.as_i64() == Some(0) || value.as_str() == Some("")
}

fn merge(name: &str, old: &mut Value, new: Value) {
    match (old, new) {
        (Value::Object(old), Value::Object(new)) => {
            for (name, value) in new {
                match old.get_mut(&name) {
                    Some(old) => merge(&name, old, value),
                    None => drop(old.insert(name, value)),
                }
            }
        }
        (Value::Array(old), Value::Array(new)) => {
            match KEYED.iter().find(|(list, _)| *list == name) {
                Some((_, key)) => new.into_iter().for_each(|entry| put(old, key, entry)),
                None => *old = new,
            }
        }
        (old, new) => *old = new,
    }
}

/// Puts an entry in the place of that with the same key, of the last one if there are several: the
/// kernel got that last.
fn put(list: &mut Vec<Value>, key: &[&str], entry: Value) {
    let same = |other: &Value| key.iter().all(|name| other.get(name) == entry.get(name));
    match list.iter().rposition(same).and_then(|index| list.get_mut(index)) {
        Some(old) => merge("", old, entry),
        None => list.push(entry),
    }
}

fn to_json(resources: &LinuxResources) -> Result<Value> {
    serde_json::to_value(resources).map_err(|source| unreadable().with_source(source))
}

fn unreadable() -> Error {
    Error::new(ErrorKind::State, "the resources can't be written as JSON")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn resources(json: Value) -> LinuxResources {
        serde_json::from_value(json).unwrap()
    }

    fn merge_json(recorded: Value, update: Value) -> Value {
        to_json(&merged(Some(&resources(recorded)), &resources(update)).unwrap()).unwrap()
    }

    #[test]
    fn what_is_given_is_taken() {
        let recorded = json!({
            "memory": {"limit": 100, "swap": 200, "checkBeforeUpdate": true},
            "cpu": {"shares": 5, "quota": 7, "cpus": "0"}, "pids": {"limit": 3},
            "devices": [{"allow": false, "access": "rwm"}],
            "unified": {"memory.high": "1", "cpu.max": "2"},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 1}],
            "blockIO": {"weight": 10, "throttleReadBpsDevice": [
                {"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 0, "rate": 2}]},
        });
        let update = json!({
            "memory": {"limit": 150, "swap": 0, "checkBeforeUpdate": false},
            "cpu": {"shares": 0, "quota": -1, "cpus": "", "burst": 0, "idle": 0},
            "pids": {"limit": 0}, "unified": {"cpu.max": "3", "io.max": "4"},
            "hugepageLimits": [{"pageSize": "1GB", "limit": 9}, {"pageSize": "2MB", "limit": 0}],
            "blockIO": {"throttleReadBpsDevice": [
                {"major": 8, "minor": 0, "rate": 5}, {"major": 8, "minor": 16, "rate": 6}]},
        });
        let expected = json!({
            "memory": {"limit": 150, "swap": 200, "checkBeforeUpdate": true},
            "cpu": {"shares": 5, "quota": -1, "cpus": "0", "burst": 0, "idle": 0},
            "pids": {"limit": 0}, "devices": [{"allow": false, "access": "rwm"}],
            "unified": {"memory.high": "1", "cpu.max": "3", "io.max": "4"},
            "hugepageLimits": [{"pageSize": "2MB", "limit": 0}, {"pageSize": "1GB", "limit": 9}],
            "blockIO": {"weight": 10, "throttleReadBpsDevice": [
                {"major": 8, "minor": 0, "rate": 1}, {"major": 8, "minor": 0, "rate": 5},
                {"major": 8, "minor": 16, "rate": 6}]},
        });
        assert_eq!(merge_json(recorded, update), expected);
        // Unlimited memory leaves nothing that swap could be reckoned from.
        let free = merge_json(
            json!({"memory": {"limit": 100, "swap": 200}}),
            json!({"memory": {"limit": -1}}),
        );
        assert_eq!(free, json!({"memory": {"limit": -1}}));
        assert_eq!(to_json(&merged(None, &resources(free.clone())).unwrap()).unwrap(), free);
    }

    #[test]
    fn what_belongs_together_is_completed() {
        let recorded = resources(json!({
            "memory": {"limit": 100, "swap": 200},
            "cpu": {"shares": 5, "quota": 7, "period": 9},
        }));
        for (update, expected) in [
            (json!({"pids": {"limit": 1}}), json!({"pids": {"limit": 1}})),
            (json!({"cpu": {"period": 2}}), json!({"cpu": {"period": 2, "quota": 7}})),
            (json!({"cpu": {"quota": -1}}), json!({"cpu": {"period": 9, "quota": -1}})),
            (json!({"cpu": {"idle": 0}}), json!({"cpu": {"idle": 0, "shares": 5}})),
            (json!({"cpu": {"idle": 1}}), json!({"cpu": {"idle": 1}})),
            (json!({"memory": {"swap": 150}}), json!({"memory": {"limit": 100, "swap": 150}})),
            (json!({"memory": {"limit": 50}}), json!({"memory": {"limit": 50, "swap": 200}})),
            (json!({"memory": {"limit": -1}}), json!({"memory": {"limit": -1}})),
            (json!({"memory": {"reservation": 1}}), json!({"memory": {"reservation": 1}})),
        ] {
            let complete = completed(Some(&recorded), &resources(update.clone()));
            assert_eq!(to_json(&complete).unwrap(), expected, "{update}");
            assert_eq!(completed(None, &resources(update.clone())), resources(update));
        }
    }

    fn any_resources() -> impl Strategy<Value = LinuxResources> {
        let number = || prop::option::of(-1..5_i64);
        let unsigned = || prop::option::of(0..5_u64);
        let device = (0..3_i64, 0..9_u64)
            .prop_map(|(major, rate)| json!({"major": major, "minor": 0, "rate": rate}));
        let memory = (number(), number(), number());
        let cpu = (unsigned(), number(), unsigned(), prop::option::of("[0-3]?"));
        let rest = (
            prop::option::of(-1..5_i64),
            prop::collection::vec(device, 0..4),
            prop::collection::hash_map("[a-c]", "[0-9]", 0..3),
        );
        (memory, cpu, rest).prop_map(|(memory, cpu, (pids, devices, unified))| {
            let mut value = json!({
                "memory": {"limit": memory.0, "swap": memory.1, "reservation": memory.2},
                "cpu": {"shares": cpu.0, "quota": cpu.1, "period": cpu.2, "cpus": cpu.3},
                "blockIO": {"throttleReadBpsDevice": devices}, "unified": unified,
            });
            if let Some(limit) = pids {
                value["pids"] = json!({ "limit": limit });
            }
            resources(value)
        })
    }

    proptest! {
        #[test]
        fn nothing_changes_nothing(recorded in any_resources()) {
            let nothing = LinuxResources::default();
            prop_assert_eq!(merged(Some(&recorded), &nothing).unwrap(), recorded);
        }

        #[test]
        fn twice_is_once(recorded in any_resources(), update in any_resources()) {
            let once = merged(Some(&recorded), &update).unwrap();
            prop_assert_eq!(merged(Some(&once), &update).unwrap(), once);
        }

        #[test]
        fn what_is_recorded_completes_nothing_more(
            recorded in any_resources(), update in any_resources(),
        ) {
            let complete = completed(Some(&recorded), &update);
            prop_assert_eq!(completed(Some(&recorded), &complete), complete);
        }
    }
}
