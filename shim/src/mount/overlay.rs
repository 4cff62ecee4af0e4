//! overlay's layers: `lowerdir=` where it is too long, and with an id mapping.

use std::borrow::Cow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::MOUNT_ATTR_RDONLY;

use super::filesystem::Filesystem;
use super::{Place, attach, bind, descriptor_path, private, sys};
use crate::failure::{Code, During, Failure, Result};

/// Whether overlay takes `lowerdir+` and `datadir+`. It can't be asked: before 6.5 any key is taken
/// until the filesystem is made, and then it is just an invalid argument.
pub(super) fn takes_layers() -> bool {
    let name = rustix::system::uname();
    name.release().to_str().is_ok_and(|release| since(release, (6, 8)))
}

fn since(release: &str, version: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(str::parse);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) >= version,
        _ => false,
    }
}

/// The values of `lowerdir+` and `datadir+` that make up a `lowerdir`; None if it is none. In the
/// joined form a backslash takes the meaning from what follows, in the single form nothing has one.
pub(super) fn layers(lowerdir: &str) -> Option<Vec<(&'static str, String)>> {
    let parts = parts(lowerdir);
    let ends = [parts.first(), parts.last()];
    let empty_end = ends.iter().any(|part| part.is_none_or(|part| part.is_empty()));
    if empty_end || parts.windows(2).any(|pair| pair.iter().all(|part| part.is_empty())) {
        return None;
    }
    let mut key = "lowerdir+";
    let mut layers = Vec::new();
    for part in parts {
        if part.is_empty() {
            // After "::" come the layers of data only.
            key = "datadir+";
        } else {
            layers.push((key, unescaped(part)));
        }
    }
    Some(layers)
}

/// The options with layers relative to their common parent directory, and that directory: Linux
/// before 6.8 has only the page of mount(2) for all of them. None if they have none.
pub(super) fn relative(data: &[Cow<'_, str>]) -> Option<(String, Vec<String>)> {
    let (index, lowerdir) = lowerdir(data)?;
    let parts = parts(lowerdir);
    let parent = common_parent(&parts)?;
    let rest: Vec<&str> = parts
        .iter()
        .map(|part| part.strip_prefix(parent).unwrap_or(part).trim_start_matches('/'))
        .collect();
    Some((unescaped(parent), replaced(data, index, &rest.join(":"))))
}

/// overlay with an id mapping of its lower layers, which it takes from their mounts; upperdir is the
/// container's own already. The layers' common parent directory is mounted with the mapping where
/// only this thread sees it. Linux 5.19.
pub(super) fn mapped(
    filesystem: &Filesystem<'_>,
    ids: BorrowedFd<'_>,
    place: &Place,
) -> Result<OwnedFd> {
    let invalid = |message| Failure::new(Code::InvalidArgument, message);
    let (index, lowerdir) = lowerdir(&filesystem.data)
        .ok_or_else(|| invalid("uidmap=, gidmap=: overlay without lowerdir="))?;
    let parts = parts(lowerdir);
    let parent = common_parent(&parts)
        .ok_or_else(|| invalid("uidmap=, gidmap=: the layers have no common parent directory"))?;
    private::run(|| {
        let tree = bind(&unescaped(parent), true)?;
        sys::map_ids(tree.as_fd(), ids, MOUNT_ATTR_RDONLY, true)
            .during(format_args!("mount_setattr: uidmap=, gidmap= of the layers in {parent}"))?;
        attach(tree.as_fd(), place.open()?.as_fd())?;
        let at = place.open()?;
        let path = rustix::fs::readlink(descriptor_path(at.as_fd()), Vec::new())
            .during("readlink (the mapped layers)")?;
        let path = path.to_str().map_err(|_| invalid("the target's path is no UTF-8"))?;
        let path = escaped(path);
        let layers: Vec<String> = parts
            .iter()
            .map(|part| match part.strip_prefix(parent) {
                Some(rest) => format!("{path}{rest}"),
                None => String::new(),
            })
            .collect();
        let data = replaced(&filesystem.data, index, &layers.join(":"));
        filesystem.with_data(data).create_here(place)
    })
}

/// Where `lowerdir=` stands, and its value; the last one counts, as for the kernel.
fn lowerdir<'a>(data: &'a [Cow<'_, str>]) -> Option<(usize, &'a str)> {
    let value = |option: &'a Cow<'_, str>| option.strip_prefix("lowerdir=");
    data.iter().enumerate().rev().find_map(|(index, option)| Some((index, value(option)?)))
}

fn replaced(data: &[Cow<'_, str>], index: usize, lowerdir: &str) -> Vec<String> {
    let options = data.iter().enumerate();
    options
        .map(
            |(i, option)| {
                if i == index {
                    format!("lowerdir={lowerdir}")
                } else {
                    option.clone().into_owned()
                }
            },
        )
        .collect()
}

/// Splits at colons that have no backslash before them; what is between keeps its backslashes.
fn parts(lowerdir: &str) -> Vec<&str> {
    let mut escaped = false;
    lowerdir
        .split(|c| {
            let literal = std::mem::take(&mut escaped);
            escaped = c == '\\' && !literal;
            c == ':' && !literal
        })
        .collect()
}

fn unescaped(part: &str) -> String {
    let mut plain = String::with_capacity(part.len());
    let mut chars = part.chars();
    while let Some(c) = chars.next() {
        plain.extend(if c == '\\' { chars.next() } else { Some(c) });
    }
    plain
}

fn escaped(path: &str) -> String {
    let mut escaped = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '\\' | ':' | ',') {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// The deepest directory that all layers are in; empty parts (of a "::") don't count.
fn common_parent<'a>(parts: &[&'a str]) -> Option<&'a str> {
    let mut layers = parts.iter().filter(|part| !part.is_empty());
    let mut parent = parent_of(layers.next()?)?;
    for layer in layers {
        while !layer
            .strip_prefix(parent)
            .is_some_and(|rest| rest.len() > 1 && rest.starts_with('/'))
        {
            parent = parent_of(parent)?;
        }
    }
    Some(parent)
}

