//! `mounts`: what outer opens for them, and what inner mounts, in their order.

mod cgroup;
mod covered;
mod filesystem;
mod idmap;
mod overlay;
mod propagation;

use std::borrow::Cow;
use std::ffi::{CStr, CString};
use std::path::{Component, Path};

use hoist_init::wire::{Reg, Step};
use libc::{
    MOUNT_ATTR__ATIME, MOUNT_ATTR_NODEV, MOUNT_ATTR_NODIRATIME, MOUNT_ATTR_NOEXEC,
    MOUNT_ATTR_NOSUID, MOUNT_ATTR_NOSYMFOLLOW, MOUNT_ATTR_RDONLY, MS_PRIVATE,
};
use oci_spec::runtime::Mount;

pub(super) use self::covered::holder;
use self::filesystem::Filesystem;
use self::idmap::Mapping;
use super::builder::{Builder, path, text};
use super::context::Context;
use super::rootfs::Propagation;
use crate::error::{Error, Result};
use crate::spec::mount_options::{Attributes, MountOptions, Reach};

/// One mount that inner makes. An entry of `mounts` is one of these, or several for cgroup v1.
#[derive(Debug)]
pub(super) struct Entry {
    /// Its place in `config.json`.
    pointer: String,
    /// Absolute and clean, as the container sees it: init checks it again by its text.
    destination: CString,
    what: What,
    attributes: Attributes,
    /// Attributes to clear where the kernel permits it, [`Attributes::of_bind`].
    reset: u64,
    /// What the kernel locks in a user namespace has to stay.
    locked: bool,
    /// Inner has to ask the library for an id mapping.
    asks: bool,
    tree_attributes: Attributes,
    /// Changes of propagation, one after another.
    propagation: Vec<u64>,
    /// Read-only only when nothing is left to be made in it.
    seal: bool,
    /// Paths in it are masked or read-only: it is a procfs or sysfs.
    covered: bool,
    /// Symbolic links in it: name and target.
    links: Vec<(CString, CString)>,
    /// The mount, where a later step changes it, or outer has opened it.
    reg: Reg,
    /// The fresh filesystem that the destination is right in.
    parent: Reg,
}

#[derive(Debug)]
enum What {
    /// A host file or directory; or one that is `inside` the root.
    Bind { source: CString, inside: bool, recursive: bool, idmap: Option<(Mapping, bool)> },
    /// A new instance, or the kernel's only one, of a filesystem.
    Filesystem(Filesystem),
    /// The same, made by outer, because it has an id mapping.
    Mapped(Filesystem, Mapping),
}

/// Sorts all mounts out.
pub(super) fn resolve(ctx: &Context<'_>) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for (index, mount) in ctx.spec.mounts().iter().flatten().enumerate() {
        resolve_one(ctx, mount, format!("/mounts/{index}"), &mut entries)?;
    }
    Ok(entries)
}

fn resolve_one(
    ctx: &Context<'_>,
    mount: &Mount,
    pointer: String,
    entries: &mut Vec<Entry>,
) -> Result<()> {
    let options = MountOptions::parse(mount.options().as_deref().unwrap_or_default());
    let kind = mount.typ().as_deref().unwrap_or_default();
    let bind = options.bind.or((kind == "bind").then_some(Reach::One));
    // runtime-spec 1.2: relative destinations are relative to the root. A path as the host has it
    // means the same, as in runc.
    let given = mount.destination().to_string_lossy();
    let destination = clean(&given);
    let destination = match inside(ctx.rootfs, Path::new(&*destination)) {
        Some(inside) => inside.into(),
        None => destination,
    };
    check_destination(&destination, kind, bind.is_some())
        .map_err(|message| Error::config(format!("{pointer}/destination"), message))?;
    if options.remount && bind.is_none() {
        let message = "remounting what an earlier mount has put there is not supported";
        return Err(Error::unsupported(format!("{pointer}/options"), message));
    }
    let mut entry = Entry {
        destination: text(&*destination, &format!("{pointer}/destination"))?,
        what: What::Filesystem(Filesystem::default()),
        attributes: options.attributes,
        reset: 0,
        locked: false,
        asks: ctx.user_namespace(),
        tree_attributes: options.tree_attributes,
        propagation: propagation::fold(&options.propagation),
        seal: false,
        covered: covered::is_by_kernel(kind, &destination) && covered::any_below(ctx, &destination),
        links: Vec::new(),
        reg: Reg::NONE,
        parent: Reg::NONE,
        pointer,
    };
    let idmap = idmap::of(ctx, mount, &options, &entry.pointer)?;
    if let Some(reach) = bind {
        let (source, inside) = source_path(ctx, mount, &entry.pointer)?;
        let idmap = idmap.map(|map| (map, options.idmap == Some(Reach::Tree)));
        (entry.attributes, entry.reset) = options.attributes.of_bind();
        if ctx.user_namespace() {
            // In its own user namespace the container could not clear the others either.
            entry.reset &= MOUNT_ATTR_NOSYMFOLLOW;
            let asked = |attributes: &Attributes| attributes.set | attributes.clear != 0;
            entry.locked = !inside && (asked(&entry.attributes) || asked(&entry.tree_attributes));
            // Init looks at one mount. Those below can't be asked while their tree is detached.
            let below = entry.locked && reach == Reach::Tree && ctx.open_outside();
            if below && changes_lockable(&entry.tree_attributes) {
                let message = "in a user namespace a recursive option can't lift a restriction \
                               or change an access time of what is mounted below";
                return Err(Error::unsupported(format!("{}/options", entry.pointer), message));
            }
        }
        entry.what = What::Bind { source, inside, recursive: reach == Reach::Tree, idmap };
        entries.push(entry);
        return Ok(());
    }
    if matches!(kind, "cgroup" | "cgroup2") {
        return cgroup::resolve(ctx, mount, entry, entries);
    }
    let filesystem = Filesystem::new(ctx, mount, &options, &entry.pointer)?;
    entry.what = match idmap {
        None => What::Filesystem(filesystem),
        Some(map) => What::Mapped(filesystem.for_idmap(&entry.pointer)?, map),
    };
    // Later mounts, devices and the console need mount points in these.
    let readonly = entry.attributes.set & MOUNT_ATTR_RDONLY != 0;
    entry.seal = readonly && (kind == "tmpfs" || destination == "/dev");
    entries.push(entry);
    Ok(())
}

