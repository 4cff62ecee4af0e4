//! Names of units and slices: systemd.unit(5), systemd.slice(5).

use crate::error::{Error, Result};

const POINTER: &str = "/linux/cgroupsPath";
/// What a unit is called that `cgroupsPath` gives no name: hoist's own prefix and the id.
const PREFIX: &str = "hoist";
const SLICE: &str = ".slice";
/// UNIT_NAME_MAX of systemd, with the final NUL.
const LONGEST: usize = 255;

/// What `cgroupsPath` means to systemd.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Names {
    pub(super) slice: String,
    pub(super) unit: String,
}

impl Names {
    /// Reads `slice:prefix:name`, in which each engine has its own prefix.
    pub(super) fn parse(cgroups_path: Option<&str>, id: &str, rootless: bool) -> Result<Self> {
        let default = if rootless { "user.slice" } else { "system.slice" };
        let (slice, unit) = match cgroups_path.filter(|path| !path.is_empty()) {
            None => (default, format!("{PREFIX}-{id}.scope")),
            Some(path) => {
                let parts: Vec<&str> = path.split(':').collect();
                let [slice, prefix, name] = parts.as_slice() else {
                    // runc's words.
                    let message = format!(
                        "expected cgroupsPath to be of format \"slice:prefix:name\" for systemd \
                         cgroups, got {path:?} instead"
                    );
                    return Err(Error::config(POINTER, message));
                };
                if name.ends_with(SLICE) {
                    return Err(Error::unsupported(
                        POINTER,
                        "a container's unit can't be a slice: systemd puts no processes into one",
                    ));
                }
                let slice = if slice.is_empty() { default } else { slice };
                (slice, format!("{prefix}-{name}.scope"))
            }
        };
        if !is_unit_name(&unit) {
            return Err(Error::config(POINTER, format!("invalid unit name: {unit}"))
                .with_hint("systemd takes letters, digits and `:-_.\\@`, up to 255 in all"));
        }
        let names = Self { slice: slice.to_owned(), unit };
        names.path()?;
        Ok(names)
    }

    /// The unit's cgroup below that of the manager, without a leading slash: systemd has a slice
    /// `a-b.slice` inside of `a.slice`.
    pub(super) fn path(&self) -> Result<String> {
        let invalid = || Error::config(POINTER, format!("invalid slice name: {}", self.slice));
        let stem = self.slice.strip_suffix(SLICE).ok_or_else(invalid)?;
        if stem == "-" {
            return Ok(self.unit.clone());
        }
        if !is_unit_name(&self.slice) || stem.split('-').any(str::is_empty) {
            return Err(invalid());
        }
        let ends = stem.match_indices('-').map(|(at, _)| at).chain([stem.len()]);
        let mut path = String::new();
        for end in ends {
            path.push_str(stem.get(..end).unwrap_or_default());
            path.push_str(".slice/");
        }
        path.push_str(&self.unit);
        Ok(path)
    }
}

/// Whether systemd takes this for the name of a unit.
fn is_unit_name(name: &str) -> bool {
    name.len() <= LONGEST
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b":-_.\\@".contains(&byte))
}

/// The object that stands for a unit: letters and digits are themselves, others `_XX`.
pub(super) fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (at, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || at > 0 && byte.is_ascii_digit() {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    fn names(path: &str) -> Result<Names> {
        Names::parse(Some(path), "web-1", false)
    }

    #[test]
    fn units_are_named_as_in_runc() {
        for (path, slice, unit, cgroup) in [
            ("system.slice:docker:12", "system.slice", "docker-12.scope", "system.slice/"),
            (":docker:12", "system.slice", "docker-12.scope", "system.slice/"),
            ("-.slice::a", "-.slice", "-a.scope", ""),
            (
                "kubepods-burstable-pod1.slice:cri:x",
                "kubepods-burstable-pod1.slice",
                "cri-x.scope",
                "kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod1.slice/",
            ),
        ] {
            let names = names(path).unwrap();
            assert_eq!((names.slice.as_str(), names.unit.as_str()), (slice, unit));
            assert_eq!(names.path().unwrap(), format!("{cgroup}{unit}"));
        }
        for (rootless, slice) in [(false, "system.slice"), (true, "user.slice")] {
            for path in [None, Some("")] {
                let names = Names::parse(path, "web-1", rootless).unwrap();
                assert_eq!(names.slice, slice);
                assert_eq!(names.unit, "hoist-web-1.scope");
            }
        }
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for path in [
            "/a/b",
            "a",
            "a.slice:b",
            "a.slice:b:c:d",
            "a:b:c",
            ".slice:b:c",
            "-a.slice:b:c",
            "a-.slice:b:c",
            "a--b.slice:b:c",
            "a/b.slice:b:c",
            "../a.slice:b:c",
            "a.slice:b:c/d",
            "a.slice:../b:c",
            "a.slice:b:c d",
            "a.slice:b:c\0",
        ] {
            let error = names(path).unwrap_err();
            assert_eq!(error.pointer(), Some(POINTER), "{path}: {error}");
            assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{path}: {error}");
        }
        assert_eq!(names("a.slice:b:c.slice").unwrap_err().kind(), ErrorKind::Unsupported);
        let long = "x".repeat(256);
        assert!(names(&format!("a.slice:b:{long}")).is_err());
        assert!(Names::parse(None, "a+b", false).is_err());
    }

    #[test]
    fn objects_are_escaped() {
        let path = object_path("a-b_1.scope");
        assert_eq!(path, "/org/freedesktop/systemd1/unit/a_2db_5f1_2escope");
        assert!(object_path("1.scope").ends_with("/_31_2escope"));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        /// No name leads out of the hierarchy, and none has more components than its dashes say.
        #[test]
        fn paths_stay_below(path in "[-a-c./:]{0,24}|[a-b-]{1,9}\\.slice:[a-z.-]{0,5}:[a-z.-]{0,5}") {
            if let Ok(names) = names(&path) {
                let cgroup = names.path().unwrap();
                prop_assert!(!cgroup.starts_with('/'));
                for component in cgroup.split('/') {
                    prop_assert!(!["", ".", ".."].contains(&component), "{}", cgroup);
                }
                prop_assert!(cgroup.ends_with(&names.unit));
            }
        }
    }
}
