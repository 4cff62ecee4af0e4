//! A filesystem, made detached: fsopen(2), fsconfig(2), fsmount(2); where fsconfig can't take the
//! options, mount(2) in a mount namespace of its own.

use std::borrow::Cow;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::MOUNT_ATTR_RDONLY;
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, OpenTreeFlags, fsconfig_create,
    fsconfig_reconfigure, fsconfig_set_flag, fsconfig_set_string, fsmount, fsopen, open_tree,
};

use super::options::Options;
use super::{Place, descriptor_path, overlay, private};
use crate::failure::{Code, During, Failure, Result};

/// The longest value that fsconfig(2) takes.
const VALUE_MAX: usize = 255;

/// Whether nothing is ever written to it. Who doesn't say so of a filesystem that is never written to
/// must not fail on a device or a file that is read-only.
pub(super) fn read_only(kind: &str, options: &Options<'_>) -> bool {
    options.read_only() || matches!(kind, "erofs" | "squashfs" | "iso9660")
}

/// One that is to be mounted.
#[derive(Debug, Clone)]
pub(super) struct Filesystem<'a> {
    kind: &'a str,
    source: &'a str,
    superblock: Vec<&'static str>,
    /// `key` or `key=value`, as mount(2) takes them.
    pub(super) data: Vec<Cow<'a, str>>,
    /// overlay takes its layers one by one.
    layers: bool,
}

impl<'a> Filesystem<'a> {
    pub(super) fn new(kind: &'a str, source: &'a str, options: &Options<'a>) -> Self {
        let mut superblock = options.superblock.clone();
        if read_only(kind, options) {
            superblock.push("ro");
        }
        let data = options.data.iter().map(|option| Cow::Borrowed(*option)).collect();
        Self { kind, source, superblock, data, layers: overlay::takes_layers() }
    }

    /// The same with other options.
    pub(super) fn with_data(&self, data: Vec<String>) -> Self {
        Self { data: data.into_iter().map(Cow::Owned).collect(), ..self.clone() }
    }

    /// Makes it.
    pub(super) fn create(&self, place: &Place) -> Result<OwnedFd> {
        match self.parameters() {
            Some(parameters) => self.configure(&parameters),
            None => private::run(|| self.mount(place)),
        }
    }

    /// The same, in a mount namespace that is the thread's own already.
    pub(super) fn create_here(&self, place: &Place) -> Result<OwnedFd> {
        match self.parameters() {
            Some(parameters) => self.configure(&parameters),
            None => self.mount(place),
        }
    }

    /// What fsconfig(2) gets; None if it can't take it.
    fn parameters(&self) -> Option<Vec<Parameter<'_>>> {
        let mut parameters: Vec<_> = self.superblock.iter().copied().map(Parameter::flag).collect();
        for option in &self.data {
            let parameter = Parameter::of(option);
            match &parameter.value {
                Some(value) if self.kind == "overlay" && value.len() > VALUE_MAX && self.layers => {
                    let layers = overlay::layers(value).filter(|_| parameter.key == "lowerdir")?;
                    parameters.extend(layers.into_iter().map(|(key, directory)| Parameter {
                        key,
                        value: Some(Cow::Owned(directory)),
                    }));
                }
                // Up to Linux 6.4 fsconfig(2) only collected what overlay splits at commas.
                Some(value) if self.kind == "overlay" && value.contains(',') && !self.layers => {
                    return None;
                }
                _ => parameters.push(parameter),
            }
        }
        let lengths = parameters.iter().filter_map(|p| p.value.as_deref().map(str::len));
        let fits = lengths.chain([self.source.len()]).all(|length| length <= VALUE_MAX);
        fits.then_some(parameters)
    }

    fn configure(&self, parameters: &[Parameter<'_>]) -> Result<OwnedFd> {
        let context = match fsopen(self.kind, FsOpenFlags::FSOPEN_CLOEXEC) {
            Err(Errno::NODEV) => {
                return Err(Failure::from(Errno::NODEV)
                    .during(&format!("fsopen: the kernel has no filesystem {:?}", self.kind)));
            }
            context => context.during("fsopen")?,
        };
        let context = context.as_fd();
        if !self.source.is_empty() {
            fsconfig_set_string(context, "source", self.source)
                .map_err(|errno| explain(context, errno, &"source"))?;
        }
        for parameter in parameters {
            parameter.set(context)?;
        }
        fsconfig_create(context)
            .map_err(|errno| explain(context, errno, &"make the filesystem"))?;
        fsmount(context, FsMountFlags::FSMOUNT_CLOEXEC, MountAttrFlags::empty())
            .map_err(|errno| explain(context, errno, &"fsmount"))
    }

    /// mount(2): it takes a page of options in all. The calling thread's mount namespace and
    /// working directory are its own.
    fn mount(&self, place: &Place) -> Result<OwnedFd> {
        let page = rustix::param::page_size();
        let mut data = self.data.join(",");
        if self.kind == "overlay"
            && data.len() >= page
            && let Some((parent, options)) = overlay::relative(&self.data)
        {
            rustix::process::chdir(&parent).during(format_args!("chdir {parent}"))?;
            data = options.join(",");
        }
        if data.len() >= page {
            let message = format!(
                "the options are {} bytes long, and mount(2) takes {}",
                data.len(),
                page - 1
            );
            return Err(Failure::new(Code::InvalidArgument, message));
        }
        let data = std::ffi::CString::new(data).map_err(|_| Errno::INVAL)?;
        let flags = self.superblock.iter().fold(MountFlags::empty(), |flags, name| {
            flags
                | match *name {
                    "ro" => MountFlags::RDONLY,
                    "sync" => MountFlags::SYNCHRONOUS,
                    "dirsync" => MountFlags::DIRSYNC,
                    "lazytime" => MountFlags::LAZYTIME,
                    "mand" => MountFlags::PERMIT_MANDATORY_FILE_LOCKING,
                    _ => MountFlags::empty(),
                }
        });
        let at = place.open()?;
        let path = descriptor_path(at.as_fd());
        rustix::mount::mount(self.source, path, self.kind, flags, data.as_c_str())
            .during(format_args!("mount(2) with {data:?}"))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE
            | OpenTreeFlags::OPEN_TREE_CLOEXEC
            | OpenTreeFlags::AT_EMPTY_PATH;
        open_tree(place.open()?, "", flags).during("open_tree (what was just mounted)")
    }
}

