//! The process: what it is given, and in which order.

use serde_json::{Value, json};

use super::super::Passed;
use super::super::context::{Facts, Filter, Options};
use super::{compile, compile_with, exec, facts, lines, names, place, small_config};

fn with_process(members: Value) -> Value {
    let mut config = small_config();
    for (name, value) in members.as_object().unwrap() {
        config["process"][name] = value.clone();
    }
    config
}

const FILTER: Filter<'static> = Filter { program: &[0; 16], flags: 4, notify: true };

#[test]
fn after_the_filter_only_execve() {
    for no_new_privileges in [false, true] {
        let config = with_process(json!({"noNewPrivileges": no_new_privileges}));
        let plan = compile_with(&config, &facts(), &Options::default(), Some(FILTER)).unwrap();
        let names = names(&plan);
        assert_eq!(names[names.len() - 2..], ["seccomp", "execute"]);
        assert_eq!(names.contains(&"no-new-privileges"), no_new_privileges);
        // CAP_SYS_ADMIN stays for the filter, unless no_new_privs makes that unnecessary.
        let capabilities = lines(&plan, "capabilities").remove(0);
        assert_eq!(capabilities.contains(" filter"), !no_new_privileges, "{capabilities}");
        assert_eq!(
            lines(&plan, "seccomp"),
            ["seccomp flags=SPEC_ALLOW program=\"2 instructions\" notify  # /linux/seccomp"]
        );
    }
    assert!(!names(&compile(&small_config())).contains(&"seccomp"));
}

/// Where no groups can be set, who asks for none gets what there is, and who asks is refused: by the kernel.
#[test]
fn groups_that_can_not_be_set() {
    let facts = Facts { setgroups: false, ..facts() };
    for (groups, step) in [
        (json!([]), "user uid=0 gid=0  # /process/user"),
        (json!([4]), "user uid=0 gid=0 groups=4 set_groups  # /process/user"),
    ] {
        let config = with_process(json!({"user": {"uid": 0, "gid": 0, "additionalGids": groups}}));
        let plan = compile_with(&config, &facts, &Options::default(), None).unwrap();
        assert_eq!(lines(&plan, "user"), [step]);
    }
}

#[test]
fn in_the_order_that_the_kernel_needs() {
    let config = with_process(json!({
        "apparmorProfile": "docker-default",
        "selinuxLabel": "u:r:t:s0",
        "noNewPrivileges": true,
        "cwd": "/work",
        "user": {"uid": 1000, "gid": 1000, "umask": 0o27, "additionalGids": [4, 5]},
        "rlimits": [{"type": "RLIMIT_NPROC", "soft": 5, "hard": 18_446_744_073_709_551_615_u64},
            {"type": "RLIMIT_NOFILE", "soft": 5, "hard": 6}],
        "ioPriority": {"class": "IOPRIO_CLASS_BE", "priority": 4},
        "scheduler": {"policy": "SCHED_BATCH", "nice": 3},
    }));
    let options = Options { preserve_fds: 2, listener: true, ..Options::default() };
    let plan = compile_with(&config, &facts(), &options, Some(FILTER)).unwrap();
    let order = [
        "raise-limit resource=RLIMIT_NPROC hard=unlimited",
        "raise-limit resource=RLIMIT_NOFILE hard=6",
        "clone",
        "open-proc",
        "make-directory path=/work",
        "pivot-root",
        "scheduler",
        "io-priority value=16388",
        "umask mask=0027",
        "working-directory path=/work  #",
        "lookup-home uid=1000",
        "chown-stdio uid=1000",
        "prepare-execute",
        "rlimit resource=RLIMIT_NPROC soft=5 hard=unlimited",
        "exec-label attr=self/attr/apparmor/exec fallback=self/attr/exec \
         label=\"exec docker-default\"",
        "exec-label attr=self/attr/exec label=u:r:t:s0",
        "bounding-set keep=none last_cap=40",
        "no-new-privileges",
        "user uid=1000 gid=1000 groups=4,5 set_groups",
        "capabilities effective=none",
        "working-directory path=/work last",
        "find-program name=sh path=/usr/local/sbin",
        "await-start",
        "rlimit resource=RLIMIT_NOFILE soft=5 hard=6",
        "close-descriptors first=5",
        "seccomp",
        " execute  #",
    ];
    let places = order.map(|text| place(&plan, text));
    assert!(places.is_sorted(), "{places:?}\n{plan}");
    assert!(plan.passed().contains(&Passed::StartListener));
}