/// None if it is the root, or unknown: of a relative path.
fn parent_of(path: &str) -> Option<&str> {
    let (parent, _) = path.trim_end_matches('/').rsplit_once('/')?;
    (parent.starts_with('/')).then_some(parent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(lowerdir: &str) -> Option<String> {
        let layers = layers(lowerdir)?;
        Some(layers.iter().map(|(key, dir)| format!("{key}={dir}")).collect::<Vec<_>>().join(" "))
    }

    #[test]
    fn layers_one_by_one() {
        assert_eq!(joined("/a:/b").as_deref(), Some("lowerdir+=/a lowerdir+=/b"));
        assert_eq!(joined(r"/a\:b:/c\\d").as_deref(), Some(r"lowerdir+=/a:b lowerdir+=/c\d"));
        assert_eq!(joined("/a::/b::/c").as_deref(), Some("lowerdir+=/a datadir+=/b datadir+=/c"));
        for bad in ["", ":/a", "/a:", "/a:::/b"] {
            assert_eq!(joined(bad), None, "{bad}");
        }
    }

    #[test]
    fn layers_relative_to_their_parent() {
        let of = |options: &[&str]| {
            let data: Vec<Cow<'_, str>> = options.iter().map(|o| Cow::Borrowed(*o)).collect();
            relative(&data)
        };
        let (parent, options) =
            of(&["index=off", "lowerdir=/s/12/fs:/s/1/fs:/s/3/fs", "upperdir=/s/13/fs"]).unwrap();
        assert_eq!(parent, "/s");
        assert_eq!(options, ["index=off", "lowerdir=12/fs:1/fs:3/fs", "upperdir=/s/13/fs"]);
        let (parent, options) = of(&["lowerdir=/a/b/c"]).unwrap();
        assert_eq!((parent.as_str(), options[0].as_str()), ("/a/b", "lowerdir=c"));
        let (parent, options) = of(&[r"lowerdir=/a\:b/x/1::/a\:b/xy\:z"]).unwrap();
        assert_eq!((parent.as_str(), options[0].as_str()), ("/a:b", r"lowerdir=x/1::xy\:z"));
        // One layer below another: the parent of both.
        let (parent, options) = of(&["lowerdir=/a/b/c:/a/b"]).unwrap();
        assert_eq!((parent.as_str(), options[0].as_str()), ("/a", "lowerdir=b/c:b"));
        for none in ["lowerdir=/a:/b", "lowerdir=a/b:a/c", "lowerdir=", "upperdir=/a/b"] {
            assert_eq!(of(&[none]), None, "{none}");
        }
    }

    #[test]
    fn escapes_come_back() {
        let odd = r"/a:b,c\d";
        assert_eq!(unescaped(&escaped(odd)), odd);
        assert_eq!(parts(&escaped(odd)).len(), 1);
    }

    #[test]
    fn versions() {
        for (release, new) in [
            ("6.8.0", true),
            ("6.8-rc1", true),
            ("6.18.44-fc-v669", true),
            ("10.0", true),
            ("6.7.12", false),
            ("5.15.0-91-generic", false),
            ("", false),
            ("odd", false),
        ] {
            assert_eq!(since(release, (6, 8)), new, "{release}");
        }
    }
}