/// Whether a mount could lose what the kernel locks in a user namespace, mount_namespaces(7).
fn changes_lockable(attributes: &Attributes) -> bool {
    const RESTRICTIONS: u64 =
        MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC;
    const ATIME: u64 = MOUNT_ATTR__ATIME | MOUNT_ATTR_NODIRATIME;
    attributes.clear & RESTRICTIONS | (attributes.set | attributes.clear) & ATIME != 0
}

/// The source of a bind mount: as an absolute path, or relative to the bundle. Or, if that is
/// inside the root: as a path there. Then it is what earlier mounts have put there, and no
/// symbolic link of the image leads out.
fn source_path(ctx: &Context<'_>, mount: &Mount, pointer: &str) -> Result<(CString, bool)> {
    let pointer = format!("{pointer}/source");
    let source = mount.source().as_deref().filter(|source| !source.as_os_str().is_empty());
    let Some(source) = source else {
        return Err(Error::config(pointer, "a bind mount needs a source"));
    };
    let source = ctx.bundle.join(source);
    // Where `..` leads is for the kernel to say.
    let plain = source.components().all(|component| component != Component::ParentDir);
    match inside(ctx.rootfs, &source).filter(|inside| plain && inside != "/") {
        Some(inside) => Ok((text(inside, &pointer)?, true)),
        None => Ok((path(&source, &pointer)?, false)),
    }
}

/// A path of the host's as the container sees it, if its text says that it is in the root.
fn inside(rootfs: &Path, path: &Path) -> Option<String> {
    let rootfs = rootfs.to_string_lossy();
    let rootfs = clean(&rootfs);
    let rest = path.strip_prefix(&*rootfs).ok().filter(|_| rootfs != "/")?;
    Some(clean(&rest.to_string_lossy()).into_owned())
}

/// The only files of procfs that may be covered: lxcfs emulates them.
const COVERABLE: [&str; 10] = [
    "/proc/cpuinfo",
    "/proc/diskstats",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/slabinfo",
    "/proc/stat",
    "/proc/swaps",
    "/proc/sys/crypto/fips_enabled",
    "/proc/sys/kernel/ns_last_pid",
    "/proc/uptime",
];

/// Nothing but a procfs may stand in for `/proc`, and nothing may cover what is inside: LSMs and
/// monitoring trust it (CVE-2019-16884). This is what can be said of the path's text; init checks
/// what it leads to.
fn check_destination(clean: &str, kind: &str, bind: bool) -> std::result::Result<(), String> {
    if clean == "/" {
        return Err("nothing can be mounted over the root".to_owned());
    }
    if clean == "/proc" && !bind && kind != "proc" {
        return Err(format!("only procfs can be mounted here, not `{kind}`"));
    }
    if clean.starts_with("/proc/") && !COVERABLE.contains(&clean) {
        return Err("nothing can be mounted inside /proc but what lxcfs emulates".to_owned());
    }
    Ok(())
}

