//! `process`: user, capabilities, limits, scheduling, environment, working directory, and which
//! errors come when.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use hoist::{CreateOptions, ErrorKind, Status, Stdio};
use serde_json::json;

use crate::common::{assert_error, capabilities, end, exec, sh_process, status_field};
use crate::{case, skip};

#[test]
fn user_umask_and_groups() {
    let mut case = case!();
    case.process()["user"] =
        json!({"uid": 1000, "gid": 1001, "umask": 0o27, "additionalGids": [5, 70_000]});
    let out = case.sh("id -u; id -g; id -G; umask; cd /tmp; touch f; mkdir d; stat -c %a f d
        cat /proc/self/status");
    assert!(out.starts_with("1000\n1001\n1001 5 70000\n0027\n640\n750\n"), "{out}");
    assert_eq!(status_field(&out, "Uid"), "1000\t1000\t1000\t1000");
    assert_eq!(status_field(&out, "Gid"), "1001\t1001\t1001\t1001");
    assert_eq!(status_field(&out, "Groups"), "5 70000");
    let made = fs::metadata(case.rootfs().join("tmp/f")).unwrap();
    assert_eq!((made.uid(), made.gid()), (1000, 1001));
}

/// The caller's own supplementary groups are not the container's.
#[test]
fn groups_are_not_inherited() {
    let mut case = case!();
    let out = case.sh("grep Groups /proc/self/status; umask");
    assert_eq!(out.split_whitespace().collect::<Vec<_>>(), ["Groups:", "0022"]);
}

fn set(names: &[&str]) -> String {
    let bits = names
        .iter()
        .fold(0, |bits, name| bits | name.parse::<caps::Capability>().unwrap().bitmask());
    format!("{bits:016x}")
}

#[test]
fn capabilities_in_five_sets() {
    let mut case = case!();
    let (kill, bind, chown, setpcap) =
        ("CAP_KILL", "CAP_NET_BIND_SERVICE", "CAP_CHOWN", "CAP_SETPCAP");
    case.process()["capabilities"] = json!({
        "bounding": [kill, bind, chown, setpcap],
        "permitted": [kill, bind, chown],
        "effective": [kill, bind],
        "inheritable": [kill, chown],
        "ambient": [kill],
    });
    // As a plain user what survives execve(2) is what is ambient.
    case.process()["user"] = json!({"uid": 1000, "gid": 1000});
    let out = case.sh("cat /proc/self/status");
    assert_eq!(status_field(&out, "CapBnd"), set(&[kill, bind, chown, setpcap]));
    assert_eq!(status_field(&out, "CapInh"), set(&[kill, chown]));
    assert_eq!(status_field(&out, "CapAmb"), set(&[kill]));
    assert_eq!(status_field(&out, "CapPrm"), set(&[kill]));
    assert_eq!(status_field(&out, "CapEff"), set(&[kill]));
    // Root gets its bounding set.
    case.process()["user"] = json!({"uid": 0, "gid": 0});
    case.process()["capabilities"] = json!({
        "bounding": [kill, bind], "permitted": [kill, bind], "effective": [kill, bind],
    });
    let out = case.sh("cat /proc/self/status");
    for name in ["CapBnd", "CapPrm", "CapEff"] {
        assert_eq!(status_field(&out, name), set(&[kill, bind]), "{name}");
    }
    assert_eq!(status_field(&out, "CapInh"), set(&[]));
    assert_eq!(status_field(&out, "CapAmb"), set(&[]));
}

#[test]
fn no_capabilities_by_default() {
    let mut case = case!();
    case.process().as_object_mut().unwrap().remove("capabilities");
    let out = case.sh("cat /proc/self/status");
    for name in ["CapBnd", "CapPrm", "CapEff", "CapInh", "CapAmb"] {
        assert_eq!(status_field(&out, name), set(&[]), "{name}");
    }
}

#[test]
fn unknown_capabilities_warn() {
    let mut case = case!();
    let all = json!(["CAP_KILL", "CAP_NO_SUCH_THING"]);
    case.process()["capabilities"] = json!({"bounding": all, "permitted": all, "effective": all});
    case.script("grep CapEff /proc/self/status");
    let output = case.run().unwrap();
    assert!(output.warnings.iter().any(|w| w.contains("CAP_NO_SUCH_THING")), "{output:?}");
    assert!(output.success().contains(&set(&["CAP_KILL"])));
}

/// "The runtime SHOULD log a warning" for what can't be granted (config.md).
#[test]
fn capabilities_that_cannot_be_granted_warn() {
    let mut case = case!();
    if capabilities().contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        skip!("this caller has all capabilities");
    }
    let all = json!(["CAP_KILL", "CAP_SYS_RESOURCE"]);
    case.process()["capabilities"] = json!({"bounding": all, "permitted": all, "effective": all});
    case.script("grep CapEff /proc/self/status");
    let output = case.run().unwrap();
    assert!(output.warnings.iter().any(|w| w.contains("CAP_SYS_RESOURCE")), "{output:?}");
    assert!(output.success().contains(&set(&["CAP_KILL"])));
}

