//! The life of containers, as callers of runc see it. Needs root.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout
)] // clippy.toml allows these in tests, but does not take helpers of integration tests for such

mod common;

use std::fs;
use std::os::fd::AsRawFd;
use std::process::Stdio;

use common::{assert_fails, assert_ok, bench, eventually, exists, text};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

#[test]
fn run_passes_output_and_exit_code_on() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sh", "-c", "echo out; echo err >&2; cat; exit 42"]);
    let mut command = bench.command(&["run", &bench.a]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let written = std::io::Write::write_all(&mut child.stdin.take().unwrap(), b"in\n");
    let output = child.wait_with_output().unwrap();
    // Where hoist refuses, it may be gone before it could be written to: its own words tell more.
    assert_eq!(output.status.code(), Some(42), "{output:?}");
    written.unwrap();
    assert_eq!(text(&output.stdout), "out\nin\n");
    assert_eq!(text(&output.stderr), "err\n");
    assert_fails(&bench.hoist(&["state", &bench.a]), 1, "container does not exist");
}

#[test]
fn create_start_kill_delete() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    let pid_file = bench.path("pid");
    bench.detached(&["create", &bench.a, "--pid-file", &pid_file]);
    let state = bench.state(&bench.a);
    assert_eq!(state["status"], "created");
    assert_eq!(state["bundle"], bench.bundle().to_str().unwrap());
    assert_eq!(fs::read_to_string(&pid_file).unwrap(), state["pid"].to_string());
    assert_fails(&bench.hoist(&["create", &bench.a]), 1, "container with given ID already exists");

    assert_ok(&bench.hoist(&["start", &bench.a]));
    assert_eq!(bench.status(&bench.a), "running");
    assert_fails(
        &bench.hoist(&["start", &bench.a]),
        1,
        "cannot start an already running container",
    );
    assert_fails(
        &bench.hoist(&["delete", &bench.a]),
        1,
        &format!("cannot delete container {} that is not stopped: running", bench.a),
    );
    assert_fails(&bench.hoist(&["kill", &bench.a, "NOSUCH"]), 1, "unknown signal \"NOSUCH\"");
    assert_ok(&bench.hoist(&["kill", &bench.a, "0"]));
    assert_ok(&bench.hoist(&["kill", &bench.a, "sigkill"]));
    eventually("it is stopped", || bench.status(&bench.a) == "stopped");
    assert_fails(&bench.hoist(&["kill", &bench.a, "0"]), 1, "container not running");
    assert_ok(&bench.hoist(&["kill", "--all", &bench.a, "9"]));
    assert_fails(
        &bench.hoist(&["start", &bench.a]),
        1,
        "cannot start a container that has stopped",
    );
    assert_fails(
        &bench.hoist(&["exec", &bench.a, "true"]),
        255,
        "cannot exec in a stopped container",
    );
    assert_ok(&bench.hoist(&["ps", &bench.a]));
    assert_ok(&bench.hoist(&["delete", &bench.a]));
    assert_fails(&bench.hoist(&["delete", &bench.a]), 1, "container does not exist");
    assert_ok(&bench.hoist(&["delete", "--force", &bench.a]));
}

#[test]
fn list_and_ps() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    assert_eq!(text(&bench.hoist(&["list", "--format", "json"]).stdout), "[]\n");
    for id in [&bench.b, &bench.a] {
        bench.detached(&["run", "--detach", id]);
    }
    let ids = format!("{}\n{}\n", bench.a, bench.b);
    assert_eq!(text(&bench.hoist(&["list", "-q"]).stdout), ids);
    let table = text(&bench.hoist(&["list"]).stdout);
    let lines: Vec<Vec<_>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"]);
    assert_eq!([lines[1][0], lines[1][2], lines[1][5]], [bench.a.as_str(), "running", "root"]);
    let states: serde_json::Value =
        serde_json::from_slice(&bench.hoist(&["list", "-f", "json"]).stdout).unwrap();
    assert_eq!(states[1]["id"], bench.b);

    let pid = states[0]["pid"].as_u64().unwrap();
    let pids = text(&bench.hoist(&["ps", "--format", "json", &bench.a]).stdout);
    assert_eq!(pids, format!("[{pid}]\n"));
    let table = text(&bench.hoist(&["ps", &bench.a, "-e", "-o", "pid,args"]).stdout);
    assert_eq!(table.lines().count(), 2, "{table}");
    assert!(table.lines().nth(1).unwrap().trim().starts_with(&pid.to_string()));
}

