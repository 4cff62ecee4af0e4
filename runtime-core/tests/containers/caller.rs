//! The calling program: what of it must not reach the container (law 3), and programs in which
//! waiting is hard. They are this test program once more, prepared by a shell.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use hoist::{Bundle, CreateOptions, ErrorKind, Runtime};
use serde_json::{Value, json};

use crate::case;
use crate::common::{Case, sh_process, status_field, wait_for_exit};

/// Names the helper that this process is to be, and the case's directory.
const ROLE: &str = "HOIST_TEST_HELPER";
const DIRECTORY: &str = "HOIST_TEST_DIRECTORY";

/// Runs a helper in this program once more; `prepare` is a shell script that ends in `exec "$@"`.
#[track_caller]
fn helper(case: &Case, role: &str, prepare: &str) -> String {
    fs::write(case.dir.join("config.json"), case.config.to_string()).unwrap();
    // dash can't ignore SIGCHLD.
    let output = Command::new("bash")
        .args(["-c", prepare, "bash"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", "caller::helper_process", "--nocapture", "--include-ignored"])
        .env(ROLE, role)
        .env(DIRECTORY, &case.dir)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr);
    let answer = fs::read_to_string(case.dir.join("answer")).unwrap_or_default();
    let signal = output.status.signal();
    assert!(output.status.success(), "{role}: {signal:?} {answer}\n{text}\n{errors}");
    answer
}

/// A helper's side.
struct Lab {
    dir: PathBuf,
    id: String,
    runtime: Runtime,
}

impl Lab {
    fn options() -> CreateOptions {
        CreateOptions::new().stdio(hoist::Stdio::null())
    }

    fn bundle(&self) -> Bundle {
        Bundle::load(&self.dir).unwrap()
    }

    fn answer(&self, text: &str) {
        fs::write(self.dir.join("answer"), text).unwrap();
    }
}

/// Not a test: what [`helper`] runs.
#[test]
#[ignore = "it is run by other tests"]
fn helper_process() {
    let (Ok(role), Some(dir)) = (std::env::var(ROLE), std::env::var_os(DIRECTORY)) else { return };
    let dir = PathBuf::from(dir);
    let runtime = Runtime::builder().root(dir.join("state")).build().unwrap();
    let id = dir.file_name().unwrap().to_str().unwrap().to_owned();
    let lab = Lab { dir, id, runtime };
    match role.as_str() {
        "habits" => habits(&lab),
        "wait" => wait(&lab),
        "reaper" => reaper(&lab),
        "created" => {
            lab.runtime.create_with(&lab.id, lab.bundle(), Lab::options()).unwrap();
        }
        "run" => {
            let container = lab.runtime.run_with(&lab.id, lab.bundle(), Lab::options());
            // What it writes may be seen by nobody.
            let container = container.unwrap_or_else(|error| {
                lab.answer(&error.to_string());
                panic!("{error}")
            });
            lab.answer(&container.wait().unwrap().exit_code().to_string());
            container.delete().unwrap();
        }
        other => panic!("no helper {other}"),
    }
}

/// A thread with habits of its own makes a container, and one more process in it.
fn habits(lab: &Lab) {
    let thread = std::thread::spawn({
        let (dir, id, runtime) = (lab.dir.clone(), lab.id.clone(), lab.runtime.clone());
        move || {
            use rustix::process::{Signal, set_parent_process_death_signal, umask};
            use rustix::thread::{CpuSet, sched_setaffinity};
            let mut one = CpuSet::new();
            one.set(1);
            sched_setaffinity(None, &one).unwrap();
            rustix::process::setpriority_process(None, 7).unwrap();
            set_parent_process_death_signal(Some(Signal::USR1)).unwrap();
            rustix::thread::set_current_timer_slack(std::num::NonZero::new(12_345)).unwrap();
            umask(rustix::fs::Mode::from_raw_mode(0o077));
            let bundle = Bundle::load(&dir).unwrap();
            let file = |name: &str| OwnedFd::from(fs::File::create(dir.join(name)).unwrap());
            let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
            let stdio = hoist::Stdio::from_descriptors(null(), file("answer"), file("errors"));
            let options = CreateOptions::new().stdio(stdio);
            let container = runtime.run_with(&id, bundle, options).unwrap();
            let stdio = hoist::Stdio::from_descriptors(null(), file("answer2"), file("errors2"));
            let spec: Value =
                serde_json::from_slice(&fs::read(dir.join("config.json")).unwrap()).unwrap();
            let process =
                serde_json::from_value(sh_process(spec["process"]["args"][2].as_str().unwrap()))
                    .unwrap();
            let process = container.exec(&process, hoist::ExecOptions::new().stdio(stdio)).unwrap();
            wait_for_exit(std::os::fd::AsFd::as_fd(&process));
            // Before the container's: the first process ends when all others are reaped. SIGCHLD
            // is ignored: the kernel reaps, and tells how it ended from Linux 6.15 on. The first
            // process may be sooner, and takes this one with it.
            let stolen = |error: hoist::Error| error.kind() == ErrorKind::StatusStolen;
            assert!(process.wait().map_or_else(stolen, |_| true));
            // Law 1: the thread has kept its habits.
            assert_eq!(rustix::process::getpriority_process(None).unwrap(), 7);
            assert_eq!(
                rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077)).as_raw_mode(),
                0o077
            );
            assert_eq!(rustix::process::parent_process_death_signal().unwrap(), Some(Signal::USR1));
            assert_eq!(rustix::thread::current_timer_slack().unwrap(), 12_345);
            assert!(container.wait().map_or_else(stolen, |_| true));
            container.delete().unwrap();
        }
    });
    thread.join().unwrap();
}

