//! The process contract: what containerd gets from the shim's commands, and what is left of them.
//!
//! Each test has a mount namespace of its own, a thread's, with an empty `/run`: so the sockets' usual
//! directory is nobody else's.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::print_stderr)]

mod harness;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use prost::Message;
use rustix::mount::{MountFlags, mount};
use rustix::process::Pid;

use harness::{
    Any, BootstrapParams, BootstrapResult, CONTAINERD, Cgroup, Container, Daemon, DeleteResponse,
    Extension, Options, RuntimeInfo, SHIM, Servers, assert_failed, assert_silent, output, skip,
    socket_of, test,
};

const ALONE: &str = "{}";

#[test]
fn each_daemon_gets_its_answer() {
    test("answers", |test| {
        for (daemon, id) in [(Daemon::V1_6, "a"), (Daemon::V1_7, "b"), (Daemon::V2_3, "c")] {
            let bundle = test.bundle(id, ALONE);
            let output = test.start_as(daemon, id, &bundle);
            assert_silent(&output);
            let socket = test.socket(id);
            let address = format!("unix://{}", socket.display());
            let expected = match daemon {
                Daemon::V1_6 => address.clone().into_bytes(),
                Daemon::V1_7 => {
                    format!("{{\"version\":2,\"address\":\"{address}\",\"protocol\":\"ttrpc\"}}")
                        .into_bytes()
                }
                Daemon::V2_3 => BootstrapResult {
                    version: 2,
                    address: address.clone(),
                    protocol: "ttrpc".to_owned(),
                }
                .encode_to_vec(),
            };
            assert_eq!(output.stdout, expected, "{daemon:?}");
            assert_eq!(fs::read_to_string(bundle.join("address")).unwrap(), address);
            assert_eq!(socket.metadata().unwrap().mode() & 0o777, 0o600);
            UnixStream::connect(&socket).unwrap();
        }
        assert_eq!(test.servers().len(), 3);
        assert_eq!(Path::new("/run/containerd/s").metadata().unwrap().mode() & 0o777, 0o700);
    });
}

#[test]
fn the_server_is_where_it_should_be() {
    test("server", |test| {
        let bundle = test.bundle("web", ALONE);
        let params = BootstrapParams {
            log_level: -4,
            socket_dir: Some("/run/elsewhere".to_owned()),
            ..test.params("web")
        };
        let mut command = test.command("web", &bundle);
        command.arg("start");
        let output = output(command, &params.encode_to_vec());
        assert_silent(&output);
        let result = BootstrapResult::decode(&*output.stdout).unwrap();
        assert!(result.address.starts_with("unix:///run/elsewhere/"));

        let server = test.server().ready();
        let line = server.read("cmdline");
        let arguments: Vec<&str> = line.trim_end_matches('\0').split('\0').skip(1).collect();
        let expected =
            ["-namespace", &test.namespace, "-id", "web", "-address", CONTAINERD, "-debug"];
        assert_eq!(arguments, expected);
        assert_eq!(server.link("cwd"), bundle);
        assert_eq!(server.read("comm"), "containerd-shim\n");
        for descriptor in ["fd/0", "fd/1", "fd/2"] {
            assert_eq!(server.link(descriptor), Path::new("/dev/null"), "{descriptor}");
        }
        let environment = server.read("environ");
        let events: HashSet<&str> =
            environment.split('\0').filter(|pair| pair.starts_with("TTRPC_ADDRESS=")).collect();
        assert_eq!(events, HashSet::from(["TTRPC_ADDRESS=/run/containerd/new.ttrpc"]));
        // A process group of its own: the fifth field, after the name in parentheses.
        let stat = server.read("stat");
        let group = stat.rsplit(')').next().unwrap().split_whitespace().nth(2).unwrap();
        assert_eq!(group, server.pid.to_string());
        let ours: i32 =
            fs::read_to_string("/proc/self/oom_score_adj").unwrap().trim().parse().unwrap();
        assert_eq!(server.read("oom_score_adj"), format!("{}\n", (ours + 1).min(1000)));
        assert!(server.read("status").contains("THP_enabled:\t0\n"));
    });
}

