//! What the tests about cgroups share: the host's hierarchies as these tests find them, without
//! the library's help; and all of these tests once more where the hierarchies are laid out
//! otherwise.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::common::{PATIENCE, mountinfo, skip};

const TOP: &str = "/sys/fs/cgroup";

/// The modules that are run in every view: the containers' tests', the attacks' and the conformance
/// tests'.
const MODULES: [&str; 8] = [
    "device_rules::",
    "hostile::",
    "limits::",
    "placing::",
    "removal::",
    "cgroup_escapes::",
    "device_escapes::",
    "oracle::",
];

/// True where there is nothing but cgroup2.
pub(crate) fn unified() -> bool {
    Path::new(TOP).join("cgroup.controllers").exists()
}

/// Where the hierarchy with this controller is mounted; on a unified host the one there is, if it
/// has the controller.
pub(crate) fn hierarchy(controller: &str) -> Option<PathBuf> {
    if unified() {
        let controllers = read(&Path::new(TOP).join("cgroup.controllers"));
        let here = controller == "cgroup" || controllers.split(' ').any(|name| name == controller);
        return here.then(|| PathBuf::from(TOP));
    }
    let mounts = mountinfo(&fs::read_to_string("/proc/self/mountinfo").unwrap());
    let mount = mounts.into_iter().rfind(|mount| {
        mount.kind == "cgroup" && mount.superblock.iter().any(|option| option == controller)
    });
    mount.map(|mount| PathBuf::from(mount.point))
}

/// cgroup2, alone or beside v1.
pub(crate) fn cgroup2() -> Option<PathBuf> {
    let places = [PathBuf::from(TOP), Path::new(TOP).join("unified")];
    places.into_iter().find(|place| place.join("cgroup.controllers").exists())
}

/// A cgroup's file without the line's end.
#[track_caller]
pub(crate) fn read(file: &Path) -> String {
    match fs::read_to_string(file) {
        Ok(text) => text.trim_end().to_owned(),
        Err(error) => panic!("{}: {error}", file.display()),
    }
}

/// Writes one of a cgroup's files.
#[track_caller]
pub(crate) fn write(file: &Path, value: &str) {
    if let Err(error) = fs::write(file, value) {
        panic!("write {value:?} to {}: {error}", file.display());
    }
}

/// Waits for something that has no event a test could wait for.
#[track_caller]
pub(crate) fn eventually(what: &str, mut check: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !check() {
        assert!(Instant::now() < end, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Runs the tests about cgroups again in a mount namespace that `script` prepares.
fn again(view: &str, script: &str) {
    let name = format!("cgroups::{view}");
    if !rustix::process::geteuid().is_root() {
        return skip(&name, "needs root");
    }
    // A controller is either v1's or cgroup2's: so one view at a time.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let enabled = controllers_at_the_top();
    let output = Command::new("unshare")
        .args(["-m", "--propagation", "private", "sh", "-ec", script])
        .arg(std::env::current_exe().unwrap())
        .args(MODULES)
        .env("HOIST_TEST_VIEW", view)
        .output();
    // It is the same hierarchy as the machine's: what containers had enabled at its top is put
    // back. The kernel refuses if somebody else has come to need it.
    for controller in controllers_at_the_top().difference(&enabled) {
        let file = cgroup2().unwrap().join("cgroup.subtree_control");
        let _ = fs::write(file, format!("-{controller}"));
    }
    let output = match output {
        Ok(output) => output,
        Err(error) => return skip(&name, &format!("unshare(1): {error}")),
    };
    let text = [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into_owned());
    let text = text.concat();
    if !text.contains("\nrunning ") {
        return skip(&name, &format!("no such view here: {}", text.trim()));
    }
    for line in text.lines().filter(|line| line.starts_with("SKIP ")) {
        // Past libtest's capture; whoever counts them has got them from the other process.
        let _ = writeln!(std::io::stderr().lock(), "{line}");
    }
    assert!(output.status.success(), "{text}");
}

fn controllers_at_the_top() -> BTreeSet<String> {
    let text = cgroup2().map_or(String::new(), |dir| read(&dir.join("cgroup.subtree_control")));
    text.split_whitespace().map(str::to_owned).collect()
}

/// cgroup2 alone, with the controllers that v1 has left it.
#[test]
fn unified_view() {
    if unified() {
        return; // as it is
    }
    again("unified_view", "mount -t cgroup2 none /sys/fs/cgroup; exec \"$0\" \"$@\"");
}

/// v1 with the controllers that hosts seldom mount, each by itself, and no cgroup2.
#[test]
fn legacy_view() {
    if unified() {
        return skip("cgroups::legacy_view", "this host has no v1 hierarchies");
    }
    again(
        "legacy_view",
        "top=$(mktemp -d)
        mount -t tmpfs -o mode=755 hoist-test $top
        for dir in /sys/fs/cgroup/*; do
            [ ! -L $dir ] && [ ${dir##*/} != unified ] && mountpoint -q $dir || continue
            mkdir $top/${dir##*/}; mount --bind $dir $top/${dir##*/}
        done
        for name in hugetlb net_cls net_prio; do
            [ ! -d $top/$name ] || continue
            # What the machine's cgroup2 has stays there.
            ! grep -qw $name /sys/fs/cgroup/unified/cgroup.controllers || continue
            mkdir $top/$name; mount -t cgroup -o $name $name $top/$name || rmdir $top/$name
        done
        mount --move $top /sys/fs/cgroup; rmdir $top
        exec \"$0\" \"$@\"",
    );
}
