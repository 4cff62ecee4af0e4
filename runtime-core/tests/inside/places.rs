//! What a process is promised to reach: no place of the host's, and of the container's only what
//! isn't masked.

use std::fs;

use serde_json::Value;

use crate::answers::errno;
use crate::common::mountinfo;
use crate::promise::{Promise, Scene, Want};

const MOUNTS: &str = "read /proc/self/mountinfo";
const INTERFACES: &str = "list /sys/class/net";

/// config.md's names of namespaces, and the kernel's.
const NAMESPACES: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn namespace(name: &str) -> String {
    format!("link /proc/self/ns/{name}")
}

/// See [`crate::promise::of_the_host`].
pub(crate) fn of_the_host() -> Vec<String> {
    let mut questions: Vec<String> = NAMESPACES.map(|(_, name)| namespace(name)).into();
    questions.push("read /proc/self/uid_map".to_owned());
    questions.push("link /proc/self/root".to_owned());
    questions.push(INTERFACES.to_owned());
    questions
}

/// What is promised of places.
pub(crate) fn promises(scene: &Scene<'_>) -> Vec<Promise> {
    let mut all = namespaces(scene);
    all.extend(the_root(scene));
    all.extend(mounts(scene));
    all.extend(masks(scene));
    all.extend(cgroups(scene));
    all.extend(processes(scene));
    all.extend(interfaces(scene));
    all.extend(the_parent(scene));
    all
}

/// Each is the host's iff the configuration doesn't name it, and a process that has joined is in
/// the very ones of the first.
fn namespaces(scene: &Scene<'_>) -> Vec<Promise> {
    let mut all = Vec::new();
    for (kind, name) in NAMESPACES {
        let question = namespace(name);
        let host = scene.host.get(&question).to_owned();
        let want = if scene.has_namespace(kind) { Want::Not(host) } else { Want::Is(host) };
        all.push(Promise::new(question.clone(), want));
        if let Some(pid) = scene.joined {
            let first = fs::read_link(format!("/proc/{pid}/ns/{name}")).unwrap();
            all.push(Promise::new(question, Want::Is(first.to_str().unwrap().to_owned())));
        }
    }
    // And its children will be in the same.
    all.push(Promise::new(
        "link /proc/self/ns/pid_for_children",
        Want::Same("link /proc/self/ns/pid"),
    ));
    all.push(Promise::new(
        "link /proc/self/ns/time_for_children",
        Want::Same("link /proc/self/ns/time"),
    ));
    let words =
        |text: &str| -> Vec<String> { text.split_whitespace().map(str::to_owned).collect() };
    let map: Vec<String> = match scene.config["linux"]["uidMappings"].as_array() {
        Some(map) if scene.has_namespace("user") => map
            .iter()
            .flat_map(|m| ["containerID", "hostID", "size"].map(|name| m[name].to_string()))
            .collect(),
        _ => words(scene.host.get("read /proc/self/uid_map")),
    };
    let same = move |answer: &str| {
        if words(answer) == map { Ok(()) } else { Err(format!("{answer:?}, not {map:?}")) }
    };
    all.push(Promise::new("read /proc/self/uid_map", Want::Holds(Box::new(same))));
    all
}

/// Nothing leads above the root: not `..`, no link of /proc's.
fn the_root(scene: &Scene<'_>) -> Vec<Promise> {
    let up = "/..".repeat(20);
    let canary = scene.canary.to_str().unwrap();
    let mut all = vec![
        Promise::new("link /proc/self/root", Want::Is("/".to_owned())),
        Promise::new("stat /..", Want::Same("stat /.")),
        Promise::new("stat /proc/self/root/..", Want::Same("stat /.")),
        Promise::new(format!("stat /proc/self/cwd{up}"), Want::Same("stat /.")),
    ];
    // The container's own first process, or the host's.
    for question in ["stat /proc/1/root/..".to_owned(), format!("stat /proc/1/cwd{up}")] {
        let own = scene.has_namespace("pid");
        all.push(Promise::new(question, if own { Want::Same("stat /.") } else { Want::Refused }));
    }
    let writable = scene.config["root"]["readonly"] != true;
    let want = if writable { "ok" } else { "!30" };
    all.push(Promise::new("make /audit", Want::Is(want.to_owned())));
    let mut from: Vec<String> = [
        "",
        "/proc/self/root",
        "/proc/self/cwd",
        "/proc/self/exe",
        "/proc/1/root",
        "/proc/1/cwd",
        "/proc/thread-self/root",
        "/proc/thread-self/cwd",
        "/dev",
        "/dev/fd",
        "/proc",
        "/sys",
    ]
    .map(str::to_owned)
    .into();
    // What is open, and what was once.
    from.extend((0..20).map(|fd| format!("/proc/self/fd/{fd}")));
    from.extend((0..20).map(|fd| format!("/proc/1/fd/{fd}")));
    all.extend(
        from.iter().map(|from| Promise::new(format!("read {from}{up}{canary}"), Want::Refused)),
    );
    all
}

