//! `mounts`: filesystems, binds, every option family, propagation.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;

use hoist::{CreateOptions, ErrorKind, Signal, Stdio};
use serde_json::json;

use crate::case;
use crate::common::{
    Case, assert_error, end, exec, host_mount, mount_at, mountinfo, pointer_of, sh_process,
};

#[test]
fn filesystems_of_the_default_configuration() {
    let mut case = case!();
    let out = case.sh("cat /proc/self/mountinfo; echo $$; ls /dev/pts; ls -d /sys/class
        echo x > /dev/shm/x && cat /dev/shm/x; stat -c '%a %n' /dev/shm /dev/pts /dev");
    for (point, kind, options) in [
        ("/proc", "proc", &["rw"][..]),
        ("/dev", "tmpfs", &["nosuid"]),
        ("/dev/pts", "devpts", &["nosuid", "noexec"]),
        ("/dev/shm", "tmpfs", &["nosuid", "noexec", "nodev"]),
        ("/dev/mqueue", "mqueue", &["nosuid", "noexec", "nodev"]),
        ("/sys", "sysfs", &["nosuid", "noexec", "nodev", "ro"]),
    ] {
        let mount = mount_at(&out, point);
        assert_eq!(mount.kind, kind, "{point}");
        assert!(options.iter().all(|o| mount.has(o)), "{mount:?}");
    }
    let pts = mount_at(&out, "/dev/pts").superblock;
    assert!(["gid=5", "mode=620", "ptmxmode=666"].iter().all(|o| pts.iter().any(|p| p == o)));
    // "strictatime" is what is left when there is neither relatime nor noatime.
    let dev = mount_at(&out, "/dev");
    assert!(!dev.has("relatime") && !dev.has("noatime"), "{dev:?}");
    assert!(out.contains("\n1\nptmx\n/sys/class\nx\n1777 /dev/shm\n755 /dev/pts\n755 /dev\n"));
}

#[test]
fn tmpfs_options() {
    let mut case = case!();
    case.all_capabilities();
    case.mount("tmpfs", "scratch", "/a/b/c", &["size=128k,mode=0711", "nr_inodes=99", "uid=7"]);
    let out = case.sh("cat /proc/self/mountinfo; stat -c '%a %u' /a/b/c
        dd if=/dev/zero of=/a/b/c/x bs=1k count=200 2>&1 | grep -o 'No space'");
    let mount = mount_at(&out, "/a/b/c");
    assert_eq!((mount.kind.as_str(), mount.source.as_str()), ("tmpfs", "scratch"));
    for option in ["size=128k", "nr_inodes=99", "mode=711", "uid=7"] {
        assert!(mount.superblock.iter().any(|o| o == option), "{option}: {mount:?}");
    }
    assert!(out.ends_with("711 7\nNo space\n"), "{out}");
}

/// What the kernel says of a filesystem's option is in the error.
#[test]
fn a_bad_filesystem_option_is_named() {
    let mut case = case!();
    case.mount("tmpfs", "tmpfs", "/x", &["no-such-option=1"]);
    let index = case.mounts().len() - 1;
    case.script("true");
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, &format!("/mounts/{index}"), "no-such-option");
    let mut case = case!();
    case.mount("no-such-fs", "none", "/x", &[]);
    case.script("true");
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, &format!("/mounts/{index}"), "ENODEV");
}

#[test]
fn superblock_flags() {
    let mut case = case!();
    case.mount("tmpfs", "tmpfs", "/a", &["sync", "dirsync", "silent"]);
    case.mount("tmpfs", "tmpfs", "/b", &["sync", "async", "lazytime"]);
    case.mount("tmpfs", "tmpfs", "/c", &["iversion", "noexec", "noatime"]);
    case.mount("tmpfs", "tmpfs", "/d", &["lazytime", "nolazytime", "dirsync", "loud"]);
    let out = case.sh("cat /proc/self/mountinfo");
    let has =
        |point: &str, option: &str| mount_at(&out, point).superblock.iter().any(|o| o == option);
    assert!(has("/a", "sync") && has("/a", "dirsync"), "{out}");
    assert!(!has("/b", "sync") && has("/b", "lazytime"), "{out}");
    assert!(!has("/d", "lazytime") && has("/d", "dirsync"), "{out}");
    let mount = mount_at(&out, "/c");
    assert!(mount.has("noexec") && mount.has("noatime") && !mount.has("ro"), "{mount:?}");
}

