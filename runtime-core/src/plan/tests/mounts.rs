//! Mounts: what each entry of `mounts` becomes.

use std::path::PathBuf;

use serde_json::{Value, json};

use super::super::context::{CgroupView, Facts, Options, Placement, V1Hierarchy};
use super::super::{Passed, Plan};
use super::{compile, compile_with, facts, lines, place, small_config};

fn with_mounts(mounts: Value) -> Value {
    let mut config = small_config();
    config["mounts"] = mounts;
    config
}

fn with_user_namespace(mounts: Value) -> Value {
    let mut config = with_mounts(mounts);
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let map = json!([{"containerID": 0, "hostID": 100_000, "size": 65536}]);
    config["linux"]["uidMappings"] = map.clone();
    config["linux"]["gidMappings"] = map;
    config
}

/// The only mount step for one mount.
fn mount(mount: Value) -> String {
    let plan = compile(&with_mounts(json!([mount])));
    let mut lines = lines(&plan, "mount-filesystem");
    lines.extend(self::lines(&plan, "bind-mount"));
    assert_eq!(lines.len(), 1, "{plan}");
    lines.remove(0)
}

fn refused(config: &Value, facts: &Facts<'_>) -> (String, String) {
    let error = compile_with(config, facts, &Options::default(), None).unwrap_err();
    (error.pointer().unwrap_or_default().to_owned(), error.message().to_owned())
}

#[test]
fn bind_sources_are_relative_to_the_bundle_and_destinations_to_the_root() {
    let bind = |source: &str, destination: &str| {
        mount(json!({"source": source, "destination": destination, "options": ["bind"]}))
    };
    assert_eq!(bind("a", "b"), "bind-mount source=/bundle/a destination=/b  # /mounts/0");
    assert_eq!(bind("/a", "/b/../c//d/."), "bind-mount source=/a destination=/c/d  # /mounts/0");
    assert!(
        mount(json!({"source": "/a", "destination": "/b", "type": "tmpfs", "options": ["rbind"]}))
            .starts_with("bind-mount source=/a destination=/b recursive")
    );
}

#[test]
fn attributes_of_one_mount_and_of_all_below() {
    assert_eq!(
        mount(json!({"source": "/a", "destination": "/b",
            "options": ["rbind", "ro", "exec", "rnosuid", "rnoatime", "nosymfollow"]})),
        "bind-mount source=/a destination=/b recursive set=ro|nosymfollow clear=noexec \
         reset=nosuid|nodev set_recursive=nosuid|noatime clear_recursive=atime  # /mounts/0"
    );
}

/// Of a tree that outer opens, nobody can see what the host has restricted below its top.
#[test]
fn recursive_options_in_a_user_namespace() {
    let config = |options: &[&str]| {
        with_user_namespace(json!([{"source": "/a", "destination": "/b", "options": options}]))
    };
    for option in ["rrw", "rsuid", "rdev", "rexec", "rnoatime", "rrelatime", "rdiratime"] {
        let (pointer, message) = refused(&config(&["rbind", option]), &facts());
        assert_eq!(pointer, "/mounts/0/options", "{option}");
        assert!(message.contains("a recursive option can't lift"), "{message}");
        // One mount by itself is init's to judge.
        compile(&config(&["bind", option]));
        // Inner opens it, and the kernel judges.
        let rootless = Facts { privileged: false, ..facts() };
        compile_with(&config(&["rbind", option]), &rootless, &Options::default(), None).unwrap();
    }
    for option in ["rro", "rnosuid", "rnodev", "rnoexec", "rnosymfollow", "rsymfollow", "rw"] {
        compile(&config(&["rbind", option]));
    }
}

