//! What a user may configure: `containerd.runc.v1.Options`.
//!
//! It comes in two shapes. Clients that know the runtime as `io.containerd.runc.v2` send that message.
//! For a runtime of another name, which this one is, they send `runtimeoptions.v1.Options` instead: the
//! keys of the same message as TOML, or the path of a file with it. CRI sends its section of options
//! inline since containerd 1.7, and only the path, `ConfigPath`, before; so does Docker, which passes on
//! `TypeUrl`, `ConfigPath` and `ConfigBody` and drops other keys.

mod toml;

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::failure::{Code, During, Failure, Result};
use crate::log::Log;
use crate::proto::options as proto;
use crate::proto::wire::Any;
use toml::Value;

/// Where containers' state is, one directory below for each of containerd's namespaces.
const ROOT: &str = "/run/containerd/hoist";

/// The options' copy in the bundle, for a `delete` after the shim's death. Name and keys are those of
/// Go's shim.
const FILE: &str = "options.json";

/// A container's options.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Options {
    no_pivot_root: bool,
    no_new_keyring: bool,
    /// A cgroup for the shim itself.
    pub(crate) shim_cgroup: String,
    /// The owner of the pipes and terminals of the container's streams.
    pub(crate) io_uid: u32,
    pub(crate) io_gid: u32,
    /// A runtime's binary: there is none here.
    pub(crate) binary_name: String,
    root: String,
    systemd_cgroup: bool,
    pub(crate) criu_image_path: String,
    pub(crate) criu_work_path: String,
    /// A key of this runtime's own.
    no_binary_loggers: bool,
    /// What was given and has no effect.
    #[serde(skip)]
    ignored: Vec<String>,
}

impl Options {
    /// Reads what a client sent; no options are the defaults.
    pub(crate) fn decode(options: Option<&Any>) -> Result<Self> {
        let Some(any) = options.filter(|any| !(any.type_url.is_empty() && any.value.is_empty()))
        else {
            return Ok(Self::default());
        };
        let during = || format!("read the runtime's options, {}", any.type_url);
        if let Some(options) = any.unpack::<proto::Options>().map_err(invalid).during(during())? {
            return Self::from(options).check().during(during());
        }
        if let Some(options) =
            any.unpack::<proto::CreateOptions>().map_err(invalid).during(during())?
        {
            return Ok(Self::from(options));
        }
        match any.unpack::<proto::RuntimeOptions>().map_err(invalid).during(during())? {
            Some(options) => Self::from_toml(&options).and_then(Self::check).during(during()),
            None => Err(invalid(format_args!(
                "the runtime's options are of type {:?}; containerd.runc.v1.Options and \
                 runtimeoptions.v1.Options are known",
                any.type_url
            ))),
        }
    }

    fn check(self) -> Result<Self> {
        if self.root.is_empty() || self.root.starts_with('/') {
            return Ok(self);
        }
        Err(invalid(format_args!("the root {:?} is no absolute path", self.root)))
    }

    /// Whether `any` holds what [`decode`](Self::decode) can read.
    pub(crate) fn is(any: &Any) -> bool {
        any.is::<proto::Options>()
            || any.is::<proto::CreateOptions>()
            || any.is::<proto::RuntimeOptions>()
    }

    fn from_toml(options: &proto::RuntimeOptions) -> Result<Self> {
        let path = &options.config_path;
        let text = if path.is_empty() {
            options.config_body.clone()
        } else {
            fs::read(path).during(format_args!("read {path}"))?
        };
        let text = String::from_utf8(text).map_err(invalid)?;
        let section = toml::parse(&text)?;
        let mut options = Self::default();
        for (key, value) in section.pairs {
            options.set(&key, value)?;
        }
        options.ignored.extend(section.table);
        Ok(options)
    }