#[test]
fn binds_of_directories_and_files() {
    let mut case = case!();
    let volume = case.host_dir("volume");
    fs::write(volume.join("file"), "content\n").unwrap();
    case.bind(&volume, "/made/here", &["bind"]);
    case.bind(&volume.join("file"), "/etc/made/file", &["bind", "ro"]);
    // A relative source is relative to the bundle; the type says nothing (config.md).
    case.mount("none", "volume", "/relative", &["rbind"]);
    let out = case.sh("cat /made/here/file /etc/made/file /relative/file
        echo new > /made/here/new; echo no 2>/dev/null > /etc/made/file || echo readonly");
    assert_eq!(out, "content\ncontent\ncontent\nreadonly\n");
    assert_eq!(fs::read_to_string(volume.join("new")).unwrap(), "new\n");
    assert!(fs::metadata(case.rootfs().join("made/here")).unwrap().is_dir());
    assert!(fs::metadata(case.rootfs().join("etc/made/file")).unwrap().is_file());
}

#[test]
fn a_missing_source_is_named() {
    let mut case = case!();
    let missing = case.dir.join("missing");
    case.bind(&missing, "/x", &["bind"]);
    case.script("true");
    let index = case.mounts().len() - 1;
    assert_error(&case.fails(), ErrorKind::Step, &format!("/mounts/{index}"), "ENOENT");
}

/// A host directory with a tmpfs mounted in it.
fn tree(case: &Case, options: &str) -> std::path::PathBuf {
    let top = case.host_dir("tree");
    host_mount(&["-t", "tmpfs", "-o", options, "top", top.to_str().unwrap()]);
    if !options.contains("ro") {
        fs::create_dir(top.join("sub")).unwrap();
        host_mount(&["-t", "tmpfs", "-o", options, "sub", top.join("sub").to_str().unwrap()]);
        fs::write(top.join("sub/inner"), "inner\n").unwrap();
    }
    top
}

#[test]
fn bind_takes_one_mount_and_rbind_the_tree() {
    let mut case = case!();
    let top = tree(&case, "rw");
    case.bind(&top, "/one", &["bind"]);
    case.bind(&top, "/all", &["rbind"]);
    let out = case.sh("ls /one/sub; cat /all/sub/inner; cat /proc/self/mountinfo");
    assert!(out.starts_with("inner\n"), "{out}");
    assert!(mountinfo(&out).iter().all(|m| m.point != "/one/sub"), "{out}");
    assert_eq!(mount_at(&out, "/all/sub").source, "sub");
}

/// Each attribute by its option, on a filesystem and on a bind; what mountinfo calls it.
const ATTRIBUTES: [(&str, &str); 8] = [
    ("ro", "ro"),
    ("nosuid", "nosuid"),
    ("nodev", "nodev"),
    ("noexec", "noexec"),
    ("noatime", "noatime"),
    ("nodiratime", "nodiratime"),
    ("relatime", "relatime"),
    ("nosymfollow", "nosymfollow"),
];

#[test]
fn attributes_are_set() {
    let mut case = case!();
    let volume = case.host_dir("volume");
    for (option, _) in ATTRIBUTES {
        case.mount("tmpfs", "tmpfs", &format!("/fs-{option}"), &[option]);
        case.bind(&volume, &format!("/bind-{option}"), &["bind", option]);
    }
    case.mount("tmpfs", "tmpfs", "/fs-strictatime", &["strictatime"]);
    case.bind(&volume, "/bind-strictatime", &["bind", "strictatime"]);
    let out = case.sh("cat /proc/self/mountinfo");
    for kind in ["fs", "bind"] {
        for (option, shown) in ATTRIBUTES {
            let mount = mount_at(&out, &format!("/{kind}-{option}"));
            assert!(mount.has(shown), "{mount:?}");
            let others = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime"];
            for other in others.iter().filter(|other| **other != option) {
                assert!(!mount.has(other), "{option}: {mount:?}");
            }
        }
        let mount = mount_at(&out, &format!("/{kind}-strictatime"));
        assert!(!mount.has("relatime") && !mount.has("noatime"), "{mount:?}");
    }
}

/// A bind keeps what its source has; or, as with runc, if it names any attribute, it has those
/// that it names alone. The access time stays unless one is asked for.
#[test]
fn attributes_are_kept_or_cleared() {
    let mut case = case!();
    let top = tree(&case, "ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow");
    case.bind(&top, "/kept", &["bind"]);
    let clearing = ["rw", "suid", "dev", "exec", "atime", "diratime", "symfollow"];
    for option in clearing {
        case.bind(&top, &format!("/{option}"), &["bind", option]);
    }
    let out = case.sh("cat /proc/self/mountinfo");
    let all = ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow"];
    let kept = mount_at(&out, "/kept");
    assert!(all.iter().all(|o| kept.has(o)), "{kept:?}");
    for option in clearing {
        let mount = mount_at(&out, &format!("/{option}"));
        for attribute in all {
            let kept = matches!(attribute, "noatime" | "nodiratime");
            assert_eq!(mount.has(attribute), kept, "{option}: {mount:?}");
        }
    }
}

/// In a user namespace what the kernel would lock there stays, mount_namespaces(7). Whoever asks for
/// something else by name is told that it can't be had, as by runc: who may choose the options of a
/// mount may not lift what the host's administrator has restricted.
#[test]
fn attributes_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    let top = tree(&case, "ro,nosuid,noexec,nosymfollow,relatime");
    for (point, options) in [("/kept", "nodev"), ("/named", "ro"), ("/same", "relatime")] {
        case.bind(&top, point, &["bind", options]);
    }
    let out = case.sh("cat /proc/self/mountinfo");
    for (point, nodev) in [("/kept", true), ("/named", false), ("/same", false)] {
        let mount = mount_at(&out, point);
        assert!(["ro", "nosuid", "noexec"].iter().all(|o| mount.has(o)), "{mount:?}");
        assert_eq!(mount.has("nodev"), nodev, "{mount:?}");
        assert!(!mount.has("nosymfollow"), "{mount:?}");
    }
    let plain = case.mounts().len() - 3;
    for option in ["suid", "exec", "rexec", "noatime", "strictatime", "nodiratime"] {
        case.mounts().truncate(plain);
        case.bind(&top, "/lifted", &["bind", option]);
        let error = case.fails();
        let pointer = format!("/mounts/{plain}");
        assert_error(&error, ErrorKind::Step, &pointer, "to rootfs at \"/lifted\": mount_setattr");
        assert_eq!(error.errno(), Some(libc::EPERM), "{option}: {error}");
    }
}

