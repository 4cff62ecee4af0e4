//! Namespaces, the root, devices: what is done where, and in which order.

use oci_spec::runtime::Process;
use serde_json::{Value, json};

use super::super::Passed;
use super::super::check::check;
use super::super::context::{Facts, Filter, Options, Placement};
use super::super::{ExecOptions, compile_exec, compile_helper, compile_userns};
use super::{
    compile, compile_with, default_config, exec, facts, lines, names, place, small_config, spec,
};

const NEWUSER: u64 = 0x1000_0000;
const NEWNS: u64 = 0x0002_0000;
const NEWCGROUP: u64 = 0x0200_0000;
const NEWPID: u64 = 0x2000_0000;

fn rootless() -> Facts<'static> {
    Facts { privileged: false, bind_devices: true, setgroups: false, ..facts() }
}

fn with_namespaces(namespaces: Value) -> Value {
    let mut config = small_config();
    config["linux"]["namespaces"] = namespaces;
    config
}

#[test]
fn namespaces_are_joined_where_the_privilege_is() {
    let config = with_namespaces(json!([
        {"type": "mount"},
        {"type": "user", "path": "/ns/user"},
        {"type": "network", "path": "/ns/net"},
        {"type": "cgroup", "path": "/ns/cgroup"},
        {"type": "time"},
    ]));
    let plan = compile(&config);
    let all_opened = place(&plan, "open-namespace path=/ns/net");
    let network = place(&plan, "join-namespace fd=fd82 flag=CLONE_NEWNET");
    let user = place(&plan, "join-namespace fd=fd80 flag=CLONE_NEWUSER");
    let clone = place(&plan, "clone flags=CLONE_NEWNS cgroup");
    let cgroup = place(&plan, "join-namespace fd=fd81 flag=CLONE_NEWCGROUP");
    assert!(all_opened < network && network < user && user < clone && clone < cgroup, "{plan}");
    assert!(place(&plan, "unshare-time") < user && place(&plan, "open-tree") < user);
    assert!(place(&plan, "clone") < place(&plan, "become-root setgroups"));
    assert!(!names(&plan).contains(&"wait-for-runtime"), "its maps are there: {plan}");

    let plan = compile_with(&config, &rootless(), &Options::default(), None).unwrap();
    let user = place(&plan, "flag=CLONE_NEWUSER");
    assert!(user < place(&plan, "flag=CLONE_NEWNET"), "{plan}");
    // Whoever is in it must not reach what comes.
    assert!(place(&plan, "not-dumpable") < user, "{plan}");
    let mut config = config;
    config["linux"]["timeOffsets"] = json!({"boottime": {"secs": 1}});
    let error = compile_with(&config, &rootless(), &Options::default(), None).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/timeOffsets"));
}

#[test]
fn a_new_user_namespace() {
    let config = with_namespaces(json!([
        {"type": "user"}, {"type": "mount"}, {"type": "pid"}, {"type": "time"}]));
    let plan = compile_with(&config, &rootless(), &Options::default(), None).unwrap();
    let order =
        ["clone", "wait-for-runtime point=maps", "become-root", "unshare-time", "new-session"];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    // Each change of the user makes it belong to root in /proc.
    let steps = names(&plan);
    for change in ["clone", "become-root", "capabilities"] {
        let after = steps.iter().position(|step| *step == change).unwrap() + 1;
        assert_eq!(steps[after], "dumpable", "{plan}");
    }
    assert_eq!(lines(&plan, "become-root"), ["become-root  # /linux/namespaces/0"]);
    assert_eq!(
        lines(&plan, "bind-device")[0],
        "bind-device directory=dev path=null source=/dev/null"
    );

    let config = with_namespaces(json!([{"type": "user"}, {"type": "mount"}]));
    let plan = compile_with(&config, &rootless(), &Options::default(), None).unwrap();
    assert!(!names(&plan).contains(&"not-dumpable"), "nobody has capabilities there: {plan}");
    let plan = compile(&config);
    assert!(place(&plan, "not-dumpable") < place(&plan, "clone"), "{plan}");
    assert!(!names(&plan).contains(&"dumpable"), "root needs no such thing: {plan}");
    let mut config = with_namespaces(json!([{"type": "user", "path": "/u"}, {"type": "mount"}]));
    let plan = compile_with(&config, &rootless(), &Options::default(), None).unwrap();
    let hides = |plan: &crate::Plan| {
        let steps = names(plan);
        let last = steps.iter().rposition(|step| *step == "not-dumpable");
        last > steps.iter().position(|step| *step == "become-root") && !steps.contains(&"dumpable")
    };
    assert!(hides(&plan), "{plan}");
    // Somebody there may be in a pid namespace above it.
    config["linux"]["namespaces"][1]["type"] = json!("pid");
    let plan = compile_with(&config, &rootless(), &Options::default(), None).unwrap();
    assert!(hides(&plan), "{plan}");
}

