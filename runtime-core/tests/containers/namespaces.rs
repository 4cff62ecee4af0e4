//! Namespaces: each of the eight new, absent, and joined by path; hostname, domainname, sysctl,
//! time offsets, network devices.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use hoist::ErrorKind;
use serde_json::json;

use crate::common::{Case, assert_error, run_host};
use crate::{case, skip};

/// A process of the host's in namespaces of its own, made by unshare(1).
pub(crate) struct Holder {
    child: Child,
    pid: u32,
}

impl Holder {
    /// With these options of unshare(1).
    pub(crate) fn start(options: &[&str]) -> Self {
        // It says that it is there, and stays until its standard input ends.
        let mut child = Command::new("unshare")
            .args(options)
            .args(["sh", "-c", "echo; read line"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut byte = [0];
        child.stdout.as_mut().unwrap().read_exact(&mut byte).unwrap();
        let pid = child.id();
        let own = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
        // With --fork (needed for a pid namespace) the holder is the child.
        let pid = own.unwrap_or_default().trim().parse().unwrap_or(pid);
        Self { child, pid }
    }

    pub(crate) fn path(&self, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{kind}", self.pid))
    }

    pub(crate) fn link(&self, kind: &str) -> String {
        fs::read_link(self.path(kind)).unwrap().to_str().unwrap().to_owned()
    }
}

impl Drop for Holder {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// The runtime-spec's names and /proc's.
const KINDS: [(&str, &str); 8] = [
    ("pid", "pid"),
    ("network", "net"),
    ("mount", "mnt"),
    ("ipc", "ipc"),
    ("uts", "uts"),
    ("user", "user"),
    ("cgroup", "cgroup"),
    ("time", "time"),
];

fn own(file: &str) -> String {
    fs::read_link(format!("/proc/self/ns/{file}")).unwrap().to_str().unwrap().to_owned()
}

fn link_script() -> String {
    KINDS.map(|(_, file)| format!("readlink /proc/self/ns/{file}; ")).concat()
}

#[test]
fn all_eight_are_new() {
    let mut case = case!();
    case.user_namespace();
    case.namespace("time", None);
    let out = case.sh(&link_script());
    for (line, (kind, file)) in out.lines().zip(KINDS) {
        assert!(line.starts_with(&format!("{file}:[")), "{out}");
        assert_ne!(line, own(file), "{kind}");
    }
    assert_eq!(out.lines().count(), 8, "{out}");
}

#[test]
fn what_is_not_listed_is_shared() {
    for (kind, file) in KINDS {
        if matches!(kind, "user" | "time" | "mount") {
            continue; // not in the default; mount has a test of its own
        }
        let mut case = case!();
        case.without_namespace(kind);
        if kind == "uts" {
            case.config.as_object_mut().unwrap().remove("hostname");
        }
        if kind == "network" {
            // sysfs shows the network namespace's devices: it belongs to who owns that.
            case.mounts().retain(|m| m["type"] != "sysfs");
        }
        let out = case.sh(&link_script());
        for (line, (other, other_file)) in out.lines().zip(KINDS) {
            let shared = other == kind || matches!(other, "user" | "time");
            assert_eq!(line == own(other_file), shared, "without {kind}: {other}");
        }
        let _ = file;
    }
}

#[test]
fn each_is_joined_by_path() {
    for (kind, file) in KINDS {
        if matches!(kind, "mount" | "user") {
            continue; // tests of their own
        }
        let mut case = case!();
        let option = format!("--{}", if kind == "network" { "net" } else { kind });
        let mut options = vec![option.as_str()];
        if matches!(kind, "pid" | "time") {
            options.push("--fork");
        }
        let holder = Holder::start(&options);
        let path = holder.path(file);
        case.namespace(kind, Some(&path));
        if kind == "uts" {
            case.config.as_object_mut().unwrap().remove("hostname");
        }
        let script = format!("readlink /proc/self/ns/{file}");
        if kind == "pid" {
            // A procfs of that pid namespace.
            let out = case.sh(&format!("{script}; echo $$"));
            let (link, pid) = out.split_once('\n').unwrap();
            assert_eq!(link, holder.link(file));
            assert_ne!(pid.trim(), "1");
        } else {
            assert_eq!(case.sh(&script).trim(), holder.link(file), "{kind}");
        }
    }
}

/// A joined mount namespace brings its own root; the bundle's is found in it.
#[test]
fn a_mount_namespace_is_joined() {
    let mut case = case!();
    let holder = Holder::start(&["--mount"]);
    let path = holder.path("mnt");
    case.namespace("mount", Some(&path));
    let script = "readlink /proc/self/ns/mnt; ls -d /bin/sh";
    case.script(script);
    match case.run() {
        Ok(output) => {
            let out = output.success();
            assert_eq!(out.lines().next().unwrap(), holder.link("mnt"));
        }
        Err(error) => panic!("{error}"),
    }
}

/// Several at once, of one holder: as the containers of a pod join their sandbox.
#[test]
fn a_pods_namespaces_are_joined() {
    let mut case = case!();
    let holder = Holder::start(&["--net", "--ipc", "--uts", "--pid", "--fork"]);
    for (kind, file) in [("network", "net"), ("ipc", "ipc"), ("uts", "uts"), ("pid", "pid")] {
        let path = holder.path(file);
        case.namespace(kind, Some(&path));
    }
    case.config["hostname"] = json!("pod-name");
    let out = case.sh("for n in net ipc uts pid; do readlink /proc/self/ns/$n; done; hostname");
    let expected: Vec<_> = ["net", "ipc", "uts", "pid"].map(|n| holder.link(n)).to_vec();
    assert_eq!(out.lines().take(4).collect::<Vec<_>>(), expected);
    assert!(out.ends_with("pod-name\n"), "{out}");
}

/// Without a pid namespace of its own nothing ends the rest with the first process: SIGKILL does,
/// also when that is gone already.
#[test]
fn what_outlives_the_first_process_is_killed() {
    let mut case = case!();
    case.without_namespace("pid");
    let container = case.running();
    let sleep = json!({"args": ["/bin/sleep", "1000"], "cwd": "/", "user": {"uid": 0, "gid": 0}});
    let options = hoist::ExecOptions::new().stdio(hoist::Stdio::null());
    let process = container.exec(&serde_json::from_value(sleep).unwrap(), options).unwrap();
    rustix::process::pidfd_send_signal(container.pidfd().unwrap(), rustix::process::Signal::KILL)
        .unwrap();
    container.wait().unwrap();
    assert_eq!(container.state().unwrap().status, hoist::Status::Stopped);
    container.kill(hoist::Signal::KILL).unwrap();
    process.wait().unwrap();
    // The kernel takes a task off its cgroup's list a moment after its parent was told of its end.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(5);
    let error = loop {
        match container.kill(hoist::Signal::KILL) {
            Err(error) => break error,
            Ok(()) if std::time::Instant::now() < end => std::thread::yield_now(),
            Ok(()) => panic!("there is always somebody to kill"),
        }
    };
    assert_error(&error, ErrorKind::WrongState, "", "container not running");
    container.delete().unwrap();
}

#[test]
fn a_path_that_is_no_such_namespace() {
    let mut case = case!();
    let index = case.linux()["namespaces"].as_array().unwrap().len() - 1;
    let pointer = format!("/linux/namespaces/{index}");
    for (path, name) in [("/proc/self/ns/net", "EINVAL"), ("/proc/self/ns/no-such", "ENOENT")] {
        case.namespace("uts", Some(Path::new(path)));
        case.script("true");
        assert_error(&case.fails(), ErrorKind::Step, &pointer, name);
    }
    case.namespace("uts", Some(Path::new("/etc/passwd")));
    let error = case.fails();
    assert_eq!(error.pointer(), Some(pointer.as_str()), "{error}");
}

#[test]
fn duplicates_are_refused() {
    let mut case = case!();
    let list = case.linux()["namespaces"].as_array_mut().unwrap();
    list.push(json!({"type": "uts"}));
    let pointer = format!("/linux/namespaces/{}", list.len() - 1);
    assert_error(&case.bundle().unwrap_err(), ErrorKind::InvalidConfig, &pointer, "twice");
}

#[test]
fn hostname_and_domainname() {
    let mut case = case!();
    case.config["hostname"] = json!("inner");
    case.config["domainname"] = json!("example.org");
    let before = rustix::system::uname();
    let out = case.sh("hostname; cat /proc/sys/kernel/domainname");
    assert_eq!(out, "inner\nexample.org\n");
    assert_eq!(before.nodename(), rustix::system::uname().nodename());
    case.without_namespace("uts");
    assert_error(&case.bundle().unwrap_err(), ErrorKind::InvalidConfig, "/hostname", "uts");
}

#[test]
fn the_loopback_is_up() {
    let mut case = case!();
    let out = case.sh("ip addr show lo");
    assert!(out.contains("UP") && out.contains("127.0.0.1/8"), "{out}");
}

#[test]
fn sysctls() {
    let mut case = case!();
    case.linux()["sysctl"] = json!({
        "net.ipv4.ip_forward": "1",
        "net/ipv4/ip_default_ttl": "33",
        "kernel.msgmax": "9999",
        "kernel.shm_rmid_forced": "1",
    });
    let out = case.sh("cd /proc/sys; cat net/ipv4/ip_forward net/ipv4/ip_default_ttl \
        kernel/msgmax kernel/shm_rmid_forced");
    assert_eq!(out, "1\n33\n9999\n1\n");
}

#[test]
fn sysctls_that_are_the_hosts() {
    for (name, namespace) in [
        ("kernel.panic", None),
        ("vm.swappiness", None),
        ("net.ipv4.ip_forward", Some("network")),
        ("kernel.msgmax", Some("ipc")),
    ] {
        let mut case = case!();
        if let Some(namespace) = namespace {
            case.without_namespace(namespace);
        }
        case.linux()["sysctl"] = json!({name: "1"});
        let error = case.bundle().unwrap_err();
        assert_error(&error, ErrorKind::InvalidConfig, &format!("/linux/sysctl/{name}"), name);
    }
}

#[test]
fn a_sysctl_that_does_not_exist_is_named() {
    let mut case = case!();
    case.linux()["sysctl"] = json!({"net.ipv4.no_such": "1"});
    case.script("true");
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, "/linux/sysctl/net.ipv4.no_such", "ENOENT");
    case.linux()["sysctl"] = json!({"net.ipv4.ip_default_ttl": "many"});
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, "/linux/sysctl/net.ipv4.ip_default_ttl", "EINVAL");
}

/// In a user namespace, where the container's root may write them too.
#[test]
fn sysctls_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    case.linux()["sysctl"] = json!({"net.ipv4.ip_forward": "1", "user.max_uts_namespaces": "77"});
    let out = case.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/user/max_uts_namespaces");
    assert_eq!(out, "1\n77\n");
}

