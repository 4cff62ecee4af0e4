//! Containers whose processes may trace who joins them: CAP_SYS_PTRACE in the host's user namespace,
//! from which nothing in the same pid namespace can hide (decision 0009).

use oci_spec::runtime::{Capability, LinuxNamespaceType, Process, Spec};

use crate::seccomp::{Call, Filter};
use crate::spec::namespaces::Namespaces;

const CLONE_NEWPID: u64 = 0x2000_0000;
// As the kernel has them: the types of libc's differ between C libraries.
const TIOCSCTTY: u64 = 0x540e;
const RLIMIT_NOFILE: u64 = 7;
const RLIMIT_AS: u64 = 9;

/// Whether the container's processes may have CAP_SYS_PTRACE over those that join it.
pub(super) fn may_be_traced(spec: &Spec) -> bool {
    has(spec, Capability::SysPtrace) && !Namespaces::of(spec).has(LinuxNamespaceType::User)
}

fn has(spec: &Spec, capability: Capability) -> bool {
    let process = spec.process().as_ref();
    let sets = process.and_then(|process| process.capabilities().as_ref());
    let bounding = sets.and_then(|sets| sets.bounding().as_ref());
    bounding.is_some_and(|set| set.contains(&capability))
}

/// Whether a process that joins these namespaces comes into the pid namespace last of all, when it has
/// no more than the container. `control` is the number of init's socket.
pub(super) fn comes_last(
    process: &Process,
    spec: &Spec,
    join: u64,
    filter: Option<&Filter>,
    control: u64,
) -> bool {
    // In the runtime's own pid namespace everything can be traced anyway, and who has CAP_SYS_ADMIN has
    // nothing to gain by it.
    let worth_it =
        may_be_traced(spec) && join & CLONE_NEWPID != 0 && !has(spec, Capability::SysAdmin);
    // SCHED_DEADLINE and SCHED_FLAG_RESET_ON_FORK are not for who forks, sched(7).
    let scheduled = |process: &Process| process.scheduler().is_some();
    let scheduled = scheduled(process) || spec.process().as_ref().is_some_and(scheduled);
    worth_it
        && !scheduled
        && filter.is_none_or(|filter| filter.notify().is_none() && filter.allows(&calls(control)))
}

/// What `Step::CloneLast` calls, with the filter loaded, and the limits that come after it.
fn calls(control: u64) -> [Call; 10] {
    let clone = libc::CLONE_PARENT | libc::CLONE_PIDFD;
    [
        Call::new(libc::SYS_capget, [0; 3]),
        Call::new(libc::SYS_capset, [0; 3]),
        Call::new(libc::SYS_clone, [u64::from(clone.cast_unsigned()), 0, 0]),
        Call::new(libc::SYS_sendmsg, [control, 0, u64::from(libc::MSG_NOSIGNAL.cast_unsigned())]),
        // If that can't be sent, nobody would know of the clone.
        Call::new(libc::SYS_kill, [0, u64::from(libc::SIGKILL.cast_unsigned()), 0]),
        Call::new(libc::SYS_exit_group, [0; 3]),
        Call::new(libc::SYS_setsid, [0; 3]),
        Call::new(libc::SYS_ioctl, [0, TIOCSCTTY, 0]),
        Call::new(libc::SYS_prlimit64, [0, RLIMIT_NOFILE, 0]),
        Call::new(libc::SYS_prlimit64, [0, RLIMIT_AS, 0]),
    ]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    const NEWNS: u64 = 0x0002_0000;

    fn comes(config: &Value, join: u64, profile: Option<&Value>) -> bool {
        let spec: Spec = serde_json::from_value(config.clone()).unwrap();
        let filter = profile.map(|profile| {
            crate::seccomp::compile(&serde_json::from_value(profile.clone()).unwrap()).unwrap()
        });
        let process = serde_json::from_value(json!({"user": {"uid": 0, "gid": 0}, "cwd": "/"}));
        comes_last(&process.unwrap(), &spec, join, filter.as_ref(), 5)
    }

    #[test]
    fn for_whom_it_is() {
        let with = |bounding: Value, namespaces: Value| {
            let process = json!({"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["x"],
                "capabilities": {"bounding": bounding}});
            json!({"ociVersion": "1.2.0", "process": process, "root": {"path": "rootfs"},
                "linux": {"namespaces": namespaces}})
        };
        let ptrace = || json!(["CAP_KILL", "CAP_SYS_PTRACE"]);
        let pid = || json!([{"type": "pid"}]);
        let config = with(ptrace(), pid());
        assert!(comes(&config, NEWNS | CLONE_NEWPID, None));
        assert!(!comes(&config, NEWNS, None), "the runtime's own pid namespace");
        assert!(!comes(&with(json!(["CAP_KILL"]), pid()), CLONE_NEWPID, None));
        assert!(!comes(
            &with(json!(["CAP_SYS_PTRACE", "CAP_SYS_ADMIN"]), pid()),
            CLONE_NEWPID,
            None
        ));
        let user = json!([{"type": "pid"}, {"type": "user"}]);
        assert!(!comes(&with(ptrace(), user), CLONE_NEWPID, None));
        let mut scheduled = config.clone();
        scheduled["process"]["scheduler"] = json!({"policy": "SCHED_BATCH"});
        assert!(!comes(&scheduled, CLONE_NEWPID, None));
    }

    /// The filter is asked about each of the calls.
    #[test]
    fn a_filter_may_forbid_it() {
        let config = json!({"ociVersion": "1.2.0", "root": {"path": "rootfs"},
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "args": ["x"],
                "capabilities": {"bounding": ["CAP_SYS_PTRACE"]}}});
        let comes = |profile: Value| comes(&config, CLONE_NEWPID, Some(&profile));
        let allow = json!({"defaultAction": "SCMP_ACT_ALLOW"});
        assert!(comes(allow));
        assert!(!comes(json!({"defaultAction": "SCMP_ACT_LOG"})));
        let docker = include_str!("../../tests/data/docker-seccomp.json");
        assert!(comes(serde_json::from_str(docker).unwrap()));
        for name in [
            "capget",
            "capset",
            "clone",
            "sendmsg",
            "kill",
            "exit_group",
            "setsid",
            "ioctl",
            "prlimit64",
        ] {
            let rule = |arguments: Value| {
                json!({"defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{"names": [name], "action": "SCMP_ACT_ERRNO", "args": arguments}]})
            };
            assert!(!comes(rule(json!([]))), "{name}");
            let other = json!([{"index": 1, "value": 77, "op": "SCMP_CMP_EQ"}]);
            assert!(comes(rule(other)), "{name}");
        }
        let threads = json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [{"names": ["clone"],
            "action": "SCMP_ACT_ERRNO",
            "args": [{"index": 0, "value": 0x8000, "valueTwo": 0x8000, "op": "SCMP_CMP_MASKED_EQ"}]}]});
        assert!(!comes(threads));
        let notify = json!({"defaultAction": "SCMP_ACT_ALLOW", "listenerPath": "/run/agent",
            "syscalls": [{"names": ["mkdir"], "action": "SCMP_ACT_NOTIFY"}]});
        assert!(!comes(notify));
    }
}
