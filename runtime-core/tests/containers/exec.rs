//! exec: one more process in a container, with exactly the container's confinement.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use hoist::{CreateOptions, ErrorKind, ExecOptions, Signal, Status, Stdio};
use serde_json::json;

use crate::case;
use crate::common::{
    assert_error, end, exec, exec_with, mountinfo, run_host, sh_process, status_field,
};
use crate::namespaces::Holder;

const KINDS: [&str; 8] = ["pid", "net", "mnt", "ipc", "uts", "user", "cgroup", "time"];

fn links(pid: &str) -> Vec<String> {
    let link = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap();
    KINDS.map(|kind| link(kind).to_str().unwrap().to_owned()).to_vec()
}

fn link_script() -> String {
    KINDS.map(|kind| format!("readlink /proc/self/ns/{kind}; ")).concat()
}

#[test]
fn it_joins_every_namespace() {
    for user in [false, true] {
        let mut case = case!();
        if user {
            case.user_namespace();
        }
        case.namespace("time", None);
        let container = case.running();
        let pid = container.pid().unwrap().unwrap().to_string();
        let out = exec(&container, sh_process(&link_script())).success();
        assert_eq!(out.lines().collect::<Vec<_>>(), links(&pid), "user namespace: {user}");
        end(container);
    }
}

/// A namespace that is the caller's own needs no joining: setns(2) into one's own user namespace
/// would be an error.
#[test]
fn it_joins_only_what_differs() {
    let mut case = case!();
    for kind in ["network", "ipc", "cgroup"] {
        case.without_namespace(kind);
    }
    case.mounts().retain(|m| m["type"] != "sysfs" && m["type"] != "mqueue");
    let container = case.running();
    let pid = container.pid().unwrap().unwrap().to_string();
    let out = exec(&container, sh_process(&link_script())).success();
    let seen: Vec<&str> = out.lines().collect();
    assert_eq!(seen, links(&pid));
    let own = links("self");
    for (index, kind) in KINDS.iter().enumerate() {
        let shared = ["net", "ipc", "cgroup", "user", "time"].contains(kind);
        assert_eq!(seen[index] == own[index], shared, "{kind}");
    }
    end(container);
}

/// Without a mount namespace a process is put into the root directory all the same.
#[test]
fn without_a_mount_namespace() {
    let mut case = case!();
    case.without_namespace("mount");
    case.mounts().clear();
    case.linux()["maskedPaths"] = json!([]);
    case.linux()["readonlyPaths"] = json!([]);
    case.process()["capabilities"]["bounding"] = json!(["CAP_KILL"]);
    let container = case.running();
    let out = exec(&container, sh_process("ls -d /bin/busybox /tmp; ls / | head -1")).success();
    assert_eq!(out, "/bin/busybox\n/tmp\nbin\n");
    end(container);
}

/// A first process that has moved elsewhere would have exec join what the container never had.
#[test]
fn a_first_process_that_moved() {
    let mut case = case!();
    case.all_capabilities();
    // A namespace that the test made, which the program enters by a descriptor of it.
    let holder = Holder::start(&["--uts"]);
    let path = holder.path("uts");
    fs::copy("/usr/bin/nsenter", case.rootfs().join("bin/nsenter")).unwrap();
    for library in libraries("/usr/bin/nsenter") {
        let target = case.rootfs().join(library.trim_start_matches('/'));
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&library, target).unwrap();
    }
    case.bind(&path, "/other", &["bind"]);
    case.script("exec nsenter --uts=/other sleep 1000");
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let pid = container.pid().unwrap().unwrap();
    let moved = || fs::read_link(format!("/proc/{pid}/ns/uts")).unwrap();
    let begin = std::time::Instant::now();
    while moved().to_str() != Some(&holder.link("uts")) {
        assert!(begin.elapsed() < crate::common::PATIENCE, "it has not moved");
        std::thread::yield_now();
    }
    let error = exec_with(&container, sh_process("true"), ExecOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState, "{error}");
    assert!(error.to_string().contains("uts namespace"), "{error}");
    end(container);
}