/// What is mounted below isn't for the container to lift either.
#[test]
fn recursive_attributes_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    let top = tree(&case, "rw");
    let below = top.join("sub");
    host_mount(&["-o", "remount,bind,ro,nosuid,noexec", below.to_str().unwrap()]);
    case.bind(&top, "/kept", &["rbind", "rw", "rnodev"]);
    let out = case.sh("cat /proc/self/mountinfo");
    let mount = mount_at(&out, "/kept/sub");
    assert!(["ro", "nosuid", "noexec", "nodev"].iter().all(|o| mount.has(o)), "{mount:?}");
    let plain = case.mounts().len() - 1;
    for option in ["rrw", "rsuid", "rexec", "rnoatime"] {
        case.mounts().truncate(plain);
        case.bind(&top, "/lifted", &["rbind", option]);
        let pointer = format!("/mounts/{plain}/options");
        assert_error(&case.fails(), ErrorKind::Unsupported, &pointer, "can't lift a restriction");
    }
}

/// A filesystem that is itself read-only stays so, and to ask for `rw` is no error: CRI does always.
#[test]
fn a_read_only_filesystem_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    let volume = case.host_dir("volume");
    host_mount(&["-t", "tmpfs", "-o", "ro", "volume", volume.to_str().unwrap()]);
    host_mount(&["-o", "remount,bind,rw", volume.to_str().unwrap()]);
    case.bind(&volume, "/v", &["rbind", "rw"]);
    let out = case.sh("touch /v/x 2>&1; true");
    assert!(out.contains("Read-only file system"), "{out}");

    // A mount that is read-only beside it stays so when the filesystem no longer is.
    host_mount(&["-o", "remount,bind,ro", volume.to_str().unwrap()]);
    let container = case.running();
    host_mount(&["-o", "remount,rw", volume.to_str().unwrap()]);
    let out = exec(&container, sh_process("cat /proc/self/mountinfo")).success();
    assert!(mount_at(&out, "/v").has("ro"), "{out}");
    end(container);

    host_mount(&["-o", "remount,bind,ro", volume.to_str().unwrap()]);
    assert_eq!(
        case.fails().errno(),
        Some(libc::EPERM),
        "a mount that is read-only is another thing"
    );
}

