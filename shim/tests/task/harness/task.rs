//! A process that a shim looks after: a container's init, or an exec.

use containerd_shim_protos::cgroups::metrics;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::shim::{
    CheckpointTaskRequest, CloseIORequest, DeleteRequest, DeleteResponse, ExecProcessRequest,
    KillRequest, PauseRequest, PidsRequest, PidsResponse, ResizePtyRequest, ResumeRequest,
    StartRequest, StartResponse, StateRequest, StateResponse, StatsRequest, StatsResponse,
    UpdateTaskRequest, WaitRequest, WaitResponse,
};
use containerd_shim_protos::types::empty::Empty;
use containerd_shim_protos::types::task::Status;
use serde_json::{Value, json};

use super::bundle::{Io, process};
use super::{Later, Result, Shim, later};

#[derive(Clone)]
pub(crate) struct Task {
    pub(crate) shim: Shim,
    pub(crate) id: String,
    /// Empty for the container's init.
    pub(crate) exec_id: String,
    /// Of the init, as `Create` told it.
    pub(crate) pid: u32,
}

/// What an exec is told.
pub(crate) fn process_spec(arguments: &[&str]) -> Value {
    json!({
        "args": arguments, "cwd": "/", "user": { "uid": 0, "gid": 0 },
        "env": ["PATH=/bin", "TERM=xterm"], "noNewPrivileges": true,
    })
}

impl Task {
    /// A handle; nothing is called.
    pub(crate) fn new(shim: &Shim, id: &str, exec_id: &str, pid: u32) -> Self {
        let (id, exec_id) = (id.to_owned(), exec_id.to_owned());
        Self { shim: shim.clone(), id, exec_id, pid }
    }

    fn ids(&self) -> (String, String) {
        (self.id.clone(), self.exec_id.clone())
    }

    pub(crate) fn start(&self) -> Result<u32> {
        let (id, exec_id) = self.ids();
        let request = StartRequest { id, exec_id, ..StartRequest::default() };
        self.shim.call("Start", &request).map(|answer: StartResponse| answer.pid)
    }

    pub(crate) fn state(&self) -> Result<StateResponse> {
        let (id, exec_id) = self.ids();
        self.shim.call("State", &StateRequest { id, exec_id, ..StateRequest::default() })
    }

    pub(crate) fn status(&self) -> Status {
        self.state().expect("state").status.enum_value().expect("a status")
    }

    /// The exit status, when it has ended.
    pub(crate) fn wait(&self) -> Result<u32> {
        let (id, exec_id) = self.ids();
        let request = WaitRequest { id, exec_id, ..WaitRequest::default() };
        let answer: WaitResponse = self.shim.call("Wait", &request)?;
        assert!(answer.exited_at.seconds > 0, "the time of the exit");
        Ok(answer.exit_status)
    }

    /// The same on a connection of its own.
    pub(crate) fn wait_later(&self) -> Later<Result<u32>> {
        let task = Self { shim: self.shim.again(), ..self.clone() };
        later(move || task.wait())
    }

    pub(crate) fn delete(&self) -> Result<DeleteResponse> {
        let (id, exec_id) = self.ids();
        self.shim.call("Delete", &DeleteRequest { id, exec_id, ..DeleteRequest::default() })
    }

    pub(crate) fn kill(&self, signal: i32) -> Result<Empty> {
        self.signal(signal, false)
    }

    pub(crate) fn kill_all(&self, signal: i32) -> Result<Empty> {
        self.signal(signal, true)
    }

    fn signal(&self, signal: i32, all: bool) -> Result<Empty> {
        let (id, exec_id) = self.ids();
        let signal = signal.try_into().expect("a signal");
        self.shim.call("Kill", &KillRequest { id, exec_id, signal, all, ..KillRequest::default() })
    }