/// A path without `.`, `..` and doubled slashes, as if there were no symbolic links.
pub(super) fn clean(text: &str) -> Cow<'_, str> {
    let is_clean = |rest: &str| rest.split('/').all(|name| !matches!(name, "" | "." | ".."));
    if text.strip_prefix('/').is_some_and(is_clean) {
        return text.into();
    }
    let mut clean = String::with_capacity(text.len() + 1);
    for component in text.split('/') {
        match component {
            "" | "." => {}
            ".." => clean.truncate(clean.rfind('/').unwrap_or(0)),
            name => {
                clean.push('/');
                clean.push_str(name);
            }
        }
    }
    if clean.is_empty() {
        clean.push('/');
    }
    clean.into()
}

/// A bind of the host's `/dev`: then nothing is made in it.
pub(super) fn binds_dev(entries: &[Entry]) -> bool {
    entries.iter().any(|e| matches!(e.what, What::Bind { .. }) && e.is_at("/dev"))
}

/// Anything is mounted at `/dev`.
pub(super) fn covers_dev(entries: &[Entry]) -> bool {
    entries.iter().any(|e| e.is_at("/dev"))
}

impl Entry {
    fn is_at(&self, place: &str) -> bool {
        self.destination.as_bytes() == place.as_bytes()
    }

    /// True if the destination is below another one.
    fn is_below(&self, place: &CStr) -> bool {
        let rest = self.destination.to_bytes().strip_prefix(place.to_bytes());
        rest.is_some_and(|rest| rest.starts_with(b"/"))
    }

    /// True if the destination is below another one and there is nothing between them.
    fn is_right_in(&self, place: &CStr) -> bool {
        let name = self.destination.to_bytes().get(place.count_bytes() + 1..).unwrap_or_default();
        self.is_below(place) && !name.contains(&b'/')
    }

    /// True if it begins empty, so that nothing in it leads elsewhere.
    fn is_empty(&self) -> bool {
        matches!(&self.what, What::Filesystem(filesystem) if filesystem.is_empty())
    }

    /// True if a later step has to find the mount again.
    fn is_kept(&self) -> bool {
        self.seal || self.covered || !self.links.is_empty() || self.propagation.len() > 1
    }
}

/// Outer: opens what only it can open.
/// `joined` holds the user namespace that it joins in the end.
pub(super) fn open(
    plan: &mut Builder,
    ctx: &Context<'_>,
    entries: &mut [Entry],
    joined: Option<Reg>,
) -> Result<()> {
    let propagation = Propagation::of(ctx)?.of_clone();
    for entry in entries {
        let pointer = &entry.pointer;
        match &entry.what {
            What::Bind { source, inside: false, idmap, .. }
                if idmap.is_some() || (ctx.open_outside() && !cgroup::comes_later(ctx, source)) =>
            {
                entry.open_tree(plan, joined, propagation)?;
            }
            What::Mapped(filesystem, map) => {
                let idmap = map.register(plan, joined, pointer)?;
                entry.reg = plan.register(pointer)?;
                let attributes = entry.attributes.set & !entry.sealed();
                filesystem.create(plan, pointer, attributes, entry.reg, idmap);
            }
            What::Bind { .. } | What::Filesystem(_) => {}
        }
    }
    Ok(())
}

impl Entry {
    /// Opens the source of a bind mount.
    fn open_tree(
        &mut self,
        plan: &mut Builder,
        joined: Option<Reg>,
        propagation: u64,
    ) -> Result<()> {
        let What::Bind { source, inside, recursive, idmap } = &self.what else { return Ok(()) };
        let (map, idmap_recursive) = match idmap {
            Some((Mapping::Joined, _)) if *inside => {
                let message = "what is inside the root can't be mapped like a user namespace that \
                               is joined: give the mount uidMappings and gidMappings";
                return Err(Error::unsupported(&self.pointer, message));
            }
            Some((map, tree)) => (map.register(plan, joined, &self.pointer)?, *tree),
            None => (Reg::NONE, false),
        };
        // Inner has no privileges over the filesystem when it is in a user namespace.
        let ask = *inside && self.asks && map != Reg::NONE;
        self.reg = plan.register(&self.pointer)?;
        let step = Step::OpenTree {
            source,
            inside: *inside,
            out: self.reg,
            recursive: *recursive,
            idmap: if ask { Reg::NONE } else { map },
            idmap_recursive,
            propagation,
        };
        plan.push(&self.pointer, &step);
        if ask {
            let step = Step::MapIds { tree: self.reg, map, recursive: idmap_recursive };
            plan.push(&self.pointer, &step);
        }
        Ok(())
    }

    /// The attributes that come later.
    fn sealed(&self) -> u64 {
        if self.seal { MOUNT_ATTR_RDONLY } else { 0 }
    }
}

