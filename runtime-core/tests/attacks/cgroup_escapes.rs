//! cgroups: the host's that a container could write to, and paths that lead out of its own.

use std::fs;
use std::path::Path;

use hoist::{ErrorKind, ExecOptions};
use serde_json::json;

use crate::attack;
use crate::attack::Attack;
use crate::common::{end, exec_with, mountinfo, sh_process};

/// Tries to make a cgroup, and to write to what there is.
const WRITE: &str = "cd /sys/fs/cgroup || exit 0
    for dir in . */ */*/; do
        mkdir $dir/escaped 2>/dev/null && echo made $dir/escaped && rmdir $dir/escaped
        for file in cgroup.procs tasks release_agent notify_on_release cgroup.max.depth; do
            [ -e $dir/$file ] || continue
            { echo 0 > $dir/$file; } 2>/dev/null && echo wrote $dir/$file
        done
    done; cat /proc/self/mountinfo; echo done";

/// Mounts the cgroup filesystem, without a cgroup namespace.
fn with_hosts_cgroups(options: &[&str]) -> Result<Attack, String> {
    let mut attack = Attack::new()?;
    attack.without_namespace("cgroup");
    attack.mount("cgroup", "cgroup", "/sys/fs/cgroup", options);
    Ok(attack)
}

/// CVE-2023-25809 (runc): without a cgroup namespace, a container in a user namespace has the
/// caller's cgroups mounted writable.
/// Seen to fail: with hoist binding whole hierarchies in the place of the container's cgroup.
#[test]
fn cve_2023_25809() {
    for options in [&["nosuid", "noexec", "nodev"][..], &["nosuid", "rw"], &["rbind", "ro"]] {
        let mut attack = match with_hosts_cgroups(options) {
            Ok(attack) => attack,
            Err(reason) => crate::skip!("{reason}"),
        };
        attack.user_namespace();
        match attack.run_script(WRITE) {
            Ok(output) => {
                // Its own cgroup may be the container's to write to, and no other.
                assert!(output.stdout.ends_with("done\n"), "{output:?}");
                assert!(!output.stdout.contains("wrote ./release_agent"), "{output:?}");
                for mount in mountinfo(&output.stdout) {
                    let own = !mount.kind.starts_with("cgroup") || mount.root.ends_with(&attack.id);
                    assert!(own || mount.has("ro"), "{mount:?}");
                }
            }
            Err(refusal) => attack.is_clear(&refusal, "/"),
        }
    }
}

/// `cgroupsPath` (crun's hardening of sub-cgroups): `..` must not lead out of the hierarchy, or into
/// somebody else's cgroup.
/// Seen to fail: with hoist's rule for `..` in such a path taken out.
#[test]
fn a_path_that_climbs() {
    let mut attack = attack!();
    let name = attack.id.clone();
    for path in ["/../../../NAME", "/x/../../NAME", "../../NAME", "/NAME/../../../NAME"] {
        attack.linux()["cgroupsPath"] = json!(path.replace("NAME", &name));
        attack.process()["args"] = json!(["/bin/sleep", "1000"]);
        match attack.start() {
            Ok(running) => {
                let text = fs::read_to_string(format!("/proc/{}/cgroup", running.pid())).unwrap();
                running.end();
                // For others `..` ends at the hierarchy's root.
                assert!(!attack.on_hoist() && !text.contains("/.."), "{path}: {text}");
            }
            Err(refusal) => attack.is_clear(&refusal, "/linux/cgroupsPath"),
        }
        assert!(
            !Path::new("/sys/fs").join(&name).exists() && !Path::new("/sys").join(&name).exists()
        );
    }
}

/// `exec --cgroup` (crun's hardening of sub-cgroups): a process joins only what is below the
/// container's cgroup.
/// Seen to fail: with hoist neither refusing what leads out nor cleaning the path of its `..`.
#[test]
fn a_sub_cgroup_that_climbs() {
    let mut attack = attack!();
    if !attack.on_hoist() {
        crate::skip!("the options of a command line are another runtime's own");
    }
    let container = attack.running();
    let pid = container.pid().unwrap().unwrap();
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    for path in ["..", "../..", "/..", "x/../../..", "/../../../../", "memory:..", "pids:../.."] {
        let options = ExecOptions::new().cgroup(path);
        match exec_with(&container, sh_process("sleep 0.05; cat /proc/self/cgroup"), options) {
            // Inside of the cgroup namespace a path above its root would begin with `/..`.
            Ok(output) => assert!(!output.stdout.contains("/.."), "{path}: {output:?}\n{own}"),
            Err(error) => {
                let known = [ErrorKind::InvalidArgument, ErrorKind::Unsupported];
                assert!(known.contains(&error.kind()), "{path}: {error:?}");
            }
        }
    }
    end(container);
}

/// `run.oci.delegate-cgroup` (crun's hardening) with `..`: the annotation gives a part of the
/// container's cgroup away. hoist has no such thing: nothing outside of it is made or given away.
/// Seen to fail: with hoist making what the annotation names.
#[test]
fn a_delegated_cgroup_that_climbs() {
    let name = format!("escaped-hoist-test-{}", std::process::id());
    for path in [format!("../../{name}"), "..".to_owned(), format!("/../{name}")] {
        let mut attack = attack!();
        attack.config["annotations"] = json!({"run.oci.delegate-cgroup": path});
        attack.user_namespace();
        match attack.run_script("echo made") {
            Ok(output) => assert_eq!(output.stdout, "made\n"),
            Err(refusal) => attack.is_clear(&refusal, "/annotations"),
        }
        let base = Path::new("/sys/fs/cgroup");
        let tops = fs::read_dir(base).unwrap().flatten().map(|entry| entry.path());
        let escaped: Vec<_> =
            tops.chain([base.to_owned()]).filter(|dir| dir.join(&name).exists()).collect();
        for dir in &escaped {
            let _ = fs::remove_dir(dir.join(&name));
        }
        assert!(escaped.is_empty(), "{path}: {escaped:?}");
    }
}

/// A container's id becomes the name of a directory and of cgroups (crun's and runc's rule for
/// ids).
/// Seen to fail: with the check letting a newline through. More was not tried: without the check
/// directories of the machine itself would be at stake.
#[test]
fn an_id_that_climbs() {
    let mut attack = attack!();
    for id in ["..", ".", "../host", "a/../../host", "/", "", "host/x", "a\0b", "-x/..", "\n"] {
        if id.contains('\0') && !attack.on_hoist() {
            continue; // no program can be given such an argument
        }
        attack.id = id.to_owned();
        let outcome = attack.run_script("echo made");
        assert!(outcome.is_err(), "{id:?}: {outcome:?}");
        attack.host_is_unchanged();
    }
}
