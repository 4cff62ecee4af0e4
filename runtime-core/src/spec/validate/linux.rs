//! config-linux.md, the parts that are one field each.

use std::collections::HashMap;
use std::path::{Component, Path};

use oci_spec::runtime::{
    Linux, LinuxDevice, LinuxDeviceType, LinuxIntelRdt, LinuxMemoryPolicy,
    LinuxNamespaceType as Kind, MemoryPolicyFlagType, MemoryPolicyModeType,
};

use super::{entries, member};
use crate::error::{Error, Result};
use crate::spec::id_list;
use crate::spec::namespaces::Namespaces;

pub(super) fn validate(
    linux: &Linux,
    namespaces: Namespaces<'_>,
    warnings: &mut Vec<String>,
) -> Result<()> {
    devices(linux)?;
    net_devices(linux, namespaces)?;
    cgroups_path(linux.cgroups_path().as_deref())?;
    rootfs_propagation(linux.rootfs_propagation().as_deref())?;
    covered_paths("/linux/maskedPaths", linux.masked_paths().as_ref(), namespaces)?;
    covered_paths("/linux/readonlyPaths", linux.readonly_paths().as_ref(), namespaces)?;
    intel_rdt(linux.intel_rdt().as_ref())?;
    memory_policy(linux.memory_policy().as_ref())?;
    // config-linux.md "Personality": "Currently no flag values are supported"; runc ignores them.
    let personality = linux.personality().as_ref();
    if personality.is_some_and(|p| p.flags().as_ref().is_some_and(|flags| !flags.is_empty())) {
        warnings.push("ignoring linux.personality.flags: none is defined".to_owned());
    }
    Ok(())
}

/// config-linux.md "Devices".
fn devices(linux: &Linux) -> Result<()> {
    let mut seen: HashMap<&Path, &LinuxDevice> = HashMap::new();
    for (index, device) in entries(linux.devices().as_ref()) {
        let pointer = format!("/linux/devices/{index}");
        if !device.path().is_absolute() {
            let message = format!("the path `{}` must be absolute", device.path().display());
            return Err(Error::config(member(&pointer, "path"), message));
        }
        device_number(&pointer, device)?;
        // Whatever is done second would meet "a file that does not match the requested device".
        let earlier = seen.insert(device.path(), device);
        if earlier.is_some_and(|earlier| !same_node(earlier, device)) {
            let message = format!("`{}` is given twice, differently", device.path().display());
            return Err(Error::config(member(&pointer, "path"), message));
        }
    }
    Ok(())
}

fn device_number(pointer: &str, device: &LinuxDevice) -> Result<()> {
    // `mknod` keeps 12 and 20 bits; a FIFO has neither number.
    let limits = match device.typ() {
        LinuxDeviceType::P => return Ok(()),
        LinuxDeviceType::B | LinuxDeviceType::C | LinuxDeviceType::U => {
            [("major", device.major(), 0xfff), ("minor", device.minor(), 0xf_ffff)]
        }
        LinuxDeviceType::A => {
            return Err(Error::config(member(pointer, "type"), "`a` stands for no single device")
                .with_hint("known are `c`, `b`, `u` and `p`"));
        }
    };
    for (name, number, max) in limits {
        if !(0..=max).contains(&number) {
            let message = format!("{number} is out of range: 0 to {max}");
            return Err(Error::config(member(pointer, name), message));
        }
    }
    Ok(())
}

fn same_node(a: &LinuxDevice, b: &LinuxDevice) -> bool {
    let kind = |device: &LinuxDevice| match device.typ() {
        LinuxDeviceType::U => LinuxDeviceType::C,
        other => other,
    };
    kind(a) == kind(b) && (a.major(), a.minor()) == (b.major(), b.minor())
}

/// config-linux.md "Network Devices"; names as the kernel's `dev_valid_name`.
fn net_devices(linux: &Linux, namespaces: Namespaces<'_>) -> Result<()> {
    let pointer = "/linux/netDevices";
    let Some(devices) = linux.net_devices().as_ref().filter(|d| !d.is_empty()) else {
        return Ok(());
    };
    if !namespaces.has(Kind::Network) {
        return Err(Error::config(
            pointer,
            "network devices can't be moved without a network namespace",
        )
        .with_hint("add {\"type\": \"network\"} to linux.namespaces"));
    }
    for (name, device) in devices {
        let pointer = member(pointer, name);
        if !is_interface_name(name) {
            return Err(Error::config(pointer, format!("`{name}` is not an interface name")));
        }
        // An empty name is none. "%d" asks the kernel for a free number.
        let new = device.name().as_deref().unwrap_or_default();
        if !new.is_empty() && !is_interface_name(&new.replacen("%d", "0", 1)) {
            let message = format!("`{new}` is not an interface name");
            return Err(Error::config(member(&pointer, "name"), message));
        }
    }
    Ok(())
}

