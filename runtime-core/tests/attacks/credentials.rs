//! Users and capabilities that are more than what was asked for.

use std::fs;

use rustix::fs::{XattrFlags, setxattr};
use serde_json::{Value, json};

use crate::attack;
use crate::attack::Attack;
use crate::common::{sh_process, status_field};

const CAP_NET_RAW: u32 = 1 << 13;

/// A program of the image with a file capability in its inheritable set, capabilities(7): who runs
/// it with that capability inheritable gets it.
fn install_inheriting(attack: &mut Attack) {
    // Which would keep file capabilities from having any effect.
    attack.process()["noNewPrivileges"] = json!(false);
    let program = attack.rootfs().join("bin/busybox-inherits");
    fs::copy(attack.rootfs().join("bin/busybox"), &program).unwrap();
    // struct vfs_cap_data: version 2 with the effective bit; then permitted and inheritable.
    let words = [0x0200_0001, 0, CAP_NET_RAW, 0, 0];
    let value: Vec<u8> = words.iter().flat_map(|word: &u32| word.to_le_bytes()).collect();
    setxattr(&program, "security.capability", &value, XattrFlags::empty()).unwrap();
}

/// What an ordinary user has, by `/proc/self/status` and through a program that inherits.
const SHOW: &str = "cat /proc/self/status";

fn as_user(arguments: &[&str], capabilities: Option<Value>) -> Value {
    let mut process = sh_process("");
    process["user"] = json!({"uid": 1000, "gid": 1000});
    process["args"] = json!(arguments);
    if let Some(capabilities) = capabilities {
        process["capabilities"] = capabilities;
    }
    process
}

/// Nothing is inheritable or ambient, and nothing is in effect.
#[track_caller]
fn has_nothing(status: &str) {
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(status_field(status, set), "0000000000000000", "{set}:\n{status}");
    }
}

fn net_raw() -> Value {
    let names = json!(["CAP_NET_RAW", "CAP_KILL"]);
    json!({"bounding": names, "effective": names, "permitted": names})
}

/// CVE-2022-29162 (runc): exec left the container's capabilities inheritable, so an ordinary user
/// got them by programs with inheritable file capabilities.
/// Seen to fail: with hoist making permitted capabilities inheritable.
#[test]
fn cve_2022_29162() {
    let mut attack = attack!();
    install_inheriting(&mut attack);
    attack.process()["capabilities"] = net_raw();
    let running = attack.start_sleeping();
    let container = Some(net_raw());
    for capabilities in [None, container] {
        for program in [
            &["/bin/cat", "/proc/self/status"][..],
            &["/bin/busybox-inherits", "cat", "/proc/self/status"],
        ] {
            let output = running.exec(as_user(program, capabilities.clone())).unwrap();
            has_nothing(&output.stdout);
        }
        let mut process = sh_process(SHOW);
        process["capabilities"] = capabilities.unwrap_or(Value::Null);
        let output = running.exec(process).unwrap();
        assert_eq!(status_field(&output.stdout, "CapInh"), "0000000000000000");
    }
    running.end();
}

/// CVE-2022-27650 (crun): `exec --cap` put the capabilities that were asked for into the
/// inheritable set.
/// Seen to fail: with hoist making permitted capabilities inheritable.
#[test]
fn cve_2022_27650() {
    let mut attack = attack!();
    install_inheriting(&mut attack);
    let none = json!([]);
    attack.process()["capabilities"] =
        json!({"bounding": ["CAP_NET_RAW"], "effective": none, "permitted": none});
    let running = attack.start_sleeping();
    for program in [
        &["/bin/cat", "/proc/self/status"][..],
        &["/bin/busybox-inherits", "cat", "/proc/self/status"],
    ] {
        let output = running.exec(as_user(program, Some(net_raw()))).unwrap();
        has_nothing(&output.stdout);
    }
    running.end();
}

/// GHSA-c9cp-9c75-9v8c (containerd): the default configuration made capabilities inheritable.
/// Seen to fail: with hoist making permitted capabilities inheritable.
#[test]
fn ghsa_c9cp_9c75_9v8c() {
    let mut attack = attack!();
    install_inheriting(&mut attack);
    // As the default configuration has them.
    let sets = attack.config["process"]["capabilities"].clone();
    assert_eq!(sets["inheritable"].as_array().map_or(0, Vec::len), 0, "{sets}");
    attack.process()["user"] = json!({"uid": 1000, "gid": 1000});
    for program in [
        json!(["/bin/cat", "/proc/self/status"]),
        json!(["/bin/busybox-inherits", "cat", "/proc/self/status"]),
    ] {
        attack.process()["args"] = program;
        has_nothing(&attack.run().unwrap().stdout);
    }
}