/// The shared libraries of a program, and its interpreter.
fn libraries(program: &str) -> Vec<String> {
    let text = run_host("ldd", &[program]);
    let paths = text.lines().filter_map(|line| {
        line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned)
    });
    paths.collect()
}

#[test]
fn confinement_is_the_containers() {
    let mut case = case!();
    case.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95}],
    });
    let container = case.running();
    let script = "cat /proc/self/status; mkdir /tmp/x 2>&1 || true";
    let out = exec(&container, sh_process(script)).success();
    let pid = container.pid().unwrap().unwrap();
    let own = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    for name in
        ["CapBnd", "CapEff", "CapPrm", "CapInh", "CapAmb", "NoNewPrivs", "Seccomp", "Uid", "Gid"]
    {
        assert_eq!(status_field(&out, name), status_field(&own, name), "{name}");
    }
    assert_eq!(status_field(&out, "Seccomp"), "2");
    assert!(out.contains("Operation not supported"), "{out}");
    end(container);
}

#[test]
fn the_process_says_what_differs() {
    let mut case = case!();
    let container = case.running();
    let mut process = sh_process("cat /proc/self/status; pwd; umask; ulimit -n; echo $A $HOME");
    process["user"] = json!({"uid": 1000, "gid": 1000, "additionalGids": [7], "umask": 0o77});
    process["cwd"] = json!("/tmp");
    process["env"] = json!(["PATH=/bin", "A=b"]);
    process["noNewPrivileges"] = json!(false);
    process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 55, "hard": 66}]);
    let kill = json!(["CAP_KILL"]);
    process["capabilities"] = json!({
        "bounding": kill, "effective": kill, "permitted": kill, "inheritable": kill,
        "ambient": kill,
    });
    let out = exec(&container, process).success();
    assert_eq!(status_field(&out, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status_field(&out, "Groups"), "7");
    assert_eq!(status_field(&out, "NoNewPrivs"), "0");
    assert_eq!(status_field(&out, "CapAmb"), "0000000000000020");
    assert!(out.ends_with("/tmp\n0077\n55\nb /home/user\n"), "{out}");
    end(container);
}

#[test]
fn exit_codes_and_signals() {
    let mut case = case!();
    let container = case.running();
    assert_eq!(exec(&container, sh_process("exit 42")).exit.code(), Some(42));
    assert_eq!(exec(&container, sh_process("kill -15 $$")).exit.signal(), Some(15));
    let process = serde_json::from_value(sh_process("sleep 1000")).unwrap();
    let process = container.exec(&process, ExecOptions::new().stdio(Stdio::null())).unwrap();
    assert!(container.processes().unwrap().contains(&process.pid()));
    process.kill(Signal::KILL).unwrap();
    assert_eq!(process.wait().unwrap().exit_code(), 137);
    end(container);
}

#[test]
fn program_errors() {
    let mut case = case!();
    let path = case.rootfs().join("plain");
    fs::write(&path, "text").unwrap();
    let garbage = case.rootfs().join("garbage");
    fs::write(&garbage, "\x01\x02").unwrap();
    fs::set_permissions(&garbage, fs::Permissions::from_mode(0o755)).unwrap();
    let container = case.running();
    for (program, kind, words) in [
        ("no-such", ErrorKind::CommandNotFound, "executable file not found in $PATH"),
        ("/no/such", ErrorKind::CommandNotFound, "no such file or directory"),
        ("/plain", ErrorKind::CommandNotExecutable, "permission denied"),
        ("/garbage", ErrorKind::CommandNotExecutable, "exec format error"),
    ] {
        let mut process = sh_process("");
        process["args"] = json!([program]);
        let error = exec_with(&container, process, ExecOptions::new()).unwrap_err();
        assert_error(&error, kind, "/process/args/0", words);
        assert_eq!(error.operation(), Some("exec in"));
    }
    let mut process = sh_process("true");
    process["cwd"] = json!("/no/such/directory");
    let error = exec_with(&container, process, ExecOptions::new()).unwrap_err();
    assert_eq!(error.pointer(), Some("/process/cwd"), "{error}");
    assert_eq!(container.state().unwrap().status, Status::Running);
    end(container);
}

