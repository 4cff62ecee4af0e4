//! One broken configuration a rule: the pointer and the kind of its error.

use serde_json::{Value, json};

use super::{load, set, valid, with};
use crate::error::ErrorKind::{self, InvalidConfig, Unsupported};

#[track_caller]
fn refused_as(kind: ErrorKind, changes: &[(&str, Value)], pointer: &str) {
    let error = load(&with(changes)).expect_err(pointer);
    assert_eq!(error.pointer(), Some(pointer), "{error}");
    assert_eq!(error.kind(), kind, "{error}");
}

#[track_caller]
pub(super) fn refused(changes: &[(&str, Value)], pointer: &str) {
    refused_as(InvalidConfig, changes, pointer);
}

#[track_caller]
pub(super) fn accepted(changes: &[(&str, Value)]) {
    let bundle = load(&with(changes)).unwrap();
    assert!(bundle.warnings().is_empty(), "{:?}", bundle.warnings());
}

/// The warnings of a configuration that is accepted.
#[track_caller]
pub(super) fn warned(changes: &[(&str, Value)]) -> Vec<String> {
    load(&with(changes)).unwrap().warnings().to_vec()
}

/// Each value of `good` is taken at `pointer`, none of `bad` is.
#[track_caller]
pub(super) fn values(pointer: &str, good: &[Value], bad: &[Value]) {
    for value in good {
        accepted(&[(pointer, value.clone())]);
    }
    for value in bad {
        refused(&[(pointer, value.clone())], pointer);
    }
}

#[test]
fn the_valid_one_is_valid() {
    accepted(&[]);
}

#[test]
fn version() {
    let good = ["1.0.0", "1.0.0-rc5", "1.0.2-dev", "1.3.0", "1.3.0+dev", "1.9.9", "1.1.0-rc.2"];
    let bad =
        ["", "1", "1.0", "1.0.0.0", "v1.0.0", "1.00.0", "1.0.0-", "1.0.0+", "1.0.0-a..b", "x"];
    values("/ociVersion", &good.map(Value::from), &bad.map(Value::from));
    for version in ["0.1.0", "2.0.0", "10.0.0"] {
        refused_as(Unsupported, &[("/ociVersion", json!(version))], "/ociVersion");
    }
    let mut config = valid();
    config.as_object_mut().unwrap().remove("ociVersion");
    assert_eq!(load(&config).unwrap_err().pointer(), Some("/ociVersion"));
}

#[test]
fn root() {
    refused(&[("/root", Value::Null)], "/root");
    refused(&[("/root", json!({}))], "/root/path");
    refused(&[("/root/path", json!(""))], "/root/path");
    let rootfs =
        |path: &str| load(&with(&[("/root/path", json!(path))])).unwrap().rootfs().to_owned();
    assert_eq!(rootfs("some/where").to_str(), Some("/some/where"));
    assert_eq!(rootfs("/else").to_str(), Some("/else"));
}

#[test]
fn process() {
    refused(&[("/process", Value::Null)], "/process");
    values("/process/cwd", &[json!("/a/../b")], &[json!(""), json!("tmp"), json!("./")]);
    values("/process/args", &[json!(["a", ""])], &[json!([]), Value::Null]);
    refused(&[("/process/env", json!(["A=1", "B"]))], "/process/env/1");
    refused(&[("/process/env", json!(["=1"]))], "/process/env/0");
    accepted(&[("/process/env", json!(["A=", "A=b=c", "A=2"]))]);
    values(
        "/process/oomScoreAdj",
        &[json!(-1000), json!(0), json!(1000)],
        &[json!(-1001), json!(1001), json!(i64::MAX)],
    );
}

#[test]
fn user() {
    for pointer in ["/process/user/uid", "/process/user/gid"] {
        values(
            pointer,
            &[json!(4_294_967_294u32)],
            &[
                json!(u32::MAX),
                json!(-1),
                json!(1u64 << 32),
                json!(u64::MAX),
                json!(1e30),
                json!("0"),
            ],
        );
    }
    refused(
        &[("/process/user/additionalGids", json!([1, 4_294_967_295u32]))],
        "/process/user/additionalGids/1",
    );
    refused(
        &[("/process/user/additionalGids", json!(vec![1; 65_537]))],
        "/process/user/additionalGids",
    );
    values("/process/user/umask", &[json!(0o22), json!(0o777)], &[json!(0o10000), json!(-1)]);
    assert_eq!(warned(&[("/process/user/umask", json!(0o7022))]).len(), 1);
}