#[test]
fn time_offsets() {
    let mut config = with_namespaces(json!([{"type": "mount"}, {"type": "time"}]));
    config["linux"]["timeOffsets"] = json!({"boottime": {"secs": -3, "nanosecs": 5}});
    let step = lines(&compile(&config), "unshare-time").remove(0);
    assert!(step.ends_with(r#"offsets="boottime -3 5\n"  # /linux/timeOffsets"#), "{step}");
    config["linux"]["namespaces"][1]["path"] = json!("/ns/time");
    let plan = compile(&config);
    assert!(!names(&plan).contains(&"unshare-time"), "offsets are not for what is joined");
}

#[test]
fn placement() {
    let compile = |placement| {
        let facts = Facts { placement, ..facts() };
        compile_with(&default_config(), &facts, &Options::default(), None).unwrap()
    };
    let v1 = |inner| compile(Placement::V1 { hierarchies: 4, inner, unified: true });
    let plan = v1([Some(1), Some(2)]);
    let tasks = Passed::CgroupTasks;
    assert_eq!(plan.passed()[..5], [tasks(0), tasks(3), Passed::CgroupDir, tasks(1), tasks(2)]);
    let attached = ["fd0", "fd1", "fd3", "fd4"].map(|fd| format!("attach-cgroup tasks={fd}"));
    assert_eq!(lines(&plan, "attach-cgroup"), attached);
    // Outer would count where processes are counted, and making inner where memory is.
    assert!(place(&plan, "attach-cgroup tasks=fd1") < place(&plan, "cgroup=fd2"));
    assert!(place(&plan, "cgroup=fd2") < place(&plan, "attach-cgroup tasks=fd3"));
    assert!(place(&plan, "attach-cgroup tasks=fd4") < place(&plan, "unshare-cgroup"));
    // Both controllers may be in one hierarchy.
    assert_eq!(lines(&v1([Some(1), Some(1)]), "attach-cgroup").len(), 4);
    let plan = compile(Placement::Library);
    assert!(place(&plan, "wait-for-runtime point=cgroup") < place(&plan, "unshare-cgroup"));
}

#[test]
fn root_propagation() {
    let steps = |value: &str| {
        let mut config = small_config();
        config["linux"]["rootfsPropagation"] = json!(value);
        let plan = compile(&config);
        let first = lines(&plan, "propagation").remove(0);
        let bind = lines(&plan, "bind-root").remove(0).contains("private_parent");
        let root = lines(&plan, "set-root").pop().unwrap_or_default();
        let short = |line: &str| line.split("  #").next().unwrap_or_default().to_owned();
        (short(&first), bind, short(&root))
    };
    let expect = |first: &str, bind: bool, root: &str| {
        (format!("propagation flags={first}"), bind, root.to_owned())
    };
    let root = |flags: &str| format!("set-root propagation={flags}");
    assert_eq!(steps(""), expect("MS_SLAVE recursive", false, &root("MS_PRIVATE")));
    assert_eq!(steps("rslave"), expect("MS_SLAVE recursive", false, ""));
    assert_eq!(steps("private"), expect("MS_PRIVATE recursive", false, ""));
    assert_eq!(steps("shared"), expect("MS_SHARED", true, &root("MS_SHARED")));
    assert_eq!(steps("rshared"), expect("MS_SHARED recursive", true, &root("MS_SHARED|MS_REC")));
    assert_eq!(steps("unbindable"), expect("MS_PRIVATE recursive", false, &root("MS_UNBINDABLE")));
}

#[test]
fn ways_into_the_root() {
    let options = Options { no_pivot: true, ..Options::default() };
    let plan = compile_with(&small_config(), &facts(), &options, None).unwrap();
    assert!(names(&plan).contains(&"move-root"));
    let mut config = small_config();
    config["linux"]["rootfsPropagation"] = json!("private");
    let error = compile_with(&config, &facts(), &options, None).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/rootfsPropagation"));

    let plan = compile(&with_namespaces(json!([{"type": "pid"}])));
    let order = ["open-root path=/bundle/rootfs", "open-directory path=/dev", "chroot"];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    let without = ["propagation", "bind-root", "pivot-root", "set-root"];
    assert!(names(&plan).iter().all(|name| !without.contains(name)), "{plan}");
    for key in ["maskedPaths", "readonlyPaths"] {
        let mut config = with_namespaces(json!([{"type": "pid"}]));
        config["linux"][key] = json!(["/x"]);
        let error = compile_with(&config, &facts(), &Options::default(), None).unwrap_err();
        assert_eq!(error.pointer(), Some(format!("/linux/{key}").as_str()));
    }
    // A read-only root is a mount of the host's then.
    let mut config = with_namespaces(json!([{"type": "pid"}]));
    config["root"]["readonly"] = json!(true);
    let plan = compile(&config);
    let order = ["bind-root path=/bundle/rootfs", "chroot", "set-root attributes=ro"];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    assert!(!names(&plan).contains(&"pivot-root"), "{plan}");
}

#[test]
fn devices() {
    let mut config = small_config();
    config["linux"]["devices"] = json!([
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600, "uid": 7},
        {"path": "/dev/ptmx", "type": "c", "major": 5, "minor": 2},
        {"path": "/dev/net/tun", "type": "u", "major": 10, "minor": 200, "fileMode": 0o020_666},
        {"path": "/pipe", "type": "p"},
    ]);
    let plan = compile(&config);
    let made = lines(&plan, "make-device");
    assert_eq!(made.len(), 5 + 3, "{plan}");
    assert_eq!(
        made[5..],
        [
            "make-device directory=dev path=null mode=c0600 major=1 minor=3 uid=7 gid=0  \
         # /linux/devices/0",
            "make-device directory=root path=dev/net/tun mode=c0666 major=10 minor=200 uid=0 gid=0  \
         # /linux/devices/2",
            "make-device directory=root path=pipe mode=p0666 major=0 minor=0 uid=0 gid=0  \
         # /linux/devices/3",
        ]
    );
    assert!(place(&plan, "make-directory path=/dev") < place(&plan, "open-directory"));
    assert!(names(&plan).contains(&"reopen-null"));

    config["mounts"] = json!([{"source": "/dev", "destination": "/dev/", "options": ["rbind"]}]);
    let plan = compile(&config);
    let made = ["make-device", "make-symlink", "open-directory", "reopen-null"];
    assert!(names(&plan).iter().all(|name| !made.contains(name)), "{plan}");

    config["linux"]["devices"] = json!([{"path": "/dev/x", "type": "b", "major": -1, "minor": 0}]);
    let error = compile_with(&config, &facts(), &Options::default(), None).unwrap_err();
    assert_eq!(error.pointer(), Some("/linux/devices/0/major"));
}

#[test]
fn hooks_and_network_devices_wait_for_the_library() {
    let mut config = default_config();
    config["linux"]["netDevices"] = json!({"eth7": {}});
    config["hooks"] = json!({"createContainer": [{"path": "/bin/true"}],
        "startContainer": [{"path": "/bin/true"}]});
    let plan = compile(&config);
    let order = [
        "loopback-up",
        "clone",
        "wait-for-runtime point=namespaces",
        "make-symlink",
        "point=hooks",
        "mask-path",
        "pivot-root",
        "await-start",
    ];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    assert!(lines(&plan, "await-start").remove(0).contains("hooks"));
}

/// What is covered in a procfs or sysfs is looked for in that mount, wherever it is.
#[test]
fn covered_paths_go_by_their_mount() {
    let mut config = small_config();
    config["mounts"] = json!([
        {"type": "proc", "destination": "/proc"},
        {"type": "proc", "destination": "/a/proc"},
        {"type": "tmpfs", "destination": "/b"},
        {"type": "sysfs", "destination": "/sys"},
    ]);
    config["linux"]["maskedPaths"] =
        json!(["/proc/keys", "/a//proc/./keys", "/b/x", "/proc", "/procfs/x"]);
    config["linux"]["readonlyPaths"] = json!(["/proc/sys"]);
    let plan = compile(&config);
    assert_eq!(
        lines(&plan, "mask-path"),
        [
            "mask-path path=/keys within=fd80  # /linux/maskedPaths/0",
            "mask-path path=/keys within=fd81  # /linux/maskedPaths/1",
            "mask-path path=/b/x  # /linux/maskedPaths/2",
            "mask-path path=/proc  # /linux/maskedPaths/3",
            "mask-path path=/procfs/x  # /linux/maskedPaths/4",
        ]
    );
    assert_eq!(
        lines(&plan, "readonly-path"),
        ["readonly-path path=/sys within=fd80  # /linux/readonlyPaths/0"]
    );
    // Nothing is kept for nobody.
    assert!(!lines(&plan, "mount-filesystem").remove(3).contains("out="));
}

#[test]
fn kernel_parameters() {
    let mut config = small_config();
    config["linux"]["sysctl"] = json!({"net.ipv4.ip_forward": "1", "kernel/msgmax": "8192"});
    let plan = compile(&config);
    assert_eq!(
        lines(&plan, "sysctl"),
        [
            "sysctl path=sys/kernel/msgmax value=8192  # /linux/sysctl/kernel~1msgmax",
            "sysctl path=sys/net/ipv4/ip_forward value=1  # /linux/sysctl/net.ipv4.ip_forward",
        ]
    );
    assert!(place(&plan, "open-proc") < place(&plan, "sysctl"));
    assert!(!names(&compile(&small_config())).contains(&"open-proc"));
}

#[test]
fn who_joins_a_user_namespace_limits_itself_twice() {
    let process = json!({"user": {"uid": 5, "gid": 6}, "args": ["/bin/true"], "cwd": "/x"});
    let join = NEWUSER | NEWNS | NEWCGROUP;
    let plan = exec(&process, &small_config(), join, &facts());
    let order = [
        "reset-inherited",
        "not-dumpable",
        "join-process pidfd=fd1 flags=CLONE_NEWNS",
        "open-root path=/",
        "limit-capabilities",
        "clone cgroup=fd0",
        "join-process pidfd=fd1 flags=CLONE_NEWUSER",
        "become-root setgroups",
        "join-namespace fd=fd2 flag=CLONE_NEWCGROUP",
        "new-session",
        "user uid=5 gid=6",
    ];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    assert_eq!(lines(&plan, "limit-capabilities").len(), 2);
    assert!(!names(&plan).contains(&"await-start"));

    let plan = exec(&process, &small_config(), join, &rootless());
    let all = place(&plan, "join-process pidfd=fd1 flags=CLONE_NEWUSER|CLONE_NEWNS");
    assert!(all < place(&plan, "clone"), "{plan}");
}

/// Who may be traced in the pid namespace comes there when it has nothing more to lose.
#[test]
fn who_may_be_traced_comes_last() {
    let process: Process = serde_json::from_value(json!({
        "user": {"uid": 5, "gid": 6}, "args": ["/bin/true"], "cwd": "/x", "terminal": true,
        "apparmorProfile": "p",
    }))
    .unwrap();
    let to = ExecOptions { join: NEWPID | NEWNS, chroot: None, hook: None, last: true };
    let filter = Filter { program: &[0; 16], flags: 0, notify: false };
    let options = Options::default();
    let spec = spec(&small_config());
    let plan = compile_exec(&process, &spec, to, &facts(), &options, Some(filter)).unwrap();
    check(&plan);
    let order = [
        "join-process pidfd=fd1 flags=CLONE_NEWNS",
        "clone cgroup=fd0",
        "new-session",
        "open-proc",
        "join-process pidfd=fd1 flags=CLONE_NEWPID",
        "console socket=fd2 rows=0 columns=0 uid=5 later",
        "close-host-descriptors",
        "capabilities effective=none permitted=none inheritable=none ambient=none filter",
        "close-descriptors",
        "seccomp",
        "clone-last drop=sys_admin terminal",
        " execute  #",
    ];
    assert!(order.map(|text| place(&plan, text)).is_sorted(), "{plan}");
    assert!(plan.clones_last(), "{plan}");
    // What is its own stays.
    let mut process = serde_json::to_value(&process).unwrap();
    process["capabilities"] = json!({"permitted": ["CAP_SYS_ADMIN"]});
    let process = serde_json::from_value(process).unwrap();
    let to = ExecOptions { join: NEWPID | NEWNS, chroot: None, hook: None, last: true };
    let plan = compile_exec(&process, &spec, to, &facts(), &options, Some(filter)).unwrap();
    assert!(plan.to_string().contains("clone-last drop=none terminal"), "{plan}");
}

#[test]
fn hooks_and_keepers_of_user_namespaces() {
    let arguments = ["hook".to_owned(), "a".to_owned()];
    let plan = compile_helper("/bin/hook".as_ref(), &arguments, &[], None).unwrap();
    assert_eq!(
        names(&plan),
        [
            "reset-inherited",
            "umask",
            "clone",
            "prepare-execute",
            "find-program",
            "close-descriptors",
            "execute",
        ]
    );
    let plan =
        compile_helper("/bin/hook".as_ref(), &arguments, &[], Some((NEWNS, "/root".as_ref())))
            .unwrap();
    assert_eq!(plan.passed(), [Passed::Process]);
    assert!(place(&plan, "join-process") < place(&plan, "clone"));
    assert!(place(&plan, "clone") < place(&plan, "working-directory path=/root last"));
    assert_eq!(
        compile_userns().unwrap().to_string(),
        "  0 clone flags=CLONE_NEWUSER\n  1 wait-for-runtime point=maps\n"
    );
}
