//! `/proc` and `/sys`: faked by volumes, led astray by symbolic links, and what the runtime writes
//! there redirected.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::json;

use crate::attack;
use crate::attack::Attack;
use crate::common::sh_process;
use crate::neighbour::{Neighbour, rounds};
use crate::subject::Running;

/// CVE-2019-16884 (runc, crun): a volume over `/proc`, or over a part of it, fakes the files that
/// labels of LSMs are written to and read from.
/// Seen to fail: with hoist's rules for what may be mounted at and inside of `/proc` taken out.
#[test]
fn cve_2019_16884() {
    let links = [("x", "/proc"), ("y", "proc/self"), ("z", "/y/attr"), ("w", "../../proc/sys")];
    let whole = ["/proc", "proc", "/./proc/", "/a/../proc"];
    let parts =
        ["/proc/self/attr", "/proc/1", "/proc/sys/kernel", "/x", "/y/attr", "/z", "/w/kernel"];
    for destination in whole.into_iter().chain(parts) {
        for kind in ["bind", "tmpfs"] {
            let mut attack = attack!();
            for (name, target) in links {
                symlink(target, attack.rootfs().join(name)).unwrap();
            }
            if whole.contains(&destination) {
                attack.mounts().retain(|mount| mount["destination"] != "/proc");
            }
            let fake = attack.host_dir("fake/self/attr");
            fs::write(fake.join("exec"), "").unwrap();
            let fake = attack.dir.join("fake");
            match kind {
                "bind" => attack.bind(&fake, destination, &["rbind", "rw"]),
                kind => attack.mount(kind, kind, destination, &[]),
            }
            let outcome = attack.run_script("echo made: $(ls /proc)");
            attack.refused(outcome, "/mounts/");
        }
    }
}

/// An image in which `/proc` or `/sys` is a symbolic link.
fn linked(name: &str, target: &str) -> Result<Attack, String> {
    let mut attack = Attack::new()?;
    let place = attack.rootfs().join(name);
    fs::remove_dir(&place).unwrap();
    symlink(target.replace("HOST", attack.canary().to_str().unwrap()), place).unwrap();
    for dir in ["evil/self/attr", "evil/sys", "vol"] {
        fs::create_dir_all(attack.rootfs().join(dir)).unwrap();
    }
    let volume = attack.host_dir("volume");
    fs::create_dir_all(volume.join("proc")).unwrap();
    attack.mounts().insert(
        0,
        json!({"type": "bind", "source": volume, "destination": "/vol", "options": ["rbind"]}),
    );
    Ok(attack)
}