/// CVE-2025-27612 (youki): a process that joins had more capabilities than the container.
/// Seen to fail: with hoist giving all capabilities to who joins without any of its own.
#[test]
fn cve_2025_27612() {
    let sets = ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb"];
    for names in [json!([]), json!(["CAP_KILL"]), json!(["CAP_NET_RAW", "CAP_KILL"])] {
        let mut attack = attack!();
        attack.process()["capabilities"] =
            json!({"bounding": names, "effective": names, "permitted": names});
        let running = attack.start_sleeping();
        let own = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
        let output = running.exec(sh_process(SHOW)).unwrap();
        for set in sets {
            assert_eq!(status_field(&output.stdout, set), status_field(&own, set), "{set}");
        }
        // Another user has none, whatever is in the container's sets.
        let user = running.exec(as_user(&["/bin/cat", "/proc/self/status"], None)).unwrap();
        has_nothing(&user.stdout);
        running.end();
    }
}

/// CVE-2016-3697 (runc): the number of a user was taken for the name of one in the image's
/// `/etc/passwd`, who is root.
/// Seen to fail: with hoist taking a user's number for a name, where it looks for HOME.
#[test]
fn cve_2016_3697() {
    let mut attack = attack!();
    let passwd =
        "1000:x:0:0:evil:/evil:/bin/sh\n65534:x:0:0::/evil:/bin/sh\nroot:x:0:0::/:/bin/sh\n";
    fs::write(attack.rootfs().join("etc/passwd"), passwd).unwrap();
    fs::write(attack.rootfs().join("etc/group"), "1000:x:0:1000,root\n").unwrap();
    attack.process()["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [65534]});
    attack.process()["env"] = json!(["PATH=/bin"]);
    let show = "cat /proc/self/status; echo HOME is $HOME.";
    let check = |text: &str| {
        assert_eq!(status_field(text, "Uid"), "1000\t1000\t1000\t1000");
        assert_eq!(status_field(text, "Gid"), "1000\t1000\t1000\t1000");
        assert_eq!(status_field(text, "Groups"), "65534");
        assert!(!text.contains("evil"), "{text}");
    };
    check(&attack.run_script(show).unwrap().stdout);
    let running = attack.start_sleeping();
    let mut process = sh_process(show);
    process["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [65534]});
    check(&running.exec(process).unwrap().stdout);
    running.end();
}

/// CVE-2021-43784 (runc): a length of 16 bits in the message to init overflowed, so that what the
/// configuration's author wrote in a string was read as settings of namespaces.
/// Seen to fail: with lengths of 16 bits in the plan's wire format.
#[test]
fn cve_2021_43784() {
    let long = |length: usize| "a".repeat(length);
    // Strings and lists that pass 64 KiB: they arrive as they are.
    let mut attack = attack!();
    let mut environment: Vec<String> =
        (0..1200).map(|number| format!("V{number:05}={}", long(60))).collect();
    environment.push("PATH=/bin".to_owned());
    environment.push(format!("LONG={}", long(65_536 + 200)));
    attack.process()["env"] = json!(environment);
    attack.script("env | grep -c '^V'; echo ${#LONG} ${#V00007} ${#0}");
    let argument = long(65_536 + 77);
    attack.process()["args"].as_array_mut().unwrap().push(json!(argument));
    let output = attack.run().unwrap();
    assert_eq!(output.stdout, format!("1200\n{} 60 {}\n", 65_536 + 200, argument.len()));
    let groups: Vec<u32> = (100_000..116_500).collect();
    attack.process()["user"] = json!({"uid": 0, "gid": 0, "additionalGids": groups});
    let output = attack.run_script("cat /proc/self/status").unwrap();
    let seen = status_field(&output.stdout, "Groups").split(' ').map(|group| group.parse());
    assert!(seen.eq(groups.into_iter().map(Ok)), "{output:?}");
    // What can't be is a clear error.
    let path = json!(format!("/{}", long(70_000)));
    for pointer in
        ["/process/cwd", "/mounts/0/destination", "/linux/namespaces/0/path", "/hostname"]
    {
        let mut attack = attack!();
        attack.config["linux"]["namespaces"][0]["path"] = Value::Null;
        *attack.config.pointer_mut(pointer).unwrap() = path.clone();
        let outcome = attack.run_script("echo made");
        attack.refused(outcome, "/");
    }
    // More mappings than the kernel takes (340), by far.
    let mut attack = attack!();
    attack.user_namespace();
    let maps: Vec<Value> =
        (0..5000).map(|n| json!({"containerID": n, "hostID": 100_000 + n, "size": 1})).collect();
    attack.linux()["uidMappings"] = json!(maps);
    attack.linux()["gidMappings"] = json!(maps);
    let outcome = attack.run_script("echo made");
    attack.refused(outcome, "/linux/");
}