#[test]
fn exec_takes_its_options_before_the_id_only() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    bench.detached(&["run", "-d", &bench.a]);
    let exec = |arguments: &[&str]| bench.hoist(&[&["exec"], arguments].concat());
    assert_eq!(exec(&[&bench.a, "sh", "-c", "exit 7"]).status.code(), Some(7));
    assert_eq!(exec(&[&bench.a, "sh", "-c", "kill -9 $$"]).status.code(), Some(137));
    let output = exec(&[
        "--user",
        "1:2",
        "-g",
        "5",
        "-e",
        "A=B",
        "--cwd",
        "/tmp",
        &bench.a,
        "sh",
        "-c",
        "id -u; id -G; echo $A; pwd",
    ]);
    assert_eq!(text(&output.stdout), "1\n2 5\nB\n/tmp\n");
    assert_fails(&exec(&["--user", "root", &bench.a, "id"]), 255, "bad uid");
    assert_fails(
        &exec(&[&bench.a, "nosuch"]),
        255,
        "exec: \"nosuch\": executable file not found in $PATH",
    );
    assert_fails(&exec(&["other", "true"]), 255, "container does not exist");
    assert_fails(&exec(&[&bench.a]), 255, "exec args cannot be empty");
    let process = bench.path("process.json");
    fs::write(&process, r#"{"args": ["echo", "from file"], "cwd": "/"}"#).unwrap();
    assert_eq!(text(&exec(&["--process", &process, &bench.a]).stdout), "from file\n");
    assert_fails(
        &exec(&["--pid-file", "/nonexistent/x", &bench.a, "true"]),
        255,
        "write the pid file",
    );

    let pid_file = bench.path("pid");
    let arguments = ["exec", "-d", "--pid-file", &pid_file, &bench.a, "sleep", "1000"];
    assert!(bench.command(&arguments).status().unwrap().success());
    let pid = fs::read_to_string(&pid_file).unwrap();
    assert!(text(&bench.hoist(&["ps", "-f", "json", &bench.a]).stdout).contains(&pid));
}

