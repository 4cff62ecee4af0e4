//! Default devices and links of `/dev`, and `linux.devices`.

use std::fs;

use hoist::ErrorKind;
use serde_json::json;

use crate::case;
use crate::common::assert_error;

#[test]
fn default_devices_and_links() {
    let mut case = case!();
    let out = case.sh("cd /dev; stat -c '%n %F %t,%T %a %u %g' null zero full random urandom tty
        for l in fd stdin stdout stderr ptmx core; do echo $l $(readlink $l); done
        echo x > null && head -c 4 zero | wc -c; echo 2>/dev/null > full || echo full
        head -c 4 urandom | wc -c; ls -A");
    for (name, number) in [
        ("null", "1,3"),
        ("zero", "1,5"),
        ("full", "1,7"),
        ("random", "1,8"),
        ("urandom", "1,9"),
        ("tty", "5,0"),
    ] {
        assert!(
            out.contains(&format!("{name} character special file {number} 666 0 0\n")),
            "{out}"
        );
    }
    for link in [
        "fd /proc/self/fd",
        "stdin /proc/self/fd/0",
        "stdout /proc/self/fd/1",
        "stderr /proc/self/fd/2",
        "ptmx pts/ptmx",
    ] {
        assert!(out.contains(&format!("{link}\n")), "{out}");
    }
    assert!(out.contains("\n4\nfull\n4\n"), "{out}");
}

#[test]
fn devices_are_made() {
    let mut case = case!();
    case.linux()["devices"] = json!([
        {"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229, "fileMode": 0o640,
         "uid": 5, "gid": 6},
        {"path": "/dev/deep/er/loop0", "type": "b", "major": 7, "minor": 0},
        {"path": "/run/pipe", "type": "p", "fileMode": 0o600},
        {"path": "/dev/unbuffered", "type": "u", "major": 1, "minor": 3},
        // A default one with other properties.
        {"path": "/dev/null", "type": "c", "major": 1, "minor": 3, "fileMode": 0o600},
        {"path": "/dev/large", "type": "c", "major": 4095, "minor": 1_048_575},
    ]);
    let out = case.sh("stat -c '%n %F %t,%T %a %u %g' /dev/fuse /dev/deep/er/loop0 /run/pipe \
        /dev/unbuffered /dev/null /dev/large");
    for line in [
        "/dev/fuse character special file a,e5 640 5 6",
        "/dev/deep/er/loop0 block special file 7,0 666 0 0",
        "/run/pipe fifo 0,0 600 0 0",
        "/dev/unbuffered character special file 1,3 666 0 0",
        "/dev/null character special file 1,3 600 0 0",
        "/dev/large character special file fff,fffff 666 0 0",
    ] {
        assert!(out.contains(line), "{line}\n{out}");
    }
}

/// A node that exists "SHOULD NOT" be replaced: the same is taken, another is an error.
#[test]
fn devices_that_exist() {
    let mut case = case!();
    let node = case.rootfs().join("node");
    crate::common::run_host("mknod", &[node.to_str().unwrap(), "c", "1", "3"]);
    case.linux()["devices"] = json!([{"path": "/node", "type": "c", "major": 1, "minor": 3}]);
    assert_eq!(case.sh("stat -c %t,%T /node"), "1,3\n");
    case.linux()["devices"] = json!([{"path": "/node", "type": "c", "major": 1, "minor": 5}]);
    case.script("true");
    assert_error(&case.fails(), ErrorKind::Step, "/linux/devices/0", "EEXIST");
    fs::remove_file(&node).unwrap();
    fs::write(&node, "a file").unwrap();
    assert_eq!(case.fails().pointer(), Some("/linux/devices/0"));
}

/// Neither links nor `..` lead a device out of the root.
#[test]
fn devices_stay_inside_the_root() {
    let mut case = case!();
    let outside = case.host_dir("outside");
    std::os::unix::fs::symlink(&outside, case.rootfs().join("link")).unwrap();
    case.linux()["devices"] = json!([
        {"path": "/../../../up", "type": "c", "major": 1, "minor": 3},
        {"path": "/link/null", "type": "c", "major": 1, "minor": 3},
    ]);
    case.script("stat -c %t,%T /up");
    let _ = case.run();
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
    assert!(!case.dir.join("up").exists());
}

/// A /dev that is the image's own directory gets devices too.
#[test]
fn dev_may_be_the_images() {
    let mut case = case!();
    case.mounts().retain(|mount| !mount["destination"].as_str().unwrap().starts_with("/dev"));
    let out = case.sh("stat -c %t,%T /dev/null; readlink /dev/fd");
    assert_eq!(out, "1,3\n/proc/self/fd\n");
}
