//! The operations: what is there before one, how it is called, and what may be there afterwards.

use std::fs;
use std::io;
use std::path::PathBuf;

use hoist::{
    Bundle, Container, CreateOptions, ErrorKind, Result, Runtime, Signal, Status,
    Stdio as ContainerStdio,
};
use serde_json::{Value, json};

use crate::harness::{Lab, cgroups};

pub(crate) const ID: &str = "faults";

/// What is there of a container; `None` is nothing.
pub(crate) type There = Option<Status>;

const CREATED: There = Some(Status::Created);
const RUNNING: There = Some(Status::Running);
const PAUSED: There = Some(Status::Paused);
const STOPPED: There = Some(Status::Stopped);

#[derive(Debug, Clone, Copy)]
pub(crate) struct Operation {
    pub(crate) name: &'static str,
    pub(crate) arguments: &'static [&'static str],
    pub(crate) before: There,
    pub(crate) done: There,
    /// What an error may leave: what was there before, and where there is no way back more.
    pub(crate) failed: &'static [There],
}

/// All of them. A create that fails leaves nothing, and needs no `delete`.
const ALL: &[Operation] = &[
    Operation {
        name: "create",
        arguments: &["create", "--pid-file", "pid", ID],
        before: None,
        done: CREATED,
        failed: &[None],
    },
    Operation {
        name: "start",
        arguments: &["start", ID],
        before: CREATED,
        done: RUNNING,
        // Once its program runs, that can't be taken back: what could not be recorded is told.
        failed: &[CREATED, STOPPED, RUNNING],
    },
    Operation {
        name: "run",
        arguments: &["run", ID],
        before: None,
        done: None,
        failed: &[None, STOPPED],
    },
    Operation {
        name: "exec",
        arguments: &["exec", ID, "true"],
        before: RUNNING,
        done: RUNNING,
        failed: &[RUNNING],
    },
    Operation {
        name: "state",
        arguments: &["state", ID],
        before: RUNNING,
        done: RUNNING,
        failed: &[RUNNING],
    },
    Operation {
        name: "list",
        arguments: &["list"],
        before: RUNNING,
        done: RUNNING,
        failed: &[RUNNING],
    },
    Operation {
        name: "ps",
        arguments: &["ps", "--format", "json", ID],
        before: RUNNING,
        done: RUNNING,
        failed: &[RUNNING],
    },
    Operation {
        name: "kill",
        arguments: &["kill", ID, "KILL"],
        before: RUNNING,
        done: STOPPED,
        failed: &[RUNNING, STOPPED],
    },
    Operation {
        name: "pause",
        arguments: &["pause", ID],
        before: RUNNING,
        done: PAUSED,
        failed: &[RUNNING, PAUSED],
    },
    Operation {
        name: "resume",
        arguments: &["resume", ID],
        before: PAUSED,
        done: RUNNING,
        failed: &[PAUSED, RUNNING],
    },
    Operation {
        name: "update",
        arguments: &["update", "--resources", "new.json", ID],
        before: RUNNING,
        done: RUNNING,
        failed: &[RUNNING],
    },
    Operation {
        name: "delete",
        arguments: &["delete", ID],
        before: STOPPED,
        done: None,
        failed: &[STOPPED, None],
    },
    Operation {
        name: "delete-force",
        arguments: &["delete", "--force", ID],
        before: RUNNING,
        done: None,
        failed: &[RUNNING, STOPPED, None],
    },
];

pub(crate) fn named(name: &str) -> Operation {
    let mut all = ALL.iter();
    *all.find(|operation| operation.name == name).unwrap_or_else(|| panic!("no {name}"))
}

/// A container's place: its bundle, its state directory, and its cgroup.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) lab: Lab,
    limit: Option<Limit>,
}

/// What `update` changes.
#[derive(Debug)]
struct Limit {
    file: &'static str,
    /// The resources with one value or another.
    resources: fn(u64) -> Value,
}

