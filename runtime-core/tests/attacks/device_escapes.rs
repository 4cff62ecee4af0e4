//! Devices: an image's `/dev` that leads elsewhere, a `/dev/null` that is none, and lists that were
//! read the wrong way round.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use serde_json::{Value, json};

use crate::attack;
use crate::attack::Attack;
use crate::common::sh_process;
use crate::subject::Outcome;

/// The image's own `/dev`, which nothing is mounted over, replaced by a link.
fn linked_dev(target: &str) -> Result<Attack, String> {
    let mut attack = Attack::new()?;
    attack.mounts().retain(|mount| mount["type"] == "proc");
    fs::remove_dir(attack.rootfs().join("dev")).unwrap();
    let target = target.replace("HOST", attack.canary().to_str().unwrap());
    symlink(target, attack.rootfs().join("dev")).unwrap();
    Ok(attack)
}

macro_rules! linked_dev {
    ($target:expr) => {
        match linked_dev($target) {
            Ok(attack) => attack,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// Either there is a container with devices of its own, or a clear error.
fn devices_or_error(attack: &Attack, outcome: Outcome) {
    match outcome {
        Ok(output) => assert_eq!(output.stdout, "1:3\n", "{output:?}"),
        Err(refusal) => attack.is_clear(&refusal, ""),
    }
}

const SCRIPT: &str = "stat -L -c %t:%T /dev/null";

/// CVE-2026-41579 (runc): `/dev` of the image is a symbolic link, and `ptmx` and the standard links
/// are removed and made on the host.
/// Seen to fail: with runc 1.1.5, and with hoist's RESOLVE_IN_ROOT taken out.
#[test]
fn cve_2026_41579() {
    for target in ["HOST/dev", "HOST/empty", "../host/dev", "HOST/dev/missing"] {
        let mut attack = linked_dev!(target);
        let outcome = attack.run_script(SCRIPT);
        devices_or_error(&attack, outcome);
        attack.host_is_unchanged();
    }
}

/// CVE-2026-47766 (crun): the same with what is mounted at and below `/dev`, in a user namespace,
/// where devices are bound and not made, and for links inside of `/dev`.
/// Seen to fail: with runc 1.1.5, and with hoist's RESOLVE_IN_ROOT taken out.
#[test]
fn cve_2026_47766() {
    for (user, target) in [(true, "HOST/dev"), (true, "../host/dev"), (false, "HOST/dev")] {
        let mut attack = linked_dev!(target);
        attack.mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666"]);
        attack.mount("tmpfs", "shm", "/dev/shm", &["nosuid"]);
        if user {
            attack.user_namespace();
        }
        let outcome = attack.run_script(SCRIPT);
        devices_or_error(&attack, outcome);
        attack.host_is_unchanged();
    }
    for name in ["null", "ptmx", "pts", "shm", "fd", "stdin", "console", "core"] {
        for user in [true, false] {
            let mut attack = attack!();
            attack.mounts().retain(|mount| mount["type"] == "proc");
            let dev = attack.rootfs().join("dev");
            symlink(attack.canary().join("dev").join(name), dev.join(name)).unwrap();
            if user {
                attack.user_namespace();
            }
            let outcome = attack.run_script(SCRIPT);
            devices_or_error(&attack, outcome);
            attack.host_is_unchanged();
        }
    }
}

/// What an image may have in the place of `/dev/null`.
fn hostile_null(rootfs: &Path, kind: &str) {
    let null = rootfs.join("dev/null");
    match kind {
        "link" => symlink("/proc/version", &null).unwrap(),
        "link to a secret" => symlink("/secret", &null).unwrap(),
        "file" => fs::write(&null, "attacked").unwrap(),
        "directory" => fs::create_dir(&null).unwrap(),
        "fifo" => mknodat(CWD, &null, FileType::Fifo, Mode::from_raw_mode(0o666), 0).unwrap(),
        _ => {
            let mode = Mode::from_raw_mode(0o666);
            mknodat(CWD, &null, FileType::CharacterDevice, mode, makedev(1, 5)).unwrap();
        }
    }
}

/// A container whose image has such a `/dev/null`: masked files are covered by the real one, and
/// nothing of it is seen or written to.
fn masked_by(kind: &str, own_dev: bool, user: bool) -> Result<(), String> {
    let mut attack = Attack::new()?;
    hostile_null(&attack.rootfs(), kind);
    fs::write(attack.rootfs().join("secret"), "secret").unwrap();
    if !own_dev {
        attack.mounts().retain(|mount| mount["type"] == "proc");
    }
    if user {
        attack.user_namespace();
    }
    attack.linux()["maskedPaths"] = json!(["/secret", "/proc/cpuinfo", "/proc/uptime"]);
    let outcome = attack.run_script(
        "for file in /secret /proc/cpuinfo /proc/uptime; do stat -L -c %t:%T $file; done
        cat /secret; echo h > /secret; echo h > /proc/uptime",
    );
    match outcome {
        Ok(output) => assert_eq!(output.stdout, "1:3\n1:3\n1:3\n", "{kind}: {output:?}"),
        Err(refusal) => attack.is_clear(&refusal, ""),
    }
    let null = attack.rootfs().join("dev/null");
    if kind == "file" && !user {
        assert_eq!(fs::read_to_string(&null).unwrap(), "attacked");
    }
    Ok(())
}

/// CVE-2025-31133 (runc): `/dev/null` of the image is another file, which is then bound over what
/// is to be masked: a way to write to it, or no mask at all.
/// Seen to fail: with hoist taking the image's `/dev/null` for the real one.
#[test]
fn cve_2025_31133() {
    for kind in ["link", "link to a secret", "file", "directory", "fifo", "device"] {
        for own_dev in [false, true] {
            if let Err(reason) = masked_by(kind, own_dev, false) {
                crate::skip!("{reason}");
            }
        }
    }
}

/// CVE-2025-62161 (youki): the same, and in a user namespace, where `/dev/null` is bound from the
/// host onto what the image has there.
/// Seen to fail: with hoist taking what the image has there for the device, when it binds and masks.
#[test]
fn cve_2025_62161() {
    for kind in ["link", "link to a secret", "file", "directory", "fifo"] {
        if let Err(reason) = masked_by(kind, false, true) {
            crate::skip!("{reason}");
        }
    }
}

/// GHSA-g54h-m393-cpwq (runc): a list of devices that denies was taken to mean that everything else
/// is allowed.
/// Seen to fail: with hoist's list of devices beginning with everything allowed.
#[test]
fn ghsa_g54h_m393_cpwq() {
    let deny = json!({"allow": false, "access": "rwm"});
    let allow = json!({"allow": true, "type": "c", "major": 10, "minor": 183, "access": "rwm"});
    let partly = json!({"allow": false, "type": "c", "major": 10, "minor": 183, "access": "r"});
    let lists: [(Vec<Value>, &str); 4] = [
        (vec![deny.clone()], "null\n"),
        (vec![deny.clone(), allow.clone()], "allowed c 10 183\nnull\n"),
        (vec![allow.clone(), deny.clone()], "null\n"),
        (vec![deny, allow, partly], "null\n"),
    ];
    // /dev/kmsg, /dev/mem, /dev/loop-control, disks and others that no container has by default. Nodes
    // may be made, as runc has it; what can't be opened for another reason was allowed.
    let script = "for n in 'c 1 11' 'c 1 1' 'c 10 237' 'c 10 183' 'c 10 229' 'b 254 0' 'b 7 0'; do
            rm -f /tmp/node; mknod /tmp/node $n 2>/dev/null || continue
            case $( { true < /tmp/node; } 2>&1) in
            *'not permitted'*) ;;
            *) echo allowed $n ;;
            esac
        done
        true < /dev/null && echo null";
    for (list, expected) in lists {
        let mut attack = attack!();
        attack.all_capabilities();
        attack.linux()["resources"] = json!({"devices": list});
        let output = attack.run_script(script).unwrap();
        assert_eq!(output.stdout, expected, "{list:?}");
        let mut process = sh_process(script);
        process["capabilities"] = attack.config["process"]["capabilities"].clone();
        let running = attack.start_sleeping();
        assert_eq!(running.exec(process).unwrap().stdout, expected, "{list:?}");
        running.end();
    }
}
