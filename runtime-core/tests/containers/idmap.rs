//! User namespaces and id-mapped mounts: whose files are seen.

use std::fs;
use std::os::unix::fs::{MetadataExt, chown};

use hoist::ErrorKind;
use serde_json::{Value, json};

use crate::case;
use crate::common::{Case, assert_error, chown_tree, host_mount, status_field};

fn map(container: u32, host: u32, size: u32) -> Value {
    json!({"containerID": container, "hostID": host, "size": size})
}

/// A volume with files of users 0, 1000 and 100000, and another filesystem in it.
fn volume(case: &Case) -> std::path::PathBuf {
    let volume = case.host_dir("volume");
    host_mount(&["-t", "tmpfs", "volume", volume.to_str().unwrap()]);
    fs::create_dir(volume.join("sub")).unwrap();
    host_mount(&["-t", "tmpfs", "sub", volume.join("sub").to_str().unwrap()]);
    for (name, id) in [("zero", 0), ("thousand", 1000), ("high", 100_000)] {
        for dir in [volume.clone(), volume.join("sub")] {
            fs::write(dir.join(name), name).unwrap();
            chown(dir.join(name), Some(id), Some(id + 1)).unwrap();
        }
    }
    fs::set_permissions(&volume, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    volume
}

const OWNERS: &str = "cd /v; stat -c '%n %u %g' zero thousand high sub/zero sub/thousand sub/high";

#[test]
fn a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    case.all_capabilities();
    let out = case.sh("cat /proc/self/uid_map /proc/self/gid_map /proc/self/setgroups; id
        cat /proc/self/status; ls -ln /bin/sh; touch /made; hostname inside; hostname");
    let mut lines = out.lines();
    let fields = |line: &str| line.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(fields(lines.next().unwrap()), ["0", "100000", "65536"]);
    assert_eq!(fields(lines.next().unwrap()), ["0", "100000", "65536"]);
    assert_eq!(lines.next(), Some("allow"));
    assert!(lines.next().unwrap().starts_with("uid=0(root) gid=0"), "{out}");
    assert!(out.ends_with("inside\n"), "{out}");
    assert_ne!(status_field(&out, "CapEff"), "0000000000000000");
    let made = fs::metadata(case.rootfs().join("made")).unwrap();
    assert_eq!((made.uid(), made.gid()), (100_000, 100_000));
}

#[test]
fn several_ranges() {
    let mut case = case!();
    case.namespace("user", None);
    case.linux()["uidMappings"] = json!([map(0, 100_000, 1), map(1000, 200_000, 10)]);
    case.linux()["gidMappings"] = json!([map(0, 100_000, 1), map(50, 300_000, 3)]);
    case.process()["user"] = json!({"uid": 1003, "gid": 51, "additionalGids": [52]});
    chown_tree(&case.rootfs(), 100_000);
    // Group 5 of devpts is not mapped.
    case.mounts().retain(|mount| mount["type"] != "devpts");
    let out = case.sh("touch /tmp/x; id -u; id -g; id -G");
    assert_eq!(out, "1003\n51\n51 52\n");
    let made = fs::metadata(case.rootfs().join("tmp/x")).unwrap();
    assert_eq!((made.uid(), made.gid()), (200_003, 300_001));
}

#[test]
fn unmapped_users_are_an_error() {
    let mut case = case!();
    case.user_namespace();
    case.process()["user"] = json!({"uid": 70_000, "gid": 0});
    let error = case.bundle().unwrap_err();
    assert_error(&error, ErrorKind::InvalidConfig, "/process/user/uid", "70000");
}

/// config.md: uidMappings and gidMappings of a mount.
#[test]
fn mappings_of_a_bind() {
    let mut case = case!();
    let volume = volume(&case);
    case.bind(&volume, "/v", &["rbind"]);
    let mount = case.mounts().last_mut().unwrap();
    // On disk 0 is seen as 5000, 1000 as 6000.
    mount["uidMappings"] = json!([map(0, 5000, 1), map(1000, 6000, 1)]);
    mount["gidMappings"] = json!([map(1, 5001, 1), map(1001, 6001, 1)]);
    let out = case.sh(OWNERS);
    assert!(out.starts_with("zero 5000 5001\nthousand 6000 6001\nhigh 65534 65534\n"), "{out}");
    assert!(out.contains("sub/zero 0 1\nsub/thousand 1000 1001\n"), "{out}");
}

#[test]
fn mappings_reach_what_is_below_with_ridmap() {
    let mut case = case!();
    let volume = volume(&case);
    for (option, below) in [("idmap", "sub/zero 0 1\n"), ("ridmap", "sub/zero 5000 5001\n")] {
        case.bind(&volume, "/v", &["rbind", option]);
        let mount = case.mounts().last_mut().unwrap();
        mount["uidMappings"] = json!([map(0, 5000, 2000)]);
        mount["gidMappings"] = json!([map(0, 5000, 2000)]);
        let out = case.sh(OWNERS);
        assert!(out.starts_with("zero 5000 5001\nthousand 6000 6001\n"), "{out}");
        assert!(out.contains(below), "{option}: {out}");
        case.mounts().pop();
    }
}

/// Without mappings of its own the mount has the container's: its files are the container's own.
#[test]
fn the_containers_own_mapping() {
    let mut case = case!();
    case.user_namespace();
    let volume = volume(&case);
    case.bind(&volume, "/v", &["rbind", "ridmap"]);
    case.bind(&volume, "/plain", &["rbind"]);
    let out = case.sh(&format!("{OWNERS}; stat -c %u /plain/zero /plain/high; echo > /v/new"));
    assert!(out.starts_with("zero 0 1\nthousand 1000 1001\n"), "{out}");
    assert!(out.contains("sub/zero 0 1\nsub/thousand 1000 1001\n"), "{out}");
    assert!(out.ends_with("65534\n0\n"), "{out}");
    assert_eq!(fs::metadata(volume.join("new")).unwrap().uid(), 0);
}

#[test]
fn mappings_of_a_file() {
    let mut case = case!();
    let volume = volume(&case);
    case.bind(&volume.join("thousand"), "/etc/file", &["bind", "idmap"]);
    let mount = case.mounts().last_mut().unwrap();
    mount["uidMappings"] = json!([map(1000, 0, 1)]);
    mount["gidMappings"] = json!([map(1001, 0, 1)]);
    assert_eq!(case.sh("stat -c '%u %g' /etc/file; cat /etc/file"), "0 0\nthousand");
}

#[test]
fn mappings_of_a_tmpfs() {
    let mut case = case!();
    case.mount("tmpfs", "tmpfs", "/t", &["mode=1777"]);
    let mount = case.mounts().last_mut().unwrap();
    mount["uidMappings"] = json!([map(0, 1000, 1)]);
    mount["gidMappings"] = json!([map(0, 1000, 1)]);
    assert_eq!(case.sh("stat -c '%u %g %a' /t"), "1000 1000 1777\n");
}

/// What earlier mounts have put into the root is mapped too: by the library, because init has no
/// privileges over the filesystem in its user namespace. Recursively only if that is asked for.
#[test]
fn a_source_inside_the_root_is_mapped_in_a_user_namespace() {
    let nobody = "65534 65534";
    for (options, below) in [(&["rbind"][..], nobody), (&["rbind", "ridmap"], "5 7")] {
        let mut case = case!();
        case.user_namespace();
        let volume = volume(&case);
        let inside = case.rootfs().join("mnt");
        case.bind(&volume, "/mnt", &["rbind"]);
        case.bind(&inside, "/v", options);
        let mount = case.mounts().last_mut().unwrap();
        mount["uidMappings"] = json!([map(0, 100_005, 65_536)]);
        mount["gidMappings"] = json!([map(0, 100_006, 65_536)]);
        let out = case.sh("stat -c '%u %g' /v/zero /v/sub/zero /mnt/zero");
        assert_eq!(out.lines().collect::<Vec<_>>(), ["5 7", below, nobody], "{options:?}");
    }
}

/// A filesystem that can't be id-mapped is an error that names the mount.
#[test]
fn what_cannot_be_mapped_inside_the_root() {
    let mut case = case!();
    case.user_namespace();
    let inside = case.rootfs().join("proc");
    case.bind(&inside, "/v", &["rbind", "idmap"]);
    let pointer = format!("/mounts/{}", case.mounts().len() - 1);
    let error = case.fails();
    let words = "unable to start container process: error during container init: error mounting \
                 \"/proc\": mount_setattr: map the ids of a mount";
    assert_error(&error, ErrorKind::Step, &pointer, words);
    assert!(error.to_string().contains("map-ids"), "{error}");
}

#[test]
fn a_mapping_without_a_user_namespace_is_an_error() {
    let mut case = case!();
    let volume = volume(&case);
    case.bind(&volume, "/v", &["bind", "idmap"]);
    let index = case.mounts().len() - 1;
    let error = case.bundle().unwrap_err();
    assert_error(&error, ErrorKind::InvalidConfig, &format!("/mounts/{index}"), "id-mapped");
}

/// procfs can't be mapped.
#[test]
fn a_mapping_of_procfs_is_an_error() {
    let mut case = case!();
    case.mounts()[0]["uidMappings"] = json!([map(0, 1000, 1)]);
    case.mounts()[0]["gidMappings"] = json!([map(0, 1000, 1)]);
    assert_eq!(case.fails().kind(), ErrorKind::Unsupported);
}

/// A joined user namespace keeps its own maps.
#[test]
fn a_user_namespace_is_joined() {
    let mut case = case!();
    let holder = crate::namespaces::Holder::start(&["--user", "--map-root-user"]);
    let path = holder.path("user");
    case.namespace("user", Some(&path));
    // Nothing but root is mapped there; group 5 of devpts isn't.
    case.mounts().retain(|mount| mount["type"] != "devpts");
    let out = case.sh("cat /proc/self/uid_map; readlink /proc/self/ns/user; id -u");
    assert!(out.contains(&holder.link("user")), "{out}");
    assert!(out.ends_with("\n0\n"), "{out}");
}

/// `idmap` in a joined user namespace means its maps.
#[test]
fn a_joined_user_namespace_is_the_mapping() {
    let mut case = case!();
    let mut first = case!();
    first.user_namespace();
    let first = first.running();
    let path = format!("/proc/{}/ns/user", first.pid().unwrap().unwrap());
    case.namespace("user", Some(path.as_ref()));
    chown_tree(&case.rootfs(), 100_000);
    let volume = volume(&case);
    case.bind(&volume, "/v", &["bind", "idmap"]);
    let out = case.sh("stat -c '%n %u %g' /v/zero /v/thousand");
    assert_eq!(out, "/v/zero 0 1\n/v/thousand 1000 1001\n");
    crate::common::end(first);
}

/// Devices can't be made in a user namespace: they are the host's.
#[test]
fn devices_are_bound_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    case.linux()["devices"] =
        json!([{"path": "/dev/fuse", "type": "c", "major": 10, "minor": 229}]);
    if !std::path::Path::new("/dev/fuse").exists() {
        crate::skip!("the host has no /dev/fuse");
    }
    let out = case.sh("stat -c '%n %t,%T %a' /dev/null /dev/zero /dev/full /dev/random \
        /dev/urandom /dev/tty /dev/fuse; echo x > /dev/null; head -c 3 /dev/zero | wc -c
        cat /proc/self/mountinfo");
    for (name, number) in [
        ("null", "1,3"),
        ("zero", "1,5"),
        ("full", "1,7"),
        ("random", "1,8"),
        ("urandom", "1,9"),
        ("tty", "5,0"),
        ("fuse", "a,e5"),
    ] {
        assert!(out.contains(&format!("/dev/{name} {number} ")), "{out}");
        assert_eq!(crate::common::mount_at(&out, &format!("/dev/{name}")).root, format!("/{name}"));
    }
    assert!(out.contains("\n3\n"), "{out}");
}
