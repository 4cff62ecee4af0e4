//! `start`: the shim for a new container, or the one that its pod has already.
//!
//! What it changes of itself before it starts the server (cgroup, OOM score, core scheduling), the
//! server inherits: there is no moment at which it has the wrong one, and nothing to undo.

mod answer;
#[cfg(feature = "fuzz")]
pub(crate) mod fuzz;
mod group;
mod place;
mod request;
mod server;

use std::env;
use std::io::{Read, Write};
use std::path::Path;

use crate::args::Args;
use crate::failure::{Code, During, Failure, Result};
use crate::options::{Options, replace};
use crate::socket::{self, Claim};
use request::Request;

/// The longest that containerd may send, as Go's shims have it.
const LONGEST: u64 = 10 << 20;

/// Makes sure that a shim serves the container whose bundle is the working directory, and prints
/// where.
pub(crate) fn run(args: &Args, stdin: impl Read, mut stdout: impl Write) -> Result<()> {
    let input = read(stdin)?;
    let request = Request::new(args, env::var_os("MAX_SHIM_VERSION").as_deref(), &input)?;
    let options = Options::decode(request.options.as_ref())?;
    let group = group::of(Path::new("config.json"), &request.id)?;
    let directory = request.socket_directory.as_deref();
    let path = socket::path(directory, &request.address, &request.namespace, &group)?;
    let address = format!("unix://{}", path.display());

    let claim = Claim::take(&path)?;
    // containerd 1.6 and 1.7 find the shim again by this file when they restart, and 2.x where its
    // own bootstrap.json is missing.
    replace(Path::new("address"), address.as_bytes()).during("write the file address")?;
    let server = match &claim {
        Some(claim) => {
            place::join_cgroup(&options.shim_cgroup)?;
            place::adjust_oom_score()?;
            if env::var_os("SCHED_CORE").is_some_and(|value| !value.is_empty()) {
                place::share_core()?;
            }
            Some(server::Server::spawn(&request, &claim.listener)?)
        }
        None => None,
    };
    stdout
        .write_all(&answer::encode(request.form, &address))
        .and_then(|()| stdout.flush())
        .during("print the shim's address")?;
    if let Some(server) = server {
        server.keep();
    }
    if let Some(claim) = claim {
        claim.keep();
    }
    Ok(())
}

fn read(stdin: impl Read) -> Result<Vec<u8>> {
    let mut input = Vec::new();
    stdin.take(LONGEST + 1).read_to_end(&mut input).during("read the standard input")?;
    if input.len() as u64 > LONGEST {
        return Err(Failure::new(
            Code::InvalidArgument,
            format!("the standard input has more than {LONGEST} bytes"),
        ));
    }
    Ok(input)
}