#[test]
fn only_where_something_runs() {
    let mut case = case!();
    case.script("true");
    let container = case.create();
    // Before the start too, as with runc.
    assert_eq!(exec(&container, sh_process("echo early")).success(), "early\n");
    container.start().unwrap();
    container.wait().unwrap();
    let error = exec_with(&container, sh_process("true"), ExecOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState, "{error}");
    assert!(error.to_string().contains("cannot exec in a stopped container"), "{error}");
    container.delete().unwrap();
}

/// What is closed is closed: exec brings nothing of the caller's, and the process can't be
/// reached through what init had.
#[test]
fn no_descriptors_come_along() {
    let mut case = case!();
    let container = case.running();
    assert_eq!(exec(&container, sh_process("ls /proc/self/fd | wc -l")).success(), "4\n");
    let given = std::os::fd::OwnedFd::from(fs::File::open("/etc/hostname").unwrap());
    let options = ExecOptions::new().preserve(vec![given]).env("ADDED", "yes");
    let out = exec_with(&container, sh_process("ls /proc/self/fd | wc -l; echo $ADDED"), options);
    assert_eq!(out.unwrap().success(), "5\nyes\n");
    end(container);
}

/// The cgroup is the container's, in every hierarchy.
#[test]
fn the_cgroup_is_the_containers() {
    let mut case = case!();
    case.without_namespace("cgroup");
    let container = case.running();
    let pid = container.pid().unwrap().unwrap();
    let own = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap();
    assert_eq!(exec(&container, sh_process("cat /proc/self/cgroup")).success(), own);
    end(container);
}

/// In a cgroup namespace it sees itself at the root.
#[test]
fn the_cgroup_namespace_is_the_containers() {
    let mut case = case!();
    let container = case.running();
    let out = exec(&container, sh_process("cat /proc/self/cgroup")).success();
    for line in out.lines() {
        let (id, path) = (line.split(':').nth(1).unwrap(), line.rsplit(':').next().unwrap());
        assert!(path == "/" || path.starts_with("/.."), "{id}: {path}");
    }
    end(container);
}

/// A filter that refuses what making processes takes doesn't hinder exec: the filter is last.
#[test]
fn a_filter_that_refuses_clone() {
    let mut case = case!();
    case.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "syscalls": [{
            "names": ["clone", "clone3", "fork", "vfork", "setns", "unshare", "openat2",
                      "setsid", "close_range", "capset", "prctl"],
            "action": "SCMP_ACT_ERRNO",
        }],
    });
    case.process()["args"] = json!(["/bin/sleep", "1000"]);
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let mut process = sh_process("");
    process["args"] = json!(["/bin/cat", "/proc/self/mountinfo"]);
    let out = exec(&container, process).success();
    assert!(mountinfo(&out).iter().any(|mount| mount.point == "/"), "{out}");
    end(container);
}