/// A source inside the root is what earlier mounts have put there: inner opens it in its turn.
#[test]
fn sources_inside_the_root() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let mounts = json!([
        {"source": "/a", "destination": "/bundle/rootfs/a", "options": ["bind"]},
        {"source": "rootfs/a/x", "destination": "/b", "options": ["rbind", "rslave", "shared"]},
        {"source": "/bundle/rootfs/../other", "destination": "/c", "options": ["bind"]},
        {"source": "/bundle/rootfs", "destination": "/d", "options": ["bind"]},
    ]);
    let mut config = with_mounts(mounts.clone());
    let plan = compile(&config);
    assert_eq!(
        lines(&plan, "open-tree"),
        ["open-tree source=/a/x inside out=fd80 recursive  # /mounts/1"]
    );
    let binds = lines(&plan, "bind-mount");
    assert_eq!(binds[0], "bind-mount source=/a destination=/a  # /mounts/0");
    assert!(binds[1].contains(" tree=fd80 destination=/b"), "{plan}");
    assert!(binds[2].contains("source=/bundle/rootfs/../other"), "{plan}");
    assert!(place(&plan, "bind-mount source=/a") < place(&plan, "open-tree"), "{plan}");
    assert!(lines(&plan, "set-mount")[0].contains("mount=fd80"), "{plan}");

    let plan = compile(&with_user_namespace(mounts));
    assert!(place(&plan, "clone") < place(&plan, "open-tree source=/a/x inside"), "{plan}");

    let mapped = json!([{"source": "rootfs/a", "destination": "/b", "options": ["bind"],
        "uidMappings": map, "gidMappings": map}]);
    config["mounts"] = mapped.clone();
    let line = lines(&compile(&config), "open-tree").remove(0);
    assert_eq!(line, "open-tree source=/a inside out=fd80 idmap=fd1  # /mounts/0");
    // What a joined user namespace maps isn't known, so it can't be asked for.
    let mut joining = with_user_namespace(json!([
        {"source": "rootfs/a", "destination": "/b", "options": ["bind", "idmap"]}]));
    joining["linux"]["namespaces"].as_array_mut().unwrap().pop();
    joining["linux"]["namespaces"]
        .as_array_mut()
        .unwrap()
        .push(json!({"type": "user", "path": "/proc/7/ns/user"}));
    for maps in ["uidMappings", "gidMappings"] {
        joining["linux"].as_object_mut().unwrap().remove(maps);
    }
    let (pointer, message) = refused(&joining, &facts());
    assert_eq!(pointer, "/mounts/0");
    assert!(message.contains("give the mount uidMappings and gidMappings"), "{message}");
    joining["mounts"] = mapped.clone();
    assert_eq!(lines(&compile(&joining), "map-ids").len(), 1);
    // In its user namespace inner has no privileges over the filesystem: it asks the library.
    let plan = compile(&with_user_namespace(mapped));
    let tree = "open-tree source=/a inside out=fd86  # /mounts/0";
    assert!(place(&plan, "clone") < place(&plan, tree), "{plan}");
    assert_eq!(lines(&plan, "map-ids"), ["map-ids tree=fd86 map=fd1  # /mounts/0"]);
    assert!(lines(&plan, "bind-mount")[0].contains("tree=fd86 destination=/b"), "{plan}");
}

/// The user namespace that is joined is itself the mapping.
#[test]
fn the_mapping_of_a_joined_user_namespace() {
    let mut config =
        with_mounts(json!([{"source": "/a", "destination": "/a", "options": ["bind", "idmap"]}]));
    let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.push(json!({"type": "user", "path": "/proc/7/ns/user"}));
    let plan = compile(&config);
    assert!(plan.passed().iter().all(|passed| !matches!(passed, Passed::IdMap(_))));
    assert!(lines(&plan, "open-namespace")[0].contains("out=fd80"), "{plan}");
    assert!(lines(&plan, "open-tree")[0].contains("source=/a out=fd81 idmap=fd80"), "{plan}");
    let rootless = Facts { privileged: false, ..facts() };
    assert_eq!(refused(&config, &rootless).0, "/mounts/0");
}

#[test]
fn propagation_in_its_order() {
    let mounts = json!([{"source": "/a", "destination": "/b",
        "options": ["rbind", "private", "slave", "rshared"]}]);
    let plan = compile(&with_mounts(mounts));
    assert_eq!(
        lines(&plan, "bind-mount"),
        ["bind-mount source=/a destination=/b recursive propagation=MS_PRIVATE out=fd80  \
          # /mounts/0"]
    );
    assert_eq!(
        lines(&plan, "set-mount"),
        [
            "set-mount mount=fd80 propagation=MS_SLAVE  # /mounts/0",
            "set-mount mount=fd80 propagation=MS_SHARED|MS_REC  # /mounts/0"
        ]
    );
    let unbindable = mount(json!({"source": "/a", "destination": "/b",
        "options": ["rbind", "shared", "runbindable"]}));
    assert!(unbindable.contains("propagation=MS_UNBINDABLE|MS_REC"), "{unbindable}");
}

