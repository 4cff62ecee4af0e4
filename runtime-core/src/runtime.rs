//! [`Runtime`]: where containers are kept, and what is shared between operations on them.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};

use crate::cgroup::{self, Manager as CgroupManager};
use crate::children::Children;
use crate::container::state::State;
use crate::container::{self, Container};
use crate::error::{Error, Result};
use crate::options::CreateOptions;
use crate::plan::Plan;
use crate::seccomp;
use crate::spawn::image::InitImage;
use crate::spec::Bundle;
use crate::state::StateDir;
use crate::stdio::Stdio;

/// A place for containers, with what operations on them share: the sealed init program, what is
/// known of the host's cgroups, compiled seccomp filters.
///
/// It is cheap to make, to clone and to share; every method may be called from any thread. Two
/// runtimes with the same root see the same containers, in the same or in different processes.
///
/// ```no_run
/// # fn main() -> hoist::Result<()> {
/// let runtime = hoist::Runtime::builder().root("/run/myapp").build()?;
/// let bundle = hoist::Bundle::load("/bundles/web")?;
/// let container = runtime.create("web-1", bundle, hoist::Stdio::inherit())?;
/// container.start()?;
/// let exit = container.wait()?;
/// container.delete()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Runtime {
    shared: Arc<Shared>,
}

/// What operations share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) root: PathBuf,
    manager: CgroupManager,
    image: OnceLock<InitImage>,
    host: OnceLock<cgroup::Host>,
    pub(crate) filters: seccomp::Cache,
    pub(crate) children: Children,
    /// Held while something that is made once is being made.
    making: Mutex<()>,
}

impl Shared {
    /// The init program, made at first use.
    pub(crate) fn image(&self) -> Result<&InitImage> {
        self.once(&self.image, InitImage::new)
    }

    /// The host's cgroups, looked up at first use.
    pub(crate) fn host(&self) -> Result<&cgroup::Host> {
        self.once(&self.host, || cgroup::Host::probe(self.manager))
    }

    fn once<'a, T>(&self, cell: &'a OnceLock<T>, make: impl Fn() -> Result<T>) -> Result<&'a T> {
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        // A thread that panicked while it held the lock has changed nothing that matters here.
        let _guard = self.making.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(value) = cell.get() {
            return Ok(value);
        }
        let value = make()?;
        Ok(cell.get_or_init(|| value))
    }
}

/// Makes a [`Runtime`].
#[derive(Debug, Default)]
pub struct RuntimeBuilder {
    root: Option<PathBuf>,
    manager: CgroupManager,
}

impl RuntimeBuilder {
    /// The directory that holds the containers' state, `/run/hoist` by default. It should be on
    /// a filesystem that a reboot empties.
    #[must_use]
    pub fn root(mut self, root: impl AsRef<Path>) -> Self {
        self.root = Some(root.as_ref().to_owned());
        self
    }

    /// Who makes the cgroups of new containers: [`CgroupManager::Cgroupfs`] by default. Each
    /// container stays with the one that it was created with.
    #[must_use]
    pub fn cgroup_manager(mut self, manager: CgroupManager) -> Self {
        self.manager = manager;
        self
    }

    /// Nothing is touched yet: the directory is made with the first container.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`](crate::ErrorKind::InvalidArgument) for a relative path.
    pub fn build(self) -> Result<Runtime> {
        let root = self.root.unwrap_or_else(|| PathBuf::from("/run/hoist"));
        if !root.is_absolute() {
            return Err(Error::new(
                crate::ErrorKind::InvalidArgument,
                "the root directory must be an absolute path",
            )
            .with_file(root));
        }
        Ok(Runtime {
            shared: Arc::new(Shared {
                root,
                manager: self.manager,
                image: OnceLock::new(),
                host: OnceLock::new(),
                filters: seccomp::Cache::default(),
                children: Children::default(),
                making: Mutex::new(()),
            }),
        })
    }
}

impl Runtime {
    /// Starts to make a runtime.
    #[must_use]
    pub fn builder() -> RuntimeBuilder {
        RuntimeBuilder::default()
    }

    /// Creates a container: everything is set up, and its process waits for
    /// [`Container::start`] (runtime-spec, runtime.md, "create").
    ///
    /// # Errors
    /// Any [`ErrorKind`](crate::ErrorKind); then nothing is left behind.
    pub fn create(&self, id: &str, bundle: Bundle, stdio: Stdio) -> Result<Container> {
        self.create_with(id, bundle, CreateOptions::new().stdio(stdio))
    }

    /// [`create`](Self::create) with all options.
    ///
    /// # Errors
    /// As [`create`](Self::create).
    pub fn create_with(
        &self,
        id: &str,
        bundle: Bundle,
        options: CreateOptions,
    ) -> Result<Container> {
        container::create::create(&self.shared, id, bundle, options, false)
            .map_err(|error| error.in_operation("create", id))
    }

    /// Creates and starts a container in one go, which is cheaper than the two calls.
    ///
    /// # Errors
    /// As [`create`](Self::create) and [`Container::start`]; if it could not be started, nothing
    /// is left behind.
    pub fn run_with(&self, id: &str, bundle: Bundle, options: CreateOptions) -> Result<Container> {
        container::create::create(&self.shared, id, bundle, options, true)
            .map_err(|error| error.in_operation("run", id))
    }

    /// A container that exists.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound). A damaged state is an error of what is
    /// done with the container, but for [`Container::delete_force`].
    pub fn container(&self, id: &str) -> Result<Container> {
        Container::load(&self.shared, id)
    }

    /// The ids of all containers, sorted.
    ///
    /// # Errors
    /// If the root directory can't be read; one that doesn't exist has no containers.
    pub fn list(&self) -> Result<Vec<String>> {
        match StateDir::open(&self.shared.root)? {
            Some(root) => root.ids(),
            None => Ok(Vec::new()),
        }
    }

    /// The states of all containers, sorted by id; cheaper than to ask each one. Some may have
    /// been deleted meanwhile: [`ErrorKind::NotFound`](crate::ErrorKind::NotFound).
    ///
    /// # Errors
    /// If the root directory can't be read; one that doesn't exist has no containers.
    pub fn states(&self) -> Result<Vec<(String, Result<State>)>> {
        container::look::states(&self.shared)
    }

    /// What [`create_with`](Self::create_with) would do, without doing any of it. Needs no
    /// privileges.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) and
    /// [`ErrorKind::Unsupported`](crate::ErrorKind::Unsupported).
    pub fn plan(&self, id: &str, bundle: &Bundle, options: &CreateOptions) -> Result<Plan> {
        container::create::plan(&self.shared, id, bundle, options, false)
            .map_err(|error| error.in_operation("plan", id))
    }
}