/// What is mounted is what the configuration says, with the devices; nothing of it is shared with
/// the host.
fn mounts(scene: &Scene<'_>) -> Vec<Promise> {
    const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
    let linux = &scene.config["linux"];
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let texts = |value: &Value| -> Vec<String> {
        list(value).iter().filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut known = vec!["/".to_owned()];
    known.extend(DEVICES.map(|name| format!("/dev/{name}")));
    for mount in list(&scene.config["mounts"]) {
        let destination = mount["destination"].as_str().unwrap().to_owned();
        if mount["type"] == "cgroup" {
            // cgroup v1: one in each hierarchy.
            let found = fs::read_dir("/sys/fs/cgroup").into_iter().flatten().flatten();
            known.extend(found.map(|e| format!("{destination}/{}", e.file_name().display())));
        }
        known.push(destination);
    }
    known.extend(texts(&linux["maskedPaths"]));
    let readonly = texts(&linux["readonlyPaths"]);
    known.extend(readonly.clone());
    let check = move |answer: &str| {
        let table = mountinfo(answer);
        if let Some(mount) = table.iter().find(|mount| !known.contains(&mount.point)) {
            return Err(format!("what is this? {mount:?}"));
        }
        if let Some(mount) = table.iter().find(|mount| !mount.propagation.is_empty()) {
            return Err(format!("it propagates: {mount:?}"));
        }
        if let Some(mount) = table.iter().find(|m| m.root.starts_with("/..")) {
            return Err(format!("its root is above the namespace's: {mount:?}"));
        }
        if table.iter().filter(|mount| mount.point == "/").count() != 1 {
            return Err(format!("one root, not {table:?}"));
        }
        let fixed = |path: &&String| {
            let mount = table.iter().rfind(|mount| mount.point == **path);
            mount.is_some_and(|mount| !mount.has("ro"))
        };
        readonly.iter().find(fixed).map_or(Ok(()), |path| Err(format!("{path} is writable")))
    };
    let mut all = vec![Promise::new(MOUNTS, Want::Holds(Box::new(check)))];
    let mut names: Vec<&str> = DEVICES.into();
    names.extend(["core", "fd", "mqueue", "ptmx", "pts", "shm", "stderr", "stdin", "stdout"]);
    let devices = move |answer: &str| {
        // runc has a link `core`, as the specification does not; nobody needs it.
        let extra: Vec<&str> = answer.lines().filter(|name| !names.contains(name)).collect();
        if extra.iter().all(|name| name.is_empty()) { Ok(()) } else { Err(format!("{extra:?}")) }
    };
    all.push(Promise::new("list /dev", Want::Holds(Box::new(devices))));
    all
}

/// What is masked is empty, and what is read-only can't be written, whatever the process may do.
fn masks(scene: &Scene<'_>) -> Vec<Promise> {
    let paths = |name: &str| {
        let list = scene.config["linux"][name].as_array().into_iter().flatten();
        list.filter_map(Value::as_str).map(str::to_owned).collect::<Vec<_>>()
    };
    let mut all = Vec::new();
    for path in paths("maskedPaths") {
        for verb in ["read", "list"] {
            all.push(Promise::new(format!("{verb} {path}"), Want::Nothing));
        }
        // A masked file is /dev/null, which keeps nothing; a masked directory is read-only.
        let nothing_made = |answer: &str| match errno(answer) {
            Some(_) => Ok(()),
            None => Err("something could be made in it".to_owned()),
        };
        all.push(Promise::new(format!("make {path}/audit"), Want::Holds(Box::new(nothing_made))));
    }
    let readonly = paths("readonlyPaths");
    // Files that root may write, were it not for the mount.
    for file in [
        "/proc/sysrq-trigger",
        "/proc/sys/kernel/core_pattern",
        "/proc/sys/kernel/domainname",
        "/proc/sys/vm/drop_caches",
        "/proc/irq/default_smp_affinity",
    ] {
        if readonly.iter().any(|path| file.starts_with(path.as_str())) {
            all.push(Promise::new(format!("write {file}"), Want::Refused));
        }
    }
    for path in readonly {
        all.push(Promise::new(format!("make {path}/audit"), Want::Refused));
    }
    // Files of sysfs that are root's, on a read-only mount.
    for file in ["/sys/kernel/uevent_helper", "/sys/power/state", "/sys/kernel/mm/ksm/run"] {
        all.push(Promise::new(format!("write {file}"), Want::Refused));
    }
    all
}

/// In a cgroup namespace nothing above its root can be seen, which is where the process is, in each
/// hierarchy: so is who joins, who isn't beside or above it.
fn cgroups(scene: &Scene<'_>) -> Vec<Promise> {
    let path = scene.config["linux"]["cgroupsPath"].as_str().unwrap().to_owned();
    let hidden = scene.has_namespace("cgroup");
    let check = move |answer: &str| {
        let mut lines = answer.lines().filter(|line| !line.is_empty());
        let right = match hidden {
            true => lines.all(|line| line.ends_with(":/")),
            false => lines.any(|line| line.ends_with(&path)),
        };
        if right { Ok(()) } else { Err(format!("{answer:?}, {path}")) }
    };
    vec![Promise::new("read /proc/self/cgroup", Want::Holds(Box::new(check)))]
}

/// In a pid namespace of its own there is the container's first process, and who joins.
fn processes(scene: &Scene<'_>) -> Vec<Promise> {
    if !scene.has_namespace("pid") {
        return Vec::new();
    }
    let wanted = 1 + usize::from(scene.joined.is_some());
    let check = move |answer: &str| {
        let digits = |name: &&str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit());
        let seen: Vec<&str> = answer.lines().filter(digits).collect();
        let right = seen.len() == wanted && seen.first() == Some(&"1");
        if right { Ok(()) } else { Err(format!("{seen:?}")) }
    };
    vec![Promise::new("list /proc", Want::Holds(Box::new(check)))]
}