#[test]
fn rlimits() {
    let limit =
        |kind: &str, soft: u64, hard: u64| json!({"type": kind, "soft": soft, "hard": hard});
    let pointer = "/process/rlimits";
    accepted(&[(pointer, json!([limit("RLIMIT_NOFILE", 1, u64::MAX), limit("RLIMIT_AS", 0, 0)]))]);
    let twice = json!([limit("RLIMIT_CPU", 1, 1), limit("RLIMIT_CPU", 1, 1)]);
    refused(&[(pointer, twice)], "/process/rlimits/1");
    refused(&[(pointer, json!([limit("RLIMIT_CPU", 2, 1)]))], "/process/rlimits/0/soft");
    refused(&[(pointer, json!([limit("RLIMIT_X", 1, 1)]))], "/process/rlimits/0/type");
}

#[test]
fn console_size_counts_on_a_terminal_only() {
    let huge = json!({"height": 25, "width": 65_536});
    let size = ("/process/consoleSize", huge.clone());
    refused(&[("/process/terminal", json!(true)), size], "/process/consoleSize/width");
    accepted(&[("/process/consoleSize", huge)]);
    accepted(&[("/process/consoleSize", json!("nonsense"))]);
}

#[test]
fn scheduler() {
    let policy = |name: &str, field: &str, value: Value| {
        [("/process/scheduler", json!({"policy": format!("SCHED_{name}"), field: value}))]
    };
    accepted(&policy("OTHER", "nice", json!(-20)));
    accepted(&policy("FIFO", "priority", json!(99)));
    accepted(&policy("IDLE", "nice", json!(40)));
    accepted(&policy(
        "BATCH",
        "flags",
        json!(["SCHED_FLAG_RESET_ON_FORK", "SCHED_FLAG_DL_OVERRUN"]),
    ));
    refused(&policy("OTHER", "nice", json!(20)), "/process/scheduler/nice");
    refused(&policy("BATCH", "nice", json!(-21)), "/process/scheduler/nice");
    refused(&policy("RR", "nice", json!(0)), "/process/scheduler/priority");
    refused(&policy("FIFO", "priority", json!(100)), "/process/scheduler/priority");
    refused(&policy("OTHER", "priority", json!(1)), "/process/scheduler/priority");
    refused(&policy("OTHER", "runtime", json!(1)), "/process/scheduler/runtime");
    refused(&policy("OTHER", "flags", json!(["X"])), "/process/scheduler/flags/0");
    refused(&policy("NICE", "nice", json!(1)), "/process/scheduler/policy");
    refused(&[("/process/scheduler", json!({}))], "/process/scheduler/policy");
    refused_as(Unsupported, &policy("ISO", "nice", json!(1)), "/process/scheduler/policy");
}

#[test]
fn deadline_scheduler() {
    let times = |runtime: u64, deadline: u64, period: u64| {
        [(
            "/process/scheduler",
            json!({
                "policy": "SCHED_DEADLINE", "runtime": runtime, "deadline": deadline, "period": period
            }),
        )]
    };
    accepted(&times(1024, 2048, 4096));
    accepted(&times(1024, 1024, 0));
    refused(&times(1023, 2048, 4096), "/process/scheduler/runtime");
    refused(&times(2048, 1024, 4096), "/process/scheduler/deadline");
    refused(&times(1024, 4096, 2048), "/process/scheduler/period");
    refused(&times(1024, 4096, 1 << 63), "/process/scheduler/period");
}

#[test]
fn io_priority_and_affinity() {
    let priority = |class: &str, level: i64| {
        [(
            "/process/ioPriority",
            json!({"class": format!("IOPRIO_CLASS_{class}"), "priority": level}),
        )]
    };
    accepted(&priority("IDLE", 0));
    accepted(&priority("RT", 7));
    refused(&priority("BE", 8), "/process/ioPriority/priority");
    refused(&priority("BE", -1), "/process/ioPriority/priority");
    refused(&priority("X", 1), "/process/ioPriority/class");
    values(
        "/process/execCPUAffinity/initial",
        &[json!("0-3,7"), json!(""), json!(" 1 ,, 2 ")],
        &[json!("a"), json!("3-1"), json!("0,99999")],
    );
    refused(&[("/process/execCPUAffinity/final", json!("5-4"))], "/process/execCPUAffinity/final");
}

