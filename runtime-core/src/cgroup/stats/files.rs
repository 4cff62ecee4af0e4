//! A cgroup's files as figures, each of which may not be there.

use std::time::Duration;

use rustix::io::Errno;

use super::parse;
use super::types::Pressure;
use crate::cgroup::dir::Dir;
use crate::error::Result;

/// The files of one cgroup.
pub(super) struct Files<'a>(pub(super) &'a Dir);

impl Files<'_> {
    /// A file's text; `None` if there is no such file, or no such cgroup any more, or if what it
    /// counts is not counted (pressure with `psi=0`, a threaded cgroup's memory).
    pub(super) fn text(&self, file: &str) -> Result<Option<String>> {
        match self.0.read(file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::NOENT | Errno::NODEV | Errno::OPNOTSUPP) => Ok(None),
            Err(errno) => Err(self.0.error("read", file, errno)),
        }
    }

    /// A file's text as `parse` reads it.
    pub(super) fn parsed<T>(
        &self,
        file: &str,
        parse: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(text) = self.text(file)? else { return Ok(None) };
        match parse(&text) {
            Some(value) => Ok(Some(value)),
            None => Err(self.0.error("read", file, Errno::BADMSG)),
        }
    }

    pub(super) fn number(&self, file: &str) -> Result<Option<u64>> {
        self.parsed(file, parse::number)
    }

    /// A limit; `Some(None)` where there is none.
    pub(super) fn limit(&self, file: &str) -> Result<Option<Option<u64>>> {
        self.parsed(file, parse::limit)
    }

    pub(super) fn pressure(&self, file: &str) -> Result<Option<Pressure>> {
        self.parsed(file, parse::pressure)
    }

    /// Lines of `key value`, as far as `take` wants them.
    pub(super) fn pairs(&self, file: &str, mut take: impl FnMut(&str, u64)) -> Result<bool> {
        let Some(text) = self.text(file)? else { return Ok(false) };
        parse::pairs(&text).for_each(|(key, value)| take(key, value));
        Ok(true)
    }

    /// The sizes of huge pages that have a file with this ending.
    pub(super) fn huge_page_sizes(&self, ending: &str) -> Result<Vec<String>> {
        let mut names = match self.0.names() {
            Ok(names) => names,
            Err(Errno::NOENT | Errno::NODEV) => return Ok(vec![]),
            Err(errno) => return Err(self.0.error("list", "", errno)),
        };
        names.retain_mut(|name| match parse::huge_page_size(name, ending) {
            Some(size) => {
                *name = size.to_owned();
                true
            }
            None => false,
        });
        Ok(names)
    }
}

/// A list of nanoseconds.
pub(super) fn nanoseconds(values: Vec<u64>) -> Vec<Duration> {
    values.into_iter().map(Duration::from_nanos).collect()
}
