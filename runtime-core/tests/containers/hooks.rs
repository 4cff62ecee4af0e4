//! Hooks: the six kinds at their moments, in their namespaces, with state, environment, timeout
//! and what they say in the error.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use hoist::{CreateOptions, ErrorKind, Signal, Status, Stdio};
use serde_json::{Value, json};

use crate::case;
use crate::common::{Case, assert_error, end};

/// The kinds, and whether they run in the container's namespaces.
const KINDS: [(&str, bool); 6] = [
    ("prestart", false),
    ("createRuntime", false),
    ("createContainer", true),
    ("startContainer", true),
    ("poststart", false),
    ("poststop", false),
];

/// A hook that is a shell script of the host's.
fn hook(script: &str) -> Value {
    json!({"path": "/bin/sh", "args": ["sh", "-c", script], "env": ["PATH=/usr/bin:/bin"]})
}

/// The lines that hooks wrote, on the host and in the container's root.
fn log(case: &Case) -> Vec<String> {
    let text = fs::read_to_string(case.dir.join("log")).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

/// A hook that appends its kind and some expression to the log, from whatever namespace.
fn logging(case: &Case, kind: &str, expression: &str) -> Value {
    // createContainer hooks still see the host's files (config.md); a startContainer hook's path
    // resolves in the container, where the log is bound.
    let log = match kind {
        "startContainer" => PathBuf::from("/log"),
        _ => case.dir.join("log"),
    };
    hook(&format!("echo {kind} {expression} >> {}", log.display()))
}

fn with_log(case: &mut Case) {
    let log = case.dir.join("log");
    fs::write(&log, "").unwrap();
    case.bind(&log, "/log", &["bind"]);
}

#[test]
fn all_six_in_their_order() {
    let mut case = case!();
    with_log(&mut case);
    for (kind, _) in KINDS {
        let one = logging(&case, kind, "1");
        let two = logging(&case, kind, "2");
        case.config["hooks"][kind] = json!([one, two]);
    }
    case.script("echo program >> /log");
    let container = case.create();
    let expected = |kinds: &[&str]| -> Vec<String> {
        kinds.iter().flat_map(|kind| [format!("{kind} 1"), format!("{kind} 2")]).collect()
    };
    let mut seen = expected(&["prestart", "createRuntime", "createContainer"]);
    assert_eq!(log(&case), seen);
    container.start().unwrap();
    container.wait().unwrap();
    let mut lines = log(&case);
    // The program runs before or beside the poststart hooks.
    let program = lines.iter().position(|line| line == "program").unwrap();
    assert!(program >= 8, "{lines:?}");
    lines.remove(program);
    seen.extend(expected(&["startContainer", "poststart"]));
    assert_eq!(lines, seen);
    container.delete().unwrap();
    let lines = log(&case);
    assert_eq!(lines[lines.len() - 2..], expected(&["poststop"]));
}

/// In one go it is the same.
#[test]
fn all_six_in_one_go() {
    let mut case = case!();
    with_log(&mut case);
    for (kind, _) in KINDS {
        let one = logging(&case, kind, "");
        case.config["hooks"][kind] = json!([one]);
    }
    case.script("sleep 0.2; echo program >> /log");
    case.run().unwrap().success();
    let lines: Vec<String> = log(&case).iter().map(|line| line.trim().to_owned()).collect();
    let mut expected: Vec<String> = KINDS.map(|(kind, _)| kind.to_owned()).to_vec();
    expected.insert(5, "program".to_owned());
    assert_eq!(lines, expected);
}

#[test]
fn the_state_comes_on_stdin() {
    let mut case = case!();
    with_log(&mut case);
    case.config["annotations"] = json!({"org.example.key": "value"});
    for (kind, inside) in KINDS {
        let one = match kind {
            "startContainer" => hook("cat >> /log; echo >> /log"),
            _ => hook(&format!("cat >> {0}; echo >> {0}", case.dir.join("log").display())),
        };
        let _ = inside;
        case.config["hooks"][kind] = json!([one]);
    }
    case.script("sleep 1000");
    let container = case.create();
    let pid = container.pid().unwrap().unwrap();
    container.start().unwrap();
    container.kill(Signal::KILL).unwrap();
    container.wait().unwrap();
    container.delete().unwrap();
    let states: Vec<Value> =
        log(&case).iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(states.len(), 6);
    // prestart is from before there was a creating state.
    let statuses = ["created", "creating", "creating", "created", "running", "stopped"];
    for ((state, status), (kind, _)) in states.iter().zip(statuses).zip(KINDS) {
        assert_eq!(state["status"], status, "{kind}");
        assert_eq!(state["id"], case.id.as_str(), "{kind}");
        assert_eq!(state["bundle"], case.dir.to_str().unwrap(), "{kind}");
        assert_eq!(state["ociVersion"], case.config["ociVersion"], "{kind}");
        assert_eq!(state["annotations"]["org.example.key"], "value", "{kind}");
        if kind != "poststop" {
            assert_eq!(state["pid"], pid, "{kind}");
        }
    }
}

#[test]
fn hooks_run_in_their_namespaces() {
    let mut case = case!();
    with_log(&mut case);
    for (kind, _) in KINDS {
        let script = "$(readlink /proc/self/ns/mnt) $(readlink /proc/self/ns/uts) $(pwd)";
        let one = logging(&case, kind, script);
        case.config["hooks"][kind] = json!([one]);
    }
    case.script("sleep 1000");
    let container = case.create();
    let pid = container.pid().unwrap().unwrap();
    let link = |pid: &str, kind: &str| {
        fs::read_link(format!("/proc/{pid}/ns/{kind}")).unwrap().to_str().unwrap().to_owned()
    };
    let pid = pid.to_string();
    let theirs = [link(&pid, "mnt"), link(&pid, "uts")];
    let own = [link("self", "mnt"), link("self", "uts")];
    container.start().unwrap();
    end(container);
    let lines = log(&case);
    assert_eq!(lines.len(), 6, "{lines:?}");
    for (line, (kind, inside)) in lines.iter().zip(KINDS) {
        let expected = if inside { &theirs } else { &own };
        let fields: Vec<&str> = line.split(' ').collect();
        assert_eq!(fields[..3], [kind, &expected[0], &expected[1]], "{line}");
    }
}

/// createContainer: in the container's namespaces, before the root changes: the root filesystem
/// is still seen at the host's path, with the mounts in it, and is the working directory, as with
/// runc.
#[test]
fn create_container_hooks_see_the_hosts_paths() {
    let mut case = case!();
    with_log(&mut case);
    let script = format!(
        "test $PWD = {} && test -e proc/self && test -c dev/null && hostname >> {}",
        case.rootfs().display(),
        case.dir.join("log").display()
    );
    case.config["hooks"]["createContainer"] = json!([hook(&script)]);
    case.script("true");
    case.run().unwrap().success();
    assert_eq!(log(&case), ["hoist"]);
}

#[test]
fn a_hooks_environment_and_arguments() {
    let mut case = case!();
    let log = case.dir.join("log");
    let program = case.dir.join("hook");
    let text = format!("#!/bin/sh\necho \"$0|$#|$1|$A|$HOME\" >> {}\n", log.display());
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    case.config["hooks"]["createRuntime"] = json!([
        {"path": program, "args": ["name", "first", "second"], "env": ["A=b c"]},
        {"path": program},
    ]);
    case.script("true");
    case.run().unwrap().success();
    let text = fs::read_to_string(&log).unwrap();
    let program = program.display();
    assert_eq!(text, format!("{program}|2|first|b c|\n{program}|0|||\n"));
}

/// As in runc: a startContainer hook without an environment gets the process's, HOME included.
#[test]
fn a_start_container_hook_without_environment() {
    let mut case = case!();
    with_log(&mut case);
    let script = ["sh", "-c", "echo $A,$HOME >> /log"];
    case.config["hooks"]["startContainer"] = json!([
        {"path": "/bin/sh", "args": script},
        {"path": "/bin/sh", "args": script, "env": []},
        {"path": "/bin/sh", "args": script, "env": ["B=own"]},
    ]);
    case.process()["env"] = json!(["A=process", "PATH=/bin"]);
    case.script("true");
    case.run().unwrap().success();
    assert_eq!(log(&case), ["process,/root", "process,/root", ","]);
}

#[test]
fn a_failing_hook_ends_the_creation() {
    for kind in ["prestart", "createRuntime", "createContainer"] {
        let mut case = case!();
        with_log(&mut case);
        let after = logging(&case, kind, "after");
        let poststop = logging(&case, "poststop", "");
        case.config["hooks"][kind] =
            json!([hook("true"), hook("echo loud; echo angry >&2; exit 7"), after]);
        case.config["hooks"]["poststop"] = json!([poststop]);
        case.script("true");
        let error = case.create_with(CreateOptions::new().stdio(Stdio::null())).unwrap_err();
        let pointer = format!("/hooks/{kind}/1");
        let words = format!("error running {kind} hook #1: exit status 7");
        assert_error(&error, ErrorKind::Hook, &pointer, &words);
        assert!(error.to_string().contains("loud") && error.to_string().contains("angry"));
        case.assert_nothing_left();
        assert!(!log(&case).iter().any(|line| line.contains("after")), "{:?}", log(&case));
    }
}

#[test]
fn a_failing_start_container_hook() {
    let mut case = case!();
    with_log(&mut case);
    case.config["hooks"]["startContainer"] = json!([hook("echo no >&2; exit 3")]);
    case.script("echo program >> /log");
    let container = case.create();
    let error = container.start().unwrap_err();
    assert_error(&error, ErrorKind::Hook, "/hooks/startContainer/0", "exit status 3");
    container.wait().unwrap();
    assert_eq!(container.state().unwrap().status, Status::Stopped);
    container.delete().unwrap();
    assert_eq!(case.fails().kind(), ErrorKind::Hook);
    assert_eq!(log(&case), Vec::<String>::new());
}

/// runtime.md: "If any poststart hook fails, the runtime MUST generate an error" and stop the
/// container.
#[test]
fn a_failing_poststart_hook() {
    let mut case = case!();
    case.config["hooks"]["poststart"] = json!([hook("exit 4")]);
    case.script("sleep 1000");
    let container = case.create();
    let error = container.start().unwrap_err();
    assert_error(&error, ErrorKind::Hook, "/hooks/poststart/0", "exit status 4");
    container.wait().unwrap();
    container.delete().unwrap();
    assert_eq!(case.fails().kind(), ErrorKind::Hook);
}

/// runtime.md: of a failing poststop hook there is a warning, and the others run.
#[test]
fn failing_poststop_hooks() {
    let mut case = case!();
    with_log(&mut case);
    let last = logging(&case, "poststop", "last");
    case.config["hooks"]["poststop"] = json!([hook("exit 5"), {"path": "/no/such/hook"}, last]);
    case.script("true");
    let container = case.create();
    container.start().unwrap();
    container.wait().unwrap();
    let errors = container.delete().unwrap();
    assert_eq!(errors.len(), 2, "{errors:?}");
    assert_error(&errors[0], ErrorKind::Hook, "/hooks/poststop/0", "exit status 5");
    assert_error(&errors[1], ErrorKind::Hook, "/hooks/poststop/1", "/no/such/hook");
    assert_eq!(log(&case), ["poststop last"]);
    case.assert_nothing_left();
}

/// The signal as Go names it, which is what callers of runc know.
#[test]
fn a_hook_that_a_signal_ends() {
    let mut case = case!();
    case.config["hooks"]["createRuntime"] = json!([hook("kill -TERM $$")]);
    case.script("true");
    let words = "error running createRuntime hook #0: signal: terminated, stdout: , stderr: ";
    assert_error(&case.fails(), ErrorKind::Hook, "/hooks/createRuntime/0", words);
}

#[test]
fn a_hook_that_takes_too_long() {
    let mut case = case!();
    // What a hook has started itself isn't hoist's to end.
    let mut slow = hook("exec sleep 100");
    slow["timeout"] = json!(1);
    case.config["hooks"]["createRuntime"] = json!([slow]);
    case.script("true");
    let begin = std::time::Instant::now();
    let error = case.fails();
    assert!(begin.elapsed() < std::time::Duration::from_secs(20));
    assert_error(&error, ErrorKind::Hook, "/hooks/createRuntime/0", "timed out after 1 second");
}

#[test]
fn a_hook_that_does_not_exist() {
    let mut case = case!();
    case.config["hooks"]["createRuntime"] = json!([{"path": "/no/such/hook"}]);
    case.script("true");
    assert_error(&case.fails(), ErrorKind::Hook, "/hooks/createRuntime/0", "/no/such/hook");
    case.config["hooks"]["createRuntime"] = json!([{"path": "relative"}]);
    let error = case.bundle().unwrap_err();
    assert_eq!(error.pointer(), Some("/hooks/createRuntime/0/path"), "{error}");
}

/// A hook that reads nothing of its input and leaves a child with its output blocks nobody.
#[test]
fn a_hook_that_leaves_a_daemon() {
    let mut case = case!();
    case.config["hooks"]["createRuntime"] = json!([hook("sleep 3 & exit 0")]);
    case.script("echo ran");
    let begin = std::time::Instant::now();
    assert_eq!(case.run().unwrap().success(), "ran\n");
    assert!(begin.elapsed() < std::time::Duration::from_secs(3));
}

/// Hooks get nothing of the caller's.
#[test]
fn hooks_inherit_nothing() {
    let mut case = case!();
    let log = case.dir.join("log");
    let script =
        format!("(ls /proc/self/fd | wc -l; env | grep -c CARGO || true) >> {}", log.display());
    case.config["hooks"]["createRuntime"] = json!([hook(&script)]);
    case.script("true");
    case.run().unwrap().success();
    // 0 to 2 and the directory.
    assert_eq!(fs::read_to_string(&log).unwrap(), "4\n0\n");
}

/// In a user namespace the hooks inside run as its root.
#[test]
fn hooks_in_a_user_namespace() {
    let mut case = case!();
    case.user_namespace();
    with_log(&mut case);
    fs::set_permissions(case.dir.join("log"), fs::Permissions::from_mode(0o666)).unwrap();
    for (kind, _) in KINDS {
        let one = logging(&case, kind, "$(id -u)");
        case.config["hooks"][kind] = json!([one]);
    }
    case.script("true");
    case.run().unwrap().success();
    assert_eq!(log(&case), KINDS.map(|(kind, _)| format!("{kind} 0")));
}