const LOOK: &str = "cat /proc/self/status; echo STAT; cat /proc/self/stat; ionice; umask; \
    echo PERSONALITY; cat /proc/self/personality; cat /proc/self/oom_score_adj; \
    echo SLACK; cat /proc/self/timerslack_ns; ulimit -c; ls /proc/self/fd | wc -l; env | sort; sleep 1";

/// From a pinned, reniced thread in a program that ignores SIGPIPE and SIGCHLD, with a
/// personality, an I/O class, a session, signals blocked and an environment.
#[test]
fn nothing_of_the_caller_is_inherited() {
    let mut case = case!();
    if std::thread::available_parallelism().unwrap().get() < 2 {
        crate::skip!("needs two CPUs");
    }
    case.script(LOOK);
    case.process()["rlimits"] = json!([]);
    // Reading the timer slack takes CAP_SYS_NICE.
    case.all_capabilities();
    let prepare = "trap '' PIPE CHLD HUP USR1; exec 9</dev/null; export LEAKED=yes; \
        exec ionice -c 3 setarch -R -3 \"$@\"";
    helper(&case, "habits", prepare);
    for name in ["answer", "answer2"] {
        let out = fs::read_to_string(case.dir.join(name)).unwrap();
        let errors = fs::read_to_string(case.dir.join("errors")).unwrap();
        assert!(!out.is_empty(), "{name}: {errors}");
        assert_eq!(status_field(&out, "SigIgn"), "0000000000000000", "{name}");
        assert_eq!(status_field(&out, "SigBlk"), "0000000000000000", "{name}");
        assert_eq!(status_field(&out, "Cpus_allowed_list"), own_cpus(), "{name}");
        assert_eq!(status_field(&out, "Groups"), "", "{name}");
        let stat = out.split("STAT\n").nth(1).unwrap().lines().next().unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        // proc_pid_stat(5): nice is field 19, the policy 41.
        assert_eq!((fields[19 - 3], fields[41 - 3]), ("0", "0"), "{name}: {stat}");
        assert!(out.contains("\nnone: prio 0\n0022\nPERSONALITY\n00000000\n"), "{name}: {out}");
        assert!(out.contains("\nSLACK\n50000\n"), "{name}: {out}");
        assert!(!out.contains("LEAKED"), "{name}: {out}");
        let tail = out.split("SLACK\n").nth(1).unwrap();
        assert_eq!(tail.lines().nth(2), Some("4"), "descriptors, {name}: {out}");
    }
}

/// What this test program may use.
fn own_cpus() -> String {
    let status = fs::read_to_string("/proc/1/status").unwrap();
    status_field(&status, "Cpus_allowed_list").to_owned()
}

/// The session is the container's own, and so is its session keyring.
#[test]
fn a_session_of_its_own() {
    let mut case = case!();
    let out = case.sh("cut -d' ' -f1,5,6 /proc/self/stat; cat /proc/1/stat | cut -d' ' -f1,5,6");
    assert!(out.ends_with("1 1 1\n"), "{out}");
}

/// The kernel keeps the status of who was reaped (Linux 6.15); before that it is a typed error.
fn wait(lab: &Lab) {
    let container = lab.runtime.run_with(&lab.id, lab.bundle(), Lab::options()).unwrap();
    wait_for_exit(container.pidfd().unwrap());
    let first = container.wait();
    let text = match &first {
        Ok(exit) => exit.exit_code().to_string(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::StatusStolen, "{error}");
            "stolen".to_owned()
        }
    };
    if first.is_ok() {
        // As often as one likes.
        assert_eq!(container.wait().unwrap().exit_code().to_string(), text);
    }
    let process = serde_json::from_value(sh_process("exit 1")).unwrap();
    let error = container.exec(&process, hoist::ExecOptions::new()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongState);
    container.delete().unwrap();
    lab.answer(&text);
}