fn uptime(text: &str) -> f64 {
    text.split_whitespace().next().unwrap().parse().unwrap()
}

#[test]
fn time_offsets() {
    for user in [false, true] {
        let mut case = case!();
        if user {
            case.user_namespace();
        }
        case.namespace("time", None);
        case.linux()["timeOffsets"] = json!({
            "boottime": {"secs": 1_000_000, "nanosecs": 500_000_000},
            "monotonic": {"secs": 2000},
        });
        let before = uptime(&fs::read_to_string("/proc/uptime").unwrap());
        let out = case.sh("cat /proc/uptime /proc/self/timens_offsets");
        let seen = uptime(&out) - before;
        assert!((999_999.0..1_000_060.0).contains(&seen), "{out}");
        let fields: Vec<&str> = out.split_whitespace().skip(2).collect();
        assert_eq!(fields, ["monotonic", "2000", "0", "boottime", "1000000", "500000000"]);
    }
}

/// A device pair with one end to be moved; the names are the test's own.
fn veth(name: &str) -> Option<(String, String)> {
    let pid = std::process::id() % 100_000;
    let (one, two) = (format!("h{name}{pid}"), format!("i{name}{pid}"));
    let made = Command::new("ip")
        .args(["link", "add", &one, "type", "veth", "peer", "name", &two])
        .output();
    made.is_ok_and(|output| output.status.success()).then_some((one, two))
}