    /// Kills it, waits, deletes it: the end of most tests.
    pub(crate) fn finish(&self) {
        let _ = self.kill(libc::SIGKILL);
        self.wait().expect("wait");
        self.delete().expect("delete");
    }

    pub(crate) fn exec(&self, exec_id: &str, arguments: &[&str], io: &Io) -> Result<Self> {
        let mut spec = process_spec(arguments);
        spec["terminal"] = json!(io.terminal);
        self.exec_spec(exec_id, &spec, io)
    }

    pub(crate) fn exec_spec(&self, exec_id: &str, spec: &Value, io: &Io) -> Result<Self> {
        let request = ExecProcessRequest {
            id: self.id.clone(),
            exec_id: exec_id.to_owned(),
            terminal: io.terminal,
            stdin: io.stdin.clone(),
            stdout: io.stdout.clone(),
            stderr: io.stderr.clone(),
            spec: Some(process(spec)).into(),
            ..ExecProcessRequest::default()
        };
        let _: Empty = self.shim.call("Exec", &request)?;
        Ok(Self { exec_id: exec_id.to_owned(), pid: 0, ..self.clone() })
    }

    /// An exec without streams, started.
    pub(crate) fn run_exec(&self, exec_id: &str, arguments: &[&str]) -> Self {
        let mut exec = self.exec(exec_id, arguments, &Io::default()).expect("exec");
        exec.pid = exec.start().unwrap_or_else(|refused| panic!("start {exec_id}: {refused}"));
        exec
    }

    pub(crate) fn resize(&self, width: u32, height: u32) -> Result<Empty> {
        let (id, exec_id) = self.ids();
        let request =
            ResizePtyRequest { id, exec_id, width, height, ..ResizePtyRequest::default() };
        self.shim.call("ResizePty", &request)
    }

    pub(crate) fn close_stdin(&self) -> Result<Empty> {
        let (id, exec_id) = self.ids();
        let request = CloseIORequest { id, exec_id, stdin: true, ..CloseIORequest::default() };
        self.shim.call("CloseIO", &request)
    }

    pub(crate) fn pause(&self) -> Result<Empty> {
        let id = self.id.clone();
        self.shim.call("Pause", &PauseRequest { id, ..PauseRequest::default() })
    }

    pub(crate) fn resume(&self) -> Result<Empty> {
        let id = self.id.clone();
        self.shim.call("Resume", &ResumeRequest { id, ..ResumeRequest::default() })
    }

    pub(crate) fn checkpoint(&self) -> Result<Empty> {
        let (id, path) = (self.id.clone(), "/nonexistent".to_owned());
        let request = CheckpointTaskRequest { id, path, ..CheckpointTaskRequest::default() };
        self.shim.call("Checkpoint", &request)
    }

    pub(crate) fn pids(&self) -> Result<PidsResponse> {
        let id = self.id.clone();
        self.shim.call("Pids", &PidsRequest { id, ..PidsRequest::default() })
    }

    pub(crate) fn update(&self, resources: &Value) -> Result<Empty> {
        let type_url =
            "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned();
        let value = serde_json::to_vec(resources).expect("JSON");
        let resources = Some(Any { type_url, value, ..Any::default() }).into();
        let id = self.id.clone();
        self.shim
            .call("Update", &UpdateTaskRequest { id, resources, ..UpdateTaskRequest::default() })
    }

    pub(crate) fn stats(&self) -> Result<Any> {
        let id = self.id.clone();
        let answer: StatsResponse =
            self.shim.call("Stats", &StatsRequest { id, ..StatsRequest::default() })?;
        Ok(answer.stats.unwrap_or_default())
    }

    pub(crate) fn stats_v1(&self) -> metrics::Metrics {
        use containerd_shim_protos::protobuf::Message;
        let stats = self.stats().expect("stats");
        assert_eq!(stats.type_url, "io.containerd.cgroups.v1.Metrics");
        metrics::Metrics::parse_from_bytes(&stats.value).expect("decode the stats")
    }
}