#[test]
fn no_new_privileges() {
    for wanted in [true, false] {
        let mut case = case!();
        case.process()["noNewPrivileges"] = json!(wanted);
        let out = case.sh("cat /proc/self/status");
        assert_eq!(status_field(&out, "NoNewPrivs"), if wanted { "1" } else { "0" });
    }
}

#[test]
fn limits_are_lowered() {
    let mut case = case!();
    case.process()["rlimits"] = json!([
        {"type": "RLIMIT_NOFILE", "soft": 77, "hard": 99},
        {"type": "RLIMIT_CORE", "soft": 0, "hard": 1024},
        {"type": "RLIMIT_CPU", "soft": 100, "hard": 200},
        {"type": "RLIMIT_STACK", "soft": 1_048_576, "hard": 2_097_152},
    ]);
    let out = case.sh("cat /proc/self/limits");
    let limit = |name: &str| {
        let line = out.lines().find(|line| line.starts_with(name)).unwrap();
        line[name.len()..].split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(limit("Max open files"), "77 99");
    assert_eq!(limit("Max core file size"), "0 1024");
    assert_eq!(limit("Max cpu time"), "100 200");
    assert_eq!(limit("Max stack size"), "1048576 2097152");
}

#[test]
fn limits_are_raised() {
    let mut case = case!();
    if !capabilities().contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        skip!("needs CAP_SYS_RESOURCE");
    }
    let own = fs::read_to_string("/proc/self/limits").unwrap();
    let line = own.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let hard: u64 = line.split_whitespace().nth(4).unwrap().parse().unwrap();
    case.process()["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": hard + 1, "hard": hard + 1}]);
    assert_eq!(case.sh("ulimit -n").trim(), (hard + 1).to_string());
}

/// Who starts a container brings a page for init to map: there is room for that, whatever is left
/// for the program.
#[test]
fn an_address_space_without_room() {
    let mut case = case!();
    case.process()["rlimits"] = json!([{"type": "RLIMIT_AS", "soft": 4096, "hard": 4096}]);
    case.script("true");
    let container = case.create();
    container.start().unwrap();
    // What execve(2) does with a program that is too large.
    assert!(!container.wait().unwrap().success());
    container.delete().unwrap();
}

/// Without the privilege the error names limit and errno.
#[test]
fn limits_that_cannot_be_raised_are_named() {
    let mut case = case!();
    if capabilities().contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        skip!("this caller has CAP_SYS_RESOURCE");
    }
    case.process()["rlimits"] =
        json!([{"type": "RLIMIT_NOFILE", "soft": 1_000_000_000u64, "hard": 1_000_000_000u64}]);
    case.script("true");
    assert_error(&case.fails(), ErrorKind::Step, "/process/rlimits/0", "EPERM");
}

