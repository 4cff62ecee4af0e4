//! Terminals: the image's or a volume's `/dev/pts` and `/dev/console` are other files.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::attack;
use crate::neighbour::{Neighbour, rounds};

/// CVE-2025-52565 (runc): `/dev/console` is bound from a path below `/dev/pts`, which the attacker
/// has made a link: any file is made readable and writable, before what is to be masked is.
/// Seen to fail: with hoist binding the terminal by its name below `/dev/pts`.
#[test]
fn cve_2025_52565() {
    // What /dev/pts/0 and /dev/pts/ptmx are in a volume that stands in for devpts.
    for (slave, multiplexer) in [
        ("/proc/version", "/dev/ptmx"),
        ("/secret", "/host/ptmx"),
        ("/proc/uptime", "../ptmx"),
        ("/secret", "/secret"),
        ("/secret", "/real/ptmx"),
        ("/proc/version", "/real/ptmx"),
    ] {
        let mut attack = attack!();
        fs::write(attack.rootfs().join("secret"), "secret\n").unwrap();
        let pts = attack.host_dir("pts");
        for number in 0..4 {
            symlink(slave, pts.join(number.to_string())).unwrap();
        }
        symlink(multiplexer, pts.join("ptmx")).unwrap();
        attack.mounts().retain(|mount| mount["destination"] != "/dev/pts");
        attack.bind(&pts, "/dev/pts", &["bind"]);
        attack.mount("devpts", "devpts", "/real", &["newinstance", "ptmxmode=0666"]);
        attack.linux()["maskedPaths"] = json!(["/secret", "/proc/uptime", "/proc/version"]);
        attack.script("stat -L -c %t:%T /dev/console; cat /secret; echo h > /dev/console");
        match attack.run_with_terminal() {
            // A real terminal: major number 88 to 8f, hexadecimal.
            Ok(text) => assert!(text.starts_with("88:") && !text.contains("secret"), "{text:?}"),
            Err(refusal) => attack.is_clear(&refusal, "/process/terminal"),
        }
        assert_eq!(fs::read_to_string(attack.rootfs().join("secret")).unwrap(), "secret\n");
    }
}

/// CVE-2025-52565's other end: `/dev/console` of the image is a link, so the terminal is bound over
/// another file, or a file is made on the host.
/// Seen to fail: with hoist making it before the root is changed, without RESOLVE_IN_ROOT.
#[test]
fn a_console_that_leads_elsewhere() {
    for target in ["HOST/secret", "HOST/new", "../../host/dev/console", "/proc/version"] {
        let mut attack = attack!();
        // Only devpts is mounted: /dev is the image's.
        attack.mounts().retain(|mount| {
            ["/proc", "/dev/pts"].iter().any(|place| mount["destination"] == *place)
        });
        let target = target.replace("HOST", attack.canary().to_str().unwrap());
        symlink(target, attack.rootfs().join("dev/console")).unwrap();
        attack.script("stat -L -c %t:%T /dev/console");
        match attack.run_with_terminal() {
            Ok(text) => assert!(text.starts_with("88:"), "{text:?}"),
            Err(refusal) => attack.is_clear(&refusal, "/process/terminal"),
        }
        attack.host_is_unchanged();
    }
}

/// CVE-2025-52565 (runc), the race: who shares the volume that `/dev` is in puts another directory in
/// the place of `/dev/pts`, whose `ptmx` is the real one and whose terminals are links.
/// Seen to fail: with hoist binding the terminal by its name below `/dev/pts`.
#[test]
fn cve_2025_52565_race() {
    let mut attack = attack!();
    fs::write(attack.rootfs().join("secret"), "secret\n").unwrap();
    let dev = attack.host_dir("dev");
    fs::create_dir(dev.join("pts")).unwrap();
    fs::create_dir(dev.join("evil")).unwrap();
    fs::write(dev.join("console"), "").unwrap();
    fs::write(dev.join("null"), "").unwrap();
    symlink("pts/ptmx", dev.join("ptmx")).unwrap();
    // By then the real one is called evil.
    symlink("../evil/ptmx", dev.join("evil/ptmx")).unwrap();
    for number in 0..9 {
        symlink("/secret", dev.join("evil").join(number.to_string())).unwrap();
    }
    attack.mounts().retain(|mount| mount["destination"] == "/proc");
    attack.bind(&dev, "/dev", &["bind"]);
    attack.mount("devpts", "devpts", "/dev/pts", &["newinstance", "ptmxmode=0666", "mode=0620"]);
    attack.linux()["maskedPaths"] = json!(["/secret"]);
    attack.script("stat -L -c %t:%T /dev/console");
    let neighbour = Neighbour::swapping(&dev, "pts", "evil");
    rounds(60, || match attack.run_with_terminal() {
        Ok(text) => {
            assert!(text.starts_with("88:"), "{text:?}");
            "made"
        }
        Err(refusal) => {
            attack.is_clear(&refusal, "/");
            "refused"
        }
    });
    neighbour.end();
}