/// Removes a network device of the host's, if it is still there.
struct Link(String);

impl Drop for Link {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["link", "del", &self.0]).output();
    }
}

#[test]
fn network_devices_move_in() {
    let mut case = case!();
    let Some((outer, inner)) = veth("a") else { skip!("no veth network devices here") };
    let _link = Link(outer.clone());
    run_host("ip", &["addr", "add", "10.11.12.1/24", "dev", &inner]);
    run_host("ip", &["link", "set", &inner, "mtu", "1400", "up"]);
    case.linux()["netDevices"] = json!({inner.as_str(): {"name": "eth0"}});
    let out = case.sh("ip addr show eth0");
    assert!(out.contains("10.11.12.1/24") && out.contains("mtu 1400"), "{out}");
    assert!(out.contains("UP"), "{out}");
    assert!(!Path::new("/sys/class/net").join(&inner).exists());
}

#[test]
fn network_devices_keep_their_name() {
    let mut case = case!();
    let pid = std::process::id() % 100_000;
    let name = format!("ifb{pid}");
    let made = Command::new("ip").args(["link", "add", &name, "type", "ifb"]).output();
    if !made.is_ok_and(|output| output.status.success()) {
        skip!("no ifb network devices here");
    }
    let _link = Link(name.clone());
    case.linux()["netDevices"] = json!({name.as_str(): {}});
    let out = case.sh("ls /sys/class/net");
    assert!(out.split_whitespace().any(|n| n == name), "{out}");
}

#[test]
fn a_missing_network_device_is_named() {
    let mut case = case!();
    case.linux()["netDevices"] = json!({"no-such0": {"name": "eth0"}});
    case.script("true");
    let error = case.fails();
    assert_eq!(error.pointer(), Some("/linux/netDevices/no-such0"), "{error}");
    assert!(error.to_string().contains("no-such0") && error.to_string().contains("ENODEV"));
}

/// Without a network namespace of its own nothing could be moved.
#[test]
fn network_devices_need_a_namespace() {
    let mut case: Case = case!();
    case.without_namespace("network");
    case.linux()["netDevices"] = json!({"eth0": {}});
    let error = case.bundle().unwrap_err();
    assert_error(&error, ErrorKind::InvalidConfig, "/linux/netDevices", "network namespace");
}
