//! The bundles that every runtime is given: one root file system with a static busybox, and a
//! `config.json` for each purpose.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::failure::{Context, Failure, Result};
use crate::floor;

/// Docker's profile for the default capabilities; its origin is told beside it.
const DOCKER_SECCOMP: &str = include_str!("../../runtime-core/tests/data/docker-seccomp.json");

/// A configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Config {
    /// The least in which nothing is left to a runtime's choice ([`floor::MINIMAL`]).
    Minimal,
    /// What `spec` writes.
    Default,
    /// The same with Docker's seccomp profile.
    Seccomp,
}

impl Config {
    pub(crate) const ALL: [Self; 3] = [Self::Minimal, Self::Default, Self::Seccomp];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Default => "default",
            Self::Seccomp => "seccomp",
        }
    }
}

#[derive(Debug, Clone)]
pub(crate) struct Bundles(PathBuf);

impl Bundles {
    /// Those that [`Self::make`] has made there.
    pub(crate) fn at(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    pub(crate) fn make(directory: &Path) -> Result<Self> {
        let bundles = Self::at(directory);
        bundles.make_root()?;
        for config in Config::ALL {
            let mut value = value(config)?;
            bundles.write(config.name(), &value)?;
            set(&mut value, "/process/args", json!(["/bin/sleep", "1000"]))?;
            bundles.write(&format!("{}-sleep", config.name()), &value)?;
        }
        bundles.write_filter()?;
        Ok(bundles)
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.join("rootfs")
    }

    /// A bundle that runs /bin/true.
    pub(crate) fn once(&self, config: Config) -> PathBuf {
        self.0.join(config.name())
    }

    /// A bundle that sleeps until it is killed.
    pub(crate) fn sleeping(&self, config: Config) -> PathBuf {
        self.0.join(format!("{}-sleep", config.name()))
    }

    /// The default configuration with a memory limit.
    pub(crate) fn limited(&self, args: &[&str], bytes: u64) -> Result<PathBuf> {
        let mut value = value(Config::Default)?;
        set(&mut value, "/process/args", json!(args))?;
        let resources = value.pointer_mut("/linux/resources").and_then(Value::as_object_mut);
        let resources = resources.ok_or_else(|| Failure::new("no /linux/resources"))?;
        resources.insert("memory".to_owned(), json!({ "limit": bytes }));
        self.write("limited", &value)
    }

    /// The filter that hoist compiles of the profile, for the floor.
    pub(crate) fn filter(&self) -> PathBuf {
        self.0.join("filter")
    }

    fn write_filter(&self) -> Result<()> {
        let what = "the plan with Docker's seccomp profile";
        let bundle = hoist::Bundle::load(self.once(Config::Seccomp)).context(what)?;
        let runtime = hoist::Runtime::builder().build().context(what)?;
        let plan = runtime.plan("filter", &bundle, &hoist::CreateOptions::new()).context(what)?;
        let filter = plan.filter().ok_or_else(|| Failure::new(format!("{what} has no filter")))?;
        fs::write(self.filter(), filter).context(self.filter().display())
    }

    fn make_root(&self) -> Result<()> {
        let root = self.root();
        for point in ["bin", "dev", "proc", "sys", "tmp", "run", "etc"] {
            let path = root.join(point);
            fs::create_dir_all(&path).context(path.display())?;
        }
        let busybox = ["/bin/busybox", "/usr/bin/busybox"].map(Path::new);
        let busybox = busybox
            .into_iter()
            .find(|path| path.exists())
            .ok_or_else(|| Failure::new("busybox is missing: apt-get install busybox-static"))?;
        if !crate::host::is_static(busybox)? {
            return Err(Failure::new("busybox is not static: apt-get install busybox-static"));
        }
        let copy = root.join("bin/busybox");
        fs::copy(busybox, &copy).context(copy.display())?;
        for applet in ["sh", "true", "sleep"] {
            // Symbolic ones would lead out of the root if they were absolute.
            fs::hard_link(&copy, root.join("bin").join(applet)).context(copy.display())?;
        }
        Ok(())
    }

    fn write(&self, name: &str, value: &Value) -> Result<PathBuf> {
        let mut value = value.clone();
        set(&mut value, "/root/path", json!(self.root()))?;
        let directory = self.0.join(name);
        fs::create_dir_all(&directory).context(directory.display())?;
        let path = directory.join("config.json");
        let text = serde_json::to_vec_pretty(&value).context(path.display())?;
        fs::write(&path, text).context(path.display())?;
        Ok(directory)
    }
}

fn value(config: Config) -> Result<Value> {
    let text = match config {
        Config::Minimal => floor::MINIMAL.to_owned(),
        Config::Default | Config::Seccomp => hoist::DefaultSpec::default().json(),
    };
    let mut value: Value = serde_json::from_str(&text).context(config.name())?;
    set(&mut value, "/process/terminal", json!(false))?;
    set(&mut value, "/process/args", json!(["/bin/true"]))?;
    match config {
        Config::Minimal | Config::Default => {}
        Config::Seccomp => {
            let profile: Value =
                serde_json::from_str(DOCKER_SECCOMP).context("Docker's seccomp profile")?;
            let linux = value.pointer_mut("/linux").and_then(Value::as_object_mut);
            linux.map(|linux| linux.insert("seccomp".to_owned(), profile));
        }
    }
    Ok(value)
}

fn set(value: &mut Value, pointer: &str, to: Value) -> Result<()> {
    let place = value.pointer_mut(pointer);
    *place.ok_or_else(|| Failure::new(format!("the default spec has no {pointer}")))? = to;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn configurations_are_valid_and_differ() {
        for config in Config::ALL {
            let mut value = value(config).unwrap();
            set(&mut value, "/root/path", json!("src")).unwrap();
            let directory = env!("CARGO_MANIFEST_DIR");
            let bundle = hoist::Bundle::from_json(directory, value.to_string()).unwrap();
            assert_eq!(bundle.warnings(), &[] as &[String], "{}", config.name());
            let linux = bundle.spec().linux().as_ref().unwrap();
            assert_eq!(linux.seccomp().is_some(), config == Config::Seccomp);
            assert_eq!(linux.masked_paths().is_some(), config != Config::Minimal);
        }
    }
}
