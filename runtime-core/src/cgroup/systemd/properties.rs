//! Limits as properties of a unit: systemd.resource-control(5), org.freedesktop.systemd1(5).
//!
//! systemd doesn't know all limits, and hoist writes all of them to the files in any case. But
//! what systemd knows it has to be told: it writes its own idea of a unit's limits again whenever
//! it sees fit, at a `daemon-reload` for instance.

use super::value::Value;
use crate::cgroup::devices::{Kind, Policy, Rule};
use crate::cgroup::limits::{Absent, Write};

/// A property: name and value.
pub(super) type Property = (String, Value);

/// No limit: USEC_INFINITY, CGROUP_LIMIT_MAX.
const INFINITY: u64 = u64::MAX;
/// The period that systemd and the kernel take for granted, in microseconds.
const DEFAULT_PERIOD: u64 = 100_000;
/// Percents of a CPU, in microseconds per second: systemd keeps no smaller parts.
const PERCENT: u64 = 10_000;
/// Numbers of CPUs and memory nodes beyond which no kernel goes.
const HIGHEST_BIT: usize = 1 << 16;

/// The versions of systemd that brought what is used here (its NEWS).
const QUOTA_PERIOD: u32 = 242;
const CPUSET: u32 = 244;
const IDLE: u32 = 252;

/// Whether it matters for these limits which version of systemd there is.
pub(super) fn need_version(writes: &[Write]) -> bool {
    let versioned = ["cpu.max", "cpuset.cpus", "cpuset.mems", "cpu.idle"];
    writes.iter().any(|write| versioned.contains(&&*write.file))
}

/// The properties for limits, as far as systemd of this version has them. What can't be read is
/// left for the kernel to refuse.
pub(super) fn of_limits(writes: &[Write], version: u32) -> Vec<Property> {
    let mut properties = Vec::new();
    for write in writes {
        let value = write.value.trim();
        match &*write.file {
            "memory.max" => limit(&mut properties, "MemoryMax", value),
            "memory.high" => limit(&mut properties, "MemoryHigh", value),
            "memory.low" => limit(&mut properties, "MemoryLow", value),
            "memory.min" => limit(&mut properties, "MemoryMin", value),
            "memory.swap.max" => limit(&mut properties, "MemorySwapMax", value),
            "pids.max" => limit(&mut properties, "TasksMax", value),
            "cpu.weight" => limit(&mut properties, "CPUWeight", value),
            "cpu.max" => cpu_max(&mut properties, value, version),
            "cpuset.cpus" if version >= CPUSET => bits(&mut properties, "AllowedCPUs", value),
            "cpuset.mems" if version >= CPUSET => {
                bits(&mut properties, "AllowedMemoryNodes", value);
            }
            "io.weight" => io_weight(&mut properties, value),
            "io.bfq.weight" => {
                if let Absent::Instead("io.weight", value) = &write.absent {
                    io_weight(&mut properties, value);
                }
            }
            _ => {}
        }
    }
    // systemd has idleness as the weight 0. It can't be taken back by itself: any weight does it.
    let idle = |write: &&Write| write.file == "cpu.idle";
    if writes.iter().rfind(idle).is_some_and(|write| write.value.trim() == "1") && version >= IDLE {
        set(&mut properties, "CPUWeight", Value::U64(0));
    }
    properties
}

/// What can be said only when the unit is made: whether the OOM killer takes all processes.
pub(super) fn oom_policy(writes: &[Write]) -> Option<Property> {
    let write = writes.iter().rfind(|write| write.file == "memory.oom.group")?;
    let policy = match write.value.trim() {
        "0" => "continue",
        "1" => "kill",
        _ => return None,
    };
    Some(("OOMPolicy".to_owned(), Value::text(policy)))
}

/// Sets a property; what comes later counts.
pub(super) fn set(properties: &mut Vec<Property>, name: &str, value: Value) {
    properties.retain(|(other, _)| other != name);
    properties.push((name.to_owned(), value));
}

fn number(text: &str) -> Option<u64> {
    if text == "max" { Some(INFINITY) } else { text.parse().ok() }
}

fn limit(properties: &mut Vec<Property>, name: &str, value: &str) {
    if let Some(number) = number(value) {
        set(properties, name, Value::U64(number));
    }
}

/// `QUOTA [PERIOD]`, both in microseconds.
fn cpu_max(properties: &mut Vec<Property>, value: &str, version: u32) {
    let Some((quota, period)) = quota_and_period(value) else { return };
    if version >= QUOTA_PERIOD {
        set(properties, "CPUQuotaPeriodUSec", Value::U64(period));
    }
    set(properties, "CPUQuotaPerSecUSec", Value::U64(per_second(quota, period)));
}

