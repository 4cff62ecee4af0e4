//! The directory, outside the repository, where other people's suites are built and results kept.

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{FlockOperation, flock};

use crate::failure::{Context, Failure, Result, UNAVAILABLE};

/// This repository, where the scripts and the lists of expected results are.
pub(crate) fn repository() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// A command that is told to end when this program ends, however that happens.
pub(crate) fn bound_to_us(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]).arg(program);
    command
}

/// One run at a time on this machine: two would see each other's cgroups and mounts.
pub(crate) fn lock() -> Result<File> {
    let path = Path::new("/run/hoist-conformance.lock");
    let file = File::create(path).context(path.display())?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        crate::console::complain("another run is under way, waiting for it");
        flock(&file, FlockOperation::LockExclusive).context(path.display())?;
    }
    Ok(file)
}

#[derive(Debug)]
pub(crate) struct Cache {
    directory: PathBuf,
}

impl Cache {
    /// `HOIST_CACHE`, or the user's own cache. suites/common.sh knows the same rule.
    pub(crate) fn open() -> Result<Self> {
        let directory = match (env::var_os("HOIST_CACHE"), env::var_os("XDG_CACHE_HOME")) {
            (Some(directory), _) => PathBuf::from(directory),
            (None, Some(caches)) => Path::new(&caches).join("hoist"),
            (None, None) => {
                let home = env::var_os("HOME")
                    .ok_or_else(|| Failure::new("no HOME to keep a cache in (HOIST_CACHE=DIR)"))?;
                Path::new(&home).join(".cache/hoist")
            }
        };
        let directory = std::path::absolute(&directory).context(directory.display())?;
        fs::create_dir_all(&directory).context(directory.display())?;
        Ok(Self { directory })
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn results(&self) -> PathBuf {
        self.directory.join("results")
    }

    /// What is there only while a run goes on.
    pub(crate) fn temporary(&self) -> PathBuf {
        self.directory.join("tmp")
    }

    /// A place for outputs.
    pub(crate) fn outputs(&self, name: &str) -> Result<PathBuf> {
        let directory = self.directory.join("outputs").join(name);
        fs::create_dir_all(&directory).context(directory.display())?;
        Ok(directory)
    }

    /// Removes what this program and the scripts have made, and nothing else that may be there.
    pub(crate) fn clean(&self) -> Result<()> {
        let _lock = lock()?;
        let ours = [
            "oci",
            "runc",
            "peers",
            "crun-static",
            "hoist",
            "engines",
            "engines-running",
            "vm",
            "outputs",
            "results",
            "tmp",
            "missing.json",
        ];
        for entry in fs::read_dir(&self.directory).context(self.directory.display())?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_log =
                name.ends_with(".log") || name.ends_with(".work") || name.ends_with("lock");
            if ours.contains(&name.as_str()) || is_log {
                crate::tree::remove(&entry.path())?;
            }
        }
        // Unless somebody else keeps something there.
        let _ = fs::remove_dir(&self.directory);
        Ok(())
    }

    /// Has a script below conformance/ build what is needed; it does nothing when that is there.
    pub(crate) fn build(&self, script: &str) -> Result<()> {
        let path = repository().join("conformance").join(script);
        let status = bound_to_us(&path)
            .env("HOIST_CACHE", &self.directory)
            .status()
            .context(path.display())?;
        match status.code() {
            Some(0) => Ok(()),
            Some(code) if code == i32::from(UNAVAILABLE) => {
                Err(Failure::new(format!("{script}: not to be had here, see above"))
                    .with_status(UNAVAILABLE))
            }
            _ => Err(Failure::new(format!("{script} has failed, see above"))),
        }
    }
}