#[test]
fn oom_score() {
    let mut case = case!();
    let own: i32 = fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
    assert_eq!(case.sh("cat /proc/self/oom_score_adj").trim(), own.to_string());
    case.process()["oomScoreAdj"] = json!(own + 123);
    assert_eq!(case.sh("cat /proc/self/oom_score_adj").trim(), (own + 123).to_string());
    let container = case.running();
    let mut process = sh_process("cat /proc/self/oom_score_adj");
    process["oomScoreAdj"] = json!(own + 321);
    assert_eq!(exec(&container, process).success().trim(), (own + 321).to_string());
    end(container);
}

#[test]
fn an_oom_score_below_the_callers() {
    let mut case = case!();
    case.process()["oomScoreAdj"] = json!(-1000);
    if capabilities().contains(rustix::thread::CapabilitySet::SYS_RESOURCE) {
        assert_eq!(case.sh("cat /proc/self/oom_score_adj").trim(), "-1000");
        return;
    }
    case.script("true");
    let error = case.fails();
    assert_eq!(error.pointer(), Some("/process/oomScoreAdj"), "{error}");
}

/// `nice` and `policy` of /proc/PID/stat, proc_pid_stat(5).
fn stat_fields(stat: &str) -> (i64, u64, u64) {
    let (_, rest) = stat.rsplit_once(')').unwrap();
    let fields: Vec<&str> = rest.split_whitespace().collect();
    // The state is field 3.
    let number = |field: usize| fields[field - 3].parse::<i64>().unwrap();
    (number(19), number(40).unsigned_abs(), number(41).unsigned_abs())
}

#[test]
fn schedulers() {
    for (scheduler, expected) in [
        (json!({"policy": "SCHED_OTHER", "nice": 7}), (7, 0, 0)),
        (json!({"policy": "SCHED_BATCH", "nice": -3}), (-3, 0, 3)),
        (json!({"policy": "SCHED_IDLE"}), (0, 0, 5)),
    ] {
        let mut case = case!();
        case.process()["scheduler"] = scheduler.clone();
        let out = case.sh("cat /proc/1/stat");
        assert_eq!(stat_fields(&out), expected, "{scheduler}");
    }
}

/// A real-time task needs a budget of its v1 cpu cgroup, which is a resource.
#[test]
fn a_realtime_scheduler() {
    let mut case = case!();
    case.process()["scheduler"] = json!({"policy": "SCHED_FIFO", "priority": 10});
    case.script("cat /proc/1/stat");
    match case.run() {
        Ok(output) => assert_eq!(stat_fields(&output.success()), (0, 10, 1)),
        Err(error) => {
            assert_error(&error, ErrorKind::Step, "/process/scheduler", "EPERM");
            skip!("the v1 cpu cgroup has no real-time budget (CONFIG_RT_GROUP_SCHED)");
        }
    }
}

#[test]
fn scheduler_errors_name_the_field() {
    let mut case = case!();
    case.process()["scheduler"] = json!({"policy": "SCHED_OTHER", "nice": 99});
    let error = case.bundle().unwrap_err();
    assert_error(&error, ErrorKind::InvalidConfig, "/process/scheduler/nice", "99");
}

#[test]
fn io_priorities() {
    for (class, level, expected) in [
        ("IOPRIO_CLASS_BE", 6, "best-effort: prio 6"),
        ("IOPRIO_CLASS_RT", 1, "realtime: prio 1"),
        ("IOPRIO_CLASS_IDLE", 0, "idle"),
    ] {
        let mut case = case!();
        case.process()["ioPriority"] = json!({"class": class, "priority": level});
        let out = case.sh("ionice -p 1");
        assert!(out.contains(expected), "{class}: {out}");
    }
}