    /// Sets the option that containerd's documentation calls `key`: a field's name in Go, of which
    /// Go's TOML libraries take any case.
    fn set(&mut self, key: &str, value: Value) -> Result<()> {
        let name: String = key.chars().filter(|letter| *letter != '_').collect();
        match name.to_ascii_lowercase().as_str() {
            "nopivotroot" => self.no_pivot_root = value.boolean(key)?,
            "nonewkeyring" => self.no_new_keyring = value.boolean(key)?,
            "shimcgroup" => self.shim_cgroup = value.text(key)?,
            "iouid" => self.io_uid = value.id(key)?,
            "iogid" => self.io_gid = value.id(key)?,
            "binaryname" => self.binary_name = value.text(key)?,
            "root" => self.root = value.text(key)?,
            "systemdcgroup" => self.systemd_cgroup = value.boolean(key)?,
            "criuimagepath" => self.criu_image_path = value.text(key)?,
            "criuworkpath" => self.criu_work_path = value.text(key)?,
            "nobinaryloggers" => self.no_binary_loggers = value.boolean(key)?,
            // runtimeoptions.v1.Options' own, from the same section.
            "typeurl" | "configpath" => {}
            _ => self.ignored.push(key.to_owned()),
        }
        Ok(())
    }

    /// Tells the log what was given and has no effect.
    pub(crate) fn explain(&self, log: &Log) {
        if !self.binary_name.is_empty() {
            log.info(format_args!(
                "the option BinaryName ({}) has no effect: this runtime executes no other one",
                self.binary_name
            ));
        }
        for key in &self.ignored {
            log.warn(format_args!("the runtime's option {key} is not known and has no effect"));
        }
    }

    pub(crate) fn no_pivot_root(&self) -> bool {
        self.no_pivot_root
    }

    pub(crate) fn no_new_keyring(&self) -> bool {
        self.no_new_keyring
    }

    /// Whether streams may not go to `binary://` loggers. Such a URI is a command for root on the host:
    /// one that came from an image's label (CVE-2026-53488) must not be run.
    pub(crate) fn no_binary_loggers(&self) -> bool {
        self.no_binary_loggers
    }

    /// The directory of the state of a namespace's containers.
    pub(crate) fn root(&self, namespace: &str) -> PathBuf {
        let root = if self.root.is_empty() { ROOT } else { &self.root };
        Path::new(root).join(namespace)
    }

    /// Whether systemd is to make the container's cgroup.
    ///
    /// Docker and Kubernetes tell a runtime of this name nothing of their cgroup driver unless its
    /// section says `SystemdCgroup = true`, but give the path as systemd's units are named,
    /// `slice:prefix:name`. Nobody wants a directory of that name.
    pub(crate) fn systemd_cgroup(&self, cgroups_path: Option<&str>) -> bool {
        let is_unit = |path: &str| {
            let mut parts = path.split(':');
            let slice = parts.next().unwrap_or_default();
            (slice.is_empty() || slice.ends_with(".slice"))
                && !path.contains('/')
                && parts.count() == 2
        };
        self.systemd_cgroup || cgroups_path.is_some_and(is_unit)
    }

    /// Keeps a copy in the bundle.
    pub(crate) fn save(&self, bundle: &Path) -> Result<()> {
        let path = bundle.join(FILE);
        let text = serde_json::to_vec(self).map_err(io::Error::from);
        text.and_then(|text| replace(&path, &text)).during(format_args!("write {}", path.display()))
    }

    /// The copy in the bundle; the defaults without one.
    pub(crate) fn load(bundle: &Path) -> Result<Self> {
        let path = bundle.join(FILE);
        let text = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            text => text.during(format_args!("read {}", path.display()))?,
        };
        serde_json::from_slice(&text)
            .map_err(invalid)
            .and_then(Self::check)
            .during(format_args!("read {}", path.display()))
    }
}

/// Writes a file of root's, which is there as a whole or not at all.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let temporary = path.with_extension("new");
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&temporary)?;
    file.write_all(content)?;
    fs::rename(&temporary, path)
}

fn invalid(error: impl std::fmt::Display) -> Failure {
    Failure::new(Code::InvalidArgument, error.to_string())
}