fn kernel() -> (u32, u32) {
    let release = rustix::system::uname().release().to_str().unwrap().to_owned();
    let mut numbers = release.split(['.', '-']).map(|part| part.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

fn expected(code: &str) -> &str {
    if kernel() >= (6, 15) { code } else { "stolen" }
}

#[test]
fn a_program_that_ignores_sigchld() {
    let mut case = case!();
    case.script("exit 43");
    assert_eq!(helper(&case, "wait", "trap '' CHLD; exec \"$@\""), expected("43"));
}

/// A thread that reaps whatever it finds, as a runtime's or a test harness's may.
fn reaper(lab: &Lab) {
    use rustix::process::{WaitOptions, wait as reap};
    // Gone when this function is left, also by a panic.
    let running = std::sync::Arc::new(());
    let watched = std::sync::Arc::downgrade(&running);
    std::thread::spawn(move || {
        while watched.strong_count() > 0 {
            let _ = reap(WaitOptions::NOHANG);
        }
    });
    for _ in 0..20 {
        wait(lab);
    }
}

#[test]
fn a_program_that_reaps_everything() {
    let mut case = case!();
    case.script("exit 44");
    let answer = helper(&case, "reaper", "exec \"$@\"");
    assert!(answer == "44" || answer == expected("44"), "{answer}");
}

/// Who isn't the parent waits, too, and gets the status where the kernel keeps it.
#[test]
fn a_program_that_is_not_the_parent() {
    let mut case = case!();
    case.script("exit 45");
    helper(&case, "created", "exec \"$@\"");
    // The helper is gone, and the container waits.
    let container = case.runtime.container(&case.id).unwrap();
    assert_eq!(container.state().unwrap().status, hoist::Status::Created);
    // A descriptor of the process, before it ends.
    let waiter = case.runtime.container(&case.id).unwrap();
    std::thread::scope(|scope| {
        let thread = scope.spawn(|| waiter.wait());
        container.start().unwrap();
        match thread.join().unwrap() {
            Ok(exit) => assert_eq!(exit.code(), Some(45)),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::StatusStolen | ErrorKind::WrongState),
                "{error}"
            ),
        }
    });
    let begin = std::time::Instant::now();
    while container.state().unwrap().status != hoist::Status::Stopped {
        assert!(begin.elapsed() < crate::common::PATIENCE);
        std::thread::yield_now();
    }
    container.delete().unwrap();
    case.assert_nothing_left();
}

/// A program whose own descriptors 0 to 2 are closed.
#[test]
fn a_program_without_stdio() {
    let mut case = case!();
    case.script("exit 46");
    assert_eq!(helper(&case, "run", "exec \"$@\" <&- >/dev/null 2>/dev/null"), "46");
}

/// Where the host's root is shared, as systemd has it, a container with a shared root must not
/// unmount the host's mounts when it detaches them. And what the container mounts on a masked file stays
/// there.
///
/// Seen to fail: while the mask was a clone of the host's `/dev/null` that shared with it, which then was
/// covered, too.
#[test]
fn a_shared_root_survives() {
    let mut case = case!();
    case.all_capabilities();
    case.script("[ ! -e /proc/keys ] || mount --bind /etc/passwd /proc/keys || exit 1; exit 47");
    let table = case.dir.join("table");
    for propagation in ["shared", "rshared", "slave", ""] {
        case.linux()["rootfsPropagation"] = json!(propagation);
        // In a mount namespace of its own, with a mount to be lost.
        let script = format!(
            "mount -t tmpfs keep {0} && cut -d' ' -f5 /proc/self/mountinfo > {1}.before &&
             \"$@\" && cut -d' ' -f5 /proc/self/mountinfo > {1}.after",
            case.host_dir("keep").display(),
            table.display()
        );
        fs::write(case.dir.join("script"), script).unwrap();
        let prepare = format!(
            "exec unshare -m --propagation private sh -c 'mount --make-rshared / && . {}' sh \"$@\"",
            case.dir.join("script").display()
        );
        assert_eq!(helper(&case, "run", &prepare), "47", "{propagation}");
        let read = |name: &str| fs::read_to_string(case.dir.join(name)).unwrap();
        assert_eq!(read("table.before"), read("table.after"), "{propagation}");
        fs::remove_file(case.dir.join("answer")).unwrap();
    }
}
