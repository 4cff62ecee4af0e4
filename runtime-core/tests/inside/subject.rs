//! Who is looked at: the library, or another runtime's program.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as Pipe};

use hoist::{Container, CreateOptions, ExecOptions, Stdio};
use serde_json::{Value, json};

use crate::answers::Answers;
use crate::common::{Case, end, exec_with};

/// What the first process of a [`Waiting`] container writes.
const FIRST: &str = "first.out";

/// Where the auditor is in a container.
pub(crate) const AUDITOR: &str = "/auditor";

/// The runtime that `HOIST_ATTACK_RUNTIME` names.
pub(crate) fn peer() -> Option<PathBuf> {
    std::env::var_os("HOIST_ATTACK_RUNTIME").filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// Puts the auditor into the case's root filesystem.
pub(crate) fn install(case: &Case) {
    let path = case.rootfs().join(AUDITOR.trim_start_matches('/'));
    fs::write(&path, hoist_auditor::PROGRAM).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// `process.args` with these questions.
pub(crate) fn arguments<S: AsRef<str>>(questions: &[S]) -> Value {
    let questions = questions.iter().map(AsRef::as_ref);
    std::iter::once(AUDITOR).chain(questions).collect()
}

/// What the host's own process is answered, this test's child.
pub(crate) fn on_the_host<S: AsRef<str>>(case: &Case, questions: &[S]) -> Answers {
    let program = case.rootfs().join(AUDITOR.trim_start_matches('/'));
    let questions = questions.iter().map(AsRef::as_ref);
    let output = Command::new(program).args(questions).stdin(Pipe::null()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    Answers::parse(&String::from_utf8_lossy(&output.stdout))
}

/// The container's first process is asked.
pub(crate) fn ask_first<S: AsRef<str>>(case: &mut Case, questions: &[S]) -> Answers {
    install(case);
    case.process()["args"] = arguments(questions);
    let output = match peer() {
        None => case.run_with(CreateOptions::new()).unwrap().success(),
        Some(program) => {
            let peer = Peer::new(case, &program);
            peer.call(&["run", "--bundle", peer.bundle(), &case.id])
        }
    };
    Answers::parse(&output)
}

/// The container's first process is asked this, while others join.
pub(crate) fn prepare(case: &mut Case, question: &str) {
    install(case);
    case.process()["args"] = arguments(&[question]);
}

/// A container that is there for others to join it. What its first process writes is in
/// [`Waiting::answers`].
pub(crate) enum Waiting<'a> {
    Hoist(Box<Container>),
    Peer(Peer<'a>),
}

impl<'a> Waiting<'a> {
    /// `case` has been [prepared](prepare).
    #[track_caller]
    pub(crate) fn start(case: &'a Case) -> Self {
        let Some(program) = peer() else {
            let null = || OwnedFd::from(fs::File::open("/dev/null").unwrap());
            let output = fs::File::create(case.dir.join(FIRST)).unwrap().into();
            let options =
                CreateOptions::new().stdio(Stdio::from_descriptors(null(), output, null()));
            let bundle = case.bundle().unwrap();
            let container = case.runtime.run_with(&case.id, bundle, options).unwrap();
            return Self::Hoist(Box::new(container));
        };
        let peer = Peer::new(case, &program);
        peer.detach();
        Self::Peer(peer)
    }

    /// The first process, on the host.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Hoist(container) => container.pid().unwrap().unwrap(),
            Self::Peer(peer) => {
                let text = peer.call(&["state", &peer.case.id]);
                let state: Value = serde_json::from_str(&text).unwrap();
                u32::try_from(state["pid"].as_u64().unwrap()).unwrap()
            }
        }
    }

    /// A process that joins is asked. It says nothing of its confinement but who it is and where:
    /// all else is the container's.
    pub(crate) fn ask<S: AsRef<str>>(&self, config: &Value, questions: &[S]) -> Answers {
        let of = &config["process"];
        let mut arguments = arguments(questions);
        let output = match self {
            Self::Hoist(container) => {
                let process = json!({
                    "user": of["user"], "env": of["env"], "cwd": of["cwd"],
                    "rlimits": of["rlimits"], "args": arguments,
                });
                exec_with(container, process, ExecOptions::new()).unwrap().success()
            }
            Self::Peer(peer) => {
                let mut words = vec!["exec", peer.case.id.as_str()];
                let arguments = arguments.as_array_mut().unwrap();
                words.extend(arguments.iter().filter_map(Value::as_str));
                peer.call(&words)
            }
        };
        Answers::parse(&output)
    }
}

impl Waiting<'_> {
    /// What its first process has written so far.
    pub(crate) fn answers(case: &Case) -> String {
        fs::read_to_string(case.dir.join(FIRST)).unwrap_or_default()
    }

    /// Kills and removes the container.
    pub(crate) fn end(self) {
        if let Self::Hoist(container) = self {
            end(*container);
        }
    }
}

/// Another runtime, with the case's bundle. Dropping it removes the container.
pub(crate) struct Peer<'a> {
    case: &'a Case,
    program: PathBuf,
    root: String,
}

impl<'a> Peer<'a> {
    fn new(case: &'a Case, program: &Path) -> Self {
        fs::write(case.dir.join("config.json"), case.config.to_string()).unwrap();
        let root = case.dir.join("peer").to_str().unwrap().to_owned();
        Self { case, program: program.to_owned(), root }
    }

    fn bundle(&self) -> &str {
        self.case.dir.to_str().unwrap()
    }

    /// Its command line, which ends within a time.
    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("timeout");
        command.args(["20", self.program.to_str().unwrap(), "--root", &self.root]);
        command.args(words).stdin(Pipe::null());
        command
    }

    /// Calls it; it must succeed.
    #[track_caller]
    fn call(&self, words: &[&str]) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words:.2?}: {output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// A container that lives on would keep a pipe open: it writes to a file.
    #[track_caller]
    fn detach(&self) {
        let file = |name: &str| fs::File::create(self.case.dir.join(name)).unwrap();
        let mut run = self.command(&["run", "--detach", "--bundle", self.bundle(), &self.case.id]);
        let status = run.stdout(file(FIRST)).stderr(file("errors")).status().unwrap();
        let errors = fs::read_to_string(self.case.dir.join("errors")).unwrap();
        assert!(status.success(), "{status}: {errors}");
    }
}

impl Drop for Peer<'_> {
    fn drop(&mut self) {
        let _ = self.command(&["delete", "--force", &self.case.id]).output();
    }
}
