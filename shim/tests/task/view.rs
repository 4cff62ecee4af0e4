//! The same tests where cgroup2 is all there is: a fresh one over `/sys/fs/cgroup`, for these only.

use std::process::{Command, Stdio};

use crate::harness::{LIMIT, later, skip, unified};

#[test]
fn unified_view() {
    if unified() {
        return; // It is the one.
    }
    if !rustix::process::geteuid().is_root() {
        return skip("unified_view", "needs root");
    }
    let script = "mount -t cgroup2 none /sys/fs/cgroup && exec \"$0\" \"$@\"";
    let mut command = Command::new("unshare");
    command
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .arg(std::env::current_exe().expect("this program's path"))
        .stdin(Stdio::null());
    let output = later(move || command.output()).within(20 * LIMIT).expect("unshare");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(said.contains("test result: ok"), "{said}");
}
