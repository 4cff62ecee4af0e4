//! `exec --cgroup`: a cgroup that the container made below its own.

use rustix::io::Errno;

use super::dir::Dir;
use super::paths::{Location, Paths, clean};
use super::{Cgroup, Placement};
use crate::error::{Error, ErrorKind, Result};

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
            paths: Paths { requested: true, unified: self.paths.unified.clone(), legacy: vec![] },
            unified: None,
            legacy: vec![],
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

impl Placement<'_> {
    /// How many v1 hierarchies there are, and whether there is a cgroup2.
    pub(crate) fn shape(&self) -> (usize, bool) {
        (self.v1_tasks.len(), self.v2_dir.is_some())
    }
}

impl Paths {
    /// The [shape](Placement::shape) that the placement will have, if all is permitted.
    pub(crate) fn shape(&self) -> (usize, bool) {
        (self.legacy.len(), self.unified.is_some())
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
}
