//! The bundle: a directory with a `config.json`, loaded and validated.

use std::borrow::Cow;
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use oci_spec::runtime::Spec;
use rustix::io::Errno;

use super::{Resources, json, validate};
use crate::error::{Error, ErrorKind, Result};

/// The largest `config.json` that is read. What the kernel takes as arguments and environment is
/// far less (6 MiB, execve(2)), and no engine writes a hundredth of it.
const MAX_SIZE: u64 = 16 << 20;

/// An OCI bundle whose configuration has been validated.
///
/// Whatever can be said about a configuration without looking at the host has been checked when a
/// `Bundle` exists: every rule of the runtime-spec 1.3 for Linux. Nothing has been touched yet.
///
/// ```no_run
/// let bundle = hoist::Bundle::load("/bundles/web")?;
/// for warning in bundle.warnings() {
///     eprintln!("{warning}");
/// }
/// # Ok::<(), hoist::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    path: PathBuf,
    rootfs: PathBuf,
    /// Of some kilobytes, which nobody wants on every stack frame that has a bundle.
    spec: Box<Spec>,
    /// What `spec` was read from, unless it was changed since.
    text: Option<Vec<u8>>,
    warnings: Vec<String>,
}

impl Bundle {
    /// Reads and validates `config.json` in the directory `path`.
    ///
    /// Members that the runtime-spec doesn't know and the sections of other platforms are ignored,
    /// whatever is in them (config.md "Extensibility"). A member that is given twice is an error.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::InvalidConfig`] if there is no such bundle, if its `config.json` can't be read,
    /// is no regular file, is larger than 16 MiB, is not valid JSON or breaks a rule;
    /// [`ErrorKind::Unsupported`] if it asks for what hoist or Linux doesn't have. The
    /// [pointer](Error::pointer) names the place in the file.
    pub fn load(path: impl AsRef<Path>) -> Result<Self> {
        let path = canonical(path.as_ref())?;
        let file = path.join("config.json");
        let text = read(&file).map_err(|e| e.with_file(&file))?;
        Self::parsed(path, text)
    }

    /// Validates the text of a `config.json` as the configuration of the bundle directory `path`;
    /// no file is read or needed there.
    ///
    /// # Errors
    ///
    /// The same as [`load`](Bundle::load).
    pub fn from_json(path: impl AsRef<Path>, text: impl AsRef<[u8]>) -> Result<Self> {
        let text = text.as_ref();
        within_bound(text.len())?;
        Self::parsed(canonical(path.as_ref())?, text.to_owned())
    }

    /// Validates `spec` as the configuration of the bundle directory `path`; no `config.json` is
    /// read or needed there.
    ///
    /// # Errors
    ///
    /// The same as [`load`](Bundle::load).
    pub fn from_spec(path: impl AsRef<Path>, spec: Spec) -> Result<Self> {
        let path = canonical(path.as_ref())?;
        json::reject_nul(&spec, "")?;
        Self::checked(path, Box::new(spec), None, Vec::new())
    }

    /// The same bundle with other limits: what `resources` says instead of what the configuration
    /// says, as if the container were [updated](crate::Container::update) before it is made.
    ///
    /// # Errors
    ///
    /// The same as [`load`](Bundle::load).
    pub fn with_resources(mut self, resources: &Resources) -> Result<Self> {
        let (limits, warnings) = resources.validated()?;
        self.warnings.extend(warnings);
        resources.record(&mut self.spec, &limits)?;
        Self::checked(self.path, self.spec, None, self.warnings)
    }

    fn parsed(path: PathBuf, text: Vec<u8>) -> Result<Self> {
        let (spec, warnings) = json::parse(&text)?;
        Self::checked(path, spec, Some(text), warnings)
    }

    fn checked(
        path: PathBuf,
        mut spec: Box<Spec>,
        text: Option<Vec<u8>>,
        mut warnings: Vec<String>,
    ) -> Result<Self> {
        validate::validate(&mut spec, &mut warnings)?;
        let root = spec.root().as_ref().map(|root| root.path().as_path());
        let rootfs = path.join(root.unwrap_or(Path::new("rootfs")));
        Ok(Self { path, rootfs, spec, text, warnings })
    }

    /// The configuration as JSON, for [`recorded`].
    pub(crate) fn text(&self) -> Result<Cow<'_, [u8]>> {
        match &self.text {
            Some(text) => Ok(text.into()),
            None => to_json(&self.spec).map(Cow::Owned),
        }
    }

    /// The bundle's directory: absolute, without symbolic links.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The root filesystem as an absolute path (`root.path` may be relative to the bundle). Not
    /// looked at yet: it may be missing or contain symbolic links.
    #[must_use]
    pub fn rootfs(&self) -> &Path {
        &self.rootfs
    }

    /// The configuration, without what was dropped with a [warning](Bundle::warnings).
    #[must_use]
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// What is wrong with the configuration, but must not or need not stop the container, one
    /// sentence each: capabilities that can't be granted, relative mount destinations and the
    /// like.
    #[must_use]
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }
}

/// The configuration that a container was created with: it is read, checked and completed as it
/// was then.
pub(crate) fn recorded(text: &[u8]) -> Result<Box<Spec>> {
    let load = || {
        let (mut spec, mut warnings) = json::parse(text)?;
        validate::validate(&mut spec, &mut warnings)?;
        Ok(spec)
    };
    load().map_err(|error: Error| {
        Error::new(ErrorKind::State, "the container's configuration is damaged").with_source(error)
    })
}

/// A changed configuration, for [`recorded`].
pub(crate) fn to_json(spec: &Spec) -> Result<Vec<u8>> {
    serde_json::to_vec(spec).map_err(|source| {
        Error::new(ErrorKind::State, "record the configuration").with_source(source)
    })
}

fn canonical(path: &Path) -> Result<PathBuf> {
    path.canonicalize().map_err(|e| invalid("find the bundle", &e).with_file(path))
}

/// Reads a regular file of at most [`MAX_SIZE`] bytes.
fn read(path: &Path) -> Result<Vec<u8>> {
    // Without O_NONBLOCK the open of a FIFO would wait for a writer before its type can be seen.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_NONBLOCK | libc::O_NOCTTY)
        .open(path)
        .map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => invalid("the bundle has no config.json", &e)
                .with_hint("`hoist spec` writes one to start with"),
            _ => invalid("open", &e),
        })?;
    let metadata = file.metadata().map_err(|e| invalid("stat", &e))?;
    if !metadata.is_file() {
        return Err(Error::new(ErrorKind::InvalidConfig, "not a regular file"));
    }
    read_at_most(file, metadata.len())
}

fn read_at_most(file: File, size: u64) -> Result<Vec<u8>> {
    let mut text = Vec::with_capacity(usize::try_from(size.min(MAX_SIZE)).unwrap_or(0) + 1);
    // The size is only a hint: the file may be written to at this moment.
    file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(|e| invalid("read", &e))?;
    within_bound(text.len())?;
    Ok(text)
}

fn within_bound(size: usize) -> Result<()> {
    if u64::try_from(size).is_ok_and(|size| size <= MAX_SIZE) {
        return Ok(());
    }
    let message = format!("larger than {} MiB, which no configuration needs", MAX_SIZE >> 20);
    Err(Error::new(ErrorKind::InvalidConfig, message))
}

fn invalid(what: &'static str, e: &std::io::Error) -> Error {
    let error = Error::new(ErrorKind::InvalidConfig, what);
    match Errno::from_io_error(e) {
        Some(errno) => error.with_errno(errno),
        None => error,
    }
}
