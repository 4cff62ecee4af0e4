//! The crates that are linked into what is shipped.

use std::collections::BTreeSet;
use std::process::{Command, Stdio};

use super::Count;
use crate::failure::{Context, Failure, Result};

const TREE: [&str; 7] =
    ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--no-dedupe"];

pub(super) fn count() -> Result<Vec<Count>> {
    // Set by `cargo run`.
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut counts = Vec::new();
    for package in ["hoist-cli", "hoist-shim"] {
        let mut command = Command::new(&cargo);
        command.args(TREE).args(["--package", package]).stderr(Stdio::inherit());
        let output = command.output().context("cargo tree")?;
        if !output.status.success() {
            return Err(Failure::new(format!("cargo tree --package {package}: {}", output.status)));
        }
        let number = number(&String::from_utf8_lossy(&output.stdout))?;
        let shown_by = format!("cargo {} --package {package} | sort -u", TREE.join(" "));
        counts.push(Count::new("crates", package, number, shown_by));
    }
    Ok(counts)
}

/// A crate of two versions is two; one that several others need is one.
fn number(tree: &str) -> Result<u64> {
    let crates: BTreeSet<_> = tree.lines().filter(|line| !line.is_empty()).collect();
    u64::try_from(crates.len()).context("crates")
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn each_crate_counts_once() {
        let tree = "a v1.0.0 (/a)\nb v0.1.0\nc v1.0.0\nb v0.1.0\nc v2.0.0\n\n";
        assert_eq!(number(tree).unwrap(), 4);
    }
}
