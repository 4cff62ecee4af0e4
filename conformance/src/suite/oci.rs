//! runtime-tools' validation programs: each makes bundles, calls the runtime, and prints TAP.

use super::{Setting, Unit, in_own_directories, limit, names, temporary, variables};
use crate::cache::Cache;
use crate::failure::Result;
use crate::supervise::Job;

pub(super) fn programs(cache: &Cache) -> Result<Vec<String>> {
    names(&cache.directory().join("oci/bundle"), |name| {
        let is_program = name != "runtimetest" && !name.starts_with("rootfs-");
        is_program.then(|| name.to_owned())
    })
}

pub(super) fn job(setting: &Setting<'_>, unit: &Unit) -> Result<Job> {
    let program = vec![format!("./{}", unit.name)];
    Ok(Job {
        arguments: in_own_directories(setting, program),
        // Where runtimetest and the root file system are.
        directory: setting.cache.directory().join("oci/bundle"),
        variables: variables([
            ("RUNTIME", setting.runtime.display().to_string()),
            ("TMPDIR", temporary(setting)),
        ]),
        terminal: false,
        limit: limit(setting, 60),
        cgroups: [
            "cgrouptest*",
            "testdir*",
            "container",
            // Containers are named by a UUID.
            "????????-????-????-????-????????????",
        ]
        .map(str::to_owned)
        .into(),
        output: setting.output(unit, "tap"),
    })
}
