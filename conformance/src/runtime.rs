//! The runtimes that suites are run against.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::cache::Cache;
use crate::failure::{Context, Failure, Result};

#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    /// What it calls itself.
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) path: PathBuf,
}

impl Runtime {
    /// `hoist` is built from this repository; `runc` and `crun` come from Debian; everything else
    /// is a path.
    pub(crate) fn resolve(cache: &Cache, wanted: &str) -> Result<Self> {
        match wanted {
            "hoist" => {
                crate::console::step("hoist: cargo build");
                Self::at(&crate::suite::hoist()?)
            }
            "runc" | "crun" => {
                cache.build("suites/peers/build")?;
                Self::at(&cache.directory().join("peers").join(wanted))
            }
            path => Self::at(Path::new(path)),
        }
    }

    /// Asks a program whether it is a runtime.
    pub(crate) fn at(path: &Path) -> Result<Self> {
        let shown = path.display().to_string();
        let path = std::path::absolute(path).context(&shown)?;
        let metadata = fs::metadata(&path).context(format_args!("the runtime {shown}"))?;
        if !metadata.is_file() || metadata.permissions().mode() & 0o111 == 0 {
            return Err(Failure::new(format!("the runtime {shown}: no executable file")));
        }
        // It may be any program, one that waits for input too.
        let output = Command::new("timeout")
            .args(["--kill-after=1", "10"])
            .arg(&path)
            .arg("--version")
            .stdin(Stdio::null())
            .output()
            .context(&shown)?;
        let text = String::from_utf8_lossy(&output.stdout);
        let mut words = text.lines().next().unwrap_or_default().split_whitespace();
        let mut next = || words.next().map(|word| word.trim_end_matches(':').to_owned());
        let (name, is_version, version) = (next(), next(), next());
        // It becomes a part of file names.
        let plain =
            |name: &String| name.chars().all(|c| c.is_ascii_alphanumeric() || "._-".contains(c));
        let name = name.filter(plain);
        let speaks = text.lines().any(|line| line.trim_start().starts_with("spec:"));
        match (name, is_version.as_deref(), version) {
            (Some(name), Some("version"), Some(version)) if speaks && output.status.success() => {
                Ok(Self { name, version, path })
            }
            _ => Err(Failure::new(format!(
                "{shown} is no OCI runtime: `--version` doesn't tell its name, version and spec"
            ))),
        }
    }

    /// Whether the lists of expected results are about it.
    pub(crate) fn is_hoist(&self) -> bool {
        self.name == "hoist"
    }
}
