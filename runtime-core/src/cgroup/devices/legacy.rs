//! A policy in the files of the v1 controller: Documentation/admin-guide/cgroup-v1/devices.rst.
//!
//! The controller knows a default and a list of exceptions to it. Writing `a` to `devices.deny`
//! or `devices.allow` sets the default and empties the list.

use rustix::fs::OFlags;
use rustix::io::Errno;

use super::{Access, Kind, Pattern, Policy, Rule};
use crate::cgroup::dir::Dir;
use crate::error::{Error, ErrorKind, Result};

const ALLOW: &str = "devices.allow";
const DENY: &str = "devices.deny";
const LIST: &str = "devices.list";

/// A write to one of the controller's files.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change {
    pub(super) file: &'static str,
    pub(super) value: String,
    index: Option<usize>,
}

/// Brings a cgroup to the policy, whatever its state is. A new one has nothing to lose: all its
/// exceptions are set anew, and need not be read.
pub(in crate::cgroup) fn apply(dir: &Dir, policy: &Policy, new: bool) -> Result<()> {
    check(policy)?;
    let current = if new { None } else { current(dir)? };
    for same in changes(current.as_deref(), policy).chunk_by(|a, b| a.file == b.file) {
        let Some(first) = same.first() else { continue };
        let file = dir
            .open(first.file, OFlags::WRONLY)
            .map_err(|errno| dir.error("open", first.file, errno))?;
        for change in same {
            rustix::io::write(&file, change.value.as_bytes())
                .map_err(|errno| change.error(dir, errno))?;
        }
    }
    Ok(())
}

/// The exceptions that are in force; `None` if the default is to allow, for then the kernel shows
/// none.
pub(super) fn current(dir: &Dir) -> Result<Option<Vec<(Pattern, Access)>>> {
    let list = dir.read(LIST).map_err(|errno| dir.error("read", LIST, errno))?;
    parse_list(&list).ok_or_else(|| dir.error("read", LIST, Errno::BADMSG))
}

impl Change {
    fn error(&self, dir: &Dir, errno: Errno) -> Error {
        let pointer = match self.index {
            Some(index) => format!("/linux/resources/devices/{index}"),
            None => "/linux/resources/devices".to_owned(),
        };
        let error = Error::system(format!("write {:?}", self.value), errno)
            .with_kind(ErrorKind::Cgroup)
            .with_file(dir.path().join(self.file))
            .with_pointer(pointer);
        match errno {
            Errno::PERM => error.with_hint("a cgroup can't allow what its parent denies"),
            _ => error,
        }
    }
}

/// Whether v1 can express the policy. The kernel takes an exception back only as a whole and
/// passes silently over a rule that would make a hole in a wider one: a container would have
/// devices that it was denied.
pub(in crate::cgroup) fn check(policy: &Policy) -> Result<()> {
    match policy.rules.iter().find(|rule| rule.allow == policy.default_allow) {
        None => Ok(()),
        Some(hole) => Err(Error::unsupported(
            format!("/linux/resources/devices/{}", hole.index.unwrap_or_default()),
            "cgroup v1 can't make an exception to an exception with a wildcard",
        )),
    }
}

/// What to write so that `current` becomes the policy; `None` if the state can't be known: the
/// kernel shows no exceptions while the default is to allow.
///
/// A running container must not lose, not for a moment, a device that it keeps: so exceptions
/// are changed one by one where that is possible.
pub(super) fn changes(current: Option<&[(Pattern, Access)]>, policy: &Policy) -> Vec<Change> {
    let mut changes = Vec::new();
    let current = current.filter(|_| !policy.default_allow).unwrap_or_else(|| {
        let file = if policy.default_allow { ALLOW } else { DENY };
        changes.push(Change { file, value: "a".to_owned(), index: None });
        &[]
    });
    let access_in = |list: &mut dyn Iterator<Item = (Pattern, Access)>, pattern: Pattern| {
        list.filter(|entry| entry.0 == pattern).fold(Access::NONE, |sum, entry| sum.union(entry.1))
    };
    let wanted = || policy.rules.iter().map(|rule| (rule.pattern, rule.access));
    for &(pattern, access) in current {
        let lost = access.without(access_in(&mut wanted(), pattern));
        if lost != Access::NONE {
            changes.push(Change { file: DENY, value: entry(&pattern, lost), index: None });
        }
    }
    for &Rule { allow, pattern, access, index } in &policy.rules {
        let gained = access.without(access_in(&mut current.iter().copied(), pattern));
        if gained != Access::NONE {
            let file = if allow { ALLOW } else { DENY };
            changes.push(Change { file, value: entry(&pattern, gained), index });
        }
    }
    changes
}

/// An entry as the files have it: `c 1:* rwm`.
fn entry(pattern: &Pattern, access: Access) -> String {
    let kind = match pattern.kind {
        Kind::Block => 'b',
        Kind::Char => 'c',
    };
    let number = |number: Option<u32>| number.map_or("*".to_owned(), |number| number.to_string());
    format!("{kind} {}:{} {}", number(pattern.major), number(pattern.minor), access.letters())
}

/// Reads `devices.list`: `Some(None)` if the default is to allow.
#[allow(clippy::option_option)] // a list, no list to see, or nonsense
pub(super) fn parse_list(text: &str) -> Option<Option<Vec<(Pattern, Access)>>> {
    let mut list = Vec::new();
    for line in text.lines() {
        let mut fields = line.split(' ');
        let kind = match fields.next()? {
            "a" => return Some(None),
            "b" => Kind::Block,
            "c" => Kind::Char,
            _ => return None,
        };
        let (major, minor) = fields.next()?.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            number => number.parse().ok().map(Some),
        };
        let pattern = Pattern { kind, major: number(major)?, minor: number(minor)? };
        list.push((pattern, Access::parse(fields.next()?)?));
    }
    Some(Some(list))
}
