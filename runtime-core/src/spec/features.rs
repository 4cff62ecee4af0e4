//! What `hoist features` reports (features.md, features-linux.md): what hoist recognizes, whether
//! or not this host has it.

use std::collections::HashMap;

use oci_spec::runtime::{
    Apparmor, Arch, Cgroup, Features, IDMap, IntelRdt, LinuxFeature, LinuxNamespaceType as Kind,
    LinuxSeccompAction as Action, MemoryPolicy, MountExtensions, NetDevices, Seccomp, Selinux,
};

use super::mount_options;

const HOOKS: [&str; 6] =
    ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"];

const OPERATORS: [&str; 7] = [
    "SCMP_CMP_EQ",
    "SCMP_CMP_GE",
    "SCMP_CMP_GT",
    "SCMP_CMP_LE",
    "SCMP_CMP_LT",
    "SCMP_CMP_MASKED_EQ",
    "SCMP_CMP_NE",
];

const SECCOMP_FLAGS: [&str; 4] = [
    "SECCOMP_FILTER_FLAG_TSYNC",
    "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
    "SECCOMP_FILTER_FLAG_LOG",
    "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
];

const MEMORY_MODES: [&str; 7] = [
    "MPOL_BIND",
    "MPOL_DEFAULT",
    "MPOL_INTERLEAVE",
    "MPOL_LOCAL",
    "MPOL_PREFERRED",
    "MPOL_PREFERRED_MANY",
    "MPOL_WEIGHTED_INTERLEAVE",
];

const MEMORY_FLAGS: [&str; 3] =
    ["MPOL_F_NUMA_BALANCING", "MPOL_F_RELATIVE_NODES", "MPOL_F_STATIC_NODES"];

/// The features structure of this version of hoist, as the runtime-spec 1.3 defines it.
///
/// It lists what is recognized, independently of the host. Engines read it to learn what they may
/// write into a `config.json`.
#[must_use]
pub fn features() -> Features {
    let mut features = Features::default();
    features
        .set_oci_version_min("1.0.0".to_owned())
        .set_oci_version_max("1.3.0".to_owned())
        .set_hooks(owned(HOOKS))
        .set_mount_options(owned(mount_options::known_options()))
        .set_linux(Some(linux()))
        .set_annotations(Some(annotations()))
        // A unit's properties are what systemd, which is root, does with it.
        .set_potentially_unsafe_config_annotations(Some(vec!["org.systemd.property.".to_owned()]));
    features
}

fn linux() -> LinuxFeature {
    let yes = Some(true);
    let mut linux = LinuxFeature::default();
    let mut idmap = IDMap::default();
    let mut mounts = MountExtensions::default();
    let mut memory = MemoryPolicy::default();
    mounts.set_idmap(Some(idmap.set_enabled(yes).clone()));
    memory.set_modes(owned(MEMORY_MODES)).set_flags(owned(MEMORY_FLAGS));
    linux
        .set_namespaces(Some(vec![
            Kind::Cgroup,
            Kind::Ipc,
            Kind::Mount,
            Kind::Network,
            Kind::Pid,
            Kind::Time,
            Kind::User,
            Kind::Uts,
        ]))
        .set_capabilities(Some(capabilities()))
        .set_cgroup(Some(cgroup()))
        .set_seccomp(Some(seccomp()))
        .set_apparmor(Some(Apparmor::default().set_enabled(yes).clone()))
        .set_selinux(Some(Selinux::default().set_enabled(yes).clone()))
        .set_intel_rdt(Some(
            IntelRdt::default().set_enabled(yes).set_schemata(yes).set_monitoring(yes).clone(),
        ))
        .set_memory_policy(Some(memory))
        .set_mount_extensions(Some(mounts))
        .set_net_devices(Some(NetDevices::default().set_enabled(yes).clone()));
    linux
}

/// In the kernel's order.
fn capabilities() -> Vec<String> {
    let mut all: Vec<caps::Capability> = caps::all().into_iter().collect();
    all.sort_by_key(caps::Capability::index);
    all.iter().map(ToString::to_string).collect()
}

fn cgroup() -> Cgroup {
    Cgroup::default()
        .set_v1(Some(true))
        .set_v2(Some(true))
        .set_systemd(Some(true))
        .set_systemd_user(Some(true))
        .set_rdma(Some(false))
        .clone()
}

