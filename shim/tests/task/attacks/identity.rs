//! Whom and what a container's processes are: users, capabilities, cgroups.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::harness::{Containerd, Io, Reader, ours, process_spec, skip, text, unified};

const TOP: &str = "/sys/fs/cgroup";

/// Numbers that become a user's by wrapping round, by a sign or by a fraction, and the one that means
/// "leave it as it is" to the kernel.
fn no_ids() -> [Value; 9] {
    [
        json!(4_294_967_296_u64),
        json!(4_294_967_295_u64),
        json!(4_294_968_296_u64),
        json!(18_446_744_073_709_551_615_u64),
        json!(-1),
        json!(-4_294_967_296_i64),
        json!(0.5),
        json!("1000"),
        json!(1e12),
    ]
}

/// CVE-2024-40635, CVE-2026-46680 (containerd): a user's number of more than 32 bits was cut, and became
/// root's; runAsNonRoot had seen another one.
/// Seen to fail: with the check for 4294967295 taken out, which left the process root's; what has more than
/// 32 bits or isn't a whole number is refused by the type, and by runc 1.3.6's as well.
#[test]
fn cve_2024_40635_a_number_that_is_no_user_is_refused() {
    let name = "cve_2024_40635_a_number_that_is_no_user_is_refused";
    let Some(containerd) = Containerd::new(name) else { return };
    let keeper = containerd.bundle("keeper", &["sleep", "1000"]);
    let task = keeper.edit(|config| config["root"]["readonly"] = json!(false)).run();
    let witness = containerd.root().join("tmp/ran");
    let ran = ["sh", "-c", "echo >/tmp/ran"];
    for (number, id) in no_ids().into_iter().enumerate() {
        for member in ["uid", "gid", "additionalGids"] {
            let mut user = json!({ "uid": 1000, "gid": 1000 });
            user[member] = if member == "additionalGids" { json!([id]) } else { id.clone() };
            let bundle = containerd.bundle(&format!("a{number}{member}"), &ran).edit(|config| {
                config["process"]["user"] = user.clone();
                config["root"]["readonly"] = json!(false);
            });
            let shim = bundle.start_shim();
            let refused = bundle.create_in(&shim).err();
            let refused = refused.unwrap_or_else(|| panic!("{user} was taken for a user"));
            assert!(
                !ours() || refused.message.contains(&format!("/process/user/{member}")),
                "{refused}"
            );
            shim.end();

            let mut spec = process_spec(&ran);
            spec["user"] = user.clone();
            let exec = task.exec_spec(&format!("x{number}{member}"), &spec, &Io::default());
            let refused = exec.and_then(|exec| exec.start()).err();
            let refused = refused.unwrap_or_else(|| panic!("{user} was taken for a user"));
            assert!(!ours() || refused.message.contains(&format!("/user/{member}")), "{refused}");
        }
    }
    assert!(!witness.exists(), "one of them ran");
    task.finish();
    task.shim.end();
    assert_eq!(containerd.left(), [""; 0]);
}