/// A source inside the root is what the mounts before it have put there; a path of the host's is
/// as good a destination as the container's; links of the image lead nowhere but into the image.
#[test]
fn sources_inside_the_root() {
    for user_namespace in [false, true] {
        let mut case = case!();
        if user_namespace {
            case.user_namespace();
        }
        let volume = case.host_dir("volume");
        fs::write(volume.join("file"), "volume\n").unwrap();
        let root = case.rootfs();
        fs::create_dir_all(root.join("secret")).unwrap();
        fs::write(root.join("secret/file"), "image\n").unwrap();
        symlink("/secret", root.join("link")).unwrap();
        case.bind(&volume, root.join("mnt/x").to_str().unwrap(), &["bind"]);
        case.bind(&root.join("mnt"), "/final", &["rbind"]);
        case.bind(&root.join("link"), "/linked", &["bind"]);
        let out = case.sh("cat /mnt/x/file /final/x/file /linked/file");
        assert_eq!(out, "volume\nvolume\nimage\n");
    }
}

#[test]
fn attributes_work() {
    let mut case = case!();
    case.all_capabilities();
    let volume = case.host_dir("volume");
    fs::copy(case.rootfs().join("bin/busybox"), volume.join("true")).unwrap();
    fs::set_permissions(volume.join("true"), fs::Permissions::from_mode(0o755)).unwrap();
    symlink("true", volume.join("link")).unwrap();
    case.bind(&volume, "/noexec", &["bind", "noexec"]);
    case.bind(&volume, "/nosymfollow", &["bind", "nosymfollow"]);
    case.mount("tmpfs", "tmpfs", "/nodev", &["nodev"]);
    case.bind(&volume, "/ro", &["bind", "ro"]);
    let out = case.sh("/noexec/true 2>&1; /nosymfollow/true && echo ran; /nosymfollow/link 2>&1
        mknod /nodev/null c 1 3; cat /nodev/null 2>&1; touch /ro/x 2>&1; rm /ro/true 2>&1; true");
    let expected = ["Permission denied", "ran", "levels of symbolic links", "Permission denied"];
    for (line, word) in out.lines().zip(expected) {
        assert!(line.contains(word), "{out}");
    }
    assert_eq!(out.matches("Read-only file system").count(), 2, "{out}");
}

/// `rro` and its kin reach what is mounted below; `ro` doesn't.
#[test]
fn recursive_attributes() {
    let mut case = case!();
    let top = tree(&case, "rw");
    for (option, _) in ATTRIBUTES {
        case.bind(&top, &format!("/one-{option}"), &["rbind", option]);
        case.bind(&top, &format!("/all-{option}"), &["rbind", &format!("r{option}")]);
    }
    case.bind(&top, "/all-strictatime", &["rbind", "rstrictatime"]);
    case.bind(&top, "/last", &["rbind", "rnoatime", "rstrictatime", "rrelatime"]);
    let out = case.sh("cat /proc/self/mountinfo; touch /all-ro/sub/x 2>&1; touch /one-ro/sub/x");
    for (option, shown) in ATTRIBUTES {
        let [one, all, below_one, below_all] = ["one", "all", "one", "all"].map(|kind| kind);
        let at = |kind: &str, below: &str| mount_at(&out, &format!("/{kind}-{option}{below}"));
        assert!(at(one, "").has(shown) && at(all, "").has(shown), "{option}");
        assert!(at(below_all, "/sub").has(shown), "{option}");
        let expected = option == "relatime"; // what the mount below has anyway
        assert_eq!(at(below_one, "/sub").has(shown), expected, "{option}");
        assert_eq!(at(all, "/sub").has("relatime"), option != "noatime", "{option}");
    }
    for below in ["", "/sub"] {
        let mount = mount_at(&out, &format!("/all-strictatime{below}"));
        assert!(!mount.has("relatime") && !mount.has("noatime"), "{mount:?}");
        let mount = mount_at(&out, &format!("/last{below}"));
        assert!(mount.has("relatime") && !mount.has("noatime"), "{mount:?}");
    }
    assert!(out.ends_with("/all-ro/sub/x: Read-only file system\n"), "{out}");
    assert!(top.join("sub/x").exists());
}

#[test]
fn recursive_attributes_are_cleared() {
    let mut case = case!();
    let top = tree(&case, "rw");
    let set = "remount,bind,ro,nosuid,nodev,noexec,noatime,nodiratime,nosymfollow";
    for point in [top.join("sub"), top.clone()] {
        host_mount(&["-o", set, point.to_str().unwrap()]);
    }
    let clearing =
        ["rrw", "rsuid", "rdev", "rexec", "ratime", "rdiratime", "rsymfollow", "rnostrictatime"];
    for option in clearing {
        case.bind(&top, &format!("/{option}"), &["rbind", option]);
    }
    let out = case.sh("cat /proc/self/mountinfo");
    let all =
        ["ro", "nosuid", "nodev", "noexec", "noatime", "nodiratime", "nosymfollow", "noatime"];
    for (option, gone) in clearing.iter().zip(all) {
        for below in ["", "/sub"] {
            let mount = mount_at(&out, &format!("/{option}{below}"));
            for attribute in all {
                assert_eq!(mount.has(attribute), attribute != gone, "{option}: {mount:?}");
            }
        }
    }
}

#[test]
fn propagation_of_mounts() {
    let mut case = case!();
    let top = tree(&case, "rw");
    host_mount(&["--make-rshared", top.to_str().unwrap()]);
    for option in ["private", "slave", "shared", "unbindable"] {
        case.bind(&top, &format!("/{option}"), &["rbind", option]);
        case.bind(&top, &format!("/r{option}"), &["rbind", &format!("r{option}")]);
        case.mount("tmpfs", "tmpfs", &format!("/fs-{option}"), &[option]);
    }
    case.bind(&top, "/both", &["rbind", "rslave", "rshared"]);
    case.bind(&top, "/default", &["rbind"]);
    let out = case.sh("cat /proc/self/mountinfo");
    let has = |point: &str, kind: &str| {
        mount_at(&out, point).propagation.iter().any(|p| p.split(':').next() == Some(kind))
    };
    // By default what the host mounts later comes in, and nothing goes out.
    for below in ["", "/sub"] {
        assert!(has(&format!("/default{below}"), "master"), "{out}");
        assert!(!has(&format!("/default{below}"), "shared"), "{out}");
        assert_eq!(mount_at(&out, &format!("/rprivate{below}")).propagation, [""; 0], "{out}");
        assert!(has(&format!("/rslave{below}"), "master"), "{out}");
        assert!(has(&format!("/rshared{below}"), "shared"), "{out}");
        assert!(has(&format!("/runbindable{below}"), "unbindable"), "{out}");
        assert!(has(&format!("/both{below}"), "shared"), "{out}");
        assert!(has(&format!("/both{below}"), "master"), "{out}");
    }
    assert_eq!(mount_at(&out, "/private").propagation, [""; 0], "{out}");
    assert!(has("/private/sub", "master"), "{out}");
    assert!(has("/shared", "shared") && !has("/shared/sub", "shared"), "{out}");
    assert!(has("/unbindable", "unbindable") && !has("/unbindable/sub", "unbindable"), "{out}");
    assert!(has("/fs-shared", "shared") && has("/fs-unbindable", "unbindable"), "{out}");
    assert_eq!(mount_at(&out, "/fs-private").propagation, [""; 0], "{out}");
}

/// What the host mounts later is seen in an `rslave` volume of a running container, and not in an
/// `rprivate` one.
#[test]
fn host_mounts_come_into_slaves() {
    let mut case = case!();
    let top = tree(&case, "rw");
    host_mount(&["--make-rshared", top.to_str().unwrap()]);
    fs::create_dir(top.join("later")).unwrap();
    case.bind(&top, "/slave", &["rbind", "rslave"]);
    case.bind(&top, "/private", &["rbind", "rprivate"]);
    let container = case.running();
    host_mount(&["-t", "tmpfs", "later", top.join("later").to_str().unwrap()]);
    let out = exec(&container, sh_process("cat /proc/1/mountinfo")).success();
    assert_eq!(mount_at(&out, "/slave/later").source, "later");
    assert!(mountinfo(&out).iter().all(|m| m.point != "/private/later"), "{out}");
    end(container);
}

/// Kubernetes' `Bidirectional`: with a shared root a volume stays the host's peer.
#[test]
fn container_mounts_reach_the_host() {
    let mut case = case!();
    case.all_capabilities();
    let top = tree(&case, "rw");
    host_mount(&["--make-rshared", top.to_str().unwrap()]);
    fs::create_dir(top.join("later")).unwrap();
    case.linux()["rootfsPropagation"] = json!("shared");
    case.bind(&top, "/shared", &["rbind", "rshared"]);
    case.sh("mount -t tmpfs later /shared/later");
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert_eq!(mount_at(&table, top.join("later").to_str().unwrap()).source, "later");
}

#[test]
fn tmpcopyup() {
    let mut case = case!();
    let dir = case.rootfs().join("data");
    fs::create_dir_all(dir.join("deep/er")).unwrap();
    fs::write(dir.join("deep/er/file"), "text\n").unwrap();
    fs::write(dir.join("large"), vec![b'x'; 100_000]).unwrap();
    fs::set_permissions(dir.join("large"), fs::Permissions::from_mode(0o4750)).unwrap();
    fs::set_permissions(dir.join("deep"), fs::Permissions::from_mode(0o2711)).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o1777)).unwrap();
    symlink("/nowhere/at all", dir.join("link")).unwrap();
    std::os::unix::fs::lchown(dir.join("link"), Some(5), Some(6)).unwrap();
    std::os::unix::fs::chown(dir.join("deep"), Some(7), Some(8)).unwrap();
    fs::set_permissions(dir.join("deep"), fs::Permissions::from_mode(0o2711)).unwrap();
    case.mount("tmpfs", "tmpfs", "/data", &["tmpcopyup", "size=1m"]);
    case.mount("tmpfs", "tmpfs", "/data-ro", &["tmpcopyup", "ro"]);
    fs::create_dir(case.rootfs().join("data-ro")).unwrap();
    fs::write(case.rootfs().join("data-ro/kept"), "kept\n").unwrap();
    let out = case.sh("cd /data; stat -c '%a %u %g %s' large deep . ; stat -c '%u %g' link
        readlink link; cat deep/er/file; echo changed > deep/er/file; cat /data-ro/kept
        touch /data-ro/x 2>/dev/null || echo readonly; cat /proc/self/mountinfo");
    let mut lines = out.lines();
    let next = |lines: &mut std::str::Lines<'_>| lines.next().unwrap().to_owned();
    assert_eq!(next(&mut lines), "4750 0 0 100000", "{out}");
    assert!(next(&mut lines).starts_with("2711 7 8 "), "{out}");
    assert!(next(&mut lines).starts_with("1777 0 0 "), "{out}");
    let rest: Vec<&str> = lines.by_ref().take(5).collect();
    assert_eq!(rest, ["5 6", "/nowhere/at all", "text", "kept", "readonly"]);
    assert_eq!(mount_at(&out, "/data").kind, "tmpfs");
    assert!(mount_at(&out, "/data-ro").has("ro"));
    // The image's own has not changed.
    assert_eq!(fs::read_to_string(dir.join("deep/er/file")).unwrap(), "text\n");
}