/// A filesystem that was mounted just before and is empty.
struct Base {
    place: CString,
    reg: Reg,
    /// It has symbolic links as well: what only its own mount knows to be none is made there.
    only: Option<String>,
}

impl Base {
    fn takes(&self, entry: &Entry) -> bool {
        entry.is_right_in(&self.place)
            && self.only.as_ref().is_none_or(|only| *only == entry.pointer)
    }
}

/// Inner: makes the mounts.
///
/// What lies right in an empty filesystem that was mounted just before is made there, through its
/// descriptor: `/dev/pts`, or the hierarchies of cgroup v1. A walk along the whole path would look
/// for each component again, and this holds as long as the mounts that follow lie below.
pub(super) fn mount(plan: &mut Builder, entries: &mut [Entry]) -> Result<()> {
    let mut base: Option<Base> = None;
    let mut entries = entries.iter_mut().peekable();
    while let Some(entry) = entries.next() {
        base = base.filter(|base| entry.is_below(&base.place));
        if let Some(base) = base.as_ref().filter(|base| base.takes(entry)) {
            entry.parent = base.reg;
        }
        let holds_next = entry.is_empty()
            && entries.peek().is_some_and(|next| next.is_below(&entry.destination));
        if matches!(entry.what, What::Bind { inside: true, .. }) {
            entry.open_tree(plan, None, 0)?;
        }
        let opened = entry.reg;
        if entry.is_kept() && opened == Reg::NONE {
            entry.reg = plan.register(&entry.pointer)?;
        } else if holds_next && opened == Reg::NONE {
            // Without one it is only slower.
            entry.reg = plan.register(&entry.pointer).unwrap_or(Reg::NONE);
        }
        if holds_next && entry.reg != Reg::NONE {
            let only = (!entry.links.is_empty()).then(|| entry.pointer.clone());
            base = Some(Base { place: entry.destination.clone(), reg: entry.reg, only });
        }
        let propagation = entry.propagation.first().copied().unwrap_or(0);
        match &entry.what {
            What::Bind { source, recursive, .. } => {
                let step = entry.bind(source, *recursive, opened, entry.attributes, propagation);
                plan.push(&entry.pointer, &step);
            }
            What::Mapped(..) => {
                // It has its attributes already.
                let step = entry.bind(c"", false, opened, Attributes::default(), propagation);
                plan.push(&entry.pointer, &step);
            }
            What::Filesystem(filesystem) => filesystem.mount(plan, entry, propagation),
        }
        for propagation in entry.propagation.iter().skip(1) {
            let step = Step::SetMount { mount: entry.reg, set: 0, propagation: *propagation };
            plan.push(&entry.pointer, &step);
        }
        for (name, target) in &entry.links {
            let step = Step::MakeSymlink { directory: entry.reg, name, target, replace: false };
            plan.push(&entry.pointer, &step);
        }
    }
    Ok(())
}

impl Entry {
    fn bind<'a>(
        &'a self,
        source: &'a CStr,
        recursive: bool,
        tree: Reg,
        attributes: Attributes,
        propagation: u64,
    ) -> Step<'a> {
        Step::BindMount {
            source,
            tree,
            destination: &self.destination,
            recursive,
            set: attributes.set & !self.sealed(),
            clear: attributes.clear,
            reset: self.reset,
            locked: self.locked,
            set_recursive: self.tree_attributes.set,
            clear_recursive: self.tree_attributes.clear,
            propagation,
            out: if tree == Reg::NONE { self.reg } else { Reg::NONE },
            parent: self.parent,
        }
    }
}

/// Inner, when everything is in place: what was kept writable so far.
pub(super) fn seal(plan: &mut Builder, entries: &[Entry]) {
    for entry in entries.iter().filter(|entry| entry.seal) {
        let step = Step::SetMount { mount: entry.reg, set: MOUNT_ATTR_RDONLY, propagation: 0 };
        plan.push(&entry.pointer, &step);
    }
}

/// Propagation of a device that outer opens: it has nothing below and shares nothing.
pub(super) const DEVICE_PROPAGATION: u64 = MS_PRIVATE;

#[cfg(test)]
mod tests {
    use super::clean;

    #[test]
    fn a_clean_path() {
        for (text, expected) in [
            ("", "/"),
            ("/", "/"),
            ("..", "/"),
            ("a", "/a"),
            ("//a//b/", "/a/b"),
            ("/a/./b/../c", "/a/c"),
            ("/../a/../../b", "/b"),
            ("/a/b/../..", "/"),
            ("/...", "/..."),
        ] {
            assert_eq!(clean(text), expected, "{text}");
        }
    }
}
