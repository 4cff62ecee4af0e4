//! Processes in cgroups that the container made below its own: `exec --cgroup`, and where exec
//! can't place anybody in the container's own.

use rustix::io::Errno;

use super::Cgroup;
use super::dir::Dir;
use super::paths::{Location, Paths, clean};
use crate::error::{Error, ErrorKind, Result};
use crate::procfs::ProcessDir;

impl Cgroup {
    /// How a process gets into cgroups below the container's: each of `wanted` is a `path`, or
    /// `controller,controller:path` for these v1 hierarchies. Without any it is the container's
    /// own cgroup. They have to exist.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidArgument`] for a controller that has no hierarchy, or a path that
    /// doesn't exist.
    pub(crate) fn below(&self, wanted: &[String]) -> Result<Self> {
        let mut below = Self {
            paths: Paths {
                unified: self.paths.unified.clone(),
                unit: self.paths.unit.clone(),
                ..Paths::nowhere(true)
            },
            unified: None,
            legacy: vec![],
            unit: self.unit.clone(),
        };
        for argument in wanted {
            if let Some((controllers, _)) = argument.split_once(':') {
                for controller in controllers.split(',') {
                    if self.legacy_dir(controller).is_none() {
                        let message = format!("unknown controller {controller:?} in {argument:?}");
                        return Err(Error::new(ErrorKind::InvalidArgument, message));
                    }
                }
            }
        }
        let anywhere = wanted.iter().rfind(|argument| !argument.contains(':'));
        if let Some(dir) = &self.unified {
            // On a hybrid host a path without controllers is for all hierarchies.
            below.unified = Some(enter(dir, anywhere.map_or("", String::as_str))?);
        }
        for (location, dir) in self.paths.legacy.iter().zip(&self.legacy) {
            let path = path_for(location, wanted).or(anywhere.map(String::as_str));
            below.legacy.push(enter(dir, path.unwrap_or_default())?);
            below.paths.legacy.push(location.clone());
        }
        Ok(below)
    }

    /// Why cgroup2 takes no process.
    pub(crate) fn refusal(&self, errno: Errno) -> Option<Error> {
        let dir = self.unified.as_ref()?;
        // runc's words, but for the number: there is no process yet.
        let error = dir.error("error adding pid of the process to cgroups", "cgroup.procs", errno);
        Some(match errno {
            Errno::BUSY => error.with_hint(
                "a cgroup that has given controllers to those below it takes no processes",
            ),
            _ => error,
        })
    }

    /// The same with, in cgroup2, the cgroup in which a process of the container is; `None` if
    /// that is the container's own.
    ///
    /// For a container that has given its children controllers, as systemd does: then its own
    /// cgroup takes no process (cgroup-v2.rst, "No Internal Process Constraint"), and, as in runc,
    /// the first process shows a place that does.
    ///
    /// # Errors
    /// [`ErrorKind::WrongState`] if the process is outside of the container's cgroup.
    pub(crate) fn of_process(&self, process: &ProcessDir) -> Result<Option<Self>> {
        let (Some(dir), Some(location)) = (&self.unified, &self.paths.unified) else {
            return Ok(None);
        };
        let fail = |errno| process.fail("look for a process's cgroup", "cgroup", errno);
        let text = String::from_utf8(process.read("cgroup").map_err(fail)?)
            .map_err(|_| fail(Errno::ILSEQ))?;
        match below_own(&text, &location.path) {
            Some("") => Ok(None),
            Some(path) => {
                let mut same = self.below(&[])?;
                same.unified = Some(enter(dir, path)?);
                Ok(Some(same))
            }
            None => Err(Error::new(
                ErrorKind::WrongState,
                "the container's own cgroup can't have processes, and its first process is in none \
                 of those below it",
            )
            .with_file(dir.path())),
        }
    }
}

/// The path below a container's own cgroup of whoever this `/proc/PID/cgroup` is about, if its
/// cgroup2 is there.
fn below_own<'a>(text: &'a str, own: &str) -> Option<&'a str> {
    // A line that is not complete is no path. cgroups(7): cgroup2's number is 0.
    let path = text.split_inclusive('\n').find_map(|line| line.strip_prefix("0::/"))?;
    let below = path.strip_suffix('\n')?.strip_prefix(own)?;
    if below.is_empty() { Some("") } else { below.strip_prefix('/') }
}

/// The last path that names one of this hierarchy's controllers.
fn path_for<'a>(location: &Location, wanted: &'a [String]) -> Option<&'a str> {
    wanted.iter().rev().find_map(|argument| {
        let (controllers, path) = argument.split_once(':')?;
        controllers.split(',').any(|controller| location.has(controller)).then_some(path)
    })
}

/// Opens what is below a directory. The messages begin with runc's words.
fn enter(dir: &Dir, path: &str) -> Result<Dir> {
    if leads_out(path) {
        let message = format!("{path} is not a sub cgroup path");
        return Err(Error::new(ErrorKind::InvalidArgument, message));
    }
    let path = clean(path);
    dir.descend(&path).map_err(|errno| {
        let file = format!("{path}/cgroup.procs");
        let error = dir.error("error adding pid to cgroups", &file, errno);
        if errno == Errno::NOENT { error.with_kind(ErrorKind::InvalidArgument) } else { error }
    })
}

/// True if some `..` goes above where the path begins.
fn leads_out(path: &str) -> bool {
    let mut depth = 0u32;
    path.split('/').any(|component| {
        match component {
            "" | "." => {}
            ".." if depth == 0 => return true,
            ".." => depth -= 1,
            _ => depth += 1,
        }
        false
    })
}

/// What a [`Placement`](super::Placement) consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Shape {
    /// How many v1 hierarchies there are.
    pub(crate) hierarchies: usize,
    /// Which of them have the controllers pids and memory.
    pub(crate) inner: [Option<usize>; 2],
    /// Whether there is a cgroup2.
    pub(crate) unified: bool,
}

impl Paths {
    /// The shape that the placement has, if all is permitted.
    pub(crate) fn shape(&self) -> Shape {
        let with = |name| self.legacy.iter().position(|location| location.has(name));
        Shape {
            hierarchies: self.legacy.len(),
            inner: ["pids", "memory"].map(with),
            unified: self.unified.is_some(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out() {
        for path in ["..", "/..", "a/../..", "./../a", "a/b/../../../a"] {
            assert!(leads_out(path), "{path}");
        }
        for path in ["", "/", "a", "/a/b", "a/..", "a/../b", "...", "..a"] {
            assert!(!leads_out(path), "{path}");
        }
    }

    #[test]
    fn where_a_process_is() {
        let below = |text| below_own(text, "a/b");
        assert_eq!(below("0::/a/b\n"), Some(""));
        assert_eq!(below("4:cpu:/x\n0::/a/b/c/d\n"), Some("c/d"));
        for outside in
            ["0::/\n", "0::/a\n", "0::/a/bc\n", "0::/x/a/b\n", "0::/../a/b\n", "", "0::/a/b"]
        {
            assert_eq!(below(outside), None, "{outside:?}");
        }
        // Cut off: whose name this would be nobody knows.
        assert_eq!(below("0::/a/b/c"), None);
    }
}
