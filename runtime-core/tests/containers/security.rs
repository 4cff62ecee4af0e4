//! seccomp, LSM labels, resctrl.

use std::fs;
use std::io::{IoSliceMut, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use hoist::{CreateOptions, ErrorKind, ExecOptions, Stdio};
use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags};
use serde_json::{Value, json};

use crate::common::{
    Case, assert_error, end, exec, exec_with, pointer_of, sh_process, status_field, wait_for_exit,
};
use crate::{case, skip};

fn profile(rules: Value) -> Value {
    json!({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules})
}

#[test]
fn errno() {
    for no_new_privileges in [true, false] {
        let mut case = case!();
        case.process()["noNewPrivileges"] = json!(no_new_privileges);
        case.linux()["seccomp"] = profile(json!([
            {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95},
            {"names": ["symlink", "symlinkat"], "action": "SCMP_ACT_ERRNO"},
        ]));
        let out = case.sh("mkdir /tmp/x 2>&1; ln -s a /tmp/y 2>&1; cat /proc/self/status");
        assert!(out.contains("/tmp/x': Operation not supported"), "{out}");
        assert!(out.contains("/tmp/y: Operation not permitted"), "{out}");
        assert_eq!(status_field(&out, "Seccomp"), "2");
        assert_eq!(status_field(&out, "NoNewPrivs"), u8::from(no_new_privileges).to_string());
        // CAP_SYS_ADMIN, which loading took, is gone.
        assert_eq!(status_field(&out, "CapEff"), "0000000020000420");
    }
}

#[test]
fn default_action_and_its_errno() {
    let mut case = case!();
    // All that busybox needs to say something, and a default with an errno of its own.
    case.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 71,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_AARCH64"],
        "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": [
            "arch_prctl", "brk", "close", "dup2", "dup3", "execve", "exit", "exit_group", "fcntl",
            "fstat", "getcwd", "getegid", "geteuid", "getgid", "getpid", "getppid", "getrandom",
            "getuid", "ioctl", "lseek", "mmap", "mprotect", "munmap", "newfstatat", "open",
            "openat", "prctl", "prlimit64", "read", "readlink", "readlinkat", "rseq",
            "rt_sigaction", "rt_sigprocmask", "set_robust_list", "set_tid_address", "setgid",
            "setuid", "stat", "uname", "wait4", "write"]}],
    });
    case.process()["args"] = json!(["/bin/mkdir", "/tmp/x"]);
    let output = case.run().unwrap();
    assert!(output.stderr.contains("Protocol error"), "{output:?}");
}

#[test]
fn kill() {
    for action in ["SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS"] {
        let mut case = case!();
        case.linux()["seccomp"] =
            profile(json!([{"names": ["mkdir", "mkdirat"], "action": action}]));
        case.process()["args"] = json!(["/bin/mkdir", "/tmp/x"]);
        let exit = case.run().unwrap().exit;
        assert_eq!(exit.signal(), Some(31), "{action}: {exit:?}");
        assert_eq!(exit.exit_code(), 159);
    }
}

#[test]
fn trap_and_log() {
    let mut case = case!();
    case.linux()["seccomp"] = profile(json!([
        {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_TRAP"},
        {"names": ["rmdir", "unlinkat"], "action": "SCMP_ACT_LOG"},
    ]));
    let out = case.sh("rmdir /var/empty && echo logged; mkdir /tmp/x; echo $?");
    // SIGSYS, as shells count.
    assert_eq!(out, "logged\n159\n");
}

#[test]
fn arguments() {
    let mut case = case!();
    // kill(2) with signal 0 is refused, and with signals above 30.
    case.linux()["seccomp"] = profile(json!([
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 95,
         "args": [{"index": 1, "value": 0, "op": "SCMP_CMP_EQ"}]},
        {"names": ["kill"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71,
         "args": [{"index": 1, "value": 30, "op": "SCMP_CMP_GT"}]},
        // Only if both are so.
        {"names": ["chmod", "fchmodat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 71,
         "args": [{"index": 1, "value": 0o4000, "valueTwo": 0o4000, "op": "SCMP_CMP_MASKED_EQ"}]},
    ]));
    case.script(
        "kill -0 $$ 2>&1; kill -31 $$ 2>&1; kill -CONT $$ && echo allowed
        touch /tmp/f; chmod 4755 /tmp/f 2>&1; chmod 755 /tmp/f && echo allowed",
    );
    let out = case.run().unwrap().stdout;
    let words =
        ["Operation not supported", "Protocol error", "allowed", "Protocol error", "allowed"];
    assert_eq!(out.lines().count(), 5, "{out}");
    for (line, word) in out.lines().zip(words) {
        assert!(line.contains(word), "{out}");
    }
}

/// A system call that is newer than all that the profile names: a C library's fallback for old
/// kernels looks for ENOSYS.
#[test]
fn newer_calls_do_not_exist() {
    let Some(probe) = probe() else { skip!("needs cc") };
    let mut case = case!();
    install(&case, &probe);
    case.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        // Up to openat2, 437; 439 is faccessat2, 441 epoll_pwait2, and 999 doesn't exist yet.
        "syscalls": [{"action": "SCMP_ACT_ALLOW", "names": everything_up_to_openat2()}],
    });
    case.process()["args"] = json!(["/bin/probe", "439", "441", "999", "435", "165"]);
    let out = case.run().unwrap().success();
    // 165 is mount, which isn't named: the default.
    assert_eq!(out, "439 38\n441 38\n999 38\n435 22\n165 1\n", "{out}");
}