#[test]
fn exec_affinity() {
    let mut case = case!();
    if std::thread::available_parallelism().unwrap().get() < 2 {
        skip!("needs two CPUs");
    }
    case.process()["execCPUAffinity"] = json!({"initial": "0", "final": "1"});
    let container = case.running();
    let script = "grep Cpus_allowed_list /proc/self/status";
    let list = |out: String| out.split_whitespace().nth(1).unwrap().to_owned();
    assert_eq!(list(exec(&container, sh_process(script)).success()), "1");
    let mut process = sh_process(script);
    process["execCPUAffinity"] = json!({"final": "0-1"});
    assert_eq!(list(exec(&container, process).success()), "0-1");
    // It is for processes that join.
    let pid = container.pid().unwrap().unwrap();
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    assert_ne!(status_field(&status, "Cpus_allowed_list"), "1");
    end(container);
}

#[test]
fn memory_policies() {
    for (policy, expected) in [
        (json!({"mode": "MPOL_INTERLEAVE", "nodes": "0"}), "interleave"),
        (json!({"mode": "MPOL_BIND", "nodes": "0", "flags": ["MPOL_F_STATIC_NODES"]}), "bind"),
        (json!({"mode": "MPOL_PREFERRED", "nodes": "0"}), "prefer"),
        (json!({"mode": "MPOL_LOCAL"}), "local"),
    ] {
        let mut case = case!();
        case.linux()["memoryPolicy"] = policy.clone();
        case.script("head -1 /proc/1/numa_maps");
        let out = case.run().unwrap();
        if out.stdout.is_empty() {
            skip!("the kernel has no numa_maps");
        }
        assert!(out.stdout.contains(expected), "{policy}: {out:?}");
    }
}

#[test]
fn personalities() {
    let mut case = case!();
    case.linux()["personality"] = json!({"domain": "LINUX32"});
    let machine = case.sh("uname -m; cat /proc/1/personality");
    assert!(machine.ends_with("00000008\n") && !machine.starts_with("x86_64"), "{machine}");
    case.linux()["personality"] = json!({"domain": "LINUX"});
    assert_eq!(case.sh("cat /proc/1/personality"), "00000000\n");
}

#[test]
fn environment() {
    let mut case = case!();
    // The last of several wins, at the place of the first or the last: there is one.
    case.process()["env"] =
        json!(["PATH=/bin", "A=1", "B=x=y", "A=2", "EMPTY=", "A=3", "SPACE=a b"]);
    let out = case.sh("env | sort");
    let mut lines: Vec<&str> = out.lines().filter(|l| !l.starts_with("PWD=")).collect();
    lines.retain(|line| !line.starts_with("SHLVL=") && !line.starts_with("_="));
    assert_eq!(lines, ["A=3", "B=x=y", "EMPTY=", "HOME=/root", "PATH=/bin", "SPACE=a b"]);
    assert_eq!(case.sh("tr '\\0' '\\n' < /proc/1/environ | grep -c ^A="), "1\n");
    case.process()["env"] = json!(["PATH=/bin"]);
    case.script("echo $NEW $PATH");
    let options = CreateOptions::new().env("NEW", "value").env("PATH", "/usr/bin:/bin");
    assert_eq!(case.run_with(options).unwrap().success(), "value /usr/bin:/bin\n");
}

