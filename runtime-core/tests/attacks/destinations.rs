//! Mount destinations that are symbolic links of the image: what is mounted or made stays inside of
//! the root.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::attack;
use crate::common::mount_at;

/// CVE-2019-18837 (crun): a mount's destination that is a symbolic link is followed out of the
/// root.
/// Seen to fail: with hoist's RESOLVE_IN_ROOT taken out.
#[test]
fn cve_2019_18837() {
    for target in ["HOST/empty", "../host/empty", "../../../../../../../../HOST/empty"] {
        for (kind, below) in [("bind", ""), ("tmpfs", ""), ("bind", "/new/dir"), ("tmpfs", "/x")] {
            let mut attack = attack!();
            attack.share_canary();
            let host = attack.canary();
            let target = target.replace("HOST", host.to_str().unwrap());
            symlink(&target, attack.rootfs().join("target")).unwrap();
            let volume = attack.host_dir("volume");
            fs::write(volume.join("file"), "").unwrap();
            let destination = format!("/target{below}");
            match kind {
                "bind" => attack.bind(&volume, &destination, &["bind"]),
                kind => attack.mount(kind, "attacked", &destination, &[]),
            }
            attack.script("cat /proc/self/mountinfo");
            match attack.run() {
                // The link leads to a place inside of the root, which was made.
                Ok(output) => {
                    let place = target.replace("../", "").trim_start_matches('/').to_owned();
                    let place = if target.starts_with("../host") {
                        "/host/empty".to_owned()
                    } else {
                        format!("/{place}")
                    };
                    let mount = mount_at(&output.stdout, &format!("{place}{below}"));
                    assert_eq!(mount.kind == "tmpfs", kind == "tmpfs", "{mount:?}");
                }
                Err(refusal) => attack.is_clear(&refusal, "/mounts/"),
            }
            attack.host_is_unchanged();
        }
    }
}

/// CVE-2019-18837's class with files: a bind mount of a file makes its mount point where it is
/// missing, and a link that leads nowhere has it made on the host.
/// Seen to fail: with hoist's RESOLVE_IN_ROOT taken out.
#[test]
fn a_link_to_nowhere() {
    for target in ["HOST/new", "../host/new", "../host/new/deeper", "HOST/empty/../new"] {
        for directory in [true, false] {
            let mut attack = attack!();
            let target = target.replace("HOST", attack.canary().to_str().unwrap());
            symlink(&target, attack.rootfs().join("target")).unwrap();
            let source = match directory {
                true => attack.host_dir("source"),
                false => {
                    fs::write(attack.dir.join("source"), "").unwrap();
                    attack.dir.join("source")
                }
            };
            attack.bind(&source, "/target", &["bind"]);
            if let Err(refusal) = attack.run_script("true") {
                attack.is_clear(&refusal, "/mounts/");
            }
            attack.host_is_unchanged();
        }
    }
}

/// CVE-2025-24965 (crun): a configuration file for krun is written through a symbolic link of the
/// image. hoist runs no virtual machines, and writes no file into a root filesystem.
/// Seen to fail: with hoist writing such a file by its path. No runtime at hand is built with krun.
#[test]
fn cve_2025_24965() {
    let mut attack = attack!();
    let secret = attack.canary().join("secret");
    for name in [".krun_config.json", ".krun_vm.json"] {
        symlink(&secret, attack.rootfs().join(name)).unwrap();
    }
    attack.config["annotations"] = json!({"run.oci.handler": "krun"});
    let outcome = attack.run_script("echo made");
    if attack.on_hoist() {
        assert_eq!(outcome.unwrap().stdout, "made\n");
    }
    attack.host_is_unchanged();
}