/// `None` for what isn't of this form.
fn quota_and_period(value: &str) -> Option<(u64, u64)> {
    let mut fields = value.split_whitespace();
    let quota = fields.next().and_then(number)?;
    let period = fields.next().map_or(Some(DEFAULT_PERIOD), |period| period.parse().ok())?;
    (period > 0 && fields.next().is_none()).then_some((quota, period))
}

/// Microseconds of CPU time in a second, of which systemd has whole percents. Rounded up: a cgroup
/// below may ask for all that the container has.
fn per_second(quota: u64, period: u64) -> u64 {
    if quota == INFINITY {
        return INFINITY;
    }
    let exact = u128::from(quota) * 1_000_000 / u128::from(period);
    let exact = u64::try_from(exact).unwrap_or(INFINITY);
    exact.checked_next_multiple_of(PERCENT).unwrap_or(INFINITY)
}

/// Makes of the limits what systemd is going to keep: it writes a CPU quota in its own rounding
/// again whenever any property of the unit is changed. What `unified` says stays as it is.
pub(in crate::cgroup) fn round(writes: &mut [Write]) {
    let quotas = writes.iter_mut().filter(|w| w.file == "cpu.max" && w.pointer.starts_with("cpu/"));
    for write in quotas {
        let Some((quota, period)) = quota_and_period(&write.value) else { continue };
        let per_second = per_second(quota, period);
        let kept = u128::from(per_second) * u128::from(period) / 1_000_000;
        if per_second != INFINITY && kept != u128::from(quota) {
            let period = write.value.split_once(' ').map_or("", |(_, period)| period);
            write.value = format!("{kept} {period}").trim_end().to_owned();
        }
    }
}

/// The weight of all devices; systemd has no numbers of devices.
fn io_weight(properties: &mut Vec<Property>, value: &str) {
    let value = value.strip_prefix("default ").unwrap_or(value);
    if let Ok(weight @ 1..=10_000) = value.trim().parse::<u64>() {
        set(properties, "IOWeight", Value::U64(weight));
    }
}

/// A list such as `0-3,8`, as bytes of which the first has the lowest bits.
fn bits(properties: &mut Vec<Property>, name: &str, list: &str) {
    let mut bytes: Vec<u8> = Vec::new();
    for range in list.split(',').map(str::trim).filter(|range| !range.is_empty()) {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        let (Ok(first), Ok(last)) = (first.parse::<usize>(), last.parse::<usize>()) else { return };
        if first > last || last >= HIGHEST_BIT {
            return;
        }
        for bit in first..=last {
            if bytes.len() <= bit / 8 {
                bytes.resize(bit / 8 + 1, 0);
            }
            if let Some(byte) = bytes.get_mut(bit / 8) {
                *byte |= 1 << (bit % 8);
            }
        }
    }
    if !bytes.is_empty() {
        set(properties, name, Value::bytes(&bytes));
    }
}

/// Device rules for systemd's own program, which is in force beside hoist's: both have to allow.
///
/// systemd knows a list of what is allowed. A policy that is more than that is left to hoist's
/// program alone, and systemd's allows all.
pub(super) fn of_devices(policy: &Policy) -> Vec<Property> {
    let allowed: Option<Vec<Value>> = policy
        .rules
        .iter()
        .map(|Rule { allow, pattern, access, .. }| {
            let kind = match pattern.kind {
                Kind::Block => "block",
                Kind::Char => "char",
            };
            let device = match (pattern.major, pattern.minor) {
                (None, None) => format!("{kind}-*"),
                (Some(major), None) => format!("{kind}-{major}"),
                (Some(major), Some(minor)) => format!("/dev/{kind}/{major}:{minor}"),
                (None, Some(_)) => return None,
            };
            allow.then(|| Value::Struct(vec![Value::text(device), Value::text(access.letters())]))
        })
        .collect();
    let allowed = allowed.filter(|_| !policy.default_allow);
    let kind = if allowed.is_some() { "strict" } else { "auto" };
    let mut properties = vec![
        ("DevicePolicy".to_owned(), Value::text(kind)),
        // What is given adds to the list, but for an empty list, which clears it.
        ("DeviceAllow".to_owned(), no_devices()),
    ];
    if let Some(allowed) = allowed.filter(|allowed| !allowed.is_empty()) {
        properties.push(("DeviceAllow".to_owned(), Value::Array("(ss)".to_owned(), allowed)));
    }
    properties
}

pub(super) fn no_devices() -> Value {
    Value::Array("(ss)".to_owned(), vec![])
}