#[test]
fn a_group_has_one_shim() {
    test("group", |test| {
        let config = r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod"}}"#;
        let pod = test.bundle("pod", config);
        let address = test.start("pod", &pod);
        let first = test.server().pid;
        let sidecar = test.bundle("sidecar", config);
        assert_eq!(test.start("sidecar", &sidecar), address);
        assert_eq!(address, test.socket("pod"));
        assert_eq!(test.server().pid, first);
        let written = fs::read_to_string(sidecar.join("address")).unwrap();
        assert_eq!(written, format!("unix://{}", address.display()));

        // Docker's and ctr's way to group goes first.
        let config = r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod",
            "io.containerd.runc.v2.group": "mine"}}"#;
        let bundle = test.bundle("own", config);
        assert_eq!(test.start("own", &bundle), test.socket("mine"));
        assert_eq!(test.servers().len(), 2);
    });
}

#[test]
fn a_dead_shims_socket_is_replaced() {
    test("stale", |test| {
        let bundle = test.bundle("web", ALONE);
        let address = test.start("web", &bundle);
        let first = test.server();
        first.kill();
        assert!(address.exists(), "nobody has removed it");
        UnixStream::connect(&address).unwrap_err();
        assert_eq!(test.start("web", &bundle), address);
        assert_ne!(test.server().pid, first.pid);
        UnixStream::connect(&address).unwrap();
    });
}

#[test]
fn of_many_starts_at_once_one_makes_the_shim() {
    test("race", |test| {
        let config = r#"{"annotations": {"io.kubernetes.cri.sandbox-id": "pod"}}"#;
        for round in 0..5 {
            let children: Vec<_> = (0..8)
                .map(|number| {
                    let id = format!("c{round}-{number}");
                    let bundle = test.bundle(&id, config);
                    let mut command = test.command(&id, &bundle);
                    command.arg("start").stdin(Stdio::null());
                    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
                })
                .collect();
            for child in children {
                let output = child.wait_with_output().unwrap();
                assert_eq!(socket_of(&output), test.socket("pod"));
            }
            // The next round finds its socket, stale.
            test.server().kill();
        }
    });
}

#[test]
fn a_failed_start_leaves_nothing() {
    test("failed", |test| {
        let bundle = test.bundle("web", "{\"annotations\": 1}");
        let error =
            "read config.json: invalid type: integer `1`, expected a map at line 1 column 17";
        assert_failed(&test.start_as(Daemon::V1_6, "web", &bundle), error);
        fs::remove_file(bundle.join("config.json")).unwrap();
        let error = "read config.json: No such file or directory (os error 2)";
        assert_failed(&test.start_as(Daemon::V2_3, "web", &bundle), error);

        let bundle = test.bundle("web", ALONE);
        let start = |input: &[u8]| {
            let mut command = test.command("web", &bundle);
            command.arg("start");
            output(command, input)
        };
        let error =
            "the standard input holds neither bootstrap parameters nor the runtime's options";
        assert_failed(&start(b"garbage"), error);
        let unknown = Any { type_url: "io.runhcs.v1.Options".to_owned(), value: Vec::new() };
        let failed = start(&unknown.encode_to_vec());
        assert!(String::from_utf8_lossy(&failed.stderr).contains("are of type \"io.runhcs"));
        let options = Options { shim_cgroup: "/hoist-none".to_owned(), ..Options::default() };
        let error = "put the shim into the cgroup /hoist-none: no hierarchy has it";
        assert_failed(&start(&options.any().encode_to_vec()), error);
        test.assert_nothing_left();

        // The server is there, and the answer can't be given.
        let mut command = test.command("web", &bundle);
        let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
        command.arg("start").stdin(Stdio::null()).stdout(full).stderr(Stdio::piped());
        let failed = command.spawn().unwrap().wait_with_output().unwrap();
        let error = "print the shim's address: No space left on device (os error 28)";
        assert_failed(&failed, error);
        test.assert_nothing_left();

        // The same bundle can be started afterwards.
        test.start("web", &bundle);
    });
}

