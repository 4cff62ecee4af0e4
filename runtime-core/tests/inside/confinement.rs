//! The container's first process and one that joins it are what the configuration promises.

use std::fs;

use serde_json::{Value, json};

use crate::common::Case;
use crate::promise::{Scene, of_the_host};
use crate::subject::{Waiting, ask_first, install, on_the_host, prepare};

/// Docker's default profile.
pub(crate) fn dockers_profile() -> Value {
    serde_json::from_str(include_str!("../data/docker-seccomp.json")).unwrap()
}

/// Both are looked at, and everything that isn't as promised is told.
#[track_caller]
pub(crate) fn audit(mut case: Case) {
    install(&case);
    let canary = case.dir.join("canary");
    fs::write(&canary, "of the host").unwrap();
    let host = on_the_host(&case, &of_the_host());
    let config = case.config.clone();
    let scene = Scene { config: &config, host: &host, joined: None, canary: &canary };
    let answers = ask_first(&mut case, &scene.questions());
    let mut broken = scene.broken(&answers);
    prepare(&mut case, "wait");
    let container = Waiting::start(&case);
    let scene = Scene { joined: Some(container.pid()), ..scene };
    let answers = container.ask(&config, &scene.questions());
    broken.extend(scene.broken(&answers).into_iter().map(|line| format!("joined: {line}")));
    container.end();
    assert!(broken.is_empty(), "{} promises are broken:\n{}", broken.len(), broken.join("\n"));
}

/// What `hoist spec` writes: sysfs's energy counters are masked, by which secrets of other processes
/// can be learned (GHSA-7ww5-4wqc-m92c).
pub(crate) fn by_default() -> Result<Case, String> {
    let mut case = Case::new()?;
    let masked = case.linux()["maskedPaths"].as_array().unwrap();
    assert!(masked.contains(&json!("/sys/devices/virtual/powercap")), "{masked:?}");
    Ok(case)
}

/// Masks a directory beside the energy counters, which few machines have, that is there on all.
fn mask_in_sysfs(case: &mut Case) {
    const MEMORY: &str = "/sys/devices/virtual/mem";
    assert!(fs::read_dir(MEMORY).is_ok_and(|mut entries| entries.next().is_some()));
    case.linux()["maskedPaths"].as_array_mut().unwrap().push(json!(MEMORY));
}

macro_rules! default_case {
    () => {
        match by_default() {
            Ok(case) => case,
            Err(reason) => crate::skip!("{reason}"),
        }
    };
}

/// From inside, the first process and one that joins have what `hoist spec` says, and nothing else.
///
/// Seen to fail: with crun 1.28 who joins lacks no_new_privs and the container's limits and has the
/// caller's session keyring; with hoist where each of these was taken out: init's new start (signals, nice
/// value), the bounding set, the new session and keyring; and for who joins alone no_new_privs, the
/// capabilities, the v1 hierarchies, the cgroup namespace. `what_is_wrong_is_found` shows it for
/// everything that a configuration says.
#[test]
fn the_default_configuration() {
    audit(default_case!());
}

/// A read-only root, a user, capabilities of all kinds, limits, a score, groups, a time namespace.
#[test]
fn a_configuration_that_says_more() {
    let mut case = default_case!();
    case.config["root"]["readonly"] = json!(true);
    let [kill, bind, chown] = ["CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN"];
    case.process()["capabilities"] = json!({
        "bounding": [kill, bind, chown], "permitted": [kill, bind, chown],
        "effective": [kill, bind], "inheritable": [kill, chown], "ambient": [kill],
    });
    case.process()["user"] = json!({"uid": 1000, "gid": 1001, "additionalGids": [5, 70_000]});
    case.process()["env"] = json!(["PATH=/bin", "HOME=/tmp", "A=b=c"]);
    case.process()["cwd"] = json!("/tmp");
    case.process()["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 0},
    ]);
    case.linux()["seccomp"] = dockers_profile();
    case.namespace("time", None);
    mask_in_sysfs(&mut case);
    audit(case);
}

/// Masks and read-only paths hold against a process that has every capability of this one.
#[test]
fn every_capability() {
    let mut case = default_case!();
    case.all_capabilities();
    audit(case);
}

/// A filter without no_new_privs.
///
/// Seen to fail: with the filter taken out for who joins.
#[test]
fn new_privileges() {
    let mut case = default_case!();
    case.process()["noNewPrivileges"] = json!(false);
    case.linux()["seccomp"] = dockers_profile();
    audit(case);
}

/// The container's root is nobody of the host's.
#[test]
fn in_a_user_namespace() {
    let mut case = default_case!();
    case.user_namespace();
    case.linux()["seccomp"] = dockers_profile();
    mask_in_sysfs(&mut case);
    audit(case);
}

/// All but the mount namespace is the host's: this test is in reach, and can't be had.
///
/// Seen to fail: with all capabilities its memory, descriptors and directories can be had, as they
/// may; its program still can't be written.
#[test]
fn in_the_hosts_namespaces() {
    let mut case = default_case!();
    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        case.without_namespace(kind);
    }
    // One of its own needs a namespace.
    case.config.as_object_mut().unwrap().remove("hostname");
    audit(case);
}

/// The mount of its own cgroup shows nothing above.
#[test]
fn a_mount_of_its_cgroup() {
    let mut case = default_case!();
    case.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["nosuid", "noexec", "nodev", "ro"]);
    audit(case);
}