#[test]
fn relative_destinations_are_the_roots() {
    let mut case = case!();
    case.mount("tmpfs", "tmpfs", "some/where", &[]);
    case.script("cat /proc/self/mountinfo");
    let output = case.run().unwrap();
    assert!(output.warnings.iter().any(|w| w.contains("some/where")), "{:?}", output.warnings);
    assert_eq!(mount_at(&output.success(), "/some/where").kind, "tmpfs");
}

#[test]
fn superblock_options_on_a_bind_are_an_error() {
    let mut case = case!();
    let volume = case.host_dir("volume");
    case.bind(&volume, "/x", &["bind", "ro", "size=1m"]);
    let index = case.mounts().len() - 1;
    let error = case.bundle().unwrap_err();
    let pointer = format!("/mounts/{index}/options/2");
    assert_error(&error, ErrorKind::InvalidConfig, &pointer, "size=1m");
}

#[test]
fn forty_overlay_layers() {
    let mut case = case!();
    let mut layers = Vec::new();
    for number in 0..40 {
        let layer = case.host_dir(&format!("layers/a-rather-long-name-of-a-layer-{number}"));
        fs::write(layer.join(format!("file-{number}")), "x").unwrap();
        fs::write(layer.join("top"), format!("{number}\n")).unwrap();
        layers.push(layer.to_str().unwrap().to_owned());
    }
    let lower = format!("lowerdir={}", layers.join(":"));
    assert!(lower.len() > 2000);
    let upper = format!("upperdir={}", case.host_dir("upper").display());
    let work = format!("workdir={}", case.host_dir("work").display());
    case.mount("overlay", "overlay", "/merged", &[&lower, &upper, &work]);
    case.mount("overlay", "overlay", "/reading", &["ro", &lower]);
    let out = case.sh("ls /merged | grep -c file-; cat /merged/top /reading/top; rm /merged/top
        echo new > /merged/new; ls /reading | wc -l; touch /reading/x 2>/dev/null || echo ro");
    assert_eq!(out, "40\n0\n0\n41\nro\n");
    assert_eq!(fs::read_to_string(case.dir.join("upper/new")).unwrap(), "new\n");
}

/// Neither symbolic links nor `..` lead a mount out of the root.
#[test]
fn destinations_stay_inside_the_root() {
    let mut case = case!();
    let outside = case.host_dir("outside");
    symlink("/", case.rootfs().join("absolute")).unwrap();
    symlink("../../../../../../..", case.rootfs().join("relative")).unwrap();
    symlink(&outside, case.rootfs().join("host")).unwrap();
    case.mount("tmpfs", "one", "/absolute/one", &[]);
    case.mount("tmpfs", "two", "/relative/two", &[]);
    case.mount("tmpfs", "three", "/../../three", &[]);
    case.mount("tmpfs", "four", "/host/four", &[]);
    let out = case.sh("cat /proc/self/mountinfo");
    for name in ["one", "two", "three"] {
        assert_eq!(mount_at(&out, &format!("/{name}")).source, name);
        assert!(case.rootfs().join(name).is_dir());
    }
    // The link's text is a path inside of the root, where it leads nowhere yet.
    assert_eq!(mount_at(&out, outside.join("four").to_str().unwrap()).source, "four");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

/// A link that leads nowhere, as images have it for /etc/resolv.conf: what it leads to is made.
#[test]
fn destinations_through_dangling_links() {
    let mut case = case!();
    let file = case.dir.join("resolv.conf");
    fs::write(&file, "nameserver\n").unwrap();
    symlink("../run/resolve/stub.conf", case.rootfs().join("etc/resolv.conf")).unwrap();
    symlink("loop", case.rootfs().join("loop")).unwrap();
    symlink("/run/one", case.rootfs().join("first")).unwrap();
    symlink("../first/two", case.rootfs().join("var/second")).unwrap();
    case.bind(&file, "/etc/resolv.conf", &["bind"]);
    case.mount("tmpfs", "tmpfs", "/var/second/three", &[]);
    let out = case.sh("cat /etc/resolv.conf /run/resolve/stub.conf; cat /proc/self/mountinfo");
    assert!(out.starts_with("nameserver\nnameserver\n"), "{out}");
    assert_eq!(mount_at(&out, "/run/one/two/three").kind, "tmpfs");
    let index = case.mounts().len();
    case.mount("tmpfs", "tmpfs", "/loop/x", &[]);
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, &format!("/mounts/{index}"), "ELOOP");
}

#[test]
fn proc_is_not_to_be_faked() {
    let mut case = case!();
    let fake = case.host_dir("fake");
    for (kind, destination, options) in [
        ("tmpfs", "/proc", &[][..]),
        ("tmpfs", "/proc/self/attr", &[]),
        ("bind", "/proc", &["bind"]),
        ("bind", "/proc/sys", &["bind"]),
        ("bind", "/x/../proc/1", &["bind"]),
    ] {
        let before = case.mounts().len();
        case.mount(kind, fake.to_str().unwrap(), destination, options);
        case.script("true");
        let error = case.fails();
        assert!(pointer_of(&error).starts_with(&format!("/mounts/{before}")), "{error}");
        case.mounts().pop();
    }
    // Through a symbolic link.
    symlink("/proc", case.rootfs().join("link")).unwrap();
    case.mount("tmpfs", "tmpfs", "/link/self/attr", &[]);
    case.script("true");
    let index = case.mounts().len() - 1;
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, &format!("/mounts/{index}"), "procfs");
}

