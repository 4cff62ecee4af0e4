//! Mounts of a filesystem: parameters for fsconfig(2), or for mount(2) where that can't take them.

use std::ffi::{CStr, CString};

use hoist_init::wire::{Reg, Step};
use libc::{MOUNT_ATTR_RDONLY, MS_I_VERSION, MS_RDONLY};
use oci_spec::runtime::{LinuxIdMapping, LinuxNamespaceType as Kind, Mount};

use super::super::builder::{Builder, List, path, text};
use super::super::context::Context;
use super::{Entry, overlay};
use crate::error::{Error, Result};
use crate::spec::mount_options::MountOptions;

/// The longest value that fsconfig(2) takes. Init goes by the same rule.
const VALUE_MAX: usize = 255;

/// Filesystems whose superblock is shared between mounts, or has to be written to although this
/// mount is read-only: for them `ro` is an attribute of the mount alone.
const SUPERBLOCK_STAYS_WRITABLE: [&str; 7] =
    ["cgroup", "cgroup2", "devpts", "mqueue", "proc", "sysfs", "tmpfs"];

/// Filesystems that take no `context=`: their files have labels of their own, or none.
const UNLABELLED: [&str; 5] = ["cgroup", "cgroup2", "mqueue", "proc", "sysfs"];

/// Options that say how SELinux labels the files of a mount.
const CONTEXTS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// What is mounted.
#[derive(Debug, Clone, Default)]
pub(super) struct Filesystem {
    pub(super) fstype: CString,
    pub(super) source: CString,
    pub(super) options: List,
    /// For mount(2), where fsopen(2) can't do it.
    pub(super) flags: Option<u64>,
    pub(super) copy_up: bool,
    /// What of the host's is bound instead if the kernel refuses.
    pub(super) fallback: CString,
}

impl Filesystem {
    pub(super) fn new(
        ctx: &Context<'_>,
        mount: &Mount,
        options: &MountOptions<'_>,
        pointer: &str,
    ) -> Result<Self> {
        let kind = mount.typ().as_deref().filter(|kind| !kind.is_empty()).unwrap_or("none");
        let source = match mount.source() {
            Some(source) => path(source, &format!("{pointer}/source"))?,
            None => CString::default(),
        };
        let mut parameters = Parameters::default();
        for option in &options.data {
            let pointer = format!("{pointer}/options/{}", option.index);
            for part in split_options(option.text) {
                check_id(ctx, kind, part).map_err(|message| Error::config(&pointer, message))?;
                parameters.push(part);
            }
        }
        if let Some(label) = ctx.mount_label()
            && !UNLABELLED.contains(&kind)
            && !parameters.has(&CONTEXTS)
        {
            parameters.0.push(("context".to_owned(), Some(label.to_owned())));
        }
        if kind == "overlay" && ctx.facts.overlay_layers {
            parameters.split_layers();
        }
        let readonly = options.attributes.set & MOUNT_ATTR_RDONLY != 0
            && !SUPERBLOCK_STAYS_WRITABLE.contains(&kind);
        let flags = parameters.classic_flags(&options.superblock, readonly);
        if flags.is_none() {
            // "silent" only concerns the kernel's log.
            let names = options.superblock.iter().filter(|flag| **flag != "silent");
            parameters.0.extend(names.map(|flag| ((*flag).to_owned(), None)));
            if readonly {
                parameters.0.push(("ro".to_owned(), None));
            }
        }
        Ok(Self {
            fstype: text(kind, &format!("{pointer}/type"))?,
            source,
            options: parameters.list(flags.is_some(), &format!("{pointer}/options"))?,
            flags,
            copy_up: options.tmpcopyup && kind == "tmpfs",
            fallback: fallback(kind).to_owned(),
        })
    }

    /// What outer can make with an id mapping.
    pub(super) fn for_idmap(self, pointer: &str) -> Result<Self> {
        let kind = self.fstype.to_string_lossy();
        if UNLABELLED.contains(&&*kind) || kind == "devpts" {
            let message = format!("`{kind}` can't have an id mapping");
            return Err(Error::unsupported(pointer, message));
        }
        if self.flags.is_some() || self.copy_up {
            let message = "tmpcopyup, iversion and long options can't go with an id mapping";
            return Err(Error::unsupported(format!("{pointer}/options"), message));
        }
        Ok(self)
    }

    /// A tmpfs into which nothing is copied.
    pub(super) fn is_empty(&self) -> bool {
        &*self.fstype == c"tmpfs" && !self.copy_up
    }

    /// Outer makes it.
    pub(super) fn create(
        &self,
        plan: &mut Builder,
        pointer: &str,
        attributes: u64,
        out: Reg,
        idmap: Reg,
    ) {
        let step = Step::CreateMount {
            fstype: &self.fstype,
            source: &self.source,
            options: self.options.get(),
            attributes,
            out,
            idmap,
        };
        plan.push(pointer, &step);
    }

    /// Inner makes it, in its place.
    pub(super) fn mount(&self, plan: &mut Builder, entry: &Entry, propagation: u64) {
        let step = Step::MountFilesystem {
            fstype: &self.fstype,
            source: &self.source,
            destination: &entry.destination,
            options: self.options.get(),
            attributes: entry.attributes.set & !entry.sealed(),
            propagation,
            copy_up: self.copy_up,
            fallback: &self.fallback,
            set_recursive: entry.tree_attributes.set,
            clear_recursive: entry.tree_attributes.clear,
            out: entry.reg,
            flags: self.flags.unwrap_or(0),
            parent: entry.parent,
        };
        plan.push(&entry.pointer, &step);
    }
}

