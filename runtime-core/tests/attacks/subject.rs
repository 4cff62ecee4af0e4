//! Who is attacked: hoist's library, or another runtime through runc's command line.

use std::fs;
use std::os::fd::AsFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio as Pipe};

use hoist::{Container, CreateOptions, ExecOptions, Stdio};
use serde_json::Value;

use crate::common::{self, Case, MountLine, Readers, mountinfo, wait_for_exit};

/// What a container's process did.
#[derive(Debug)]
pub(crate) struct Output {
    /// The exit code, as shells have it.
    pub(crate) code: i32,
    /// What it wrote.
    pub(crate) stdout: String,
    /// What it wrote.
    #[allow(dead_code, reason = "for the messages of failing tests")]
    pub(crate) stderr: String,
}

/// The runtime made no container, or no process in it.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// What it says.
    #[allow(dead_code, reason = "for the messages of failing tests")]
    pub(crate) text: String,
    /// The place in `config.json`, which only hoist tells.
    pub(crate) pointer: Option<String>,
}

/// What came of it.
pub(crate) type Outcome<T = Output> = Result<T, Refusal>;

impl From<hoist::Error> for Refusal {
    fn from(error: hoist::Error) -> Self {
        Self { text: error.to_string(), pointer: error.pointer().map(str::to_owned) }
    }
}

/// The runtime under attack.
#[derive(Debug)]
pub(crate) enum Subject {
    /// hoist, called from this program.
    Library,
    /// The binary that `HOIST_ATTACK_RUNTIME` names.
    Binary(PathBuf),
}

impl Subject {
    pub(crate) fn of_environment() -> Self {
        match std::env::var_os("HOIST_ATTACK_RUNTIME") {
            Some(path) if !path.is_empty() => Self::Binary(path.into()),
            _ => Self::Library,
        }
    }

    /// The file whose contents a container must never change.
    pub(crate) fn program(&self) -> PathBuf {
        match self {
            Self::Library => std::env::current_exe().unwrap(),
            Self::Binary(path) => path.clone(),
        }
    }

    /// Runs the case's container to its end.
    pub(crate) fn run(&self, case: &Case) -> Outcome {
        match self {
            Self::Library => {
                let output = case.run()?;
                let code = output.exit.exit_code();
                Ok(Output { code, stdout: output.stdout, stderr: output.stderr })
            }
            Self::Binary(path) => {
                let outcome = Peer { path, case }.finish(&["run"], Pipe::piped);
                Peer { path, case }.clean();
                outcome
            }
        }
    }

    /// Runs the case's container with a terminal and returns what is written to that.
    pub(crate) fn run_with_terminal(&self, case: &Case) -> Outcome<String> {
        match self {
            Self::Library => {
                let (ours, theirs) = UnixStream::pair().unwrap();
                let options = CreateOptions::new().console_socket(theirs.into());
                let container = case.runtime.run_with(&case.id, case.bundle()?, options)?;
                let text = read_terminal(&ours);
                wait_for_exit(container.pidfd().unwrap());
                container.wait()?;
                container.delete()?;
                Ok(text)
            }
            Self::Binary(path) => {
                let socket = case.dir.join("console.sock");
                let _ = fs::remove_file(&socket);
                let listener = UnixListener::bind(&socket).unwrap();
                let arguments = ["run", "-d", "--console-socket", socket.to_str().unwrap()];
                let peer = Peer { path, case };
                let outcome = std::thread::scope(|scope| {
                    let reader = scope.spawn(|| read_terminal(&listener.accept().unwrap().0));
                    let outcome = peer.finish(&arguments, Pipe::null);
                    // Where nobody has connected, the reader must not wait for ever.
                    drop(UnixStream::connect(&socket));
                    outcome.map(|_| reader.join().unwrap())
                });
                peer.clean();
                outcome
            }
        }
    }

    /// Starts the case's container and leaves it running.
    pub(crate) fn start<'a>(&'a self, case: &'a Case) -> Outcome<Running<'a>> {
        match self {
            Self::Library => {
                let options = CreateOptions::new().stdio(Stdio::null());
                let container = case.runtime.run_with(&case.id, case.bundle()?, options)?;
                Ok(Running::Library(Box::new(container)))
            }
            Self::Binary(path) => {
                let peer = Peer { path, case };
                match peer.finish(&["run", "-d"], Pipe::null) {
                    Ok(_) => Ok(Running::Binary(peer)),
                    Err(refusal) => {
                        peer.clean();
                        Err(refusal)
                    }
                }
            }
        }
    }
}

/// A container that runs until it is ended.
pub(crate) enum Running<'a> {
    Library(Box<Container>),
    Binary(Peer<'a>),
}