#[test]
fn capabilities_are_warned_about_and_dropped() {
    let config = with(&[(
        "/process/capabilities",
        json!({
            "bounding": ["CAP_KILL", "CAP_FLY"],
            "permitted": ["CAP_KILL"],
            "effective": ["CAP_KILL", "CAP_CHOWN"],
            "inheritable": ["CAP_CHOWN", "CAP_CHOWN"],
            "ambient": ["CAP_KILL", "CAP_CHOWN"],
        }),
    )]);
    let bundle = load(&config).unwrap();
    assert_eq!(bundle.warnings().len(), 4, "{:?}", bundle.warnings());
    assert!(bundle.warnings()[0].contains("\"CAP_FLY\" in bounding"));
    let sets = bundle.spec().process().as_ref().unwrap().capabilities().as_ref().unwrap();
    assert_eq!(sets.bounding().as_ref().unwrap().len(), 1);
    assert_eq!(sets.effective(), sets.permitted());
    assert_eq!(sets.ambient().as_ref().unwrap().len(), 0);
    refused(&[("/process/capabilities/bounding", json!([1]))], "/process/capabilities/bounding/0");
}

#[test]
fn mounts() {
    values(
        "/mounts/0/destination",
        &[json!("/a/../b"), json!("/..a")],
        &[json!(""), Value::Null, json!("/"), json!("."), json!("//a/.."), json!("/../.")],
    );
    assert_eq!(warned(&[("/mounts/0/destination", json!("proc"))]).len(), 1);
    values("/mounts/0/type", &[json!("none")], &[json!(""), json!("bind"), Value::Null]);
    let bind = |changes: &[(&str, Value)]| {
        let mut mount = json!({"destination": "/a", "source": "a", "options": ["bind"]});
        changes.iter().for_each(|(pointer, value)| set(&mut mount, pointer, value.clone()));
        [("/mounts/-", mount)]
    };
    accepted(&bind(&[]));
    accepted(&bind(&[("/options/-", json!("async")), ("/options/-", json!("rslave"))]));
    refused(&bind(&[("/source", json!(""))]), "/mounts/1/source");
    refused(&bind(&[("/source", Value::Null)]), "/mounts/1/source");
    let data = bind(&[("/options", json!(["ro", "rbind", "size=1", "nosuid"]))]);
    refused(&data, "/mounts/1/options/2");
    assert_eq!(warned(&bind(&[("/options/-", json!("sync"))])).len(), 1);
    assert_eq!(warned(&[("/mounts/0/options", json!(["tmpcopyup"]))]).len(), 1);
    accepted(&[("/mounts/-", json!({"destination": "/a", "options": ["remount", "ro"]}))]);
}

#[test]
fn id_mapped_mounts() {
    let mount = |changes: &[(&str, Value)]| {
        let mut mount = json!({"destination": "/a", "source": "/a", "options": ["bind", "idmap"]});
        changes.iter().for_each(|(pointer, value)| set(&mut mount, pointer, value.clone()));
        ("/mounts/-", mount)
    };
    let map = || json!([{"containerID": 0, "hostID": 7, "size": 1}]);
    let (uids, gids) = (("/uidMappings", map()), ("/gidMappings", map()));
    accepted(&[mount(&[uids.clone(), gids.clone()])]);
    accepted(&[mount(&[uids.clone(), gids.clone(), ("/options", json!(["bind"]))])]);
    refused(&[mount(std::slice::from_ref(&uids))], "/mounts/1/gidMappings");
    refused(&[mount(std::slice::from_ref(&gids))], "/mounts/1/uidMappings");
    refused(&[mount(&[])], "/mounts/1");
    let empty = ("/uidMappings/0/size", json!(0));
    refused(&[mount(&[uids, gids, empty])], "/mounts/1/uidMappings/0/size");
    let user = ("/linux/namespaces/-", json!({"type": "user", "path": "/proc/1/ns/user"}));
    accepted(&[user, mount(&[])]);
}

#[test]
fn hooks() {
    for kind in
        ["prestart", "createRuntime", "createContainer", "startContainer", "poststart", "poststop"]
    {
        let pointer = format!("/hooks/{kind}");
        accepted(&[(&pointer, json!([{"path": "/bin/a", "args": ["a"], "timeout": 1}]))]);
        refused(
            &[(&pointer, json!([{"path": "/a"}, {"path": "a"}]))],
            &format!("{pointer}/1/path"),
        );
        refused(&[(&pointer, json!([{}]))], &format!("{pointer}/0/path"));
        for timeout in [0, -1] {
            let hook = json!([{"path": "/a", "timeout": timeout}]);
            refused(&[(&pointer, hook)], &format!("{pointer}/0/timeout"));
        }
    }
}

#[test]
fn annotations() {
    accepted(&[("/annotations", json!({"a": "", "org.opencontainers.x": "y"}))]);
    refused(&[("/annotations", json!({"": "a"}))], "/annotations/");
    refused(&[("/annotations", json!({"a": 1}))], "/annotations/a");
}
