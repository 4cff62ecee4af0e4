//! The options of one mount, sorted by what is done with them. Pure.

use libc::{
    MOUNT_ATTR__ATIME as ATIME, MOUNT_ATTR_NOATIME as NOATIME, MOUNT_ATTR_NODEV as NODEV,
    MOUNT_ATTR_NODIRATIME as NODIRATIME, MOUNT_ATTR_NOEXEC as NOEXEC, MOUNT_ATTR_NOSUID as NOSUID,
    MOUNT_ATTR_NOSYMFOLLOW as NOSYMFOLLOW, MOUNT_ATTR_RDONLY as RDONLY,
    MOUNT_ATTR_STRICTATIME as STRICTATIME, MS_PRIVATE, MS_SHARED, MS_SLAVE, MS_UNBINDABLE,
};

use super::idmap::IdMaps;
use crate::failure::{Code, Failure, Result};

/// Attributes of a mount to set and to clear (mount_setattr(2)). The access time is one field of
/// several bits: who changes it clears all of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Attributes {
    pub(super) set: u64,
    pub(super) clear: u64,
}

impl Attributes {
    pub(super) fn is_empty(self) -> bool {
        self.set | self.clear == 0
    }
}

/// What the options ask for. Later ones win, as with mount(8).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Options<'a> {
    /// A bind mount; true: with all that is mounted below the source.
    pub(super) bind: Option<bool>,
    pub(super) remount: bool,
    pub(super) attributes: Attributes,
    /// Flags of the filesystem, by the names that fsconfig(2) takes; `ro` is one more.
    pub(super) superblock: Vec<&'static str>,
    /// Propagation types (`MS_SHARED` …) in their order; true: for all mounts below as well.
    pub(super) propagation: Vec<(u64, bool)>,
    pub(super) loop_device: bool,
    pub(super) direct_io: bool,
    uid_map: Option<&'a str>,
    gid_map: Option<&'a str>,
    /// Everything else is the filesystem's: `key` or `key=value`, with quotes and escapes.
    pub(super) data: Vec<&'a str>,
    /// The attributes as they were named, for errors.
    names: Vec<&'a str>,
}

impl<'a> Options<'a> {
    pub(super) fn parse(options: &'a [String]) -> Result<Self> {
        let mut parsed = Self::default();
        for element in options {
            if element.contains('\0') {
                return Err(invalid(format!("the option {element:?} has a NUL byte")));
            }
            // Their values are lists with commas.
            if let Some(map) = element.strip_prefix("uidmap=") {
                parsed.uid_map = Some(map);
            } else if let Some(map) = element.strip_prefix("gidmap=") {
                parsed.gid_map = Some(map);
            } else {
                for option in split(element) {
                    parsed.apply(option)?;
                }
            }
        }
        if parsed.loop_device {
            // Of the loop device; without one it is the filesystem's.
            let before = parsed.data.len();
            parsed.data.retain(|option| *option != "direct-io");
            parsed.direct_io = parsed.data.len() < before;
        }
        Ok(parsed)
    }

    fn apply(&mut self, option: &'a str) -> Result<()> {
        match option {
            "" | "defaults" => {}
            "bind" => self.bind = Some(false),
            "rbind" => self.bind = Some(true),
            "remount" => self.remount = true,
            "loop" => self.loop_device = true,
            "sync" | "dirsync" | "mand" | "lazytime" => {
                let flags = ["sync", "dirsync", "mand", "lazytime"];
                self.superblock.retain(|flag| *flag != option);
                self.superblock.extend(flags.iter().filter(|flag| **flag == option));
            }
            "async" => self.superblock.retain(|flag| *flag != "sync"),
            "nomand" => self.superblock.retain(|flag| *flag != "mand"),
            "nolazytime" => self.superblock.retain(|flag| *flag != "lazytime"),
            _ => {
                // The mount manager makes a directory or a filesystem of them. Without these the
                // mount can't be what was meant; Go's shim refuses, too.
                if option.starts_with("X-containerd.") {
                    let message = format!(
                        "the option {option:?} is for the mount manager of containerd (2.2 and \
                         later), which should have consumed it"
                    );
                    return Err(Failure::new(Code::Unimplemented, message));
                }
                if let Some(change) = attribute(option) {
                    self.attributes = change.of(self.attributes);
                    self.names.push(option);
                } else if let Some(kind) = propagation(option) {
                    self.propagation.push(kind);
                } else {
                    self.data.push(option);
                }
            }
        }
        Ok(())
    }