#[test]
fn read_only_superblocks() {
    let ext4 = mount(json!({"type": "ext4", "source": "/dev/x", "destination": "/b",
        "options": ["ro", "data=ordered,noload", "sync", "silent"]}));
    assert_eq!(
        ext4,
        "mount-filesystem fstype=ext4 source=/dev/x destination=/b \
         options=[data=ordered noload sync ro] attributes=ro  # /mounts/0"
    );
    for shared in ["proc", "sysfs", "mqueue", "devpts"] {
        let destination = if shared == "proc" { "/proc" } else { "/b" };
        let line = mount(json!({"type": shared, "destination": destination, "options": ["ro"]}));
        assert!(line.contains("attributes=ro") && !line.contains("options"), "{line}");
    }
}

#[test]
fn a_tmpfs_becomes_read_only_in_the_end() {
    let mut config = with_mounts(json!([
        {"type": "tmpfs", "source": "tmpfs", "destination": "/dev", "options": ["ro", "nosuid"]},
        {"type": "tmpfs", "destination": "/x", "options": ["ro", "tmpcopyup"]},
    ]));
    config["process"]["terminal"] = json!(true);
    let plan = compile(&config);
    assert_eq!(
        lines(&plan, "mount-filesystem"),
        [
            "mount-filesystem fstype=tmpfs source=tmpfs destination=/dev attributes=nosuid \
             out=fd80  # /mounts/0",
            "mount-filesystem fstype=tmpfs destination=/x copy_up out=fd81  # /mounts/1",
        ]
    );
    assert!(place(&plan, "console") < place(&plan, "set-mount mount=fd80 set=ro"));
    assert!(place(&plan, "set-mount mount=fd80") < place(&plan, "set-mount mount=fd81 set=ro"));
    assert!(place(&plan, "pivot-root") < place(&plan, "set-root"));
}