#[test]
fn the_environment() {
    let config = with_process(json!({"env": ["A=1", "HOME=", "A=2", "PATH=/p"]}));
    let extra = ["NOTIFY_SOCKET=/run/n".to_owned(), "LISTEN_FDS=1".to_owned()];
    let options = Options { extra_env: &extra, ..Options::default() };
    let plan = compile_with(&config, &facts(), &options, None).unwrap();
    assert!(
        lines(&plan, "prepare-execute")[0]
            .contains("environment=[A=2 PATH=/p NOTIFY_SOCKET=/run/n LISTEN_FDS=1]")
    );
    assert!(names(&plan).contains(&"lookup-home"));
    assert!(lines(&plan, "find-program")[0].contains("path=/p "));
}

#[test]
fn the_terminal() {
    let config = with_process(json!({"terminal": true, "consoleSize": {"height": 24, "width": 80},
        "user": {"uid": 9, "gid": 0}}));
    let plan = compile(&config);
    assert_eq!(
        lines(&plan, "console"),
        ["console socket=fd1 rows=24 columns=80 uid=9 mount  # /process/terminal"]
    );
    assert_eq!(plan.passed()[1], Passed::ConsoleSocket);
    let config = with_process(json!({"terminal": true,
        "consoleSize": {"height": 24, "width": 70000}}));
    let error = compile_with(&config, &facts(), &Options::default(), None).unwrap_err();
    assert_eq!(error.pointer(), Some("/process/consoleSize/width"));
}

#[test]
fn memory_policy_and_personality() {
    let mut config = small_config();
    config["linux"]["memoryPolicy"] =
        json!({"mode": "MPOL_INTERLEAVE", "nodes": "0-1,9", "flags": ["MPOL_F_STATIC_NODES"]});
    config["linux"]["personality"] = json!({"domain": "LINUX32"});
    let plan = compile(&config);
    assert_eq!(
        lines(&plan, "memory-policy"),
        ["memory-policy mode=32771 nodes=0302000000000000 bits=65  # /linux/memoryPolicy"]
    );
    assert_eq!(lines(&plan, "personality"), ["personality value=8  # /linux/personality"]);
}

#[test]
fn a_joining_process_takes_from_the_container_what_it_does_not_say() {
    let config = with_process(json!({
        "noNewPrivileges": true,
        "apparmorProfile": "p",
        "capabilities": {"bounding": ["CAP_KILL"]},
        "rlimits": [{"type": "RLIMIT_CORE", "soft": 0, "hard": 0}],
        "execCPUAffinity": {"initial": "0", "final": "1-2"},
        "user": {"uid": 0, "gid": 0, "umask": 0o77},
    }));
    let process = json!({"user": {"uid": 0, "gid": 0}, "args": ["/x"], "cwd": "/"});
    let plan = exec(&process, &config, 0x2002_0000, &facts());
    for text in [
        "no-new-privileges",
        "label=\"exec p\"",
        "bounding-set keep=kill ",
        "rlimit resource=RLIMIT_CORE",
        "umask mask=0077",
    ] {
        place(&plan, text);
    }
    let order = [
        "reset-inherited",
        "cpu-affinity mask=01",
        "join-process",
        "clone",
        "cpu-affinity mask=06",
    ];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    assert!(!names(&compile(&config)).contains(&"cpu-affinity"), "not for the first process");

    let own = json!({"user": {"uid": 0, "gid": 0}, "args": ["/x"], "cwd": "/",
        "noNewPrivileges": false, "capabilities": {"bounding": ["CAP_CHOWN"]}});
    let plan = exec(&own, &config, 0x2002_0000, &facts());
    assert!(!names(&plan).contains(&"no-new-privileges"));
    place(&plan, "bounding-set keep=chown ");
}

#[test]
fn groups_are_left_alone_where_they_must_be() {
    let rootless = Facts { setgroups: false, ..facts() };
    let plan = compile_with(&small_config(), &rootless, &Options::default(), None).unwrap();
    assert_eq!(lines(&plan, "user"), ["user uid=0 gid=0  # /process/user"]);
}

#[test]
fn plans_as_json() {
    let json = compile(&small_config()).to_json();
    assert_eq!(json["fds"], json!(["cgroup directory"]));
    assert_eq!(
        json["steps"][4],
        json!({"index": 4, "step": "clone", "pointer": "/linux/namespaces",
            "fields": {"flags": "CLONE_NEWPID", "cgroup": "fd0"}})
    );
}