    pub(super) fn read_only(&self) -> bool {
        self.attributes.set & RDONLY != 0
    }

    /// The attributes' names, as they were given.
    pub(super) fn named(&self) -> String {
        self.names.join(",")
    }

    pub(super) fn id_maps(&self) -> Result<Option<IdMaps>> {
        match (self.uid_map, self.gid_map) {
            (None, None) => Ok(None),
            (Some(uids), Some(gids)) => IdMaps::parse(uids, gids).map(Some),
            _ => Err(invalid("uidmap= and gidmap= go together".to_owned())),
        }
    }
}

fn invalid(message: String) -> Failure {
    Failure::new(Code::InvalidArgument, message)
}

/// Splits at commas, but not within quotes (SELinux's contexts) nor after a backslash (overlay's
/// paths).
fn split(options: &str) -> impl Iterator<Item = &str> {
    let (mut quoted, mut escaped) = (false, false);
    options.split(move |c| {
        let literal = std::mem::take(&mut escaped);
        match c {
            '\\' if !literal => escaped = true,
            '"' if !literal => quoted = !quoted,
            ',' => return !quoted && !literal,
            _ => {}
        }
        false
    })
}

enum Change {
    Set(u64),
    Clear(u64),
    /// Sets the access time to this value.
    Atime(u64),
    /// Sets it back to the kernel's default if it has this value.
    NotAtime(u64),
}

impl Change {
    fn of(self, Attributes { set, clear }: Attributes) -> Attributes {
        match self {
            Self::Set(bit) => Attributes { set: set | bit, clear: clear & !bit },
            Self::Clear(bit) => Attributes { set: set & !bit, clear: clear | bit },
            Self::Atime(value) => Attributes { set: set & !ATIME | value, clear: clear | ATIME },
            Self::NotAtime(value) if set & ATIME == value => {
                Attributes { set: set & !ATIME, clear: clear | ATIME }
            }
            Self::NotAtime(_) => Attributes { set, clear: clear | ATIME },
        }
    }
}

fn attribute(option: &str) -> Option<Change> {
    use Change::{Atime, Clear, NotAtime, Set};
    // relatime is the absence of the two others.
    const RELATIME: u64 = 0;
    Some(match option {
        "ro" => Set(RDONLY),
        "rw" => Clear(RDONLY),
        "nosuid" => Set(NOSUID),
        "suid" => Clear(NOSUID),
        "nodev" => Set(NODEV),
        "dev" => Clear(NODEV),
        "noexec" => Set(NOEXEC),
        "exec" => Clear(NOEXEC),
        "nosymfollow" => Set(NOSYMFOLLOW),
        "symfollow" => Clear(NOSYMFOLLOW),
        "nodiratime" => Set(NODIRATIME),
        "diratime" => Clear(NODIRATIME),
        "noatime" => Atime(NOATIME),
        "strictatime" => Atime(STRICTATIME),
        "relatime" => Atime(RELATIME),
        "atime" => NotAtime(NOATIME),
        "nostrictatime" => NotAtime(STRICTATIME),
        "norelatime" => NotAtime(RELATIME),
        _ => return None,
    })
}