#[test]
fn the_shim_gets_its_cgroup() {
    test("cgroup", |test| {
        let name = format!("hoist-{}", test.namespace);
        let hierarchies = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup/pids", "/sys/fs/cgroup"];
        let hierarchy =
            hierarchies.iter().find(|path| Path::new(path).join("cgroup.procs").exists());
        let Some(directory) = hierarchy.map(|path| Path::new(path).join(&name)) else {
            return skip("the_shim_gets_its_cgroup", "no cgroup hierarchy is mounted");
        };
        if let Err(error) = fs::create_dir(&directory) {
            return skip("the_shim_gets_its_cgroup", &format!("no cgroup can be made: {error}"));
        }
        let cgroup = Cgroup(directory);
        // It goes before its cgroup does, in case of a failure too.
        let _servers = Servers(test);
        let bundle = test.bundle("web", ALONE);
        let options = Options { shim_cgroup: format!("/{name}"), ..Options::default() }.any();
        let extensions = vec![Extension { value: Some(options) }];
        let mut command = test.command("web", &bundle);
        command.arg("start");
        let params = BootstrapParams { extensions, ..test.params("web") };
        let started = output(command, &params.encode_to_vec());
        assert_silent(&started);
        let inside = fs::read_to_string(cgroup.0.join("cgroup.procs")).unwrap();
        assert_eq!(inside, format!("{}\n", test.server().pid));
    });
}

#[test]
fn core_scheduling_is_turned_on_or_refused() {
    test("core", |test| {
        let bundle = test.bundle("web", ALONE);
        let mut command = test.command("web", &bundle);
        command.arg("start").env("SCHED_CORE", "1");
        let started = output(command, b"");
        if started.status.success() {
            socket_of(&started);
            let pid = Pid::from_raw(test.server().pid).unwrap();
            let scope = rustix::thread::CoreSchedulingScope::Thread;
            assert_ne!(rustix::thread::core_scheduling_cookie(pid, scope).unwrap(), 0);
        } else {
            // No SMT, or a kernel without it.
            let error = String::from_utf8_lossy(&started.stderr).into_owned();
            assert!(error.contains("turn on core scheduling (SCHED_CORE): "), "{error}");
            assert_eq!(started.stdout, b"");
            test.assert_nothing_left();
            skip("core_scheduling_is_turned_on_or_refused", error.trim());
        }
    });
}

#[test]
fn delete_of_nothing_succeeds() {
    test("nothing", |test| {
        let bundle = test.bundle("web", ALONE);
        let before = std::time::SystemTime::now();
        let output = test.delete("web", &bundle);
        assert_silent(&output);
        let response = DeleteResponse::decode(&*output.stdout).unwrap();
        assert_eq!((response.pid, response.exit_status), (0, 137));
        let before = before.duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
        assert!(response.exited_at.unwrap().seconds >= i64::try_from(before).unwrap());
        // Without -bundle it is the working directory; that one may be empty.
        let bundle = Path::new("/run/empty");
        fs::create_dir(bundle).unwrap();
        let mut command = test.command("web", bundle);
        command.arg("delete");
        assert_silent(&self::output(command, b""));
    });
}

#[test]
fn delete_does_not_stop_at_damage() {
    test("damage", |test| {
        let bundle = test.bundle("web", ALONE);
        fs::write(bundle.join("options.json"), "{").unwrap();
        fs::write(bundle.join("address"), "nonsense").unwrap();
        mount("layers", bundle.join("rootfs"), "tmpfs", MountFlags::empty(), None).unwrap();
        let output = test.delete("web", &bundle);
        let warnings = String::from_utf8(output.stderr).unwrap();
        assert_eq!(warnings.lines().count(), 2, "{warnings}");
        assert!(
            warnings.contains("level=warning msg=\"read ") && warnings.contains("options.json")
        );
        assert!(warnings.contains("is no shim's address"), "{warnings}");
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(DeleteResponse::decode(&*output.stdout).unwrap().exit_status, 137);
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        assert!(!mounts.contains(bundle.to_str().unwrap()), "{mounts}");
    });
}

#[test]
fn delete_removes_the_socket_of_the_dead_only() {
    test("sweep", |test| {
        let bundle = test.bundle("web", ALONE);
        let address = test.start("web", &bundle);
        assert_silent(&test.delete("web", &bundle));
        UnixStream::connect(&address).unwrap();
        test.server().kill();
        assert_silent(&test.delete("web", &bundle));
        test.assert_nothing_left();
    });
}

