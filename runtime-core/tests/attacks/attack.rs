//! The harness that every attack goes through: a bundle that is the attacker's, and the host
//! around it, which is looked at before and after.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::common::{Case, host_mount, test_name};
use crate::host::{Host, make_canaries};
use crate::neighbour::say;
use crate::subject::{Outcome, Refusal, Running, Subject};

/// A case whose image, volumes and processes are hostile. When it is dropped, the host has to be as
/// it was.
pub(crate) struct Attack {
    watch: Watch,
    case: Case,
}

struct Watch {
    subject: Subject,
    before: Host,
}

/// An [`Attack`], or the end of the test where containers can't be made.
#[macro_export]
macro_rules! attack {
    () => {
        match $crate::attack::Attack::new() {
            Ok(attack) => attack,
            Err(reason) => $crate::skip!("{reason}"),
        }
    };
}

impl Attack {
    /// See [`attack!`].
    pub(crate) fn new() -> Result<Self, String> {
        let mut case = Case::new()?;
        let subject = Subject::of_environment();
        if let Subject::Binary(_) = subject {
            // Older crun refuses what is newer than itself.
            case.config["ociVersion"] = json!("1.0.2");
        }
        make_canaries(&canary(&case.dir));
        let before = Host::look(&canary(&case.dir), &subject.program(), &case.dir);
        Ok(Self { watch: Watch { subject, before }, case })
    }

    /// The host's directory that no container is given.
    pub(crate) fn canary(&self) -> PathBuf {
        canary(&self.case.dir)
    }

    /// Makes the canaries a mount whose events reach every container's namespace and come from
    /// there: what a runtime mounts in it by mistake, before it changes the root, is seen here.
    pub(crate) fn share_canary(&mut self) {
        let dir = self.canary();
        let dir = dir.to_str().unwrap();
        host_mount(&["--bind", dir, dir]);
        host_mount(&["--make-shared", dir]);
        self.case.linux()["rootfsPropagation"] = json!("rshared");
        self.watch.before = self.look();
    }

    /// True if it is hoist that is attacked, whose errors are known.
    pub(crate) fn on_hoist(&self) -> bool {
        matches!(self.watch.subject, Subject::Library)
    }

    /// Runs the container to its end.
    pub(crate) fn run(&self) -> Outcome {
        self.watch.subject.run(&self.case)
    }

    /// The same with a script.
    pub(crate) fn run_script(&mut self, script: &str) -> Outcome {
        self.case.script(script);
        self.run()
    }

    /// Runs the container with a terminal.
    pub(crate) fn run_with_terminal(&mut self) -> Outcome<String> {
        self.case.process()["terminal"] = json!(true);
        self.watch.subject.run_with_terminal(&self.case)
    }

    /// Starts the container and leaves it running.
    pub(crate) fn start(&self) -> Outcome<Running<'_>> {
        self.watch.subject.start(&self.case)
    }

    /// A container that sleeps.
    pub(crate) fn start_sleeping(&mut self) -> Running<'_> {
        self.case.process()["args"] = json!(["/bin/sleep", "1000"]);
        self.watch.subject.start(&self.case).unwrap_or_else(|refusal| panic!("{refusal:?}"))
    }

    /// That the attack got a clear error: with hoist, one that names this place.
    #[track_caller]
    pub(crate) fn refused<T: std::fmt::Debug>(&self, outcome: Outcome<T>, pointer: &str) {
        match outcome {
            Ok(output) => panic!("not refused: {output:?}"),
            Err(refusal) => self.is_clear(&refusal, pointer),
        }
    }

    /// That an error is a clear one.
    #[track_caller]
    pub(crate) fn is_clear(&self, refusal: &Refusal, pointer: &str) {
        if self.on_hoist() {
            let found = refusal.pointer.as_deref().unwrap_or_default();
            assert!(found.starts_with(pointer), "{refusal:?} is not about {pointer}");
            self.case.assert_nothing_left();
        }
    }

    /// That the host is as it was.
    #[track_caller]
    pub(crate) fn host_is_unchanged(&self) {
        let differences = self.watch.before.differences(&self.look());
        assert!(differences.is_empty(), "the host has changed:\n{}", differences.join("\n"));
    }

    fn look(&self) -> Host {
        Host::look(&self.canary(), &self.watch.subject.program(), &self.case.dir)
    }
}

fn canary(dir: &Path) -> PathBuf {
    dir.join("host")
}

impl Deref for Attack {
    type Target = Case;

    fn deref(&self) -> &Case {
        &self.case
    }
}

impl DerefMut for Attack {
    fn deref_mut(&mut self) -> &mut Case {
        &mut self.case
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let differences = self.watch.before.differences(&self.look());
        if differences.is_empty() {
            return;
        }
        let text = format!("{}: the host has changed:\n{}", test_name(), differences.join("\n"));
        if std::thread::panicking() {
            say(&text);
        } else {
            panic!("{text}");
        }
    }
}