fn propagation(option: &str) -> Option<(u64, bool)> {
    let kind = |name| match name {
        "shared" => Some(MS_SHARED),
        "private" => Some(MS_PRIVATE),
        "slave" => Some(MS_SLAVE),
        "unbindable" => Some(MS_UNBINDABLE),
        _ => None,
    };
    let found = kind(option).map(|kind| (kind, false));
    found.or_else(|| option.strip_prefix('r').and_then(kind).map(|kind| (kind, true)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(options: &[&str]) -> Vec<String> {
        options.iter().map(ToString::to_string).collect()
    }

    fn attributes(options: &[&str]) -> (u64, u64) {
        let options = strings(options);
        let parsed = Options::parse(&options).unwrap();
        assert!(parsed.data.is_empty(), "{options:?}");
        (parsed.attributes.set, parsed.attributes.clear)
    }

    #[test]
    fn the_later_option_wins() {
        for (set, clear, bit) in [
            ("ro", "rw", RDONLY),
            ("nosuid", "suid", NOSUID),
            ("nodev", "dev", NODEV),
            ("noexec", "exec", NOEXEC),
            ("nosymfollow", "symfollow", NOSYMFOLLOW),
            ("nodiratime", "diratime", NODIRATIME),
        ] {
            assert_eq!(attributes(&[set]), (bit, 0), "{set}");
            assert_eq!(attributes(&[clear, set]), (bit, 0), "{set}");
            assert_eq!(attributes(&[set, clear]), (0, bit), "{clear}");
        }
        assert_eq!(attributes(&["rw,nosuid", "ro"]), (RDONLY | NOSUID, 0));
    }

    #[test]
    fn the_access_time_is_one_field() {
        for (options, value) in [
            (&["noatime"][..], NOATIME),
            (&["noatime", "strictatime"], STRICTATIME),
            (&["strictatime", "atime"], STRICTATIME),
            (&["noatime", "atime"], 0),
            (&["noatime", "relatime"], 0),
            (&["norelatime"], 0),
            (&["strictatime", "nostrictatime"], 0),
        ] {
            assert_eq!(attributes(options), (value, ATIME), "{options:?}");
        }
    }

    #[test]
    fn flags_propagation_and_the_rest() {
        let options = strings(&[
            "defaults",
            "rbind",
            "sync",
            "dirsync",
            "lazytime,async",
            "private",
            "rslave",
            "size=1m,mode=755",
            "",
            "volatile",
            "direct-io",
        ]);
        let parsed = Options::parse(&options).unwrap();
        assert_eq!(parsed.bind, Some(true));
        assert_eq!(parsed.superblock, ["dirsync", "lazytime"]);
        assert_eq!(parsed.propagation, [(MS_PRIVATE, false), (MS_SLAVE, true)]);
        assert_eq!(parsed.data, ["size=1m", "mode=755", "volatile", "direct-io"]);
        assert!(!parsed.direct_io && !parsed.loop_device && !parsed.remount);

        let options = strings(&["loop", "direct-io", "ro", "remount"]);
        let parsed = Options::parse(&options).unwrap();
        assert!(parsed.loop_device && parsed.direct_io && parsed.read_only() && parsed.remount);
        assert!(parsed.data.is_empty());
        assert_eq!(parsed.named(), "ro");
    }

    #[test]
    fn commas_in_quotes_and_after_a_backslash_stay() {
        let list = r#"context="system_u:object_r:c0,c1",lowerdir=/a\,b:/c\\,ro"#;
        let parts: Vec<&str> = split(list).collect();
        let context = r#"context="system_u:object_r:c0,c1""#;
        assert_eq!(parts, [context, r"lowerdir=/a\,b:/c\\", "ro"]);
    }

    #[test]
    fn what_can_not_be_done_is_refused() {
        let code = |options: &[&str]| {
            let options = strings(options);
            match Options::parse(&options).and_then(|parsed| parsed.id_maps()) {
                Ok(_) => None,
                Err(failure) => Some(failure.code),
            }
        };
        assert_eq!(code(&["X-containerd.mkdir.path=/a:0755"]), Some(Code::Unimplemented));
        assert_eq!(code(&["a\0b"]), Some(Code::InvalidArgument));
        assert_eq!(code(&["uidmap=0:1000:1"]), Some(Code::InvalidArgument));
        assert_eq!(code(&["uidmap=0:1000:1,1:2000:9", "gidmap=0:1000:10"]), None);
    }
}