impl Running<'_> {
    /// Runs a process in it to its end.
    pub(crate) fn exec(&self, process: Value) -> Outcome {
        match self {
            Self::Library(container) => {
                let process = serde_json::from_value(process).unwrap();
                let options = ExecOptions::new().stdio(Stdio::piped());
                let mut process = container.exec(&process, options)?;
                let readers = Readers::new(process.pipes());
                wait_for_exit(process.as_fd());
                let output = readers.finish(process.wait()?, Vec::new());
                let code = output.exit.exit_code();
                Ok(Output { code, stdout: output.stdout, stderr: output.stderr })
            }
            Self::Binary(peer) => {
                let file = peer.case.dir.join("process.json");
                fs::write(&file, process.to_string()).unwrap();
                peer.finish(&["exec", "--process", file.to_str().unwrap()], Pipe::piped)
            }
        }
    }

    /// Its first process, as the host has it.
    pub(crate) fn pid(&self) -> u32 {
        match self {
            Self::Library(container) => container.pid().unwrap().unwrap(),
            Self::Binary(peer) => {
                fs::read_to_string(peer.pid_file()).unwrap().trim().parse().unwrap()
            }
        }
    }

    /// What is mounted in it, which the host sees whatever became of its `/proc`.
    pub(crate) fn mounts(&self) -> Vec<MountLine> {
        mountinfo(&fs::read_to_string(format!("/proc/{}/mountinfo", self.pid())).unwrap())
    }

    /// Kills and removes it.
    pub(crate) fn end(self) {
        match self {
            Self::Library(container) => common::end(*container),
            Self::Binary(peer) => peer.clean(),
        }
    }
}

/// Another runtime with a case's container.
pub(crate) struct Peer<'a> {
    path: &'a Path,
    case: &'a Case,
}

impl Peer<'_> {
    /// Runs a command on the container. What a runtime can't do it says in its log.
    fn finish(&self, command: &[&str], output: fn() -> Pipe) -> Outcome {
        let log = self.case.dir.join("peer.log");
        let _ = fs::remove_file(&log);
        fs::write(self.case.dir.join("config.json"), self.case.config.to_string()).unwrap();
        let mut program = self.command(&log);
        program.args(command);
        if command[0] == "run" {
            program.arg("--bundle").arg(&self.case.dir);
            program.arg("--pid-file").arg(self.pid_file());
        }
        let done = program.arg(&self.case.id).stdout(output()).stderr(output()).output().unwrap();
        let log = fs::read_to_string(&log).unwrap_or_default();
        let said = log.lines().rfind(|line| line.contains(r#""level":"error""#));
        let code = done.status.code().unwrap_or(-1);
        match said {
            Some(said) if code != 0 => Err(Refusal { text: said.to_owned(), pointer: None }),
            // What a runtime says nothing of, when it has run no program either.
            _ if code != 0 && done.stdout.is_empty() && done.stderr.is_empty() => {
                Err(Refusal { text: format!("exit code {code}"), pointer: None })
            }
            _ => {
                let [stdout, stderr] = [done.stdout, done.stderr]
                    .map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
                Ok(Output { code, stdout, stderr })
            }
        }
    }

    fn command(&self, log: &Path) -> Command {
        let mut program = Command::new("timeout");
        program.args(["--kill-after=5", "60"]).arg(self.path);
        program.arg("--root").arg(self.case.dir.join("peer"));
        program.arg("--log").arg(log).args(["--log-format", "json"]).stdin(Pipe::null());
        program
    }

    fn pid_file(&self) -> PathBuf {
        self.case.dir.join("peer.pid")
    }

    fn clean(&self) {
        let mut program = self.command(Path::new("/dev/null"));
        program.args(["delete", "--force", &self.case.id]);
        let _ = program.stdout(Pipe::null()).stderr(Pipe::null()).status();
    }
}

/// Takes a terminal's master from a console socket and reads it until its other side is closed.
fn read_terminal(socket: &UnixStream) -> String {
    use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
    let mut bytes = [0u8; 256];
    let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let mut data = [std::io::IoSliceMut::new(&mut bytes)];
    recvmsg(socket, &mut data, &mut control, RecvFlags::CMSG_CLOEXEC).unwrap();
    let mut descriptors = control.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(received) => Some(received.collect::<Vec<_>>()),
        _ => None,
    });
    let Some(master) = descriptors.next().and_then(|mut list| list.pop()) else {
        return String::new();
    };
    let mut text = Vec::new();
    let mut buffer = [0u8; 4096];
    // The end of the last slave is EIO.
    while let Ok(length @ 1..) = rustix::io::read(&master, &mut buffer) {
        text.extend_from_slice(&buffer[..length]);
    }
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}