#[test]
fn an_image_cannot_move_proc_by_a_link() {
    let mut case = case!();
    fs::remove_dir(case.rootfs().join("proc")).unwrap();
    symlink("/tmp", case.rootfs().join("proc")).unwrap();
    case.script("true");
    let error = case.fails();
    assert_error(&error, ErrorKind::Step, "/mounts/0", "ENOTDIR");
}

/// What lxcfs emulates may be covered.
#[test]
fn files_of_lxcfs() {
    let mut case = case!();
    let file = case.dir.join("meminfo");
    fs::write(&file, "MemTotal: 1 kB\n").unwrap();
    case.bind(&file, "/proc/meminfo", &["bind", "ro"]);
    assert_eq!(case.sh("cat /proc/meminfo"), "MemTotal: 1 kB\n");
}

#[test]
fn dev_may_be_the_hosts() {
    let mut case = case!();
    case.mounts().retain(|m| !m["destination"].as_str().unwrap().starts_with("/dev"));
    case.bind(Path::new("/dev"), "/dev", &["rbind", "rslave"]);
    let before = fs::read_dir("/dev").unwrap().count();
    let out = case.sh("ls /dev | wc -l");
    assert_eq!(out.trim().parse::<usize>().unwrap(), before);
    assert_eq!(fs::read_dir("/dev").unwrap().count(), before);
}

