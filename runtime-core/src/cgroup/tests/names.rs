use std::path::{Path, PathBuf};

use super::*;
use crate::error::ErrorKind;

const HYBRID: &str = "\
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime - cgroup cgroup rw,cpu,cpuacct
33 31 0:30 /docker/a /sys/fs/cgroup/memory rw,relatime shared:9 - cgroup cgroup rw,memory
34 31 0:31 / /sys/fs/cgroup/with\\040space ro - cgroup cgroup rw,xattr,name=systemd
35 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
36 31 0:39 / /tmp rw - tmpfs tmpfs rw
37 31 0:40 / /sys/fs/cgroup/openrc rw - cgroup cgroup rw,name=openrc,release_agent=/lib/x
nonsense";

const OWN: &str = "\
9:name=systemd:/
4:memory:/docker/a/inner
3:cpu,cpuacct:/session
0::/user.slice/user-0.slice/session-1.scope";

fn unified() -> Host {
    Host::imagined(Some("/sys/fs/cgroup"), "")
}

fn hybrid() -> Host {
    Host::imagined(Some("/sys/fs/cgroup/unified"), HYBRID)
}

fn directories(paths: &Paths) -> Vec<PathBuf> {
    paths.legacy.iter().chain(&paths.unified).map(Location::directory).collect()
}

#[test]
fn absolute_and_absent() {
    let name = |path: Option<&str>| unified().paths(path, "id").unwrap().unified_directory();
    assert_eq!(name(None).unwrap(), Path::new("/sys/fs/cgroup/id"));
    assert_eq!(name(Some("")).unwrap(), Path::new("/sys/fs/cgroup/id"));
    assert_eq!(name(Some("/a//b/./c/")).unwrap(), Path::new("/sys/fs/cgroup/a/b/c"));
    assert_eq!(name(Some("/../../etc")).unwrap(), Path::new("/sys/fs/cgroup/etc"));
    for nothing in ["/", "/..", "/a/..", ".", "a/../.."] {
        let error = unified().paths(Some(nothing), "id").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert_eq!(error.pointer(), Some("/linux/cgroupsPath"));
    }
}

#[test]
fn relative() {
    let paths = unified().name_for_test("../../a/b", Some(OWN));
    assert_eq!(directories(&paths), [Path::new("/sys/fs/cgroup/user.slice/user-0.slice/a/b")]);
    let paths = hybrid().name_for_test("a", Some(OWN));
    let expected = [
        "/sys/fs/cgroup/cpu,cpuacct/session/a",
        "/sys/fs/cgroup/memory/inner/a",
        "/sys/fs/cgroup/with space/a",
        "/sys/fs/cgroup/unified/a",
    ];
    assert_eq!(directories(&paths), expected.map(PathBuf::from));
}

#[test]
fn what_a_container_mounts() {
    let paths = hybrid().name_for_test("/docker/x", None);
    assert_eq!(paths.unified_directory(), None);
    let mounts = paths.legacy_mounts();
    assert_eq!(mounts.len(), 3);
    assert_eq!(mounts[0].name, "cpu,cpuacct");
    assert_eq!(mounts[0].option, "cpu,cpuacct");
    assert_eq!(mounts[0].links, ["cpu", "cpuacct"]);
    assert_eq!(mounts[0].directory, Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/x"));
    assert_eq!((mounts[1].name.as_str(), mounts[1].links.len()), ("memory", 0));
    assert_eq!(mounts[2].option, "name=systemd");
    assert!(unified().name_for_test("/x", None).legacy_mounts().is_empty());
    assert_eq!(
        paths.legacy_directory("cpuacct").unwrap(),
        Path::new("/sys/fs/cgroup/cpu,cpuacct/docker/x")
    );
}

#[test]
fn state_keeps_them() {
    let paths = hybrid().name_for_test("/docker/x", None);
    let json = serde_json::to_string(&paths).unwrap();
    assert_eq!(serde_json::from_str::<Paths>(&json).unwrap(), paths);
}

#[test]
fn systemd_is_for_unified_hosts() {
    let error = hybrid().with_manager(Manager::Systemd).paths(None, "x").unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unsupported);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig {
        failure_persistence: None,
        ..Default::default()
    })]
    #[test]
    fn nothing_leads_out(path in "[a./]{0,24}") {
        if let Ok(paths) = unified().paths(Some(&format!("/{path}")), "id") {
            let directory = paths.unified_directory().unwrap();
            assert!(directory.starts_with("/sys/fs/cgroup/"));
            assert!(directory.components().all(|part| part != std::path::Component::ParentDir));
        }
    }
}