#[test]
fn long_options() {
    let layers: Vec<String> = (0..20).map(|n| format!("/var/lib/layers/{n:020}")).collect();
    let mounts = json!([{"type": "overlay", "source": "overlay", "destination": "/b",
        "options": [format!("lowerdir={}", layers.join(":")), "upperdir=/u", "ro", "iversion"]}]);
    let mut config = with_mounts(mounts);
    config["linux"]["mountLabel"] = json!("u:r:t:s0:c1,c2");
    let plan = compile(&config);
    let line = lines(&plan, "mount-filesystem").remove(0);
    // iversion is something only mount(2) knows: flags, and the label in quotes.
    assert!(line.contains("flags=MS_RDONLY|MS_I_VERSION"), "{line}");
    assert!(line.contains(r#""context=\"u:r:t:s0:c1,c2\"""#), "{line}");
    config["mounts"][0]["options"].as_array_mut().unwrap().truncate(3);
    let line = lines(&compile(&config), "mount-filesystem").remove(0);
    assert!(line.contains("options=[lowerdir+=/var/lib/layers/00000000000000000000"), "{line}");
    assert_eq!(line.matches("lowerdir+=").count(), 20);
    assert!(line.ends_with("upperdir=/u context=u:r:t:s0:c1,c2 ro] attributes=ro  # /mounts/0"));
    // Where the kernel can't take layers one by one, mount(2) takes them all.
    let old = Facts { overlay_layers: false, ..facts() };
    let plan = compile_with(&config, &old, &Options::default(), None).unwrap();
    let line = lines(&plan, "mount-filesystem").remove(0);
    assert!(line.contains("options=[lowerdir=") && line.contains("flags=MS_RDONLY"), "{line}");
}

#[test]
fn selinux_labels() {
    let mut config = with_mounts(json!([
        {"type": "proc", "destination": "/proc"},
        {"type": "sysfs", "destination": "/sys"},
        {"type": "mqueue", "destination": "/dev/mqueue"},
        {"type": "devpts", "destination": "/dev/pts"},
        {"type": "tmpfs", "destination": "/a", "options": ["context=\"own:c1,c2\""]},
        {"source": "/x", "destination": "/b", "options": ["bind"]},
    ]));
    config["linux"]["mountLabel"] = json!("l:c1,c2");
    config["linux"]["maskedPaths"] = json!(["/proc/keys", "/proc//keys"]);
    let plan = compile(&config);
    let labelled: Vec<_> =
        plan.steps().filter(|step| step.to_string().contains("context=")).collect();
    let labelled: Vec<_> = labelled.iter().map(|step| step.pointer()).collect();
    assert_eq!(labelled, ["/mounts/3", "/mounts/4", "/linux/maskedPaths"]);
    let own = lines(&plan, "mount-filesystem").into_iter().nth(4).unwrap();
    assert!(own.contains("options=[context=own:c1,c2]"), "{own}");
    assert_eq!(
        lines(&plan, "open-masks"),
        ["open-masks label=context=l:c1,c2  # /linux/maskedPaths"]
    );
    assert_eq!(lines(&plan, "mask-path").len(), 1);
}

#[test]
fn proc_is_procfs_and_nothing_is_mounted_inside() {
    let refused = |mount: Value| refused(&with_mounts(json!([mount])), &facts()).0;
    for destination in ["/proc", "/foo/../proc", "proc", "//proc/."] {
        let bind = json!({"source": "/x", "destination": destination, "options": ["bind"]});
        // What is bound is checked where it is opened.
        assert!(mount(bind).contains("destination=/proc "));
        let tmpfs = json!({"type": "tmpfs", "destination": destination});
        assert_eq!(refused(tmpfs), "/mounts/0/destination");
    }
    for destination in ["/proc/self", "/proc/sys/kernel", "/a/../proc/self/attr", "/", "/.."] {
        let bind = json!({"source": "/x", "destination": destination, "options": ["bind"]});
        assert_eq!(refused(bind), "/mounts/0/destination", "{destination}");
    }
    let uptime = json!({"source": "/x", "destination": "/proc/uptime", "options": ["bind"]});
    assert!(mount(uptime).contains("destination=/proc/uptime"));
}

#[test]
fn fallbacks_in_a_container() {
    let sysfs = mount(json!({"type": "sysfs", "destination": "/sys"}));
    assert!(sysfs.contains("fallback=/sys"));
    let proc = json!({"type": "proc", "destination": "/proc"});
    assert!(mount(proc.clone()).contains("fallback=/proc"));
    let mut config = with_mounts(json!([proc]));
    config["linux"]["namespaces"] = json!([{"type": "mount"}]);
    assert!(lines(&compile(&config), "mount-filesystem").remove(0).contains("fallback=/proc"));
}

#[test]
fn id_mapped_mounts() {
    let map = json!([{"containerID": 0, "hostID": 1000, "size": 1}]);
    let config = with_user_namespace(json!([
        {"source": "/a", "destination": "/a", "options": ["rbind", "ridmap"],
            "uidMappings": map, "gidMappings": map},
        {"source": "/b", "destination": "/b", "options": ["bind"],
            "uidMappings": map, "gidMappings": map},
        {"source": "/c", "destination": "/c", "options": ["bind", "idmap"]},
        {"type": "tmpfs", "destination": "/d", "options": ["noexec", "size=1m"],
            "uidMappings": map, "gidMappings": map},
        {"source": "/e", "destination": "/e", "options": ["bind", "ro"]},
    ]));
    let plan = compile(&config);
    let maps: Vec<_> = plan.passed().iter().filter(|p| matches!(p, Passed::IdMap(_))).collect();
    assert_eq!(maps.len(), 2, "identical maps are one namespace");
    let opened = lines(&plan, "open-tree");
    assert_eq!(
        opened[..4],
        [
            "open-tree source=/a out=fd80 recursive idmap=fd0 idmap_recursive \
         propagation=MS_SLAVE|MS_REC  # /mounts/0",
            "open-tree source=/b out=fd81 idmap=fd0 propagation=MS_SLAVE|MS_REC  # /mounts/1",
            "open-tree source=/c out=fd82 idmap=fd1 propagation=MS_SLAVE|MS_REC  # /mounts/2",
            "open-tree source=/e out=fd84 propagation=MS_SLAVE|MS_REC  # /mounts/4",
        ]
    );
    assert_eq!(
        lines(&plan, "create-mount"),
        ["create-mount fstype=tmpfs options=[size=1m] attributes=noexec out=fd83 idmap=fd0  \
         # /mounts/3"]
    );
    assert_eq!(
        lines(&plan, "bind-mount")[3..],
        [
            "bind-mount tree=fd83 destination=/d  # /mounts/3",
            "bind-mount source=/e tree=fd84 destination=/e set=ro reset=nosymfollow locked  # /mounts/4",
        ]
    );
    assert!(place(&plan, "open-tree source=/e") < place(&plan, "clone"));
    // The default devices come from outside, too.
    assert_eq!(opened[4], "open-tree source=/dev/null out=fd85 propagation=MS_PRIVATE");
    assert_eq!(
        lines(&plan, "bind-device")[0],
        "bind-device directory=dev path=null source=/dev/null tree=fd85"
    );
    // With `shared` the volumes stay the host's peers.
    let mut config = config;
    config["linux"]["rootfsPropagation"] = json!("rshared");
    let opened = lines(&compile(&config), "open-tree");
    assert_eq!(opened[3], "open-tree source=/e out=fd84  # /mounts/4");
    // Without privileges nothing can be opened outside.
    let rootless = Facts { privileged: false, ..facts() };
    let config = with_user_namespace(json!([
        {"source": "/e", "destination": "/e", "options": ["bind"]}]));
    let plan = compile_with(&config, &rootless, &Options::default(), None).unwrap();
    assert!(lines(&plan, "open-tree").is_empty());
    // What is the kernel's alone can't be mapped.
    let config = with_user_namespace(json!([{"type": "proc", "destination": "/proc",
        "options": ["idmap"]}]));
    assert_eq!(refused(&config, &facts()).0, "/mounts/0");
}

#[test]
fn too_many_open_mounts_are_an_error() {
    let mounts: Vec<_> = (0..1000)
        .map(|n| json!({"source": "/a", "destination": format!("/{n}"), "options": ["bind"]}))
        .collect();
    let (pointer, message) = refused(&with_user_namespace(json!(mounts)), &facts());
    assert_eq!(pointer, "/mounts/944");
    assert_eq!(message, "more than 944 mounts have to be kept open");
    // In the host's user namespace none has to.
    assert_eq!(lines(&compile(&with_mounts(json!(mounts))), "bind-mount").len(), 1000);
}

#[test]
fn ids_that_are_not_mapped() {
    let pts = json!([{"type": "devpts", "destination": "/dev/pts",
        "options": ["mode=0620", "gid=5"]}]);
    assert!(
        compile_with(&with_user_namespace(pts.clone()), &facts(), &Options::default(), None)
            .is_ok()
    );
    let mut config = with_user_namespace(pts);
    config["linux"]["gidMappings"][0]["size"] = json!(1);
    let (pointer, message) = refused(&config, &facts());
    assert_eq!(pointer, "/mounts/0/options/1");
    assert_eq!(message, "group 5 is not mapped into the container's user namespace");
}

/// What lies right in an empty filesystem needs no walk from the root, as long as nothing else has
/// been mounted meanwhile.
#[test]
fn mounts_in_an_empty_filesystem() {
    let mount = |destination: &str| json!({"type": "tmpfs", "destination": destination});
    let copied = json!({"type": "tmpfs", "destination": "/c", "options": ["tmpcopyup"]});
    let file = json!({"type": "bind", "source": "/f", "destination": "/a/f"});
    let mounts = json!([
        mount("/a"),
        mount("/a/b"),
        mount("/a/b/c"),
        file,
        mount("/a/b/d"),
        mount("/ab"),
        mount("/a/e"),
        mount("/ab/c"),
        copied,
        mount("/c/d")
    ]);
    let plan = compile(&with_mounts(mounts));
    let parent = |line: String| line.split_once("parent=").map(|(_, reg)| reg[..4].to_owned());
    let mut parents = lines(&plan, "mount-filesystem").into_iter().map(parent);
    let expected = [None, Some("fd80"), Some("fd81"), None, None, None, None, None, None];
    assert!(parents.by_ref().eq(expected.map(|reg| reg.map(str::to_owned))), "{plan}");
    assert_eq!(parent(lines(&plan, "bind-mount").remove(0)), None, "{plan}");
}

fn cgroup(options: Value, namespace: bool, facts: &Facts<'_>) -> Vec<String> {
    let mut config = with_mounts(json!([{"type": "cgroup", "source": "cgroup",
        "destination": "/sys/fs/cgroup", "options": options}]));
    if namespace {
        config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "cgroup"}));
    }
    let plan = compile_with(&config, facts, &Options::default(), None).unwrap();
    let all = plan.steps().filter(|step| step.pointer() == "/mounts/0");
    all.map(|s| s.to_string().trim_start().split_once(' ').unwrap().1.replace("  # /mounts/0", ""))
        .collect()
}