/// The host's own mount, for a container in a container: the kernel refuses a fresh procfs or
/// sysfs that would show more than the outer one may see. The procfs shows the outer container's
/// processes then, in which the inner one's are by other numbers; `self` is right all the same.
fn fallback(kind: &str) -> &'static CStr {
    match kind {
        "proc" => c"/proc",
        "sysfs" => c"/sys",
        _ => c"",
    }
}

/// The options of a mount by name.
#[derive(Debug, Default)]
struct Parameters(Vec<(String, Option<String>)>);

impl Parameters {
    fn push(&mut self, option: &str) {
        let (key, value) = match option.split_once('=') {
            Some((key, value)) => (key, Some(value)),
            None => (option, None),
        };
        // mount(2) wants a label with commas in quotes, fsconfig(2) wants none.
        let unquoted = value
            .filter(|_| CONTEXTS.contains(&key))
            .and_then(|value| value.strip_prefix('"').and_then(|value| value.strip_suffix('"')));
        self.0.push((key.to_owned(), unquoted.or(value).map(str::to_owned)));
    }

    fn has(&self, keys: &[&str]) -> bool {
        self.0.iter().any(|(key, _)| keys.contains(&key.as_str()))
    }

    fn split_layers(&mut self) {
        let long = |value: &Option<String>| value.as_ref().is_some_and(|v| v.len() > VALUE_MAX);
        for at in (0..self.0.len()).rev() {
            let Some((key, value)) = self.0.get(at) else { continue };
            if key != "lowerdir" || !long(value) {
                continue;
            }
            let layers = value.as_deref().and_then(overlay::split).unwrap_or_default();
            if !layers.is_empty() && layers.iter().all(|(_, layer)| layer.len() <= VALUE_MAX) {
                let layers = layers.into_iter().map(|(key, dir)| (key.to_owned(), Some(dir)));
                self.0.splice(at..=at, layers);
            }
        }
    }

    /// The flags for mount(2), if only that can take all of it. (A mount(2) without any flag is
    /// chosen by init alone, for the long option.)
    fn classic_flags(&self, superblock: &[&str], readonly: bool) -> Option<u64> {
        let long = self
            .0
            .iter()
            .any(|(_, value)| value.as_ref().is_some_and(|value| value.len() > VALUE_MAX));
        if !long && !superblock.contains(&"iversion") {
            return None;
        }
        let flag = |flags: u64, name: &&str| {
            flags
                | match *name {
                    "dirsync" => libc::MS_DIRSYNC,
                    "iversion" => MS_I_VERSION,
                    "lazytime" => libc::MS_LAZYTIME,
                    "mand" => libc::MS_MANDLOCK,
                    "silent" => libc::MS_SILENT,
                    "sync" => libc::MS_SYNCHRONOUS,
                    _ => 0,
                }
        };
        Some(superblock.iter().fold(if readonly { MS_RDONLY } else { 0 }, flag))
    }

    fn list(&self, classic: bool, pointer: &str) -> Result<List> {
        let mut list = List::default();
        for (key, value) in &self.0 {
            let option = match value {
                Some(value) if classic && value.contains(',') && CONTEXTS.contains(&&**key) => {
                    format!("{key}=\"{value}\"")
                }
                Some(value) => format!("{key}={value}"),
                None => key.clone(),
            };
            list.push(&text(option, pointer)?);
        }
        Ok(list)
    }
}

/// One string may hold several options, as mount(8) takes them: divided by commas that are
/// neither in quotes nor escaped.
fn split_options(option: &str) -> Vec<&str> {
    let mut quoted = false;
    let mut escaped = false;
    let parts = option.split(|c| {
        let plain = !escaped;
        escaped = plain && c == '\\';
        quoted ^= plain && c == '"';
        plain && !quoted && c == ','
    });
    parts.filter(|part| !part.is_empty()).collect()
}

/// `uid=` and `gid=` that the container's new user namespace doesn't map: the kernel would answer
/// EINVAL and no more.
fn check_id(ctx: &Context<'_>, kind: &str, option: &str) -> std::result::Result<(), String> {
    let Some((key, value)) = option.split_once('=') else { return Ok(()) };
    let Some(linux) = ctx.linux().filter(|_| ctx.namespaces().is_new(Kind::User)) else {
        return Ok(());
    };
    let (name, maps) = match key {
        "uid" => ("user", linux.uid_mappings()),
        "gid" => ("group", linux.gid_mappings()),
        _ => return Ok(()),
    };
    let (Ok(id), Some(maps)) = (value.parse::<u32>(), maps) else { return Ok(()) };
    let maps_id = |map: &LinuxIdMapping| {
        id.checked_sub(map.container_id()).is_some_and(|offset| offset < map.size())
    };
    if matches!(kind, "devpts" | "tmpfs") && !maps.is_empty() && !maps.iter().any(maps_id) {
        return Err(format!("{name} {id} is not mapped into the container's user namespace"));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_string_may_hold_several_options() {
        assert_eq!(split_options("size=1m,,mode=755"), ["size=1m", "mode=755"]);
        assert_eq!(split_options(r#"context="a:c1,c2",ro"#), [r#"context="a:c1,c2""#, "ro"]);
        assert_eq!(split_options(r"lowerdir=/a\,b,x"), [r"lowerdir=/a\,b", "x"]);
        assert_eq!(split_options(r"upperdir=/a\\,x"), [r"upperdir=/a\\", "x"]);
    }
}
