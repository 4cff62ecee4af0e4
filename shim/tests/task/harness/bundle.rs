//! Bundles, and the request that creates a container from one.

use std::fs;
use std::path::{Path, PathBuf};

use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::shim::{CreateTaskRequest, CreateTaskResponse};
use containerd_shim_protos::types::mount::Mount;
use serde_json::{Value, json};

use super::{Containerd, Reader, Result, Shim, Task};

/// The streams of a process, as requests name them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Io {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) terminal: bool,
}

pub(crate) struct Bundle<'a> {
    pub(crate) containerd: &'a Containerd,
    pub(crate) id: String,
    pub(crate) config: Value,
    pub(crate) io: Io,
    pub(crate) rootfs: Vec<Mount>,
    pub(crate) checkpoint: String,
    /// Fields of `containerd.runc.v1.Options` by number; strings only.
    options: Vec<(u8, String)>,
    /// Options as CRI and Docker send them, in place of these.
    toml: Option<String>,
}

impl<'a> Bundle<'a> {
    pub(crate) fn new(containerd: &'a Containerd, id: &str, arguments: &[&str]) -> Self {
        let spec = hoist::DefaultSpec::default().json();
        let mut config: Value = serde_json::from_str(&spec).expect("JSON");
        config["process"]["terminal"] = json!(false);
        config["process"]["args"] = json!(arguments);
        config["root"] = json!({ "path": "rootfs" });
        config["linux"]["cgroupsPath"] = json!(format!("/{}-{id}", containerd.name()));
        config["annotations"] = json!({});
        let root = containerd.root();
        let bind = Mount {
            type_: "bind".to_owned(),
            source: root.to_string_lossy().into_owned(),
            options: vec!["rbind".to_owned(), "rw".to_owned()],
            ..Mount::default()
        };
        let state = containerd.dir().join("runc").to_string_lossy().into_owned();
        let mut options = vec![(7, state)];
        if let Ok(runc) = std::env::var("HOIST_TEST_RUNC") {
            options.push((6, runc));
        }
        Self {
            containerd,
            id: id.to_owned(),
            config,
            io: Io::default(),
            rootfs: vec![bind],
            checkpoint: String::new(),
            options,
            toml: None,
        }
    }

    pub(crate) fn edit(mut self, edit: impl FnOnce(&mut Value)) -> Self {
        edit(&mut self.config);
        self
    }

    pub(crate) fn annotation(self, name: &str, value: &str) -> Self {
        self.edit(|config| config["annotations"][name] = json!(value))
    }

    /// Options of this runtime's own, beside the state directory of the tests.
    pub(crate) fn toml(mut self, text: &str) -> Self {
        let state = self.containerd.dir().join("runc");
        self.toml = Some(format!("Root = '{}'\n{text}\n", state.display()));
        self
    }

    pub(crate) fn io(mut self, io: Io) -> Self {
        self.io = io;
        self
    }

    /// Output by fifos, whose readers are returned.
    pub(crate) fn output(mut self) -> (Self, Reader, Reader) {
        let [out, err] =
            ["out", "err"].map(|name| self.containerd.fifo(&format!("{}-{name}", self.id)));
        let readers = (Reader::new(&out), Reader::new(&err));
        self.io.stdout = out.to_string_lossy().into_owned();
        self.io.stderr = err.to_string_lossy().into_owned();
        (self, readers.0, readers.1)
    }

    /// Input by a fifo, whose path is returned.
    pub(crate) fn input(mut self) -> (Self, PathBuf) {
        let path = self.containerd.fifo(&format!("{}-in", self.id));
        self.io.stdin = path.to_string_lossy().into_owned();
        (self, path)
    }

    /// A terminal: one fifo for its output, one for its input.
    pub(crate) fn terminal(self) -> (Self, Reader, PathBuf) {
        let (bundle, input) = self.input();
        let (mut bundle, output, _) = bundle.output();
        bundle.io.stderr.clear();
        bundle.io.terminal = true;
        (bundle.edit(|config| config["process"]["terminal"] = json!(true)), output, input)
    }

    /// Its directory, which containerd makes.
    pub(crate) fn dir(&self) -> PathBuf {
        self.containerd.dir().join("bundles").join(&self.id)
    }

    fn write(&self) -> PathBuf {
        let dir = self.dir();
        fs::create_dir_all(dir.join("rootfs")).expect("make the bundle");
        let text = serde_json::to_vec(&self.config).expect("JSON");
        fs::write(dir.join("config.json"), text).expect("write config.json");
        dir
    }

    pub(crate) fn start_shim(&self) -> Shim {
        self.containerd.start_shim(&self.id, &self.write())
    }

    pub(crate) fn request(&self) -> CreateTaskRequest {
        CreateTaskRequest {
            id: self.id.clone(),
            bundle: self.write().to_string_lossy().into_owned(),
            rootfs: self.rootfs.clone(),
            terminal: self.io.terminal,
            stdin: self.io.stdin.clone(),
            stdout: self.io.stdout.clone(),
            stderr: self.io.stderr.clone(),
            checkpoint: self.checkpoint.clone(),
            options: Some(self.options()).into(),
            ..CreateTaskRequest::default()
        }
    }

    fn options(&self) -> Any {
        let Some(text) = &self.toml else { return options(&self.options) };
        // runtimeoptions.v1.Options: the third field is the TOML.
        let mut value = vec![3 << 3 | 2];
        value.push(u8::try_from(text.len()).ok().filter(|n| *n < 128).expect("a short text"));
        value.extend(text.as_bytes());
        Any { type_url: "runtimeoptions.v1.Options".to_owned(), value, ..Any::default() }
    }

    pub(crate) fn create_in(&self, shim: &Shim) -> Result<Task> {
        let created: CreateTaskResponse = shim.call("Create", &self.request())?;
        Ok(Task::new(shim, &self.id, "", created.pid))
    }

    /// A shim, and the container in it.
    pub(crate) fn create(&self) -> Task {
        let shim = self.start_shim();
        self.create_in(&shim).unwrap_or_else(|refused| panic!("create {}: {refused}", self.id))
    }

    /// The same, and started.
    pub(crate) fn run(&self) -> Task {
        let task = self.create();
        task.start().unwrap_or_else(|refused| panic!("start {}: {refused}", self.id));
        task
    }
}

fn options(fields: &[(u8, String)]) -> Any {
    let mut value = Vec::new();
    for (number, text) in fields {
        value.push(number << 3 | 2);
        value.push(u8::try_from(text.len()).ok().filter(|n| *n < 128).expect("a short string"));
        value.extend(text.as_bytes());
    }
    Any { type_url: "containerd.runc.v1.Options".to_owned(), value, ..Any::default() }
}

/// The spec of an exec, as an Any with JSON in it.
pub(crate) fn process(process: &Value) -> Any {
    let value = serde_json::to_vec(process).expect("JSON");
    let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
    Any { type_url, value, ..Any::default() }
}

/// A path as requests have it.
pub(crate) fn text(path: &Path) -> String {
    path.to_str().expect("UTF-8").to_owned()
}