#[test]
fn cgroup_v2() {
    assert_eq!(
        cgroup(json!(["nosuid"]), true, &facts()),
        ["mount-filesystem fstype=cgroup2 source=cgroup destination=/sys/fs/cgroup \
         attributes=nosuid fallback=/sys/fs/cgroup/web-1"]
    );
    let bound = "bind-mount source=/sys/fs/cgroup/web-1 destination=/sys/fs/cgroup recursive";
    assert_eq!(cgroup(json!([]), false, &facts()), [bound]);
    // For a user namespace outer opens it, unless systemd makes it only when inner is there.
    let mut config = with_mounts(json!([{"type": "cgroup", "destination": "/sys/fs/cgroup"}]));
    config["linux"]["namespaces"].as_array_mut().unwrap().push(json!({"type": "user"}));
    let opened = |plan: &Plan| lines(plan, "open-tree").join("\n").contains("/mounts/0");
    assert!(opened(&compile(&config)));
    let systemd = Facts { placement: Placement::Library, ..facts() };
    let plan = compile_with(&config, &systemd, &Options::default(), None).unwrap();
    assert!(!opened(&plan), "{plan}");
    assert_eq!(lines(&plan, "bind-mount"), [format!("{bound}  # /mounts/0")]);
    // CVE-2023-25809
    let rootless = Facts { privileged: false, ..facts() };
    assert_eq!(cgroup(json!([]), false, &rootless), [format!("{bound} set=ro")]);
    let none = Facts { cgroup: CgroupView::None, ..rootless };
    assert_eq!(
        cgroup(json!([]), false, &none),
        ["mount-filesystem fstype=tmpfs source=tmpfs destination=/sys/fs/cgroup \
         options=[mode=755] attributes=ro|nosuid|nodev|noexec"]
    );
}

