//! `delete`: what is left of a container whose shim is gone.
//!
//! containerd calls it whenever the connection to a container's shim has ended: after each ordinary
//! deletion too, where nothing is left, and while the pod's shim serves other containers.

use std::env;
use std::io::{self, Write};
use std::path::Path;

use hoist::{ErrorKind, Runtime};
use prost::Message;

use crate::args::Args;
use crate::failure::{Code, During, Failure, Result};
use crate::log::Log;
use crate::options::Options;
use crate::proto::task::DeleteResponse;
use crate::proto::wire::Timestamp;
use crate::{mount, socket};

/// What Go's shim says: killed. How the container's process has really ended, its shim knew alone.
const KILLED: u32 = 128 + 9;

/// Removes the container, its mounts and its shim's socket, in this order. Each is tried, whatever
/// becomes of the others; the first failure is the answer.
pub(crate) fn run(args: &Args, log: &Log, mut stdout: impl Write) -> Result<()> {
    let bundle = match &args.bundle {
        Some(bundle) => bundle.clone(),
        None => env::current_dir().during("find the bundle, the working directory")?,
    };
    let mut pid = 0;
    let mut failures = [
        remove_container(args, &bundle, log).map(|killed| pid = killed),
        mount::unmount_all(&bundle.join("rootfs")),
        remove_socket(&bundle, log),
    ]
    .into_iter()
    .filter_map(Result::err);
    // containerd calls again when it is restarted: it keeps the bundle.
    if let Some(failure) = failures.next() {
        failures.for_each(|failure| log.error(failure));
        return Err(failure);
    }
    let response = DeleteResponse { pid, exit_status: KILLED, exited_at: Some(Timestamp::now()) };
    stdout
        .write_all(&response.encode_to_vec())
        .and_then(|()| stdout.flush())
        .during("print the response")
}

/// Kills and removes the container; its process's id, or 0 if there is none.
fn remove_container(args: &Args, bundle: &Path, log: &Log) -> Result<u32> {
    let options = match Options::load(bundle) {
        // What is damaged says nothing: it is looked for where it is by default.
        Err(failure) if failure.code == Code::InvalidArgument => {
            log.warn(&failure);
            Options::default()
        }
        // What can't be read now is needed to find it, or "there is none" would be a guess.
        options => options?,
    };
    let runtime = Runtime::builder().root(options.root(&args.namespace)).build()?;
    let container = match runtime.container(&args.id) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(0),
        container => container?,
    };
    let pid = container.pid().ok().flatten().unwrap_or_default();
    for warning in container.delete_force()? {
        log.warn(Failure::from(warning));
    }
    Ok(pid)
}

/// Removes the socket of the container's shim if it serves nobody any more.
fn remove_socket(bundle: &Path, log: &Log) -> Result<()> {
    let file = bundle.join("address");
    let address = match std::fs::read_to_string(&file) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        address => address.during(format_args!("read {}", file.display()))?,
    };
    match address.strip_prefix("unix://").map(Path::new).filter(|path| socket::is_path(path)) {
        Some(path) => socket::sweep(path),
        None => {
            log.warn(format_args!("{}: {address:?} is no shim's address", file.display()));
            Ok(())
        }
    }
}
