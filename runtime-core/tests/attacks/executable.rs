//! What a process brings along when it joins: its executable, which a container could overwrite,
//! its descriptors, its memory.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::json;

use crate::attack;
use crate::attack::Attack;
use crate::attacker;
use crate::common::{sh_process, status_field};
use crate::neighbour::{rounds, say};
use crate::skip;

/// CVE-2019-5736 (runc, and crun): the container's program is `/proc/self/exe`, or a script whose
/// interpreter that is, so the runtime executes itself in the container, and is overwritten there.
/// Seen to fail: with init, executed there, ending as if all were well. A runtime that can be
/// overwritten so isn't packaged any more; `cve_2019_5736_from_inside` is the attack's other half.
#[test]
fn cve_2019_5736() {
    let script = "#!/proc/self/exe\n";
    let mut attack = attack!();
    for name in ["script", "sh2"] {
        let path = attack.rootfs().join("bin").join(name);
        fs::write(&path, script).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    std::os::unix::fs::symlink("/proc/self/exe", attack.rootfs().join("bin/link")).unwrap();
    for program in ["/proc/self/exe", "/bin/script", "/bin/link", "/proc/thread-self/exe"] {
        attack.process()["args"] = json!([program, "--version"]);
        if let Ok(output) = attack.run() {
            // Others execute a sealed copy of themselves.
            assert!(output.code != 0 || !attack.on_hoist(), "{program}: {output:?}");
        }
        attack.host_is_unchanged();
    }
    let running = attack.start_sleeping();
    for program in ["/proc/self/exe", "/bin/script", "/bin/link"] {
        let mut process = sh_process("");
        process["args"] = json!([program, "--version"]);
        if let Ok(output) = running.exec(process) {
            assert_ne!(output.code, 0, "{program} was executed: {output:?}");
        }
    }
    running.end();
    attack.host_is_unchanged();
}

/// A container whose first process attacks who joins it, and processes that do.
fn joined(attack: &Attack, usual: u64) -> Vec<String> {
    let running = attack.start().unwrap_or_else(|refusal| panic!("{refusal:?}"));
    attacker::await_ready(attack);
    let mut process = sh_process("");
    process["args"] = json!(["/bin/true"]);
    rounds(usual, || match running.exec(process.clone()) {
        // Who is traced may have been stopped or killed by that; it is the container's process.
        Ok(_) => "joined",
        Err(_) => "not joined",
    });
    running.end();
    let log = attacker::log(attack);
    say(&format!("{}: the attacker saw {log:?}", crate::common::test_name()));
    log
}

/// Lines of the attacker's log of these kinds.
fn of<'a>(log: &'a [String], kinds: &[&str]) -> Vec<&'a String> {
    log.iter().filter(|line| kinds.contains(&line.split(' ').next().unwrap_or_default())).collect()
}

fn attacked_from_inside(attack: &mut Attack) -> bool {
    let secret = attack.canary().join("secret");
    attack.process()["args"] = json!(["/bin/attacker", secret]);
    attacker::install(attack)
}

/// CVE-2019-5736 (runc, and crun), from inside: a process of the container opens the executable of
/// who joins, and writes to it as soon as nobody runs it.
/// Seen to fail: with hoist's init readable, dumpable and without seals: it is overwritten.
#[test]
fn cve_2019_5736_from_inside() {
    let mut attack = attack!();
    // The strongest there is: root of the host's user namespace with all capabilities.
    attack.all_capabilities();
    if !attacked_from_inside(&mut attack) {
        skip!("needs cc");
    }
    let log = joined(&attack, 200);
    assert!(of(&log, &["WROTE"]).is_empty(), "{log:?}");
    // What was attacked still works.
    attack.host_is_unchanged();
    let output = attack.run_script("echo works").unwrap();
    assert_eq!(output.stdout, "works\n");
}

/// CVE-2016-9962 (runc): who joins a container brings descriptors along, and can be traced by the
/// container's root before it executes its program.
/// Seen to fail: with hoist's init readable and dumpable: its descriptors are seen.
#[test]
fn cve_2016_9962() {
    for user in [false, true] {
        let mut attack = attack!();
        if user {
            // With all capabilities, which are over its own user namespace.
            attack.all_capabilities();
            attack.user_namespace();
            fs::write(attack.rootfs().join("attack.log"), "").unwrap();
            std::os::unix::fs::chown(attack.rootfs().join("attack.log"), Some(100_000), None)
                .unwrap();
        }
        if !attacked_from_inside(&mut attack) {
            skip!("needs cc");
        }
        let log = joined(&attack, 200);
        let reached = of(&log, &["EXE", "FD", "FOREIGN", "MEM", "PTRACE", "WROTE"]);
        assert!(reached.is_empty(), "user namespace: {user}: {log:?}");
    }
}

/// CVE-2016-9962 (runc) where the container's root may trace everything that it sees, and is root of
/// the host but for capabilities (`docker run --cap-add SYS_PTRACE`): who joins has no more than it has:
/// no capability, no descriptor of the host's, no time without its filter.
/// Seen to fail: with runc 1.1.5 and 1.3.6 and with crun 1.28, where who joins has all capabilities of
/// root, and no filter at first; and with hoist cloning it into the pid namespace at the beginning.
#[test]
fn cve_2016_9962_with_ptrace() {
    for no_new_privileges in [false, true] {
        let mut attack = attack!();
        attack.may_trace();
        attack.process()["noNewPrivileges"] = json!(no_new_privileges);
        let docker = include_str!("../data/docker-seccomp.json");
        attack.linux()["seccomp"] = serde_json::from_str(docker).unwrap();
        if !attacked_from_inside(&mut attack) {
            skip!("needs cc");
        }
        let running = attack.start().unwrap();
        attacker::await_ready(&attack);
        let status = fs::read_to_string(format!("/proc/{}/status", running.pid())).unwrap();
        let own = u64::from_str_radix(status_field(&status, "CapPrm"), 16).unwrap();
        running.end();
        fs::remove_file(attack.rootfs().join("attack.log")).unwrap();
        let log = joined(&attack, 200);
        for line in of(&log, &["CAPS"]) {
            let has = u64::from_str_radix(&line["CAPS ".len()..], 16).unwrap();
            assert_eq!(has & !own, 0, "who joins has more capabilities: {log:?}");
        }
        assert!(of(&log, &["SECCOMP"]).iter().all(|line| *line == "SECCOMP 2"), "{log:?}");
        // Pipes and hoist's own socket.
        let files = of(&log, &["FD"]);
        let known = ["FD pipe:", "FD socket:", "FD /dev/null"];
        assert!(files.iter().all(|line| known.contains(&line.as_str())), "{log:?}");
        assert!(of(&log, &["FOREIGN", "WROTE"]).is_empty(), "{log:?}");
    }
}

/// CVE-2016-9962 (runc) where the container's root has every capability in the host's user namespace,
/// so it isn't contained: even there what joins brings no descriptor that leads to the host.
/// Seen to fail: with hoist as it was: the descriptor of its cgroup led to the host's files.
#[test]
fn cve_2016_9962_privileged() {
    let mut attack = attack!();
    attack.all_capabilities();
    if !attacked_from_inside(&mut attack) {
        skip!("needs cc");
    }
    let log = joined(&attack, 200);
    assert!(of(&log, &["FOREIGN", "WROTE"]).is_empty(), "{log:?}");
}