#[test]
fn cgroup_v1() {
    let hierarchy = |name: &str| V1Hierarchy {
        name: name.to_owned(),
        directory: PathBuf::from(format!("/sys/fs/cgroup/{name}/web-1")),
    };
    let view = vec![hierarchy("cpu,cpuacct"), hierarchy("systemd")];
    let facts = Facts { cgroup: CgroupView::V1(view), ..facts() };
    assert_eq!(
        cgroup(json!(["ro", "rslave"]), false, &facts),
        [
            "mount-filesystem fstype=tmpfs source=tmpfs destination=/sys/fs/cgroup \
         options=[mode=755] attributes=nosuid|nodev|noexec propagation=MS_SLAVE out=fd80",
            "make-symlink directory=fd80 name=cpu target=cpu,cpuacct",
            "make-symlink directory=fd80 name=cpuacct target=cpu,cpuacct",
            "bind-mount source=/sys/fs/cgroup/cpu,cpuacct/web-1 \
         destination=/sys/fs/cgroup/cpu,cpuacct recursive set=ro|nosuid|nodev|noexec \
         propagation=MS_SLAVE|MS_REC parent=fd80",
            "bind-mount source=/sys/fs/cgroup/systemd/web-1 destination=/sys/fs/cgroup/systemd \
         recursive set=ro|nosuid|nodev|noexec propagation=MS_SLAVE|MS_REC parent=fd80",
            "set-mount mount=fd80 set=ro",
        ]
    );
    let own = cgroup(json!([]), true, &facts);
    assert_eq!(
        own[3],
        "mount-filesystem fstype=cgroup source=cgroup destination=/sys/fs/cgroup/cpu,cpuacct \
         options=[cpu cpuacct] attributes=nosuid|nodev|noexec \
         fallback=/sys/fs/cgroup/cpu,cpuacct/web-1 parent=fd80"
    );
    assert!(own[4].contains("source=systemd") && own[4].contains("options=[name=systemd]"));
    assert_eq!(own.len(), 5);
}

#[test]
fn remounting_is_not_supported() {
    let config = with_mounts(json!([{"type": "tmpfs", "destination": "/a",
        "options": ["remount", "ro"]}]));
    assert_eq!(refused(&config, &facts()).0, "/mounts/0/options");
}
