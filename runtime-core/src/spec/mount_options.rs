//! The options of one mount, sorted by what the kernel does with them.
//!
//! config.md "Linux mount options" has one flat list of strings. The kernel knows five different
//! things behind them: attributes of the mount (`mount_setattr(2)`), the same for a whole tree,
//! flags of the superblock, propagation, and parameters of the filesystem. Pure; knows no mount.

use libc::{
    MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
    MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW, MOUNT_ATTR_RDONLY as RDONLY,
    MOUNT_ATTR_RELATIME as RELATIME, MOUNT_ATTR_STRICTATIME as STRICTATIME,
};
use rustix::mount::MountPropagationFlags as Propagation;

/// Whether an operation reaches the mounts below as well (`AT_RECURSIVE`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reach {
    /// This mount alone.
    One,
    /// This mount and every mount below it.
    Tree,
}

/// A filesystem's own option, with its place in `options` for the JSON pointer of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FsOption<'a> {
    /// The index in `mounts[].options`.
    pub(crate) index: usize,
    /// The text as it stands there. It is not split at commas: `mount(2)` would do that, and a
    /// filesystem that takes escaped commas (overlay) must see them.
    pub(crate) text: &'a str,
}

/// Attributes to set and to clear with one `mount_setattr(2)`.
///
/// The access time is one field of three values, not three bits: whoever changes it names the
/// whole field in `clear` (mount_setattr(2), "attr_clr").
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Attributes {
    /// `MOUNT_ATTR_*` to set.
    pub(crate) set: u64,
    /// `MOUNT_ATTR_*` to clear first.
    pub(crate) clear: u64,
    /// An access time was asked for, not only taken back.
    pub(crate) atime: bool,
}

impl Attributes {
    /// True if nothing is to be changed.
    pub(crate) fn is_empty(self) -> bool {
        self.set | self.clear == 0
    }

    fn apply(&mut self, change: Change) {
        match change {
            Change::Set(bit) => {
                self.set |= bit;
                self.clear &= !bit;
            }
            Change::Clear(bit) => {
                self.set &= !bit;
                self.clear |= bit;
            }
            Change::Atime(value) => {
                self.set = self.set & !ATIME | value;
                self.clear |= ATIME;
                self.atime = true;
            }
            // "atime" takes back a "noatime", but not a "strictatime" given before; what then
            // remains is the kernel's default, relatime.
            Change::NotAtime(value) => {
                if self.set & ATIME == value {
                    self.set &= !ATIME;
                    self.atime = false;
                }
                self.clear |= ATIME;
            }
        }
    }

    /// What a bind mount makes of them, and what is cleared besides.
    ///
    /// As with `mount --bind -o`, a list that names any attribute is the whole of them; one that
    /// names none keeps those of the source. The access time is a whole for itself: it is kept
    /// unless one is asked for (mount(2), "MS_REMOUNT"), and taking one back is no asking.
    pub(crate) fn of_bind(self) -> (Self, u64) {
        if self.is_empty() {
            return (self, 0);
        }
        let mut own = self;
        let mut all = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;
        if self.atime || self.set & NODIRATIME != 0 {
            own.clear |= ATIME;
            all |= NODIRATIME;
        } else {
            own.clear &= !(ATIME | NODIRATIME);
        }
        (own, all & !own.set & !own.clear)
    }
}

/// What the options of one mount ask for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct MountOptions<'a> {
    /// Set if this is a bind mount.
    pub(crate) bind: Option<Reach>,
    /// `remount`: change what is mounted at the destination already.
    pub(crate) remount: bool,
    /// Attributes of this mount.
    pub(crate) attributes: Attributes,
    /// Attributes of this mount and all below it, applied after `attributes`.
    pub(crate) tree_attributes: Attributes,
    /// Propagation changes in their order; `REC` is set in the `r` forms.
    pub(crate) propagation: Vec<Propagation>,
    /// `idmap` or `ridmap`.
    pub(crate) idmap: Option<Reach>,
    /// `tmpcopyup`: fill the new tmpfs with what was at the destination.
    pub(crate) tmpcopyup: bool,
    /// Flags of the superblock, each once: `dirsync`, `lazytime`, `mand` and `sync` by the names
    /// that `fsconfig(FSCONFIG_SET_FLAG)` takes, `iversion` and `silent`, which only `mount(2)`
    /// knows (`MS_I_VERSION`, `MS_SILENT`).
    pub(crate) superblock: Vec<&'static str>,
    /// Everything else, in order: options of the filesystem itself.
    pub(crate) data: Vec<FsOption<'a>>,
}