#[test]
fn delete_removes_what_a_killed_shim_left() {
    test("killed", |test| {
        let bundle = test.bundle("web", ALONE);
        let config = hoist::DefaultSpec::default().json();
        let mut config: serde_json::Value = serde_json::from_str(&config).unwrap();
        config["root"] = serde_json::json!({ "path": "rootfs" });
        config["process"]["args"] = serde_json::json!(["/none"]);
        config["process"]["terminal"] = serde_json::json!(false);
        config["linux"]["cgroupsPath"] = serde_json::json!(format!("/hoist-{}", test.namespace));
        fs::write(bundle.join("config.json"), config.to_string()).unwrap();
        fs::write(bundle.join("options.json"), r#"{"root":"/run/state"}"#).unwrap();
        let rootfs = bundle.join("rootfs");
        mount("layers", &rootfs, "tmpfs", MountFlags::empty(), None).unwrap();

        // Its process waits to be started: the program has to be there, no more.
        fs::write(rootfs.join("none"), "").unwrap();
        fs::set_permissions(rootfs.join("none"), fs::Permissions::from_mode(0o755)).unwrap();

        let root = Path::new("/run/state").join(&test.namespace);
        let runtime = hoist::Runtime::builder().root(&root).build().unwrap();
        let loaded = hoist::Bundle::load(&bundle).unwrap();
        let container = match runtime.create("web", loaded, hoist::Stdio::null()) {
            Ok(container) => container,
            Err(error) => {
                return skip("delete_removes_what_a_killed_shim_left", &format!("{error:#}"));
            }
        };
        let _guard = Container(&runtime, "web");
        let pid = container.pid().unwrap().unwrap();
        let output = test.delete("web", &bundle);
        assert_silent(&output);
        let response = DeleteResponse::decode(&*output.stdout).unwrap();
        assert_eq!((response.pid, response.exit_status), (pid, 137));
        assert!(container.wait().is_ok_and(|exit| exit.signal().is_some()));
        assert_eq!(runtime.list().unwrap(), Vec::<String>::new());
        let mounts = fs::read_to_string("/proc/thread-self/mounts").unwrap();
        assert!(!mounts.contains(rootfs.to_str().unwrap()), "{mounts}");
        // The id can be used again.
        assert_silent(&test.delete("web", &bundle));
    });
}

#[test]
fn info_answers_without_a_bundle() {
    let options = Options { root: "/run/r".to_owned(), ..Options::default() }.any();
    for (input, expected) in
        [(options.encode_to_vec(), Some(options)), (Vec::new(), None), (b"\xff\xff".to_vec(), None)]
    {
        let mut command = Command::new(SHIM);
        command.arg("-info").current_dir("/");
        let output = output(command, &input);
        assert_silent(&output);
        let info = RuntimeInfo::decode(&*output.stdout).unwrap();
        assert_eq!(info.name, "io.containerd.hoist.v2");
        assert_eq!(info.options, expected);
        let features = info.features.unwrap();
        assert!(features.type_url.ends_with("runtime-spec/1/features/Features"));
        let features: serde_json::Value = serde_json::from_slice(&features.value).unwrap();
        assert_eq!(features["ociVersionMin"], "1.0.0");
    }
}

#[test]
fn questions_of_people_are_answered() {
    let run = |arguments: &[&str]| {
        let mut command = Command::new(SHIM);
        command.args(arguments);
        output(command, b"")
    };
    for flag in ["-v", "--version"] {
        let version = run(&[flag]);
        assert_silent(&version);
        let text = String::from_utf8(version.stdout).unwrap();
        assert!(text.starts_with("containerd-shim-hoist-v2:\n  Version:  "), "{text}");
        assert!(text.contains(env!("CARGO_PKG_VERSION")));
    }
    let help = run(&["-h"]);
    assert_silent(&help);
    assert!(String::from_utf8(help.stdout).unwrap().contains("for containerd, which starts it"));
    let by_hand = "standard input is no listening socket: containerd starts this program";
    assert_failed(&run(&["-namespace", "n", "-id", "i"]), by_hand);
    assert_failed(&run(&[]), "the shim's namespace cannot be empty");
    assert_failed(&run(&["-frob"]), "flag provided but not defined: -frob");
}