/// Who is cloned a second time, because the container's processes may trace it, is like all others.
#[test]
fn where_it_may_be_traced() {
    for (no_new_privileges, filter) in [(true, false), (false, true)] {
        let mut case = case!();
        case.may_trace();
        case.process()["noNewPrivileges"] = json!(no_new_privileges);
        if filter {
            let docker = include_str!("../data/docker-seccomp.json");
            case.linux()["seccomp"] = serde_json::from_str(docker).unwrap();
        }
        let container = case.running();
        let script = "cut -d' ' -f5,6 /proc/$$/stat; echo $$ $$; cat /proc/self/status; exit 7";
        for uid in [0, 1000] {
            let mut process = sh_process(script);
            process["user"] = json!({"uid": uid, "gid": 9});
            process["rlimits"] = json!([{"type": "RLIMIT_NOFILE", "soft": 10, "hard": 10}]);
            let out = exec(&container, process);
            assert_eq!(out.exit.code(), Some(7), "{out:?}");
            let lines: Vec<&str> = out.stdout.lines().collect();
            assert_eq!(lines[0], lines[1], "no session of its own: {out:?}");
            assert_eq!(status_field(&out.stdout, "Uid"), [uid.to_string().as_str(); 4].join("\t"));
            assert_eq!(
                status_field(&out.stdout, "NoNewPrivs"),
                u8::from(no_new_privileges).to_string()
            );
            // Who runs this may have a filter already, as `make missing` has.
            let own = fs::read_to_string("/proc/self/status").unwrap();
            let expected = if filter { "2" } else { status_field(&own, "Seccomp") };
            assert_eq!(status_field(&out.stdout, "Seccomp"), expected);
        }
        let mut process = sh_process("");
        process["args"] = json!(["no-such"]);
        let error = exec_with(&container, process.clone(), ExecOptions::new()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::CommandNotFound, "{error}");
        fs::write(case.rootfs().join("bin/garbage"), "\x01\x02").unwrap();
        let mode = fs::Permissions::from_mode(0o755);
        fs::set_permissions(case.rootfs().join("bin/garbage"), mode).unwrap();
        process["args"] = json!(["garbage"]);
        let error = exec_with(&container, process, ExecOptions::new()).unwrap_err();
        assert_error(
            &error,
            ErrorKind::CommandNotExecutable,
            "/process/args/0",
            "exec format error",
        );
        let process = serde_json::from_value(sh_process("sleep 1000")).unwrap();
        let process = container.exec(&process, ExecOptions::new().stdio(Stdio::null())).unwrap();
        assert!(container.processes().unwrap().contains(&process.pid()));
        process.kill(Signal::KILL).unwrap();
        assert_eq!(process.wait().unwrap().exit_code(), 137);
        // A shell and its child; nobody who joined is left.
        assert!(container.processes().unwrap().len() <= 2);
        end(container);
    }
}

/// Many at once.
#[test]
fn in_parallel() {
    let mut case = case!();
    let container = case.running();
    std::thread::scope(|scope| {
        let run = |number: usize| {
            let out = exec(&container, sh_process(&format!("echo {number}")));
            assert_eq!(out.success(), format!("{number}\n"));
        };
        for number in 0..16 {
            scope.spawn(move || run(number));
        }
    });
    end(container);
}

/// The container's first process can't finish its exit before its namespace's other processes are
/// collected (pid_namespaces(7)): `Container::wait` collects those of this program, whether they
/// were executed before the wait or during it, and their status is not lost by that.
#[test]
fn processes_that_nobody_waits_for_hold_nothing_up() {
    let mut case = case!();
    let container = std::sync::Arc::new(case.running());
    let process = serde_json::from_value(sh_process("exec sleep 1000")).unwrap();
    let sleep = || container.exec(&process, ExecOptions::new().stdio(Stdio::null()));
    let first = sleep().unwrap();
    drop(sleep().unwrap());
    let waiting = {
        let container = container.clone();
        std::thread::spawn(move || container.wait().unwrap())
    };
    let last = sleep().unwrap();
    container.kill(Signal::KILL).unwrap();
    assert_eq!(waiting.join().unwrap().signal(), Some(9));
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    assert_eq!(first.wait().unwrap().signal(), Some(9));
    assert_eq!(last.wait().unwrap().signal(), Some(9));
    end(std::sync::Arc::into_inner(container).unwrap());
}

/// A program's path may be a link of the image's to `/proc/self/fd/N`: while a descriptor of the
/// host's was open in the joining process it led out, and a program of the host was executed
/// (CVE-2024-21626's fourth way).
#[test]
fn no_descriptor_of_the_host_leads_out() {
    let mut case = case!();
    let container = case.running();
    for fd in 3..40 {
        let program = format!("/proc/self/fd/{fd}/../../../../../../../bin/sh");
        let process = json!({
            "user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
            "args": [program, "-c", "true"],
        });
        let process = serde_json::from_value(process).unwrap();
        let outcome = container.exec(&process, ExecOptions::new().stdio(Stdio::null()));
        let error = outcome.expect_err(&program);
        assert_eq!(error.kind(), ErrorKind::CommandNotFound, "{program}: {error}");
    }
    end(container);
}