#[test]
fn home_comes_from_the_containers_passwd() {
    let mut case = case!();
    let file = case.rootfs().join("etc/passwd");
    let long = "x".repeat(300);
    let endless = format!("{}\nroot:x:0:0::/found:/bin/sh\n", "y".repeat(5000));
    for (text, user, env, home) in [
        ("a:x:0:0::/first:\nb:x:0:0::/second:\n", 0, &["PATH=/bin"][..], "/first"),
        ("root:x:0:0::/root:\nu:x:1000:0::/home/u:/bin/sh\n", 1000, &["PATH=/bin"], "/home/u"),
        // Nobody's entry, and a user whose *name* is a number.
        ("root:x:0:0::/root:\n", 4242, &["PATH=/bin"], "/"),
        ("4242:x:7:7::/evil:\n", 4242, &["PATH=/bin"], "/"),
        ("root:x:0:0::/root:\n", 0, &["PATH=/bin", "HOME=/own"], "/own"),
        // An empty one counts as none, as in runc.
        ("garbage\n:::::::\nroot:x:0:0::/ok:\n", 0, &["PATH=/bin"], "/ok"),
        (&format!("root:x:0:0::/{long}:\n"), 0, &["PATH=/bin"], &format!("/{long}")),
        (&endless, 0, &["PATH=/bin"], "/found"),
        ("root:x:0:0::/no-newline:", 0, &["PATH=/bin"], "/no-newline"),
    ] {
        fs::write(&file, text).unwrap();
        let mut case_config = case.config.clone();
        case_config["process"]["env"] = json!(env);
        case_config["process"]["user"] = json!({"uid": user, "gid": 0});
        let before = std::mem::replace(&mut case.config, case_config);
        assert_eq!(case.sh("echo $HOME").trim(), home, "{text:.60}");
        case.config = before;
    }
    // No file, a directory, a FIFO, a link out of the root.
    fs::remove_file(&file).unwrap();
    assert_eq!(case.sh("echo $HOME").trim(), "/");
    fs::create_dir(&file).unwrap();
    assert_eq!(case.sh("echo $HOME").trim(), "/");
    fs::remove_dir(&file).unwrap();
    crate::common::run_host("mkfifo", &[file.to_str().unwrap()]);
    assert_eq!(case.sh("echo $HOME").trim(), "/");
    fs::remove_file(&file).unwrap();
    let outside = case.dir.join("outside");
    fs::write(&outside, "root:x:0:0::/outside:\n").unwrap();
    symlink(&outside, &file).unwrap();
    assert_eq!(case.sh("echo $HOME").trim(), "/");
}

#[test]
fn the_working_directory_is_made() {
    let mut case = case!();
    case.process()["cwd"] = json!("/not/there/yet");
    assert_eq!(case.sh("pwd; stat -c '%a %u' ."), "/not/there/yet\n755 0\n");
    case.process()["cwd"] = json!("/etc/passwd");
    case.script("true");
    assert_error(&case.fails(), ErrorKind::Step, "/process/cwd", "ENOTDIR");
}

/// A directory that only the user may enter, and one that only root may.
#[test]
fn the_working_directory_is_the_users() {
    let mut case = case!();
    let home = case.rootfs().join("home/user");
    fs::create_dir_all(&home).unwrap();
    std::os::unix::fs::chown(&home, Some(1000), Some(1000)).unwrap();
    fs::set_permissions(&home, fs::Permissions::from_mode(0o700)).unwrap();
    case.process()["user"] = json!({"uid": 1000, "gid": 1000});
    case.process()["cwd"] = json!("/home/user");
    assert_eq!(case.sh("pwd; touch x"), "/home/user\n");
    // As root without CAP_DAC_OVERRIDE.
    case.process()["user"] = json!({"uid": 0, "gid": 0});
    assert_eq!(case.sh("pwd"), "/home/user\n");
}

/// A working directory that a bind brought in from outside of the root is noticed by its path.
#[test]
fn a_working_directory_outside_of_the_root() {
    let case = case!();
    // CVE-2024-21626: a descriptor of the host's as a directory. All are closed.
    let mut case = case;
    for number in 3..12 {
        case.process()["cwd"] = json!(format!("/proc/self/fd/{number}"));
        case.script("pwd; ls");
        match case.run() {
            Err(error) => assert_eq!(error.pointer(), Some("/process/cwd"), "{error}"),
            Ok(output) => panic!("{number}: {output:?}"),
        }
        case.assert_nothing_left();
    }
}

