//! `root`, `rootfsPropagation`, masked and read-only paths, pivot_root(2) and without it.

use std::fs;

use hoist::{CreateOptions, ErrorKind};
use serde_json::json;

use crate::case;
use crate::common::{Case, assert_error, mount_at, mountinfo, mounts_below};

#[test]
fn a_readonly_root() {
    let mut case = case!();
    case.config["root"]["readonly"] = json!(true);
    let out = case.sh("touch /x 2>&1; cat /proc/self/mountinfo");
    assert!(out.contains("Read-only file system"), "{out}");
    let (_, table) = out.split_once('\n').unwrap();
    assert!(mount_at(table, "/").has("ro"), "{out}");
    assert!(mount_at(table, "/dev").has("rw"), "{out}");
    assert!(!case.rootfs().join("x").exists());
}

#[test]
fn a_writable_root() {
    let mut case = case!();
    let out = case.sh("echo yes > /x; cat /proc/self/mountinfo");
    assert!(mount_at(&out, "/").has("rw"), "{out}");
    assert_eq!(fs::read_to_string(case.rootfs().join("x")).unwrap(), "yes\n");
}

/// Nothing but what was asked for is mounted: the host's root is gone.
#[test]
fn the_hosts_mounts_are_gone() {
    let mut case = case!();
    let out = case.sh("cat /proc/self/mountinfo");
    for mount in mountinfo(&out) {
        let known = ["/", "/proc", "/dev", "/sys"];
        let known =
            known.iter().any(|k| mount.point == *k || mount.point.starts_with(&format!("{k}/")));
        assert!(known, "{mount:?}");
    }
    assert_eq!(mountinfo(&out).iter().filter(|mount| mount.point == "/").count(), 1, "{out}");
}

#[test]
fn a_missing_root_is_named() {
    let mut case = case!();
    case.config["root"]["path"] = json!("nowhere");
    let error = case.fails();
    assert_eq!(error.pointer(), Some("/root/path"), "{error}");
    assert!(error.to_string().contains("ENOENT"), "{error}");
}

fn propagation_of_root(case: &mut Case, value: Option<&str>) -> Vec<String> {
    if let Some(value) = value {
        case.linux()["rootfsPropagation"] = json!(value);
    }
    mount_at(&case.sh("cat /proc/self/mountinfo"), "/").propagation
}

#[test]
fn rootfs_propagation_default_is_private() {
    let mut case = case!();
    let seen = propagation_of_root(&mut case, None);
    assert!(seen.is_empty(), "{seen:?}");
}

#[test]
fn rootfs_propagation_private() {
    for value in ["private", "rprivate"] {
        let mut case = case!();
        let seen = propagation_of_root(&mut case, Some(value));
        assert!(seen.is_empty(), "{value}: {seen:?}");
    }
}

#[test]
fn rootfs_propagation_shared() {
    for value in ["shared", "rshared"] {
        let mut case = case!();
        let seen = propagation_of_root(&mut case, Some(value));
        assert!(seen.iter().any(|p| p.starts_with("shared:")), "{value}: {seen:?}");
        // What is shared is the container's: the host has got no new mount.
        assert_eq!(mounts_below(&case.dir).len(), 0);
    }
}

#[test]
fn rootfs_propagation_unbindable() {
    for value in ["unbindable", "runbindable"] {
        let mut case = case!();
        let seen = propagation_of_root(&mut case, Some(value));
        assert_eq!(seen, ["unbindable"], "{value}");
    }
}

/// With `slave` what the host mounts in the root filesystem comes into the container, and what
/// the container mounts stays there.
#[test]
fn rootfs_propagation_slave() {
    for value in ["slave", "rslave"] {
        let mut case = case!();
        // A shared mount of the host's, whatever its root has.
        let rootfs = case.rootfs();
        crate::common::host_mount(&["--bind", rootfs.to_str().unwrap(), rootfs.to_str().unwrap()]);
        crate::common::host_mount(&["--make-shared", rootfs.to_str().unwrap()]);
        let seen = propagation_of_root(&mut case, Some(value));
        assert!(seen.iter().any(|p| p.starts_with("master:")), "{value}: {seen:?}");
        assert!(!seen.iter().any(|p| p.starts_with("shared:")), "{value}: {seen:?}");
    }
}