impl From<proto::Options> for Options {
    fn from(options: proto::Options) -> Self {
        Self {
            no_pivot_root: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            shim_cgroup: options.shim_cgroup,
            io_uid: options.io_uid,
            io_gid: options.io_gid,
            binary_name: options.binary_name,
            root: options.root,
            systemd_cgroup: options.systemd_cgroup,
            criu_image_path: options.criu_image_path,
            criu_work_path: options.criu_work_path,
            ..Self::default()
        }
    }
}

impl From<proto::CreateOptions> for Options {
    fn from(options: proto::CreateOptions) -> Self {
        Self {
            no_pivot_root: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            shim_cgroup: options.shim_cgroup,
            io_uid: options.io_uid,
            io_gid: options.io_gid,
            criu_image_path: options.criu_image_path,
            criu_work_path: options.criu_work_path,
            ..Self::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::testing::Scratch;

    fn toml(body: &str) -> Any {
        let config_body = body.as_bytes().to_vec();
        Any::pack(&proto::RuntimeOptions { config_body, ..Default::default() })
    }

    #[test]
    fn the_message_itself() {
        let message = proto::Options {
            no_new_keyring: true,
            io_uid: 7,
            root: "/run/x".to_owned(),
            systemd_cgroup: true,
            criu_work_path: "/w".to_owned(),
            ..Default::default()
        };
        let options = Options::decode(Some(&Any::pack(&message))).unwrap();
        assert!(options.no_new_keyring && !options.no_pivot_root);
        assert_eq!((options.io_uid, options.io_gid), (7, 0));
        assert_eq!(options.root("k8s.io"), Path::new("/run/x/k8s.io"));
        assert!(options.systemd_cgroup(Some("/a/b")));
        assert_eq!(options.criu_work_path, "/w");
        let mut prefixed = Any::pack(&message);
        prefixed.type_url = format!("type.googleapis.com/{}", prefixed.type_url);
        assert_eq!(Options::decode(Some(&prefixed)).unwrap(), options);
    }

    #[test]
    fn what_ctr_of_containerd_1_sends() {
        let message = proto::CreateOptions { no_pivot_root: true, io_gid: 5, ..Default::default() };
        let any = Any::pack(&message);
        let options = Options::decode(Some(&any)).unwrap();
        assert!(Options::is(&any) && options.no_pivot_root && !options.no_new_keyring);
        assert_eq!((options.io_uid, options.io_gid), (0, 5));
    }

    #[test]
    fn the_section_of_cri_and_a_file() {
        let body = "BinaryName = ''\nIoUid = 1000\nSystemdCgroup = true\nRoot = \"/run/r\"\n\
                    TypeUrl = 'x'\nNoPivotRoot = true\nshim_cgroup = \"/shims\"\nFancy = 1\n";
        let options = Options::decode(Some(&toml(body))).unwrap();
        assert!(options.systemd_cgroup && options.no_pivot_root);
        assert_eq!((options.io_uid, options.shim_cgroup.as_str()), (1000, "/shims"));
        assert_eq!(options.root("moby"), Path::new("/run/r/moby"));
        assert_eq!(options.ignored, ["Fancy"]);

        let scratch = Scratch::new("options-toml");
        let path = scratch.path().join("hoist.toml");
        let config_path = path.to_str().unwrap().to_owned();
        let any = Any::pack(&proto::RuntimeOptions { config_path, ..Default::default() });
        let failure = Options::decode(Some(&any)).unwrap_err();
        assert!(failure.message.contains("hoist.toml: No such file"), "{failure}");
        fs::write(&path, "NoNewKeyring = true # no\nNoBinaryLoggers = true\n").unwrap();
        let options = Options::decode(Some(&any)).unwrap();
        assert!(options.no_new_keyring && options.no_binary_loggers());
    }

    #[test]
    fn what_toml_has_besides() {
        let body = "list = [\n  'Root = \"/x\"', # ]\n]\na.IoUid = 5\ntext = \"\"\"\nIoUid = 6\n\"\"\"\n\
                    IoGid = 7\n[other]\nIoUid = 8\n";
        let options = Options::decode(Some(&toml(body))).unwrap();
        assert_eq!((options.io_uid, options.io_gid, options.root.as_str()), (0, 7, ""));
        assert_eq!(options.ignored, ["list", "a.IoUid", "text", "[other] (and what follows)"]);
    }

    #[test]
    fn nothing_is_the_default() {
        let nothing = Any { type_url: String::new(), value: Vec::new() };
        for none in [None, Some(&nothing), Some(&toml(""))] {
            let options = Options::decode(none).unwrap();
            assert_eq!(options, Options::default());
            assert_eq!(options.root("default"), Path::new("/run/containerd/hoist/default"));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let unknown = Any { type_url: "io.runhcs.v1.Options".to_owned(), value: Vec::new() };
        let broken = Any { type_url: "containerd.runc.v1.Options".to_owned(), value: vec![0x0a] };
        for (any, expected) in [
            (unknown, "are of type \"io.runhcs.v1.Options\"; containerd.runc.v1.Options and"),
            (broken, "read the runtime's options, containerd.runc.v1.Options: failed to decode"),
            (toml("IoUid = \"x\""), "runtimeoptions.v1.Options: IoUid: a whole number from 0 is"),
            (toml("SystemdCgroup = 1"), "SystemdCgroup: true or false is expected"),
            (toml("Root = 'run/x'"), "the root \"run/x\" is no absolute path"),
            (toml("Root = true"), "Root: a string on one line is expected"),
        ] {
            let failure = Options::decode(Some(&any)).unwrap_err();
            assert!(failure.message.contains(expected), "{failure}");
            assert_eq!(failure.code, Code::InvalidArgument);
        }
    }

    #[test]
    fn systemd_by_the_name_of_a_unit() {
        let options = Options::default();
        for (path, expected) in [
            (Some("system.slice:docker:0123"), true),
            (Some("kubepods-besteffort-pod1.slice:cri-containerd:0123"), true),
            (Some(":docker:0123"), true),
            (Some("/docker/0123"), false),
            (Some("/a.slice:b:c"), false),
            (Some("a:b:c"), false),
            (Some("system.slice:docker"), false),
            (None, false),
        ] {
            assert_eq!(options.systemd_cgroup(path), expected, "{path:?}");
        }
    }

    #[test]
    fn the_copy_in_the_bundle() {
        let scratch = Scratch::new("options-copy");
        assert_eq!(Options::load(scratch.path()).unwrap(), Options::default());
        let (root, no_binary_loggers) = ("/r".to_owned(), true);
        let options = Options { io_gid: 3, root, no_binary_loggers, ..Options::default() };
        options.save(scratch.path()).unwrap();
        options.save(scratch.path()).unwrap();
        assert_eq!(Options::load(scratch.path()).unwrap(), options);
        assert_eq!(fs::read_dir(scratch.path()).unwrap().count(), 1, "no temporary file is left");
        // As Go's shim writes it: without what is unset.
        let path = scratch.path().join(FILE);
        fs::write(&path, "{\"root\":\"/go\",\"task_api_version\":3}").unwrap();
        assert_eq!(Options::load(scratch.path()).unwrap().root("n"), Path::new("/go/n"));
        fs::write(&path, "{").unwrap();
        let failure = Options::load(scratch.path()).unwrap_err();
        assert!(failure.message.starts_with(&format!("read {}: EOF", path.display())), "{failure}");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(value in prop::collection::vec(any::<u8>(), 0..64), text in ".{0,64}") {
            for type_url in ["containerd.runc.v1.Options", "runtimeoptions.v1.Options"] {
                let _ = Options::decode(Some(&Any { type_url: type_url.into(), value: value.clone() }));
            }
            let _ = Options::decode(Some(&toml(&text)));
        }
    }
}