#[test]
fn stdio_belongs_to_the_user() {
    let mut case = case!();
    case.process()["user"] = json!({"uid": 1000, "gid": 1000});
    let out = case.sh("stat -L -c %u /proc/self/fd/0 /proc/self/fd/1 /proc/self/fd/2
        echo out > /dev/stdout; echo err > /dev/stderr");
    assert_eq!(out, "1000\n1000\n1000\nout\n");
    // But not /dev/null, which is everybody's.
    case.script("exit 0");
    let options = CreateOptions::new().stdio(Stdio::null());
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    container.wait().unwrap();
    container.delete().unwrap();
    assert_eq!(fs::metadata("/dev/null").unwrap().uid(), 0);
}

/// The host's /dev/null is not the container's.
#[test]
fn null_is_the_containers_own() {
    let mut case = case!();
    let result = case.dir.join("result");
    let file: OwnedFd = fs::File::create(&result).unwrap().into();
    let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
    case.script("readlink /proc/self/fd/0; stat -L -c %d /proc/self/fd/0 /dev/null");
    let options = CreateOptions::new().stdio(Stdio::from_descriptors(null(), file, null()));
    let container = case.runtime.run_with(&case.id, case.bundle().unwrap(), options).unwrap();
    container.wait().unwrap();
    container.delete().unwrap();
    let text = fs::read_to_string(&result).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[0], "/dev/null");
    assert_eq!(lines[1], lines[2], "{text}");
}

/// As with runc: what can be known of the program is an error of create, and what execve(2) says
/// one of start.
#[test]
fn program_errors_of_create() {
    let mut case = case!();
    let rootfs = case.rootfs();
    fs::write(rootfs.join("plain"), "text").unwrap();
    fs::create_dir(rootfs.join("dir")).unwrap();
    fs::write(rootfs.join("bin/noexec"), "x").unwrap();
    for (program, kind, words) in [
        ("no-such", ErrorKind::CommandNotFound, "\"no-such\": executable file not found in $PATH"),
        ("/no/such", ErrorKind::CommandNotFound, "no such file or directory"),
        ("/plain/x", ErrorKind::CommandNotFound, "not a directory"),
        ("/plain", ErrorKind::CommandNotExecutable, "permission denied"),
        ("/dir", ErrorKind::CommandNotExecutable, "is a directory"),
        ("", ErrorKind::CommandNotFound, "executable file not found in $PATH"),
    ] {
        case.process()["args"] = json!([program]);
        let error = case.create_with(CreateOptions::new().stdio(Stdio::null())).unwrap_err();
        assert_error(&error, kind, "/process/args/0", words);
        case.assert_nothing_left();
    }
}

#[test]
fn program_errors_of_start() {
    let mut case = case!();
    for (name, text, words) in [
        ("garbage", "\x01\x02\x03", "exec format error"),
        ("script", "#!/no/such/interpreter\n", "no such file or directory"),
    ] {
        let path = case.rootfs().join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        case.process()["args"] = json!([format!("/{name}")]);
        let container = case.create();
        let error = container.start().unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.pointer(), Some("/process/args/0"), "{error}");
        container.wait().unwrap();
        assert_eq!(container.state().unwrap().status, Status::Stopped);
        container.delete().unwrap();
        // In one go nothing is left.
        let error = case.fails();
        assert!(error.to_string().contains(words), "{error}");
    }
}

/// In the created state init holds nothing of the host's but what it waits with.
#[test]
fn a_created_container_holds_no_descriptors() {
    let mut case = case!();
    case.linux()["maskedPaths"] = json!(["/proc/kcore"]);
    case.script("true");
    let container = case.create_with(CreateOptions::new().stdio(Stdio::null())).unwrap();
    let pid = container.pid().unwrap().unwrap();
    let held = || {
        let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        let links = links.filter_map(|entry| fs::read_link(entry.unwrap().path()).ok());
        let mut held: Vec<String> = links
            .map(|link| link.display().to_string().split(':').next().unwrap_or_default().to_owned())
            .collect();
        held.sort();
        held
    };
    let waits = ["/dev/null", "/dev/null", "/dev/null", "anon_inode", "socket"];
    // Besides the start socket it has its end of the conversation with the value that has made it.
    assert_eq!(held(), [&waits[..], &["socket"]].concat());
    drop(container);
    let container = case.runtime.container(&case.id).unwrap();
    // Until it has read that this is over.
    let begin = std::time::Instant::now();
    while held() != waits && begin.elapsed() < std::time::Duration::from_secs(5) {
        std::thread::yield_now();
    }
    assert_eq!(held(), waits);
    container.start().unwrap();
    end(container);
}

