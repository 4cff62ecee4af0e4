//! A container's life as containerd drives it, where one thing may go wrong.

use crate::harness::{Bundle, Io, Refused, Result, Shim, Task};

/// Calls that were refused, by name.
pub(crate) type Refusals = Vec<(&'static str, Refused)>;

/// What became of a life.
#[derive(Debug, Default)]
pub(crate) struct Lived {
    pub(crate) created: bool,
    pub(crate) refused: Refusals,
    /// That should not have been.
    pub(crate) wrong: Vec<String>,
    /// The shim was told to end, and has said yes.
    pub(crate) shut_down: bool,
}

impl Lived {
    /// A call that may be refused once.
    fn may<T>(&mut self, name: &'static str, result: Result<T>) -> Option<T> {
        result.map_err(|refused| self.refused.push((name, refused))).ok()
    }

    /// A call that has to succeed, at the latest the second time, if there is a shim.
    fn must<T>(&mut self, name: &'static str, mut call: impl FnMut() -> Result<T>) -> Option<T> {
        let first = self.may(name, call());
        if first.is_some() || self.is_cut() {
            return first;
        }
        call().map_err(|refused| self.wrong.push(format!("{name} again: {refused}"))).ok()
    }

    /// The shim is gone, or cannot be spoken to: there is nothing more to ask.
    pub(crate) fn is_cut(&self) -> bool {
        self.refused.iter().any(|(_, refused)| refused.code.is_none())
    }
}

/// From Create to Delete, with an exec in between.
pub(crate) fn live(shim: &Shim, bundle: &Bundle<'_>) -> Lived {
    let mut lived = Lived::default();
    let Some(task) = lived.may("Create", bundle.create_in(shim)) else { return lived };
    lived.created = true;
    let started = lived.may("Start", task.start()).is_some();
    if started && !lived.is_cut() {
        exec(&task, &mut lived);
    }
    if lived.is_cut() {
        return lived;
    }
    // What could not be started may have ended.
    let killed = match started {
        true => lived.must("Kill", || task.kill(libc::SIGKILL)).is_some(),
        false => lived.may("Kill", task.kill(libc::SIGKILL)).is_some(),
    };
    if lived.is_cut() || started && !killed {
        return lived;
    }
    match lived.must("Wait", || task.wait()) {
        Some(status) if started && status != 137 => {
            lived.wrong.push(format!("the exit status is {status}"));
        }
        _ => {}
    }
    if !lived.is_cut() {
        lived.must("Delete", || task.delete());
    }
    lived
}

fn exec(task: &Task, lived: &mut Lived) {
    let exec = task.exec("x", &["sleep", "1000"], &Io::default());
    let Some(exec) = lived.may("Exec", exec) else { return };
    let started = lived.may("Start of the exec", exec.start()).is_some();
    if started && !lived.is_cut() {
        lived.must("Kill of the exec", || exec.kill(libc::SIGKILL));
        if !lived.is_cut() {
            lived.must("Wait for the exec", || exec.wait());
        }
    }
    if !lived.is_cut() {
        lived.must("Delete of the exec", || exec.delete());
    }
}
