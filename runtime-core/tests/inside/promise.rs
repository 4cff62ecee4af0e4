//! What is promised, in the form that an answer can be held against.

use std::path::Path;

use serde_json::Value;

use crate::answers::{Answers, errno};
use crate::common::status_field;
use crate::{facts, places};

/// What an answer has to be.
pub(crate) enum Want {
    /// This.
    Is(String),
    /// The same as the answer to another question.
    Same(&'static str),
    /// Anything but this.
    Not(String),
    /// An error.
    Refused,
    /// Nothing to see: an empty file or directory, or an error.
    Nothing,
    /// This field of `/proc/PID/status` with this value.
    Field(&'static str, String),
    /// What the function says, which may tell what is wrong.
    Holds(Check),
}

/// Looks at an answer, and says what is wrong with it.
type Check = Box<dyn Fn(&str) -> Result<(), String>>;

/// A question and what is promised of the answer.
pub(crate) struct Promise {
    pub(crate) question: String,
    pub(crate) want: Want,
}

/// What the promises follow from.
pub(crate) struct Scene<'a> {
    pub(crate) config: &'a Value,
    /// What a process of the host's is answered ([`of_the_host`]).
    pub(crate) host: &'a Answers,
    /// For a process that has joined: the container's first process, on the host.
    pub(crate) joined: Option<u32>,
    /// A file of the host's.
    pub(crate) canary: &'a Path,
}

/// What a process of the host's has to be asked, for [`Scene`].
pub(crate) fn of_the_host() -> Vec<String> {
    [facts::of_the_host(), places::of_the_host()].concat()
}

impl Scene<'_> {
    /// Everything that is promised.
    pub(crate) fn promises(&self) -> Vec<Promise> {
        let mut all = facts::promises(self);
        all.extend(places::promises(self));
        all
    }

    /// Every question of the promises, once.
    pub(crate) fn questions(&self) -> Vec<String> {
        let mut questions: Vec<String> = Vec::new();
        for promise in self.promises() {
            let other = match promise.want {
                Want::Same(other) => Some(other.to_owned()),
                _ => None,
            };
            for question in [Some(promise.question), other].into_iter().flatten() {
                if !questions.contains(&question) {
                    questions.push(question);
                }
            }
        }
        questions
    }

    /// What was promised and isn't so.
    pub(crate) fn broken(&self, answers: &Answers) -> Vec<String> {
        let promises = self.promises();
        promises.iter().filter_map(|promise| promise.broken(answers)).collect()
    }

    /// True if the container has a namespace of this type of its own.
    pub(crate) fn has_namespace(&self, kind: &str) -> bool {
        let list = self.config["linux"]["namespaces"].as_array();
        list.is_some_and(|list| list.iter().any(|namespace| namespace["type"] == kind))
    }

    /// True if the filter refuses a system call, whatever its arguments.
    pub(crate) fn refuses(&self, name: &str) -> bool {
        let profile = &self.config["linux"]["seccomp"];
        let rules = profile["syscalls"].as_array().into_iter().flatten();
        let mut of = rules.filter(|rule| {
            rule["names"].as_array().into_iter().flatten().any(|other| other == name)
        });
        match of.next() {
            Some(rule) => rule["action"] != "SCMP_ACT_ALLOW",
            None => !profile.is_null() && profile["defaultAction"] != "SCMP_ACT_ALLOW",
        }
    }
}

impl Promise {
    pub(crate) fn new(question: impl Into<String>, want: Want) -> Self {
        Self { question: question.into(), want }
    }

    /// How it is broken, if it is.
    fn broken(&self, answers: &Answers) -> Option<String> {
        let answer = answers.get(&self.question);
        let is = |wanted: &str| {
            (answer.trim_end() != wanted.trim_end()).then(|| format!("{answer:?}, not {wanted:?}"))
        };
        let wrong = match &self.want {
            Want::Is(wanted) => is(wanted),
            Want::Same(other) => is(answers.get(other)),
            Want::Not(other) => {
                (answer == other || errno(answer).is_some()).then(|| format!("{answer:?}"))
            }
            Want::Refused => (!answer.starts_with('!')).then(|| format!("{answer:?}")),
            Want::Nothing => {
                (!answer.is_empty() && !answer.starts_with('!')).then(|| format!("{answer:.80?}"))
            }
            Want::Field(name, wanted) => {
                let value = status_field(answer, name);
                (value != wanted).then(|| format!("{name} is {value:?}, not {wanted:?}"))
            }
            Want::Holds(check) => check(answer).err(),
        };
        wrong.map(|wrong| format!("{}: {wrong}", self.question))
    }
}