impl<'a> MountOptions<'a> {
    /// Sorts the options. Any list is accepted: what is not in the table belongs to the
    /// filesystem (config.md: "unknown options" are filesystem-specific). Later options win.
    pub(crate) fn parse(options: &'a [String]) -> Self {
        let mut parsed = Self::default();
        for (index, text) in options.iter().enumerate() {
            match find(text) {
                Some(effect) => parsed.apply(effect),
                None if text.is_empty() => {}
                None => parsed.data.push(FsOption { index, text }),
            }
        }
        parsed
    }

    fn apply(&mut self, effect: Effect) {
        match effect {
            Effect::Nothing => {}
            Effect::Bind(reach) => self.bind = Some(reach),
            Effect::Remount => self.remount = true,
            Effect::One(change) => self.attributes.apply(change),
            Effect::Tree(change) => self.tree_attributes.apply(change),
            Effect::Propagate(flags) => self.propagation.push(flags),
            Effect::Idmap(reach) => self.idmap = Some(reach),
            Effect::CopyUp => self.tmpcopyup = true,
            Effect::Superblock(flag) => {
                if !self.superblock.contains(&flag) {
                    self.superblock.push(flag);
                }
            }
            Effect::NotSuperblock(flag) => self.superblock.retain(|f| *f != flag),
        }
    }
}

/// The names of all options that hoist itself understands, sorted; `hoist features` prints them.
pub(crate) fn known_options() -> impl Iterator<Item = &'static str> {
    TABLE.iter().map(|(name, _)| *name)
}

/// A change of mount attributes.
#[derive(Debug, Clone, Copy)]
enum Change {
    Set(u64),
    Clear(u64),
    /// Sets the access time field to this value.
    Atime(u64),
    /// Sets the field back to its default if it has this value.
    NotAtime(u64),
}