fn seccomp() -> Seccomp {
    Seccomp::default()
        .set_enabled(Some(true))
        .set_actions(Some(vec![
            Action::ScmpActAllow,
            Action::ScmpActErrno,
            Action::ScmpActKill,
            Action::ScmpActKillProcess,
            Action::ScmpActKillThread,
            Action::ScmpActLog,
            Action::ScmpActNotify,
            Action::ScmpActTrace,
            Action::ScmpActTrap,
        ]))
        .set_operators(owned(OPERATORS))
        .set_archs(Some(vec![
            Arch::ScmpArchAarch64,
            Arch::ScmpArchArm,
            Arch::ScmpArchLoongarch64,
            Arch::ScmpArchM68k,
            Arch::ScmpArchMips,
            Arch::ScmpArchMips64,
            Arch::ScmpArchMips64n32,
            Arch::ScmpArchMipsel,
            Arch::ScmpArchMipsel64,
            Arch::ScmpArchMipsel64n32,
            Arch::ScmpArchParisc,
            Arch::ScmpArchParisc64,
            Arch::ScmpArchPpc,
            Arch::ScmpArchPpc64,
            Arch::ScmpArchPpc64le,
            Arch::ScmpArchRiscv64,
            Arch::ScmpArchS390,
            Arch::ScmpArchS390x,
            Arch::ScmpArchSh,
            Arch::ScmpArchSheb,
            Arch::ScmpArchX32,
            Arch::ScmpArchX86,
            Arch::ScmpArchX86_64,
        ]))
        .set_known_flags(owned(SECCOMP_FLAGS))
        .set_supported_flags(owned(SECCOMP_FLAGS))
        .clone()
}

fn annotations() -> HashMap<String, String> {
    HashMap::from([
        ("io.github.hoist-runtime.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        // runc's name for it, which others may use (its types/features).
        ("org.opencontainers.runc.checkpoint.enabled".to_owned(), "false".to_owned()),
    ])
}

fn owned<'a>(names: impl IntoIterator<Item = &'a str>) -> Option<Vec<String>> {
    Some(names.into_iter().map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_one_that_the_loader_takes() {
        let json = serde_json::to_value(features()).unwrap();
        assert_eq!(json["linux"]["namespaces"].as_array().unwrap().len(), 8);
        assert_eq!(json["linux"]["namespaces"][3], "network");
        assert_eq!(json["linux"]["capabilities"].as_array().unwrap().len(), 41);
        assert_eq!(json["linux"]["capabilities"][0], "CAP_CHOWN");
        assert_eq!(json["linux"]["capabilities"][40], "CAP_CHECKPOINT_RESTORE");
        assert_eq!(json["linux"]["seccomp"]["archs"].as_array().unwrap().len(), 23);
        assert_eq!(json["mountOptions"].as_array().unwrap().len(), 62);
        assert_eq!(json["linux"]["mountExtensions"]["idmap"]["enabled"], true);
        let seccomp = &json["linux"]["seccomp"];
        let all_but_notify = |value: &serde_json::Value| -> Vec<serde_json::Value> {
            let names = value.as_array().unwrap().iter();
            names.filter(|name| *name != "SCMP_ACT_NOTIFY").cloned().collect()
        };
        let mut config = serde_json::to_value(crate::DefaultSpec::default().spec()).unwrap();
        config["process"]["capabilities"] =
            serde_json::json!({"bounding": json["linux"]["capabilities"]});
        config["linux"]["seccomp"] = serde_json::json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "architectures": seccomp["archs"],
            "flags": seccomp["knownFlags"],
            "listenerPath": "/run/agent",
            "syscalls": all_but_notify(&seccomp["actions"]).iter().map(|action| {
                let args: Vec<_> = seccomp["operators"].as_array().unwrap().iter().map(|op| {
                    serde_json::json!({"index": 0, "value": 0, "op": op})
                }).collect();
                serde_json::json!({"names": ["read"], "action": action, "args": args})
            }).collect::<Vec<_>>(),
        });
        for mode in json["linux"]["memoryPolicy"]["modes"].as_array().unwrap() {
            let alone = mode == "MPOL_DEFAULT" || mode == "MPOL_LOCAL";
            config["linux"]["memoryPolicy"] =
                serde_json::json!({"mode": mode, "nodes": if alone { "" } else { "0" }});
            for flag in json["linux"]["memoryPolicy"]["flags"].as_array().unwrap() {
                config["linux"]["memoryPolicy"]["flags"] = serde_json::json!([flag]);
                let bundle = crate::Bundle::from_json("/", config.to_string()).unwrap();
                assert!(bundle.warnings().is_empty(), "{:?}", bundle.warnings());
            }
        }
    }
}
