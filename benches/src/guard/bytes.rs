//! The size of what is shipped.

use std::fs;
use std::path::Path;

use super::Count;
use crate::failure::{Context, Result};

pub(super) fn count(hoist: &Path, shim: &Path) -> Result<Vec<Count>> {
    let mut counts = Vec::new();
    for (name, path) in [("hoist", hoist), ("shim", shim)] {
        let bytes = fs::metadata(path).context(path.display())?.len();
        counts.push(Count::new("bytes", name, bytes, format!("size -A {}", path.display())));
    }
    // It is in both of them, and in memory once for each container that is being made.
    let init = u64::try_from(hoist_init::IMAGE.len()).context("hoist-init")?;
    let shown_by = "size -A target/*/release/build/hoist-init-*/out/hoist-init".to_owned();
    counts.push(Count::new("bytes", "init", init, shown_by));
    Ok(counts)
}