#[test]
fn masked_and_readonly_paths() {
    let mut case = case!();
    fs::create_dir(case.rootfs().join("secret")).unwrap();
    fs::write(case.rootfs().join("secret/inner"), "hidden").unwrap();
    fs::write(case.rootfs().join("file"), "hidden").unwrap();
    fs::create_dir_all(case.rootfs().join("fixed/sub")).unwrap();
    let paths = ["/secret", "/file", "/proc/keys", "/proc/no-such", "/secret/", "/sys/firmware"];
    case.linux()["maskedPaths"] = json!(paths);
    case.linux()["readonlyPaths"] = json!(["/fixed", "/proc/sys", "/no/such", "/fixed"]);
    case.mount("tmpfs", "tmpfs", "/fixed/sub", &[]);
    case.all_capabilities();
    let out = case.sh("ls -A /secret /sys/firmware | grep -v : ; cat /file; stat -c %t,%T /file
        touch /secret/x 2>&1; touch /fixed/x 2>&1; touch /fixed/sub/x 2>&1
        echo x 2>/dev/null > /proc/sys/kernel/domainname || echo ro
        echo TABLE; cat /proc/self/mountinfo");
    let (seen, table) = out.split_once("TABLE\n").unwrap();
    assert!(!seen.contains("hidden") && !seen.contains("inner"), "{seen}");
    assert!(seen.contains("1,3\n"), "{seen}");
    assert_eq!(seen.matches("Read-only file system").count(), 3, "{seen}");
    assert!(seen.ends_with("ro\n"), "{seen}");
    assert_eq!(mount_at(table, "/secret").kind, "tmpfs");
    assert!(mount_at(table, "/secret").has("ro"));
    // What is covered twice is covered once.
    assert_eq!(mountinfo(table).iter().filter(|m| m.point == "/secret").count(), 1);
    assert_eq!(mountinfo(table).iter().filter(|m| m.point == "/fixed").count(), 1);
    assert!(mount_at(table, "/proc/keys").root == "/null", "{table}");
    assert!(mount_at(table, "/proc/sys").has("ro"), "{table}");
}

/// A masked path that is a symbolic link masks what it leads to inside the root.
#[test]
fn masks_stay_inside_the_root() {
    let mut case = case!();
    fs::write(case.rootfs().join("target"), "hidden").unwrap();
    std::os::unix::fs::symlink("../../../target", case.rootfs().join("link")).unwrap();
    case.linux()["maskedPaths"] = json!(["/link"]);
    assert_eq!(case.sh("cat /target /link"), "");
    assert_eq!(fs::read_to_string(case.rootfs().join("target")).unwrap(), "hidden");
}

#[test]
fn without_pivot_root() {
    let mut case = case!();
    case.script("ls /; cat /proc/self/mountinfo");
    let output = case.run_with(CreateOptions::new().no_pivot(true)).unwrap().success();
    assert!(output.starts_with("bin\ndev\netc\n"), "{output}");
    assert!(mount_at(&output, "/").point == "/", "{output}");
}

#[test]
fn without_pivot_root_private_is_refused() {
    let mut case = case!();
    case.linux()["rootfsPropagation"] = json!("private");
    case.script("true");
    let error = case.run_with(CreateOptions::new().no_pivot(true)).unwrap_err();
    assert_error(&error, ErrorKind::InvalidConfig, "/linux/rootfsPropagation", "pivot_root");
    case.assert_nothing_left();
}

/// Without a mount namespace the root is changed with chroot(2), and nothing is mounted.
#[test]
fn without_a_mount_namespace() {
    let mut case = case!();
    case.without_namespace("mount");
    case.mounts().clear();
    case.linux()["maskedPaths"] = json!([]);
    case.linux()["readonlyPaths"] = json!([]);
    fs::create_dir_all(case.rootfs().join("dev")).unwrap();
    let before = mounts_below(std::path::Path::new("/")).len();
    let output = case.sh("ls /");
    assert!(output.starts_with("bin\ndev\n"), "{output}");
    assert_eq!(mounts_below(&case.dir).len(), 0);
    let _ = before;
    // A read-only root is a mount, one of the host's; removing it is left to the caller.
    case.config["root"]["readonly"] = json!(true);
    let output = case.sh("touch /x 2>&1; true");
    assert!(output.contains("Read-only file system"), "{output}");
    let rootfs = case.rootfs();
    assert!(mounts_below(&case.dir).iter().eq([&rootfs]));
    rustix::mount::unmount(&rootfs, rustix::mount::UnmountFlags::DETACH).unwrap();
    fs::write(rootfs.join("x"), "").unwrap();
}