/// A read-only /dev gets its devices before it is closed.
#[test]
fn dev_may_be_readonly() {
    let mut case = case!();
    for mount in case.mounts() {
        if mount["destination"] == "/dev" {
            mount["options"].as_array_mut().unwrap().push(json!("ro"));
        }
    }
    let out = case.sh("echo x > /dev/null && echo null; touch /dev/x 2>&1; ls /dev/pts");
    assert!(out.starts_with("null\n") && out.contains("Read-only file system"), "{out}");
}

/// config.md: "mounts MUST be mounted in the listed order".
#[test]
fn order_is_kept() {
    let mut case = case!();
    case.mount("tmpfs", "lower", "/x", &[]);
    case.mount("tmpfs", "inner", "/x/y", &[]);
    case.mount("tmpfs", "upper", "/x", &[]);
    let out = case.sh("ls /x; cat /proc/self/mountinfo");
    let points: Vec<_> = mountinfo(&out)
        .into_iter()
        .filter(|m| m.point.starts_with("/x"))
        .map(|m| m.source)
        .collect();
    assert_eq!(points, ["lower", "inner", "upper"]);
    assert!(!out.starts_with('y'), "{out}");
}

/// The container's cgroup is mounted where it is asked for.
#[test]
fn a_cgroup_mount() {
    let mut case = case!();
    case.mount("cgroup", "cgroup", "/sys/fs/cgroup", &["ro", "nosuid"]);
    let out = case.sh("cat /proc/self/mountinfo; cat /sys/fs/cgroup/pids/cgroup.procs \
        /sys/fs/cgroup/cgroup.procs 2>/dev/null; true");
    assert!(mount_at(&out, "/sys/fs/cgroup").has("ro"), "{out}");
    assert!(out.contains("\n1\n"), "{out}");
}