#[test]
fn the_last_json_line_is_the_error() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["nosuch"]);
    let log = bench.path("log.json");
    let output = bench.hoist(&["--log", &log, "--log-format", "json", "run", &bench.a]);
    let message = "exec: \"nosuch\": executable file not found in $PATH";
    assert_fails(&output, 1, message);
    assert!(!text(&output.stderr).contains("level="), "{output:?}");
    let lines = fs::read_to_string(&log).unwrap();
    let last: serde_json::Value = serde_json::from_str(lines.lines().last().unwrap()).unwrap();
    assert_eq!(last["level"], "error");
    assert!(last["msg"].as_str().unwrap().contains(message));
    assert!(last["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(text(&bench.hoist(&["list", "-q"]).stdout), "", "nothing is left");
}

#[test]
fn signals_go_to_the_process() {
    let Some(bench) = bench() else { return };
    bench.arguments(&[
        "sh",
        "-c",
        "trap 'echo caught; exit 3' USR1; echo ready; while :; do sleep 0.1; done",
    ]);
    let mut command = bench.command(&["run", &bench.a]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    bench.await_running(&mut child, &bench.a);
    let mut stdout = child.stdout.take().unwrap();
    let mut ready = [0; 6];
    std::io::Read::read_exact(&mut stdout, &mut ready).unwrap();
    kill_process(Pid::from_child(&child), Signal::USR1).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(3));
    assert_eq!(std::io::read_to_string(stdout).unwrap(), "caught\n");
    assert!(!bench.hoist(&["state", &bench.a]).status.success());
}

#[test]
fn a_signal_s_number_is_in_the_exit_code() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    let mut command = bench.command(&["run", "--keep", &bench.a]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    bench.await_running(&mut child, &bench.a);
    assert_ok(&bench.hoist(&["kill", &bench.a, "KILL"]));
    assert_eq!(child.wait().unwrap().code(), Some(137));
    assert_eq!(bench.status(&bench.a), "stopped");
    assert_ok(&bench.hoist(&["delete", &bench.a]));
}

#[test]
fn descriptors_are_preserved_and_no_others() {
    let Some(bench) = bench() else { return };
    let (read, write) = std::io::pipe().unwrap();
    // A shell puts the pipe to 3 and leaves our own descriptors behind. Not sh: dash takes one digit
    // in a redirection, and beside other tests the pipe has two.
    let shell = |options: &str, script: &str| {
        bench.arguments(&["sh", "-c", script]);
        let number = write.as_raw_fd();
        let mut command = std::process::Command::new("bash");
        rustix::io::fcntl_setfd(&write, rustix::io::FdFlags::empty()).unwrap();
        let line = format!(
            "exec 3>&{number} {number}>&-; exec {} --root {} --log {} run {options} {}",
            common::program().display(),
            bench.path("state"),
            bench.path("log"),
            bench.a,
        );
        command.args(["-c", &line]).current_dir(bench.bundle()).output().unwrap()
    };

    bench.arguments(&["true"]);
    let kept = shell("--preserve-fds=1", "echo hello >&3");
    assert_ok(&kept);
    let none = shell("", "[ ! -e /proc/self/fd/3 ]");
    assert_ok(&none);
    // 4 is the log file, which is ours and nobody asked for.
    assert_fails(&shell("--preserve-fds=2", "true"), 1, "unable to stat preserved-fd 1 (of 2)");
    drop(write);
    assert_eq!(std::io::read_to_string(read).unwrap(), "hello\n");
}

#[test]
fn what_is_unsupported_says_so() {
    let Some(bench) = bench() else { return };
    for command in ["checkpoint", "restore"] {
        let message = format!("{command} is not supported yet");
        assert_fails(&bench.hoist(&[command, "--some", &bench.a]), 1, &message);
    }
}

#[test]
fn without_systemd_there_is_a_clear_answer() {
    let Some(bench) = bench() else { return };
    if std::path::Path::new("/run/systemd/system").is_dir() {
        println!("SKIP without_systemd_there_is_a_clear_answer: systemd is here");
        return;
    }
    bench.arguments(&["true"]);
    let output = bench.hoist(&["--systemd-cgroup", "run", &bench.a]);
    assert_fails(&output, 1, "use the cgroupfs manager");
}

#[test]
fn timings_are_printed_after_the_exit() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["echo", "hello"]);
    let output = bench.hoist(&["run", "--timings", &bench.a]);
    assert_ok(&output);
    let errors = text(&output.stderr);
    assert!(errors.lines().next().unwrap().starts_with("STEP"), "{errors}");
    assert!(errors.lines().last().unwrap().contains("total"), "{errors}");
    for phase in ["load", "compile", "pivot-root", "program", "delete"] {
        assert!(errors.contains(phase), "{errors}");
    }
}

#[test]
fn a_failure_after_the_start_leaves_nothing() {
    let Some(bench) = bench() else { return };
    bench.arguments(&["sleep", "1000"]);
    for arguments in [
        &["run", "--pid-file", "/nonexistent/x", &bench.a][..],
        &["run", "-d", "--pid-file", "/nonexistent/x", &bench.a],
        &["create", "--pid-file", "/nonexistent/x", &bench.a],
    ] {
        let output = bench.hoist(arguments);
        assert_fails(&output, 1, "write the pid file /nonexistent/x: no such file or directory");
        assert_eq!(text(&bench.hoist(&["list", "-q"]).stdout), "");
    }
}

#[test]
fn systemd_is_notified() {
    let Some(bench) = bench() else { return };
    let systemd = bench.path("systemd");
    let socket = std::os::unix::net::UnixDatagram::bind(&systemd).unwrap();
    // busybox can't send datagrams: what counts here is that the container has the directory and
    // the variable, and that the run ends without a notification.
    bench.arguments(&["sh", "-c", "echo $NOTIFY_SOCKET; [ -e $NOTIFY_SOCKET ] && echo there"]);
    let output = bench.command(&["run", &bench.a]).env("NOTIFY_SOCKET", &systemd).output().unwrap();
    assert_ok(&output);
    assert_eq!(text(&output.stdout), "/run/notify/notify.sock\nthere\n");
    drop(socket);
    assert!(!exists(bench.directory.join("state/@notify").join(&bench.a)));
    assert_eq!(text(&bench.hoist(&["list", "-q"]).stdout), "");
}