/// What a static C program needs, with clone3 (435) and openat2.
fn everything_up_to_openat2() -> Vec<&'static str> {
    vec![
        "arch_prctl",
        "brk",
        "clone3",
        "close",
        "execve",
        "exit_group",
        "fstat",
        "getrandom",
        "ioctl",
        "mmap",
        "mprotect",
        "newfstatat",
        "openat2",
        "prlimit64",
        "read",
        "readlink",
        "readlinkat",
        "rseq",
        "set_robust_list",
        "set_tid_address",
        "write",
    ]
}

/// A program that makes the system calls whose numbers it is given, with zeros.
fn probe() -> Option<std::path::PathBuf> {
    static BUILT: std::sync::OnceLock<Option<std::path::PathBuf>> = std::sync::OnceLock::new();
    let build = || {
        let dir = Path::new("/tmp/hoist-test-busybox");
        fs::create_dir_all(dir).ok()?;
        let program = dir.join(format!("busybox-{}.probe", std::process::id()));
        let source = "#include <errno.h>\n#include <stdio.h>\n#include <stdlib.h>\n\
            #include <unistd.h>\n\
            int main(int n, char **v) { for (int i = 1; i < n; i++) { errno = 0; \
            syscall(atoi(v[i]), 0, 0, 0, 0, 0, 0); printf(\"%s %d\\n\", v[i], errno); } }\n";
        let mut cc = std::process::Command::new("cc")
            .args(["-static", "-x", "c", "-", "-o"])
            .arg(&program)
            .stdin(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .ok()?;
        std::io::Write::write_all(cc.stdin.as_mut()?, source.as_bytes()).ok()?;
        drop(cc.stdin.take());
        cc.wait().ok()?.success().then_some(program)
    };
    BUILT.get_or_init(build).clone()
}

fn install(case: &Case, probe: &Path) {
    fs::copy(probe, case.rootfs().join("bin/probe")).unwrap();
}

/// 32-bit calls are decided too, or their architecture is refused.
#[test]
fn other_architectures_are_refused() {
    let Some(probe) = probe() else { skip!("needs cc") };
    let mut case = case!();
    install(&case, &probe);
    case.linux()["seccomp"] = profile(json!([{"names": ["mkdir"], "action": "SCMP_ACT_ERRNO"}]));
    // x32 calls have bit 30 set; the profile names no such architecture.
    case.process()["args"] = json!(["/bin/probe", (0x4000_0000 + 83).to_string()]);
    let output = case.run().unwrap();
    let refused = output.exit.signal() == Some(31) || output.stdout.ends_with(" 38\n");
    assert!(refused || output.stdout.ends_with(" 1\n"), "{output:?}");
}

#[test]
fn unknown_actions_and_names() {
    let mut case = case!();
    // Names that this kernel doesn't know are passed over, as runc does.
    case.linux()["seccomp"] = profile(
        json!([{"names": ["no_such_call", "mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO"}]),
    );
    assert!(case.sh("mkdir /tmp/x 2>&1 || true").contains("not permitted"));
    case.linux()["seccomp"] = json!({"defaultAction": "SCMP_ACT_NO_SUCH"});
    let error = case.bundle().err().or_else(|| case.run().err()).unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error}");
    assert!(pointer_of(&error).starts_with("/linux/seccomp"), "{error}");
}

#[test]
fn dockers_profile() {
    let mut case = case!();
    let text = include_str!("../data/docker-seccomp.json");
    let profile: Value = serde_json::from_str(text).unwrap();
    case.linux()["seccomp"] = profile;
    let out = case.sh("mkdir /tmp/x && cat /proc/self/status; mount -t tmpfs x /tmp 2>&1 || true");
    assert_eq!(status_field(&out, "Seccomp"), "2");
    assert!(out.contains("ermission denied") || out.contains("not permitted"), "{out}");
}

/// An agent that gets one notify descriptor: the message and the descriptor.
fn agent(listener: &UnixListener) -> (Value, OwnedFd) {
    let (socket, _) = listener.accept().unwrap();
    let mut bytes = vec![0u8; 65_536];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::net::recvmsg(
        &socket,
        &mut [IoSliceMut::new(&mut bytes)],
        &mut control,
        RecvFlags::CMSG_CLOEXEC,
    )
    .unwrap();
    let mut fds: Vec<OwnedFd> = Vec::new();
    for message in control.drain() {
        if let RecvAncillaryMessage::ScmRights(received) = message {
            fds.extend(received);
        }
    }
    assert_eq!(fds.len(), 1);
    let mut text = bytes[..message.bytes].to_vec();
    let mut stream: &UnixStream = &socket;
    stream.read_to_end(&mut text).unwrap();
    (serde_json::from_slice(&text).unwrap(), fds.pop().unwrap())
}

/// Answers notifications with an errno until the filter's last user is gone, seccomp_unotify(2).
/// The kernel's structures are driven by python3: tests have no unsafe code.
const ANSWER: &str = r#"
import ctypes, fcntl, os, select, struct, sys
fd, errno = int(sys.argv[1]), int(sys.argv[2])
RECV, SEND = 0xc0502100, 0xc0182101
poll = select.poll()
poll.register(fd, select.POLLIN)
count = 0
while True:
    events = poll.poll(20000)
    if not events or not events[0][1] & select.POLLIN:
        break
    request = bytearray(80)
    try:
        fcntl.ioctl(fd, RECV, request)
    except OSError:
        continue
    identity = struct.unpack_from("Q", request)[0]
    fcntl.ioctl(fd, SEND, struct.pack("Qqii", identity, 0, -errno, 0))
    count += 1
print(count)
"#;

fn answer(descriptor: OwnedFd, errno: u32) -> std::process::Child {
    rustix::io::fcntl_setfd(&descriptor, rustix::io::FdFlags::empty()).unwrap();
    std::process::Command::new("python3")
        .args(["-c", ANSWER, &descriptor.as_raw_fd().to_string(), &errno.to_string()])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap()
}

/// A case whose mkdir(2) calls go to an agent.
fn notifying(case: &mut Case) -> UnixListener {
    let path = case.dir.join("agent.sock");
    let listener = UnixListener::bind(&path).unwrap();
    case.config["annotations"] = json!({"org.example": "x"});
    case.linux()["seccomp"] = json!({
        "defaultAction": "SCMP_ACT_ALLOW",
        "listenerPath": path,
        "listenerMetadata": "some metadata",
        "syscalls": [{"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_NOTIFY"}],
    });
    listener
}

fn python() -> bool {
    let run = std::process::Command::new("python3").arg("--version").output();
    run.is_ok_and(|output| output.status.success())
}

#[test]
fn notifications() {
    for fused in [true, false] {
        let mut case = case!();
        if !python() {
            skip!("needs python3");
        }
        let listener = notifying(&mut case);
        let thread = std::thread::spawn(move || {
            let (message, descriptor) = agent(&listener);
            (message, answer(descriptor, 95))
        });
        case.script("mkdir /tmp/x 2> /dev/shm/err || cat /dev/shm/err");
        let options = CreateOptions::new().stdio(Stdio::piped());
        let mut container = if fused {
            case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap()
        } else {
            let container = case.create_with(options).unwrap();
            container.start().unwrap();
            container
        };
        let readers = crate::common::Readers::new(container.pipes());
        wait_for_exit(container.pidfd().unwrap());
        let output = readers.finish(container.wait().unwrap(), Vec::new());
        assert!(output.stdout.contains("Operation not supported"), "{output:?}");
        let (message, child) = thread.join().unwrap();
        let count = child.wait_with_output().unwrap();
        assert_eq!(String::from_utf8_lossy(&count.stdout), "1\n");
        container.delete().unwrap();
        // config-linux.md, "The Container Process State".
        assert_eq!(message["fds"], json!(["seccompFd"]));
        assert_eq!(message["metadata"], "some metadata");
        assert_eq!(message["ociVersion"], case.config["ociVersion"]);
        assert_eq!(message["state"]["id"], case.id.as_str());
        assert_eq!(message["state"]["annotations"]["org.example"], "x");
        assert_eq!(message["pid"], message["state"]["pid"]);
        assert!(message["pid"].as_u64().unwrap() > 1);
    }
}

/// A process that joins has a filter of its own, with a descriptor of its own.
#[test]
fn notifications_of_exec() {
    let mut case = case!();
    if !python() {
        skip!("needs python3");
    }
    let listener = notifying(&mut case);
    let thread = std::thread::spawn(move || {
        let (_, first) = agent(&listener);
        let (message, descriptor) = agent(&listener);
        (first, message, answer(descriptor, 71))
    });
    case.process()["args"] = json!(["/bin/sleep", "1000"]);
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    let out = exec_with(&container, sh_process("mkdir /tmp/x 2>&1 || true"), ExecOptions::new());
    match out {
        Ok(out) => assert!(out.stdout.contains("Protocol error"), "{out:?}"),
        Err(error) => panic!("{error}"),
    }
    let (_first, message, mut child) = thread.join().unwrap();
    assert_eq!(message["metadata"], "some metadata");
    child.wait().unwrap();
    end(container);
}

#[test]
fn nobody_listens() {
    let mut case = case!();
    drop(notifying(&mut case));
    case.script("true");
    let error = case.fails();
    assert_eq!(error.pointer(), Some("/linux/seccomp/listenerPath"), "{error}");
    assert!(error.to_string().contains("ECONNREFUSED"), "{error}");
}

fn lsm(name: &str) -> bool {
    let active = fs::read_to_string("/sys/kernel/security/lsm").unwrap_or_default();
    active.trim().split(',').any(|lsm| lsm == name)
}

#[test]
fn an_apparmor_profile() {
    let mut case = case!();
    // What a process is without AppArmor, too.
    case.process()["apparmorProfile"] = json!("unconfined");
    assert_eq!(case.sh("echo ran"), "ran\n");
    if lsm("apparmor") {
        assert!(case.sh("cat /proc/self/attr/current").contains("unconfined"));
        return;
    }
    case.process()["apparmorProfile"] = json!("docker-default");
    let error = case.fails();
    assert_error(&error, error.kind(), "/process/apparmorProfile", "AppArmor");
}

#[test]
fn an_selinux_label() {
    let mut case = case!();
    if lsm("selinux") {
        skip!("SELinux is active: the label would need a policy");
    }
    case.process()["selinuxLabel"] = json!("system_u:system_r:container_t:s0:c1,c2");
    case.script("true");
    let error = case.fails();
    assert_error(&error, error.kind(), "/process/selinuxLabel", "SELinux");
}

#[test]
fn a_mount_label() {
    let mut case = case!();
    if lsm("selinux") {
        skip!("SELinux is active: the label would need a policy");
    }
    case.linux()["mountLabel"] = json!("system_u:object_r:container_file_t:s0:c1,c2");
    case.script("true");
    let error = case.fails();
    assert_error(&error, error.kind(), "/linux/mountLabel", "SELinux");
}

#[test]
fn resctrl() {
    let mut case = case!();
    if Path::new("/sys/fs/resctrl/schemata").exists() {
        skip!("resctrl is mounted: its groups have tests of their own");
    }
    case.linux()["intelRdt"] = json!({"closID": "group", "l3CacheSchema": "L3:0=f"});
    case.script("true");
    let error = case.fails();
    assert!(pointer_of(&error).starts_with("/linux/intelRdt"), "{error}");
    assert!(error.to_string().contains("resctrl"), "{error}");
}

/// The container's process can't be traced or read from inside before it is the user's.
#[test]
fn init_is_gone() {
    let mut case = case!();
    let container = case.running();
    let pid = container.pid().unwrap().unwrap();
    let exe = fs::read_link(format!("/proc/{pid}/exe")).unwrap();
    assert!(exe.ends_with("bin/busybox"), "{exe:?}");
    let out = exec(&container, sh_process("grep -c hoist /proc/1/maps /proc/1/cmdline || true"));
    assert_eq!(out.success(), "/proc/1/maps:0\n/proc/1/cmdline:0\n");
    end(container);
}