/// Its first process can't be ended by a signal, unless init does it itself.
#[test]
fn signals_end_a_created_container() {
    let mut case = case!();
    let log = case.dir.join("log");
    fs::write(&log, "").unwrap();
    case.bind(&log, "/log", &["bind"]);
    case.script("grep SigBlk /proc/self/status > /log");
    for (signal, code) in [("TERM", 143), ("INT", 130), ("HUP", 129), ("QUIT", 131)] {
        let container = case.create_with(CreateOptions::new().stdio(Stdio::null())).unwrap();
        container.kill(signal.parse().unwrap()).unwrap();
        assert_eq!(container.wait().unwrap().exit_code(), code);
        assert_eq!(container.state().unwrap().status, Status::Stopped);
        container.delete().unwrap();
    }
    // Another one changes nothing, and the program has none blocked.
    let container = case.create_with(CreateOptions::new().stdio(Stdio::null())).unwrap();
    container.kill("USR1".parse().unwrap()).unwrap();
    assert_eq!(container.state().unwrap().status, Status::Created);
    container.start().unwrap();
    container.wait().unwrap();
    container.delete().unwrap();
    assert_eq!(status_field(&fs::read_to_string(&log).unwrap(), "SigBlk"), "0000000000000000");
}

/// The program is found through the configuration's PATH, in the container.
#[test]
fn the_program_is_found_in_path() {
    let mut case = case!();
    fs::create_dir_all(case.rootfs().join("opt/tools")).unwrap();
    symlink("../../bin/busybox", case.rootfs().join("opt/tools/echo")).unwrap();
    case.process()["env"] = json!(["PATH=/no/such:/opt/tools"]);
    case.process()["args"] = json!(["echo", "found"]);
    assert_eq!(case.run().unwrap().success(), "found\n");
    // Without one there is a default.
    case.process()["env"] = json!([]);
    assert_eq!(case.run().unwrap().success(), "found\n");
    // Relative to the working directory.
    case.process()["args"] = json!(["./echo", "here"]);
    case.process()["cwd"] = json!("/opt/tools");
    assert_eq!(case.run().unwrap().success(), "here\n");
}

#[test]
fn arguments_arrive_as_they_are() {
    let mut case = case!();
    let long = "x".repeat(100_000);
    case.process()["args"] = json!(["/bin/printf", "%s|", "", "a b", "$HOME", "\u{fc}\n", long]);
    assert_eq!(case.run().unwrap().success(), format!("|a b|$HOME|\u{fc}\n|{long}|"));
}

#[test]
fn more_descriptors() {
    let mut case = case!();
    let path = case.dir.join("given");
    fs::write(&path, "given\n").unwrap();
    let open = || OwnedFd::from(fs::File::open(&path).unwrap());
    case.script("cat <&3; ls /proc/self/fd | wc -l");
    let output = case.run_with(CreateOptions::new().preserve(vec![open(), open()])).unwrap();
    // 0 to 4, and the directory itself.
    assert_eq!(output.success(), "given\n6\n");
    assert_eq!(case.sh("ls /proc/self/fd | wc -l"), "4\n");
}

#[test]
fn exit_statuses() {
    let mut case = case!();
    case.script("exit 37");
    let exit = case.run().unwrap().exit;
    assert_eq!((exit.code(), exit.signal(), exit.exit_code()), (Some(37), None, 37));
    assert!(exit.usage().unwrap().max_rss > 100_000);
    // PID 1 is spared by signals from its own namespace.
    case.script("kill -9 $$; exit 3");
    assert_eq!(case.run().unwrap().exit.code(), Some(3));
    let container = case.running();
    container.kill(hoist::Signal::KILL).unwrap();
    let exit = container.wait().unwrap();
    assert_eq!((exit.code(), exit.signal(), exit.exit_code()), (None, Some(9), 137));
    container.delete().unwrap();
}