/// Without privileges: a user namespace with the user's own id as its root, no cgroup of its own.
#[test]
fn an_unprivileged_user() {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    const USER: u32 = 12_345;
    let Some(bench) = bench() else { return };
    // Where the test's own program is, somebody else may not be allowed to look.
    let program = bench.directory.join("hoist");
    // Not by this program, of which a copy made for another test could have the file open for writing
    // when it is executed (ETXTBSY).
    assert!(Command::new("cp").arg(common::program()).arg(&program).status().unwrap().success());
    fs::remove_file(bench.bundle().join("config.json")).unwrap();
    let owner = format!("{USER}:{USER}");
    assert!(
        Command::new("chown")
            .args(["-R", &owner])
            .arg(&bench.directory)
            .status()
            .unwrap()
            .success()
    );
    let hoist = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--root").arg(bench.directory.join("own-state")).args(arguments);
        command.current_dir(bench.bundle()).uid(USER).gid(USER).stdin(Stdio::null());
        command.output().unwrap()
    };
    assert_ok(&hoist(&["spec", "--rootless"]));
    bench.configure(|config| config["process"]["terminal"] = serde_json::json!(false));

    bench.arguments(&["sh", "-c", "id -u; cat /proc/self/uid_map; echo > /proc/self/comm"]);
    let output = hoist(&["run", &bench.a]);
    assert_ok(&output);
    let words: Vec<_> = text(&output.stdout).split_whitespace().map(str::to_owned).collect();
    assert_eq!(words, ["0", "0", "12345", "1"]);

    bench.arguments(&["sleep", "1000"]);
    // A daemon's output must not hold the pipe to us.
    let started = Command::new(&program)
        .arg("--root")
        .arg(bench.directory.join("own-state"))
        .args(["run", "--detach", &bench.b])
        .current_dir(bench.bundle())
        .uid(USER)
        .gid(USER)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .unwrap();
    assert!(started.success());
    let output = hoist(&["exec", &bench.b, "id", "-u"]);
    assert_ok(&output);
    assert_eq!(text(&output.stdout), "0\n");

    // As in a pod: with the other's user namespace, with everybody's pids, with both.
    let state: serde_json::Value =
        serde_json::from_slice(&hoist(&["state", &bench.b]).stdout).unwrap();
    let user = format!("/proc/{}/ns/user", state["pid"]);
    bench.arguments(&["id", "-u"]);
    let remove = |config: &mut serde_json::Value, kind: &str| {
        let namespaces = config["linux"]["namespaces"].as_array_mut().unwrap();
        namespaces.retain(|namespace| namespace["type"] != kind);
    };
    let runs = |what: &str| {
        let output = hoist(&["run", &bench.a]);
        assert_ok(&output);
        assert_eq!(text(&output.stdout), "0\n", "{what}");
        text(&output.stderr).to_owned()
    };
    let mut alone = serde_json::Value::Null;
    bench.configure(|config| alone = config.clone());
    bench.configure(|config| {
        config["mounts"].as_array_mut().unwrap().retain(|mount| mount["type"] != "proc");
        config["linux"]["maskedPaths"] = serde_json::json!([]);
        config["linux"]["readonlyPaths"] = serde_json::json!([]);
        remove(config, "pid");
    });
    // In two steps, and removed before it is started: nothing of it is left.
    let create = || {
        let mut command = Command::new(&program);
        command.arg("--root").arg(bench.directory.join("own-state")).args(["create", &bench.a]);
        command.current_dir(bench.bundle()).uid(USER).gid(USER).stdin(Stdio::null());
        assert!(command.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap().success());
        let state = hoist(&["state", &bench.a]);
        assert_ok(&state);
        let state: serde_json::Value = serde_json::from_slice(&state.stdout).unwrap();
        assert_eq!(state["status"], "created");
        format!("/proc/{}/stat", state["pid"])
    };
    let steps = |what: &str| {
        let process = create();
        assert_ok(&hoist(&["delete", "--force", &bench.a]));
        eventually(&format!("{what}: its process is gone"), || !exists(&process));
        create();
        // What the image runs must not reach init.
        let output = hoist(&["exec", &bench.a, "true"]);
        assert!(!output.status.success(), "{what}");
        assert_ok(&hoist(&["start", &bench.a]));
        eventually("it ends", || {
            text(&hoist(&["state", &bench.a]).stdout).contains(r#""stopped""#)
        });
        assert_ok(&hoist(&["delete", &bench.a]));
        // Its namespaces are known once its program runs.
        bench.arguments(&["sleep", "1000"]);
        create();
        assert_ok(&hoist(&["start", &bench.a]));
        let record = fs::read(bench.directory.join("own-state").join(&bench.a).join("state.json"));
        let record: serde_json::Value = serde_json::from_slice(&record.unwrap()).unwrap();
        assert!(record["namespaces"]["user"].is_u64(), "{what}: {record}");
        assert_ok(&hoist(&["exec", &bench.a, "true"]));
        assert_ok(&hoist(&["delete", "--force", &bench.a]));
        bench.arguments(&["id", "-u"]);
    };
    let warning = "Such configuration is strongly discouraged";
    assert!(runs("a shared pid namespace").contains(warning));
    steps("a shared pid namespace");
    let join = |config: &mut serde_json::Value| {
        remove(config, "user");
        let linux = config["linux"].as_object_mut().unwrap();
        linux.remove("uidMappings");
        linux.remove("gidMappings");
        let namespaces = linux["namespaces"].as_array_mut().unwrap();
        namespaces.push(serde_json::json!({"type": "user", "path": user}));
    };
    bench.configure(join);
    assert!(runs("both").contains(warning));
    steps("both");
    bench.configure(|config| *config = alone.clone());
    bench.configure(join);
    assert_eq!(runs("a joined user namespace"), "");
    steps("a joined user namespace");
    for (kind, refused) in
        [("createContainer", true), ("startContainer", true), ("poststart", false)]
    {
        bench.configure(|config| config["hooks"] = json!({kind: [{"path": "/bin/true"}]}));
        let output = hoist(&["run", &bench.a]);
        if refused {
            assert_fails(&output, 1, &format!("config.json /hooks/{kind}"));
        } else {
            assert_ok(&output);
        }
    }

    assert_ok(&hoist(&["delete", "--force", &bench.b]));
    assert_eq!(text(&hoist(&["list", "--quiet"]).stdout), "");
}