/// What an option does.
#[derive(Debug, Clone, Copy)]
enum Effect {
    Nothing,
    Bind(Reach),
    Remount,
    One(Change),
    Tree(Change),
    Propagate(Propagation),
    Idmap(Reach),
    CopyUp,
    Superblock(&'static str),
    NotSuperblock(&'static str),
}

fn find(option: &str) -> Option<Effect> {
    let at = TABLE.binary_search_by(|(name, _)| (*name).cmp(option)).ok()?;
    TABLE.get(at).map(|(_, effect)| *effect)
}

const REC: Propagation = Propagation::REC;
const PRIVATE: Propagation = Propagation::PRIVATE;
const SHARED: Propagation = Propagation::SHARED;
const SLAVE: Propagation = Propagation::DOWNSTREAM;
const UNBINDABLE: Propagation = Propagation::UNBINDABLE;

/// config.md "Linux mount options", sorted by name.
#[rustfmt::skip]
const TABLE: &[(&str, Effect)] = {
    use Change::{Atime, Clear, NotAtime, Set};
    use Effect::{
        Bind, CopyUp, Idmap, NotSuperblock, Nothing, One, Propagate, Remount, Superblock, Tree,
    };
    &[
        ("async",          NotSuperblock("sync")),
        ("atime",          One(NotAtime(NOATIME))),
        ("bind",           Bind(Reach::One)),
        ("defaults",       Nothing),
        ("dev",            One(Clear(NODEV))),
        ("diratime",       One(Clear(NODIRATIME))),
        ("dirsync",        Superblock("dirsync")),
        ("exec",           One(Clear(NOEXEC))),
        ("idmap",          Idmap(Reach::One)),
        ("iversion",       Superblock("iversion")),
        ("lazytime",       Superblock("lazytime")),
        ("loud",           NotSuperblock("silent")),
        ("mand",           Superblock("mand")),
        ("noatime",        One(Atime(NOATIME))),
        ("nodev",          One(Set(NODEV))),
        ("nodiratime",     One(Set(NODIRATIME))),
        ("noexec",         One(Set(NOEXEC))),
        ("noiversion",     NotSuperblock("iversion")),
        ("nolazytime",     NotSuperblock("lazytime")),
        ("nomand",         NotSuperblock("mand")),
        // mount(2) without any of the three flags means relatime: so does "norelatime".
        ("norelatime",     One(NotAtime(RELATIME))),
        ("nostrictatime",  One(NotAtime(STRICTATIME))),
        ("nosuid",         One(Set(NOSUID))),
        ("nosymfollow",    One(Set(NOSYMFOLLOW))),
        ("private",        Propagate(PRIVATE)),
        ("ratime",         Tree(NotAtime(NOATIME))),
        ("rbind",          Bind(Reach::Tree)),
        ("rdev",           Tree(Clear(NODEV))),
        ("rdiratime",      Tree(Clear(NODIRATIME))),
        ("relatime",       One(Atime(RELATIME))),
        ("remount",        Remount),
        ("rexec",          Tree(Clear(NOEXEC))),
        ("ridmap",         Idmap(Reach::Tree)),
        ("rnoatime",       Tree(Atime(NOATIME))),
        ("rnodev",         Tree(Set(NODEV))),
        ("rnodiratime",    Tree(Set(NODIRATIME))),
        ("rnoexec",        Tree(Set(NOEXEC))),
        ("rnorelatime",    Tree(NotAtime(RELATIME))),
        ("rnostrictatime", Tree(NotAtime(STRICTATIME))),
        ("rnosuid",        Tree(Set(NOSUID))),
        ("rnosymfollow",   Tree(Set(NOSYMFOLLOW))),
        ("ro",             One(Set(RDONLY))),
        ("rprivate",       Propagate(PRIVATE.union(REC))),
        ("rrelatime",      Tree(Atime(RELATIME))),
        ("rro",            Tree(Set(RDONLY))),
        ("rrw",            Tree(Clear(RDONLY))),
        ("rshared",        Propagate(SHARED.union(REC))),
        ("rslave",         Propagate(SLAVE.union(REC))),
        ("rstrictatime",   Tree(Atime(STRICTATIME))),
        ("rsuid",          Tree(Clear(NOSUID))),
        ("rsymfollow",     Tree(Clear(NOSYMFOLLOW))),
        ("runbindable",    Propagate(UNBINDABLE.union(REC))),
        ("rw",             One(Clear(RDONLY))),
        ("shared",         Propagate(SHARED)),
        ("silent",         Superblock("silent")),
        ("slave",          Propagate(SLAVE)),
        ("strictatime",    One(Atime(STRICTATIME))),
        ("suid",           One(Clear(NOSUID))),
        ("symfollow",      One(Clear(NOSYMFOLLOW))),
        ("sync",           Superblock("sync")),
        ("tmpcopyup",      CopyUp),
        ("unbindable",     Propagate(UNBINDABLE)),
    ]
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn strings(options: &[&str]) -> Vec<String> {
        options.iter().map(ToString::to_string).collect()
    }

    /// Attributes of `options`; the recursive ones if `tree`.
    fn attributes(options: &[&str], tree: bool) -> (u64, u64) {
        let options = strings(options);
        let parsed = MountOptions::parse(&options);
        assert!(parsed.data.is_empty(), "{options:?}");
        let (a, other) = if tree {
            (parsed.tree_attributes, parsed.attributes)
        } else {
            (parsed.attributes, parsed.tree_attributes)
        };
        assert!(other.is_empty(), "{options:?}");
        (a.set, a.clear)
    }

    #[test]
    fn the_table_is_sorted_and_complete() {
        assert!(TABLE.windows(2).all(|w| w[0].0 < w[1].0));
        // The table of config.md has 60 options and idmap, ridmap.
        assert_eq!(known_options().count(), 62);
    }

    #[test]
    fn attributes_by_name() {
        for (set, clear, bit) in [
            ("ro", "rw", RDONLY),
            ("nosuid", "suid", NOSUID),
            ("nodev", "dev", NODEV),
            ("noexec", "exec", NOEXEC),
            ("nodiratime", "diratime", NODIRATIME),
            ("nosymfollow", "symfollow", NOSYMFOLLOW),
        ] {
            assert_eq!(attributes(&[set], false), (bit, 0), "{set}");
            assert_eq!(attributes(&[clear], false), (0, bit), "{clear}");
            assert_eq!(attributes(&[clear, set], false), (bit, 0), "the later wins");
            assert_eq!(attributes(&[set, clear], false), (0, bit), "the later wins");
            let (set, clear) = (format!("r{set}"), format!("r{clear}"));
            assert_eq!(attributes(&[&set], true), (bit, 0), "{set}");
            assert_eq!(attributes(&[&clear], true), (0, bit), "{clear}");
        }
    }

    #[test]
    fn atime_is_one_field() {
        for (options, value) in [
            (&["noatime"][..], NOATIME),
            (&["strictatime"], STRICTATIME),
            (&["relatime"], 0),
            (&["atime"], 0),
            (&["norelatime"], 0),
            (&["nostrictatime"], 0),
            (&["noatime", "strictatime"], STRICTATIME),
            (&["strictatime", "noatime"], NOATIME),
            (&["noatime", "relatime"], 0),
            (&["noatime", "atime"], 0),
            (&["strictatime", "atime"], STRICTATIME),
            (&["strictatime", "nostrictatime"], 0),
            (&["noatime", "nostrictatime"], NOATIME),
            (&["noatime", "norelatime"], NOATIME),
        ] {
            assert_eq!(attributes(options, false), (value, ATIME), "{options:?}");
            let tree: Vec<String> = options.iter().map(|o| format!("r{o}")).collect();
            let tree: Vec<&str> = tree.iter().map(String::as_str).collect();
            assert_eq!(attributes(&tree, true), (value, ATIME), "{tree:?}");
        }
        assert_eq!(attributes(&["noatime", "nodiratime"], false), (NOATIME | NODIRATIME, ATIME));
    }

    #[test]
    fn a_bind_has_what_it_names_or_what_the_source_has() {
        let of_bind = |options: &[&str]| {
            let (own, reset) = MountOptions::parse(&strings(options)).attributes.of_bind();
            (own.set, own.clear, reset)
        };
        let all = RDONLY | NOSUID | NODEV | NOEXEC | NOSYMFOLLOW;
        assert_eq!(of_bind(&["bind", "rprivate", "rro"]), (0, 0, 0));
        assert_eq!(of_bind(&["ro"]), (RDONLY, 0, all & !RDONLY));
        assert_eq!(of_bind(&["dev"]), (0, NODEV, all & !NODEV));
        for kept in ["atime", "norelatime", "nostrictatime", "diratime"] {
            assert_eq!(of_bind(&[kept]), (0, 0, all), "{kept}");
        }
        for (named, value) in [("noatime", NOATIME), ("relatime", 0), ("strictatime", STRICTATIME)]
        {
            assert_eq!(of_bind(&[named]), (value, ATIME, all | NODIRATIME), "{named}");
        }
        assert_eq!(of_bind(&["noatime", "atime"]), (0, 0, all));
        assert_eq!(of_bind(&["nodiratime", "norelatime"]), (NODIRATIME, ATIME, all));
    }

    #[test]
    fn bind_propagation_and_the_rest() {
        let options = strings(&[
            "defaults",
            "bind",
            "rbind",
            "private",
            "rslave",
            "remount",
            "tmpcopyup",
            "idmap",
            "ridmap",
            "",
            "sync",
            "dirsync",
            "sync",
            "lazytime",
            "nolazytime",
            "mand",
            "silent",
            "loud",
            "iversion",
            "noiversion",
            "size=64k",
            "async",
            "mode=755",
        ]);
        let parsed = MountOptions::parse(&options);
        assert_eq!(parsed.bind, Some(Reach::Tree));
        assert_eq!(parsed.idmap, Some(Reach::Tree));
        assert_eq!(parsed.propagation, [PRIVATE, SLAVE | REC]);
        assert!(parsed.remount && parsed.tmpcopyup);
        assert!(parsed.attributes.is_empty() && parsed.tree_attributes.is_empty());
        assert_eq!(parsed.superblock, ["dirsync", "mand"]);
        assert_eq!(
            parsed.data,
            [FsOption { index: 20, text: "size=64k" }, FsOption { index: 22, text: "mode=755" }]
        );
        for (name, flags) in
            [("private", PRIVATE), ("shared", SHARED), ("slave", SLAVE), ("unbindable", UNBINDABLE)]
        {
            let options = [name.to_owned(), format!("r{name}")];
            assert_eq!(MountOptions::parse(&options).propagation, [flags, flags | REC]);
        }
    }

    fn any_option() -> impl Strategy<Value = String> {
        prop_oneof![
            4 => proptest::sample::select(TABLE).prop_map(|(name, _)| name.to_owned()),
            1 => any::<String>(),
        ]
    }

    proptest! {
        #[test]
        fn never_panics_and_keeps_the_kernels_rules(
            options in proptest::collection::vec(any_option(), 0..20)
        ) {
            let parsed = MountOptions::parse(&options);
            for a in [parsed.attributes, parsed.tree_attributes] {
                // mount_setattr(2): no bit both ways but the access time, which is never half.
                prop_assert_eq!(a.set & a.clear & !ATIME, 0);
                prop_assert!(a.clear & ATIME == ATIME || (a.set | a.clear) & ATIME == 0);
                prop_assert_ne!(a.set & ATIME, ATIME);
            }
            prop_assert!(parsed.data.iter().all(|o| options[o.index] == o.text));
        }

        #[test]
        fn giving_all_options_twice_changes_nothing(
            options in proptest::collection::vec(any_option(), 0..20)
        ) {
            let twice: Vec<String> = options.iter().chain(&options).cloned().collect();
            let (once, twice) = (MountOptions::parse(&options), MountOptions::parse(&twice));
            prop_assert_eq!(once.bind, twice.bind);
            prop_assert_eq!(once.idmap, twice.idmap);
            prop_assert_eq!(once.attributes.clear, twice.attributes.clear);
            prop_assert_eq!(once.attributes.set, twice.attributes.set);
            prop_assert_eq!(once.tree_attributes, twice.tree_attributes);
            prop_assert_eq!(once.data.len() * 2, twice.data.len());
        }
    }
}