/// In a network namespace of its own sysfs shows none of the host's interfaces but those that the
/// kernel makes in each.
fn interfaces(scene: &Scene<'_>) -> Vec<Promise> {
    const EVERYWHERE: [&str; 5] = ["lo", "sit0", "tunl0", "ip6tnl0", "bonding_masters"];
    const GRE: [&str; 5] = ["gre0", "gretap0", "erspan0", "ip6gre0", "ip_vti0"];
    if !scene.has_namespace("network") {
        return Vec::new();
    }
    let of_host: Vec<String> = scene.host.get(INTERFACES).lines().map(str::to_owned).collect();
    let check = move |answer: &str| {
        let known = |name: &str| EVERYWHERE.contains(&name) || GRE.contains(&name);
        let foreign = |name: &&str| !known(name) && of_host.iter().any(|other| other == name);
        let seen: Vec<&str> = answer.lines().filter(foreign).collect();
        if seen.is_empty() { Ok(()) } else { Err(format!("{seen:?}")) }
    };
    vec![Promise::new(INTERFACES, Want::Holds(Box::new(check)))]
}

/// Where the pid namespace is the host's, this test can be seen: its parent. Nothing of it can be
/// had.
fn the_parent(scene: &Scene<'_>) -> Vec<Promise> {
    if scene.has_namespace("pid") {
        return Vec::new();
    }
    let pid = std::process::id();
    let mut all = Vec::new();
    for question in [
        format!("write /proc/{pid}/exe"),
        format!("write /proc/{pid}/mem"),
        format!("link /proc/{pid}/exe"),
        format!("link /proc/{pid}/root"),
        format!("link /proc/{pid}/fd/0"),
        format!("read /proc/{pid}/environ"),
        format!("list /proc/{pid}/map_files"),
        // PTRACE_SEIZE, ptrace(2).
        format!("call {} 0x4206 {pid} 0 0", libc::SYS_ptrace),
    ] {
        all.push(Promise::new(question, Want::Refused));
    }
    all
}