macro_rules! linked {
    ($name:expr, $target:expr) => {
        match linked($name, $target) {
            Ok(attack) => attack,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

/// CVE-2019-19921 (runc): `/proc` of the image is a symbolic link to a volume that another
/// container shares, so what is masked and labelled is not what the program sees.
/// Seen to fail: with procfs mounted through symbolic links, as other filesystems are.
#[test]
fn cve_2019_19921() {
    for target in ["/vol/proc", "vol/proc", "HOST/proc", "../host/proc"] {
        let mut attack = linked!("proc", target);
        let outcome = attack.run_script("echo made: $(cat /proc/self/mountinfo)");
        attack.refused(outcome, "/mounts/");
    }
}

/// CVE-2023-27561 (runc): the regression of CVE-2019-19921; the link leads to a directory that
/// doesn't exist yet, or through `..` and other links.
/// Seen to fail: with procfs mounted through symbolic links, as other filesystems are.
#[test]
fn cve_2023_27561() {
    for target in ["/missing", "vol/missing/deep", "./proc2/../evil", "/evil/../vol/proc", "proc"] {
        let mut attack = linked!("proc", target);
        symlink("evil", attack.rootfs().join("proc2")).unwrap();
        let outcome = attack.run_script("echo made: $(cat /proc/self/mountinfo)");
        attack.refused(outcome, "/mounts/");
    }
}

/// CVE-2023-28642 (runc): `/proc` or `/sys` is a symbolic link to a directory inside the root, so
/// AppArmor's rules, which go by path, say nothing of it.
/// Seen to fail: with procfs and sysfs mounted through symbolic links, as other filesystems are.
#[test]
fn cve_2023_28642() {
    for name in ["proc", "sys"] {
        for target in ["/evil", "evil", "/tmp", "../evil"] {
            let mut attack = linked!(name, target);
            let outcome = attack.run_script("echo made: $(ls /proc /sys)");
            attack.refused(outcome, "/mounts/");
        }
    }
}

/// CVE-2025-54867 (youki): both are links, to places of the host and to each other.
/// Seen to fail: with procfs and sysfs mounted through symbolic links, as other filesystems are.
#[test]
fn cve_2025_54867() {
    for (proc, sys) in [("sys", "HOST/sys"), ("/sys", "../host/sys"), ("HOST/proc", "/proc/sys")] {
        let mut attack = linked!("proc", proc);
        fs::remove_dir(attack.rootfs().join("sys")).unwrap();
        let target = sys.replace("HOST", attack.canary().to_str().unwrap());
        symlink(target, attack.rootfs().join("sys")).unwrap();
        let outcome = attack.run_script("echo made: $(cat /proc/self/mountinfo)");
        attack.refused(outcome, "/mounts/");
    }
}

/// What covers parts of procfs and sysfs in a container.
fn covers(running: &Running<'_>) -> Vec<String> {
    let mut covers: Vec<String> = running
        .mounts()
        .into_iter()
        .filter(|mount| {
            mount.root == "/null" || mount.root.starts_with("/sys") || mount.kind == "tmpfs"
        })
        .map(|mount| format!("{} {} {}", mount.kind, mount.root, mount.options[0]))
        .collect();
    covers.sort();
    covers
}

/// CVE-2019-19921 (runc), the race: who shares the root filesystem puts a link, and then a
/// directory, in the place of `/proc` while the container is made. What is to be masked there is
/// masked in every container, or there is none.
/// Seen to fail: with hoist as it was, which looked for masked paths by their names from the root.
#[test]
fn cve_2019_19921_race() {
    for link in [true, false] {
        let mut attack = attack!();
        let rootfs = attack.rootfs();
        attack.process()["args"] = json!(["/bin/sleep", "1000"]);
        let running = attack.start().unwrap();
        let expected = covers(&running);
        running.end();
        attack.share_canary();
        match link {
            true => symlink(attack.canary().join("proc"), rootfs.join("evil")).unwrap(),
            false => fs::create_dir_all(rootfs.join("evil")).unwrap(),
        }
        let neighbour = Neighbour::swapping(&rootfs, "proc", "evil");
        rounds(60, || match attack.start() {
            Ok(running) => {
                let found = covers(&running);
                running.end();
                assert_eq!(found, expected);
                "made"
            }
            Err(refusal) => {
                attack.is_clear(&refusal, "/");
                "refused"
            }
        });
        neighbour.end();
    }
}

/// CVE-2025-52881 (runc): what the runtime writes to `/proc` (labels, most of all) is redirected by
/// mounts over the container's `/proc`, into a file of the attacker's or another one of procfs.
/// Seen to fail: with hoist writing labels through the container's `/proc`.
#[test]
fn cve_2025_52881() {
    let mut attack = attack!();
    attack.all_capabilities();
    // Its own procfs is covered by files that say nothing and forget what is written.
    attack.script(
        "mkdir -p /fake/self/attr/apparmor /fake/thread-self/attr/apparmor /fake/1
        for dir in self thread-self; do
            for file in exec apparmor/exec; do echo -n > /fake/$dir/attr/$file; done
            echo -n > /fake/$dir/oom_score_adj
        done
        mount --bind /fake /proc && mount -t tmpfs fake /sys && : > /ready
        while :; do sleep 1000; done",
    );
    let running = attack.start().unwrap();
    crate::cgroups::eventually("the attacker is ready", || attack.rootfs().join("ready").exists());
    let mut process = sh_process("echo joined");
    process["apparmorProfile"] = json!("unconfined");
    process["oomScoreAdj"] = json!(321);
    let outcome = running.exec(process);
    let fake = attack.rootfs().join("fake");
    for name in ["self", "thread-self"] {
        for file in ["attr/exec", "attr/apparmor/exec", "oom_score_adj"] {
            let written = fs::read_to_string(fake.join(name).join(file)).unwrap();
            assert_eq!(written, "", "{name}/{file} was written to");
        }
    }
    // Either it has joined with what was asked for, or there is an error.
    if let Ok(output) = outcome {
        assert_eq!(output.stdout, "joined\n", "{output:?}");
    } else {
        assert!(!attack.on_hoist(), "{outcome:?}");
    }
    running.end();
}

/// CVE-2025-62596 (youki), and CVE-2025-52881's second half: a kernel parameter is written to what
/// the attacker has put in its place, through a volume whose directories are swapped.
/// Seen to fail: with runc 1.1.5, which writes to the attacker's file, and with hoist writing
/// through `/proc` by name.
#[test]
fn cve_2025_62596() {
    let mut attack = attack!();
    attack.share_canary();
    let volume = attack.host_dir("volume");
    for name in ["a", "evil"] {
        fs::create_dir_all(volume.join(name).join("kernel")).unwrap();
        fs::write(volume.join(name).join("kernel/domainname"), "untouched").unwrap();
    }
    fs::remove_dir_all(volume.join("evil")).unwrap();
    symlink("/proc/sys", volume.join("evil")).unwrap();
    attack.bind(&volume, "/vol", &["rbind"]);
    // With the link in place this is mounted over /proc/sys/kernel.
    let fake = attack.host_dir("fake");
    fs::write(fake.join("domainname"), "untouched").unwrap();
    fs::write(fake.join("shm_rmid_forced"), "untouched").unwrap();
    attack.bind(&fake, "/vol/a/kernel", &["bind"]);
    attack.linux()["sysctl"] =
        json!({"kernel.shm_rmid_forced": "1", "kernel.domainname": "attacked"});
    attack.linux()["maskedPaths"] = json!([]);
    attack.linux()["readonlyPaths"] = json!([]);
    attack.script("cat /proc/sys/kernel/shm_rmid_forced /proc/sys/kernel/domainname");
    let neighbour = Neighbour::swapping(&volume, "a", "evil");
    rounds(80, || {
        let outcome = attack.run();
        for name in ["domainname", "shm_rmid_forced"] {
            assert_eq!(fs::read_to_string(fake.join(name)).unwrap(), "untouched");
        }
        match outcome {
            Ok(output) => {
                assert_eq!(output.stdout, "1\nattacked\n", "{output:?}");
                "made"
            }
            Err(refusal) => {
                attack.is_clear(&refusal, "/mounts/");
                "refused"
            }
        }
    });
    neighbour.end();
}