/// `remount`: changes the filesystem behind a context of fspick(2).
pub(super) fn reconfigure(context: BorrowedFd<'_>, options: &Options<'_>) -> Result<()> {
    let mode = match options.attributes {
        attributes if attributes.set & MOUNT_ATTR_RDONLY != 0 => Some("ro"),
        attributes if attributes.clear & MOUNT_ATTR_RDONLY != 0 => Some("rw"),
        _ => None,
    };
    let flags = options.superblock.iter().copied().chain(mode).map(Parameter::flag);
    for parameter in flags.chain(options.data.iter().map(|option| Parameter::of(option))) {
        parameter.set(context)?;
    }
    fsconfig_reconfigure(context).map_err(|errno| explain(context, errno, &"remount"))
}

/// One call of fsconfig(2).
#[derive(Debug, PartialEq, Eq)]
struct Parameter<'a> {
    key: &'a str,
    value: Option<Cow<'a, str>>,
}

impl<'a> Parameter<'a> {
    fn flag(key: &'a str) -> Self {
        Self { key, value: None }
    }

    /// SELinux's contexts stand in quotes, which are mount(2)'s and not theirs.
    fn of(option: &'a str) -> Self {
        let Some((key, value)) = option.split_once('=') else { return Self::flag(option) };
        let plain = value.strip_prefix('"').and_then(|value| value.strip_suffix('"'));
        Self { key, value: Some(Cow::Borrowed(plain.unwrap_or(value))) }
    }

    fn set(&self, context: BorrowedFd<'_>) -> Result<()> {
        match &self.value {
            Some(value) => fsconfig_set_string(context, self.key, value.as_ref()),
            None => fsconfig_set_flag(context, self.key),
        }
        .map_err(|errno| explain(context, errno, &format_args!("option {self}")))
    }
}

impl fmt::Display for Parameter<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(formatter, "{}={value}", self.key),
            None => formatter.write_str(self.key),
        }
    }
}

/// The errno of a call on a context, and what the kernel has written there about it.
fn explain(context: BorrowedFd<'_>, errno: Errno, what: &dyn fmt::Display) -> Failure {
    let mut failure = Failure::from(errno).during(&what.to_string());
    let mut buffer = [0; 1024];
    let mut separator = " (the kernel: ";
    // One message a read(2), "e overlay: …" for an error; ENODATA when there are no more.
    while let Ok(length @ 1..) = rustix::io::read(context, &mut buffer) {
        let line = String::from_utf8_lossy(buffer.get(..length).unwrap_or_default());
        failure.message += separator;
        failure.message += line.trim_end().get(2..).unwrap_or_default();
        separator = "; ";
    }
    if separator == "; " {
        failure.message.push(')');
    }
    failure
}

#[cfg(test)]
mod tests {
    use super::*;

    fn strings(options: &[&str]) -> Vec<String> {
        options.iter().map(ToString::to_string).collect()
    }

    /// The calls of fsconfig(2), if it can take the options.
    fn calls(kind: &str, options: &[&str], layers: bool) -> Option<Vec<String>> {
        let options = strings(options);
        let options = Options::parse(&options).unwrap();
        let filesystem = Filesystem { layers, ..Filesystem::new(kind, "source", &options) };
        Some(filesystem.parameters()?.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn parameters_of_fsconfig() {
        assert_eq!(
            calls("tmpfs", &["ro,nosuid", "sync", "size=1m,mode=755", "inode64"], true).unwrap(),
            ["sync", "ro", "size=1m", "mode=755", "inode64"]
        );
        let context = r#"context="a:b:c:s0:c1,c2""#;
        assert_eq!(
            calls("ext4", &[context, "x="], true).unwrap(),
            ["context=a:b:c:s0:c1,c2", "x="]
        );
        assert_eq!(calls("erofs", &["device=/a"], true).unwrap(), ["ro", "device=/a"]);
        assert_eq!(calls("tmpfs", &[&format!("mpol={}", "x".repeat(256))], true), None);
    }

    #[test]
    fn layers_one_by_one_where_the_kernel_can() {
        let directory = format!("/{}", "d".repeat(150));
        let lower = format!("lowerdir={directory}:{directory}");
        let layer = format!("lowerdir+={directory}");
        assert_eq!(
            calls("overlay", &["index=off", &lower, "volatile"], true).unwrap(),
            ["index=off", &layer, &layer, "volatile"]
        );
        assert_eq!(calls("overlay", &[&lower], false), None, "Linux 6.7");
        assert_eq!(calls("overlay", &["lowerdir=/a:/b"], false).unwrap(), ["lowerdir=/a:/b"]);
        assert_eq!(calls("overlay", &[r"lowerdir=/a\,b"], false), None, "Linux 6.4");
        let upper = format!("upperdir={directory}{directory}");
        assert_eq!(calls("overlay", &[&upper], true), None, "longer than fsconfig's strings");
    }
}