/// CVE-2025-47291 (containerd): containers of a pod with a user namespace were not below the pod's
/// cgroup, so that its limits did not hold for them.
/// Seen to fail: with a shim that gave containers with a user namespace a cgroup beside the pod's.
#[test]
fn cve_2025_47291_a_user_namespace_stays_below_the_pods_cgroup() {
    let name = "cve_2025_47291_a_user_namespace_stays_below_the_pods_cgroup";
    let Some(containerd) = Containerd::new(name) else { return };
    let pod = format!("{}-pod", containerd.name());
    // As the kubelet makes it, with a limit for all of the pod.
    let pids = PathBuf::from(TOP).join(if unified() { "" } else { "pids" });
    let limited = pids.join(&pod);
    let limit = fs::create_dir(&limited).and_then(|()| fs::write(limited.join("pids.max"), "9"));
    let (bundle, out, _err) = containerd.bundle("a", &["sh", "-c", "sleep 1000"]).output();
    let task = bundle
        .edit(|config| {
            config["linux"]["cgroupsPath"] = json!(format!("/{pod}/a"));
            let namespaces = config["linux"]["namespaces"].as_array_mut().expect("namespaces");
            namespaces.push(json!({ "type": "user" }));
            let map = json!([{ "containerID": 0, "hostID": 100_000, "size": 65536 }]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        })
        .run();
    let exec = task.run_exec("x", &["sleep", "1000"]);
    for pid in [task.pid, exec.pid] {
        let map = fs::read_to_string(format!("/proc/{pid}/uid_map")).expect("the id map");
        assert!(map.contains("100000"), "{pid} is in no user namespace: {map}");
        let cgroups = fs::read_to_string(format!("/proc/{pid}/cgroup")).expect("its cgroups");
        let mut below = 0;
        for line in cgroups.lines() {
            let mut words = line.splitn(3, ':').skip(1);
            let (names, path) =
                (words.next().unwrap_or_default(), words.next().unwrap_or_default());
            // Somebody else may have mounted one for himself.
            let mounted = names.is_empty() || PathBuf::from(TOP).join(hierarchy(names)).exists();
            assert!(!mounted || path.ends_with(&format!("/{pod}/a")), "{pid}: {cgroups}");
            below += usize::from(mounted);
        }
        assert!(below > 0, "{pid}: {cgroups}");
    }
    match limit {
        Ok(()) => {
            let fifos = ["out", "err"].map(|name| containerd.fifo(name));
            let [_output, errors] = [0, 1].map(|index: usize| Reader::new(&fifos[index]));
            let io = Io { stdout: text(&fifos[0]), stderr: text(&fifos[1]), ..Io::default() };
            let script = "for n in 1 2 3 4 5 6 7 8 9 10; do sleep 1000 & done";
            let exec = task.exec("y", &["sh", "-c", script], &io).expect("exec");
            exec.start().expect("start");
            assert_ne!(exec.wait().expect("wait"), 0, "more processes than the pod may have");
            errors.until("can't fork");
        }
        Err(error) => skip(&format!("{name}, the limit"), &format!("no pids controller: {error}")),
    }
    task.finish();
    drop(out);
    task.shim.end();
    remove_pod(&pod);
    assert_eq!(containerd.left(), [""; 0]);
}

/// The directory of a hierarchy, by its controllers or its name.
fn hierarchy(names: &str) -> &str {
    names.strip_prefix("name=").unwrap_or(names)
}

/// Removes the pod's cgroup, as the kubelet does: from all hierarchies.
fn remove_pod(pod: &str) {
    let top = PathBuf::from(TOP);
    let _ = fs::remove_dir(top.join(pod));
    for hierarchy in fs::read_dir(top).expect(TOP).flatten() {
        let _ = fs::remove_dir(hierarchy.path().join(pod));
    }
}

/// GHSA-c9cp-9c75-9v8c (containerd): processes had inheritable capabilities, which a program with file
/// capabilities turns into permitted ones.
/// Seen to fail: with a plan that made the permitted set inheritable.
#[test]
fn ghsa_c9cp_9c75_9v8c_nothing_is_inheritable() {
    let Some(containerd) = Containerd::new("ghsa_c9cp_9c75_9v8c_nothing_is_inheritable") else {
        return;
    };
    // As containerd writes them: in three sets.
    let names = json!(["CAP_CHOWN", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let sets = json!({ "bounding": names, "effective": names, "permitted": names });
    let script = "cat /proc/self/status; echo that was all; sleep 1000";
    let (bundle, out, _err) = containerd.bundle("a", &["sh", "-c", script]).output();
    let task = bundle.edit(|config| config["process"]["capabilities"] = sets.clone()).run();
    let fifos = ["out", "err"].map(|name| containerd.fifo(name));
    let [of_exec, _errors] = [0, 1].map(|index: usize| Reader::new(&fifos[index]));
    let mut spec = process_spec(&["cat", "/proc/self/status"]);
    spec["capabilities"] = sets;
    let io = Io { stdout: text(&fifos[0]), stderr: text(&fifos[1]), ..Io::default() };
    let exec = task.exec_spec("x", &spec, &io).expect("exec");
    exec.start().expect("start");
    assert_eq!(exec.wait().expect("wait"), 0);
    out.until("that was all");
    for said in [String::from_utf8_lossy(&out.so_far()).into_owned(), of_exec.text()] {
        for expected in ["CapInh:\t0000000000000000", "CapAmb:\t0000000000000000"] {
            assert!(said.contains(expected), "{said}");
        }
        // 1 << 0, 5 and 10.
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert!(said.contains(&format!("{set}:\t0000000000000421")), "{said}");
        }
    }
    task.finish();
}