/// A neighbour that renames all the time makes openat2(2) say EAGAIN.
#[test]
fn a_renaming_neighbour() {
    let mut case = case!();
    let parent = case.rootfs().join("a");
    fs::create_dir_all(parent.join("b/c")).unwrap();
    for number in 0..20 {
        case.mount("tmpfs", "tmpfs", &format!("/a/b/../b/c/../c/m{number}"), &[]);
    }
    let stop = std::sync::atomic::AtomicBool::new(false);
    let other = case.host_dir("other");
    std::thread::scope(|scope| {
        for thread in 0..2 {
            let (from, to) = (other.join(format!("x{thread}")), other.join(format!("y{thread}")));
            let stop = &stop;
            fs::create_dir(&from).unwrap();
            scope.spawn(move || {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::rename(&from, &to).unwrap();
                    fs::rename(&to, &from).unwrap();
                }
            });
        }
        let mut failed = None;
        for _ in 0..10 {
            case.script("grep -c /a/b/c/m /proc/self/mountinfo");
            match case.run() {
                Ok(output) => assert_eq!(output.success(), "20\n"),
                Err(error) => failed = Some(error),
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
}

/// Mounts that a container leaves behind when it ends are nobody's.
#[test]
fn the_host_sees_no_mount() {
    let mut case = case!();
    case.mount("tmpfs", "tmpfs", "/x", &[]);
    let container = case.running();
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(case.dir.to_str().unwrap()), "{table}");
    container.kill(Signal::KILL).unwrap();
    container.wait().unwrap();
    container.delete().unwrap();
    let _ = (CreateOptions::new(), Stdio::null());
    assert_eq!(fs::metadata(case.rootfs()).unwrap().uid(), 0);
}
