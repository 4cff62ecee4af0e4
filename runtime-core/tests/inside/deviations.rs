//! That the audit finds what is wrong: a container that is wrong in everything, looked at as if it
//! had been asked to be as usual.

use std::fs;
use std::os::fd::OwnedFd;

use hoist::CreateOptions;
use serde_json::json;

use crate::answers::Answers;
use crate::case;
use crate::confinement::dockers_profile;
use crate::promise::{Scene, of_the_host};
use crate::subject::{AUDITOR, arguments, install, on_the_host};

/// The questions that must be answered wrongly, by their beginnings.
const CAUGHT: &[&str] = &[
    "fds: ",
    "read /proc/self/status: Groups",
    "read /proc/self/status: CapBnd",
    "read /proc/self/status: CapInh",
    "read /proc/self/status: CapPrm",
    "read /proc/self/status: CapEff",
    "read /proc/self/status: CapAmb",
    "read /proc/self/status: NoNewPrivs",
    "read /proc/self/status: Seccomp is",
    "read /proc/self/status: Seccomp_filters",
    "read /proc/self/status: SigIgn",
    "link /proc/self/ns/net",
    "link /proc/self/ns/ipc",
    "link /proc/self/ns/uts",
    "link /proc/self/ns/user",
    "link /proc/self/ns/pid",
    "link /proc/self/ns/cgroup",
    "read /proc/self/uid_map",
    "read /proc/self/cgroup",
    "read /proc/self/environ",
    "read /proc/self/limits",
    "read /proc/self/oom_score_adj",
    "read /proc/self/mountinfo",
    "list /proc: ",
    "link /proc/self/cwd",
    "make /audit",
    "list /dev",
    "read /proc/keys",
    "list /sys/firmware",
    "read /proc/timer_list",
    "write /proc/irq/default_smp_affinity",
    "write /proc/sys/kernel/domainname",
    // By the descriptor that was left open.
    "read /proc/self/fd/3/",
];

/// Those that are calls, with what they ask for.
fn caught_calls() -> Vec<(String, &'static str)> {
    let call = |number, arguments: &str| format!("call {number} {arguments}: ");
    vec![
        (call(libc::SYS_umask, "18"), "umask"),
        (call(libc::SYS_personality, "0xffffffff"), "personality"),
        (call(libc::SYS_getpriority, "0 0"), "nice"),
        (call(libc::SYS_sched_getscheduler, "0"), "scheduler"),
        (call(libc::SYS_ioprio_get, "1 0"), "I/O priority"),
        (call(libc::SYS_get_mempolicy, "@ 0 0 0 0"), "memory policy"),
        (call(libc::SYS_keyctl, "0 -3 0"), "session keyring"),
    ]
}

#[test]
fn what_is_wrong_is_found() {
    let mut case = case!();
    install(&case);
    let canary = case.dir.join("canary");
    fs::write(&canary, "of the host").unwrap();
    let host = on_the_host(&case, &of_the_host());
    let mut promised = case.config.clone();
    promised["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    promised["linux"]["uidMappings"] =
        json!([{"containerID": 0, "hostID": 100_000, "size": 65_536}]);
    let scene = Scene { config: &promised, host: &host, joined: None, canary: &canary };
    let questions = scene.questions();

    for kind in ["pid", "network", "ipc", "uts", "cgroup"] {
        case.without_namespace(kind);
    }
    case.config.as_object_mut().unwrap().remove("hostname");
    case.config["root"]["readonly"] = json!(true);
    case.mount("tmpfs", "tmpfs", "/tmp", &[]);
    let all = json!(["CAP_KILL", "CAP_CHOWN"]);
    let process = case.process();
    process["capabilities"] = json!({
        "bounding": all, "permitted": all, "effective": all, "inheritable": all, "ambient": all,
    });
    process["user"]["additionalGids"] = json!([5]);
    process["user"]["umask"] = json!(0o77);
    process["noNewPrivileges"] = json!(false);
    process["oomScoreAdj"] = json!(777);
    process["env"] = json!(["PATH=/bin", "LEAKED=yes"]);
    process["cwd"] = json!("/tmp");
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99}]);
    process["scheduler"] = json!({"policy": "SCHED_BATCH", "nice": 3});
    process["ioPriority"] = json!({"class": "IOPRIO_CLASS_IDLE", "priority": 0});
    // It ignores SIGHUP and executes the auditor.
    let mut words = arguments(&questions);
    let shell = ["/bin/sh", "-c", "trap '' HUP; exec \"$@\"", "sh"].map(|word| json!(word));
    words.as_array_mut().unwrap().splice(0..0, shell);
    process["args"] = words;
    let linux = case.linux();
    linux["maskedPaths"] = json!([]);
    linux["readonlyPaths"] = json!([]);
    linux["personality"] = json!({"domain": "LINUX32"});
    linux["memoryPolicy"] = json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"});
    linux["devices"] = json!([{"path": "/dev/extra", "type": "c", "major": 1, "minor": 3}]);
    // A filter that refuses nothing of what is asked.
    linux["seccomp"] = dockers_profile();
    linux["seccomp"]["defaultAction"] = json!("SCMP_ACT_LOG");
    linux["seccomp"].as_object_mut().unwrap().remove("defaultErrnoRet");

    let left_open = OwnedFd::from(fs::File::open("/").unwrap());
    let options = CreateOptions::new().preserve(vec![left_open]).no_new_keyring(true);
    let answers = Answers::parse(&case.run_with(options).unwrap().success());
    let broken = scene.broken(&answers);
    let found = |beginning: &str| broken.iter().any(|line| line.starts_with(beginning));
    let mut missed: Vec<&str> = CAUGHT.iter().copied().filter(|what| !found(what)).collect();
    // Of a host without interfaces nothing can be seen.
    let hosts = host.get("list /sys/class/net").lines().any(|name| name.starts_with('e'));
    missed.extend(Some("list /sys/class/net").filter(|what| hosts && !found(what)));
    missed.extend(caught_calls().iter().filter(|(call, _)| !found(call)).map(|(_, what)| *what));
    assert!(
        missed.is_empty(),
        "{missed:?} of {AUDITOR} is thought to be right:\n{}",
        broken.join("\n")
    );
}
