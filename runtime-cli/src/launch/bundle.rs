//! The bundle that `--bundle` names.

use std::path::{Path, PathBuf};

use crate::failure::Result;
use crate::notify::{self, Relay};
use crate::rootless;
use crate::session::Session;
use crate::table::flags;
use hoist::Bundle;

/// A bundle, with what systemd asks for added to it.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) bundle: Bundle,
    /// What was logged about it.
    pub(crate) warnings: Vec<String>,
    /// The directory that the container shares with us for sd_notify(3).
    notify: Option<PathBuf>,
}

/// Loads the bundle, and logs what is odd about it.
pub(crate) fn load(session: &Session) -> Result<Prepared> {
    if let Some(mode) = session.globals.text(&flags::ROOTLESS).filter(|mode| *mode != "auto")
        && (mode == "true") != rootless::is_rootless()?
    {
        session.log.warn(&format!("--rootless={mode} ignored: hoist goes by what it may do"));
    }
    let path = session.values.path(&flags::BUNDLE).unwrap_or(Path::new("."));
    let bundle = Bundle::load(path)?;
    for warning in bundle.warnings() {
        session.log.warn(warning);
    }
    let warnings = bundle.warnings().to_vec();
    match notify::is_wanted() {
        false => Ok(Prepared { bundle, warnings, notify: None }),
        true => with_notify(session, &bundle, warnings),
    }
}

#[inline(never)] // as few ask for it, and copying a configuration takes much code
fn with_notify(session: &Session, bundle: &Bundle, warnings: Vec<String>) -> Result<Prepared> {
    let directory = session.notify_directory()?;
    let mut spec = bundle.spec().clone();
    notify::prepare(&directory, &mut spec)?;
    let bundle = Bundle::from_spec(bundle.path(), spec);
    let bundle = bundle.inspect_err(|_| notify::remove(&directory))?;
    Ok(Prepared { bundle, warnings, notify: Some(directory) })
}

impl Prepared {
    /// Whether the process asks for a terminal.
    pub(crate) fn terminal(&self) -> bool {
        let process = self.bundle.spec().process().as_ref();
        process.and_then(|process| process.terminal()).unwrap_or(false)
    }

    /// Listens for the container, if it is to tell systemd when it is ready.
    pub(crate) fn relay(&self) -> Result<Option<Relay>> {
        match &self.notify {
            Some(directory) => Relay::bind(directory),
            None => Ok(None),
        }
    }

    /// What has to be removed with the container.
    pub(crate) fn leftovers(&self) -> Leftovers {
        Leftovers(self.notify.clone())
    }
}

/// What is left beside the container's own state.
#[derive(Debug)]
pub(crate) struct Leftovers(Option<PathBuf>);

impl Leftovers {
    pub(crate) fn remove(&self) {
        if let Some(directory) = &self.0 {
            notify::remove(directory);
        }
    }
}
