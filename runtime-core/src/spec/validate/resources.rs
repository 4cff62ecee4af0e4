//! config-linux.md "Control groups": values that no kernel takes, whatever the cgroup version.

use oci_spec::runtime::{
    LinuxBlockIo, LinuxCpu, LinuxDeviceCgroup, LinuxDeviceType, LinuxMemory, LinuxResources,
};

use super::linux::is_interface_name;
use super::{entries, member};
use crate::error::{Error, Result};

pub(in crate::spec) fn validate(
    resources: &mut LinuxResources,
    warnings: &mut Vec<String>,
) -> Result<()> {
    for (index, rule) in resources.devices_mut().iter_mut().flatten().enumerate() {
        device(&format!("/linux/resources/devices/{index}"), rule, warnings)?;
    }
    let pointer = "/linux/resources";
    memory(resources.memory_mut().as_mut(), warnings)?;
    cpu(resources.cpu().as_ref())?;
    idle(resources, warnings);
    at_least_minus_one(
        "/linux/resources/pids/limit",
        resources.pids().as_ref().map(|p| p.limit()),
    )?;
    block_io(resources.block_io().as_ref())?;
    for (index, limit) in entries(resources.hugepage_limits().as_ref()) {
        if !is_page_size(limit.page_size()) {
            let message = format!("`{}` is not a page size", limit.page_size());
            return Err(Error::config(
                format!("{pointer}/hugepageLimits/{index}/pageSize"),
                message,
            )
            .with_hint("it looks like `64KB`, `2MB` or `1GB`"));
        }
    }
    maps(pointer, resources)
}

/// config-linux.md "Allowed Device list". -1 is how old configurations write "all".
fn device(pointer: &str, rule: &mut LinuxDeviceCgroup, warnings: &mut Vec<String>) -> Result<()> {
    // runc and crun skip letters that they don't know; runc's own tests have one.
    let access = rule.access().clone().unwrap_or_default();
    let known: String = access.chars().filter(|c| "rwm".contains(*c)).collect();
    if known.is_empty() {
        let message = format!("`{access}` is not an access: one or more of r, w and m");
        return Err(Error::config(member(pointer, "access"), message));
    }
    if known != access {
        warnings.push(format!("{pointer}/access: ignoring all but r, w and m of `{access}`"));
        rule.set_access(Some(known));
    }
    if matches!(rule.typ(), Some(LinuxDeviceType::U | LinuxDeviceType::P)) {
        return Err(Error::config(member(pointer, "type"), "this type can't be filtered")
            .with_hint("known are `a`, `b` and `c`"));
    }
    device_number(&member(pointer, "major"), rule.major_mut())?;
    device_number(&member(pointer, "minor"), rule.minor_mut())
}

fn device_number(pointer: &str, number: &mut Option<i64>) -> Result<()> {
    let max = i64::from(u32::MAX);
    match *number {
        Some(-1) => *number = None,
        Some(n) if !(0..=max).contains(&n) => {
            return Err(Error::config(pointer, format!("{n} is out of range: 0 to {max}")));
        }
        _ => {}
    }
    Ok(())
}

fn memory(memory: Option<&mut LinuxMemory>, warnings: &mut Vec<String>) -> Result<()> {
    let Some(memory) = memory else { return Ok(()) };
    let pointer = "/linux/resources/memory";
    for (name, value) in [
        ("limit", memory.limit()),
        ("reservation", memory.reservation()),
        ("swap", memory.swap()),
        ("kernelTCP", memory.kernel_tcp()),
    ] {
        at_least_minus_one(&member(pointer, name), value)?;
    }
    // `swap` is memory and swap together.
    if let (Some(limit @ 1..), Some(swap @ 1..)) = (memory.limit(), memory.swap())
        && swap < limit
    {
        // runc's wording.
        let message = "memory+swap limit should be >= memory limit";
        return Err(Error::config(member(pointer, "swap"), message));
    }
    // Linux has no limit of kernel memory since 5.16, and none of TCP buffers but on cgroup v1,
    // where it is deprecated. Old configurations have them, and runc and Docker pass over them.
    #[allow(deprecated)] // to pass over it with a warning
    let obsolete = [("kernel", memory.kernel()), ("kernelTCP", memory.kernel_tcp())];
    for (name, _) in obsolete.into_iter().filter(|(_, limit)| limit.is_some_and(|l| l > 0)) {
        warnings.push(format!("{}: ignored: kernel memory has no limit", member(pointer, name)));
    }
    #[allow(deprecated)]
    memory.set_kernel(None).set_kernel_tcp(None);
    match memory.swappiness() {
        // -1 as some engines write it: not set.
        Some(u64::MAX) => {
            memory.set_swappiness(None);
            Ok(())
        }
        None | Some(0..=100) => Ok(()),
        Some(swappiness) => {
            let message = format!("{swappiness} is out of range: 0 to 100");
            Err(Error::config(member(pointer, "swappiness"), message))
        }
    }
}