const OLD: u64 = 64 << 20;
const NEW: u64 = 32 << 20;

/// Of the memory or, where cgroup2 has no such controller, of huge pages; if there is one at all.
fn limit() -> Option<Limit> {
    let memory = |value| json!({ "memory": { "limit": value } });
    let pages = |value| json!({ "hugepageLimits": [{ "pageSize": "2MB", "limit": value }] });
    match fs::read_to_string("/sys/fs/cgroup/cgroup.controllers") {
        Err(_) => Some(Limit { file: "memory.limit_in_bytes", resources: memory }),
        Ok(list) if list.contains("memory") => {
            Some(Limit { file: "memory.max", resources: memory })
        }
        Ok(list) if list.contains("hugetlb") => {
            Some(Limit { file: "hugetlb.2MB.max", resources: pages })
        }
        Ok(_) => None,
    }
}

impl Place {
    pub(crate) fn new(lab: Lab, operation: &Operation) -> Self {
        let limit = limit();
        let program: &[&str] = if operation.name == "run" { &["true"] } else { &["sleep", "1000"] };
        let mut config = lab.config(program);
        if let Some(Limit { resources, .. }) = &limit {
            for (member, value) in resources(OLD).as_object().expect("an object") {
                config["linux"]["resources"][member] = value.clone();
            }
            let new = resources(NEW).to_string();
            fs::write(lab.bundle().join("new.json"), new).expect("write new.json");
        }
        config["linux"]["seccomp"] = json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["swapon"], "action": "SCMP_ACT_ERRNO" }],
        });
        lab.write_config(&config);
        Self { lab, limit }
    }

    fn runtime(&self) -> Runtime {
        self.lab.runtime()
    }

    pub(crate) fn container(&self) -> Result<Container> {
        self.runtime().container(ID)
    }

    pub(crate) fn look(&self) -> Result<There> {
        match self.container().and_then(|container| container.state()) {
            Ok(state) => Ok(Some(state.status)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn create(&self) -> Result<Container> {
        let options = CreateOptions::new().stdio(ContainerStdio::null());
        self.runtime().create_with(ID, Bundle::load(self.lab.bundle())?, options)
    }

    /// Makes what has to be there before an operation.
    pub(crate) fn prepare(&self, there: There) -> Result<()> {
        let Some(status) = there else { return Ok(()) };
        let container = self.create()?;
        if status == Status::Created {
            return Ok(());
        }
        container.start()?;
        match status {
            Status::Paused => container.pause()?,
            Status::Stopped => {
                container.kill(Signal::KILL)?;
                container.wait()?;
            }
            _ => {}
        }
        Ok(())
    }

    pub(crate) fn delete(&self) -> Result<()> {
        match self.container().and_then(Container::delete_force) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is left on the host. The state's directory stays, empty.
    pub(crate) fn left(&self) -> Vec<String> {
        let mut left = self.lab.left();
        let entries = fs::read_dir(self.lab.state_root()).into_iter().flatten().flatten();
        left.extend(entries.map(|entry| format!("{}", entry.path().display())));
        left
    }

    /// Whether there is anything that `update` could change.
    pub(crate) fn can_be_updated(&self) -> bool {
        self.limit.is_some()
    }

    /// Whether the limit has been changed; an error if it is neither what it was nor what it is to be.
    pub(crate) fn is_updated(&self) -> io::Result<bool> {
        let Some(limit) = &self.limit else { return Ok(false) };
        let files = cgroups(self.lab.name()).into_iter().map(|dir| dir.join(limit.file));
        let file: Option<PathBuf> = files.into_iter().find(|file| file.exists());
        let text = fs::read_to_string(file.ok_or_else(|| io::Error::other("no such file"))?)?;
        match text.trim().parse() {
            Ok(OLD) => Ok(false),
            Ok(NEW) => Ok(true),
            _ => Err(io::Error::other(format!("{}: {text:?}", limit.file))),
        }
    }
}