/// Installed in place of runc, hoist says `runc` where people and programs look for it. What failed
/// is told in runc's words, with the container and the place in the configuration behind them.
#[test]
fn it_has_the_name_that_it_is_called_by() {
    let Some(bench) = bench() else { return };
    let called = |name: &str, arguments: &[&str]| {
        std::os::unix::process::CommandExt::arg0(&mut bench.command(arguments), name)
            .output()
            .unwrap()
    };
    bench.configure(|config| {
        let volume = json!({"source": "/nonexistent", "destination": "/v", "options": ["bind"]});
        config["mounts"].as_array_mut().unwrap().push(volume);
    });
    let mounts = text(&fs::read(bench.bundle().join("config.json")).unwrap());
    let last = serde_json::from_str::<serde_json::Value>(&mounts).unwrap()["mounts"]
        .as_array()
        .unwrap()
        .len()
        - 1;
    for command in ["run", "create"] {
        let output = called("/usr/sbin/runc", &[command, &bench.a]);
        let begin = format!(
            "runc {command} failed: unable to start container process: error during container \
             init: error mounting \"/nonexistent\""
        );
        assert_fails(&output, 1, &begin);
        assert_fails(&output, 1, ": no such file or directory (ENOENT)");
        assert_fails(&output, 1, &format!("(container {}, step ", bench.a));
        assert_fails(&output, 1, &format!("config.json /mounts/{last})"));
    }
    let output = called("hoist", &["create", &bench.a, "--bundle", "/nonexistent"]);
    assert_fails(&output, 1, "hoist create failed: ");
    assert_fails(&output, 1, &format!(" (container {})", bench.a));

    for (name, shown) in [("/usr/sbin/runc", "runc"), ("hoist", "hoist"), ("", "hoist")] {
        let help = text(&called(name, &["--help"]).stdout);
        let title = format!("NAME:\n   {shown} - Open Container Initiative runtime\n");
        assert!(help.starts_with(&title), "{help}");
        let help = text(&called(name, &["kill", "--help"]).stdout);
        assert!(help.starts_with(&format!("NAME:\n   {shown} kill - ")), "{help}");
        let version = text(&called(name, &["--version"]).stdout);
        assert!(version.starts_with("hoist version "), "{version}");
    }
}