fn cpu(cpu: Option<&LinuxCpu>) -> Result<()> {
    let Some(cpu) = cpu else { return Ok(()) };
    if let (Some(quota @ 1..), Some(burst)) = (cpu.quota(), cpu.burst())
        && burst > quota.unsigned_abs()
    {
        let message = format!("the burst ({burst}) must not be larger than the quota ({quota})");
        return Err(Error::config("/linux/resources/cpu/burst", message));
    }
    match cpu.idle() {
        Some(idle) if !(0..=1).contains(&idle) => {
            Err(Error::config("/linux/resources/cpu/idle", format!("{idle} is neither 0 nor 1")))
        }
        _ => Ok(()),
    }
}

/// An idle group has no weight, and the kernel takes none (sched_group_set_shares in
/// kernel/sched/fair.c).
fn idle(resources: &mut LinuxResources, warnings: &mut Vec<String>) {
    if !crate::spec::is_idle(resources) {
        return;
    }
    let cpu = resources.cpu().as_ref();
    let mut ignored = Vec::new();
    // They are kept, for when it is idle no longer.
    if cpu.and_then(LinuxCpu::shares).is_some_and(|shares| shares > 0) {
        ignored.push("cpu/shares");
    }
    for (file, pointer) in
        [("cpu.weight", "unified/cpu.weight"), ("cpu.weight.nice", "unified/cpu.weight.nice")]
    {
        if resources.unified_mut().as_mut().is_some_and(|unified| unified.remove(file).is_some()) {
            ignored.push(pointer);
        }
    }
    for pointer in ignored {
        // runc's first words.
        let reason = "unable to apply both a weight and cpu.idle: an idle group has none";
        warnings.push(format!("/linux/resources/{pointer}: ignored: {reason}"));
    }
}

fn block_io(block_io: Option<&LinuxBlockIo>) -> Result<()> {
    let Some(block_io) = block_io else { return Ok(()) };
    for (index, device) in entries(block_io.weight_device().as_ref()) {
        let pointer = format!("/linux/resources/blockIO/weightDevice/{index}");
        if device.weight().is_none() && device.leaf_weight().is_none() {
            return Err(Error::config(pointer, "give a weight, a leafWeight or both"));
        }
        block_device(&pointer, device.major(), device.minor())?;
    }
    for (name, devices) in [
        ("throttleReadBpsDevice", block_io.throttle_read_bps_device()),
        ("throttleWriteBpsDevice", block_io.throttle_write_bps_device()),
        ("throttleReadIOPSDevice", block_io.throttle_read_iops_device()),
        ("throttleWriteIOPSDevice", block_io.throttle_write_iops_device()),
    ] {
        for (index, device) in entries(devices.as_ref()) {
            let pointer = format!("/linux/resources/blockIO/{name}/{index}");
            block_device(&pointer, device.major(), device.minor())?;
        }
    }
    Ok(())
}

fn block_device(pointer: &str, major: i64, minor: i64) -> Result<()> {
    for (name, number) in [("major", major), ("minor", minor)] {
        if number < 0 {
            let message = format!("{number} is not a device number");
            return Err(Error::config(member(pointer, name), message));
        }
    }
    Ok(())
}

/// The parts that are keyed by names, which become parts of files' names or contents.
fn maps(pointer: &str, resources: &LinuxResources) -> Result<()> {
    let network = resources.network().as_ref();
    for (index, entry) in entries(network.and_then(|n| n.priorities().as_ref())) {
        if !is_interface_name(entry.name()) {
            let pointer = format!("{pointer}/network/priorities/{index}/name");
            let message = format!("`{}` is not an interface name", entry.name());
            return Err(Error::config(pointer, message));
        }
    }
    for (name, limit) in resources.rdma().iter().flatten() {
        let pointer = member(&member(pointer, "rdma"), name);
        if name.is_empty() || name.contains(char::is_whitespace) {
            return Err(Error::config(pointer, format!("`{name}` is not a device's name")));
        }
        if limit.hca_handles().is_none() && limit.hca_objects().is_none() {
            return Err(Error::config(pointer, "give hcaHandles, hcaObjects or both"));
        }
    }
    for name in resources.unified().iter().flatten().map(|(name, _)| name) {
        // As in runc: CONTROLLER.PARAMETER. So it is no `.` or `..` either.
        let is_file = !name.contains('/')
            && name.split_once('.').is_some_and(|(controller, parameter)| {
                !controller.is_empty() && !parameter.is_empty()
            });
        if !is_file {
            let pointer = member(&member(pointer, "unified"), name);
            return Err(Error::config(pointer, format!("`{name}` is not a cgroup file's name"))
                .with_hint("it looks like `memory.high`"));
        }
    }
    Ok(())
}

fn at_least_minus_one(pointer: &str, value: Option<i64>) -> Result<()> {
    match value {
        Some(value) if value < -1 => {
            let message = format!("{value} is out of range: 0 and more, or -1 for no limit");
            Err(Error::config(pointer, message))
        }
        _ => Ok(()),
    }
}

/// `<size><unit-prefix>B`.
fn is_page_size(size: &str) -> bool {
    let digits = ["KB", "MB", "GB"].iter().find_map(|unit| size.strip_suffix(unit));
    digits.is_some_and(|d| (1..=10).contains(&d.len()) && d.bytes().all(|b| b.is_ascii_digit()))
}