pub(super) fn is_interface_name(name: &str) -> bool {
    // IFNAMSIZ counts the terminating NUL.
    (1..16).contains(&name.len())
        && ![".", ".."].contains(&name)
        && !name.contains(|c: char| "/:%".contains(c) || c.is_ascii_whitespace() || c == '\x0b')
}

/// config-linux.md "Cgroups Path": hoist takes no path that leads upwards.
fn cgroups_path(path: Option<&Path>) -> Result<()> {
    if path.is_some_and(|path| path.components().any(|c| c == Component::ParentDir)) {
        return Err(Error::config("/linux/cgroupsPath", "`..` is not allowed in a cgroup's path"));
    }
    Ok(())
}

/// config-linux.md "Rootfs Mount Propagation"; engines write the recursive forms, as runc reads
/// them.
fn rootfs_propagation(propagation: Option<&str>) -> Result<()> {
    let propagation = propagation.unwrap_or_default();
    match propagation.strip_prefix('r').unwrap_or(propagation) {
        "" if propagation.is_empty() => Ok(()),
        "shared" | "slave" | "private" | "unbindable" => Ok(()),
        _ => Err(Error::config(
            "/linux/rootfsPropagation",
            format!("`{propagation}` is not a propagation"),
        )
        .with_hint("known are `shared`, `slave`, `private`, `unbindable` and these with an `r`")),
    }
}

/// config-linux.md "Masked Paths", "Readonly Paths".
fn covered_paths(
    pointer: &str,
    paths: Option<&Vec<String>>,
    namespaces: Namespaces<'_>,
) -> Result<()> {
    for (index, path) in entries(paths) {
        if !namespaces.has(Kind::Mount) {
            let message = "paths can't be covered without a mount namespace";
            return Err(Error::config(pointer, message)
                .with_hint("add {\"type\": \"mount\"} to linux.namespaces"));
        }
        if !path.starts_with('/') {
            let message = format!("the path `{path}` must be absolute");
            return Err(Error::config(format!("{pointer}/{index}"), message));
        }
    }
    Ok(())
}

/// config-linux.md "IntelRdt". `/` alone is the default class; empty means not set, as in runc.
fn intel_rdt(rdt: Option<&LinuxIntelRdt>) -> Result<()> {
    let Some(rdt) = rdt else { return Ok(()) };
    let pointer = "/linux/intelRdt";
    let class = rdt.clos_id().as_deref().unwrap_or_default();
    if class != "/" && ([".", ".."].contains(&class) || class.contains(['/', '\n'])) {
        let message = format!("`{class}` is not the name of a class: it becomes a directory's");
        return Err(Error::config(member(pointer, "closID"), message));
    }
    let bandwidth = rdt.mem_bw_schema().as_deref().unwrap_or_default();
    if !bandwidth.is_empty() && (!bandwidth.starts_with("MB:") || bandwidth.contains('\n')) {
        let message = "the schema must start with `MB:` and be one line";
        return Err(Error::config(member(pointer, "memBwSchema"), message));
    }
    for (index, line) in entries(rdt.schemata().as_ref()) {
        if line.contains('\n') {
            let message = "a line of the schemata must not contain a newline";
            return Err(Error::config(format!("{pointer}/schemata/{index}"), message));
        }
    }
    Ok(())
}

/// config-linux.md "Memory policy", set_mempolicy(2).
fn memory_policy(policy: Option<&LinuxMemoryPolicy>) -> Result<()> {
    use MemoryPolicyModeType::{
        MpolBind, MpolDefault, MpolInterleave, MpolLocal, MpolPreferred, MpolPreferredMany,
        MpolWeightedInterleave,
    };
    let Some(policy) = policy else { return Ok(()) };
    let wrong_nodes = |message: String| {
        let message = format!("invalid memory policy nodes: {message}");
        Error::config("/linux/memoryPolicy/nodes", message)
    };
    let nodes =
        id_list::parse(policy.nodes().as_deref().unwrap_or_default()).map_err(wrong_nodes)?;
    let mode = policy.mode();
    match mode {
        MpolDefault | MpolLocal => {
            let count: usize = nodes.into_iter().map(Iterator::count).sum();
            if count > 0 {
                return Err(wrong_nodes(format!("{mode} mode requires 0 nodes but got {count}")));
            }
        }
        MpolBind | MpolInterleave | MpolWeightedInterleave | MpolPreferredMany => {
            if nodes.is_empty() {
                return Err(wrong_nodes(format!("{mode} mode requires at least one node")));
            }
        }
        MpolPreferred => {}
    }
    let has = |flag| policy.flags().as_ref().is_some_and(|flags| flags.contains(&flag));
    if has(MemoryPolicyFlagType::MpolFStaticNodes) && has(MemoryPolicyFlagType::MpolFRelativeNodes)
    {
        let message = "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other";
        return Err(Error::config("/linux/memoryPolicy/flags", message));
    }
    Ok(())
}
